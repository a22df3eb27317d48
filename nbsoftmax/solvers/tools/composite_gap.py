"""The gap of an objective whose penalty has no gradient everywhere, also with unpenalised coefficients."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.penalties import AnyPenalty, FeaturePenalty
from nbsoftmax.solvers.base import NOISE, Composite, Curved, least_subgradient
from nbsoftmax.solvers.tools.duality import dual_value, duality_gap, gap_at_optimal_intercept, loss_alone
from nbsoftmax.solvers.tools.free_features import free_step
from nbsoftmax.validation import Float64s

MOST_UNPROVEN = 3  # iterations with an estimate within tol before a fit whose gap could be proven ends without a bound
MOST_FREE_STEPS = 8  # Newton steps, which converge quadratically, to the minimum over the free coefficients
FAR = 100.0  # times the allowed gap: an estimate above it is not computed further
SETTLED = 0.1  # relative change of the gap by one of these steps


def suffices(penalty: AnyPenalty, kind: str, n_unproven: int) -> bool:
    """Whether a fit may end with a gap of this kind, which is within tolerance.

    Where a bound is possible, an estimate ends the fit only after more than `MOST_UNPROVEN` iterations with one.
    """
    return not (penalty.is_finite and kind == "estimate") or n_unproven > MOST_UNPROVEN


class Evaluated(NamedTuple):
    """A composite objective at a point, and the gap that is allowed there."""

    objective: Composite
    sums: Curved
    params: Float64s
    loss: float  # that of the loss alone, over S, as its gradient
    loss_grad: Float64s
    allowed: float


def gap_within(at: Evaluated, *, rough: bool = False) -> tuple[float, str]:
    """The gap of `composite_gap`, or a lower bound of it above `FAR` times `allowed`, or inf if that is certain.

    `rough` sums are those of float32 products, after which the fit goes on in float64: a rough estimate suffices.
    """
    least = gap_at_optimal_intercept(at.objective, at.params, at.loss, at.loss_grad)
    if not least <= at.allowed:
        return math.inf, "estimate"
    return composite_gap(at, most=FAR * at.allowed, rough=rough)


def composite_gap(at: Evaluated, *, most: float = math.inf, rough: bool = False) -> tuple[float, str]:
    """The gap by duality and its kind. An estimate above `most` is only a lower bound."""
    objective, sums, params, loss, loss_grad, allowed = at
    penalty = objective.penalty
    gap, kind = duality_gap(objective, sums, params, loss, loss_grad)
    if gap > allowed and objective.fit_intercept:
        loss_grad = _at_best_intercept(sums, params, loss, loss_grad, rough=rough)
        corrected = duality_gap(objective, sums, params, loss, loss_grad)
        gap, kind = min((gap, kind), corrected)
    free = penalty.movable(params[:, :-1], loss_grad[:, :-1])
    if kind == "duality" or not free.any():
        exact = not gap > allowed or not isinstance(penalty, FeaturePenalty)
        return (gap, kind) if exact else _up_to_rounding(objective, sums, params, loss, loss_grad, allowed, (gap, kind))
    if penalty.is_finite and gap <= allowed:  # bounds of all coefficients prove a gap, if any does
        proven = duality_gap(objective, sums, params, loss, loss_grad, relaxed=False)
        if proven[0] <= allowed:
            return proven
    decrement, step = free_step(sums, params, loss_grad, free, most=most, rough=rough)
    gap += decrement
    value = loss + penalty.value(params[:, :-1])
    if gap <= allowed and not rough:
        gap = max(gap, _gap_at_free_minimum(objective, sums, params + step, value, free, gap))
    return (gap, "estimate") if gap < value else (value, "duality")  # no minimum is below 0


def _at_best_intercept(
    sums: Curved, params: Float64s, loss: float, loss_grad: Float64s, *, rough: bool = False
) -> Float64s:
    """The gradient of the loss at the best intercept near that of `params`, if J is the same up to rounding errors.

    Where the means of features are large, the numbers nearest to the best intercept leave a gradient that is a rounding
    error for the intercept, but times such a mean it is more than l1 or l2 allows to V, see `duality`.
    """
    noise = NOISE * abs(loss)
    decrement, step = free_step(sums, params, loss_grad, np.zeros(params.shape[1] - 1, bool), most=noise, rough=rough)
    return loss_grad + sums.hvp(params, step) if decrement <= noise else loss_grad


def _up_to_rounding(
    objective: Composite,
    sums: Curved,
    params: Float64s,
    loss: float,
    loss_grad: Float64s,
    allowed: float,
    proven: tuple[float, str],
) -> tuple[float, str]:
    """The gap without the rounding errors of V, as an estimate, where it is at most `allowed`; otherwise `proven`.

    A sum over r_i x_ij has rounding errors in proportion to the size of feature j, of which the variation of the
    feature, and with it l1 or l2, may be a small part. The subgradient counts as 0 where it is not larger.
    """
    slack = NOISE * np.sqrt(sums.curvatures(params)[:, :-1])
    slope = loss_grad.copy()
    objective.penalty.add_gradient(params[:, :-1], slope[:, :-1])
    subgradient = least_subgradient(objective.penalty, params, slope)[:, :-1]
    relaxed = loss_grad.copy()
    relaxed[:, :-1] -= np.clip(subgradient, -slack, slack)
    gap = duality_gap(objective, sums, params, loss, relaxed)[0]
    return (gap, "estimate") if gap <= allowed else proven


def _gap_at_free_minimum(
    objective: Composite, sums: Curved, at: Float64s, value: float, free: NDArray[np.bool_], gap: float
) -> float:
    """`value` less the dual's at the minimum over the free coefficients that Newton steps from `at` find.

    In the dual each free coefficient and the intercept have an equality constraint, which the probabilities there
    satisfy. They move the gradient of the penalised coefficients, too, of which the dual may be a steep function.
    """
    for n in range(MOST_FREE_STEPS):
        loss, grad = loss_alone(objective, at, *sums.value_and_grad(at))
        # Coefficients that the new gradient does not hold at their bounds are free, too.
        free = free | objective.penalty.movable(at[:, :-1], grad[:, :-1])
        before, gap = gap, value - dual_value(objective, at, loss, grad, free)
        if abs(gap - before) <= SETTLED * gap or n == MOST_FREE_STEPS - 1:
            break
        decrement, step = free_step(sums, at, grad, free)
        if decrement == math.inf:
            return math.inf
        at = at + step
    return gap
