"""Validation: everything that comes from outside is checked here, once.

Each function takes what the user gave, returns what the kernels expect, and raises one error that
says what came, what was expected and what to do. Kernels, backends and solvers validate nothing again.

An array that is already as the kernels need it is not copied. Tables, labels and objects of other libraries are read in
`frames`, `labels` and `arrays`; their functions are exported from here too.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax.arrays import as_array, is_on_device
from nbsoftmax.errors import DeviceMemoryError, InputError, InputTypeError, InputValueError, plain
from nbsoftmax.frames import by_label, frame
from nbsoftmax.labels import class_labels, codes_of, labels, positions, target_array

__all__ = [  # names of other modules, so that callers need to import this one alone
    "DeviceMemoryError", "InputError", "InputTypeError", "InputValueError", "as_array", "by_label", "class_labels",
    "codes_of", "frame", "is_on_device", "labels", "plain", "positions", "target_array",
]  # fmt: skip

try:
    from numba import config
except ValueError as error:  # about one of its settings
    raise ImportError(
        f"Numba cannot be imported ({error}); correct the environment variables NUMBA_*, such as NUMBA_NUM_THREADS"
    ) from error

Floats = NDArray[np.floating[Any]]
Float64s = NDArray[np.float64]
FloatT = TypeVar("FloatT", bound=np.floating[Any])

# Kinds of targets, as `nbsoftmax.kernels.rows` counts them.
INDEX, INDEX_SMOOTHED, PROBA = 0, 1, 2

# Rows of target probabilities may come from float16 soft labels: 1000 of them, each rounded to 11
# bits, are off by up to 5e-4 in their sum. A row further off than this is a mistake, not a rounding.
ROW_SUM_TOLERANCE = 1e-3

# Beyond this number, classes that were counted by the largest index must be backed by a tenth as many samples.
MANY_CLASSES = 2**20


# --- arrays -----------------------------------------------------------------------------------


def as_floats(name: str, a: ArrayLike, *, dtype: Any = None) -> Floats:
    """Return `a` as a native float32 or float64 array, without a copy where it already is one.

    Integers and booleans become float64, float16 becomes float32; `dtype` (float32 or float64)
    overrules both.
    """
    array = as_array(name, a)
    kind = array.dtype.kind
    if kind == "c":
        raise InputTypeError(
            f"{name} is complex ({array.dtype}), expected real numbers; give its real part (`.real`) or its modulus."
        )
    if kind == "O":
        raise InputTypeError(
            f"{name} has dtype object, expected numbers; convert it first, for example {name}.astype(float)."
        )
    if array.dtype.names is not None:
        raise InputTypeError(
            f"{name} is a structured array, expected numbers; give numpy.lib.recfunctions.structured_to_unstructured"
            f"({name})."
        )
    if kind not in "fiub":
        raise InputTypeError(
            f"{name} has dtype {array.dtype}, expected float32 or float64; convert it to numbers first."
        )
    if dtype is None:
        dtype = np.float32 if kind == "f" and array.dtype.itemsize <= 4 else np.float64
    return array.astype(dtype, copy=False)


def as_float64s(name: str, a: ArrayLike) -> Float64s:
    """Return `a` as a C-contiguous float64 array."""
    return np.asarray(as_floats(name, a, dtype=np.float64), np.float64, order="C")


def writeable_view(a: NDArray[FloatT]) -> NDArray[FloatT]:
    """Return `a` itself, or for a read-only array a view of the same memory without that flag.

    Kernels never write to their inputs, and Numba would compile every kernel again for the
    read-only type (memory-mapped files, frames), which takes seconds.
    """
    if a.flags.writeable or a.size == 0:
        return a if a.flags.writeable else a.copy()

    class Memory:
        keeps_alive = a
        __array_interface__ = {**a.__array_interface__, "data": (a.__array_interface__["data"][0], False)}  # noqa: RUF012

    return np.asarray(Memory())


def first_not_finite(X: Floats) -> tuple[int, int] | None:
    """Position of the first NaN or inf of a 2-D array in row order, or None."""
    rows = max(1, 2**18 // max(1, X.shape[1]))  # blocks that stay in cache: one pass, no (m, N) mask
    for start in range(0, X.shape[0], rows):
        block = X[start : start + rows]
        with np.errstate(over="ignore", invalid="ignore"):
            if np.isfinite(block.sum()):  # a sum over a NaN or inf is never finite
                continue
        bad = ~np.isfinite(block)
        if bad.any():  # else finite numbers whose sum overflows
            i, j = divmod(int(np.argmax(bad.ravel())), X.shape[1])
            return start + i, j
    return None


def samples(
    X: Any, *, name: str = "X", dtype: Any = None, n_features: int | None = None
) -> tuple[Floats, tuple[str, ...] | None]:
    """Check the samples as `design` does, with the feature names of a table, by which messages name a column."""
    array, names = frame(X)
    return design(array, name=name, dtype=dtype, n_features=n_features, names=names), names


def design(
    X: Any,
    *,
    name: str = "X",
    dtype: Any = None,
    n_features: int | None = None,
    names: tuple[str, ...] | None = None,
) -> Floats:
    """Check the samples: (n_samples, n_features), float32 or float64, finite. Any strides."""
    array = as_floats(name, X, dtype=dtype)
    if array.ndim != 2:
        hint = (
            f"{name}.reshape(-1, 1) makes one feature of it, {name}.reshape(1, -1) one sample"
            if array.ndim == 1
            else "flatten each sample to one row"
        )
        raise InputValueError(
            f"{name} has {array.ndim} dimension{'s' * (array.ndim != 1)}, shape {array.shape}; "
            f"expected 2: (n_samples, n_features); {hint}."
        )
    if array.shape[1] == 0:
        raise InputValueError(f"{name} has no features (shape {array.shape}); expected at least one column.")
    if n_features is not None and array.shape[1] != n_features:
        raise InputValueError(f"{name} has {array.shape[1]} features, but {n_features} are expected.")
    bad = first_not_finite(array)
    if bad is not None:
        i, j = bad
        if names is not None:
            found = "a missing value (NaN)" if np.isnan(array[i, j]) else f"{array[i, j]}"
            raise InputValueError(
                f"{name} has {found} in column {plain(names[j])} at row {i} (counted from 0); expected finite numbers; "
                "drop such rows, or impute the values."
            )
        raise InputValueError(
            f"{name} contains {array[i, j]} at row {i}, column {j} (counted from 0); expected finite numbers, "
            "no NaN and no inf; remove or impute such values first."
        )
    return writeable_view(array)


def logits(z: ArrayLike, *, name: str = "logits", min_classes: int = 1) -> tuple[Floats, bool]:
    """Check logits: (n_samples, n_classes), or (n_classes,) for one row. Return (2-D array, was 1-D)."""
    array = as_floats(name, z)
    if array.ndim not in {1, 2}:
        raise InputValueError(
            f"{name} has {array.ndim} dimensions, shape {array.shape}; expected 2, (n_samples, n_classes), "
            "or 1 for a single row; reshape it to (-1, n_classes)."
        )
    flat = array.ndim == 1
    rows = array[None, :] if flat else array
    if rows.shape[1] < min_classes:
        raise InputValueError(
            f"{name} has {rows.shape[1]} classes (shape {array.shape}); expected at least {min_classes}."
        )
    return writeable_view(np.ascontiguousarray(rows)), flat


def out(array: Any, shape: tuple[int, ...], dtype: Any, *, source: Floats) -> Floats:
    """Check an output array: this shape and dtype, C-contiguous, writeable; `source`'s own memory or none of it."""
    if not isinstance(array, np.ndarray):
        raise InputTypeError(
            f"out is a {type(array).__name__}, expected a numpy array; use np.empty({shape}, np.{dtype})."
        )
    if array.shape != shape or array.dtype != dtype:
        raise InputValueError(
            f"out has shape {array.shape} and dtype {array.dtype}, expected {shape} and {dtype}; "
            f"use np.empty({shape}, np.{dtype})."
        )
    if not array.flags.writeable:
        raise InputValueError("out is read-only, expected a writeable array; give a copy or a fresh array.")
    if not array.flags.c_contiguous:
        raise InputValueError(f"out is not C-contiguous (strides {array.strides}); use np.empty({shape}, np.{dtype}).")
    if array.ctypes.data != source.ctypes.data and np.may_share_memory(array, source):
        raise InputValueError("out overlaps the input without being it; give the input itself or separate memory.")
    return array


