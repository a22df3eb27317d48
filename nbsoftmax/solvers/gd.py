"""Gradient descent: the plain update, as a reference for the faster solvers.

w <- w - alpha dJ/dw,    b <- b - alpha dJ/db
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from nbsoftmax import validation
from nbsoftmax.solvers.base import (
    OnIteration,
    Point,
    Requirements,
    Smooth,
    Solution,
    SolverState,
    evaluate_if_finite,
    never_stop,
)
from nbsoftmax.solvers.driver import Driver
from nbsoftmax.solvers.tools.convergence import ConvergenceMonitor
from nbsoftmax.solvers.tools.line_search import halve_until_decrease
from nbsoftmax.validation import Float64s

MAX_ITER = 10_000


@dataclass(frozen=True)
class GradientDescent:
    """Gradient descent, as a reference for the faster solvers.

    Parameters
    ----------
    learning_rate : float, optional
        Fixed step length. By default, a line search begins with twice the last step length and halves it until the
        objective decreases sufficiently.
    """

    learning_rate: float | None = None

    name: ClassVar[str] = "gd"
    requires: ClassVar[Requirements] = Requirements(convex=False)

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            rate = validation.number("learning_rate", self.learning_rate, low=0.0, low_open=True)
            object.__setattr__(self, "learning_rate", rate)

    def solve(
        self,
        objective: Smooth,
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
            start,
            tol=tol,
            max_iter=MAX_ITER if max_iter is None else max_iter,
            on_iteration=on_iteration,
            state=state,
        )
        return driver.minimize(_GradientSteps(self, driver))


class _GradientSteps:
    unit, monotone, hides_curvature = "iterations", False, False

    def __init__(self, options: GradientDescent, driver: Driver[Smooth]) -> None:
        self._fixed = options.learning_rate is not None
        self.learning_rate = float(driver.saved.get("rate", options.learning_rate or 1.0))
        self._monitor = ConvergenceMonitor(driver.objective, driver.tol, driver.saved, driver.sums)

    def step(self, sums: Smooth, point: Point, n_iter: int) -> Point | None:
        if self._fixed:
            return evaluate_if_finite(sums, point.params - self.learning_rate * point.grad)
        found = halve_until_decrease(sums, point, self.learning_rate)
        if found is None:
            return None
        moved, rate = found
        self.learning_rate = 2 * rate
        return moved

    def converged(self, n_iter: int, point: Point, values: list[float], *, certify: bool) -> bool:
        return self._monitor.converged(n_iter, point, 0.0 if certify else _last_gain(values))

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        return self._monitor.gap(n_iter, point)

    def refine(self, objective: Smooth, sums: Smooth, point: Point, *, hessian: bool) -> None:
        self._monitor.refine(objective, sums)

    def state(self) -> dict[str, Any]:
        return {"rate": self.learning_rate, **self._monitor.state()}

    def report(self) -> tuple[str, None]:
        return "", None


def _last_gain(values: list[float]) -> float:
    """The decrease of the objective in the last quarter of the iterations; inf after fewer than 7 iterations."""
    n = len(values)
    return values[(3 * n) // 4 - 1] - values[-1] if n >= 8 else np.inf
