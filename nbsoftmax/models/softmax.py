"""A trained model: predictions from features, and the file it is kept in."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.backends.design import Design
from nbsoftmax.errors import InputTypeError, InputValueError
from nbsoftmax.files import file_name, one_line, read_npz, whole_file, write_npz
from nbsoftmax.kernels.predict import BEST, LOG_PROBA, LOGITS, PROBA
from nbsoftmax.models.onnx import onnx_graph
from nbsoftmax.validation import Float64s, Floats

FORMAT = "nbsoftmax model 1"


class SigmoidWeights(NamedTuple):
    """A two-class model as one weight vector: P(classes[1]) = sigmoid(coef . x + intercept)."""

    coef: Float64s
    intercept: float


@dataclass(frozen=True, eq=False)
class SoftmaxModel:
    """Linear model of class probabilities: softmax(coef x + intercept).

    Parameters
    ----------
    coef : array_like (n_classes, n_features)
    intercept : array_like (n_classes,)
    classes : array_like (n_classes,)
        Labels: distinct integers, strings or booleans; row k of `coef` belongs to classes[k].
    feature_names : sequence of str, optional
        Frames given for prediction must have these columns, in this order.
    training : dict of str to text, numbers, truth values or None, optional
        How it came about, for people to read: a trainer writes its solver, penalties and what it reached.

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, numbers that are not finite, fewer than two classes, labels that repeat.
    """

    coef: Float64s
    intercept: Float64s
    classes: NDArray[Any]
    feature_names: tuple[str, ...] | None = None
    training: dict[str, Any] | None = None

    def __init__(
        self,
        coef: ArrayLike,
        intercept: ArrayLike,
        classes: ArrayLike,
        feature_names: Sequence[str] | None = None,
        training: Mapping[str, Any] | None = None,
    ) -> None:
        labels = validation.class_labels(classes)
        w = validation.as_float64s("coef", coef)
        n_features = w.shape[1] if w.ndim == 2 else 0
        w = validation.finite("coef", w, (labels.size, n_features), meaning="(n_classes, n_features)")
        b = validation.finite("intercept", intercept, (labels.size,), meaning="one intercept for each class")
        names = None if feature_names is None else tuple(map(str, feature_names))
        if names is not None and len(names) != n_features:
            raise InputValueError(f"{len(names)} feature_names, but coef has {n_features} columns; give one each.")
        told = None if training is None else dict(training)
        values = {"coef": w, "intercept": b, "classes": labels, "feature_names": names, "training": told}
        for name, value in values.items():
            object.__setattr__(self, name, value)

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.coef.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.coef.shape[1])

    # --- predictions ----------------------------------------------------------------------------

    def decision_function(self, X: Any) -> Floats:
        """Logits X coef^T + intercept, (n_samples, n_classes), in the dtype of X."""
        return self._predict(X, LOGITS)[0]

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities (n_samples, n_classes), columns in the order of `classes`, in the dtype of X."""
        return self._predict(X, PROBA)[0]

    def predict_log_proba(self, X: Any) -> Floats:
        """Logarithms of the probabilities; finite also where a probability underflows."""
        return self._predict(X, LOG_PROBA)[0]

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable labels (n_samples,); of equal ones the first in `classes`."""
        labels: NDArray[Any] = self.classes[self._predict(X, BEST)[1][:, 0]]
        return labels

    def top_k(self, X: Any, k: int) -> tuple[NDArray[Any], Floats]:
        """The k most probable labels and their probabilities, both (n_samples, k), most probable first.

        Of equal ones, the first in `classes` comes first.
        """
        k = validation.count("k", k)
        if k > self.n_classes:
            raise InputValueError(f"k is {k}, but the model has {self.n_classes} classes; give at most that.")
        proba, best = self._predict(X, BEST, k, with_proba=True)
        return self.classes[best], proba

    def score(self, X: Any, y: Any) -> float:
        """Accuracy: the share of samples whose predicted label is `y`.

        Raises
        ------
        InputValueError, InputTypeError
            For input that cannot be used, among it a label that is missing or that the model was not trained on.
        """
        predicted = self._predict(X, BEST)[1][:, 0]
        codes = validation.codes_of(y, self.classes, n_samples=predicted.size)
        if codes.size == 0:
            raise InputValueError("X has no rows: an accuracy over nothing; give at least one sample.")
        return float(np.mean(predicted == codes))

    def to_sigmoid(self) -> SigmoidWeights:
        """The equivalent single weight vector of a two-class model.

        softmax((z_0, z_1))_1 = sigmoid(z_1 - z_0)
        """
        if self.n_classes != 2:
            raise InputValueError(f"the model has {self.n_classes} classes; only two have a single weight vector.")
        coef, intercept = one_row(self.coef, self.intercept)
        return SigmoidWeights(coef[0], float(intercept[0]))

    # --- scikit-learn -----------------------------------------------------------------------------

    @classmethod
    def from_sklearn(cls, estimator: Any) -> SoftmaxModel:
        """The model of a fitted `sklearn.linear_model.LogisticRegression`, with the same probabilities.

        Raises
        ------
        InputTypeError
            For another estimator.
        InputValueError
            If it is not fitted, or one-versus-rest with three classes or more: its probabilities are no softmax.
        """
        logistic = _logistic_regression()
        if not isinstance(estimator, logistic):
            raise InputTypeError(
                f"from_sklearn takes a fitted LogisticRegression, not a {type(estimator).__name__}; "
                "of a pipeline give the last step, of a SoftmaxRegression take its `model_`."
            )
        if not hasattr(estimator, "coef_"):
            raise InputValueError("the LogisticRegression is not fitted; call its fit first.")
        coef = estimator.coef_.toarray() if hasattr(estimator.coef_, "toarray") else estimator.coef_
        kind = getattr(estimator, "multi_class", None)  # scikit-learn before 1.8
        if len(estimator.classes_) > 2 and (kind == "ovr" or estimator.solver == "liblinear"):
            raise InputValueError(
                "the LogisticRegression is one-versus-rest, whose probabilities are no softmax; fit a multinomial one."
            )
        # Two classes and "multinomial": scikit-learn takes the softmax of (-z, z).
        scale = 2.0 if kind == "multinomial" and len(coef) == 1 else 1.0
        rows = two_rows(scale * np.asarray(coef, np.float64), scale * np.asarray(estimator.intercept_, np.float64))
        return cls(*rows, estimator.classes_, getattr(estimator, "feature_names_in_", None))

    def to_sklearn(self) -> Any:
        """A fitted `sklearn.linear_model.LogisticRegression` with the same probabilities.

        Its parameters, C among them, are scikit-learn's defaults, since a model does not know how it was trained.
        """
        order = np.argsort(self.classes)  # scikit-learn keeps its classes sorted
        estimator = _logistic_regression()()
        estimator.coef_, estimator.intercept_ = one_row(self.coef[order], self.intercept[order])
        estimator.classes_ = self.classes[order]
        estimator.n_features_in_ = self.n_features
        if self.feature_names is not None:
            estimator.feature_names_in_ = np.array(self.feature_names, object)
        return estimator

    def _features(self, X: Any) -> Floats:
        array, names = validation.frame(X)
        validation.same_features(names, self.feature_names)
        array = validation.as_array("X", array)
        if array.ndim == 2 and array.shape[1] != self.n_features:
            first = "" if self.feature_names is None else f" (first: {self.feature_names[0]!r})"
            raise InputValueError(
                f"X has {array.shape[1]} features, but the model was trained on {self.n_features}{first}; give those."
            )
        return validation.design(array, names=names)

    def _predict(self, X: Any, what: int, k: int = 1, *, with_proba: bool = False) -> tuple[Floats, NDArray[np.int64]]:
        return self._predict_validated(self._features(X), what, k, with_proba=with_proba)

    def _predict_validated(
        self, array: Floats, what: int, k: int = 1, *, with_proba: bool = False
    ) -> tuple[Floats, NDArray[np.int64]]:
        design = Design(array, self.n_classes, np.empty((0, 0), array.dtype), None)
        return design.predict(np.column_stack([self.coef, self.intercept]), what, k, with_proba=with_proba)

    # --- the file ---------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to `path`, a `.npz` file without pickles.

        A regular file is written atomically: under a temporary name, then renamed. An error leaves the old file as it
        was, and a file that exists keeps its mode. A symbolic link is followed; a device or a pipe is written to.

        Raises
        ------
        InputValueError, InputTypeError
            If `path` is no name of a file, or `training` holds what JSON cannot.
        OSError
            If the file cannot be written.
        """
        try:
            training = json.dumps(self.training)
        except (TypeError, ValueError, RecursionError) as error:
            raise InputTypeError(
                f"training cannot be written as JSON ({one_line(error)}); give text, numbers, truth values or None."
            ) from None
        write_npz(
            path,
            {
                "format": np.asarray(FORMAT),
                "coef": self.coef,
                "intercept": self.intercept,
                "classes": _text_array(self.classes) if self.classes.dtype.kind == "T" else self.classes,
                "feature_names": _text_array(self.feature_names or ()),
                "has_names": np.asarray(self.feature_names is not None),
                "training": np.asarray(training),
            },
        )

    def to_onnx(self, path: str | os.PathLike[str], *, dtype: Any = np.float32) -> None:
        """Write the model as an ONNX file, for ONNX Runtime and its like: input `X`, outputs `label` and `proba`.

        Any number of rows; strings come out as strings, bytes as the UTF-8 that they hold, integers as int64, or as
        uint64 where one exceeds int64. Feature names and classes are in its metadata, as JSON. Needs onnx:
        pip install "nbsoftmax[onnx]". Written like `save`.

        Parameters
        ----------
        path : str or path
        dtype : {float32, float64}
            Of `X`, `proba` and the products. In float32 labels of samples that are nearly undecided may differ.

        Raises
        ------
        InputValueError, InputTypeError
            For another dtype, coefficients that it cannot hold, or labels that ONNX cannot.
        ImportError
            Without onnx.
        """
        content = onnx_graph(self, dtype)
        with whole_file(path) as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SoftmaxModel:
        """Read a model written by `save`.

        Raises
        ------
        InputValueError
            If the file is truncated or damaged, no model, of another version, or unpacks to far more than its size.
        FileNotFoundError
            If there is no such file.
        """
        with open(file_name(path), "rb") as opened:
            try:
                arrays = read_npz(opened)
                found = str(arrays["format"]) if "format" in arrays else None
                if found == FORMAT:
                    return cls._of(arrays)
            except Exception as error:  # a flipped bit makes zipfile, NumPy and json raise almost anything
                raise InputValueError(
                    f"{path} is no model, or a damaged one ({one_line(error)}); save the model again."
                ) from None
        if found is not None and found.startswith("nbsoftmax checkpoint"):
            raise InputValueError(
                f"{path} is no model but the checkpoint of a fit; resume the fit from it, which ends with a model."
            )
        if found is not None and found.startswith("nbsoftmax "):
            raise InputValueError(
                f"{path} is no model of this version: it is {found[:40]!r}, expected {FORMAT!r}; save the model again."
            )
        raise InputValueError(
            f"{path} is no model of this library ({FORMAT!r} is not in it); give one that was saved by it."
        )

    @classmethod
    def _of(cls, arrays: Mapping[str, NDArray[Any]]) -> SoftmaxModel:
        names = tuple(_texts(arrays["feature_names"])) if arrays["has_names"] else None
        training = json.loads(str(arrays["training"])) if "training" in arrays else None  # not in older files
        classes = arrays["classes"]
        if classes.ndim == 0:
            classes = np.array(
                _texts(classes), np.dtypes.StringDType() if hasattr(np.dtypes, "StringDType") else object
            )
        return cls(arrays["coef"], arrays["intercept"], classes, names, training)


