"""Truncated Newton: steps along H^-1 grad by conjugate gradients, with preconditioners chosen by their cost.

A fit that starts at 0 begins with quasi-Newton steps (`tools.early_phase`), whose pairs correct the preconditioner of
the first Newton steps. The first preconditioner is a cheap one. A more accurate one is made when quasi-Newton steps are
slow, or when the last direction took more products than it costs. A preconditioner is made again at the current
parameters when the products since it was made have cost more, unless the fit will soon end. On nearly separable data
the last preconditioner is the Hessian itself, and the method is Newton's method. The test of convergence is the Newton
decrement. With l2 > 0 the fit then continues until a bound certifies the gap.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any, ClassVar

import numpy as np

from nbsoftmax.solvers.base import (
    NOISE,
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
from nbsoftmax.solvers.tools.certificates import (
    FIRST_LOOSENESS,
    GapCertificate,
    allowed_at,
    bound_at_optimal_intercept,
    gap_bound,
    reported_gap,
)
from nbsoftmax.solvers.tools.concordance import concordant_bound
from nbsoftmax.solvers.tools.convergence import is_rounding
from nbsoftmax.solvers.tools.damping import Damping
from nbsoftmax.solvers.tools.early_phase import WINDOW, EarlyPhase
from nbsoftmax.solvers.tools.intercept import InterceptCurvature
from nbsoftmax.solvers.tools.later_steps import still_to_come
from nbsoftmax.solvers.tools.line_search import backtrack, steepest, weak_wolfe
from nbsoftmax.solvers.tools.preconditioner_choice import PreconditionerChoice
from nbsoftmax.solvers.tools.preconditioners import KINDS, Preconditioner, centred, centred_start, n_pairs
from nbsoftmax.solvers.tools.truncated_newton import (
    LOOSEST,
    ROUGH,
    InnerTolerance,
    NewtonDirection,
    newton_direction,
)
from nbsoftmax.validation import Float64s

MAX_ITER = 500
# When the estimate of the gap is within tolerance, the fit continues until a bound is, too. It spends at most as many
# products as before, or LEAST_PATIENCE if that is more, on directions that should leave CERTIFIABLE * the allowed gap.
# (In 135 fits to 15 problems 0.7 took 2.5% fewer passes in the geometric mean than 0.3, 0.85 less than 1% fewer still.)
LEAST_PATIENCE, CERTIFIABLE = 10, 0.7
# A step over the intercepts alone is worth its pass over the data if without them the bound is at most this share of
# the allowed gap.
WITHOUT_INTERCEPT = 0.9


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
            max_iter=MAX_ITER if max_iter is None else max_iter,
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
        # At 0 all probabilities of a sample are equal, unless there is an offset. Other starts may be near a minimum.
        possible = not self._choice.exact and n_pairs(driver.objective) >= WINDOW
        at = driver.start if start is None else start
        early = bool(saved.get("early", possible and not at.any()))
        n_early, since = int(saved.get("n_early", 0)), int(saved.get("early_since", 0))
        self._early = EarlyPhase(self._choice.costs, active=early, n_steps=n_early, since=since)
        self._preconditioner = self._choice.restored(saved) if saved else self._choice.first(at, uniform=early)
        self._damping = Damping(*map(float, saved.get("damping", ())))
        if not (saved or early or self._choice.exact or at.any()):
            self._damping = Damping.first(driver.objective, self._preconditioner)
        self._certificate = GapCertificate(driver.sums, float(saved.get("looseness", FIRST_LOOSENESS)))
        self._first_square = float(saved.get("first_square", 0.0))  # of the first gradient, in the norm of M^-1
        # Decrease of the objective in the last step: predicted by the quadratic model, and actual.
        self._predicted, self._gained = float(saved.get("predicted", np.inf)), float(saved.get("gained", 0.0))
        # Number of products when the estimate was within tolerance for the first time; -1 before.
        self._near_at = int(saved.get("near_at", -1))
        # Curvature over the intercepts at the last point; whether the last step was over the intercepts alone.
        self._intercept = InterceptCurvature(saved.get("intercept"))
        self._polished = bool(saved.get("polished", False))
        # Whether that curvature can be known. Newton's method has no other steps than those with the whole Hessian.
        polishes = driver.objective.fit_intercept and not self._choice.exact
        self._polishes = polishes and bool(saved.get("polishes", True))
        self._polish: Float64s | None = None  # the next step, if it is over the intercepts alone
        self._assessed: Point | None = None  # where the next attributes were computed
        self._bound: tuple[float, str] | None = None
        self._direction = NewtonDirection(np.zeros_like(driver.start), np.inf, settled=False)
        self._n_products, self._estimate, self._near = 0, np.inf, False
        self.hides_curvature, self._rough = False, driver.rough

    def converged(self, n_iter: int, point: Point, values: list[float], *, certify: bool) -> bool:
        """Whether a bound on the gap is within tolerance, or the decrement if no bound is likely.

        Also finds the next step: in the early phase a quasi-Newton step, later a Newton direction, or a step over the
        intercepts alone if that may make a bound possible.
        """
        self.hides_curvature = False  # that of a direction of the last step, if any
        allowed = allowed_at(point, self._tol)
        self._polish = self._intercept_step(point, allowed)
        # A certificate takes a pass, and so does a step over the intercepts, after which it is nearly sure.
        self._bound = self._certificate.certify(point, allowed, wary=self._polish is not None)
        if self._bound is not None:
            self._assessed = point
            return True
        if self._early.active:
            if self._early_step(point, values, allowed):
                return False
            self._early.active = False
        return self._polish is None and self._assess(point, allowed)

    def _early_step(self, point: Point, values: list[float], allowed: float) -> bool:
        """Find a quasi-Newton step; False if the early phase ends: it is slow, or a Newton step may be the last."""
        decrement = self._quasi_newton(point)
        slowness = self._early.slowness(values, self._preconditioner.kind)
        if slowness:
            better = self._choice.better(self._preconditioner, point.params, slowness)
            if better is None:
                return False
            self._preconditioner, self._early.since = better, len(values) - 1
            decrement = self._quasi_newton(point)
        if decrement > allowed:
            return True
        # After a Newton step, the gap and its bound are decrement / J times what they are here.
        certificate = self._certificate
        bound = bound_at_optimal_intercept(certificate.objective, point.grad) if certificate.possible else decrement
        return bound * decrement > CERTIFIABLE * allowed * abs(point.value)

    def _quasi_newton(self, point: Point) -> float:
        """Make the next direction a quasi-Newton step; returns its decrement."""
        step = self._preconditioner.quasi_newton_step(point.grad)
        decrement = -0.5 * float(np.vdot(point.grad, step))
        self._direction = NewtonDirection(step, decrement, settled=False)
        return decrement

    def _assess(self, point: Point, allowed: float) -> bool:
        """Find the Newton direction; return whether the fit ends with the estimate of the gap."""
        self._assessed = point
        patience = self._find_direction(point, allowed)
        self.hides_curvature = self._direction.decrement == np.inf
        plausible = self._direction.settled and self._direction.decrement <= point.value
        if not plausible and is_rounding(self._objective, point):
            self._estimate, self._near = NOISE * abs(point.value), True
            self._direction = NewtonDirection(np.zeros_like(point.params), self._estimate, settled=True)
            self.hides_curvature = False
            return True
        self._estimate = self._direction.decrement * still_to_come(
            self._direction.decrement, self._predicted, self._gained
        )
        self._near = self._direction.settled and self._estimate <= allowed
        if self._near and self._near_at < 0:
            self._near_at = self._choice.n_products
        if not self._near or not (self._direction.uncertifiable or patience == 0):
            return False
        bound = concordant_bound(self._certificate.objective, point)
        if bound <= allowed:
            self._bound = bound, "self-concordance"
        return not allowed < bound < np.inf

    def step(self, sums: Curved, point: Point, n_iter: int) -> Point | None:
        """The step that `converged` found."""
        if self._early.active:
            moved = weak_wolfe(sums, point, self._direction.step)
            if moved is not None:
                self._preconditioner.memory.add([(moved.params - point.params, moved.grad - point.grad)])
                self._early.n_steps += 1
                return moved
            self._early.active = False
            self._assess(point, allowed_at(point, self._tol))
        if self._polish is not None:
            moved = backtrack(sums, point, self._polish)
            if moved is not None:
                self._polished = True
                return moved
            self._assess(point, allowed_at(point, self._tol))
        moved = backtrack(sums, point, self._direction.step)
        if moved is None and self._damping.active:
            self._damping.end()
            self._assess(point, allowed_at(point, self._tol))
            moved = backtrack(sums, point, self._direction.step)
        if moved is None and not self._direction.decrement <= point.value:  # curvatures are rounding errors, or 0
            moved = backtrack(sums, point, steepest(point))
        if moved is None:
            return None
        self._polished, damped = False, self._damping.active
        self._predicted, self._gained = self._direction.decrement, point.value - moved.value
        if self._predicted > allowed_at(point, self._tol):
            self._damping.update(self._predicted, self._gained)
        else:  # differences of the objective are rounding errors
            self._damping.end()
        if damped or self._damping.active:
            self._predicted = np.inf
            self._preconditioner = self._choice.renewed(self._preconditioner, moved.params)
            return moved
        self._choose_preconditioner(point, moved)
        return moved

    def _choose_preconditioner(self, point: Point, moved: Point) -> None:
        """Choose the preconditioner after a step; if the fit is about to end, a new one does not pay."""
        n_left = 0.0 if self._direction.final or self._near else self._products_left(point, moved)
        if self._choice.exact or n_left > 0:
            self._preconditioner = self._choice.next(self._preconditioner, moved.params, self._n_products, n_left)
            if not self._preconditioner.damps:
                self._damping.end()

    def _products_left(self, point: Point, moved: Point) -> float:
        """How many products a certificate takes if they decrease the bound as fast as those of the last step did."""
        if not self._certificate.possible:
            return np.inf
        before, after = (bound_at_optimal_intercept(self._certificate.objective, p.grad) for p in (point, moved))
        allowed = allowed_at(moved, self._tol)
        if not (allowed < after < before and self._n_products):
            return 0.0 if after <= allowed else np.inf
        return max(1.0, self._n_products * float(np.log(after / allowed) / np.log(before / after)))

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        """The bound if there is one, otherwise the Newton decrement."""
        if self._assessed is not point or self._damping.active:
            self._damping.end()
            self._bound, self._rough = None, False  # the best estimate that these products give
            self._assess(point, allowed_at(point, self._tol))
        if self._bound is not None:
            return self._bound
        estimate = self._estimate
        if self._near:
            estimate = max(estimate, _least_decrement(self._objective, point))
        bound = gap_bound(self._certificate.objective, point)
        return reported_gap(bound, estimate, self._direction.settled, allowed_at(point, self._tol))

    def refine(self, objective: Curved, sums: Curved, point: Point, *, hessian: bool) -> None:
        """Continue with more accurate sums."""
        self._objective, self._certificate = objective, GapCertificate(sums)
        if hessian:
            self._rough = False
            self._preconditioner = self._choice.refine(objective, self._preconditioner, point.params)
        self._predicted, self._gained, self._assessed = np.inf, 0.0, None
        self._polish, self._polished, self.hides_curvature = None, False, False
        self._damping.end()

    def state(self) -> dict[str, Any]:
        """What a new object needs to resume."""
        return {
            "first_square": self._first_square,
            "predicted": self._predicted,
            "gained": self._gained,
            "near_at": self._near_at,
            "looseness": self._certificate.looseness,
            "intercept": self._intercept.matrix,
            "polished": self._polished,
            "early": self._early.active,
            "n_early": self._early.n_steps,
            "early_since": self._early.since,
            "polishes": self._polishes,
            "damping": np.array([self._damping.delta, self._damping.least]),
            **self._choice.state(self._preconditioner),
        }

    def report(self) -> tuple[str, Float64s | None]:
        """The summary, and the direction at the last point if there is no bound."""
        n_steps = self._early.n_steps
        early = f"{n_steps} quasi-Newton steps; " if n_steps else ""
        return early + self._choice.summary(), self._direction.step if self._bound is None else None

    def _find_direction(self, point: Point, allowed: float) -> int:
        """Find the direction from a point; returns how many products could be spent on a certificate."""
        preconditioner, choice, certificate = self._preconditioner, self._choice, self._certificate
        damped = self._damping.active
        preconditioner.damp(self._damping.delta)
        vectors = preconditioner.vectors(self._objective, point)
        self._first_square = self._first_square or vectors.square
        progress = max(0.0, vectors.square / self._first_square) if self._first_square > 0 else 0.0
        before = preconditioner.products
        near_at = choice.n_products if self._near_at < 0 else self._near_at
        left = max(LEAST_PATIENCE, self._early.n_steps + near_at) - (choice.n_products - near_at)
        patience = max(0, left) if certificate.possible and not damped else 0
        tolerance = InnerTolerance(
            residual=min(LOOSEST, progress**0.25),
            allowed=0.0 if damped else allowed,  # a damped direction never is the last one
            patience=patience,
            certifiable=CERTIFIABLE * allowed,
            bound=partial(bound_at_optimal_intercept, certificate.objective)
            if self._polishes
            else certificate.expected,
            asymmetry=ROUGH if self._rough else np.inf,
        )
        self._direction = newton_direction(self._objective, point, preconditioner, vectors, tolerance)
        preconditioner.update()
        self._n_products = preconditioner.products - before
        choice.n_products += self._n_products
        if damped:
            self._direction = replace(self._direction, settled=False, final=False)
        else:
            self._polish_direction(point, allowed)
        return patience

    def _polish_direction(self, point: Point, allowed: float) -> None:
        """Minimise the quadratic model over the intercepts, which takes no product, if a certificate is near."""
        direction = self._direction
        if not self._polishes or direction.residual is None:
            return
        # The next gap is about decrement^2 / J. (The power of a float raises an error if it overflows.)
        if not direction.decrement * direction.decrement <= allowed * abs(point.value):
            return
        self._intercept = InterceptCurvature.at(self._objective, point.params)
        self._polishes = self._intercept.known
        change = self._intercept.step(direction.residual[:, -1])
        if change is not None:
            step = direction.step.copy()
            step[:, -1] += change
            self._direction = replace(direction, step=step)

    def _intercept_step(self, point: Point, allowed: float) -> Float64s | None:
        """A step over the intercepts alone, if they are what is left to certify the gap; None if not."""
        certificate = self._certificate
        if self._polished or not (self._intercept.known and certificate.possible):
            return None
        bound = bound_at_optimal_intercept(certificate.objective, point.grad)
        change = self._intercept.step(point.grad[:, -1])
        if change is None or bound > WITHOUT_INTERCEPT * allowed:
            return None
        step = np.zeros_like(point.params)
        step[:, -1] = change
        return step


def _least_decrement(objective: Curved, point: Point) -> float:
    """A lower bound on grad . H^-1 grad / 2: (grad . v)^2 / (2 v . H v), here for v = grad over the diagonal of H.

    If all probabilities are 0 or 1, M^-1 consists of rounding errors, and the decrement by conjugate gradients is too
    small.
    """
    v = Preconditioner(objective, point.params, "diagonal")(centred(point.grad))
    v = v / (np.abs(v).max() or 1.0)
    curvature = float(np.vdot(v, objective.hvp(point.params, v))) if np.isfinite(v).all() else 0.0
    slope = float(np.vdot(point.grad, v))
    return slope * slope / (2 * curvature) if curvature > 0 else 0.0
