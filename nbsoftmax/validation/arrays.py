"""Checks of arrays of numbers: samples, logits, parameters, offsets, outputs."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NoReturn, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, a_type, counted, plain
from nbsoftmax.kernels.finite import CHUNKS, mark_not_finite
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.validation.beside import class_columns, in_order_of_classes
from nbsoftmax.validation.conversion import as_array

NOTHING: Mapping[str, Any] = MappingProxyType({})

Floats = NDArray[np.floating[Any]]
Float64s = NDArray[np.float64]
ScalarT = TypeVar("ScalarT", bound=np.generic)
# From this size on, a kernel looks at all numbers: it reads 3 times as many in a second on two threads as `sum`.
LARGE = 2**19
READ_WORK = 8  # the time of reading a number, in multiply-adds
SMALL = 2**12  # up to this size, `isfinite` of the whole array is faster than sums of blocks


def as_floats(name: str, a: ArrayLike, *, dtype: Any = None) -> Floats:
    """Return `a` as a native float32 or float64 array; an array that already is one is not copied.

    Integers and booleans become float64, float16 becomes float32, unless `dtype` (float32 or float64) is given.
    """
    array = as_array(name, a)
    return array.astype(float_dtype_of(name, array.dtype, dtype), copy=False)


def float_dtype_of(name: str, given: np.dtype[Any], dtype: Any = None) -> Any:
    """The dtype, float32 or float64, to which numbers of the dtype `given` are converted, as `as_floats` does."""
    kind = given.kind
    if kind == "c":
        raise InputTypeError(
            f"{name} is complex ({given}), expected real numbers; give its real part (`.real`) or its modulus."
        )
    if kind == "O":
        raise InputTypeError(
            f"{name} has dtype object, expected numbers; convert it first, for example {name}.astype(float)."
        )
    if given.names is not None:
        raise InputTypeError(
            f"{name} is a structured array, expected numbers; give numpy.lib.recfunctions.structured_to_unstructured"
            f"({name})."
        )
    if kind not in "fiub":
        raise InputTypeError(f"{name} has dtype {given}, expected float32 or float64; convert it to numbers first.")
    if kind == "f" and given.itemsize > 8:
        raise InputTypeError(
            f"{name} has dtype {given}, which has more digits than float64, expected float32 or float64; round it "
            f"first: {name}.astype(numpy.float64)."
        )
    if dtype is None:
        return np.float32 if kind == "f" and given.itemsize <= 4 else np.float64
    return dtype


def as_float64s(name: str, a: ArrayLike) -> Float64s:
    """Return `a` as a C-contiguous float64 array."""
    return np.asarray(as_floats(name, a, dtype=np.float64), np.float64, order="C")


def writeable_view(a: NDArray[ScalarT]) -> NDArray[ScalarT]:
    """Return `a` itself, or for a read-only array a writeable view of the same memory.

    Kernels never write to their inputs. Without the view, Numba would compile every kernel a second time for
    read-only arrays (memory-mapped files, columns of tables), which takes seconds.
    """
    if a.flags.writeable or a.size == 0:
        return a if a.flags.writeable else a.copy()

    return np.asarray(_Writeable(a))


class _Writeable:
    """The memory of an array, which NumPy takes for writeable, and keeps alive."""

    def __init__(self, a: NDArray[Any]) -> None:
        self.array = a
        self.__array_interface__ = {**a.__array_interface__, "data": (a.__array_interface__["data"][0], False)}


def all_finite(X: Floats) -> bool:
    """Whether all numbers of a large array without gaps are finite, on all threads."""
    marks = np.zeros(CHUNKS)
    flat = writeable_view(X.reshape(-1) if X.flags.c_contiguous else X.T.reshape(-1))
    launch(mark_not_finite, CHUNKS, READ_WORK * X.size, None, flat, marks)
    return not np.isnan(marks).any()


def _large(X: Floats) -> bool:
    """Whether `all_finite` is the faster check: for a large array without gaps."""
    return X.size >= LARGE and bool(X.flags.c_contiguous or X.flags.f_contiguous)


def first_not_finite(X: Floats) -> tuple[int, int] | None:
    """Position (row, column) of the first NaN or inf of a 2-D array in row order; None if all are finite."""
    if X.size <= SMALL and np.count_nonzero(np.isfinite(X)) == X.size:
        return None
    if _large(X) and all_finite(X):
        return None
    rows = max(1, 2**18 // max(1, X.shape[1]))  # blocks fit in cache: X is read once, and no (m, N) mask is made
    for start in range(0, X.shape[0], rows):
        block = X[start : start + rows]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(block.sum()):  # a sum that includes NaN or inf is never finite
                continue
        bad = ~np.isfinite(block)
        if bad.any():  # otherwise the numbers are finite and their sum overflows
            i, j = divmod(int(np.argmax(bad.ravel())), X.shape[1])
            return start + i, j
    return None


def design(
    X: Any,
    *,
    name: str = "X",
    dtype: Any = None,
    n_features: int | None = None,
    names: tuple[str, ...] | None = None,
    finite: bool = True,
) -> Floats:
    """Check X: (n_samples, n_features), float32 or float64, `finite` unless False; any strides are accepted."""
    array = as_floats(name, X, dtype=dtype)
    check_shape(name, array.shape, n_features)
    if finite:
        finite_numbers(array, name=name, names=names)
    return writeable_view(array)


def finite_numbers(X: Floats, *, name: str = "X", names: tuple[str, ...] | None = None) -> None:
    """Raise the error for the first NaN or inf of a 2-D array, if there is one."""
    bad = first_not_finite(X)
    if bad is not None:
        refuse_not_finite(name, X[bad], *bad, names)


def check_shape(name: str, shape: tuple[int, ...], n_features: int | None) -> None:
    """Refuse an X that is not (n_samples, n_features), with at least one feature or as many as are expected."""
    if len(shape) != 2:
        hint = (
            f"{name}.reshape(-1, 1) makes one feature of it, {name}.reshape(1, -1) one sample"
            if len(shape) == 1
            else "flatten each sample to one row"
        )
        raise InputValueError(
            f"{name} has {counted(len(shape), 'dimension')}, shape {shape}; "
            f"expected 2, (n_samples, n_features); {hint}."
        )
    if shape[1] == 0:
        raise InputValueError(f"{name} has no features (shape {shape}); expected at least one column.")
    if n_features is not None and shape[1] != n_features:
        raise InputValueError(f"{name} has {counted(shape[1], 'feature')}, but {n_features} are expected.")


def refuse_not_finite(name: str, value: Any, i: int, j: int, names: tuple[str, ...] | None) -> NoReturn:
    """Raise the error for a NaN or inf in row i and column j, which is named if the columns have names."""
    if names is not None:
        found = "a missing value (NaN)" if np.isnan(value) else f"{value}"
        advice = "drop such rows, or impute the values"
        if np.isnan(value):
            advice += "; TableOptions(missing='mean') of a Trainer does so (--missing mean on the command line)"
        raise InputValueError.about_rows(
            f"{name} has {found} in column {plain(names[j])} at row ",
            i,
            f" (counted from 0); expected finite numbers; {advice}.",
        )
    raise InputValueError.about_rows(
        f"{name} contains {value} at row ",
        i,
        f", column {j} (counted from 0); expected finite numbers, no NaN and no inf; remove or impute such values "
        "first.",
    )


def some_samples(X: Floats) -> Floats:
    """Refuse an X without rows, for which a mean over the samples is undefined."""
    if X.shape[0] == 0:
        raise InputValueError("X has no rows, so that a mean over them is undefined; give at least one sample.")
    return X


def logits(z: ArrayLike, *, name: str = "logits", min_classes: int = 1) -> tuple[Floats, bool]:
    """Check logits: (n_samples, n_classes), or (n_classes,) for one row. Return (2-D array, whether it was 1-D)."""
    array = as_floats(name, z)
    if array.ndim not in {1, 2}:
        raise InputValueError(
            f"{name} has {counted(array.ndim, 'dimension')}, shape {array.shape}; expected 2, (n_samples, n_classes), "
            "or 1 for a single row; reshape it to (-1, n_classes)."
        )
    flat = array.ndim == 1
    rows = array[None, :] if flat else array
    if rows.shape[1] < min_classes:
        raise InputValueError(
            f"{name} has {counted(rows.shape[1], 'class')} (shape {array.shape}); expected at least {min_classes}."
        )
    return writeable_view(np.ascontiguousarray(rows)), flat


def out(
    array: Any, shape: tuple[int, ...], dtype: Any, *, source: Floats, apart: Mapping[str, Any] = NOTHING
) -> Floats:
    """Check an output array: shape, dtype, C-contiguous, writeable; it may be `source` but not overlap it in part.

    Nor may it overlap the arrays in `apart`, by their names, which are read while it is written.
    """
    if not isinstance(array, np.ndarray) or isinstance(array, np.ma.MaskedArray):
        raise InputTypeError(f"out is {a_type(array)}, expected a numpy array; use np.empty({shape}, np.{dtype}).")
    if array.shape != shape or array.dtype != dtype:
        raise InputValueError(
            f"out has shape {array.shape} and dtype {array.dtype}, expected {shape} and {dtype}; "
            f"use np.empty({shape}, np.{dtype})."
        )
    if not array.flags.writeable:
        raise InputValueError("out is read-only, expected a writeable array; give a copy or a new array.")
    if not array.flags.c_contiguous:
        raise InputValueError(f"out is not C-contiguous (strides {array.strides}); use np.empty({shape}, np.{dtype}).")
    if array.ctypes.data != source.ctypes.data and np.may_share_memory(array, source):
        raise InputValueError(
            "out overlaps the input in part; give the input itself or an array with memory of its own."
        )
    for name, other in apart.items():
        if isinstance(other, np.ndarray) and np.may_share_memory(array, other):
            raise InputValueError(f"out overlaps {name}; give an array with memory of its own.")
    return array


def params(array: ArrayLike, shape: tuple[int, int], *, name: str = "params") -> Float64s:
    """Check parameters or a direction: finite float64 (n_classes, n_features + 1), intercept last."""
    return writeable_view(
        finite(name, array, shape, meaning="(n_classes, n_features + 1), the intercept in the last column")
    )


def finite(name: str, array: ArrayLike, shape: tuple[int, ...], *, meaning: str) -> Float64s:
    """Check finite float64 numbers of exactly this shape; `meaning` explains the shape in the error message."""
    a = as_float64s(name, array)
    if a.shape != shape:
        raise InputValueError(f"{name} has shape {a.shape}, expected {shape}: {meaning}.")
    if not (all_finite(a) if _large(a) else np.isfinite(a).all()):
        raise InputValueError(f"{name} contains NaN or inf, expected finite numbers.")
    return a


def offset(array: ArrayLike | None, shape: tuple[int, int], dtype: Any, classes: NDArray[Any] | None = None) -> Floats:
    """Check an offset, fixed additions to the logits: finite, (n_samples, n_classes); (0, 0) for None.

    With two classes it may be (n_samples,) or (n_samples, 1), which is added to the logit of the second one. A table
    whose columns are named after the `classes` must have them in this order.
    """
    if array is None:
        return np.empty((0, 0), dtype)
    if classes is not None:
        in_order_of_classes("offset", class_columns(array), classes)
    a = as_floats("offset", array, dtype=dtype)
    if shape[1] == 2 and a.ndim in (1, 2):
        a = offset_columns(a)
    if a.shape != shape:
        raise InputValueError(f"offset has shape {a.shape}, expected {shape}: one number for each sample and class.")
    bad = first_not_finite(a)
    if bad is not None:
        i, j = map(int, bad)
        raise InputValueError.about_rows(
            f"offset contains {a[bad]} at row ", i, f", column {j}; expected finite numbers."
        )
    return writeable_view(np.ascontiguousarray(a))


def offset_columns(offset: NDArray[Any]) -> NDArray[Any]:
    """An offset with a column for each class: a single column is that of the second of two classes."""
    if offset.ndim == 1 or offset.shape[1] == 1:
        return np.column_stack([np.zeros(len(offset), offset.dtype), offset])
    return offset


def float_dtype(dtype: Any) -> np.dtype[Any]:
    """Check a dtype: float32 or float64."""
    found: np.dtype[Any] | None
    try:
        found = np.dtype(dtype)
    except TypeError:
        found = None
    if found is None or found not in (np.float32, np.float64):
        raise InputTypeError(f"dtype is {plain(dtype)}, expected float32 or float64.")
    return found
