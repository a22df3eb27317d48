"""A fit with the strength of the penalty as scikit-learn counts it."""

from __future__ import annotations

from typing import Any

from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.problem import AnyProblem
from nbsoftmax.selection.path import as_in_sklearn
from nbsoftmax.training.result import FitResult, uninterrupted
from nbsoftmax.training.trainer import Trainer


def fit_for_c(
    problem: AnyProblem,
    C: float,
    l1_ratio: float,
    options: dict[str, Any],
    *,
    init: SoftmaxModel | None = None,
    n_classes: int | None = None,
) -> FitResult:
    """A fit with scikit-learn's C, whose S is the sum over the samples of this fit.

    scikit-learn has one row of coefficients if `n_classes`, by default that of the problem, is 2.
    """
    if options.get("validation_fraction") is not None:
        problem = problem.split(options["validation_fraction"], options["random_state"])
    l1, l2 = as_in_sklearn(C, problem.weight_sum, l1_ratio, n_classes or problem.n_classes)
    return uninterrupted(Trainer(l1=float(l1), l2=float(l2), **options).fit(problem, init=init))
