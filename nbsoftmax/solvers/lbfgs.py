"""L-BFGS: quasi-Newton directions from the last steps and gradient changes, by the two-loop recursion.

The recursion (`tools.lbfgs_memory`) starts from a preconditioner M^-1 (`tools.preconditioners`), the inverse of a Gram
matrix if that is affordable, so that the features need no scaling. If no step along the direction decreases the
objective, the memory is cleared and the preconditioner is made again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbsoftmax.solvers.base import (
    Curved,
    OnIteration,
    Point,
    Requirements,
    Solution,
    SolverState,
    never_stop,
)
from nbsoftmax.solvers.driver import Driver
from nbsoftmax.solvers.tools.convergence import ConvergenceMonitor
from nbsoftmax.solvers.tools.lbfgs_memory import LBFGSMemory
from nbsoftmax.solvers.tools.line_search import weak_wolfe
from nbsoftmax.solvers.tools.preconditioners import AFFORDABLE, Preconditioner, centred_start, costs
from nbsoftmax.validation import Float64s

MAX_ITER = 10_000
MEMORY = 20  # pairs: their inner products cost far less than a pass over the data


@dataclass(frozen=True)
class LBFGS:
    """L-BFGS, preconditioned, with a line search for the weak Wolfe conditions."""

    name: ClassVar[str] = "lbfgs"
    requires: ClassVar[Requirements] = Requirements(convex=False)

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
        """Minimise a smooth objective, convex or not; `tol` is relative to the objective."""
        driver = Driver(
            objective,
            centred_start(objective, start),
            tol=tol,
            max_iter=MAX_ITER if max_iter is None else max_iter,
            on_iteration=on_iteration,
            state=state,
            uses_hessian=True,
        )
        return driver.minimize(_QuasiNewtonSteps(driver))


class _QuasiNewtonSteps:
    unit, monotone, learning_rate, hides_curvature = "iterations", True, 1.0, False

    def __init__(self, driver: Driver[Curved]) -> None:
        saved = driver.saved
        self._objective, self._refined = driver.objective, driver.refined
        self._kind = "gram" if costs(driver.objective)["gram"] <= AFFORDABLE else "diagonal"
        self._monitor = ConvergenceMonitor(driver.objective, driver.tol, saved, driver.sums)
        self._memory = LBFGSMemory(driver.start.size, MEMORY, saved.get("pairs"))
        self._precondition_at(saved.get("made_at", driver.start))

    def step(self, sums: Curved, point: Point, n_iter: int) -> Point | None:
        moved = weak_wolfe(sums, point, self._direction(point.grad))
        # Try once more without the memory. With float32 sums the usual cause is rounding errors, and `refine` follows.
        if moved is None and len(self._memory) and self._refined:
            self._memory.clear()
            self._precondition_at(point.params)
            moved = weak_wolfe(sums, point, self._direction(point.grad))
        if moved is not None:
            self._memory.add([(moved.params - point.params, moved.grad - point.grad)])
        return moved

    def converged(self, n_iter: int, point: Point, values: list[float], *, certify: bool) -> bool:
        only_check = certify and self._objective.convex
        decrement = 0.0 if only_check else -0.5 * float(np.vdot(point.grad, self._direction(point.grad)))
        return self._monitor.converged(n_iter, point, decrement)

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        return self._monitor.gap(n_iter, point)

    def refine(self, objective: Curved, sums: Curved, point: Point, *, hessian: bool) -> None:
        self._objective, self._refined = objective, True
        if hessian:
            self._memory.clear()
            self._precondition_at(point.params)
        self._monitor.refine(objective, sums)

    def state(self) -> dict[str, Any]:
        return {"made_at": self._preconditioner.made_at, "pairs": self._memory.pairs, **self._monitor.state()}

    def report(self) -> tuple[str, None]:
        return "", None

    def _precondition_at(self, params: Float64s) -> None:
        self._preconditioner = Preconditioner(self._objective, params, self._kind)
        self._monitor.precondition = self._preconditioner

    def _direction(self, grad: Float64s) -> Float64s:
        """An approximation of -H^-1 grad from the memory; -M^-1 grad if it is empty."""
        return self._memory.step(grad, self._preconditioner)
