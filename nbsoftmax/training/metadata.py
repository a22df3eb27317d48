"""Training metadata stored with the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.problem import AnyProblem, ProblemInParts
from nbsoftmax.solvers.base import Solution
from nbsoftmax.solvers.table import Solver


def training_metadata(
    solver: Solver, solution: Solution, problem: AnyProblem, options: dict[str, Any]
) -> dict[str, Any]:
    """Only what is the same for two fits of the same data; `options` are those of the objective."""
    return {
        "solver": solver.name,
        **options,
        "label_smoothing": problem.label_smoothing,
        "n_samples": problem.n_samples,
        "dtype": str(problem.dtype),
        "objective": solution.objective,
        "gap": solution.gap if np.isfinite(solution.gap) else None,
        "converged": solution.converged,
        "reason": solution.reason,
        "n_iter": solution.n_iter,
    }


def summary_of(solution: Solution, problem: AnyProblem) -> str:
    """The summary of the solver's work, and of how the rows were read if they are in blocks."""
    reading = problem.reading if isinstance(problem, ProblemInParts) else None
    return solution.summary if reading is None else "; ".join(filter(None, (solution.summary, reading.summary())))
