"""Newton's method for small problems: the step and the new gradient are one call of a kernel.

The test of convergence is that of truncated Newton: a bound on the gap, or the Newton decrement. If the penalty gives
no bound, the decrement may give one (`certificates.self_concordance_bound`). If the Hessian is singular in float64, as
without a penalty if features are collinear or classes are separated, conjugate gradients take over.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from nbsoftmax.backends.packed import NewtonStep
from nbsoftmax.kernels.newton import FAILED, MOVED
from nbsoftmax.solvers.base import Curved, Packed, Point
from nbsoftmax.solvers.driver import Driver, Method
from nbsoftmax.solvers.tools.certificates import (
    FIRST_LOOSENESS,
    GapCertificate,
    allowed_at,
    gap_bound,
    reported_gap,
    self_concordance_bound,
)
from nbsoftmax.solvers.tools.later_steps import still_to_come
from nbsoftmax.validation import Float64s

# When the estimate of the gap is within tolerance, the fit continues until a bound is, too, for at most as many steps
# as before, or LEAST_PATIENCE if that is more.
LEAST_PATIENCE = 10
# Near a minimum, t^2 of the bound from the decrement falls with each step; if the minimum is at infinity, it does not.
# Another step is made for a bound if the last one has reduced t^2 to this share or less.
LEAST_FALL = 0.9


class PackedNewtonSteps:
    """The steps of Newton's method, for `Driver`.

    Parameters
    ----------
    driver : Driver
    objective : Packed
    truncated : callable
        Makes the steps of truncated Newton, which continue from given parameters if the Hessian is singular.
    """

    unit, monotone, learning_rate, hides_curvature = "iterations", True, 1.0, False

    def __init__(
        self, driver: Driver[Curved], objective: Packed, truncated: Callable[[Float64s], Method[Curved]]
    ) -> None:
        saved = driver.saved
        self._objective, self._tol, self._truncated = objective, driver.tol, truncated
        self._certificate = GapCertificate(objective, float(saved.get("looseness", FIRST_LOOSENESS)))
        # Decrease of the objective in the last step: predicted by the quadratic model, and actual.
        self._predicted, self._gained = float(saved.get("predicted", np.inf)), float(saved.get("gained", 0.0))
        self._near_at = int(saved.get("near_at", -1))  # first iteration with the estimate within tolerance
        self._steepness = float(saved.get("steepness", np.inf))  # the square of t of that bound at the last point
        self._least_bound = 0.0  # that any bound on the gap at the current point is at least
        self._assessed: Point | None = None  # where the next attributes were computed
        self._bound: tuple[float, str] | None = None
        self._next: NewtonStep | None = None
        self._estimate, self._n_steps = np.inf, int(saved.get("n_steps", 0))
        self._other: Method[Curved] | None = None  # has taken over
        if saved and "n_steps" not in saved:
            self._other = truncated(driver.start)

    def converged(self, n_iter: int, point: Point, values: list[float], *, certify: bool) -> bool:
        """Whether a bound on the gap is within tolerance, or the decrement if no bound is likely.

        Also makes the next step.
        """
        if self._other is not None:
            return self._other.converged(n_iter, point, values, certify=certify)
        allowed = allowed_at(point, self._tol)
        self._assessed, self._bound, self._next = point, None, None
        if self._least_bound <= allowed or point.value <= allowed:
            self._bound = self._certificate.certify(point, allowed)
            if self._bound is not None:
                return True
        found = self._objective.newton_step(point.params)
        self._n_steps += 1
        if found.outcome == FAILED:
            self._other = self._truncated(point.params)
            return self._other.converged(n_iter, point, values, certify=certify)
        self._next = found
        self._estimate = found.decrement * still_to_come(found.decrement, self._predicted, self._gained)
        if self._estimate > allowed:
            return False
        if self._near_at < 0:
            self._near_at = n_iter
        if self._certificate.possible and n_iter - self._near_at < max(LEAST_PATIENCE, self._near_at):
            return False
        return self._concordant(point, found, allowed)

    def _concordant(self, point: Point, found: NewtonStep, allowed: float) -> bool:
        """Whether the decrement at a point gives a bound within tolerance, or another step would not make it do so."""
        sharpness, before = self._objective.sharpness(point.params), self._steepness
        bound = self_concordance_bound(found.decrement, sharpness)
        if bound <= allowed:
            self._bound = max(bound, math.ulp(point.value)), "self-concordance"
            return True
        self._steepness = 2 * found.decrement * sharpness
        return not self._steepness < LEAST_FALL * before

    def step(self, sums: Curved, point: Point, n_iter: int) -> Point | None:
        """The point after the step that `converged` made."""
        if self._other is not None:
            return self._other.step(sums, point, n_iter)
        found = self._next
        if found is None or found.outcome != MOVED:
            return None
        self._predicted, self._gained, self._least_bound = found.decrement, point.value - found.value, found.bound
        return Point(found.params, found.value, found.grad, None, found.grad_norm)

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        """The bound if there is one, otherwise the Newton decrement."""
        if self._other is not None:
            return self._other.gap(n_iter, point)
        if self._assessed is not point:
            self._least_bound = 0.0
            self.converged(n_iter, point, [], certify=True)
            if self._other is not None:
                return self._other.gap(n_iter, point)
        allowed = allowed_at(point, self._tol)
        if self._bound is None and self._next is not None and self._estimate <= allowed:
            self._concordant(point, self._next, allowed)
        if self._bound is not None:
            return self._bound
        return reported_gap(gap_bound(self._certificate.objective, point), self._estimate, True, allowed)

    def refine(self, objective: Curved, sums: Curved, point: Point, *, hessian: bool) -> None:
        """Never called: the sums are in float64."""

    def state(self) -> dict[str, Any]:
        """What a new object needs to resume."""
        if self._other is not None:
            return self._other.state()
        return {
            "predicted": self._predicted,
            "gained": self._gained,
            "near_at": self._near_at,
            "looseness": self._certificate.looseness,
            "n_steps": self._n_steps,
            "steepness": self._steepness,
        }

    def report(self) -> tuple[str, Float64s | None]:
        """The summary, and the direction at the last point if there is no bound."""
        if self._other is not None:
            return self._other.report()
        direction = None if self._next is None else self._next.direction
        return f"{self._n_steps} steps with the whole Hessian", direction
