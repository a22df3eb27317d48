"""What the estimators share: validation in scikit-learn's way, predictions, and the fitted attributes."""

from __future__ import annotations

import numbers
from functools import partial
from typing import Any, Self

import numpy as np
import sklearn.exceptions
from joblib import effective_n_jobs
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.linear_model._base import SparseCoefMixin
from sklearn.metrics import accuracy_score
from sklearn.utils.validation import check_array, check_is_fitted, check_X_y, validate_data

from nbsoftmax import validation
from nbsoftmax.data.blocks import is_source
from nbsoftmax.encoding import is_table, names_of
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.estimators.labels import agreement, encoded, readable, sortable, storable
from nbsoftmax.estimators.namespaces import check_namespace, like, to_numpy
from nbsoftmax.estimators.other_names import refuse_other_names
from nbsoftmax.kernels.predict import BEST, LOG_PROBA, LOGITS, PROBA
from nbsoftmax.models.in_blocks import Trained, accuracy_in_blocks, in_blocks, refuse_beside_source
from nbsoftmax.models.predictions import of_occurring_features, predictions
from nbsoftmax.models.scores import accuracy
from nbsoftmax.models.sklearn_parameters import one_row, two_rows
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.models.thresholds import best_classes, thresholds_of
from nbsoftmax.problem import AnyProblem, Problem, problem_of, weights_of_classes
from nbsoftmax.solvers.stop_reason import PYTHON_TERMS
from nbsoftmax.training.convergence_warning import ConvergenceWarning
from nbsoftmax.training.result import FitResult
from nbsoftmax.validation import Float64s, Floats, frames

METHODS = {LOGITS: "decision_function", PROBA: "predict_proba", LOG_PROBA: "predict_log_proba", BEST: "predict"}
FLOATS = frozenset({np.dtype(np.float32), np.dtype(np.float64)})
# Advice for a fit that has not converged, in the terms of the estimators.
ADVICE = PYTHON_TERMS | {"penalize": "lower C", "firth": "use firth=True"}
KNOWN = ("sample_weight", "offset", "penalty")  # what `inference` needs to know of a fit
NO_LABELS = object()  # the default of y; None is an error of the caller


def is_plain(X: Any) -> bool:
    """Whether X is a native float32 or float64 array (n_samples, n_features) with rows and columns."""
    return type(X) is np.ndarray and X.ndim == 2 and X.dtype in FLOATS and X.size > 0


def _shape(y: Any) -> tuple[int, ...]:
    """The shape of y; () of lists of different lengths, which are refused later."""
    if hasattr(y, "shape"):
        return tuple(y.shape)
    try:
        return np.asarray(y).shape
    except ValueError:
        return ()


class EitherConvergenceWarning(ConvergenceWarning, sklearn.exceptions.ConvergenceWarning):
    """A warning of both this package and scikit-learn, so that filters for either apply."""


