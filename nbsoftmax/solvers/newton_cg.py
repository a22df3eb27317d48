"""Truncated Newton: steps along H^-1 grad by conjugate gradients, with preconditioners chosen by their cost.

The fit begins with a cheap preconditioner. A more accurate one is made when the last direction took more products than
it costs. A preconditioner is made again at the current parameters when the products since it was made have cost more.
On nearly separable data the last preconditioner is the Hessian itself, and the method is Newton's method. The test of
convergence is the Newton decrement. With l2 > 0 the fit then continues until a bound certifies the gap.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbsoftmax.solvers.base import (
    Curved,
    OnIteration,
    Packed,
    Point,
    Requirements,
    Solution,
    SolverState,
    never_stop,
)
from nbsoftmax.solvers.driver import Driver
from nbsoftmax.solvers.packed_newton import PackedNewtonSteps
from nbsoftmax.solvers.tools.certificates import GapCertificate, allowed_gap, gap_bound, reported_gap
from nbsoftmax.solvers.tools.later_steps import still_to_come
from nbsoftmax.solvers.tools.line_search import backtrack
from nbsoftmax.solvers.tools.preconditioner_choice import PreconditionerChoice
from nbsoftmax.solvers.tools.preconditioners import KINDS, Preconditioner, centred, centred_start
from nbsoftmax.solvers.tools.truncated_newton import (
    LOOSEST,
    InnerTolerance,
    NewtonDirection,
    newton_direction,
)
from nbsoftmax.validation import Float64s

MAX_ITER = 500
# When the estimate of the gap is within tolerance, the fit continues until a bound is, too. It spends at most as many
# products as before, or LEAST_PATIENCE if that is more, on directions that should leave CERTIFIABLE * the allowed gap.
LEAST_PATIENCE, CERTIFIABLE = 10, 0.3


class _TruncatedNewton:
    """What `NewtonCG` and `Newton` have in common: all but the preconditioners."""

    requires: ClassVar[Requirements] = Requirements()
    _kinds: ClassVar[tuple[str, ...]]

    def solve(
        self,
        objective: Curved,
        start: Float64s,
        *,
        tol: float,
        max_iter: int | None = None,
        on_iteration: OnIteration = never_stop,
        state: SolverState | None = None,
        random_state: int = 0,
    ) -> Solution:
        """Minimise a smooth convex objective; `tol` is relative to the objective."""
        packed = getattr(objective, "packed", None)  # an `isinstance` of a protocol takes 10 us
        whole: Packed | None = None if packed is None else packed()
        driver = Driver(
            objective if whole is None else whole,
            centred_start(objective, start) if start.any() else start,
            tol=tol,
            max_iter=max_iter or MAX_ITER,
            on_iteration=on_iteration,
            state=state,
            uses_hessian=True,
        )
        if whole is None:
            return driver.minimize(NewtonSteps(driver, self._kinds))
        return driver.minimize(PackedNewtonSteps(driver, whole, lambda at: NewtonSteps(driver, self._kinds, at)))


@dataclass(frozen=True)
class NewtonCG(_TruncatedNewton):
    """Truncated Newton with conjugate gradients and preconditioners chosen by their cost."""

    name: ClassVar[str] = "newton-cg"
    _kinds: ClassVar[tuple[str, ...]] = KINDS


@dataclass(frozen=True)
class Newton(_TruncatedNewton):
    """Newton's method: the exact Hessian in every iteration, and its Cholesky factors."""

    name: ClassVar[str] = "newton"
    _kinds: ClassVar[tuple[str, ...]] = ("hessian",)


