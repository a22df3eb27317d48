"""Training metadata stored with the model."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.errors import plain
from nbsoftmax.penalties import as_penalty
from nbsoftmax.problem import AnyProblem, ProblemInParts
from nbsoftmax.solvers.base import Solution
from nbsoftmax.solvers.table import Solver

PENALTY_OPTIONS = ("standardize", "l1", "l2", "penalty", "penalty_weight", "bounds")  # of a trainer


def training_metadata(
    solver: Solver, solution: Solution, problem: AnyProblem, penalty: dict[str, Any], *, fit_intercept: bool
) -> dict[str, Any]:
    """The metadata of a fit, without times, so that two fits of the same data have the same metadata.

    `penalty` has the `PENALTY_OPTIONS`.
    """
    return {
        "solver": solver.name,
        **_given(**penalty),
        **({"sample_weight": True} if problem.is_weighted else {}),
        **({"offset": True} if problem.has_offset else {}),
        "fit_intercept": fit_intercept,
        "label_smoothing": problem.label_smoothing,
        "n_samples": problem.n_samples,
        "dtype": str(problem.dtype),
        "objective": solution.objective,
        "gap": solution.gap if np.isfinite(solution.gap) else None,
        "converged": solution.converged,
        "reason": solution.reason,
        "n_iter": solution.n_iter,
    }


def _given(*, standardize: bool, l1: float, l2: float, penalty: Any, **others: Any) -> dict[str, Any]:
    """The options of the penalty that were given."""
    given: dict[str, Any] = {"standardize": True} if standardize else {}
    given |= {"l1": l1, "l2": l2} if penalty is None else {"penalty": plain(as_penalty(penalty))}
    return given | {name: plain(value) for name, value in others.items() if value is not None}


def summary_of(solution: Solution, problem: AnyProblem) -> str:
    """The summary of the solver's work, and of how the rows were read if they are in blocks."""
    reading = problem.reading if isinstance(problem, ProblemInParts) else None
    return solution.summary if reading is None else "; ".join(filter(None, (solution.summary, reading.summary())))
