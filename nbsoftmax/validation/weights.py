"""Validation of the weights of samples and classes, with the targets that they weigh."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.kernels.kinds import INDEX, INDEX_SMOOTHED, PROBA
from nbsoftmax.validation.arrays import Float64s, Floats, as_float64s, writeable_view
from nbsoftmax.validation.conversion import as_array
from nbsoftmax.validation.frames import by_label
from nbsoftmax.validation.options import number
from nbsoftmax.validation.targets import _ignore_index, targets


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
