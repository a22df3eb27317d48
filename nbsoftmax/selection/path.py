"""Regularisation paths: one fit for each strength of the penalty, each started from the result of the previous one.

    strength a:  l2 = (1 - l1_ratio) a,    l1 = l1_ratio a,    a = 1 / (C S)

with S the sum of sample weights times class weights: scikit-learn's C and l1_ratio. For two classes scikit-learn has
one row of weights, c = w_1 - w_0, where there are two here. The loss depends on c alone, so the minimum has the pair
with the smallest penalty among all pairs with this difference. The sum of squares is least at w_1 = -w_0 = c/2. The sum
of absolute values is least wherever |w_1j| + |w_0j| = |c_j| for all j, and so there as well:

    l2/2 (||w_0||^2 + ||w_1||^2) + l1 (||w_0||_1 + ||w_1||_1) = l2/4 ||c||^2 + l1 ||c||_1

Therefore, for two classes l2 is twice the above, and l1 is the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.encoding import TableOptions, checked_options
from nbsoftmax.errors import InputTypeError, InputValueError, counted, plain
from nbsoftmax.models.display import Displayed
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.models.to_frame import data_frame
from nbsoftmax.problem import AnyProblem, problem_of
from nbsoftmax.selection.grid import checked_grid, grid_for, grid_of
from nbsoftmax.training.result import FitResult, uninterrupted
from nbsoftmax.training.trainer import Trainer
from nbsoftmax.validation import Float64s


@dataclass(frozen=True, eq=False, repr=False)
class PathResult(Displayed):
    """Fits over a grid of penalties, in the order in which the penalties were given.

    Attributes
    ----------
    l1s, l2s : ndarray (n_penalties,)
        Of the objective of `Trainer`.
    results : tuple of FitResult
    """

    l1s: Float64s
    l2s: Float64s
    results: tuple[FitResult, ...]

    def _title(self) -> str:
        return counted(len(self.results), "penalty")

    def _lines(self) -> dict[str, str]:
        converged = sum(result.converged for result in self.results)
        return {
            "l1s": f"{self.l1s.min():.4g} to {self.l1s.max():.4g}",
            "l2s": f"{self.l2s.min():.4g} to {self.l2s.max():.4g}",
            "fits": f"{converged} of {len(self.results)} converged",
        }

    def to_frame(self) -> Any:
        """A data frame with a row for each penalty: of pandas, or of polars if pandas is not installed.

        `n_features` is the number of features with a coefficient that is not 0.
        """
        return data_frame(
            {
                "l1": self.l1s,
                "l2": self.l2s,
                "objective": [result.objective for result in self.results],
                "n_features": [n_selected(result.model) for result in self.results],
                "n_iter": [result.n_iter for result in self.results],
                "converged": [result.converged for result in self.results],
            }
        )

    @property
    def coefs(self) -> Float64s:
        """(n_penalties, n_classes, n_features)."""
        return np.stack([result.model.coef for result in self.results])

    @property
    def intercepts(self) -> Float64s:
        """(n_penalties, n_classes)."""
        return np.stack([result.model.intercept for result in self.results])


def n_selected(model: SoftmaxModel) -> int:
    """The number of features with a coefficient that is not 0."""
    return int(model.coef.any(axis=0).sum())


def fit_path(
    X: Any,
    y: Any = None,
    *,
    l2s: ArrayLike | None = None,
    Cs: int | ArrayLike | None = None,
    l1_ratio: float = 0.0,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    **options: Any,
) -> PathResult:
    """Fit softmax regression for each of several penalties, warm-started from the strongest to the weakest.

    Parameters
    ----------
    X, y, sample_weight, offset
        As in `Trainer.fit`.
    l2s : array_like (n_penalties,), optional
        Strengths a of the penalty (1 - l1_ratio) a/2 ||coef||^2 + l1_ratio a ||coef||_1.
    Cs : int or array_like (n_penalties,), optional
        Instead of `l2s`, the strengths as scikit-learn counts them: a = 1 / (C sum_i s_i), and l2 twice as large for
        two classes; inf for none. The sum is over the samples of the fit, without those that `validation_fraction`
        holds out. An integer is the number of values, as in `cross_validate`.
    l1_ratio : float in [0, 1]
    **options
        Of `Trainer`, other than `l1`, `l2` and `penalty`.

    Returns
    -------
    PathResult

    Raises
    ------
    InputValueError, InputTypeError
        If not exactly one of `l2s` and `Cs` is given, for invalid penalties, and as in `Trainer.fit`.
    KeyboardInterrupt
        After Ctrl-C: an incomplete path is not returned.
    """
    refuse_strengths("fit_path", options)
    if (l2s is None) == (Cs is None):
        raise InputValueError(
            "give exactly one of l2s and Cs: strengths of the penalty, of which l1_ratio is the share of l1, or "
            "scikit-learn's inverse strengths; Cs=20 chooses 20 values."
        )
    grid = checked_grid("l2s", l2s, low_open=False) if Cs is None else grid_of(Cs)
    problem = shared_problem(X, y, sample_weight, offset, options)
    if options.get("validation_fraction") is not None:
        problem = problem.split(options["validation_fraction"], options.get("random_state"))
    if Cs is None:
        l1s, l2s_ = shares(grid, l1_ratio)
    else:
        grid = grid_for(problem, Cs, l1_ratio, options)
        l1s, l2s_ = as_in_sklearn(grid, problem.weight_sum, l1_ratio, problem.n_classes)
    results: dict[int, FitResult] = {}
    last = None
    for i in np.argsort(-(l1s + l2s_), kind="stable").tolist():
        trainer = Trainer(**options, l1=l1s[i], l2=l2s_[i])
        last = results[i] = uninterrupted(trainer.fit(problem, init=last))
    return PathResult(l1s, l2s_, tuple(results[i] for i in range(len(l1s))))


def shared_problem(
    X: Any, y: Any, sample_weight: ArrayLike | None, offset: ArrayLike | None, options: dict[str, Any]
) -> AnyProblem:
    """The problem that several fits with these options of `Trainer` share."""
    table = TableOptions() if options.get("table") is None else checked_options(options["table"])
    given = options_of_data(options)
    return problem_of(X, y, sample_weight=sample_weight, offset=offset, table=table, **given)


def options_of_data(options: dict[str, Any]) -> dict[str, Any]:
    """Those options of `Trainer` that belong to the problem."""
    names = ("class_weight", "label_smoothing", "dtype", "device")
    return {name: options[name] for name in names if name in options}


def refuse_strengths(function: str, options: Mapping[str, Any]) -> None:
    """Refuse the penalties of a single fit among the options of a function that sets them itself, and unknown names."""
    strengths, grids = ("l2s", "l2s or Cs") if function == "fit_path" else ("Cs", "Cs")
    instead = {"l1": "l1_ratio", "l2": strengths, "C": "Cs", "penalty": f"{strengths} and l1_ratio"}
    given = [name for name in instead if name in options]
    if given:
        raise InputTypeError(
            f"{function} got {given[0]}={plain(options[given[0]])}, but it makes a fit for each of several penalties; "
            f"give {instead[given[0]]} instead."
        )
    known = signature(Trainer).parameters
    unknown = [name for name in options if name not in known]
    if unknown:
        raise InputTypeError(
            f"{function} got the unknown option {unknown[0]!r}; strengths of the penalty are {grids}, the share of l1 "
            "is l1_ratio, and other options are those of Trainer."
        )


def shares(strengths: Float64s, l1_ratio: float) -> tuple[Float64s, Float64s]:
    """(l1s, l2s) of strengths."""
    share = validation.number("l1_ratio", l1_ratio, low=0.0, high=1.0)
    return share * strengths, (1 - share) * strengths


def as_in_sklearn(Cs: ArrayLike, total: float, l1_ratio: float, n_classes: int) -> tuple[Float64s, Float64s]:
    """(l1s, l2s) for scikit-learn's C and l1_ratio, where the weights of the samples sum to `total`."""
    with np.errstate(over="ignore", under="ignore", divide="ignore"):
        strengths = 1 / (np.asarray(Cs, np.float64) * total)
    if not np.isfinite(strengths).all() or (np.isinf(total) and np.isfinite(Cs).any()):
        raise InputValueError(
            f"C is {np.min(Cs):g} and the weights sum to {total:g}, so that the penalty, 1 / (C sum), is outside the "
            "range of float64; raise C, or divide the weights by their largest and multiply C by it."
        )
    l1s, l2s = shares(strengths, l1_ratio)
    return l1s, l2s * (2 if n_classes == 2 else 1)
