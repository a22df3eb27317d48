"""Targets of binary cross-entropy, with one logit for each sample: classes 0 and 1, or probabilities of class 1."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax.errors import InputTypeError, InputValueError
from nbsoftmax.validation.arrays import Float64s, Floats, as_floats
from nbsoftmax.validation.conversion import as_array
from nbsoftmax.validation.options import ignored_index
from nbsoftmax.validation.weighting import TargetSummary, combine_weights
from nbsoftmax.validation.weights import cast, class_weights, sample_weights


@dataclass(frozen=True, eq=False)
class BinaryTargets:
    """Binary targets with their weights, in units of 2^exponent as those of `WeightedTargets`.

    y : (n_samples,) in [0, 1], or -1 for an ignored sample
    weight : (n_samples,), or (0,) if all are 1
    class_weight : (2,)
    total : divisor of a mean
    exponent : exponent of the unit
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
    """Check the targets and weights of logits `z` of any shape; `mean` is as in `weighted_targets`."""
    array = as_array("y", y)
    target, ignored = _binary_classes(array, z, ignore_index)
    weight = _sample_weights(sample_weight, z, all_zero=not mean)
    summary = TargetSummary(
        z.size,
        2,
        z.dtype,
        labels=None if array.dtype.kind == "f" else target.astype(np.int32),
        ignored=ignored if ignore_index is not None else None,
        proba=None,
        smoothed=smoothed,
    )
    sample, by_class, total, exponent = combine_weights(
        weight, class_weights(class_weight, 2, all_zero=not mean), summary, mean=mean
    )
    return BinaryTargets(target, cast(sample, z.dtype), cast(by_class, z.dtype), total, exponent)


def _binary_classes(array: NDArray[Any], z: Floats, ignore_index: int | None) -> tuple[Floats, NDArray[np.bool_]]:
    """Check targets; return them in the dtype of `z`, with -1 for ignored samples, and which these are."""
    ignored_index(ignore_index)
    if array.dtype.kind not in "biuf":
        raise InputTypeError(f"y has dtype {array.dtype}, expected classes 0 and 1 or probabilities of class 1.")
    if array.shape != z.shape:
        raise InputValueError(f"y has shape {array.shape}, but z has {z.shape}; give one target for each logit.")
    flat = array.reshape(-1)
    ignored = np.zeros(flat.shape, bool)
    if array.dtype.kind == "f":
        if ignore_index is not None:
            raise InputValueError(
                f"ignore_index is {ignore_index}, but y has probabilities ({array.dtype}), expected class indices; "
                "give the samples to ignore the weight 0 in sample_weight, or give integers."
            )
        bad = ~((flat >= 0) & (flat <= 1))
    else:
        if ignore_index is not None:
            ignored = flat == ignore_index
        bad = ((flat != 0) & (flat != 1)) & ~ignored
    if bad.any():
        i = int(np.argmax(bad))
        raise InputValueError(f"y contains {flat[i]} at position {i}, expected 0, 1 or a probability between them.")
    target = np.where(ignored, 0, flat).astype(z.dtype)  # the dtype of y may have no -1
    target[ignored] = -1
    return target, ignored


def positive_weights(weight: ArrayLike | None, shape: tuple[int, ...]) -> Float64s:
    """Check weights of class 1 that are broadcast to `shape`: flat, to be repeated in C order; (0,) for None."""
    if weight is None:
        return np.empty(0)
    w = as_floats("pos_weight", weight, dtype=np.float64)
    try:
        fits = np.broadcast_shapes(w.shape, shape) == shape
    except ValueError:
        fits = False
    if not fits:
        columns = f"({shape[-1]},), one weight for each column" if shape else "(), one number"
        raise InputValueError(
            f"pos_weight has shape {w.shape}, which cannot be broadcast to {shape}, the shape of z; "
            f"expected for example {columns}."
        )
    if not (np.isfinite(w) & (w >= 0)).all():
        raise InputValueError("pos_weight contains a negative number, NaN or inf, expected weights of at least 0.")
    alike = next((i for i, n in enumerate(w.shape) if n != 1), w.ndim)  # leading axes of size 1
    w = w.reshape(w.shape[alike:])
    repeated: Float64s = np.broadcast_to(w, shape[len(shape) - w.ndim :]).astype(np.float64)
    return repeated.reshape(-1)


def _sample_weights(weight: ArrayLike | None, z: Floats, *, all_zero: bool) -> Float64s:
    """Check weights of samples in the shape of `z`; return them flat."""
    if weight is None:
        return sample_weights(None, z.size, all_zero=all_zero)
    given = as_array("sample_weight", weight)
    if given.shape != z.shape:
        raise InputValueError(f"sample_weight has shape {given.shape}, expected {z.shape}: one for each logit.")
    return sample_weights(given.ravel(), z.size, all_zero=all_zero)
