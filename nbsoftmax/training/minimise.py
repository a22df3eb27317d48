"""Runs a solver until it ends or is interrupted; perfectly separable classes are detected at its end."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import listed
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.penalized_loss import PenalizedLoss
from nbsoftmax.solvers.base import Solution
from nbsoftmax.solvers.stop_reason import StopReason
from nbsoftmax.solvers.table import Solver
from nbsoftmax.solvers.tools import separation
from nbsoftmax.training.monitor import FitMonitor
from nbsoftmax.training.occurring import OccurringFeatures
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
    occurring: OccurringFeatures | None,
) -> Solution:
    """Where the solver ends, or the best point so far after Ctrl-C.

    If there are features that do not occur, the solver's problem is without them.
    """
    with one_thread():  # the last bits of BLAS depend on the number of its threads
        monitor.resume_end()
        try:
            # Data of extreme scale overflow in a solver's inner products; its stop reason then says so.
            with np.errstate(over="ignore", invalid="ignore"), recorded_interrupts(monitor.interrupt):
                options = {"tol": tol, "max_iter": max_iter, "state": monitor.state, "random_state": seed}
                solution = _solve(solver, objective, start, monitor, occurring, **options)
        except KeyboardInterrupt:
            solution = monitor.interrupted(start, tol)
        monitor.finish()
        return _without_separation(objective, monitor.with_best_params(solution, tol), classes)


def _solve(
    solver: Solver,
    objective: PenalizedLoss,
    start: Float64s,
    monitor: FitMonitor,
    occurring: OccurringFeatures | None,
    **options: Any,
) -> Solution:
    if occurring is None:
        return solver.solve(objective, start, on_iteration=monitor, **options)
    reported, part = occurring.reported_to(monitor), start[:, occurring.columns]
    return occurring.solution(solver.solve(occurring.objective, part, on_iteration=reported, **options))


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
