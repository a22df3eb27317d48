"""Weighted targets as backends need them: those of some rows, and the weights of the samples in the Hessian."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels import rows
from nbsoftmax.kernels.kinds import INDEX, PARTIAL, PROBA
from nbsoftmax.kernels.partial import PartialTarget
from nbsoftmax.validation import Float64s, WeightedTargets


def part_of(target: WeightedTargets, part: slice) -> WeightedTargets:
    """The target of some rows; `total` stays that of all."""

    def cut(array: NDArray[Any]) -> NDArray[Any]:
        return array[part] if array.size else array

    labels, proba, weight = cut(target.labels), cut(target.proba), cut(target.weight)
    return replace(target, labels=labels, proba=proba, weight=weight, possible=cut(target.possible))


def targets_in(dtype: Any, target: WeightedTargets) -> WeightedTargets:
    """The target in the dtype of the logits."""
    proba, gain, floor = (a.astype(dtype, copy=False) for a in (target.proba, target.gain, target.floor))
    return replace(target, proba=proba, gain=gain, floor=floor)


def kernel_target(target: WeightedTargets) -> rows.Target | PartialTarget:
    """The target as the kernels take it."""
    if target.kind == PARTIAL:
        return PartialTarget(target.possible.reshape(-1).view(np.uint8), target.weight)
    return rows.Target(target.labels, target.proba.reshape(-1), target.gain, target.floor, target.weight, target.kind)


def curvature_weights(target: WeightedTargets) -> Float64s:
    """h_i = s_i sum_k t_ik: the weight of sample i in the Hessian; (0,) where all are 1.

    For partial labels the Hessian has another part, which is not positive: that with these weights is an upper bound.
    """
    weight, labels = target.weight, target.labels
    if target.kind not in (INDEX, PARTIAL):
        gain, floor = target.gain.astype(np.float64), target.floor.astype(np.float64)
        mass = np.einsum("ik,k->i", target.proba, gain) if target.kind == PROBA else gain[labels]
        mass = mass + floor.sum()
        weight = mass * weight if weight.size else mass
    return np.ascontiguousarray(weight, np.float64)
