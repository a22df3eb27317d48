"""Cross-validation over penalties: held-out samples get the weight 0, so that X is not copied for each fold.

The penalties are fitted from the strongest to the weakest, each in all folds, and every fit of a fold starts from its
previous one. The log-loss of a penalty is the mean over the folds, with the standard error std / sqrt(n_folds). The
simplest model within one standard error of the best is often preferred (L. Breiman et al., "Classification and
Regression Trees", 1984).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.data.blocks import is_source
from nbsoftmax.errors import InputTypeError, InputValueError, counted, plain
from nbsoftmax.kernels.predict import BEST
from nbsoftmax.models.complete_rows import rows_kept
from nbsoftmax.models.display import Displayed, Table
from nbsoftmax.models.predictions import predictions
from nbsoftmax.models.scores import accuracy
from nbsoftmax.models.softmax import SoftmaxModel, params_of
from nbsoftmax.models.to_frame import data_frame
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import Problem, shuffled_by_class
from nbsoftmax.selection.fit import fit_for_c
from nbsoftmax.selection.folds_of_source import folds_of_source
from nbsoftmax.selection.grid import grid_for
from nbsoftmax.selection.path import n_selected, options_of_data, refuse_strengths, shared_problem
from nbsoftmax.training.result import FitResult, no_attribute
from nbsoftmax.validation import Float64s

# The path ends when so many penalties in a row are so many standard errors worse than the best.
PATIENCE, WORSE = 2, 2.0


@dataclass(frozen=True, eq=False, repr=False)
class CVResult(Displayed):
    """The scores of cross-validation, and the chosen fit.

    Attributes
    ----------
    Cs : ndarray (n_penalties,)
        In the given order.
    log_loss, accuracy : ndarray (n_penalties, n_folds)
        Of the held-out samples, weighted by their sample weights; NaN for penalties after the end of the path.
    n_features : ndarray (n_penalties, n_folds)
        The number of features with a coefficient that is not 0 in the fit of the fold; NaN likewise.
    best : int
        Index of the least mean log-loss.
    one_standard_error : int
        Index of the smallest C within one standard error of it.
    result : FitResult
        Fitted to all samples with the C that `refit` chooses.
    """

    Cs: Float64s
    log_loss: Float64s
    accuracy: Float64s
    n_features: Float64s
    best: int
    one_standard_error: int
    result: FitResult

    if not TYPE_CHECKING:  # type checkers know the attributes

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name, "result.model")

    def to_frame(self) -> Any:
        """A data frame with a row for each penalty: of pandas, or of polars if pandas is not installed.

        Log-loss with its standard error, accuracy and the number of features are means over the folds.
        """
        log_loss, error = summary(self.log_loss)
        means = {"accuracy": self.accuracy.mean(axis=1), "n_features": self.n_features.mean(axis=1)}
        return data_frame({"C": self.Cs, "log_loss": log_loss, "std_error": error, **means})

    @property
    def leaves_out_features(self) -> bool:
        """Whether a fit has a feature without a coefficient, as with l1."""
        return bool(np.nanmin(self.n_features) < self.result.model.n_features)

    def _title(self) -> str:
        n_penalties, n_folds = self.log_loss.shape
        return f"{counted(n_penalties, 'penalty')}, {counted(n_folds, 'fold')}"

    def _lines(self) -> dict[str, str]:
        table = self._table()
        chosen = {"best": self.best, "one standard error": self.one_standard_error}
        lines = {
            name: ", ".join(f"{what} {number}" for what, number in zip(table.header, table.rows[i], strict=True))
            for name, i in chosen.items()
        }
        lines["result"] = f"{'converged' if self.result.converged else 'not converged'}, fitted to all samples"
        return lines

    def _table(self) -> Table:
        names = ["C", "log-loss", "standard error", "accuracy"]
        columns = [self.Cs, *summary(self.log_loss), self.accuracy.mean(axis=1)]
        if self.leaves_out_features:
            names.append("features")
            columns.append(self.n_features.mean(axis=1))
        return Table(tuple(names), [tuple(f"{n:.4g}" for n in row) for row in np.column_stack(columns).tolist()])


def cross_validate(
    X: Any,
    y: Any = None,
    *,
    Cs: int | ArrayLike = 10,
    l1_ratio: float = 0.0,
    folds: int | Iterable[tuple[ArrayLike, ArrayLike]] = 5,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    refit: str = "best",
    random_state: int | None = 0,
    **options: Any,
) -> CVResult:
    """Choose the strength of the penalty by the log-loss of held-out samples.

    Parameters
    ----------
    X, y, sample_weight, offset
        As in `Trainer.fit`; `y` holds labels.
    Cs : int or array_like (n_penalties,)
        Inverse strengths: l2 = (1 - l1_ratio) / (C S) and l1 = l1_ratio / (C S) with S the sum of the training samples'
        weights, and l2 twice as large for two classes: scikit-learn's C. An integer is the number of values, from 1e-4
        to 1e4; with `l1_ratio`, from the largest C for all samples with which no penalised feature has a coefficient,
        to 1e4 times this, or 1e2 times if there are no more samples than features.
    l1_ratio : float in [0, 1]
    folds : int or iterable of (train, test)
        Number of stratified folds, drawn by `random_state`; or pairs of index arrays, or masks, of the rows of X as it
        is given, also of those that `missing="drop"` leaves out. The rows of a source of blocks are drawn for a number
        of folds, without regard to their labels.
    refit : {"best", "one-standard-error"}
        Which C the returned fit to all samples has.
    random_state : int or None
        Seed of the folds, and the `random_state` of `Trainer` in every fit. None is the seed 0.
    **options
        Of `Trainer`, other than `l1` and `l2`. "balanced" class weights are those of each training part.

    Returns
    -------
    CVResult

    Raises
    ------
    InputValueError, InputTypeError
        If a class has no sample in the training part of a fold, and for input that cannot be used.
    KeyboardInterrupt
        After Ctrl-C: the score of an interrupted fit could choose a wrong penalty.
    """
    refuse_strengths("cross_validate", options)
    validation.choice("refit", refit, ("best", "one-standard-error"))
    if validation.is_on_device(X):
        validation.as_array("X", X)  # refuses it: predictions are made on the host
    problem = shared_problem(X, y, sample_weight, offset, options)
    parts: Sequence[Fold]
    if isinstance(problem, Problem):
        parts = _folds_of_problem(problem, X, folds, random_state)
    elif is_source(X):
        parts = folds_of_source(X, folds, random_state, options_of_data(options))
    else:
        raise InputTypeError("cross_validate takes rows in memory or in blocks, but X is a Dask collection.")
    grid = grid_for(problem, Cs, l1_ratio, options)
    options |= {"random_state": random_state}
    scores = _scores(parts, grid, l1_ratio, options)
    mean, error = summary(scores[0])
    best, least = int(np.nanargmin(mean)), one_standard_error(grid, mean, error)
    result = fit_for_c(problem, grid[best if refit == "best" else least], l1_ratio, options)
    return CVResult(grid, *scores, best, least, result)


def _folds_of_problem(
    problem: Problem, X: Any, folds: int | Iterable[tuple[ArrayLike, ArrayLike]], random_state: int | None
) -> list[_Fold]:
    """The folds of rows in memory."""
    if problem.y.ndim != 1:
        raise InputValueError("y holds probabilities or partial labels; cross_validate needs one label for each row.")
    weight, pairs = problem.weights_or_ones(), _pairs(folds, problem.y, random_state)
    kept = None if isinstance(folds, (int, np.integer)) else rows_kept(problem.encoding, X)
    if kept is not None:  # the rows of given folds are those of the table
        pairs = [(_among_kept(train, kept, "train"), _among_kept(test, kept, "test")) for train, test in pairs]
    return [_Fold(problem, weight, *pair) for pair in pairs]


def _among_kept(part: Any, kept: NDArray[np.bool_], name: str) -> NDArray[np.int64]:
    """The kept rows of one part of a fold, numbered among those that are kept."""
    rows = fold_indices(part, kept.size, name)
    return (np.cumsum(kept, dtype=np.int64) - 1)[rows[kept[rows]]]


class Fold(Protocol):
    """One split of the samples."""

    def evaluate(self, C: float, l1_ratio: float, options: dict[str, Any]) -> tuple[float, float, int]:
        """Log-loss and accuracy of the held-out samples, and the number of features, for the next C."""
        ...


def _scores(
    parts: Sequence[Fold], grid: Float64s, l1_ratio: float, options: dict[str, Any]
) -> tuple[Float64s, Float64s, Float64s]:
    """Log-loss, accuracy and number of features of all folds, (n_penalties, n_folds), from the strongest penalty on."""
    log_loss, accuracy, n_features = np.full((3, grid.size, len(parts)), np.nan)
    order = np.argsort(grid, kind="stable").tolist()
    above = 0
    for i in order:
        for f, part in enumerate(parts):
            log_loss[i, f], accuracy[i, f], n_features[i, f] = part.evaluate(grid[i], l1_ratio, options)
        mean, error = summary(log_loss)
        best = int(np.nanargmin(mean))
        above = above + 1 if mean[i] > mean[best] + WORSE * max(error[i], error[best]) else 0
        if above >= PATIENCE:
            break
    return log_loss, accuracy, n_features


def summary(log_loss: Float64s) -> tuple[Float64s, Float64s]:
    """Mean over the folds and its standard error, (n_penalties,); NaN for the error of infinite ones."""
    n_folds = log_loss.shape[1]
    with np.errstate(invalid="ignore"):
        return log_loss.mean(axis=1), log_loss.std(axis=1, ddof=1) / np.sqrt(n_folds)


def one_standard_error(Cs: Float64s, mean: Float64s, error: Float64s) -> int:
    """Index of the smallest C whose mean is within the standard error of the best mean; infinite ones have none."""
    best = int(np.nanargmin(mean))
    within = np.flatnonzero(mean <= mean[best] + (error[best] if np.isfinite(mean[best]) else 0.0))
    return int(within[np.argmin(Cs[within])])


class _Fold:
    """One split: the weights of its two parts, and the last model, from which its next fit starts."""

    def __init__(self, problem: Problem, weight: Float64s, train: Any, test: Any) -> None:
        codes, classes = problem.y, problem.classes
        self._test = fold_indices(test, len(codes), "test")
        of_training = weights_of_rows(fold_indices(train, len(codes), "train"), weight)
        self._weight = weight[self._test]
        absent = np.bincount(codes, of_training, classes.size) == 0
        if absent.any():
            k = int(absent.argmax())
            label, n = plain(classes[k]), int(((codes == k) & (weight > 0)).sum())
            if n == 0:
                raise InputValueError(f"class {label} has no sample of positive weight; leave the class out.")
            raise InputValueError(
                f"class {label} has {counted(n, 'sample')}, but none in the training part of a fold; "
                f"{'leave' if n < 2 else 'give other folds, or leave'} the class out."
            )
        refuse_no_held_out(self._weight)
        self._problem = problem.with_sample_weight(of_training)
        held_out = problem.with_sample_weight(weights_of_rows(self._test, weight), class_weighted=False)
        self._loss = PenalizedLoss(held_out, ObjectiveOptions())
        self._last: SoftmaxModel | None = None

    def evaluate(self, C: float, l1_ratio: float, options: dict[str, Any]) -> tuple[float, float, int]:
        """Log-loss and accuracy of the held-out samples, and the number of features, for the next C."""
        problem = self._problem
        model = self._last = fit_for_c(problem, C, l1_ratio, options, init=self._last).model
        given = problem.offset if problem.offset.size else None
        best = predictions(model.coef, model.intercept, problem.X, BEST, offset=given)[1][:, 0]
        right = best[self._test] == problem.y[self._test]
        return self._loss.value(params_of(model)), accuracy(right, self._weight), n_selected(model)


def weights_of_rows(rows: NDArray[np.int64], weight: Float64s) -> Float64s:
    """Weights (n_samples,) of some rows of all, 0 for the others; a row that is named twice counts twice."""
    return np.bincount(rows, weight[rows], len(weight)).astype(np.float64, copy=False)


def refuse_no_held_out(weight: Float64s) -> None:
    """Refuse a fold whose held-out samples have no weight."""
    if not weight.any():
        raise InputValueError("a fold holds out no sample of positive weight; give other folds.")


def _pairs(folds: Any, codes: NDArray[Any], seed: int | None) -> list[tuple[Any, Any]]:
    if isinstance(folds, (int, np.integer)):
        n = validation.count("folds", folds, low=2)
        if n > codes.size:
            raise InputValueError(
                f"folds is {n}, but there are {codes.size} samples; give fewer folds.", parameter="folds"
            )
        # Shuffled within each class, and assigned to the folds in turn, class by class, so each fold has its share.
        fold = np.empty(codes.size, np.int64)
        fold[shuffled_by_class(codes, validation.seed(seed))] = np.arange(codes.size) % n
        return [(np.flatnonzero(fold != k), np.flatnonzero(fold == k)) for k in range(n)]
    if isinstance(folds, str) or not hasattr(folds, "__iter__"):
        example = ", such as list(splitter.split(X, y))" if hasattr(type(folds), "get_n_splits") else ""
        raise InputTypeError(
            f"folds is {plain(folds)}, expected a whole number of at least 2, or pairs (train, test){example}."
        )
    pairs = list(folds)
    if len(pairs) < 2 or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
        raise InputValueError("folds must contain at least two pairs (train, test); give such pairs, or a number.")
    return [(train, test) for train, test in pairs]


def fold_indices(values: Any, n_samples: int, name: str) -> NDArray[np.int64]:
    """Row numbers of one part of a fold, which is given by row numbers or a mask; `name` is "train" or "test"."""
    rows = validation.as_array(f"the {name} part of a fold", values)
    if rows.dtype == bool and rows.shape == (n_samples,):
        rows = np.flatnonzero(rows)
    if rows.ndim != 1 or rows.dtype.kind not in "iu" or (rows.size and not 0 <= rows.min() <= rows.max() < n_samples):
        raise InputValueError(
            f"the {name} part of a fold must be an array of indices in 0..{n_samples - 1}; give row numbers, or a mask."
        )
    return np.asarray(rows, np.int64)
