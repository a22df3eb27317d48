"""Targets with their weights, in the form that the kernels use.

    t_ik = s_i (gain_k q_ik + floor_k),    gain_k = w_k (1 - e),    floor_k = w_k e / n_classes

for the sample weights s, the class weights w, the label smoothing e, and q the rows of probabilities (for a class
index: 1 for this class, 0 for all others). `nbsoftmax.functional.cross_entropy` defines the loss and its mean.

Weights may have any scale that float64 can hold, and products of weights could overflow or lose digits. For a mean,
the weights are therefore divided by a power of two, 2^exponent, such that the largest is near 1. This changes no digit
of the mean, and sums are multiplied by 2^exponent at the end (`in_units`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.kinds import INDEX, INDEX_SMOOTHED, PARTIAL, PROBA
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation.arrays import Float64s, Floats
from nbsoftmax.validation.options import number
from nbsoftmax.validation.partial import Possible, without_unknown
from nbsoftmax.validation.targets import Targets, targets
from nbsoftmax.validation.weights import cast, class_weights, in_units, sample_weights, scaled

# The largest class weight is scaled only if it is outside 2^-x to 2^x, by dtype. Scaling moves the other class weights
# too, and a smaller weight times a small probability could become subnormal, which loses digits.
CLASS_WEIGHT_RANGE = {np.dtype(np.float32): 60, np.dtype(np.float64): 900}
LEAST_EXPONENT = -900  # of scaled class weights for probabilities: below, the sum of weights in these units overflows


@dataclass(frozen=True, eq=False)
class WeightedTargets:
    """Targets with all their weights; the module's docstring has the formula.

    All weights are in units of 2^exponent. Sums of losses have the same units; means, which are sums divided by
    `total`, have none.

    labels : int32 (n_samples,), -1 for an ignored sample; (0,) for probabilities
    proba : (n_samples, n_classes); (0, 0) for class indices
    gain, floor : (n_classes,) of the logits' dtype
    weight : float64 (n_samples,), or (0,) if all are 1; a positive weight is also positive in the logits' dtype. For
        class indices without label smoothing it includes the class weight, and gain is 1
    kind : one of `nbsoftmax.kernels.kinds`
    total : divisor of a mean
    exponent : exponent of the unit
    possible : bool (n_samples, n_classes), the possible classes of partial labels; (0, 0) for other kinds
    """

    labels: NDArray[np.int32]
    proba: Floats
    gain: Floats
    floor: Floats
    weight: Float64s
    kind: int
    total: float
    exponent: int
    possible: Possible = field(default_factory=lambda: np.empty((0, 0), bool))

    @property
    def weight_sum(self) -> float:
        """Divisor of a mean, in the units of the weights that were given."""
        return in_units(self.total, self.exponent)

    def separable_below(self) -> float:
        """A mean loss below which all classes are separated without error; 0 if the loss cannot show that.

        If the loss of every sample is below log 2, each has a probability above one half for its class. If it is below
        -log(1 - 1 / K) for partial labels, the most probable class of each is possible, because the others together
        have less than 1 / K. Either way, multiples of the parameters then bring the loss to 0. Where one class is
        possible for all samples, that separates nothing.
        """
        if self.kind == PARTIAL:
            possible = self.possible[self.weight > 0] if self.weight.size else self.possible
            if possible.all(axis=0).any():
                return 0.0
        sure = 1 - 1 / self.gain.size if self.kind == PARTIAL else 0.5
        return -float(np.log(sure)) * self._least_weight() / self.total

    def _least_weight(self) -> float:
        """The smallest positive weight of a sample; 0 for probabilities and smoothed labels."""
        if self.kind == PARTIAL:
            return float(self.weight.min(initial=np.inf, where=self.weight > 0)) if self.weight.size else 1.0
        if self.kind != INDEX:
            return 0.0
        counts = self.labels >= 0
        if not self.weight.size:
            return float(counts.any())
        return float(self.weight.min(initial=np.inf, where=counts & (self.weight > 0)))

    def class_sums(self) -> Float64s:
        """sum_i t_ik, the weight of each class, (n_classes,); partial labels count in equal shares."""
        weight, n_classes = self.weight, self.gain.size
        if self.kind == PARTIAL:
            shares = 1 / self.possible.sum(axis=1)
            return np.asarray((shares * weight if weight.size else shares) @ self.possible)
        if self.kind == PROBA:
            shares = np.einsum("i,ik->k", weight, self.proba) if weight.size else None
            sums: Float64s = self.proba.sum(axis=0, dtype=np.float64) if shares is None else shares
        else:
            sums = np.bincount(self.labels, weight if weight.size else None, n_classes).astype(np.float64)
        if self.kind == INDEX:
            return sums
        mass = pairwise_sum(weight) if weight.size else max(self.labels.size, len(self.proba))
        return np.asarray(sums * self.gain.astype(np.float64) + mass * self.floor.astype(np.float64))


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
    """Check targets, weights and smoothing together. `n_of` names the array that has one row for each target.

    With `mean`, the weights are those of a mean: at least one must be positive, and they are scaled. Without it they
    are returned unscaled.
    """
    target = targets(y, n_samples, n_classes, dtype, ignore_index=ignore_index, n_of=n_of)
    smoothing = number("label_smoothing", label_smoothing, low=0.0, high=1.0)
    sample = sample_weights(sample_weight, n_samples, all_zero=not mean)
    by_class = class_weights(class_weight, n_classes, all_zero=not mean)
    ignores = ignore_index is not None
    return weigh(target, sample, by_class, n_classes, dtype, label_smoothing=smoothing, ignores=ignores, mean=mean)


def weigh(
    target: Targets,
    sample: Float64s,
    by_class: Float64s,
    n_classes: int,
    dtype: Any,
    *,
    label_smoothing: float,
    ignores: bool = False,
    mean: bool = True,
) -> WeightedTargets:
    """Combine checked targets, weights of samples and of classes, each of size 0 if none are given, and smoothing.

    `ignores` says whether some samples may be ignored; `mean` is as in `weighted_targets`.
    """
    e = label_smoothing
    if target.possible.size:
        return _weigh_partial(target, sample, dtype, other_options=by_class.size > 0 or e > 0)
    if not (target.soft or sample.size or by_class.size or e > 0 or ignores):  # the common case, in a few calls
        m, ones = target.labels.size, np.ones(n_classes, dtype)
        return WeightedTargets(
            target.labels, target.proba, ones, np.zeros(n_classes, dtype), sample, INDEX, float(m), 0
        )
    kind = PROBA if target.soft else INDEX_SMOOTHED if e > 0 else INDEX
    summary = TargetSummary(
        len(target.proba if target.soft else target.labels),
        n_classes,
        dtype,
        labels=None if kind == PROBA else target.labels,
        ignored=target.labels < 0 if ignores else None,
        proba=target.proba if kind == PROBA and e == 0 else None,
        smoothed=e > 0,
    )
    sample, by_class, total, exponent = combine_weights(sample, by_class, summary, mean=mean)
    gain, floor = cast(by_class * (1 - e), dtype), cast(by_class * e / n_classes, dtype)
    return WeightedTargets(target.labels, target.proba, gain, floor, sample, kind, total, exponent)


def _weigh_partial(target: Targets, sample: Float64s, dtype: Any, *, other_options: bool) -> WeightedTargets:
    """Partial labels with sample weights; samples of which nothing is known have the weight 0."""
    if other_options:
        raise InputValueError(
            "y holds partial labels, for which class_weight and label_smoothing have no meaning; use sample_weight."
        )
    n_samples, n_classes = target.possible.shape
    sample = without_unknown(target.possible, sample)
    summary = TargetSummary(n_samples, n_classes, dtype, labels=None, ignored=None, proba=None, smoothed=False)
    sample, _, total, exponent = combine_weights(sample, np.empty(0), summary, mean=True)
    ones, zeros = np.ones(n_classes, dtype), np.zeros(n_classes, dtype)
    return WeightedTargets(target.labels, target.proba, ones, zeros, sample, PARTIAL, total, exponent, target.possible)


class TargetSummary(NamedTuple):
    """The properties of targets that determine how their weights are combined."""

    n_samples: int
    n_classes: int
    dtype: Any  # of the logits
    labels: NDArray[np.int32] | None  # class indices (n_samples,); None for probabilities
    ignored: NDArray[np.bool_] | None  # (n_samples,); None if no sample can be ignored
    proba: Floats | None  # (n_samples, n_classes), for probabilities without smoothing: only classes > 0 count
    smoothed: bool  # with label smoothing each sample has a share of every class


class CombinedWeights(NamedTuple):
    """Weights in units of 2^exponent, and the divisor of a mean in the same units."""

    sample: Float64s  # (n_samples,); (0,) if all are 1
    by_class: Float64s  # (n_classes,)
    total: float
    exponent: int


def combine_weights(sample: Float64s, by_class: Float64s, target: TargetSummary, *, mean: bool) -> CombinedWeights:
    """Combine checked weights of samples and of classes, each of size 0 if none are given."""
    exponent = 0
    if target.labels is not None and not target.smoothed and by_class.size:
        # Every sample belongs to one class, so the class weight becomes part of the sample weight.
        sample, exponent = _products(sample, by_class[np.maximum(target.labels, 0)], mean=mean)
        by_class = np.empty(0)
    if sample.size:
        if target.ignored is not None:
            sample = np.where(target.ignored, 0.0, sample)
        if mean:
            sample, more = _scaled_sample_weights(sample, target.dtype)
            exponent += more
    has_class_weights = by_class.size > 0
    by_class, class_exponent = _scaled_class_weights(
        by_class if has_class_weights else np.ones(target.n_classes), target, mean=mean
    )
    with np.errstate(over="ignore"):  # a sum that no mean is divided by may overflow
        total = _total(sample, by_class if has_class_weights else None, target)
    if target.labels is None:  # the divisor for probabilities contains no class weights
        total = in_units(total, -class_exponent)
    return CombinedWeights(sample, by_class, total, exponent + class_exponent)


def _products(sample: Float64s, of_class: Float64s, *, mean: bool) -> tuple[Float64s, int]:
    """Products of two weights of each sample, in units of 2^exponent: for a mean such that none overflows."""
    if not sample.size:
        return of_class, 0
    if not mean:
        with np.errstate(over="ignore", under="ignore"):
            return sample * of_class, 0
    (a, p), (b, q) = np.frexp(sample), np.frexp(of_class)
    product, power = a * b, p + q
    exponent = int(power[product > 0].max()) if product.any() else 0
    return np.ldexp(product, power - exponent), exponent


def _scaled_sample_weights(sample: Float64s, dtype: Any) -> tuple[Float64s, int]:
    """Scale the weights of samples; positive ones become at least the smallest normal number of `dtype`."""
    sample, exponent = scaled(sample)
    least = np.finfo(dtype).tiny
    if sample.min(initial=1.0, where=sample > 0) < least:
        sample = np.where(sample > 0, np.maximum(sample, least), 0.0)
    return sample, exponent


def _scaled_class_weights(by_class: Float64s, target: TargetSummary, *, mean: bool) -> tuple[Float64s, int]:
    """Scale the weights of classes if the largest is outside `CLASS_WEIGHT_RANGE`."""
    most = CLASS_WEIGHT_RANGE[np.dtype(target.dtype)]
    if not mean or 2.0**-most < by_class.max() < 2.0**most:
        return by_class, 0
    if target.proba is not None:  # the largest weight must be that of a class that occurs
        by_class = np.where(target.proba.any(axis=0), by_class, 0.0)
    by_class, exponent = scaled(by_class)
    if target.labels is None and exponent < LEAST_EXPONENT:
        return np.ldexp(by_class, exponent - LEAST_EXPONENT), LEAST_EXPONENT
    return by_class, exponent


def _total(sample: Float64s, by_class: Float64s | None, target: TargetSummary) -> float:
    """Sum over the samples that are not ignored of s_i, times the weight of the sample's class if there are labels."""
    if target.labels is not None and by_class is not None:
        weight = by_class[target.labels]
        if target.ignored is not None:
            weight = np.where(target.ignored, 0.0, weight)
        return float(pairwise_sum(weight * sample if sample.size else weight))
    if sample.size:
        return float(pairwise_sum(sample))
    return float(target.n_samples if target.ignored is None else target.n_samples - np.count_nonzero(target.ignored))