def params(array: ArrayLike, shape: tuple[int, int], *, name: str = "params") -> Float64s:
    """Check parameters or a direction: finite float64 (n_classes, n_features + 1), intercept last."""
    return writeable_view(
        finite(name, array, shape, meaning="(n_classes, n_features + 1), the intercept in the last column")
    )


def finite(name: str, array: ArrayLike, shape: tuple[int, ...], *, meaning: str) -> Float64s:
    """Check finite float64 numbers of exactly this shape; `meaning` names its axes in the message."""
    a = as_float64s(name, array)
    if a.shape != shape:
        raise InputValueError(f"{name} has shape {a.shape}, expected {shape}: {meaning}.")
    if not np.isfinite(a).all():
        raise InputValueError(f"{name} contains NaN or inf; expected finite numbers.")
    return a


# --- targets and weights ----------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Targets:
    """Checked targets: class indices, or rows of probabilities; the other one is empty.

    labels : int32 (n_samples,), -1 where the sample is ignored; (0,) for probabilities.
    proba : (n_samples, n_classes) of the logits' dtype; (0, 0) for class indices.
    """

    labels: NDArray[np.int32]
    proba: Floats

    @property
    def soft(self) -> bool:
        """Whether the targets are probabilities."""
        return self.proba.size > 0 or self.proba.shape[1] > 0


