"""Projected Newton steps, for bounds on the coefficients and a penalty that is otherwise smooth.

    minimise  q(P) = g . P + 1/2 P . H P    over  low <= W + P <= high,    then move along P

q is minimised by projected steps (J. More, G. Toraldo, "On the solution of large quadratic programming problems with
bound constraints", SIAM J. Optim. 1, 1991): a step along -r / diag(H), with r the gradient of q, projected onto the
bounds, finds the free coefficients, which the gradient does not hold at a bound; conjugate gradients over these and the
intercept find the minimum on their face, which is projected, too. Near the minimum the free coefficients do not change
any more, and the steps are those of Newton's method (D. Bertsekas, "Projected Newton methods for optimization problems
with simple constraints", SIAM J. Control Optim. 20, 1982). Where a shift of all classes meets the bounds of a feature
at no cost, q has no bounds. What has no penalty of a class without samples stays where it is once the class has
vanished: its intercept has no optimum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.penalties import BoundedPenalty
from nbsoftmax.solvers.base import NOISE, Composite, Curved, Point, least_subgradient
from nbsoftmax.solvers.driver import Driver
from nbsoftmax.solvers.tools.certificates import allowed_at
from nbsoftmax.solvers.tools.cg_vectors import NewVectors
from nbsoftmax.solvers.tools.composite_gap import FAR, Evaluated, composite_gap, gap_within, suffices
from nbsoftmax.solvers.tools.conjugate_gradients import conjugate_gradients
from nbsoftmax.solvers.tools.duality import loss_alone
from nbsoftmax.solvers.tools.face_preconditioner import FacePreconditioner
from nbsoftmax.solvers.tools.free_features import vanished
from nbsoftmax.solvers.tools.later_steps import still_to_come
from nbsoftmax.solvers.tools.line_search import RELIABLE, decrease_by_gradients, halvings, longest, steepest
from nbsoftmax.solvers.tools.preconditioners import costs
from nbsoftmax.solvers.tools.truncated_newton import ROUGH
from nbsoftmax.validation import Float64s

# Of the line search: Armijo's constant, the number of step lengths, and the number for small steps.
DECREASE, MOST_TRIALS, MOST_SMALL_TRIALS = 1e-4, 40, 10
SMALL = {"float64": RELIABLE, "float32": 1e-5}  # the slope of a small step, relative to J
MOST_FACES, MOST_PRODUCTS = 100, 200  # of a model
LITTLE = 0.1  # of the decrease that is possible on a face
STALLED = 0.5  # share of the square of a residual that a step on the same face as the last one should not leave
LOOSEST, SOLVED = 0.1, 1e-2  # squares of the residuals of a model's minimum, and of that of a face
AFFORDABLE = 30  # the cost in products of a preconditioner, which is made in each iteration


class ProjectedSteps:
    """The steps of projected Newton. Each depends on the current point alone."""

    unit, monotone, learning_rate = "iterations", True, 1.0

    def __init__(self, objective: Composite, penalty: BoundedPenalty, driver: Driver[Curved]) -> None:
        self._objective, self._penalty, self._tol = objective, penalty, driver.tol
        self._curved, self._sums = driver.objective, driver.sums
        self._rough = not driver.refined  # whether products could be more accurate
        if driver.refined:
            self._curved = self._sums = self._curved.in_float64(hessian=True)
        shape = driver.start[:, :-1].shape
        low, high = penalty.limits(shape)
        shiftable = penalty.shiftable(shape[1])
        self._shiftable = shiftable.nonzero()[0]
        self._limits = low[:, shiftable], high[:, shiftable]  # of these features, (n_classes, n_shiftable)
        self._low = np.column_stack([np.where(shiftable, -np.inf, low), np.full(shape[0], -np.inf)])
        self._high = np.column_stack([np.where(shiftable, np.inf, high), np.full(shape[0], np.inf)])
        self._unpenalised = np.append(penalty.unpenalised(shape[1]), True)
        cost = costs(driver.objective)
        self._kind = next((kind for kind in ("blocks", "gram") if cost[kind] <= AFFORDABLE), "diagonal")
        centring = self._kind == "diagonal" and driver.objective.fit_intercept
        self._moments = driver.objective.moments() if centring else None
        self._first_square = float(driver.saved.get("first_square", 0.0))  # of the first subgradient, scaled
        self._n_unproven = int(driver.saved.get("n_unproven", 0))
        self._n_products = int(driver.saved.get("n_products", 0))
        self.hides_curvature = bool(driver.saved.get("hides_curvature", False))
        self._known: tuple[Point, tuple[float, str]] | None = None  # a point, and the gap there
        # The last estimate of the gap, and the objective there.
        self._before = float(driver.saved.get("gap_before", 0.0)), float(driver.saved.get("value_before", 0.0))

    def converged(self, n_iter: int, point: Point, values: list[float], *, certify: bool) -> bool:
        """Whether the gap is within tolerance; for a while only if it is proven, where that is possible."""
        gap, kind = gap_within(self._of_gap(point), rough=self._rough)
        if kind == "estimate":  # a Newton decrement, to which later steps add where the objective behaves like exp
            known = gap <= FAR * allowed_at(point, self._tol)  # otherwise far larger than the next one, if that ends it
            before, self._before = self._before, (gap if known else 0.0, point.value)
            gap *= still_to_come(gap, before[0], before[1] - point.value)
        if not gap <= allowed_at(point, self._tol):
            return False
        self._known = None if self._rough else (point, (gap, kind))
        self._n_unproven += 1
        return suffices(self._penalty, kind, self._n_unproven)

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        """The gap and its kind."""
        if self._known is not None and self._known[0] is point:
            return self._known[1]
        return composite_gap(self._of_gap(point))

    def step(self, sums: Curved, point: Point, n_iter: int) -> Point | None:
        """The first point with a sufficient decrease towards the minimum of the model; None if there is none."""
        target = self._minimum_of_model(point)
        slope = min(float(np.vdot(point.grad, target - point.params)), 0.0)
        if slope == 0:  # all probabilities are 0 or 1, so that the Hessian is 0
            target = self._feasible(point.params + steepest(point))
            slope = min(float(np.vdot(point.grad, target - point.params)), 0.0)
        small = -slope <= SMALL[sums.dtype.name] * abs(point.value)
        n_trials = MOST_SMALL_TRIALS if small else MOST_TRIALS
        for length, trial in halvings(point.params, target, n_trials, longest(point.value, slope)):
            value, grad = sums.value_and_grad(trial)
            decrease, slack = point.value - value, NOISE * abs(point.value)
            if small:
                decrease, slack = decrease_by_gradients(point.grad, grad, trial - point.params), 0.0
            if decrease >= -DECREASE * length * slope - slack:
                moved = Point(trial, value, grad, least_subgradient(self._penalty, trial, grad))
                only_noise = not (moved.value < point.value or moved.grad_norm < point.grad_norm)
                return None if only_noise else moved
        return None

    def refine(self, objective: Curved, sums: Curved, point: Point, *, hessian: bool) -> None:
        """Continue with more accurate sums, and a Hessian as accurate: rounding errors may make a face indefinite."""
        self._curved = self._sums = objective.in_float64(hessian=True)
        self._known = None
        self.hides_curvature = self._rough = False

    def state(self) -> dict[str, Any]:
        """What a new object needs to resume."""
        before = {"gap_before": self._before[0], "value_before": self._before[1]}
        return before | {
            "first_square": self._first_square,
            "n_unproven": self._n_unproven,
            "n_products": self._n_products,
            "hides_curvature": self.hides_curvature,
        }

    def report(self) -> tuple[str, None]:
        """The number of products."""
        return f"{self._n_products} Hessian-vector products over free coefficients", None

    def _of_gap(self, point: Point) -> Evaluated:
        loss, loss_grad = loss_alone(self._objective, point.params, point.value, point.grad)
        return Evaluated(self._objective, self._sums, point.params, loss, loss_grad, allowed_at(point, self._tol))

    def _clipped(self, params: Float64s) -> Float64s:
        return np.asarray(np.clip(params, self._low, self._high))

    def _feasible(self, params: Float64s) -> Float64s:
        """The nearest parameters within all bounds, after shifts that change no probability."""
        params, j, (low, high) = self._clipped(params), self._shiftable, self._limits
        coef = params[:, j]
        upwards = high.min(axis=0) == np.inf
        up, down = np.maximum(low - coef, 0.0).max(axis=0), np.maximum(coef - high, 0.0).max(axis=0)
        params[:, j] = coef + np.where(upwards, up, -down)
        params[:, :-1] = self._penalty.feasible(params[:, :-1])  # rounding errors of the shift
        return params

    def _minimum_of_model(self, point: Point) -> Float64s:
        """The parameters at an approximate minimum of the quadratic model within the bounds."""
        inverse = FacePreconditioner(self._curved, point.params, self._kind, self._moments)
        fixed = vanished(self._objective, point.grad)[:, None] & self._unpenalised
        model = _Model(self._curved, point, self._low, self._high, inverse, fixed)

        def square() -> float:  # of the part of the model's gradient that no bound holds, in the norm of diag(H)^-1
            slope = inverse.gradient(model.slope)
            held = ((model.at <= self._low) & (slope > 0)) | ((model.at >= self._high) & (slope < 0))
            return float(np.vdot(inverse.scale, np.where(held, 0.0, slope) ** 2))

        self.hides_curvature = False
        first = square()
        self._first_square = self._first_square or first
        enough = first * min(LOOSEST, np.sqrt(first / self._first_square)) if first > 0 else 0.0
        held, left, stalled = np.empty((2, 0, 0), bool), np.inf, False
        for _ in range(MOST_FACES):
            step = -inverse.scale * inverse.gradient(model.slope)
            model.move(inverse.step(self._clipped(model.at + step) - model.at))
            if not enough < square() < np.inf or model.n_products > MOST_PRODUCTS:
                break
            # A coefficient is held where the next such step would end at a bound: the last one may have ended short of
            # it. Those that are held move there.
            slope = inverse.gradient(model.slope)
            ahead = model.at - inverse.scale * slope
            low, high = (ahead <= self._low) & (slope > 0), (ahead >= self._high) & (slope < 0)
            same, held = np.array_equal(held, (low, high)), np.array((low, high))
            stalled, left = same and not square() < STALLED * left, square()
            if stalled:  # what is left on this face are rounding errors of the products
                break
            gained = self._minimise_face(model, low, high, inverse)
            if self.hides_curvature or not gained or not enough < square() < np.inf or model.n_products > MOST_PRODUCTS:
                break
        self.hides_curvature |= stalled or model.n_products > MOST_PRODUCTS
        self._n_products += model.n_products
        return self._feasible(model.at)

    def _minimise_face(
        self, model: _Model, low: NDArray[np.bool_], high: NDArray[np.bool_], inverse: FacePreconditioner
    ) -> bool:
        """Move towards the minimum on the face where coefficients are held, `low` or `high`.

        If bounds end a step with little of the decrease on the face, their coefficients are held, too, also where the
        gradient points away from the bound: the next step on the same face would end there again. Returns whether the
        model decreased.
        """
        free, gained = ~(low | high | model.fixed) & (self._low < self._high), False
        rest = inverse.step(np.where(low, self._low - model.at, np.where(high, self._high - model.at, 0.0)))
        while True:
            direction = self._newton(model, free, inverse) + rest
            possible = -float(np.vdot(model.slope, direction)) / 2
            decrease = model.move_within(direction)
            gained = gained or decrease > 0
            at_bound = ((model.at <= self._low) & (direction < 0)) | ((model.at >= self._high) & (direction > 0))
            ended = free & at_bound
            if not decrease < LITTLE * possible or not ended.any() or model.n_products > MOST_PRODUCTS:
                return gained
            free, rest = free & ~at_bound, np.zeros_like(direction)

    def _newton(self, model: _Model, free: NDArray[np.bool_], inverse: FacePreconditioner) -> Float64s:
        """-H_FF^-1 r_F: by conjugate gradients, but for free shifts of all classes.

        A shift changes only the penalty, and no term of H couples it with other directions. M is made of blocks of H,
        whose curvature along a shift may be 1e15 times that of the penalty.
        """
        shifts = np.asarray((free | model.fixed).all(axis=0))  # columns in which shifts of all classes are free
        n_free = np.maximum(free.sum(axis=0), 1)

        def project(v: Float64s) -> Float64s:
            v = np.where(free, v, 0.0)
            return np.where(free & shifts, v - v.sum(axis=0) / n_free, v)

        of_face = inverse.on_face(free)

        def precondition(v: Float64s) -> Float64s:
            return project(of_face(v))

        direction = np.zeros_like(model.slope)
        vectors = NewVectors(self._curved, model.made_at, model.slope, precondition, project)
        for iterate in conjugate_gradients(vectors):
            direction = iterate.direction
            model.n_products += 1
            solved = iterate.relative_square <= SOLVED or not iterate.relative_square < np.inf
            self.hides_curvature |= self._rough and iterate.asymmetry > ROUGH
            if solved or self.hides_curvature or model.n_products > MOST_PRODUCTS:
                break
        # The shift with the least penalty that meets the bounds.
        end = model.at + direction
        shift = np.clip(-end.mean(axis=0), (self._low - end).max(axis=0), (self._high - end).min(axis=0))
        penalised = np.append(~self._penalty.unpenalised(shifts.size - 1), False)
        return np.asarray(direction + np.where(shifts & penalised, shift, 0.0))


class _Model:
    """The quadratic model made at a point, and the current point of its minimisation."""

    def __init__(
        self,
        curved: Curved,
        point: Point,
        low: Float64s,
        high: Float64s,
        inverse: FacePreconditioner,
        fixed: NDArray[np.bool_],
    ) -> None:
        self._curved, self._low, self._high, self._inverse, self.fixed = curved, low, high, inverse, fixed
        self.made_at = self.at = point.params
        self.slope, self.n_products = point.grad, 0  # the model's gradient at `at`

    def move(self, step: Float64s, least: float = 0.0) -> float:
        """Move along a feasible step, at most to its end, if that decreases the model by more than `least`.

        Returns the decrease, 0 without a move.
        """
        step = np.where(self.fixed, 0.0, step)
        slope = float(np.vdot(self.slope, step))
        if not slope < 0:
            return 0.0
        product = self._curved.hvp(self.made_at, step)
        self.n_products += 1
        curvature = float(np.vdot(step, product))
        if not curvature >= 0:  # rounding errors of the product, or overflow
            return 0.0
        length = min(1.0, -slope / curvature) if curvature > 0 else 1.0
        decrease = -length * (slope + length * curvature / 2)
        if not decrease > least:
            return 0.0
        self.at = np.clip(self.at + length * step, self._low, self._high)
        self.slope = self.slope + length * product
        return decrease

    def move_within(self, step: Float64s) -> float:
        """Move along a step to the minimum of a face: its projection, or as far as the bounds allow, if that is better.

        Returns the decrease, 0 without a move.
        """
        step = np.where(self.fixed, 0.0, step)
        with np.errstate(divide="ignore", invalid="ignore"):
            room = np.where(step > 0, (self._high - self.at) / step, (self._low - self.at) / step)
        share = min(1.0, float(room[step != 0].min(initial=1.0)))
        if share == 1:
            return self.move(step)
        decrease = -(share - share**2 / 2) * float(np.vdot(self.slope, step))  # -r . d = d . H d at the minimum
        coef = (np.clip(self.at + step, self._low, self._high) - self.at)[:, :-1]
        return self.move(self._inverse.at_fixed_centre(step, coef), decrease) or self.move(share * step)
