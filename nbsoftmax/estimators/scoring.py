"""Scorers of scikit-learn for the held-out samples of folds."""

from __future__ import annotations

import inspect
import numbers
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, get_scorer, log_loss, make_scorer

from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.estimators.classifier import SoftmaxRegression
from nbsoftmax.models.scores import accuracy
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.validation import Float64s

Scorer = Callable[..., float]
BLOCK_BYTES = 2**23
UNDECIDED = (1, None, inspect.Parameter.empty)  # defaults of pos_label that name no class


class OfRows(partial[float]):
    """A scorer of this module, which takes `Rows` in place of X."""


def scorer_of(scoring: Any) -> Scorer:
    """The scorer of a name, a callable (estimator, X, y) -> float, or None for the accuracy."""
    if isinstance(scoring, (list, tuple, set, dict)):
        raise InputTypeError(f"scoring is {plain(scoring)}, expected one name of a scorer, or a callable.")
    scorer: Scorer = get_scorer("accuracy" if scoring is None else scoring)
    if not callable(scorer):
        raise InputTypeError(f"scoring is {plain(scoring)}, expected the name of a scorer, or a callable.")
    return scorer


def with_classes(scorer: Any, classes: NDArray[Any], *, held_out: bool) -> Scorer:
    """A scorer of scikit-learn that knows the classes of the model, and which of two is positive.

    The held-out samples of a fold may lack some of the classes. A metric of labels knows all classes only if its
    samples are `held_out`, as in `LogisticRegressionCV`. What a scorer has been given by `make_scorer` stays as it is.
    """
    metric = getattr(scorer, "_score_func", None)
    if metric is None:
        return scorer  # type: ignore[no-any-return]
    method, given = scorer._response_method, scorer._kwargs
    same = next((ours for theirs, its, ours in SAME if metric is theirs and method == its), None)
    if same is not None and held_out and not given:
        return OfRows(same, scorer._sign)
    chosen = {*given, *getattr(metric, "keywords", {})}  # the latter by functools.partial
    accepted = inspect.signature(metric).parameters
    added: dict[str, Any] = {}
    if "labels" in accepted and (held_out or method != "predict"):
        added["labels"] = classes
    # A metric of the user may have a positive class of its own.
    if classes.size == 2 and "pos_label" in accepted and accepted["pos_label"].default in UNDECIDED:
        added["pos_label"] = classes[1]
    added = {name: value for name, value in added.items() if name not in chosen}
    if not added:
        return scorer  # type: ignore[no-any-return]
    kept = {"response_method": method, "greater_is_better": scorer._sign == 1}
    made: Scorer = make_scorer(metric, **kept, **given, **added)
    return made


class Rows(NamedTuple):
    """Some rows of X, an array or a CSR array, which our own metrics copy in blocks."""

    X: Any
    indices: NDArray[np.int64]

    def each(self, of_block: Callable[[Any, slice], NDArray[Any]]) -> NDArray[Any]:
        """Call a function with each block of these rows and its place among them, and concatenate the results."""
        stored = self.X.nbytes if isinstance(self.X, np.ndarray) else self.X.data.nbytes
        step = max(1, BLOCK_BYTES * self.X.shape[0] // max(1, stored))
        parts = [slice(start, start + step) for start in range(0, self.indices.size, step)]
        return np.concatenate([of_block(self.X[self.indices[part]], part) for part in parts])


def _log_loss(sign: int, model: Any, X: Rows, y: NDArray[Any], sample_weight: Float64s | None = None) -> float:
    """`log_loss` of scikit-learn, with the same bits, for labels among those of the model.

    For a small table, the input checks of scikit-learn take longer than the fit.
    """
    places = np.searchsorted(model.classes_, y)

    def of_labels(some: Any, part: slice) -> NDArray[Any]:
        proba: NDArray[Any] = model.predict_proba(some, model.offset_of(part))
        return proba[np.arange(len(proba)), places[part]]

    own = X.each(of_labels)
    eps = np.finfo(own.dtype).eps
    return sign * float(np.average(-np.log(own.clip(eps, 1 - eps)), weights=sample_weight))


def _accuracy(sign: int, model: Any, X: Rows, y: NDArray[Any], sample_weight: Float64s | None = None) -> float:
    """`accuracy_score` of scikit-learn."""
    labels = X.each(lambda some, part: model.predict(some, model.offset_of(part)))
    return sign * accuracy(labels == y, sample_weight)


# Metrics of scikit-learn, the method whose result they take, and what replaces them if they have no options.
SAME = ((log_loss, "predict_proba", _log_loss), (accuracy_score, "predict", _accuracy))


def score_of(scorer: Scorer, model: Any, X: Any, y: NDArray[Any], params: dict[str, Any]) -> float:
    """What a scorer returns, which must be a number."""
    score = scorer(model, X, y, **params)
    if isinstance(score, np.ndarray) and score.ndim == 0:
        score = score[()]
    if not isinstance(score, numbers.Real):
        raise InputValueError(f"scoring returned {plain(score)}, expected one number.")
    return float(score)


class ScoredModel(SoftmaxRegression):
    """A fitted model as scorers see it, whose predictions for some samples include their offset."""

    offset_: ArrayLike | None = None

    def set_model(
        self, coef: Float64s, intercept: Float64s, classes: NDArray[Any], offset: ArrayLike | None
    ) -> ScoredModel:
        """Set the parameters in the form of `coef_` and `intercept_`, and the offset of the samples to score."""
        self.coef_, self.intercept_, self.classes_ = coef, intercept, classes
        self.n_features_in_ = coef.shape[1]
        self.offset_ = offset
        return self

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, offset: Any = None) -> ScoredModel:
        """Fit to other samples, as scorers may do; the offset of the samples to score is forgotten."""
        self.offset_ = None
        super().fit(X, y, sample_weight, offset)
        return self

    @property
    def model_(self) -> SoftmaxModel:
        """The fitted `SoftmaxModel`, which has no form for a class that the fold lacks."""
        absent = np.isneginf(self.intercept_)
        if absent.any():
            label = plain(self.classes_[int(absent.argmax())])
            raise InputValueError(
                f"class {label} has no sample in the training part of a fold, so that there is no model_; use the "
                "predictions of the estimator, or other folds."
            )
        return super().model_

    def offset_of(self, part: slice) -> Any:
        """The offset of some of the samples to score."""
        return None if self.offset_ is None else np.asarray(self.offset_)[part]

    def _predict(self, X: Any, what: int, offset: ArrayLike | None) -> Any:
        return super()._predict(X, what, self.offset_ if offset is None else offset)

    def decision_function(self, X: Any, offset: ArrayLike | None = None) -> Any:
        """Logits; those of a class that the fold lacks are -inf, for which metrics take the least finite number."""
        logits: Any = super().decision_function(X, offset)
        largest = np.finfo(logits.dtype).max
        return np.clip(logits, -largest, largest)