def targets(
    y: ArrayLike, n_samples: int, n_classes: int, dtype: Any, *, ignore_index: int | None = None, n_of: str = "logits"
) -> Targets:
    """Check class indices (n_samples,) in 0..n_classes-1, or probabilities (n_samples, n_classes)."""
    _ignore_index(ignore_index)
    array = as_array("y", y)
    if array.dtype.kind in "cOUSMmV":
        raise InputTypeError(
            f"y has dtype {array.dtype}, expected class indices (integers) or rows of probabilities (floats); "
            "np.unique(y, return_inverse=True)[1] turns labels into indices."
        )
    if array.ndim == 0:
        array = array[None]
    if array.ndim == 2:
        if ignore_index is not None:
            raise InputValueError(
                f"ignore_index is {ignore_index}, but y has rows of probabilities, which no index can mark; "
                "give such samples the weight 0 in sample_weight, or give class indices."
            )
        return Targets(np.empty(0, np.int32), _target_proba(array, n_samples, n_classes, dtype, n_of))
    if array.ndim != 1:
        raise InputValueError(
            f"y has {array.ndim} dimensions, expected 1 (class indices) or 2 (rows of probabilities)."
        )
    if array.shape[0] != n_samples:
        raise InputValueError(
            f"y has {array.shape[0]} entries, but {n_of} has {n_samples} rows; give one class index for each row."
        )
    if array.dtype.kind == "f" and array.size > 0:
        raise InputTypeError(
            f"y has dtype {array.dtype} and 1 dimension: class indices must be integers (y.astype(int)), "
            "and probabilities need shape (n_samples, n_classes)."
        )
    no_proba = np.empty((0, 0), dtype)
    if array.size == 0 or (array.min() >= 0 and array.max() < n_classes and ignore_index is None):
        return Targets(array.astype(np.int32), no_proba)  # the common case, without masks of a million rows
    ignored = np.zeros(array.shape, bool) if ignore_index is None else array == ignore_index
    bad = ((array < 0) | (array >= n_classes)) & ~ignored
    if bad.any():
        i = int(np.argmax(bad))
        or_ignore = ", or name the value in ignore_index" if n_of == "logits" else ""  # which the others do not have
        raise InputValueError(
            f"y contains class {array[i]} at row {i}, expected 0 to {n_classes - 1}; count classes from 0{or_ignore}."
        )
    labels = np.where(ignored, 0, array).astype(np.int32)  # y itself may be of a dtype that has no -1
    labels[ignored] = -1
    return Targets(labels, no_proba)


