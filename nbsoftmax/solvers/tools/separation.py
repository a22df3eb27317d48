"""Perfectly separable classes, for which the objective without a penalty has no minimum.

With p_ik = z_iy - z_ik the margins of sample i, the loss decreases forever along a direction in which some margins grow
and none decreases (A. Albert, J. Anderson, "On the existence of maximum likelihood estimates in logistic regression
models", Biometrika 71, 1984). Without a penalty, Newton's method follows such a direction: each step adds about 1 to
these margins p, which contribute about exp(-p) to the loss, however close the objective is to its infimum. Near a
minimum, the steps tend to 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.base import CountsMargins
from nbsoftmax.backends.separation import ALL_GROW, GROWS, SHRINKS
from nbsoftmax.penalties import AnyPenalty, BoundedPenalty, FeaturePenalty
from nbsoftmax.solvers.tools.free_features import free_step
from nbsoftmax.validation import Float64s

FAR = 2.0**20  # times the parameters: the margins then exceed those of the offset
LEAST_PRODUCTS = 20  # for a step that the solver has not found; at most as many as its iterations, if these are more

if TYPE_CHECKING:
    from nbsoftmax.penalized_loss import PenalizedLoss
    from nbsoftmax.solvers.base import Solution


def unbounded_step(objective: PenalizedLoss, solution: Solution) -> Float64s | None:
    """The Newton step from the end of a fit along the coefficients that neither a penalty nor a bound holds.

    None if there are none besides the intercepts. Along a step that increases margins and decreases none, such
    coefficients have no minimum, whatever the penalty of the others is.
    """
    penalty, n_features = objective.penalty, objective.n_features
    if not _has_unheld(penalty, n_features):
        return None
    step, point = solution.newton_step, solution.params
    if step is None or isinstance(penalty, BoundedPenalty):
        smooth = objective.smooth_part()
        grad = smooth.value_and_grad(point)[1]
        free = penalty.movable(point[:, :-1], grad[:, :-1])
        step = free_step(smooth, point, grad, free, max(LEAST_PRODUCTS, solution.n_iter))[1]
    return _unheld(penalty, step)


def separates(objective: PenalizedLoss, params: Callable[[], Float64s]) -> bool:
    """Whether J, which is below `no_errors_below` at params, has no minimum, because multiples of params lower it.

    `params` computes them: few fits need them. With an offset, or if a penalty or bounds hold some coefficients, such a
    J does not suffice: the margins from the other coefficients alone must be positive.
    """
    if objective.separable_below > 0:
        return True
    penalty = objective.penalty
    if not objective.can_separate or not _has_unheld(penalty, objective.n_features):
        return False
    step = FAR * _unheld(penalty, params())
    found = separated(objective, np.zeros_like(step), step)
    return found.size == np.count_nonzero(objective.class_mass)


def _has_unheld(penalty: AnyPenalty, n_features: int) -> TypeGuard[FeaturePenalty | BoundedPenalty]:
    """Whether there are coefficients besides the intercepts that nothing holds."""
    return isinstance(penalty, FeaturePenalty | BoundedPenalty) and bool(penalty.unpenalised(n_features).any())


def _unheld(penalty: FeaturePenalty | BoundedPenalty, direction: Float64s) -> Float64s:
    """The direction with 0 for the coefficients that a penalty or a bound holds."""
    coef = direction[:, :-1]
    held = np.broadcast_to(~penalty.unpenalised(coef.shape[1]), coef.shape)
    if isinstance(penalty, BoundedPenalty):
        low, high = penalty.limits(coef.shape)
        held = held | (~penalty.shiftable(coef.shape[1]) & np.where(coef > 0, high < np.inf, low > -np.inf))
    return np.column_stack([np.where(held, 0.0, coef), direction[:, -1]])


def separated(objective: PenalizedLoss, params: Float64s, step: Float64s) -> NDArray[Any]:
    """The classes whose margins a Newton step from `params`, near the infimum, still increases; none at a minimum.

    If some samples are separable from all other classes, only the classes of these samples are returned, because the
    margins of the others follow from them. If the backend cannot compute margins, no classes are returned. Margins from
    classes without any weight, whose intercept always decreases, do not count.
    """
    if not np.isfinite(step).all():
        return np.array([], np.int64)
    step = np.where((objective.class_mass > 0)[:, None], step, np.nan)
    if not isinstance(objective.backend, CountsMargins):
        return np.array([], np.int64)
    counts = objective.backend.margin_counts(params, step)
    if counts[SHRINKS].any():
        return np.array([], np.int64)
    return np.flatnonzero(counts[ALL_GROW] if counts[ALL_GROW].any() else counts[GROWS])
