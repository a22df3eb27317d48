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
) -> Solution:
    """Where the solver ends, or the best point so far after Ctrl-C."""
    with one_thread():  # the last bits of BLAS depend on the number of its threads
        try:
            # Data of extreme scale overflow in a solver's inner products; its stop reason then says so.
            with np.errstate(over="ignore", invalid="ignore"):
                solution = solver.solve(
                    objective,
                    start,
                    tol=tol,
                    max_iter=max_iter,
                    on_iteration=monitor,
                    state=monitor.state,
                    random_state=seed,
                )
        except KeyboardInterrupt:
            solution = monitor.interrupted(start, tol)
        monitor.finish()
        return _without_separation(objective, monitor.with_best_params(solution, tol), classes)


def _without_separation(objective: PenalizedLoss, solution: Solution, classes: NDArray[Any]) -> Solution:
    """The solution; if the classes are separable, so that there is no minimum, with that as its reason."""
    if not solution.converged or solution.newton_step is None or objective.separable_below == 0:
        return solution
    found = classes[separation.separated(objective, solution.params, solution.newton_step)].tolist()
    if not found:
        return solution
    stop = StopReason.SEPARABLE.stop(classes=listed(found))
    return replace(solution, converged=False, stop_reason=stop.reason, reason=stop.text)
