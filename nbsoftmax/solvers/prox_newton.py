"""Proximal Newton: the quadratic model of the loss plus a penalty without a gradient, minimised over a working set.

    V -> g . (V - W) + 1/2 (V - W) . H (V - W) + R(V)

J. Lee, Y. Sun, M. Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM J. Optim. 24, 2014.
Features at 0 whose gradient is well below their l1 stay there and cost one gradient per iteration (R. Tibshirani et
al., "Strong rules for discarding predictors", JRSS B 74, 2012). The others are the working set: they are copied, and
everything else is computed from them, in float64.

The model is minimised by `tools.quadratic_model`: H couples the classes, so it is used in products, and its diagonal
blocks make a metric in which each step is a minimum, found by coordinate descent on Gram matrices, or by proximal
gradient steps for a user's own penalty.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.penalties import AnyPenalty
from nbsoftmax.solvers.base import (
    NOISE,
    Curved,
    OnIteration,
    Penalised,
    Requirements,
    Solution,
    SolverState,
    never_stop,
)
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.solvers.tools.certificates import allowed_gap
from nbsoftmax.solvers.tools.duality import duality_gap, gap_at_optimal_intercept, loss_alone
from nbsoftmax.solvers.tools.free_features import free_decrement
from nbsoftmax.solvers.tools.quadratic_model import ModelMinimum, QuadraticModel, VariableMetric
from nbsoftmax.validation import Float64s

MAX_ITER = 500
NEAR = 0.9  # share of l1 from which on a feature's gradient brings it into the working set
LEAST_NEW = 50  # features that may join in an iteration; as many as are not 0, where those are more
GRAM_BYTES = 2**26  # Gram matrices larger together than this are replaced by one for all classes
DECREASE, MOST_TRIALS = 1e-4, 30  # of the line search: Armijo's constant, and the number of step lengths
ABSENT = -40.0  # the intercept of a class without samples, which tends to -inf: exp of it is 0 in float64
ESTIMATE_FACTOR = 2.0  # the gap is at most about this times the decrease that a model predicts
MOST_ESTIMATES = 5  # iterations with an estimate within tol before a fit ends without a bound


class Composite(Penalised, Protocol):
    """What this solver needs of an objective."""

    def smooth_part(self, features: NDArray[np.int64] | None = None) -> Curved:
        """The objective without the part of the penalty that has no gradient, over all or some features."""
        ...


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
        return _Fit(objective, start, tol, max_iter or MAX_ITER, state or SolverState()).run(on_iteration)


class _Point(NamedTuple):
    """What is known of the current point."""

    objective: float
    grad_norm: float  # of the subgradient of least norm
    allowed: float  # the gap that is small enough
    # By sums over the working set in float64:
    params: Float64s  # (n_classes, n + 1)
    value: float  # of the smooth part
    grad: Float64s
    loss: float  # without any penalty
    loss_grad: Float64s  # over all features


class _Fit:
    """One run of the solver: the current point, the working set, and the progress so far."""

    def __init__(self, objective: Composite, start: Float64s, tol: float, max_iter: int, state: SolverState) -> None:
        self.objective, self.penalty, self.tol, self.max_iter = objective, objective.penalty, tol, max_iter
        self.state, saved = state, state.saved
        smooth = objective.smooth_part()
        self.params = saved.get("params", start).copy()
        if objective.fit_intercept and not saved:
            absent = objective.class_mass <= 0
            self.params[absent, -1] = np.minimum(self.params[absent, -1], ABSENT)
        if self.penalty.nonsmooth_value(self.params[:, :-1]) == np.inf:  # a constraint that the start violates
            self.params[:, :-1] = self.penalty.prox(self.params[:, :-1], 1.0)
        self.refined = smooth.in_float64()
        self.smooth = self.refined if saved.get("refined", False) else smooth
        self.value, self.grad = self.smooth.value_and_grad(self.params)
        self.working_set = WorkingSet.restored(objective, saved) if saved else None
        self.n_iter = self.reported = int(saved.get("n_iter", 0))
        self.largest = float(saved.get("largest", 0.0))  # predicted decrease of the first step of a model
        value, norm = saved.get("previous", (np.inf, np.inf))
        self.previous = (float(value), float(norm))  # objective and norm of the subgradient
        # A gap by duality ends a fit with a penalty of this package. For a user's own, an estimate may do.
        self.estimate = np.inf  # of the gap at the current point
        self.n_estimates = int(saved.get("n_estimates", 0))  # iterations with an estimate within tol, in succession
        self.most_estimates = np.inf if self.penalty.by_feature else MOST_ESTIMATES if self.penalty.has_dual else 0

    def run(self, on_iteration: OnIteration) -> Solution:
        """Iterate until the gap is small enough, or something ends the fit."""
        stop: Stop | None = None
        while True:
            objective, norm = self._report_values()
            if self.working_set is not None and self.n_iter > self.reported:
                self.state.snapshot = partial(dict, **self._state(), **self.working_set.state())
                stop, self.reported = on_iteration(self.n_iter, self.params, objective, norm), self.n_iter
            working_set = self._working_set()
            point = self._evaluate(working_set, objective, norm)
            gap = self._certificate(point)
            if gap[0] <= point.allowed and self.smooth is self.refined:
                return self._solution(point, gap, stop or StopReason.CONVERGED.stop())
            if stop is None and self.n_iter >= self.max_iter:
                stop = StopReason.MAX_ITER.stop(n_iter=self.n_iter, unit="iterations")
            found = self._step(working_set, point) if gap[0] > point.allowed and stop is None else None
            if found is not None and self.n_estimates <= self.most_estimates:
                self._move(working_set, found)
            elif self.smooth is self.refined:
                return self._end(working_set, point, stop)
            else:  # the fit goes on with more accurate sums
                self.smooth, self.previous = self.refined, (np.inf, np.inf)
                self.value, self.grad = self.smooth.value_and_grad(self.params)
                stop = None if stop is not None and stop.reason is StopReason.MAX_ITER else stop

    def _report_values(self) -> tuple[float, float]:
        """The objective and the norm of its least subgradient, by the sums over all features."""
        total = self.value + self.penalty.nonsmooth_value(self.params[:, :-1])
        return total, _stationarity(self.penalty, self.params, self.grad)

    def _state(self) -> dict[str, Any]:
        return {
            "params": self.params,
            "n_iter": self.n_iter,
            "largest": self.largest,
            "previous": np.array(self.previous),
            "refined": self.smooth is self.refined,
            "n_estimates": self.n_estimates,
        }

    def _working_set(self) -> WorkingSet:
        """The working set for the current point: the last one while it suffices."""
        last = self.working_set
        features = _features(self.penalty, self.params, self.grad, None if last is None else last.features)
        if last is None or features is not last.features:
            self.working_set = last = WorkingSet(self.objective, features)
        return last

    def _evaluate(self, working_set: WorkingSet, objective: float, norm: float) -> _Point:
        params = self.params[:, working_set.columns]
        value, grad = working_set.part.value_and_grad(params)
        self.grad = self.grad.copy()
        self.grad[:, working_set.columns] = grad
        loss, loss_grad = loss_alone(self.objective, self.params, value, self.grad)
        allowed = allowed_gap(objective, self.tol, params.shape[0])
        return _Point(objective, norm, allowed, params, value, grad, loss, loss_grad)

    def _certificate(self, point: _Point) -> tuple[float, str]:
        """The gap and its kind, where it may be small enough; else inf."""
        least = gap_at_optimal_intercept(self.objective, self.params, point.loss, point.loss_grad)
        return self._gap(point) if least <= point.allowed else (np.inf, "estimate")

    def _gap(self, point: _Point) -> tuple[float, str]:
        gap, kind = duality_gap(self.objective, self.smooth, self.params, point.loss, point.loss_grad)
        free = self.penalty.unpenalised(self.params.shape[1] - 1)
        if not free.any():
            return gap, kind
        # The dual has an equality constraint for each unpenalised feature, which holds only at their optimum.
        gap += free_decrement(self.smooth, self.params, self.grad, free)
        return (gap, "estimate") if gap < point.objective else (point.objective, "duality")  # no minimum is below 0

    def _step(self, working_set: WorkingSet, point: _Point) -> Float64s | None:
        """The next point on the working set; None if there is no progress any more."""
        penalty = working_set.penalty
        now = (
            point.value + penalty.nonsmooth_value(point.params[:, :-1]),
            _stationarity(penalty, point.params, point.grad),
        )
        if not (now[0] < self.previous[0] or now[1] < self.previous[1]):
            return None
        model = self._minimise(working_set, point)
        self.largest, self.previous = max(self.largest, model.first_decrease), now
        return _line_search(penalty, working_set.part, point, model)

    def _minimise(self, working_set: WorkingSet, point: _Point) -> ModelMinimum:
        model = working_set.minimise(point.params, point.grad, self.largest)
        known = max(ESTIMATE_FACTOR * model.decrease, NOISE * abs(point.objective))
        self.estimate = known if model.settled else np.inf
        self.n_estimates = self.n_estimates + 1 if self.estimate <= point.allowed else 0
        return model

    def _move(self, working_set: WorkingSet, found: Float64s) -> None:
        self.params = self.params.copy()
        self.params[:, working_set.columns] = found
        self.value, self.grad = self.smooth.value_and_grad(self.params)
        self.n_iter += 1
        self.estimate = np.inf

    def _end(self, working_set: WorkingSet, point: _Point, stop: Stop | None) -> Solution:
        """The solution where no gap by duality was small enough before."""
        gap = self._gap(point)
        if not self.penalty.by_feature and gap[0] > point.allowed:
            if self.estimate == np.inf:
                self._minimise(working_set, point)
            if self.estimate <= point.allowed or not self.penalty.has_dual:
                gap = self.estimate, "estimate"
            if gap[0] <= point.allowed and (stop is None or stop.reason is StopReason.MAX_ITER):
                stop = StopReason.CONVERGED.stop()
        return self._solution(point, gap, stop or StopReason.STUCK.stop())

    def _solution(self, point: _Point, gap: tuple[float, str], stop: Stop) -> Solution:
        converged = gap[0] <= point.allowed
        return Solution(self.params, point.objective, point.grad_norm, *gap, self.n_iter, converged, *stop)


def _stationarity(penalty: AnyPenalty, params: Float64s, grad: Float64s) -> float:
    """The norm of the least subgradient, where `grad` is the gradient of the smooth part."""
    subgradient = grad.copy()
    subgradient[:, :-1] = penalty.least_subgradient(params[:, :-1], grad[:, :-1])
    return float(np.linalg.norm(subgradient))


def _features(
    penalty: AnyPenalty, params: Float64s, grad: Float64s, present: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """The working set: features that are not 0, and those at 0 with the largest gradients; `present` if it suffices."""
    activity = penalty.activity(grad[:, :-1])
    activity[np.any(params[:, :-1] != 0, axis=0)] = np.inf
    n_used = int(np.isinf(activity).sum())
    wanted = np.argsort(-activity, kind="stable")[: n_used + max(LEAST_NEW, n_used)]
    wanted = wanted[(activity[wanted] > NEAR) | (wanted == wanted[0])]  # at least one
    if present is not None and np.isin(wanted, present).all() and present.size <= 2 * max(wanted.size, LEAST_NEW):
        return present
    return np.sort(wanted)


class WorkingSet:
    """The features that take part, the objective over them, and the variable metric of its quadratic models."""

    def __init__(self, objective: Composite, features: NDArray[np.int64]) -> None:
        self.features, self.columns = features, np.append(features, -1)
        self.penalty = objective.penalty.restricted(features)
        self.part = (
            objective.smooth_part(features)
            if self.penalty.by_feature
            else objective.smooth_part().in_float64(hessian=True)  # all features, which need not be copied
        )
        self._metric: VariableMetric | None = None
        self._made_at, self._per_class = (
            np.empty((0, 0)),
            False,
        )  # where the metric was made, and whether for each class
        # One Gram matrix for all classes is cheap; one for each costs as much as about n / 6 products, and is made when
        # so many have been spent, where memory allows.
        n_classes, n = objective.class_mass.size, features.size
        self._products, self._worth = 0, n / 6 if 8 * n_classes * (n + 1) ** 2 <= GRAM_BYTES else np.inf

    def state(self) -> dict[str, Any]:
        """What `restored` needs, of a working set whose model has been minimised."""
        factor = np.nan if self._metric is None else self._metric.factor
        return {
            "features": self.features,
            "made_at": self._made_at,
            "per_class": self._per_class,
            "factor": factor,
            "products": self._products,
        }

    @classmethod
    def restored(cls, objective: Composite, state: dict[str, Any]) -> WorkingSet:
        """The working set of a state, its metric made again where it was made."""
        working_set = cls(objective, state["features"])
        working_set._new_metric(state["made_at"], per_class=bool(state["per_class"])).factor = float(state["factor"])
        working_set._products = int(state["products"])
        return working_set

    def _new_metric(self, at: Float64s, *, per_class: bool) -> VariableMetric:
        grams = self.part.blocks(at) if per_class else self.part.gram(at)[None]
        self._metric, self._made_at, self._per_class = VariableMetric(self.penalty, grams, at.shape[0]), at, per_class
        return self._metric

    def minimise(self, params: Float64s, grad: Float64s, largest: float) -> ModelMinimum:
        """The minimum of the quadratic model made at `params`, where the smooth part has the gradient `grad`.

        `largest` is the largest predicted decrease of a model's first step so far. The smaller this model's is relative
        to it, the better is the model, and the more accurately it is minimised.
        """
        metric = self._metric or self._new_metric(params, per_class=False)
        if self._products > self._worth:
            metric, self._products = self._new_metric(params, per_class=True), 0
        model = QuadraticModel(self.part, self.penalty, metric, params, grad)
        minimum = model.minimise(largest)
        self._products += model.n_products
        return minimum


def _line_search(penalty: AnyPenalty, part: Curved, start: _Point, model: ModelMinimum) -> Float64s | None:
    """The first point at lengths 1, 1/2 ... towards the model's minimum that decreases the objective enough."""
    total, length = start.value + penalty.nonsmooth_value(start.params[:, :-1]), 1.0
    for _ in range(MOST_TRIALS):
        trial = model.params if length == 1 else start.params + length * (model.params - start.params)
        value = np.inf
        if np.isfinite(trial).all():
            value = part.value(trial) + penalty.nonsmooth_value(trial[:, :-1])
        if value <= total - DECREASE * length * model.decrease + NOISE * abs(total):
            return None if np.array_equal(trial, start.params) else trial
        length /= 2
    return None