class FittedClassifier(ClassifierMixin, SparseCoefMixin, BaseEstimator):
    """A fitted classifier: predictions, fitted attributes, and the parameters that the estimators share."""

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: X may be sparse, or an array of another library."""
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        tags.array_api_support = True
        return tags

    def set_params(self, **params: Any) -> Self:
        """Set parameters by name, as in scikit-learn; the error for one of `LogisticRegression` says what to use."""
        refuse_other_names(type(self), params)
        super().set_params(**params)
        return self

    @property
    def penalty(self) -> str | None:
        """Return "l1" if the l1 ratio is 1, else None; `SelectFromModel` chooses its threshold by it."""
        given = getattr(self, "l1_ratio", getattr(self, "l1_ratios", None))
        ratios = np.asarray(getattr(self, "l1_ratio_", given))
        return "l1" if ratios.dtype.kind in "iuf" and np.isclose(ratios, 1.0).all() else None

    @property
    def model_(self) -> SoftmaxModel:
        """The fitted `SoftmaxModel`, for example to save or export it, or for the k most probable classes.

        It does not contain the parameter `thresholds`: give it to `predict`, `top_k` or `to_onnx` of the model.
        """
        check_is_fitted(self)
        coef, intercept = self._two_rows()
        names = getattr(self, "feature_names_in_", None)
        encoding = self.__dict__.get("_encoding")
        return SoftmaxModel(coef, intercept, self.classes_, names, self._known(), encoding=encoding)

    def _known(self) -> dict[str, Any]:
        """What the model says of its fit."""
        return {"fit_intercept": bool(self.fit_intercept), **self.__dict__.get("_training", {})}

    def decision_function(self, X: Any, offset: ArrayLike | None = None) -> Floats:
        """Logits (n_samples, n_classes); for two classes their difference (n_samples,), positive for classes_[1].

        An offset (n_samples, n_classes), or (n_samples,) for classes_[1] of two, is added, here and in the other
        predictions.
        """
        logits = self._predict(X, LOGITS, offset)[0]
        return like(X, logits if logits.shape[1] > 2 else logits[:, 1] - logits[:, 0])

    def predict_proba(self, X: Any, offset: ArrayLike | None = None) -> Floats:
        """Probabilities (n_samples, n_classes), columns in the order of `classes_`, in the dtype of X."""
        return like(X, self._predict(X, PROBA, offset)[0])

    def predict_log_proba(self, X: Any, offset: ArrayLike | None = None) -> Floats:
        """Logarithms of the probabilities; finite also if a probability underflows.

        For float32 X, values between -1.2e-7 (eps) and 0 are returned as 0, because scikit-learn's checks compare
        them with the logarithm of a probability that may be rounded to 1. `SoftmaxModel.predict_log_proba` keeps them.
        """
        log_proba = self._predict(X, LOG_PROBA, offset)[0]
        if log_proba.dtype == np.float32:
            log_proba[log_proba > -np.finfo(np.float32).eps] = 0.0
        return like(X, log_proba)

    def predict(self, X: Any, offset: ArrayLike | None = None) -> NDArray[Any]:
        """Most probable labels (n_samples,); if several are equally probable, the first in `classes_`.

        With the parameter `thresholds`, the labels with the largest probability divided by threshold.
        """
        best = self._predict(X, BEST, offset)[1][:, 0]
        return like(X, np.asarray(self.classes_).take(best))

    def _predict(self, X: Any, what: int, offset: ArrayLike | None) -> tuple[Floats, NDArray[np.int64]]:
        """What `predictions` returns for X, which is validated here."""
        if not hasattr(self, "coef_"):
            check_is_fitted(self)
        check_namespace(self, X, METHODS[what])
        X, offset = to_numpy("X", X), to_numpy("offset", offset)
        if is_source(X):
            refuse_beside_source(offset=offset)
            predict = partial(self._predict_validated, what=what)
            return in_blocks(X, self._trained(), predict, np.asarray(self.classes_))
        if self._has_trained_shape(X):
            names = None
        elif self._is_encoded(X):
            X, names = self.model_._columns(X)
        else:
            X, _, names = self._read(X, reset=False)
        return self._predict_validated(validation.features(X, names=names, finite=False), offset, names, what=what)

    def _is_encoded(self, X: Any) -> bool:
        """Whether X is a table that the encoding of the fit, to a source of blocks, makes features of."""
        if self.__dict__.get("_encoding") is None or not is_table(X):
            return False
        return names_of(X) != tuple(self.feature_names_in_)  # as scikit-learn, a table of the features themselves

    def _predict_validated(
        self, X: Any, offset: ArrayLike | None, names: tuple[str, ...] | None = None, *, what: int
    ) -> tuple[Floats, NDArray[np.int64]]:
        coef, intercept = self._two_rows()
        coef, X = of_occurring_features(coef, X)
        coef = validation.finite("coef_", coef, (len(coef), X.shape[1]), meaning="(n_classes, n_features)")
        finite = np.where(np.isneginf(intercept), 0.0, intercept)  # -inf is that of a class without samples
        validation.finite("intercept_", finite, (len(coef),), meaning="one intercept for each class")
        added = None if offset is None else validation.offset(offset, (X.shape[0], len(coef)), X.dtype, self.classes_)
        if what != BEST:
            return predictions(coef, intercept, X, what, offset=added, names=names)
        least = thresholds_of(getattr(self, "thresholds", None), np.asarray(self.classes_))
        return best_classes(coef, intercept, X, 1, least, offset=added, names=names)

    def _two_rows(self) -> tuple[Float64s, Float64s]:
        """The fitted parameters as NumPy arrays with a row for each class."""
        coef, intercept = to_numpy("coef_", self.coef_), to_numpy("intercept_", self.intercept_)
        if validation.is_sparse(coef):  # after `sparsify`
            coef = coef.toarray()
        return two_rows(np.asarray(coef), np.asarray(intercept))

    def _trained(self) -> Trained:
        """The features of the training."""
        names = getattr(self, "feature_names_in_", None)
        encoding = self.__dict__.get("_encoding")
        return Trained(self.coef_.shape[1], None if names is None else tuple(map(str, names)), encoding)

    def _has_trained_shape(self, X: Any) -> bool:
        """Whether X is an array of floats that scikit-learn's checks would return unchanged, without a warning."""
        return (
            is_plain(X)
            and X.shape[1] == getattr(self, "n_features_in_", None)
            and not hasattr(self, "feature_names_in_")
        )

    def _set_fitted(self, result: FitResult, classes: NDArray[Any]) -> None:
        """Set the fitted attributes."""
        self.classes_ = classes
        self.coef_, self.intercept_ = one_row(result.model.coef, result.model.intercept)
        self.n_iter_ = np.array([result.n_iter], np.int32)
        self.converged_, self.gap_, self.history_ = result.converged, result.gap, result.history
        training = result.model.training or {}
        self._training = {name: training[name] for name in KNOWN if name in training}
        self._encoding = result.model.encoding  # of the tables in a source; the estimator takes the matrix

    def _read_problem(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, offset: ArrayLike | None
    ) -> tuple[Problem, NDArray[Any]]:
        """The validated problem of a fit and the sorted labels, which a model may not be able to store."""
        if validation.possible_classes(y) is not None:
            return self._read_partial(X, y, sample_weight, offset)
        names = None
        X, y = to_numpy("X", X), to_numpy("y", y)
        sample_weight, offset = to_numpy("sample_weight", sample_weight), to_numpy("offset", offset)
        plain_arrays = is_plain(X) and type(y) is np.ndarray and y.ndim == 1 and y.dtype.kind in "iub"
        if plain_arrays and len(y) == len(X):  # all that scikit-learn's checks, which are slow, would do to them
            self.n_features_in_ = X.shape[1]
            self.__dict__.pop("feature_names_in_", None)
        else:
            X, y, names = self._read(X, y, reset=True)
        classes, codes = encoded(y)
        if classes.size < 2:
            raise InputValueError(f"y contains one class only ({plain(classes[0])}), expected at least two classes.")
        weight = validation.sample_weights(sample_weight, codes.size)
        problem = Problem.from_validated(
            validation.features(X, names=names),
            codes,
            storable(classes),
            None,
            weight,
            class_weight=weights_of_classes(self.class_weight, codes, classes, weight),
            label_smoothing=self.label_smoothing,
        )
        return problem.with_offset(offset, classes), classes

    def _read_partial(
        self, X: Any, y: Any, sample_weight: ArrayLike | None, offset: ArrayLike | None
    ) -> tuple[Problem, NDArray[Any]]:
        """The validated problem of partial labels, and its sorted labels."""
        X, _, names = self._read(X, reset=True)
        problem = Problem.from_labels(
            validation.features(X, names=names),
            y,
            sample_weight=sample_weight,
            offset=offset,
            class_weight=self.class_weight,
            label_smoothing=self.label_smoothing,
        )
        return problem, problem.classes

    def _read_source(self, X: Any, y: Any, sample_weight: Any, offset: Any) -> tuple[AnyProblem, NDArray[Any]]:
        """The problem of a source of blocks of rows, and its sorted labels."""
        given = {"class_weight": self.class_weight, "label_smoothing": self.label_smoothing, "device": self.device}
        problem = problem_of(X, y, sample_weight=sample_weight, offset=offset, **given)
        self.n_features_in_ = problem.n_features
        self.__dict__.pop("feature_names_in_", None)
        if problem.feature_names is not None:
            self.feature_names_in_ = np.array(problem.feature_names, object)
        return problem, problem.classes

    def _read(self, X: Any, y: Any = NO_LABELS, *, reset: bool) -> tuple[Any, NDArray[Any], tuple[str, ...] | None]:
        """X, y if it is given, and the column names of a table, validated as in scikit-learn; X may contain NaN."""
        with_labels = y is not NO_LABELS
        if isinstance(X, validation.TEXT):
            validation.as_array("X", X)  # refuses a formula or the name of a file
        X, y = validation.computed("X", X), readable(validation.computed("y", y))
        try:
            array, names = validation.frame(X)
        except InputTypeError:  # a column of text may be one that the training did not have, such as that of the labels
            if not reset and frames.library_of(X) is not None:
                validate_data(self, X, reset=False, skip_check_array=True)
            raise
        # Later validation checks in one pass that X is finite, and makes a sparse X canonical.
        sparse = validation.is_sparse(array)
        numbers: dict[str, Any] = {
            "dtype": [np.float64, np.float32],
            "ensure_all_finite": False,
            "accept_sparse": sparse,
        }
        both = (y,) if with_labels else ()
        shape = _shape(y) if with_labels else ()
        if len(shape) > 1 and shape[1:] != (1,):
            raise InputValueError(
                f"y should be a 1d array, got an array of shape {shape} instead; {validation.MULTILABEL}, and "
                "Trainer.fit takes rows of probabilities."
            )
        if names is None:
            array = X if sparse else validation.as_array("X", X)
            if array.dtype.kind in "mM":  # scikit-learn would read dates and durations as numbers
                validation.as_floats("X", array)  # raises
            read = validate_data(self, array, *both, reset=reset, **numbers)
        else:  # scikit-learn reads dates as numbers
            validate_data(self, X, *both, reset=reset, skip_check_array=True)
            checks = check_X_y if with_labels else check_array
            read = checks(array, *both, estimator=self, **numbers)
        if not with_labels:
            return read, np.empty(0), names
        return read[0], sortable(read[1]), names

    def score(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> float:
        """Accuracy: the proportion of samples whose predicted label equals `y`, weighted by the sample weights.

        If `y` holds partial labels, it is the proportion of samples whose predicted label is possible. A source X has
        its own labels, weights and offset.
        """
        if is_source(X):
            check_is_fitted(self)
            refuse_beside_source(y=y, sample_weight=sample_weight, offset=offset)
            predict = partial(self._predict_validated, what=BEST)
            return accuracy_in_blocks(X, self._trained(), predict, np.asarray(self.classes_))
        y = to_numpy("y", y)
        predicted = to_numpy("labels", self.predict(X) if offset is None else self.predict(X, offset))
        weight = validation.sample_weights(to_numpy("sample_weight", sample_weight), len(predicted))
        possible = validation.possible_in_order(y, np.asarray(self.classes_), len(predicted))
        if possible is not None:
            return accuracy(possible[np.arange(len(predicted)), np.searchsorted(self.classes_, predicted)], weight)
        y = readable(y)
        right = agreement(y, predicted)
        if right is not None:
            return accuracy(right, weight)
        scaled = validation.scaled(weight)[0] if weight.size else None  # the sum of the weights may overflow
        return float(accuracy_score(sortable(y), predicted, sample_weight=scaled))

    def _n_threads(self) -> int | None:
        # joblib takes into account that this process may be one of several workers.
        from numba import config

        most = int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        if self.n_jobs is not None and (not isinstance(self.n_jobs, numbers.Integral) or self.n_jobs == 0):
            raise InputTypeError(
                f"n_jobs is {plain(self.n_jobs)}, expected a number of threads, -1 for all cores, or None."
            )
        return None if self.n_jobs is None else min(effective_n_jobs(self.n_jobs), most)

    def _verbose(self) -> bool:
        given = self.verbose
        is_flag = isinstance(given, (bool, np.bool_))
        return bool(given if is_flag else validation.count("verbose", given, low=0))

    def _seed(self) -> int | None:
        if isinstance(self.random_state, np.random.RandomState):
            return int(self.random_state.randint(2**31 - 1))
        if self.random_state is None:
            return None
        if not isinstance(self.random_state, numbers.Integral):
            raise InputTypeError(
                f"random_state is {plain(self.random_state)}, expected a whole number, a RandomState of NumPy, or None."
            )
        return validation.count("random_state", self.random_state, low=0)
