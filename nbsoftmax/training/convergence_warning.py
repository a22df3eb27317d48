"""The warning that a fit has not converged."""

from __future__ import annotations

from nbsoftmax.solvers.base import Solution
from nbsoftmax.training.result import FitResult


class ConvergenceWarning(UserWarning):
    """The fit ended before the objective was within `tol` of its minimum; the message says what to do."""


def convergence_message(outcome: Solution | FitResult, advice: str) -> str:
    """The text of a ConvergenceWarning."""
    return (
        f"the fit has not converged: {outcome.reason}; gap {outcome.gap:.3g} at objective {outcome.objective:.6g}. "
        f"What to do: {advice}."
    )
