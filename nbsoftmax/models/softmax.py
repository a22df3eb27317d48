"""A trained model and its predictions."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.data.blocks import is_source
from nbsoftmax.encoding import AnyEncoding, is_table, warn_of_unknown
from nbsoftmax.errors import InputTypeError, InputValueError, counted, listed, plain
from nbsoftmax.files import whole_file
from nbsoftmax.kernels.predict import BEST, LOG_PROBA, LOGITS, PROBA
from nbsoftmax.models.display import MOST_LISTED, Displayed, Table
from nbsoftmax.models.feature_names import checked_names, other_features
from nbsoftmax.models.in_blocks import Trained, accuracy_in_blocks, in_blocks, refuse_beside_source
from nbsoftmax.models.model_file import read_model, write_model
from nbsoftmax.models.onnx import onnx_graph
from nbsoftmax.models.predictions import of_occurring_features, predictions
from nbsoftmax.models.scores import accuracy_of_codes
from nbsoftmax.models.sigmoid import SigmoidWeights, sigmoid_weights
from nbsoftmax.models.sklearn_parameters import logistic_regression_of, parameters_of
from nbsoftmax.models.thresholds import Thresholds, best_classes, thresholds_of
from nbsoftmax.validation import Float64s, Floats


@dataclass(frozen=True, eq=False, repr=False)
class SoftmaxModel(Displayed):
    """Linear model of class probabilities: softmax(coef x + intercept).

    Parameters
    ----------
    coef : array_like (n_classes, n_features)
    intercept : array_like (n_classes,)
    classes : array_like (n_classes,)
        Labels: distinct integers, whole floats, text, bytes or booleans; row k of `coef` belongs to classes[k].
    feature_names : sequence of str, optional
        Frames given for prediction must have these columns, in this order.
    training : dict of str to text, numbers, truth values or None, optional
        Training metadata: `Trainer` stores the solver, the penalties and how the fit ended.
    encoding : Encoding, optional
        How the features are made from a table: predictions then take the table, with its columns in any order.

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, numbers that are not finite, fewer than two classes, or repeated labels.
    """

    coef: Float64s
    intercept: Float64s
    classes: NDArray[Any]
    feature_names: tuple[str, ...] | None = None
    training: dict[str, Any] | None = None
    encoding: AnyEncoding | None = None

    def __init__(
        self,
        coef: ArrayLike,
        intercept: ArrayLike,
        classes: ArrayLike,
        feature_names: Sequence[str] | None = None,
        training: Mapping[str, Any] | None = None,
        encoding: AnyEncoding | None = None,
    ) -> None:
        labels = validation.class_labels(classes)
        w = validation.as_float64s("coef", coef)
        n_features = w.shape[1] if w.ndim == 2 else 0
        w = validation.finite("coef", w, (labels.size, n_features), meaning="(n_classes, n_features)")
        b = validation.finite("intercept", intercept, (labels.size,), meaning="one intercept for each class")
        names = checked_names(feature_names, n_features, encoding)
        metadata = None if training is None else dict(training)
        w, b = (array.copy() if array is given else array for array, given in ((w, coef), (b, intercept)))
        made = {"feature_names": names, "training": metadata, "encoding": encoding}
        vars(self).update(coef=w, intercept=b, classes=labels, **made)  # the dataclass is frozen

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(self.coef.shape[0])

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.coef.shape[1])

    # --- display ------------------------------------------------------------------------------------

    def _title(self) -> str:
        return f"{counted(self.n_classes, 'class')}, {counted(self.n_features, 'feature')}"

    def _lines(self) -> dict[str, str]:
        names = () if self.feature_names is None else self.feature_names
        lines = {
            "classes": listed(self.classes.tolist(), most=MOST_LISTED),
            "features": listed(names, most=MOST_LISTED) if names else "no names",
            "coef": f"{np.count_nonzero(self.coef)} of {self.coef.size} are not 0, "
            f"largest absolute value {np.abs(self.coef).max(initial=0.0):.4g}",
        }
        if self.encoding is not None:
            lines["columns"] = listed(self.encoding.columns, most=MOST_LISTED)
        if self.training is not None:
            lines["training"] = plain(self.training)
        return lines

    def _table(self) -> Table:
        rows = np.column_stack([self.intercept, self.coef])
        return Table(
            ("class", "intercept", *feature_names(self)),
            [
                (plain(label), *(f"{w:.4g}" for w in row))
                for label, row in zip(self.classes.tolist(), rows.tolist(), strict=True)
            ],
        )

    # --- predictions ----------------------------------------------------------------------------

    def decision_function(self, X: Any, *, offset: ArrayLike | None = None) -> Floats:
        """Logits X coef^T + intercept + offset, (n_samples, n_classes), in the dtype of X.

        The offset, also of the other predictions, is (n_samples, n_classes), or (n_samples,) for classes[1] of two.

        Raises
        ------
        InputValueError, InputTypeError
            For an X that does not suit the model, or such an offset; the other predictions raise the same errors.
        """
        return self._predict(X, LOGITS, offset=offset)[0]

    def predict_proba(self, X: Any, *, offset: ArrayLike | None = None) -> Floats:
        """Probabilities (n_samples, n_classes), columns in the order of `classes`, in the dtype of X."""
        return self._predict(X, PROBA, offset=offset)[0]

    def predict_log_proba(self, X: Any, *, offset: ArrayLike | None = None) -> Floats:
        """Logarithms of the probabilities; finite unless the difference of two logits overflows."""
        return self._predict(X, LOG_PROBA, offset=offset)[0]

    def predict(self, X: Any, *, offset: ArrayLike | None = None, thresholds: Thresholds = None) -> NDArray[Any]:
        """Most probable labels (n_samples,); if several are equally probable, the first in `classes`.

        With thresholds, those of the classes k with the largest proba[k] / threshold[k]: an array in the order of
        `classes`, or a dict of label to threshold, in which classes without one have 1 (but of two classes, one minus
        the threshold of the other). At most one may be 0: that class is always predicted.

        Raises
        ------
        InputValueError, InputTypeError
            As `decision_function`, and for thresholds that are not such numbers of at least 0.
        """
        return self.classes.take(self._predict(X, BEST, offset=offset, thresholds=thresholds)[1][:, 0])

    def top_k(
        self, X: Any, k: int, *, offset: ArrayLike | None = None, thresholds: Thresholds = None
    ) -> tuple[NDArray[Any], Floats]:
        """The k most probable labels and their probabilities, both (n_samples, k), most probable first.

        Equally probable labels are in the order of `classes`. With thresholds, as in `predict`, the labels with the
        largest proba / threshold come first; their probabilities are the same as without.

        Raises
        ------
        InputValueError, InputTypeError
            For a k that is not a whole number from 1 to n_classes, and as `predict`.
        """
        k = validation.count("k", k)
        if k > self.n_classes:
            raise InputValueError(
                f"k is {k}, but the model has {self.n_classes} classes; give a k of at most {self.n_classes}."
            )
        proba, best = self._predict(X, BEST, k, with_proba=True, offset=offset, thresholds=thresholds)
        return self.classes.take(best), proba

    def score(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        thresholds: Thresholds = None,
    ) -> float:
        """Accuracy: the proportion of samples whose predicted label equals `y`, by weight if there are weights.

        Labels are predicted with the `thresholds`, as in `predict`. If `y` is boolean, (n_samples, n_classes), or a
        table of boolean columns named after the classes, it is the proportion of samples whose predicted label is
        possible. A source X has its own labels, weights and offset.

        Raises
        ------
        InputValueError, InputTypeError
            For invalid input, including missing labels and labels that the model was not trained on.
        """
        if is_source(X):
            refuse_beside_source(y=y, sample_weight=sample_weight, offset=offset)
            least = thresholds_of(thresholds, self.classes)
            predict = partial(self._predict_validated, what=BEST, thresholds=least)
            return accuracy_in_blocks(X, self._trained(), predict, self.classes)
        predicted = self._predict(X, BEST, offset=offset, thresholds=thresholds)[1][:, 0]
        return accuracy_of_codes(predicted, y, self.classes, sample_weight)

    def to_sigmoid(self) -> SigmoidWeights:
        """The equivalent single weight vector of a two-class model.

        softmax((z_0, z_1))_1 = sigmoid(z_1 - z_0)

        Raises
        ------
        InputValueError
            For a model with more than two classes.
        """
        return sigmoid_weights(self.coef, self.intercept)

    # --- scikit-learn -----------------------------------------------------------------------------

    @classmethod
    def from_sklearn(cls, estimator: Any) -> SoftmaxModel:
        """Convert a fitted `sklearn.linear_model.LogisticRegression` to a model with the same probabilities.

        Raises
        ------
        InputTypeError, InputValueError
            For another estimator; if it is not fitted, or is one-versus-rest with three or more classes.
        """
        return cls(*parameters_of(estimator))

    def to_sklearn(self) -> Any:
        """Convert to a fitted `sklearn.linear_model.LogisticRegression` with the same probabilities.

        Its parameters, such as C, are scikit-learn's defaults, because a model does not store them.
        """
        return logistic_regression_of(self.coef, self.intercept, self.classes, self.feature_names)

    def _features(self, X: Any) -> Any:
        array, names = self._columns(X)
        return validation.features(array, names=names)

    def _columns(self, X: Any) -> tuple[Any, tuple[str, ...] | None]:
        """X with the columns of the training, whose numbers are not checked; and their names if it is a table."""
        X = validation.computed("X", X)
        if self.encoding is not None and is_table(X):
            found = self.encoding.encode(X)
            warn_of_unknown(found.unknown)
            X = found.X
        array, names = validation.frame(X)
        validation.same_features(names, self.feature_names)
        array = array if validation.is_sparse(array) else validation.as_array("X", array)
        if array.ndim == 2 and array.shape[1] != self.n_features:
            raise other_features(array.shape[1], self.n_features, self.feature_names, self.encoding)
        return array, names

    def _predict(
        self,
        X: Any,
        what: int,
        k: int = 1,
        *,
        with_proba: bool = False,
        offset: ArrayLike | None = None,
        thresholds: Thresholds = None,
    ) -> tuple[Floats, NDArray[np.int64]]:
        least = thresholds_of(thresholds, self.classes)
        predict = partial(self._predict_validated, what=what, k=k, with_proba=with_proba, thresholds=least)
        if not is_source(X):
            X, names = self._columns(X)
            return predict(validation.features(X, names=names, finite=False), offset, names)
        refuse_beside_source(offset=offset)
        return in_blocks(X, self._trained(), predict, self.classes)

    def _trained(self) -> Trained:
        return Trained(self.n_features, self.feature_names, self.encoding)

    def _predict_validated(
        self,
        array: Any,
        offset: ArrayLike | None,
        names: tuple[str, ...] | None = None,
        *,
        what: int,
        k: int = 1,
        with_proba: bool = False,
        thresholds: Float64s | None = None,
    ) -> tuple[Floats, NDArray[np.int64]]:
        added = None
        if offset is not None:
            added = validation.offset(offset, (array.shape[0], self.n_classes), array.dtype, self.classes)
        coef, array = of_occurring_features(self.coef, array)
        parts = coef, self.intercept, array
        if what == BEST:
            return best_classes(*parts, k, thresholds, with_proba=with_proba, offset=added, names=names)
        return predictions(*parts, what, offset=added, names=names)

    # --- the file ---------------------------------------------------------------------------------

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the model to `path`, a `.npz` file without pickles.

        A regular file is written atomically: under a temporary name, then renamed. After an error the old file is
        unchanged. An existing file keeps its mode. Symbolic links are followed; devices and pipes are written to
        directly.

        Raises
        ------
        InputValueError, InputTypeError
            If `path` is not the name of a file, or `training` cannot be written as JSON.
        OSError
            If the file cannot be written.
        """
        write_model(path, self)

    def to_onnx(
        self,
        path: str | os.PathLike[str],
        *,
        dtype: Any = np.float32,
        thresholds: Thresholds = None,
        offset: bool = False,
    ) -> None:
        """Write the model as an ONNX file, for example for ONNX Runtime: input `X`, outputs `label` and `proba`.

        The number of rows is variable. String labels are strings, bytes are decoded as UTF-8, integers are int64, or
        uint64 if one exceeds int64. The metadata contains feature names and classes as JSON. The file is written as by
        `save`. Needs onnx: pip install "nbsoftmax[onnx]".

        Parameters
        ----------
        path : str or path
        dtype : {float32, float64}
            Type of `X`, `proba` and the products. In float32, the label of a sample with nearly equal probabilities
            may differ.
        thresholds : array_like or dict, optional
            As for `predict`: `label` is then that of the largest proba / threshold.
        offset : bool
            Whether the graph has a second input `offset` (n_samples, n_classes), which is added to the logits.

        Raises
        ------
        InputValueError, InputTypeError
            For other options, or for coefficients, labels or an encoding that ONNX cannot represent.
        ImportError
            Without onnx.
        """
        content = onnx_graph(self, dtype, thresholds, offset=validation.flag("offset", offset))
        with whole_file(path) as file:
            file.write(content)

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> SoftmaxModel:
        """Read a model written by `save`.

        Raises
        ------
        InputValueError
            If the file is truncated, damaged, not a model, of another version, or much larger when decompressed.
        FileNotFoundError
            If there is no such file.
        """
        return read_model(path, cls)


