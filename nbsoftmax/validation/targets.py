"""Checks of targets: class indices, or rows of probabilities."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, counted
from nbsoftmax.kernels.kinds import ROW_SUM_TOLERANCE
from nbsoftmax.validation.arrays import Floats, writeable_view
from nbsoftmax.validation.conversion import as_array
from nbsoftmax.validation.options import ignored_index
from nbsoftmax.validation.partial import Possible, checked_possible

# Advice for rows that have any number of labels.
MULTILABEL = (
    "for rows of any number of labels, sklearn.multioutput.MultiOutputClassifier(nbs.SoftmaxRegression()) fits one "
    "model for each column of y"
)


@dataclass(frozen=True, eq=False)
class Targets:
    """Checked targets: class indices, or rows of probabilities; the other array is empty.

    labels : int32 (n_samples,), -1 for an ignored sample; (0,) for probabilities
    proba : (n_samples, n_classes) of the logits' dtype; (0, 0) for class indices
    possible : bool (n_samples, n_classes), the possible classes of each sample; (0, 0) unless labels are partial
    """

    labels: NDArray[np.int32]
    proba: Floats
    possible: Possible = field(default_factory=lambda: np.empty((0, 0), bool))

    @property
    def soft(self) -> bool:
        """Whether the targets are probabilities."""
        return bool(self.proba.shape[1] > 0)


def targets(
    y: ArrayLike,
    n_samples: int,
    n_classes: int,
    dtype: Any,
    *,
    ignore_index: int | None = None,
    n_of: str = "logits",
    partial: bool = False,
) -> Targets:
    """Check class indices (n_samples,) in 0..n_classes-1, or probabilities (n_samples, n_classes).

    `n_of` names the array that has one row for each target; only its functions have `ignore_index`: "logits". If
    `partial`, rows of booleans are the possible classes of each sample.
    """
    ignored_index(ignore_index)
    array = as_array("y", y)
    if array.dtype.kind in "cOUSMmV":
        raise InputTypeError(
            f"y has dtype {array.dtype}, expected class indices (integers) or rows of probabilities (floats); "
            "np.searchsorted(classes, y) turns labels into indices of the sorted classes, such as model.classes."
        )
    if array.ndim == 0:
        array = array[None]
    if array.ndim == 2:
        if ignore_index is not None:
            raise InputValueError(
                f"ignore_index is {ignore_index}, but y has rows of probabilities, expected class indices; "
                "give the samples to ignore the weight 0 in sample_weight, or give class indices."
            )
        return _rows_of_classes(array, n_samples, n_classes, dtype, n_of, partial=partial)
    if array.ndim != 1:
        raise InputValueError(
            f"y has {counted(array.ndim, 'dimension')}, expected 1 (class indices) or 2 (rows of probabilities)."
        )
    if array.shape[0] != n_samples:
        raise InputValueError(
            f"y has {counted(array.shape[0], 'entry')}, but {n_of} has {counted(n_samples, 'row')}; give one class "
            "index for each row."
        )
    if array.dtype.kind == "f" and array.size > 0:
        raise InputTypeError(
            f"y has dtype {array.dtype} and 1 dimension: class indices must be integers (y.astype(int)), "
            "and probabilities need shape (n_samples, n_classes)."
        )
    no_proba = np.empty((0, 0), dtype)
    if array.size == 0 or (array.min() >= 0 and array.max() < n_classes and ignore_index is None):
        return Targets(array.astype(np.int32), no_proba)  # the common case needs no masks
    ignored = np.zeros(array.shape, bool) if ignore_index is None else array == ignore_index
    bad = ((array < 0) | (array >= n_classes)) & ~ignored
    if bad.any():
        i = int(np.argmax(bad))
        or_ignore = ", or give the value as ignore_index" if n_of == "logits" else ""  # others have no such option
        raise InputValueError(
            f"y contains class {array[i]} at row {i}, expected 0 to {n_classes - 1}; count classes from 0{or_ignore}."
        )
    labels = np.where(ignored, 0, array).astype(np.int32)  # the dtype of y may have no -1
    labels[ignored] = -1
    return Targets(labels, no_proba)


def _rows_of_classes(
    array: NDArray[Any], n_samples: int, n_classes: int, dtype: Any, n_of: str, *, partial: bool
) -> Targets:
    """Check probabilities, or possible classes, (n_samples, n_classes)."""
    no_labels = np.empty(0, np.int32)
    what = "rows of possible classes" if partial and array.dtype == bool else "rows of probabilities"
    if array.shape != (n_samples, n_classes):
        as_indices = f"; class indices have shape ({n_samples},): y.ravel()" if array.shape == (n_samples, 1) else ""
        raise InputValueError(
            f"y has shape {array.shape}, but {n_of} needs ({n_samples}, {n_classes}) for {what}{as_indices}."
        )
    if partial and array.dtype == bool:
        return Targets(no_labels, np.empty((0, 0), dtype), checked_possible(array))
    if array.dtype == bool and (several := array.sum(axis=1) > 1).any():
        raise InputValueError(
            f"y row {int(np.argmax(several))} has several possible classes; partial labels are supported for rows in "
            "memory, by Trainer.fit, Objective and SoftmaxRegression.fit."
        )
    proba = distributions("y", np.ascontiguousarray(array.astype(dtype, copy=False)))
    return Targets(no_labels, writeable_view(proba))


def distributions(name: str, proba: Floats) -> Floats:
    """Check rows of probabilities (n_samples, n_classes): entries of at least 0 that sum to 1."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = np.einsum("ik->i", proba, dtype=np.float64)  # a quarter of the time of `sum` along short rows
        bad = ~(np.abs(total - 1) <= ROW_SUM_TOLERANCE)
        if proba.min(initial=0.0) < 0:
            bad |= (proba < 0).any(axis=1)
    if bad.any():
        i = int(np.argmax(bad))
        if name == "y" and np.isin(proba, (0, 1)).all():
            raise InputValueError.about_rows(
                "y row ",
                i,
                f" has {total[i]:.0f} ones, expected one; {MULTILABEL}; if one of several classes is true and it is "
                "not known which, give booleans; rows of probabilities sum to 1.",
            )
        raise InputValueError.about_rows(
            f"{name} row ",
            i,
            f" is not a probability distribution (sum {total[i]:.6g}, smallest {proba[i].min():.6g}); "
            "expected entries of at least 0 that sum to 1; divide each row by its sum.",
        )
    return proba
