"""Whether a solver has converged: by a certificate where there is one, else by the Newton decrement.

J - J* ~ grad J . H^-1 grad J / 2        the Newton decrement, H^-1 grad J by conjugate gradients

A solver that reaches a point where the estimate is within tolerance goes on for a while until a bound is, too, and
reports which of the two it has. What a solver itself expects of its gap only tells when to check: a quasi-Newton memory
does not know the directions of small curvature, which are those in which most of the distance lies.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbsoftmax.solvers.base import NOISE, Point, Smooth
from nbsoftmax.solvers.tools.certificates import (
    GapCertificate,
    allowed_gap,
    gap_bound,
    reported_gap,
)
from nbsoftmax.solvers.tools.conjugate_gradients import NEGLIGIBLE, conjugate_gradients
from nbsoftmax.validation import Float64s

# Products for an estimate: as many as iterations so far, but within these.
LEAST_PRODUCTS, MOST_PRODUCTS = 20, 500
SETTLED = 0.1  # the later half of the products has added at most this share of the decrement


def newton_decrement(
    objective: Smooth,
    point: Point,
    *,
    max_products: int,
    enough: float = np.inf,
    precondition: Callable[[Float64s], Float64s] = lambda residual: residual,
) -> tuple[float, bool]:
    """The Newton decrement at a point, and whether it has settled within `max_products`.

    Conjugate gradients approach it from below, so the answer "more than `enough`" is early and cheap. What the later
    half of the products has added is added once more, for what is still to come.
    """
    total, rest = 0.0, 0.0

    def project(v: Float64s) -> Float64s:
        return without_shift(objective, v)

    iterates = conjugate_gradients(objective, point.params, point.grad, precondition, project)
    for n, iterate in enumerate(iterates, 1):
        total, rest = iterate.decrement, iterate.relative_square
        if not total <= enough or total == np.inf:
            return total, False
        if n >= LEAST_PRODUCTS and iterate.tail <= SETTLED * total:
            return total + iterate.tail, True
        if n == max_products and rest > NEGLIGIBLE:
            return total, False
    return total, bool(np.isfinite(rest))


def without_shift(objective: Smooth, v: Float64s) -> Float64s:
    """A gradient without its rounding errors along shifts of all classes, which leave the objective unchanged."""
    v = v.copy()
    # The penalty fixes the coefficients of penalised features, nothing those of the others and the intercepts.
    free = np.append(np.broadcast_to(objective.penalty.curvature, v.shape[1] - 1) == 0, True)
    v[:, free] -= v[:, free].mean(axis=0)
    return v


class ConvergenceMonitor:
    """Decides whether a solver has converged, and how far from the minimum it ended.

    Parameters
    ----------
    objective : Smooth
        For Hessian-vector products.
    tol : float
    saved : dict, optional
        The `state` of the monitor that this one continues.
    sums : Smooth, optional
        For values and gradients, in float64 perhaps; default: `objective`.
    """

    def __init__(
        self, objective: Smooth, tol: float, saved: dict[str, Any] | None = None, sums: Smooth | None = None
    ) -> None:
        self.objective, self.tol = objective, tol
        saved = saved or {}
        self.next_check = int(saved.get("next_check", 0))  # the first iteration at which another estimate pays
        self.certificate = GapCertificate(sums or objective, float(saved.get("looseness", 1.0)))
        # The last iteration that waits for a certificate, -1 before there is an estimate within tolerance; that
        # estimate, and the objective where it was made.
        self.certify_until = int(saved.get("certify_until", -1))
        self.estimated_at, self.estimate = float(saved.get("estimated_at", 0.0)), float(saved.get("estimate", 0.0))
        self.precondition: Callable[[Float64s], Float64s] = lambda residual: residual
        self._known: tuple[Point, float, str] | None = None  # a point, the gap there, and its kind
        self._refined = False  # since the last check

    def refine(self, objective: Smooth, sums: Smooth) -> None:
        """Use these, of which at least `sums` is more accurate, from now on, and check at once."""
        self.objective, self.certificate = objective, GapCertificate(sums)
        self.next_check, self.estimated_at, self.estimate = 0, np.nan, np.nan
        self._known, self._refined = None, True

    def state(self) -> dict[str, Any]:
        """What a monitor needs to continue this one."""
        names = "next_check", "certify_until", "estimated_at", "estimate"
        return {name: getattr(self, name) for name in names} | {"looseness": self.certificate.looseness}

    def converged(self, n_iter: int, point: Point, expected_gap: float) -> bool:
        """Whether the gap at a point is within tolerance; `expected_gap` is what the solver itself believes."""
        allowed = self._allowed(point)
        bound = self.certificate.certify(point, allowed, unlikely=self._refined)
        self._refined = False
        if bound is not None:
            self._known = (point, *bound)
            return True
        wait = max(self.next_check, self.certify_until if self.certificate.possible else 0)
        if n_iter < wait or not expected_gap <= allowed:
            return False
        if n_iter > 0:  # checks that fail cost at most a share of the fit
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
        return True

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        """The gap at a point, and its kind. An estimate that has not settled is never reported as within tolerance."""
        known = self._known if self._known is not None and self._known[0].params is point.params else None
        if known is not None and known[2] != "estimate":
            return known[1:]
        allowed = self._allowed(point)
        bound = gap_bound(self.certificate.objective, point)
        if bound is not None and bound[0] <= allowed:
            return bound
        if known is not None:
            found = known[1], True
        elif self.certify_until >= 0 and np.isfinite([self.estimated_at, self.estimate]).all():
            # Known some iterations ago, and changed by those.
            found = max(self.estimate + point.value - self.estimated_at, NOISE * abs(point.value)), True
        else:
            most = max(LEAST_PRODUCTS, n_iter)  # no more work for the report than for the fit
            found = newton_decrement(self.objective, point, max_products=most, precondition=self.precondition)
        return reported_gap(bound, *found, allowed)

    def _allowed(self, point: Point) -> float:
        return allowed_gap(point.value, self.tol, self.objective.class_mass.size)
