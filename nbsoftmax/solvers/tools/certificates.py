"""Bounds on the gap J - J* of a smooth objective, and the tolerance that they are compared with.

J - J* <= sum_j ||grad_j J||^2 / (2 l2_j)   where J is strongly convex: l2_j > 0 for all features, no free intercept
J - J* <= J - D                             with l2_j > 0 and an intercept; D is a value of the dual, see `duality`

l2_j is l2 times the weight of feature j. If a feature is unpenalised, neither bound exists. They
use no curvature but l2_j. On badly scaled data they are within the tolerance only if the gradient consists of rounding
errors, or not even then. For small problems there is another bound, which needs no penalty (`self_concordance_bound`).
Without a bound solvers report an estimate, see `convergence`.
"""

from __future__ import annotations

import math

import numpy as np

from nbsoftmax.solvers.base import Point, Smooth
from nbsoftmax.solvers.tools.duality import duality_gap, loss_alone
from nbsoftmax.validation import Float64s

# The first `looseness`: 1 to 32 in fits to real data, more where the classes are nearly separable.
FIRST_LOOSENESS = 4.0
WARY = 12.0  # a looseness that few fits exceed, see `GapCertificate.certify`
NEGLIGIBLE = 1e-3  # share of the allowed gap
SERIES = 1e-3  # where four terms of a series are exact, and the formula would cancel


def allowed_gap(value: float, tol: float, n_classes: int) -> float:
    """The largest gap at an objective of `value` that counts as converged: the one definition of convergence.

    At least eps log K: the objective at 0 is log K, and smaller differences from it are rounding errors in float64. No
    gap is small enough where the objective is not finite.
    """
    if not math.isfinite(value):
        return -math.inf
    return max(tol * abs(value), math.ulp(1.0) * math.log(n_classes))


def allowed_at(point: Point, tol: float) -> float:
    """The `allowed_gap` at a point."""
    return allowed_gap(point.value, tol, len(point.params))


def strongly_convex(objective: Smooth) -> bool:
    """Whether the objective is strongly convex in the coefficients: not if a feature is unpenalised."""
    curvature = objective.penalty.curvature
    return bool(curvature > 0 if isinstance(curvature, float) else np.all(curvature > 0))


def gap_bound(objective: Smooth, point: Point) -> tuple[float, str] | None:
    """A bound on the gap at a point, and its kind; None if the objective has none.

    With an intercept it takes one gradient, unless the intercept is at its own optimum.
    """
    if not strongly_convex(objective):
        return None
    if not objective.fit_intercept:
        return bound_at_optimal_intercept(objective, point.grad), "strong-convexity"
    loss, loss_grad = loss_alone(objective, point.params, point.value, point.grad)
    gap, kind = duality_gap(objective, objective, point.params, loss, loss_grad)
    return (gap, kind) if kind == "duality" else None


def self_concordance_bound(decrement: float, sharpness: float) -> float:
    """A bound on the gap of a smooth objective from its Newton decrement; inf if there is none.

    Along a direction d, the third derivative of the loss of a sample is at most r times the second one, if d changes
    its logits by amounts that differ by at most r (F. Bach, "Self-concordant analysis for logistic regression",
    Electronic Journal of Statistics 4, 2010), and here r^2 <= q d^T H d. With t^2 = q grad J . H^-1 grad J, t < 1,

        J - J* <= (t + (1 - t) log(1 - t)) / q        which is t^2 / (2 q), the decrement, for small t

    Parameters
    ----------
    decrement : float
        grad J . H^-1 grad J / 2.
    sharpness : float
        q, see `backends.sharpness`.
    """
    t = math.sqrt(2 * decrement * sharpness) if sharpness < math.inf and 0 <= decrement < math.inf else math.inf
    if not t < 1:
        return math.inf
    if t < SERIES:
        return 2 * decrement * (1 / 2 + t / 6 + t * t / 12 + t**3 / 20)
    return (t + (1 - t) * math.log1p(-t)) / sharpness


def bound_at_optimal_intercept(objective: Smooth, grad: Float64s) -> float:
    """`gap_bound` if the intercept is at its own optimum or there is none; inf if there is no bound."""
    return objective.penalty.bound(grad[:, :-1]) if strongly_convex(objective) else np.inf


def intercept_slack(objective: Smooth, grad: Float64s) -> float:
    """What the intercept adds to `gap_bound`, but for a factor: the distance of predictions from a distribution."""
    if not objective.fit_intercept:
        return 0.0
    with np.errstate(divide="ignore", invalid="ignore"):
        return float(np.where(grad[:, -1] > 0, grad[:, -1] / objective.class_mass, 0.0).max())


class GapCertificate:
    """Tries to certify the gap, skipping attempts that are likely to fail, since each may take one gradient.

    Attributes
    ----------
    looseness : float
        Largest ratio so far of what the intercept adds to a bound to its `intercept_slack`; inf if there is no bound.
    """

    def __init__(self, objective: Smooth, looseness: float = FIRST_LOOSENESS) -> None:
        self.objective, self.looseness = objective, looseness
        if not strongly_convex(objective) or (objective.fit_intercept and not (objective.class_mass > 0).all()):
            self.looseness = np.inf  # the intercept of a class without samples has no optimum

    @property
    def possible(self) -> bool:
        """Whether a bound may be found."""
        return self.looseness < np.inf

    def certify(
        self, point: Point, allowed: float, *, unlikely: bool = False, wary: bool = False
    ) -> tuple[float, str] | None:
        """A bound on the gap at a point that is at most `allowed`, and its kind; None if none was found.

        The bound is computed if its estimate is within `allowed`; for a `wary` caller the estimate is more cautious. If
        `unlikely`, it is always computed.
        """
        if 0 <= point.value <= allowed and strongly_convex(self.objective):
            return point.value, "duality"  # the minimum is at least 0
        if not self.possible:
            return None
        ridge, least = bound_at_optimal_intercept(self.objective, point.grad), WARY if wary else 0.0
        if not unlikely and not (ridge <= allowed and self.expected(point.grad, least) <= allowed):
            return None
        bound = gap_bound(self.objective, point)
        if bound is not None and bound[0] <= allowed:
            return bound
        slack = intercept_slack(self.objective, point.grad)
        if bound is None or (ridge <= allowed / 2 and slack <= NEGLIGIBLE * allowed):
            self.looseness = np.inf  # what is left are rounding errors
        else:
            self.looseness = max(self.looseness, (bound[0] - ridge) / max(slack, NEGLIGIBLE * allowed))
        return None

    def expected(self, grad: Float64s, least_looseness: float = 0.0) -> float:
        """An estimate of the bound at a gradient, with the largest looseness so far, or `least_looseness` if larger."""
        looseness = max(self.looseness, least_looseness)
        return bound_at_optimal_intercept(self.objective, grad) + looseness * intercept_slack(self.objective, grad)


def reported_gap(bound: tuple[float, str] | None, estimate: float, settled: bool, allowed: float) -> tuple[float, str]:
    """The gap to report if no certificate was found, and its kind.

    It is the bound if that is at most `allowed` or the estimate has not settled, otherwise the estimate. An estimate
    that has not settled is never reported as at most `allowed`.
    """
    if bound is not None and (not settled or bound[0] <= allowed):
        return bound
    return (estimate if settled or estimate > allowed else np.inf), "estimate"
