"""The gap of an objective whose penalty has no gradient everywhere, also with unpenalised coefficients."""

from __future__ import annotations

import math

from nbsoftmax.penalties import AnyPenalty
from nbsoftmax.solvers.base import Composite, Curved
from nbsoftmax.solvers.tools.duality import duality_gap, gap_at_optimal_intercept
from nbsoftmax.solvers.tools.free_features import free_decrement
from nbsoftmax.validation import Float64s

MOST_UNPROVEN = 3  # iterations with an estimate within tol before a fit whose gap could be proven ends without a bound


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
    # The dual has an equality constraint for each unpenalised coefficient, which holds only at their optimum.
    gap += free_decrement(sums, params, loss_grad, free)
    value = loss + penalty.value(params[:, :-1])
    return (gap, "estimate") if gap < value else (value, "duality")  # no minimum is below 0
