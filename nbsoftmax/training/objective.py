"""The objective of a fit: with a penalty of the coefficients, or with Firth's."""

from __future__ import annotations

from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.penalties import Firth
from nbsoftmax.problem import AnyProblem


def objective_of(problem: AnyProblem, options: ObjectiveOptions) -> PenalizedLoss:
    """What the solver minimises."""
    if not isinstance(options.penalty, Firth):
        return PenalizedLoss(problem, options)
    from nbsoftmax.firth_loss import FirthLoss  # with scipy.linalg, which few fits need

    return FirthLoss(problem, options)
