"""The loop of all solvers: iterate, check convergence, switch to float64 sums, report.

For float32 data, values and gradients have the rounding errors of float32 products, which no bound and no estimate
takes into account. When a solver is about to end, the driver therefore computes them again with
`objective.in_float64()` and continues with these, usually for one or two evaluations, so that the reported numbers are
correct for the data. Hessian-vector products seldom need this accuracy, since the method is iterative refinement
(J. Wilkinson, "Rounding errors in algebraic processes", 1963): accurate residuals, approximate Hessian. If the two
values differ by more than a tenth of the allowed gap, rounding errors also hide the small curvatures of the Hessian,
and with them most of the distance to the minimum. Then solvers that use the Hessian compute it in float64, too, and so
they do at once if float32 products make it indefinite, or so asymmetric that conjugate gradients take many products:
along such directions steps decrease the objective little. If squares of the features, or the coefficients, come near
the limits of float32, everything is computed in float64 from the start.

Where the coefficients are huge, all probabilities are 0 or 1 in float64, and curvatures are rounding errors: no solver
finds its way back. A start whose objective is far above that at 0 is therefore replaced by 0, and the summary says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any, Generic, Protocol, TypeVar

import numpy as np

from nbsoftmax.solvers.base import OnIteration, Point, Smooth, Solution, SolverState, evaluate
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.solvers.tools.certificates import allowed_at
from nbsoftmax.solvers.tools.float32_range import beyond_float32
from nbsoftmax.solvers.tools.unseen import unseen_decrease
from nbsoftmax.validation import Float64s

FAR = 10.0  # a start is replaced by 0 if its objective is more than this times the objective at 0
GROWN = 1e3  # the fit has diverged if the objective is larger than this times its value at the start
Objective = TypeVar("Objective", bound=Smooth)
Objective_contra = TypeVar("Objective_contra", bound=Smooth, contravariant=True)


class Method(Protocol[Objective_contra]):
    """The part that differs between solvers: the step, and the test of convergence."""

    unit: str  # name of iterations in messages, in the plural
    monotone: bool  # whether no step increases the objective, up to rounding errors
    learning_rate: float  # for the message if the fit diverges; without effect in a monotone method

    @property
    def hides_curvature(self) -> bool:
        """Whether the next direction is wrong because rounding errors of products hide small curvatures."""
        ...

    def step(self, sums: Objective_contra, point: Point, n_iter: int) -> Point | None:
        """The point after one more iteration, evaluated with `sums`; None if no step decreases the objective."""
        ...

    def converged(self, n_iter: int, point: Point, values: list[float], *, certify: bool) -> bool:
        """Whether the gap at `point` is within tolerance.

        `values` are the objectives so far. If `certify`, check even if the method does not expect convergence yet.
        """
        ...

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        """The gap at `point` and its kind."""
        ...

    def refine(self, objective: Objective_contra, sums: Objective_contra, point: Point, *, hessian: bool) -> None:
        """Continue from `point` with more accurate sums; if `hessian`, `objective` is now in float64, too."""
        ...

    def state(self) -> dict[str, Any]:
        """What the method needs to resume, in arrays that it does not change later."""
        ...

    def report(self) -> tuple[str, Float64s | None]:
        """The summary of the work, and the Newton step from the last point, if it is known."""
        ...


class Driver(Generic[Objective]):
    """One run of a solver.

    Parameters
    ----------
    objective : Objective
    start : ndarray (n_classes, n_features + 1)
    tol : float
    max_iter : int
    on_iteration : callable
    state : SolverState or None
        If it has a saved state, the run continues from there instead of from `start`.
    uses_hessian : bool
        Whether steps use the Hessian, so that it may have to be computed in float64.
    evaluate : callable
        Computes a point, given the sums and parameters. By default its value and gradient are those of the sums.
    origin : ndarray (n_classes, n_features + 1), optional
        Where the run begins if the objective at `start` is far above that here. Default: 0.

    Attributes
    ----------
    objective, sums : Objective
        `objective` for Hessian-vector products, `sums` for values and gradients.
    start : ndarray (n_classes, n_features + 1)
        First point of this run: the given start, or 0 in its place.
    saved : dict
        State from which the run resumes; empty for a new run.
    """

    def __init__(
        self,
        objective: Objective,
        start: Float64s,
        *,
        tol: float,
        max_iter: int,
        on_iteration: OnIteration,
        state: SolverState | None,
        uses_hessian: bool = False,
        evaluate: Callable[[Objective, Float64s], Point] = evaluate,
        origin: Float64s | None = None,
    ) -> None:
        self.tol, self.max_iter, self._on_iteration, self._uses_hessian = tol, max_iter, on_iteration, uses_hessian
        self._evaluate = evaluate
        self._state = state or SolverState()
        self.saved = self._state.saved
        if self.saved.get("hessian_refined", False):
            objective = objective.in_float64(hessian=True)
        self.objective = objective
        self._refined = objective.in_float64()
        self.sums = self._refined if self.saved.get("refined", False) else objective
        self._origin = np.zeros_like(start) if origin is None else origin
        self._point = self._evaluate(self.sums, self.saved.get("params", start).copy())
        if not self.saved and self.rough and beyond_float32(objective, self._point.grad):
            self.objective = self._refined = self.sums = objective.in_float64(hessian=True)
            self._point = self._evaluate(self.sums, self._point.params)
        self._far_start = float(self.saved.get("far_start", 0.0))  # objective at the given start, if it is replaced
        if not self.saved and max_iter > 0 and objective.convex:
            self._replace_far_start()
        self.start: Float64s = self._point.params

    @property
    def refined(self) -> bool:
        """Whether values and gradients are computed in float64."""
        return self.sums is self._refined

    @property
    def rough(self) -> bool:
        """Whether the Hessian is computed by products in float32, and could be in float64."""
        return self.objective is not self._refined

    def minimize(self, method: Method[Objective]) -> Solution:
        """Iterate until the method has converged, no step is possible, or the caller asks to stop."""
        saved = self.saved
        self._best = self._evaluate(self.sums, saved["best"]) if "best" in saved else self._point
        self._values: list[float] = saved["values"].tolist() if saved else [self._point.value]
        self._n_iter = int(saved.get("n_iter", 0))
        certify = not saved
        stop = self._state.stop
        while True:
            if stop is None and method.converged(self._n_iter, self._point, self._values, certify=certify):
                stop = StopReason.CONVERGED.stop()
                self._best = self._point  # its gap is known; earlier values may be lower by rounding errors
            if stop is None and self._n_iter >= self.max_iter:
                unit = method.unit.removesuffix("s") if self._n_iter == 1 else method.unit
                stop = StopReason.MAX_ITER.stop(n_iter=self._n_iter, unit=unit)
            if stop is None and method.hides_curvature and self.rough:
                self._refine(method, hessian=True)
                certify = True
            elif stop is None:
                stop = self._iterate(method)
                certify = False
            elif self.refined:
                return self._solution(method, stop)
            else:
                self._refine(method, hessian=method.hides_curvature)
                certify = True
                if stop.reason in (StopReason.CONVERGED, StopReason.STUCK):
                    stop = None

    def _replace_far_start(self) -> None:
        """Begin at the origin if the objective is far higher at the start."""
        far = FAR * math.log(len(self._origin))  # without offset, the loss at 0 is log K: other starts take no pass
        if not self._point.params.any() or self._point.value <= far:
            return
        origin = self._evaluate(self.sums, self._origin)
        if not self._point.value <= FAR * origin.value:
            self._far_start, self._point = self._point.value, origin

    def _iterate(self, method: Method[Objective]) -> Stop | None:
        moved = method.step(self.sums, self._point, self._n_iter)
        if moved is None:
            return StopReason.STUCK.stop(precision=self.sums.dtype)
        self._n_iter += 1
        if not math.isfinite(moved.value) or moved.value > GROWN * (abs(self._values[0]) + 1):
            return StopReason.DIVERGED.stop(learning_rate=method.learning_rate)
        self._point = moved
        self._values.append(moved.value)
        if method.monotone or moved.value < self._best.value:
            self._best = moved
        if self._state.recorded:
            self._record(method)
        return self._on_iteration(self._n_iter, moved.params, moved.value, moved.grad_norm)

    def _record(self, method: Method[Objective]) -> None:
        """Let the caller have the state after this iteration."""
        kept = {
            "params": self._point.params,
            "n_iter": self._n_iter,
            "refined": self.refined,
            "hessian_refined": self.objective is self._refined,
            "far_start": self._far_start,
        }
        if self._best is not self._point:
            kept["best"] = self._best.params
        self._state.snapshot = partial(_snapshot, self._n_iter, self._values, kept, method.state())

    def _refine(self, method: Method[Objective], *, hessian: bool = False) -> None:
        """Continue from the best point with sums in float64; if `hessian`, also with the Hessian in float64."""
        rough, self.sums = self._best.value, self._refined
        self._point = self._best = self._evaluate(self.sums, self._best.params)
        allowed = allowed_at(self._point, self.tol)
        hessian = hessian or (self._uses_hessian and not abs(self._point.value - rough) <= 0.1 * allowed)
        if hessian:
            self.objective = self._refined = self.sums = self.objective.in_float64(hessian=True)
        method.refine(self.objective, self.sums, self._point, hessian=hessian)

    def _solution(self, method: Method[Objective], stop: Stop) -> Solution:
        point = self._best
        diverged = stop.reason is StopReason.DIVERGED
        gap, kind = (np.inf, "estimate") if diverged else method.gap(self._n_iter, point)
        if kind == "estimate" and self.start.any():
            # Far away, probabilities of exactly 0 and 1 hide the curvature of an estimate; the value at 0 is a bound.
            gap = max(gap, point.value - self._evaluate(self.sums, self._origin).value)
        if kind in ("estimate", "stationary") and point.subgradient is None and gap <= allowed_at(point, self.tol):
            gap = max(gap, min(unseen_decrease(self.objective, point), point.value))  # no minimum is below 0
        converged = gap <= allowed_at(point, self.tol)
        if converged and stop.reason in (StopReason.STUCK, StopReason.MAX_ITER):
            stop = StopReason.CONVERGED.stop()
        elif not converged and stop.reason is StopReason.CONVERGED:
            stop = StopReason.STUCK.stop(precision=self.sums.dtype)
        summary, newton_step = method.report()
        if self._far_start:
            origin = "the feasible point nearest to 0" if self._origin.any() else "0"
            far = f"started at {origin} instead of the given parameters, where the objective is {self._far_start:.3g}"
            summary = f"{far}; {summary}" if summary else far
        return Solution(
            params=point.params,
            objective=point.value,
            grad_norm=point.grad_norm,
            gap=gap,
            gap_kind=kind,
            n_iter=self._n_iter,
            converged=converged,
            stop_reason=stop.reason,
            reason=stop.text,
            summary=summary,
            newton_step=newton_step,
        )


def _snapshot(n_iter: int, values: list[float], kept: dict[str, Any], of_method: dict[str, Any]) -> dict[str, Any]:
    """The state after `n_iter` iterations; `values` may have more items by now."""
    return {"values": np.array(values[: n_iter + 1]), **kept, **of_method}
