"""Logits of any shape in compiled code, with the classes along an axis that the compiler knows.

As in `functional.logits`, columns are read in place if they are wide enough, and rows are copied otherwise. Of logits
(n_outer, n_classes, n_inner), row i = (a, j) is i = a * n_inner + j.
"""

import numpy as np
from numba.core import types
from numba.core.errors import TypingError
from numba.cpython.unsafe.tuple import tuple_setitem

from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.overloads.arguments import FLOATS, advice, copied, value_of
from nbsoftmax.kernels.runtime.jit import jit


def check_logits(logits):
    """Refuse anything but a float32 or float64 array of at least one dimension."""
    if not isinstance(logits, types.Array) or logits.dtype not in FLOATS or logits.ndim == 0:
        raise TypingError(
            f"logits is {logits}, expected an array of float32 or float64, of one or more dimensions; {advice(logits)}."
        )


def axis_of(axis, logits):
    """The axis of the classes, counted from 0."""
    value, n_dims = value_of(axis), logits.ndim
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypingError(
            f"axis is {axis}, expected a literal whole number: in compiled code the axis is a constant, and tuples "
            "and None are for Python only."
        )
    if not -n_dims <= value < n_dims:
        raise TypingError(f"axis is {value}, but logits has {n_dims} dimensions; expected {-n_dims} to {n_dims - 1}.")
    return value % n_dims


@jit
def grid(shape, axis):
    """The sizes (n_outer, n_classes, n_inner) before, along and after an axis."""
    n_outer, n_inner = 1, 1
    for i in range(axis):
        n_outer *= shape[i]
    for i in range(axis + 1, len(shape)):
        n_inner *= shape[i]
    if shape[axis] == 0:
        raise InputValueError("logits must have at least one class.")
    return n_outer, shape[axis], n_inner


@jit
def without_axis(shape, axis):
    """Shape of an array with one number for each row."""
    rest = shape[1:]
    for i in range(axis):
        rest = tuple_setitem(rest, i, shape[i])
    return rest


@jit
def with_one(shape, axis):
    """The same with an axis of size 1."""
    return tuple_setitem(shape, axis, 1)


@jit
def to_rows(x, n_outer, n_classes, n_inner):
    """Copy logits in C order to contiguous rows; both are flat."""
    rows = np.empty(x.size, x.dtype)
    for a in range(n_outer):
        for j in range(n_inner):
            for k in range(n_classes):
                rows[(a * n_inner + j) * n_classes + k] = x[(a * n_classes + k) * n_inner + j]
    return rows


@jit
def from_rows(rows, x, n_outer, n_classes, n_inner):
    """Inverse of `to_rows`."""
    for a in range(n_outer):
        for k in range(n_classes):
            for j in range(n_inner):
                x[(a * n_classes + k) * n_inner + j] = rows[(a * n_inner + j) * n_classes + k]


@jit
def unchanged(array, shape, axis):
    """Targets or weights that have the form that `targets` expects."""
    return array


@jit
def flat_labels(y, shape, axis):
    """Class indices (n_rows,)."""
    if y.shape != without_axis(shape, axis):
        raise InputValueError("y must have one class index for each row: the shape of the logits without the axis.")
    return copied(y)


@jit
def flat_weights(weight, shape, axis):
    """Sample weights (n_rows,), or None."""
    if weight is None:
        return None
    else:  # Numba compiles one of the branches
        if weight.shape != without_axis(shape, axis):
            raise InputValueError("the number of weights is not that of the samples or classes.")
        return copied(weight)


@jit
def one_row(y, shape, axis):
    """Probabilities of one row, (1, n_classes)."""
    return copied(y).reshape(1, y.size)


@jit
def rows_of_targets(y, shape, axis):
    """Rows of probabilities, (n_rows, n_classes)."""
    if y.shape != shape:
        raise InputValueError("y must have a row of probabilities for each row, and the shape of the logits.")
    n_outer, n_classes, n_inner = grid(shape, axis)
    return to_rows(copied(y), n_outer, n_classes, n_inner).reshape(n_outer * n_inner, n_classes)


def rows_of(y, logits, axis):
    """The functions that bring targets and sample weights of these types into the form that `targets` expects."""
    n_dims = logits.ndim
    soft = isinstance(y, types.Array) and isinstance(y.dtype, types.Float)
    of_weights = flat_weights if n_dims > 2 else unchanged
    if soft and n_dims == y.ndim == 1:
        return one_row, of_weights
    if soft and n_dims == y.ndim and (n_dims > 2 or axis == 0):
        return rows_of_targets, of_weights
    return (flat_labels if n_dims > 2 and not soft else unchanged), of_weights