def _text_array(texts: Any) -> NDArray[np.str_]:
    """Text in a dtype that `.npy` holds; as JSON, without dimensions, where that is StringDType or would lose NULs."""
    array = np.asarray(list(texts), np.str_)
    as_json = getattr(texts, "dtype", array.dtype).kind == "T" or array.tolist() != list(texts)
    return np.asarray(json.dumps(list(texts))) if as_json else array


def _texts(array: NDArray[Any]) -> list[str]:
    """The inverse of `_text_array`."""
    return [str(text) for text in (json.loads(str(array)) if array.ndim == 0 else array)]


def checked_model(value: Any, *, name: str = "model") -> SoftmaxModel:
    """Check that a model was given; of what holds one, the error says where."""
    if isinstance(value, SoftmaxModel):
        return value
    holds = "model_" if hasattr(type(value), "model_") else "model" if hasattr(value, "model") else ""
    raise InputTypeError(
        f"{name} is of type {type(value).__name__}, expected a SoftmaxModel{f'; give its `{holds}`' if holds else ''}."
    )


def predicted_classes(model: SoftmaxModel, X: Floats) -> NDArray[np.int64]:
    """Indices of the most probable classes (n_samples,) for X that is validated already."""
    return model._predict_validated(X, BEST)[1][:, 0]