class NewtonSteps:
    """The steps of truncated Newton, with preconditioners of the given `kinds`."""

    unit, monotone, learning_rate = "iterations", True, 1.0

    def __init__(self, driver: Driver[Curved], kinds: tuple[str, ...], start: Float64s | None = None) -> None:
        saved = driver.saved if "kind" in driver.saved else {}  # or the state of `PackedNewtonSteps`
        self._objective, self._tol = driver.objective, driver.tol
        self._choice = PreconditionerChoice(driver.objective, kinds)
        self._preconditioner = (
            self._choice.restored(saved) if saved else self._choice.first(driver.start if start is None else start)
        )
        self._certificate = GapCertificate(driver.sums, float(saved.get("looseness", 1.0)))
        self._first_square = float(saved.get("first_square", 0.0))  # of the first gradient, in the norm of M^-1
        # Decrease of the objective in the last step: predicted by the quadratic model, and actual.
        self._predicted, self._gained = float(saved.get("predicted", np.inf)), float(saved.get("gained", 0.0))
        # Number of products when the estimate was within tolerance for the first time; -1 before.
        self._near_at = int(saved.get("near_at", -1))
        self._assessed: Point | None = None  # where the next attributes were computed
        self._bound: tuple[float, str] | None = None
        self._direction = NewtonDirection(np.zeros_like(driver.start), np.inf, settled=False)
        self._n_products, self._estimate, self._near = 0, np.inf, False

    def converged(self, n_iter: int, point: Point, values: list[float], *, certify: bool) -> bool:
        """Whether a bound on the gap is within tolerance, or the decrement if no bound is likely.

        Also finds the next direction.
        """
        allowed = self._allowed(point)
        self._assessed = point
        self._bound = self._certificate.certify(point, allowed)
        if self._bound is not None:
            return True
        patience = self._find_direction(point, allowed)
        self._estimate = self._direction.decrement * still_to_come(
            self._direction.decrement, self._predicted, self._gained
        )
        self._near = self._direction.settled and self._estimate <= allowed
        if self._near and self._near_at < 0:
            self._near_at = self._choice.n_products
        return self._near and (self._direction.uncertifiable or patience == 0)

    def step(self, sums: Curved, point: Point, n_iter: int) -> Point | None:
        """A step along the direction that `converged` found."""
        moved = backtrack(sums, point, self._direction.step)
        if moved is None:
            return None
        self._predicted, self._gained = self._direction.decrement, point.value - moved.value
        # If the fit is about to end, a new preconditioner does not pay.
        if self._choice.exact or not (self._direction.final or self._near):
            self._preconditioner = self._choice.next(self._preconditioner, moved.params, self._n_products)
        return moved

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        """The bound if there is one, otherwise the Newton decrement."""
        if self._assessed is not point:
            self.converged(n_iter, point, [], certify=True)
        if self._bound is not None:
            return self._bound
        estimate = self._estimate
        if self._near:
            estimate = max(estimate, _least_decrement(self._objective, point))
        bound = gap_bound(self._certificate.objective, point)
        return reported_gap(bound, estimate, self._direction.settled, self._allowed(point))

    def refine(self, objective: Curved, sums: Curved, point: Point, *, hessian: bool) -> None:
        """Continue with more accurate sums."""
        self._objective, self._certificate = objective, GapCertificate(sums)
        if hessian:
            self._preconditioner = self._choice.refine(objective, self._preconditioner, point.params)
        self._predicted, self._gained, self._assessed = np.inf, 0.0, None

    def state(self) -> dict[str, Any]:
        """What a new object needs to resume."""
        return {
            "first_square": self._first_square,
            "predicted": self._predicted,
            "gained": self._gained,
            "near_at": self._near_at,
            "looseness": self._certificate.looseness,
            **self._choice.state(self._preconditioner),
        }

    def report(self) -> tuple[str, Float64s | None]:
        """The summary, and the direction at the last point if there is no bound."""
        return self._choice.summary(), self._direction.step if self._bound is None else None

    def _allowed(self, point: Point) -> float:
        return allowed_gap(point.value, self._tol, point.params.shape[0])

    def _find_direction(self, point: Point, allowed: float) -> int:
        """Find the direction from a point; returns how many products could be spent on a certificate."""
        preconditioner, choice = self._preconditioner, self._choice
        search, square = preconditioner.first_search(centred(point.grad))
        self._first_square = self._first_square or square
        progress = max(0.0, square / self._first_square) if self._first_square > 0 else 0.0
        before = preconditioner.products
        near_at = choice.n_products if self._near_at < 0 else self._near_at
        left = max(LEAST_PATIENCE, near_at) - (choice.n_products - near_at)
        patience = max(0, left) if self._certificate.possible else 0
        tolerance = InnerTolerance(
            residual=min(LOOSEST, progress**0.25),
            allowed=allowed,
            patience=patience,
            certifiable=CERTIFIABLE * allowed / self._certificate.looseness,
        )
        self._direction = newton_direction(self._objective, point, preconditioner, search, square, tolerance)
        preconditioner.update()
        self._n_products = preconditioner.products - before
        choice.n_products += self._n_products
        return patience


def _least_decrement(objective: Curved, point: Point) -> float:
    """A lower bound on grad . H^-1 grad / 2: (grad . v)^2 / (2 v . H v), here for v = grad over the diagonal of H.

    If all probabilities are 0 or 1, M^-1 consists of rounding errors, and the decrement by conjugate gradients is too
    small.
    """
    v = Preconditioner(objective, point.params, "diagonal")(centred(point.grad))
    v = v / (np.abs(v).max() or 1.0)
    curvature = float(np.vdot(v, objective.hvp(point.params, v))) if np.isfinite(v).all() else 0.0
    return float(np.vdot(point.grad, v)) ** 2 / (2 * curvature) if curvature > 0 else 0.0
