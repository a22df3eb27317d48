"""Proximal Newton: steps to the minimum of a quadratic model of the smooth part plus the whole penalty.

    V -> g . (V - W) + 1/2 (V - W) . H (V - W) + R(V)

J. Lee, Y. Sun, M. Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM J. Optim. 24, 2014.
The model is minimised over a working set of features, see `tools.working_set`, by `tools.quadratic_model`: H couples
the classes, so it is used in products, and its diagonal blocks make a metric for each step, which is a few sweeps of
coordinate descent on Gram matrices, or proximal gradient steps for a user's own penalty. Where the model is wrong,
because most samples are classified with near certainty, it is damped: a model that predicts a decrease of more than J,
which is never negative, is made again with more damping.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple

import numpy as np

from nbsoftmax.penalties import AnyPenalty, BoundedPenalty, FeaturePenalty
from nbsoftmax.solvers.base import (
    NOISE,
    Composite,
    Curved,
    OnIteration,
    Point,
    Requirements,
    Smooth,
    Solution,
    SolverState,
    least_subgradient,
    never_stop,
)
from nbsoftmax.solvers.driver import Driver
from nbsoftmax.solvers.projected_newton import ProjectedSteps
from nbsoftmax.solvers.tools.certificates import allowed_at
from nbsoftmax.solvers.tools.composite_gap import Evaluated, composite_gap, gap_within, suffices
from nbsoftmax.solvers.tools.damping import Damping
from nbsoftmax.solvers.tools.duality import loss_alone
from nbsoftmax.solvers.tools.line_search import RELIABLE, decrease_by_gradients, halvings
from nbsoftmax.solvers.tools.quadratic_model import ModelMinimum
from nbsoftmax.solvers.tools.unseen import unseen_decrease
from nbsoftmax.solvers.tools.working_set import WorkingSet, working_set_at
from nbsoftmax.validation import Float64s

MAX_ITER = 500
DECREASE, MOST_TRIALS = 1e-4, 30  # of the line search: Armijo's constant, and the number of step lengths
LEAST_DELTA = 1e-3  # of `tools.damping`, in curvatures where all classes are equally probable, after a wrong model
MOST_MODELS = 10  # of an iteration
# An exact minimum of a model whose curvature is wrong is far away, and only a small part of the step decreases J.
# Minima are exact after so many steps in succession that decreased J by at least this share of the prediction; twice as
# many each time that an exact one did not.
ACCURATE, FIRST_ACCURATE = 0.7, 1
# Near the minimum J changes by less than its rounding errors, and on flat problems the norm of its subgradient not
# monotonically. A fit ends after this many iterations in succession that decrease neither, or with small decreases.
MOST_WORSE, MOST_SMALL = 5, 200
ABSENT = -40.0  # the intercept of a class without samples, which tends to -inf: exp of it is 0 in float64
ESTIMATE_FACTOR = 2.0  # the gap is at most about this times the decrease that a model predicts
MOST_ESTIMATES = 5  # iterations with an estimate within tol before a fit ends without a bound


@dataclass(frozen=True)
class ProxNewton:
    """Proximal Newton for objectives with an l1 penalty, a group lasso or a penalty of your own."""

    name: ClassVar[str] = "prox-newton"
    requires: ClassVar[Requirements] = Requirements(smooth=False)

    def solve(
        self,
        objective: Composite,
        start: Float64s,
        *,
        tol: float,
        max_iter: int | None = None,
        on_iteration: OnIteration = never_stop,
        state: SolverState | None = None,
        random_state: int = 0,
    ) -> Solution:
        """Minimise a convex objective with a penalty that has no gradient; `tol` is relative to the objective."""
        driver = Driver(
            objective.smooth_part(),
            _feasible(objective, start),
            tol=tol,
            max_iter=MAX_ITER if max_iter is None else max_iter,
            on_iteration=on_iteration,
            state=state,
            evaluate=partial(_evaluate, objective.penalty),
            origin=_feasible(objective, np.zeros_like(start)),
        )
        penalty = objective.penalty
        if isinstance(penalty, BoundedPenalty) and penalty.base.is_smooth:
            return driver.minimize(ProjectedSteps(objective, penalty, driver))
        return driver.minimize(_ProximalSteps(objective, driver))


def _feasible(objective: Composite, start: Float64s) -> Float64s:
    """`start`, where a penalty that is a constraint allows it, or a point near it.

    Classes without samples get intercepts at which their probability is 0 in float64.
    """
    start = start.copy()
    if objective.fit_intercept:
        absent = objective.class_mass <= 0
        start[absent, -1] = np.minimum(start[absent, -1], ABSENT)
    start[:, :-1] = objective.penalty.feasible(start[:, :-1])
    return start


def _evaluate(penalty: AnyPenalty, smooth: Smooth, params: Float64s) -> Point:
    """The point at `params`: its value is that of `smooth` plus the part of the penalty without a gradient."""
    value, grad = smooth.value_and_grad(params)
    subgradient = least_subgradient(penalty, params, grad)
    return Point(params, value + penalty.nonsmooth_value(params[:, :-1]), grad, subgradient)


class _Assessment(NamedTuple):
    """A point, and sums over the working set there, in float64."""

    point: Point
    working_set: WorkingSet
    params: Float64s  # (n_classes, n + 1), over the working set
    value: float  # J
    working_grad: Float64s  # (n_classes, n + 1)
    grad: Float64s  # over all features
    loss: float  # without any penalty
    loss_grad: Float64s  # over all features


class _ProximalSteps:
    unit, monotone, learning_rate, hides_curvature = "iterations", True, 1.0, False

    def __init__(self, objective: Composite, driver: Driver[Curved]) -> None:
        saved = driver.saved
        self._objective, self._penalty, self._tol, self._sums = objective, objective.penalty, driver.tol, driver.sums
        self._rough = not driver.refined  # whether the sums are those of float32 products
        if driver.refined:
            self._sums = driver.objective.in_float64(hessian=True)
        self._working_set = WorkingSet.restored(objective, saved) if saved else None
        self._largest = float(saved.get("largest", 0.0))  # predicted decrease of the first step of a model
        value, norm = saved.get("previous", (np.inf, np.inf))
        self._previous = (float(value), float(norm))  # objective and norm of the subgradient
        self._n_worse, self._n_small = int(saved.get("n_worse", 0)), int(saved.get("n_small", 0))
        self._damping = Damping(float(saved.get("delta", 0.0)), LEAST_DELTA)
        # Accurate steps in succession, and how many are needed for an exact minimum.
        self._n_accurate = int(saved.get("n_accurate", 0))
        self._n_needed = int(saved.get("n_needed", FIRST_ACCURATE))
        self._assessment: _Assessment | None = None
        self._known: tuple[float, str] | None = None  # the gap at the assessed point, by duality
        # A gap by duality ends a fit with a penalty of this package. For a user's own, an estimate may do.
        self._estimate = np.inf  # of the gap at the current point
        self._n_estimates = int(saved.get("n_estimates", 0))  # iterations with an estimate within tol, in succession
        self._n_unproven = int(saved.get("n_unproven", 0))
        penalty = self._penalty
        # Without unpenalised features the dual proves the gap. With them, rounding may keep its bound too weak.
        n_features = driver.start.shape[1] - 1
        proves = isinstance(penalty, FeaturePenalty) and not penalty.unpenalised(n_features).any()
        self._most_estimates = np.inf if proves else MOST_ESTIMATES if penalty.has_dual else 0

    def converged(self, n_iter: int, point: Point, values: list[float], *, certify: bool) -> bool:
        gap, kind = self._certificate(self._assess(point))
        if not gap <= allowed_at(point, self._tol):
            return False
        self._n_unproven += 1
        return suffices(self._penalty, kind, self._n_unproven)

    def step(self, sums: Curved, point: Point, n_iter: int) -> Point | None:
        assessment = self._assess(point)
        found = self._next_on_working_set(assessment)
        if found is None or self._n_estimates > self._most_estimates:
            return None
        self._estimate = np.inf
        params = point.params.copy()
        params[:, assessment.working_set.columns] = found
        params[:, -1] -= (params[:, -1] - point.params[:, -1]).mean()  # the same shift of all classes changes nothing
        return _evaluate(self._penalty, sums, params)

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        assessment, allowed = self._assess(point), allowed_at(point, self._tol)
        gap = self._gap(assessment)
        if self._most_estimates == np.inf or gap[0] <= allowed:
            return gap
        if self._estimate == np.inf:
            self._minimise(assessment, 0.0)
        if isinstance(self._penalty, FeaturePenalty) and point.subgradient is not None:
            unseen = unseen_decrease(self._sums, point._replace(grad=point.subgradient))
            self._estimate = max(self._estimate, unseen)
        return (self._estimate, "estimate") if self._estimate <= allowed or not self._penalty.has_dual else gap

    def refine(self, objective: Curved, sums: Curved, point: Point, *, hessian: bool) -> None:
        self._sums = objective.in_float64(hessian=True)  # of the gap, for which products of float32 do not suffice
        self._previous, self._rough = (np.inf, np.inf), False

    def state(self) -> dict[str, Any]:
        own = {
            "largest": self._largest,
            "delta": self._damping.delta,
            "n_accurate": self._n_accurate,
            "n_needed": self._n_needed,
            "previous": np.array(self._previous),
            "n_worse": self._n_worse,
            "n_small": self._n_small,
            "n_estimates": self._n_estimates,
            "n_unproven": self._n_unproven,
        }
        return own if self._working_set is None else own | self._working_set.state()

    def report(self) -> tuple[str, None]:
        return "", None

    def _assess(self, point: Point) -> _Assessment:
        """The assessment of a point, with a new working set if the last one does not suffice."""
        if self._assessment is None or self._assessment.point is not point:
            self._known = None
            self._working_set = working_set = working_set_at(self._objective, point, self._working_set)
            params = point.params[:, working_set.columns]
            value, working_grad = working_set.part.value_and_grad(params)
            grad = point.grad.copy()
            grad[:, working_set.columns] = working_grad
            loss, loss_grad = loss_alone(self._objective, point.params, value, grad)
            total = value + working_set.penalty.nonsmooth_value(params[:, :-1])
            self._assessment = _Assessment(point, working_set, params, total, working_grad, grad, loss, loss_grad)
        return self._assessment

    def _certificate(self, at: _Assessment) -> tuple[float, str]:
        """The gap and its kind, or inf if it is certainly not small enough."""
        if self._known is None:
            gap = gap_within(self._of_gap(at), rough=self._rough)
            self._known = gap if gap[0] <= allowed_at(at.point, self._tol) and not self._rough else None
            return gap
        return self._known

    def _gap(self, at: _Assessment) -> tuple[float, str]:
        """The gap by duality and its kind."""
        self._known = self._known or composite_gap(self._of_gap(at))
        return self._known

    def _of_gap(self, at: _Assessment) -> Evaluated:
        allowed = allowed_at(at.point, self._tol)
        return Evaluated(self._objective, self._sums, at.point.params, at.loss, at.loss_grad, allowed)

    def _next_on_working_set(self, at: _Assessment) -> Float64s | None:
        """The next point on the working set; None if there is no progress any more."""
        penalty = at.working_set.penalty
        now = at.value, float(np.linalg.norm(least_subgradient(penalty, at.params, at.working_grad)))
        worse = now[0] >= self._previous[0] and now[1] >= self._previous[1]
        self._n_worse, self._previous = self._n_worse + 1 if worse else 0, now
        if self._n_worse > MOST_WORSE or self._n_small > MOST_SMALL:
            return None
        for _ in range(MOST_MODELS):
            model = self._minimise(at, self._damping.delta)
            if model.settled and 0 < model.decrease <= NOISE**2 * at.value:  # that of a gradient of rounding errors
                return None
            possible = 0 < model.decrease <= at.value  # 0 if the model has a minimum far away, with rounding errors
            found = _towards(penalty, at.working_set.part, at, model, now[1]) if possible else None
            self._count_accurate(found is not None and found[1] >= ACCURATE * model.decrease)
            if found is not None:
                self._damping.update(model.decrease, found[1])
                self._largest = max(self._largest, model.first_decrease)
                self._n_small += found[1] == np.inf
                return found[0]
            self._damping.update(np.inf, 0.0)
        return None

    def _count_accurate(self, accurate: bool) -> None:
        if not accurate and self._n_accurate >= self._n_needed:
            self._n_needed *= 2
        self._n_accurate = self._n_accurate + 1 if accurate else 0

    def _minimise(self, at: _Assessment, delta: float) -> ModelMinimum:
        limits = {"largest": self._largest, "most": at.value}
        exact = self._n_accurate >= self._n_needed
        model = at.working_set.minimise(at.params, at.working_grad, **limits, delta=delta, exact=exact)
        known = max(ESTIMATE_FACTOR * model.decrease, NOISE * abs(at.point.value))
        self._estimate = known if model.settled and not delta else np.inf
        self._n_estimates = self._n_estimates + 1 if self._estimate <= allowed_at(at.point, self._tol) else 0
        return model


def _towards(
    penalty: AnyPenalty, part: Curved, at: _Assessment, model: ModelMinimum, norm: float
) -> tuple[Float64s, float] | None:
    """The first point at lengths 1, 1/2 ... towards the model's minimum with sufficient decrease, and the decrease.

    Where differences of J are rounding errors, the decrease is computed from gradients; a subgradient whose norm is
    less than `norm`, that of the current one, suffices, too. The model is accurate there: the decrease is reported as
    inf.
    """
    small = model.decrease <= RELIABLE * abs(at.value)
    for length, trial in halvings(at.params, model.params, MOST_TRIALS):
        least = DECREASE * length * model.decrease
        if small:
            grad = part.value_and_grad(trial)[1]
            change = penalty.nonsmooth_change(at.params[:, :-1], trial[:, :-1])
            decrease = decrease_by_gradients(at.working_grad, grad, trial - at.params) - change
            if decrease >= least or float(np.linalg.norm(least_subgradient(penalty, trial, grad))) < norm:
                return trial, np.inf
        else:
            decrease = at.value - (part.value(trial) + penalty.nonsmooth_value(trial[:, :-1]))
            if decrease >= least - NOISE * abs(at.value):
                return trial, decrease
    return None