def _ignore_index(value: Any) -> None:
    if value is not None and (isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer))):
        raise InputTypeError(f"ignore_index is {plain(value)}, expected a whole number or None.")


def _target_proba(array: NDArray[Any], n_samples: int, n_classes: int, dtype: Any, n_of: str) -> Floats:
    if array.shape != (n_samples, n_classes):
        raise InputValueError(
            f"y has shape {array.shape}, but {n_of} needs ({n_samples}, {n_classes}) for rows of probabilities."
        )
    return writeable_view(distributions("y", np.ascontiguousarray(array.astype(dtype, copy=False))))


def distributions(name: str, proba: Floats) -> Floats:
    """Check rows of probabilities (n_samples, n_classes): none below 0, and sums of 1."""
    with np.errstate(invalid="ignore", over="ignore"):
        total = proba.sum(axis=1, dtype=np.float64)
        bad = ~(np.abs(total - 1) <= ROW_SUM_TOLERANCE) | (proba < 0).any(axis=1)
    if bad.any():
        i = int(np.argmax(bad))
        raise InputValueError(
            f"{name} row {i} is no probability distribution (sum {total[i]:.6g}, smallest {proba[i].min():.6g}); "
            "expected entries of at least 0 that sum to 1; divide each row by its sum."
        )
    return proba


@dataclass(frozen=True, eq=False)
class WeightedTargets:
    """Targets with all their weights, in the kernels' terms: t_k = gain_k q_k + floor_k, times the sample's weight.

    All weights are in units of 2^exponent, in which the largest is of size 1: sums of losses have the same units, and
    means, which are sums over `total`, have none. As a power of two the unit changes no digit.

    labels : int32 (n_samples,), -1 where ignored; (0,) for probabilities
    proba : (n_samples, n_classes); (0, 0) for class indices
    gain, floor : (n_classes,) of the logits' dtype; w_k (1 - e) and w_k e / n_classes
    weight : float64 (n_samples,), or (0,) where all are 1; positive ones are so in the logits' dtype, too. For class
        indices without label smoothing it includes the class weight, and gain is 1
    kind : which of the kernels' three kinds of target this is
    total : what a mean divides by
    exponent : of the unit
    """

    labels: NDArray[np.int32]
    proba: Floats
    gain: Floats
    floor: Floats
    weight: Float64s
    kind: int
    total: float
    exponent: int

    @property
    def weight_sum(self) -> float:
        """What a mean divides by, in the units of the weights that were given."""
        return in_units(self.total, self.exponent)

    def least_weight(self) -> float:
        """The least positive weight of a sample; 0 where targets are no single classes."""
        if self.kind != INDEX:
            return 0.0
        counts = self.labels >= 0
        if not self.weight.size:
            return float(counts.any())
        return float(self.weight.min(initial=np.inf, where=counts & (self.weight > 0)))


def weighted_targets(
    y: ArrayLike,
    n_samples: int,
    n_classes: int,
    dtype: Any,
    *,
    sample_weight: ArrayLike | None,
    class_weight: Mapping[int, float] | ArrayLike | None,
    label_smoothing: float,
    ignore_index: int | None = None,
    n_of: str = "logits",
    mean: bool = True,
) -> WeightedTargets:
    """Check targets, weights and smoothing together. The definitions are those of `functional.cross_entropy`.

    With `mean`, the weights are for a mean: they may not be all zero, and come in units of their largest. Without it
    they stay as they are.
    """
    target = targets(y, n_samples, n_classes, dtype, ignore_index=ignore_index, n_of=n_of)
    e = number("label_smoothing", label_smoothing, low=0.0, high=1.0)
    kind = PROBA if target.soft else INDEX_SMOOTHED if e > 0 else INDEX
    labels = target.labels if kind != PROBA else None
    ignored = target.labels < 0 if ignore_index is not None else None
    occur = target.proba if kind == PROBA and e == 0 else None
    s, w, total, exponent = _combined_weights(
        sample_weights(sample_weight, n_samples, all_zero=not mean),
        class_weights(class_weight, n_classes, all_zero=not mean),
        n_samples,
        n_classes,
        dtype,
        labels=labels,
        ignored=ignored,
        smoothed=e > 0,
        mean=mean,
        occur=occur,
    )
    with np.errstate(over="ignore"):  # without `mean`, weights may exceed the range of float32; callers check
        gain, floor = np.asarray(w * (1 - e), dtype), np.asarray(w * e / n_classes, dtype)
    return WeightedTargets(target.labels, target.proba, gain, floor, s, kind, total, exponent)


