"""Weighted targets as backends need them: those of some rows, and the weights of the samples in the Hessian."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels.kinds import INDEX, PROBA
from nbsoftmax.validation import Float64s, WeightedTargets


def part_of(target: WeightedTargets, part: slice) -> WeightedTargets:
    """The target of some rows; `total` stays that of all."""

    def cut(array: NDArray[Any]) -> NDArray[Any]:
        return array[part] if array.size else array

    return replace(target, labels=cut(target.labels), proba=cut(target.proba), weight=cut(target.weight))


def targets_in(dtype: Any, target: WeightedTargets) -> WeightedTargets:
    """The target in the dtype of the logits."""
    proba, gain, floor = (a.astype(dtype, copy=False) for a in (target.proba, target.gain, target.floor))
    return replace(target, proba=proba, gain=gain, floor=floor)


def curvature_weights(target: WeightedTargets) -> Float64s:
    """h_i = s_i sum_k t_ik: the weight of sample i in the Hessian; (0,) where all are 1."""
    weight, labels = target.weight, target.labels
    if target.kind != INDEX:
        gain, floor = target.gain.astype(np.float64), target.floor.astype(np.float64)
        mass = np.einsum("ik,k->i", target.proba, gain) if target.kind == PROBA else gain[labels]
        mass = mass + floor.sum()
        weight = mass * weight if weight.size else mass
    return np.ascontiguousarray(weight, np.float64)