def one_row(coef: Float64s, intercept: Float64s) -> tuple[Float64s, Float64s]:
    """Weights of two classes as scikit-learn keeps them, (1, n_features) and (1,); those of more classes as they are.

    softmax((z_0, z_1))_1 = sigmoid(z_1 - z_0)
    """
    if len(coef) != 2:
        return coef, intercept
    return coef[1:] - coef[:1], intercept[1:] - intercept[:1]


def two_rows(coef: Float64s, intercept: Float64s) -> tuple[Float64s, Float64s]:
    """The inverse of `one_row`: -c/2 and c/2, of all pairs with the difference c the one of least norm."""
    if len(coef) != 1:
        return coef, intercept
    return np.vstack([-coef / 2, coef / 2]), np.concatenate([-intercept / 2, intercept / 2])


def confusion(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int, sample_weight: ArrayLike | None = None
) -> NDArray[Any]:
    """How often each class was taken for each, (n_classes, n_classes): rows true, columns predicted.

    Integers; with weights float64 sums of them.
    """
    counts = np.bincount(truth * n_classes + predicted, sample_weight, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes)


def accuracy(right: NDArray[np.bool_], sample_weight: NDArray[np.float64] | None = None) -> float:
    """Share of the samples that are right; of their weights, whose sum may overflow, where there are any."""
    weights = None if sample_weight is None else sample_weight / sample_weight.max()
    return float(np.average(right, weights=weights))


def _logistic_regression() -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError('this needs scikit-learn; install it with: pip install "nbsoftmax[sklearn]"') from error
    return LogisticRegression