# Class weights that multiply probabilities stay as they are between these powers of two: the products with the tiniest
# probabilities would lose digits otherwise.
UNSCALED = {np.dtype(np.float32): 60, np.dtype(np.float64): 900}


def _combined_weights(
    s: Float64s,
    w: Float64s,
    n_samples: int,
    n_classes: int,
    dtype: Any,
    *,
    labels: NDArray[np.int32] | None,
    ignored: NDArray[np.bool_] | None,
    smoothed: bool,
    mean: bool,
    occur: Floats | None,
) -> tuple[Float64s, Float64s, float, int]:
    """Weights of samples and classes as `WeightedTargets` has them, what a mean divides by, and the exponent.

    `labels` are those of single classes, some of which may be `ignored`; `occur`, rows of probabilities, says which
    classes count.
    """
    exponent, by_class_exponent = 0, 0
    if labels is not None and not smoothed and w.size:  # one weight for each sample says it all
        s, exponent = _products(s, w[np.maximum(labels, 0)], mean=mean)
        w = np.empty(0)
    if s.size:
        s = s if ignored is None else np.where(ignored, 0.0, s)
        if mean:
            s, more = scaled(s)
            exponent += more
            least = np.finfo(dtype).tiny
            if s.min(initial=1.0, where=s > 0) < least:  # a positive weight counts in any dtype
                s = np.where(s > 0, np.maximum(s, least), 0.0)
    weighted, w = w.size > 0, w if w.size else np.ones(n_classes)
    most = UNSCALED[np.dtype(dtype)]
    if mean and not 2.0**-most < w.max() < 2.0**most:
        # A class that does not occur needs no weight; the largest must be one that does.
        w, by_class_exponent = scaled(w if occur is None else np.where(occur.any(axis=0), w, 0.0))
        if labels is None and by_class_exponent < -900:  # the sum of weights, in these units, would overflow
            w, by_class_exponent = np.ldexp(w, by_class_exponent + 900), -900
    if labels is not None and weighted:
        counted = w[labels] if ignored is None else np.where(ignored, 0.0, w[labels])
        total = float(np.sum(counted * s if s.size else counted))
    elif s.size:
        total = float(s.sum())
    else:
        total = float(n_samples if ignored is None else n_samples - np.count_nonzero(ignored))
    if labels is None:  # class weights do not enter the sum of weights
        total = in_units(total, -by_class_exponent)
    return s, w, total, exponent + by_class_exponent


def _products(s: Float64s, w: Float64s, *, mean: bool) -> tuple[Float64s, int]:
    """Products of two weights of each sample, in units of 2^exponent: for a mean such that none overflows."""
    if not s.size:
        return w, 0
    if not mean:
        return s * w, 0
    (a, p), (b, q) = np.frexp(s), np.frexp(w)
    product, power = a * b, p + q
    exponent = int(power[product > 0].max()) if product.any() else 0
    return np.ldexp(product, power - exponent), exponent


def scaled(weight: Float64s) -> tuple[Float64s, int]:
    """Weights divided by a power of two such that the largest is in [1, 2); and its exponent."""
    largest = float(weight.max(initial=0.0))
    exponent = int(np.frexp(largest)[1]) - 1 if largest > 0 else 0
    return (np.ldexp(weight, -exponent) if exponent else weight), exponent


