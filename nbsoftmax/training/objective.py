"""The objective of a fit: with a penalty of the coefficients, or with Firth's."""

from __future__ import annotations

from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.penalties import Firth
from nbsoftmax.problem import AnyProblem
from nbsoftmax.validation import Float64s


def objective_of(problem: AnyProblem, options: ObjectiveOptions) -> PenalizedLoss:
    """What the solver minimises."""
    if not isinstance(options.penalty, Firth):
        return PenalizedLoss(problem, options)
    from nbsoftmax.firth_loss import FirthLoss  # with scipy.linalg, which few fits need

    return FirthLoss(problem, options)


def check_start(objective: PenalizedLoss, start: Float64s) -> None:
    """Raise an InputValueError if a solver cannot start there."""
    if isinstance(objective.penalty, Firth):
        from nbsoftmax.firth_loss import FirthLoss

        assert isinstance(objective, FirthLoss)
        objective.check_start(start)
