"""The parameters of a model and of scikit-learn's `LogisticRegression`, each as those of the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputTypeError, InputValueError, a_type
from nbsoftmax.validation import Float64s


def one_row(coef: Float64s, intercept: Float64s) -> tuple[Float64s, Float64s]:
    """Weights of two classes as scikit-learn stores them, (1, n_features) and (1,); more classes are unchanged.

    softmax((z_0, z_1))_1 = sigmoid(z_1 - z_0)
    """
    if len(coef) != 2:
        return coef, intercept
    return coef[1:] - coef[:1], intercept[1:] - intercept[:1]


def two_rows(coef: Float64s, intercept: Float64s) -> tuple[Float64s, Float64s]:
    """The inverse of `one_row`: -c/2 and c/2, the pair of minimum norm among those with the difference c.

    An infinite difference of the intercepts becomes 0 and -inf, so that the probabilities are 1 and 0.
    """
    if len(coef) != 1:
        return coef, intercept
    pair = np.concatenate([-intercept / 2, intercept / 2])
    if np.isinf(intercept).any():
        pair = np.minimum(pair, 0.0)
    return np.vstack([-coef / 2, coef / 2]), pair


def parameters_of(estimator: Any) -> tuple[Float64s, Float64s, Any, Any]:
    """The coef, intercept, classes and feature names of a fitted `LogisticRegression`, as `SoftmaxModel` takes them."""
    logistic = _logistic_regression()
    if not isinstance(estimator, logistic):
        raise InputTypeError(
            f"from_sklearn takes a fitted LogisticRegression, not {a_type(estimator)}; "
            "give the last step of a pipeline; a SoftmaxRegression has its model in `model_`."
        )
    if not hasattr(estimator, "coef_"):
        raise InputValueError("the LogisticRegression is not fitted; call its fit first.")
    coef = estimator.coef_.toarray() if hasattr(estimator.coef_, "toarray") else estimator.coef_
    kind = getattr(estimator, "multi_class", None)  # scikit-learn before 1.8
    if len(estimator.classes_) > 2 and (kind == "ovr" or estimator.solver == "liblinear"):
        raise InputValueError(
            "the LogisticRegression is one-versus-rest, whose probabilities are not a softmax; fit a multinomial one."
        )
    # For two classes and "multinomial", scikit-learn computes the softmax of (-z, z).
    scale = 2.0 if kind == "multinomial" and len(coef) == 1 else 1.0
    rows = two_rows(scale * np.asarray(coef, np.float64), scale * np.asarray(estimator.intercept_, np.float64))
    return (*rows, estimator.classes_, getattr(estimator, "feature_names_in_", None))


def logistic_regression_of(
    coef: Float64s, intercept: Float64s, classes: NDArray[Any], feature_names: tuple[str, ...] | None
) -> Any:
    """A fitted `LogisticRegression` with the parameters of a model."""
    order = np.argsort(classes)  # scikit-learn keeps its classes sorted
    estimator = _logistic_regression()()
    estimator.coef_, estimator.intercept_ = one_row(coef[order], intercept[order])
    estimator.classes_ = classes[order]
    estimator.n_features_in_ = coef.shape[1]
    if feature_names is not None:
        estimator.feature_names_in_ = np.array(feature_names, object)
    return estimator


def _logistic_regression() -> Any:
    try:
        from sklearn.linear_model import LogisticRegression
    except ImportError as error:
        raise ImportError('this needs scikit-learn; install it with: pip install "nbsoftmax[sklearn]"') from error
    return LogisticRegression