def in_units(x: float, exponent: int) -> float:
    """A number times 2^exponent; infinite where that overflows."""
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(x, exponent))


@dataclass(frozen=True, eq=False)
class BinaryTargets:
    """Targets of one logit a sample: y in [0, 1] or -1 where ignored, weights, and what a mean divides by.

    Weights are in units of 2^exponent, as those of `WeightedTargets`.
    """

    y: Floats
    weight: Floats
    class_weight: Floats
    total: float
    exponent: int


def binary_targets(
    y: ArrayLike,
    z: Floats,
    *,
    sample_weight: ArrayLike | None,
    class_weight: Mapping[int, float] | ArrayLike | None,
    smoothed: bool = False,
    ignore_index: int | None,
    mean: bool = True,
) -> BinaryTargets:
    """Check classes 0 and 1, or probabilities of class 1, against logits `z` of any shape."""
    _ignore_index(ignore_index)
    array = as_array("y", y)
    if array.dtype.kind not in "biuf":
        raise InputTypeError(f"y has dtype {array.dtype}, expected classes 0 and 1 or probabilities of class 1.")
    if array.shape != z.shape:
        raise InputValueError(f"y has shape {array.shape}, but z has {z.shape}; give one target for each logit.")
    flat = array.reshape(-1)
    ignored = np.zeros(flat.shape, bool)
    if array.dtype.kind == "f":
        if ignore_index is not None:
            raise InputValueError(
                f"ignore_index is {ignore_index}, but y has probabilities ({array.dtype}), which no index can mark; "
                "give such samples the weight 0 in sample_weight, or give integers."
            )
        bad = ~((flat >= 0) & (flat <= 1))
    else:
        if ignore_index is not None:
            ignored = flat == ignore_index
        bad = ((flat != 0) & (flat != 1)) & ~ignored
    if bad.any():
        i = int(np.argmax(bad))
        raise InputValueError(f"y contains {flat[i]} at position {i}, expected 0, 1 or a probability between them.")
    given = None if sample_weight is None else as_array("sample_weight", sample_weight)
    if given is not None and given.shape != z.shape:
        raise InputValueError(f"sample_weight has shape {given.shape}, expected {z.shape}: one for each logit.")
    weight = sample_weights(None if given is None else given.ravel(), z.size, all_zero=not mean)
    target = np.where(ignored, 0, flat).astype(z.dtype)  # y itself may be of a dtype that has no -1
    target[ignored] = -1
    s, w, total, exponent = _combined_weights(
        weight,
        class_weights(class_weight, 2, all_zero=not mean),
        z.size,
        2,
        z.dtype,
        labels=None if array.dtype.kind == "f" else target.astype(np.int32),
        ignored=ignored if ignore_index is not None else None,
        smoothed=smoothed,
        mean=mean,
        occur=None,
    )
    with np.errstate(over="ignore"):  # as in `weighted_targets`
        return BinaryTargets(target, s.astype(z.dtype), w.astype(z.dtype), total, exponent)


def sample_weights(weight: ArrayLike | None, n_samples: int, *, all_zero: bool = False) -> Float64s:
    """Check weights of samples: float64 (n_samples,), or (0,) for None. All may be zero only with `all_zero`."""
    if weight is None:
        return np.empty(0)
    return _weights("sample_weight", weight, n_samples, "samples", all_zero=all_zero)


def class_weights(
    weight: Mapping[int, float] | ArrayLike | None, n_classes: int, *, all_zero: bool = False
) -> Float64s:
    """Check weights of classes: float64 (n_classes,) from an array or {class index: weight}; (0,) for None."""
    if weight is None:
        return np.empty(0)
    weight = by_label(weight, n_classes)
    if isinstance(weight, Mapping):
        full = np.ones(n_classes)
        for k, value in weight.items():
            if not isinstance(k, (int, np.integer)) or not 0 <= k < n_classes:
                some = f"class indices 0 to {n_classes - 1}"
                raise InputValueError(f"class_weight names class {plain(k)}, expected {some}.")
            full[k] = number(f"class_weight[{k}]", value, low=0.0)
        weight = full
    if isinstance(weight, str):
        raise InputTypeError(f"class_weight is {plain(weight)}, expected an array of {n_classes} weights or a dict.")
    return _weights("class_weight", weight, n_classes, "classes", all_zero=all_zero)


