"""Runs a solver until it ends or is interrupted; perfectly separable classes are detected at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import listed
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import AnyProblem
from nbsoftmax.solvers.base import Solution, evaluate
from nbsoftmax.solvers.newton_cg import NewtonCG
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.solvers.table import Solver
from nbsoftmax.solvers.tools import separation
from nbsoftmax.solvers.tools.certificates import GapCertificate, allowed_at, allowed_gap
from nbsoftmax.training.fewer_features import FewerFeatures
from nbsoftmax.training.monitor import FitMonitor
from nbsoftmax.training.row_span import RowSpan
from nbsoftmax.training.signals import recorded_interrupts
from nbsoftmax.validation import Float64s


def minimise(
    solver: Solver,
    objective: PenalizedLoss,
    start: Float64s,
    monitor: FitMonitor,
    classes: NDArray[Any],
    *,
    tol: float,
    max_iter: int | None,
    seed: int,
    part: FewerFeatures | RowSpan | None,
) -> Solution:
    """Where the solver ends, or the best point so far after Ctrl-C.

    With `part`, the solver has some of the parameters, or other coordinates of them.
    """
    with one_thread():  # the last bits of BLAS depend on the number of its threads
        monitor.resume_end()
        try:
            # Data of extreme scale overflow in a solver's inner products; its stop reason then says so.
            with np.errstate(over="ignore", invalid="ignore"), recorded_interrupts(monitor.interrupt):
                options = {"tol": tol, "max_iter": max_iter, "state": monitor.state, "random_state": seed}
                solution = _solve(solver, objective, start, monitor, part, **options)
        except KeyboardInterrupt:
            solution = monitor.interrupted(start, tol)
        monitor.finish()
        return _without_separation(objective, monitor.with_best_params(solution, tol), classes)


def part_of(
    solver: Solver, problem: AnyProblem, options: ObjectiveOptions, start: Float64s
) -> FewerFeatures | RowSpan | None:
    """Fewer parameters with the same minimum: those of fewer features, or coordinates; None if there are none.

    Steps of SGD depend on which parameters there are.
    """
    span = RowSpan.of(problem, options) if isinstance(solver, NewtonCG) else None
    return span or FewerFeatures.of(problem, options, start, merge=not solver.requires.batches)


def _solve(
    solver: Solver,
    objective: PenalizedLoss,
    start: Float64s,
    monitor: FitMonitor,
    part: FewerFeatures | RowSpan | None,
    **options: Any,
) -> Solution:
    if part is None:
        return solver.solve(objective, start, on_iteration=monitor, **options)
    if isinstance(part, RowSpan):
        return _in_span(solver, objective, start, monitor, part, **options)
    monitor.whole = part.whole
    return part.solution(solver.solve(part.objective, part.start(start), on_iteration=monitor, **options))


def _in_span(
    solver: Solver, objective: PenalizedLoss, start: Float64s, monitor: FitMonitor, span: RowSpan, **options: Any
) -> Solution:
    """A fit over the coordinates of the span; without a bound for `objective` itself, the fit goes on with it."""
    state, tol = options["state"], options["tol"]
    if state.saved and state.saved["params"].shape == start.shape:  # resumed after the coordinates
        return solver.solve(objective, start, on_iteration=monitor, **options)
    monitor.whole = span.whole
    # With half of the tolerance, other rounding errors seldom make the bound too large.
    found = solver.solve(span.objective, span.start(start), on_iteration=monitor, **options | {"tol": tol / 2})
    params = monitor.go_on_with_whole(found.params)
    summary = f"over {span.objective.n_features} coordinates of the span of the samples: {found.summary}"
    ended = found.stop_reason in (StopReason.CONVERGED, StopReason.STUCK)
    if ended:
        sums = objective.in_float64()
        point = evaluate(sums, params)
        bound = GapCertificate(sums).certify(point, allowed_at(point, tol), unlikely=True)
        if bound is not None:
            at_point: dict[str, Any] = {
                "params": params,
                "objective": point.value,
                "grad_norm": point.grad_norm,
                "newton_step": None,
            }
            return _converged(found, *bound, summary=summary, **at_point)
    state.stop = None if ended else Stop(found.stop_reason, found.reason)
    state.saved = {"params": params, "n_iter": found.n_iter, "values": np.array([found.objective]), "refined": True}
    solution = solver.solve(objective, start, on_iteration=monitor, **options)
    solution = replace(solution, summary=f"{summary}; then {solution.summary}")
    # The bound over the coordinates holds but for rounding errors.
    gap = max(found.gap, solution.objective - found.objective)
    if solution.stop_reason is StopReason.STUCK and gap <= allowed_gap(solution.objective, tol, len(params)):
        return _converged(solution, gap, "estimate")
    return solution


def _converged(solution: Solution, gap: float, kind: str, **changes: Any) -> Solution:
    stop = StopReason.CONVERGED.stop()
    of_end: dict[str, Any] = {"converged": True, "stop_reason": stop.reason, "reason": stop.text}
    return replace(solution, gap=gap, gap_kind=kind, **of_end, **changes)


def _without_separation(objective: PenalizedLoss, solution: Solution, classes: NDArray[Any]) -> Solution:
    """The solution; if the classes are separable, so that there is no minimum, with that as its reason."""
    if solution.stop_reason is StopReason.SEPARABLE:  # multiples of the parameters bring the objective to 0
        return replace(solution, gap=solution.objective, gap_kind="duality")
    if not solution.converged or not objective.can_separate:
        return solution
    step = separation.unbounded_step(objective, solution)
    found = [] if step is None else classes[separation.separated(objective, solution.params, step)].tolist()
    if not found:
        return solution
    stop = StopReason.SEPARABLE.stop(classes=listed(found))
    return replace(solution, converged=False, stop_reason=stop.reason, reason=stop.text)
