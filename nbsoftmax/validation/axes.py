"""Checks of logits of any shape, whose classes are along one axis or several.

The logits of one row are those that differ only in their place along these axes. Rows are counted in C order of the
other axes.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, counted, plain
from nbsoftmax.validation.arrays import Floats, as_floats, writeable_view
from nbsoftmax.validation.conversion import as_array


class Along(NamedTuple):
    """Checked logits: float32 or float64 of any strides, and the axes of their classes, in ascending order.

    `last` says whether these are the last axes, so that rows are contiguous in C order.
    """

    array: Floats
    axes: tuple[int, ...]
    n_rows: int
    n_classes: int
    last: bool

    @property
    def n_inner(self) -> int:
        """Product of the sizes of the axes after those of the classes; 0 if there are other axes between them."""
        first, end = self.axes[0], self.axes[-1] + 1
        return math.prod(self.array.shape[end:]) if end - first == len(self.axes) else 0

    @property
    def rows_shape(self) -> tuple[int, ...]:
        """Shape of an array with one number for each row."""
        shape = self.array.shape
        return shape[: -len(self.axes)] if self.last else tuple(np.delete(shape, self.axes).tolist())

    def to_end(self, a: NDArray[Any]) -> NDArray[Any]:
        """A view of an array of the shape of the logits, with the axes of the classes last."""
        return a if self.last else np.moveaxis(a, self.axes, range(-len(self.axes), 0))

    def from_end(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Inverse of `to_end` for contiguous rows, (n_rows, n_classes)."""
        shape = self.array.shape
        if self.last:
            return rows.reshape(shape)
        moved = rows.reshape(self.rows_shape + tuple(shape[axis] for axis in self.axes))
        return np.moveaxis(moved, range(-len(self.axes), 0), self.axes)

    def rows(self) -> Floats:
        """The rows (n_rows, n_classes), C-contiguous: without a copy if the memory has them in this order."""
        rows, shape = np.ascontiguousarray(self.to_end(self.array)), (self.n_rows, self.n_classes)
        return writeable_view(rows if rows.shape == shape else rows.reshape(shape))


def logits_along(
    logits: ArrayLike, axis: int | tuple[int, ...] | None, *, name: str = "logits", several: bool = False
) -> Along:
    """Check logits of at least one dimension and one class. `several` allows a tuple of axes, and None for all."""
    array = as_floats(name, logits)
    ndim = array.ndim
    if ndim == 0:
        raise InputValueError(f"{name} has 0 dimensions, expected at least 1; give [{name}] for a single number.")
    if type(axis) is int and -ndim <= axis < ndim:
        i = axis if axis >= 0 else axis + ndim
        axes: tuple[int, ...] = (i,)
        n_classes = array.shape[i]
    else:
        axes = _several_axes(axis, ndim, name, several)
        n_classes = math.prod(array.shape[i] for i in axes)
    if n_classes == 0:
        raise InputValueError(
            f"{name} has 0 classes (shape {array.shape}, axis {plain(axis)}); expected at least 1 along the axis."
        )
    return Along(array, axes, array.size // n_classes, n_classes, axes[0] == ndim - len(axes))


def _several_axes(axis: Any, ndim: int, name: str, several: bool) -> tuple[int, ...]:
    """The axes as numbers from 0, in ascending order."""
    if several and axis is None:
        return tuple(range(ndim))
    given = axis if several and isinstance(axis, tuple) else (axis,)
    if not given or not all(isinstance(i, (int, np.integer)) and not isinstance(i, bool) for i in given):
        more = ", a tuple of whole numbers, or None for all axes" if several else ""
        raise InputTypeError(f"axis is {plain(axis)}, expected a whole number{more}.", parameter="axis")
    bad = [int(i) for i in given if not -ndim <= i < ndim]
    if bad:
        raise InputValueError(
            f"axis is {plain(axis)}, but {name} has {counted(ndim, 'dimension')}; expected {-ndim} to {ndim - 1}.",
            parameter="axis",
        )
    axes = sorted(int(i) % ndim for i in given)
    if len(set(axes)) < len(axes):
        raise InputValueError(f"axis is {plain(axis)}, which contains an axis twice.", parameter="axis")
    return tuple(axes)


def target_rows(y: ArrayLike, logits: Along) -> ArrayLike:
    """Targets as `targets` expects them: class indices (n_rows,), or rows of probabilities (n_rows, n_classes).

    Class indices have the shape of the logits without the axis of the classes, probabilities that of the logits.
    """
    shape = logits.array.shape
    if logits.last and len(shape) == 2:
        return y
    array = as_array("y", y)
    if array.dtype.kind in "cOUSMmV":
        return array  # refused by `targets`
    if len(shape) == 1 and (array.shape in ((), (1, *shape)) or (array.shape == (1,) and array.dtype.kind != "f")):
        return array  # one row: `targets` also takes an array with one index or one row
    if array.shape == shape:
        return logits.to_end(array).reshape(logits.n_rows, logits.n_classes)
    if array.shape == logits.rows_shape:
        return array.reshape(-1)
    raise InputValueError(
        f"y has shape {array.shape}, but logits of shape {shape} with the classes along axis {logits.axes[0]} need "
        f"{logits.rows_shape} for class indices, or {shape} for probabilities."
    )


def weight_rows(weight: ArrayLike | None, logits: Along) -> ArrayLike | None:
    """Weights of samples as `sample_weights` expects them, (n_rows,), from the shape of class indices."""
    if weight is None or logits.array.ndim <= 2:
        return weight
    array = as_array("sample_weight", weight)
    if array.shape != logits.rows_shape:
        raise InputValueError(
            f"sample_weight has shape {array.shape}, expected {logits.rows_shape}: one for each row of the logits."
        )
    return array.reshape(-1)