def _weights(name: str, weight: ArrayLike, n: int, things: str, *, all_zero: bool) -> Float64s:
    w = as_float64s(name, weight)
    if w.shape != (n,):
        raise InputValueError(f"{name} has shape {w.shape}, expected ({n},): one weight for each of the {n} {things}.")
    bad = ~(np.isfinite(w) & (w >= 0))
    if bad.any():
        i = int(np.argmax(bad))
        raise InputValueError(f"{name}[{i}] is {w[i]}, expected a finite weight of at least 0.")
    if n and not w.any() and not all_zero:
        raise InputValueError(
            f"{name} is all zero, expected at least one positive weight; nothing is left to learn from."
        )
    return writeable_view(w)


def number(name: str, value: Any, *, low: float, high: float = np.inf, low_open: bool = False) -> float:
    """Check one real number in [low, high] (or (low, high] with `low_open`)."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InputTypeError(f"{name} is {plain(value)}, expected a number.")
    x = float(value)
    if not (low < x if low_open else low <= x) or not x <= high or np.isinf(x):
        more = "more than" if low_open else "at least"
        upper = f" and at most {high:g}" if np.isfinite(high) else ""
        raise InputValueError(f"{name} is {x:g}, expected a finite number of {more} {low:g}{upper}.")
    return x


def count(name: str, value: Any, *, low: int = 1) -> int:
    """Check one whole number of at least `low`."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, np.integer)):
        raise InputTypeError(f"{name} is {plain(value)}, expected a whole number.")
    if value < low:
        raise InputValueError(f"{name} is {value}, expected at least {low}.")
    return int(value)


def choice(name: str, value: Any, options: Sequence[str]) -> str:
    """Check one of a few names."""
    if value not in options:
        one_of = "one of " if len(options) > 1 else ""
        raise InputValueError(f"{name} is {plain(value)}, expected {one_of}{', '.join(map(repr, options))}.")
    return str(value)


def device(value: Any) -> str:
    """Check the name of a device; whether there is such a one is asked when it is used."""
    if not isinstance(value, str) or not re.fullmatch(r"cpu|auto|cuda(:(all|\d+(,\d+)*))?", value):
        raise InputValueError(
            f"device is {plain(value)}, expected 'cpu', 'cuda', 'auto', one GPU such as 'cuda:1', or several: "
            "'cuda:0,1', 'cuda:all'."
        )
    return str(value)


def flag(name: str, value: Any) -> bool:
    """Check a truth value."""
    if not isinstance(value, (bool, np.bool_)):
        raise InputTypeError(f"{name} is {plain(value)}, expected True or False.")
    return bool(value)


def n_threads(value: int | None) -> int | None:
    """Check a number of threads: at most those that Numba was started with; None for its default."""
    if value is None:
        return None
    n = count("n_threads", value)
    most = int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
    if n > most:
        raise InputValueError(
            f"n_threads is {n}, but Numba was started with {most}; set NUMBA_NUM_THREADS before Python starts."
        )
    return n


def n_classes(value: int | None, y: ArrayLike, n_features: int = 0) -> int:
    """Check a number of classes, or find it in the targets; parameters of so many must fit in memory."""
    if value is not None:
        return _in_memory(count("n_classes", value, low=2), n_features)
    array = as_array("y", y)
    if array.ndim == 2:
        if array.shape[1] < 2:
            raise InputValueError(f"y has shape {array.shape}: {array.shape[1]} classes, expected at least 2.")
        return _in_memory(int(array.shape[1]), n_features)
    if array.dtype.kind not in "biu" or array.size == 0:
        return 2  # `targets` says what is wrong
    found = int(array.max()) + 1
    if found < 2:
        raise InputValueError(
            f"y contains only class {found - 1}, expected at least 2 classes; give n_classes if the others are absent."
        )
    if found > max(MANY_CLASSES, 10 * array.size):
        raise InputValueError(
            f"y contains class {found - 1}, which makes {found} classes for {array.size} samples; class indices count "
            "from 0: np.unique(y, return_inverse=True)[1] turns labels into indices, or give n_classes if it is right."
        )
    return _in_memory(found, n_features)


