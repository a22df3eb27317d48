"""Whether a solver has converged: by a certificate if there is one, otherwise by the Newton decrement.

J - J* ~ grad J . H^-1 grad J / 2        the Newton decrement, H^-1 grad J by conjugate gradients

When the estimate is within tolerance, a solver continues for a limited number of iterations until a bound is within
tolerance, too, and reports which of the two it has. The gap that a solver itself expects only decides when to check: a
quasi-Newton memory does not contain the directions of small curvature, which are those of most of the distance to the
minimum.

Where the objective is not convex, none of this says how far the minimum is. A solver then ends at a stationary point,
where the predicted decrease of a step is far below the tolerance.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbsoftmax.penalties import curvature_of_columns
from nbsoftmax.solvers.base import NOISE, Point, Smooth
from nbsoftmax.solvers.tools.certificates import (
    FIRST_LOOSENESS,
    GapCertificate,
    allowed_at,
    gap_bound,
    reported_gap,
)
from nbsoftmax.solvers.tools.cg_vectors import NewVectors
from nbsoftmax.solvers.tools.concordance import concordant_bound
from nbsoftmax.solvers.tools.conjugate_gradients import NEGLIGIBLE, conjugate_gradients
from nbsoftmax.validation import Float64s

# An estimate takes at most as many products as iterations so far, or, if more, MOST_PRODUCTS in a test of convergence
# and LEAST_PRODUCTS in a report. It has not settled before LEAST_PRODUCTS.
LEAST_PRODUCTS, MOST_PRODUCTS = 20, 500
# Where the objective is not convex, the predicted decrease of a step may be this share of the allowed gap. Steps
# with an upper bound of the Hessian predict too little where much is unknown: by the factor 1 minus the share of
# missing information.
STATIONARY_SHARE = 0.01
SETTLED = 0.1  # the second half of the products added at most this share of the decrement


def newton_decrement(
    objective: Smooth,
    point: Point,
    *,
    max_products: int,
    enough: float = np.inf,
    precondition: Callable[[Float64s], Float64s] = lambda residual: residual,
) -> tuple[float, bool]:
    """The Newton decrement at a point, and whether it has settled within `max_products`.

    Conjugate gradients approach it from below, so they can stop early if it is more than `enough`. The part that the
    second half of the products added is added once more, as an estimate of the rest. A gradient of rounding errors has
    the decrement of rounding errors of J.
    """
    total, settled = _by_conjugate_gradients(objective, point, max_products, enough, precondition)
    if not (settled and total <= enough) and is_rounding(objective, point):
        return NOISE * abs(point.value), True
    return total, settled


def is_rounding(objective: Smooth, point: Point) -> bool:
    """Whether each component of the gradient is at most a rounding error, in units in which its curvature is 1.

    Then conjugate gradients along collinear features, which have no curvature, divide rounding errors by each other.
    """
    # The curvature of an intercept is at most sum_i h_i / S: usually no pass over the rows is needed.
    if objective.fit_intercept and np.abs(point.grad[:, -1]).max() > NOISE * np.sqrt(objective.class_mass.sum()):
        return False
    diagonal = objective.curvatures(point.params)
    diagonal += curvature_of_columns(objective.penalty, diagonal.shape[1])
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        square = np.where(point.grad == 0, 0.0, point.grad**2 / diagonal)
    return bool(square.max() <= NOISE**2)


def _by_conjugate_gradients(
    objective: Smooth,
    point: Point,
    max_products: int,
    enough: float,
    precondition: Callable[[Float64s], Float64s],
) -> tuple[float, bool]:
    total, rest = 0.0, 0.0

    def project(v: Float64s) -> Float64s:
        return without_shift(objective, v)

    vectors = NewVectors(objective, point.params, point.grad, precondition, project)
    for n, iterate in enumerate(conjugate_gradients(vectors), 1):
        total, rest = iterate.decrement, iterate.relative_square
        if not total <= enough or total == np.inf:
            return total, False
        if n >= LEAST_PRODUCTS and iterate.tail <= SETTLED * total:
            return total + iterate.tail, True
        if n == max_products and rest > NEGLIGIBLE:
            return total, False
    return total, bool(np.isfinite(rest))


def without_shift(objective: Smooth, v: Float64s) -> Float64s:
    """A gradient without its rounding errors along shifts of all classes, to which the objective is invariant."""
    v = v.copy()
    # Only unpenalised coefficients and intercepts can be shifted without changing the penalty.
    free = curvature_of_columns(objective.penalty, v.shape[1]) == 0
    v[:, free] -= v[:, free].mean(axis=0)
    return v


class ConvergenceMonitor:
    """Decides whether a solver has converged, and reports its gap.

    Parameters
    ----------
    objective : Smooth
        For Hessian-vector products.
    tol : float
    saved : dict, optional
        State of the monitor from which this one resumes.
    sums : Smooth, optional
        For values and gradients, for example in float64. Default: `objective`.
    """

    def __init__(
        self, objective: Smooth, tol: float, saved: dict[str, Any] | None = None, sums: Smooth | None = None
    ) -> None:
        self.objective, self.tol = objective, tol
        saved = saved or {}
        self.next_check = int(saved.get("next_check", 0))  # the first iteration at which to estimate the gap again
        self.certificate = GapCertificate(sums or objective, float(saved.get("looseness", FIRST_LOOSENESS)))
        # The last iteration that waits for a certificate, -1 before an estimate was within tolerance; that estimate,
        # and the objective at which it was made.
        self.certify_until = int(saved.get("certify_until", -1))
        self.estimated_at, self.estimate = float(saved.get("estimated_at", 0.0)), float(saved.get("estimate", 0.0))
        self.precondition: Callable[[Float64s], Float64s] = lambda residual: residual
        self._known: tuple[Point, float, str] | None = None  # a point, the gap there, and its kind
        self._refined = False  # since the last check

    def refine(self, objective: Smooth, sums: Smooth) -> None:
        """Continue with these objectives, of which at least `sums` is more accurate, and check at once."""
        self.objective, self.certificate = objective, GapCertificate(sums)
        self.next_check, self.estimated_at, self.estimate = 0, np.nan, np.nan
        self._known, self._refined = None, True

    def state(self) -> dict[str, Any]:
        """What a monitor needs to resume."""
        names = "next_check", "certify_until", "estimated_at", "estimate"
        return {name: getattr(self, name) for name in names} | {"looseness": self.certificate.looseness}

    def converged(self, n_iter: int, point: Point, expected_gap: float) -> bool:
        """Whether the gap at a point is within tolerance; `expected_gap` is the solver's own estimate."""
        allowed = allowed_at(point, self.tol)
        if not self.objective.convex:
            return self._is_stationary(n_iter, point, expected_gap, STATIONARY_SHARE * allowed)
        bound = self.certificate.certify(point, allowed, unlikely=self._refined)
        self._refined = False
        if bound is not None:
            self._known = (point, *bound)
            return True
        wait = max(self.next_check, self.certify_until if self.certificate.possible else 0)
        if n_iter < wait or not expected_gap <= allowed:
            return False
        if n_iter > 0:  # so failing checks cost only a fraction of the fit
            self.next_check = n_iter + max(10, n_iter // 4)
        estimate, settled = newton_decrement(
            self.objective,
            point,
            max_products=max(MOST_PRODUCTS, n_iter),
            enough=allowed,
            precondition=self.precondition,
        )
        if not (settled and estimate <= allowed):
            return False
        self._known = (point, estimate, "estimate")
        self.estimated_at, self.estimate = point.value, estimate
        if self.certify_until < 0 < n_iter and self.certificate.possible:
            self.certify_until = n_iter + max(5, n_iter)
            bound = self.certificate.certify(point, allowed, unlikely=True)
            self._known = self._known if bound is None else (point, *bound)
            return bound is not None
        bound = gap_bound(self.certificate.objective, point)
        if bound is None or not bound[0] <= allowed:
            bound = concordant_bound(self.certificate.objective, point), "self-concordance"
        if bound[0] <= allowed:
            self._known = (point, *bound)
        return not allowed < bound[0] < np.inf

    def _is_stationary(self, n_iter: int, point: Point, expected_gap: float, allowed: float) -> bool:
        """Whether the solver's step and one with the Hessian's upper bound both predict at most `allowed`."""
        if n_iter < self.next_check or not expected_gap <= allowed:
            return False
        self.next_check = n_iter + max(3, n_iter // 10)
        most = max(MOST_PRODUCTS, n_iter)
        predicted, settled = newton_decrement(
            self.objective, point, max_products=most, enough=allowed, precondition=self.precondition
        )
        if not (settled and predicted <= allowed):
            return False
        self._known = (point, max(predicted, expected_gap), "stationary")
        return True

    def gap(self, n_iter: int, point: Point, *, quick: bool = False) -> tuple[float, str]:
        """The gap at a point, and its kind. An estimate that has not settled is never reported as within tolerance.

        If `quick`, it is the bound if there is one, since the products for an estimate may take as long as the fit.
        """
        known = self._known if self._known is not None and self._known[0].params is point.params else None
        if not self.objective.convex:
            return self._predicted(n_iter, point) if known is None else known[1:]
        if known is not None and known[2] != "estimate":
            return known[1:]
        allowed = allowed_at(point, self.tol)
        bound = gap_bound(self.certificate.objective, point)
        if bound is not None and (quick or bound[0] <= allowed):
            return bound
        noise = NOISE * abs(point.value)
        left = self.estimate + point.value - self.estimated_at  # NaN after `refine`
        if known is not None:
            found = known[1], True
        elif self.certify_until >= 0 and left >= -noise and max(left, allowed) >= noise:
            # An earlier estimate, corrected by the decrease since then. A larger decrease proves that it was too small.
            # (Where rounding errors hide whether what is left is allowed, the gap is estimated anew.)
            found = max(left, noise), True
        else:
            most = max(LEAST_PRODUCTS, n_iter)  # at most as much work as for the fit
            found = newton_decrement(self.objective, point, max_products=most, precondition=self.precondition)
        reported = reported_gap(bound, *found, allowed)
        if known is None and reported[1] == "estimate" and reported[0] <= max(allowed, noise):
            proof = concordant_bound(self.certificate.objective, point)
            reported = (proof, "self-concordance") if proof <= allowed else reported
        return reported

    def _predicted(self, n_iter: int, point: Point) -> tuple[float, str]:
        """The predicted decrease of a step with the upper bound of the Hessian; inf unless the point is stationary."""
        most = max(LEAST_PRODUCTS, n_iter)
        predicted, settled = newton_decrement(self.objective, point, max_products=most, precondition=self.precondition)
        is_stationary = settled and predicted <= STATIONARY_SHARE * allowed_at(point, self.tol)
        return (predicted if is_stationary else np.inf), "stationary"