def trained_model(
    params: Float64s,
    classes: NDArray[Any],
    feature_names: tuple[str, ...] | None,
    training: dict[str, Any],
    encoding: AnyEncoding | None = None,
) -> SoftmaxModel:
    """The model of a fit: its parameters (n_classes, n_features + 1), and what is validated already."""
    if not np.isfinite(params).all():
        return SoftmaxModel(params[:, :-1], params[:, -1], classes)  # raises the error
    model = object.__new__(SoftmaxModel)
    coef, intercept = np.ascontiguousarray(params[:, :-1]), params[:, -1].copy()
    names = {"feature_names": feature_names, "training": training, "encoding": encoding}
    vars(model).update(coef=coef, intercept=intercept, classes=classes, **names)
    return model


def checked_model(value: Any) -> SoftmaxModel:
    """Check that `value` is a SoftmaxModel; the error names the attribute of other objects that holds one."""
    if isinstance(value, SoftmaxModel):
        return value
    holds = "model_" if hasattr(type(value), "model_") else "model" if hasattr(value, "model") else ""
    raise InputTypeError(
        f"model is of type {type(value).__name__}, expected a SoftmaxModel{f'; give its `{holds}`' if holds else ''}."
    )


def params_of(model: SoftmaxModel) -> Float64s:
    """The parameters of a model, (n_classes, n_features + 1): the intercepts are in the last column."""
    return np.column_stack([model.coef, model.intercept])


def feature_names(model: SoftmaxModel) -> tuple[str, ...]:
    """The names of the features of a model; "x0", "x1", ... if it has none."""
    return model.feature_names or tuple(f"x{j}" for j in range(model.n_features))
