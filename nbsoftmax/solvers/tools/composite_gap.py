"""The gap of an objective whose penalty has no gradient everywhere, also with unpenalised coefficients."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.penalties import AnyPenalty
from nbsoftmax.solvers.base import Composite, Curved
from nbsoftmax.solvers.tools.duality import dual_value, duality_gap, gap_at_optimal_intercept, loss_alone
from nbsoftmax.solvers.tools.free_features import free_step
from nbsoftmax.validation import Float64s

MOST_UNPROVEN = 3  # iterations with an estimate within tol before a fit whose gap could be proven ends without a bound
MOST_FREE_STEPS = 8  # Newton steps, which converge quadratically, to the minimum over the free coefficients
SETTLED = 0.1  # relative change of the gap by one of these steps


def suffices(penalty: AnyPenalty, kind: str, n_unproven: int) -> bool:
    """Whether a fit may end with a gap of this kind, which is within tolerance.

    Where a bound is possible, an estimate ends the fit only after more than `MOST_UNPROVEN` iterations with one.
    """
    return not (penalty.is_finite and kind == "estimate") or n_unproven > MOST_UNPROVEN


def gap_within(
    objective: Composite, sums: Curved, params: Float64s, loss: float, loss_grad: Float64s, allowed: float
) -> tuple[float, str]:
    """The gap of `composite_gap`, or inf if it is certainly not within `allowed`."""
    least = gap_at_optimal_intercept(objective, params, loss, loss_grad)
    return (
        composite_gap(objective, sums, params, loss, loss_grad, allowed) if least <= allowed else (math.inf, "estimate")
    )


def composite_gap(
    objective: Composite, sums: Curved, params: Float64s, loss: float, loss_grad: Float64s, allowed: float
) -> tuple[float, str]:
    """The gap by duality and its kind; `loss` and `loss_grad` are those of the loss alone, over S."""
    penalty = objective.penalty
    gap, kind = duality_gap(objective, sums, params, loss, loss_grad)
    free = penalty.movable(params[:, :-1], loss_grad[:, :-1])
    if kind == "duality" or not free.any():
        return gap, kind
    if penalty.is_finite and gap <= allowed:  # bounds of all coefficients prove a gap, if any does
        proven = duality_gap(objective, sums, params, loss, loss_grad, relaxed=False)
        if proven[0] <= allowed:
            return proven
    decrement, step = free_step(sums, params, loss_grad, free)
    gap += decrement
    value = loss + penalty.value(params[:, :-1])
    if gap <= allowed:
        gap = max(gap, _gap_at_free_minimum(objective, sums, params + step, value, free, gap))
    return (gap, "estimate") if gap < value else (value, "duality")  # no minimum is below 0


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
