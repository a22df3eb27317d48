"""Grids of penalties: the given ones, or a number of them.

Without an l1 term the grid is scikit-learn's. With one, it starts where the first feature gets a coefficient
(J. Friedman, T. Hastie and R. Tibshirani, "Regularization paths for generalized linear models via coordinate descent",
2010, section 2.5). With only the features that have no penalty, the loss L is least at params_0. No other feature gets
a coefficient as long as

    l1 w_j >= max_k |dL/dC_kj (params_0)|    for all j,

with w_j its penalty weight, times its standard deviation if features are standardized; for grouped features the norm
over k takes the place of the maximum.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.models.softmax import params_of
from nbsoftmax.penalized_loss import PenalizedLoss
from nbsoftmax.penalties import FeaturePenalty
from nbsoftmax.problem import AnyProblem
from nbsoftmax.training.convergence_warning import ConvergenceWarning
from nbsoftmax.training.result import FitResult, uninterrupted
from nbsoftmax.training.trainer import Trainer
from nbsoftmax.validation import Float64s

GRID = (1e-4, 1e4)  # of Cs given as a number, as in scikit-learn
# With an l1 term, the last C over the first one: for more samples than features, and for fewer. As in glmnet.
RANGES = (1e4, 1e2)
LEAST_SHARE = 1e-3  # the grid of a smaller l1_ratio is that of this one: it would start at a C near 0
TOL = 1e-12  # of the fit without these features: an error of the intercepts, times a large mean, is in the gradient
EPSILON = float(np.finfo(np.float64).eps)
SLACK = 1e-6  # relative, for rounding errors of the gradient
# Options of `Trainer` that the fit without these features does not take.
OF_USER = ("tol", "max_iter", "callbacks", "verbose", "max_seconds")


def grid_of(Cs: int | ArrayLike) -> Float64s:
    """The values of C: the given ones, or a number of them from 1e-4 to 1e4."""
    if isinstance(Cs, (int, np.integer)):
        return np.geomspace(*GRID, validation.count("Cs", Cs))
    return checked_grid("Cs", Cs)


def grid_for(problem: AnyProblem, Cs: int | ArrayLike, l1_ratio: float, options: dict[str, Any]) -> Float64s:
    """As `grid_of`, but with an l1 term a number of values starts where features get coefficients."""
    share = validation.number("l1_ratio", l1_ratio, low=0.0, high=1.0)
    grid = grid_of(Cs)
    if not isinstance(Cs, (int, np.integer)):
        return grid
    if Cs == 1:
        raise InputValueError(
            "Cs is 1, a number of penalties, expected at least 2; give [1.0] for C = 1.", parameter="Cs"
        )
    if share == 0:
        return grid
    strongest = least_l1_without_features(problem, options) / max(share, LEAST_SHARE)
    least = 1 / (strongest * problem.weight_sum) if strongest > 0 else 0.0
    if not 0 < least < np.inf:  # no feature has a gradient
        return grid
    return np.geomspace(least, least * RANGES[problem.n_samples <= problem.n_features], grid.size)


def least_l1_without_features(problem: AnyProblem, options: dict[str, Any]) -> float:
    """The least l1 with which no penalised feature has a coefficient; 0 if none has a gradient."""
    of_fit = {name: value for name, value in options.items() if name not in OF_USER}

    def fit(l1: float, init: FitResult | None = None, max_iter: int | None = None) -> FitResult:
        trainer = Trainer(**of_fit, l1=l1, tol=TOL, max_iter=max_iter)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return uninterrupted(trainer.fit(problem, init=init))

    # Where fits start, the gradients have about the size that they have without features.
    result = fit(1.0, max_iter=0)
    l1 = _needed(problem, result, 1.0) or 1.0
    while True:
        result = fit(l1, init=result)
        needed = _needed(problem, result, l1)
        if needed < np.inf:
            return needed * (1 + SLACK)
        l1 *= 10.0


def _needed(problem: AnyProblem, result: FitResult, l1: float) -> float:
    """The l1 that the gradients of penalised features without a coefficient need; inf if one has a coefficient."""
    penalty, params = result.objective_options.penalty, params_of(result.model)
    assert isinstance(penalty, FeaturePenalty)  # l1 and l2 make no other
    # Rounding errors of float32 products would count as gradients, and their squares may overflow.
    smooth = PenalizedLoss(problem, result.objective_options).smooth_part().in_float64(hessian=True)
    value, gradient = smooth.value_and_grad(params)
    # A gradient that decreases J by less than its rounding errors is one itself, as that of a constant feature.
    with np.errstate(over="ignore"):
        gradient[gradient**2 <= 2 * EPSILON * value * smooth.curvatures(params)] = 0.0
    coef = params[:, :-1]
    can_be_0 = ~penalty.feasible(np.zeros_like(coef)).any(axis=0)  # not where bounds exclude it
    chosen = can_be_0 & ~penalty.unpenalised(problem.n_features)
    return l1 * float(penalty.activity(coef, gradient[:, :-1])[chosen].max(initial=0.0))


def checked_grid(name: str, values: Any, *, low_open: bool = True, high: float = np.inf) -> Float64s:
    """Check a grid: at least one number, none negative, none above `high`, none NaN."""
    grid = np.atleast_1d(validation.as_array(name, values))
    if grid.ndim != 1 or grid.size == 0 or grid.dtype.kind not in "iuf":
        raise InputValueError(f"{name} is {plain(values)}, expected a list of numbers.", parameter=name)
    bad = ~(grid > 0 if low_open else (grid >= 0) & (grid < np.inf) & (grid <= high))
    if bad.any():
        expected = f"{'above' if low_open else 'from'} 0{f' to {high:g}' if high < np.inf else ''}"
        raise InputValueError(f"{name} contains {grid[bad][0]:g}, expected numbers {expected}.", parameter=name)
    return np.asarray(grid, np.float64)
