"""Validation of targets: class indices, or rows of probabilities."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.validation.arrays import Floats, writeable_view
from nbsoftmax.validation.conversion import as_array
from nbsoftmax.validation.options import count

# Rows of target probabilities may come from float16 soft labels: 1000 of them, each rounded to 11
# bits, are off by up to 5e-4 in their sum. A row further off than this is a mistake, not a rounding.
ROW_SUM_TOLERANCE = 1e-3


# Beyond this number, classes that were counted by the largest index must be backed by a tenth as many samples.
MANY_CLASSES = 2**20


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