def _in_memory(n_classes: int, n_features: int) -> int:
    """Refuse so many classes that the parameters and a gradient do not fit in memory, before they are allocated."""
    if n_classes >= 2**31:
        raise InputValueError(f"n_classes is {n_classes}, expected less than 2**31; class indices take 32 bits.")
    needs_memory(
        2 * 8 * n_classes * (n_features + 1),
        f"n_classes is {n_classes}, with {n_features} features: parameters and gradient take",
        "give fewer classes or features",
    )
    return n_classes


def needs_memory(n_bytes: int, what: str, advice: str) -> None:
    """Refuse what takes more memory than this machine has; `what`, which ends in a verb, begins the message."""
    try:
        memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return
    if n_bytes > memory:
        raise InputValueError(
            f"{what} {n_bytes / 2**30:.4g} GiB, but this machine has {memory / 2**30:.4g} GiB of memory; {advice}."
        )


def offset(array: ArrayLike | None, shape: tuple[int, int], dtype: Any) -> Floats:
    """Check fixed additions to the logits: finite (n_samples, n_classes); (0, 0) for None."""
    if array is None:
        return np.empty((0, 0), dtype)
    a = as_floats("offset", array, dtype=dtype)
    if a.shape != shape:
        raise InputValueError(f"offset has shape {a.shape}, expected {shape}: one number for each sample and class.")
    bad = first_not_finite(a)
    if bad is not None:
        raise InputValueError(f"offset contains {a[bad]} at row {bad[0]}, column {bad[1]}; expected finite numbers.")
    return writeable_view(np.ascontiguousarray(a))


# --- features -----------------------------------------------------------------------------


def same_features(given: tuple[str, ...] | None, trained: tuple[str, ...] | None) -> None:
    """Refuse a frame whose columns are not the trained ones, in their order."""
    if given is None or trained is None or given == trained:
        return
    known, found = set(trained), set(given)  # there may be 100,000
    missing = [c for c in trained if c not in found]
    extra = [c for c in given if c not in known]
    if not missing and not extra:
        j = next(j for j, (a, b) in enumerate(zip(given, trained, strict=True)) if a != b)
        raise InputValueError(
            f"X has the trained features in another order (column {j} is {given[j]!r}, trained: {trained[j]!r}); "
            "select them by name: X[list(model.feature_names)]."
        )
    what = f"lacks {missing[0]!r}" if missing else f"has the unknown {extra[0]!r}"
    raise InputValueError(
        f"X {what} ({len(given)} features, the model was trained on {len(trained)}, first: {trained[0]!r}); "
        "give the features that the model was trained on."
    )


# --- the three gradients ----------------------------------------------------------------------


def some_samples(X: Floats) -> Floats:
    """Refuse zero rows where a mean over them is asked for."""
    if X.shape[0] == 0:
        raise InputValueError("X has no rows: a mean over nothing; give at least one sample.")
    return X


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


def callables(name: str, value: Any) -> tuple[Any, ...]:
    """Check a sequence of callbacks: functions, or objects with the hooks of `nbsoftmax.callbacks`."""
    if callable(value) or not hasattr(value, "__iter__"):
        raise InputTypeError(f"{name} is {plain(value)}, expected a sequence of functions, for example [function].")
    functions = tuple(value)
    for f in functions:
        if isinstance(f, type) or not (callable(f) or hasattr(f, "on_fit_task_end")):
            raise InputTypeError(
                f"{name} contains {plain(f)}, which cannot be called; give functions of one argument, or objects with "
                "the hooks of nbsoftmax.callbacks."
            )
    return functions
