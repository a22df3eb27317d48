"""What a display needs of a model, a fit result, an estimator, a pipeline or a search."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, a_type
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.training.result import FitResult


def predictor(estimator: Any) -> Any:
    """Return the model of a fit result or the best estimator of a search; anything else unchanged."""
    if isinstance(estimator, FitResult):
        return estimator.model
    return getattr(estimator, "best_estimator_", estimator)


def classes_of(estimator: Any) -> NDArray[Any]:
    """Return the labels (n_classes,) of a model or of a fitted classifier with `predict_proba`."""
    classes = getattr(estimator, "classes" if isinstance(estimator, SoftmaxModel) else "classes_", None)
    if classes is None or not hasattr(estimator, "predict_proba"):
        raise InputTypeError(
            f"estimator is {a_type(estimator)}, expected a SoftmaxModel, a FitResult or a fitted classifier "
            "with predict_proba, such as SoftmaxRegression or a pipeline that ends in one; fit it first."
        )
    return validation.class_labels(classes)


def with_offset(offset: ArrayLike | None) -> dict[str, ArrayLike]:
    """Return what a prediction needs for an offset: nothing for none, which models of other packages do not take."""
    return {} if offset is None else {"offset": offset}


def linear_model(estimator: Any) -> SoftmaxModel:
    """Return the softmax model of an estimator, or of a pipeline's last step, with the names of its features."""
    if isinstance(estimator, SoftmaxModel):
        return estimator
    if hasattr(estimator, "steps"):
        last = estimator.steps[-1][1]
        model = linear_model(last)
        if len(estimator.steps) > 1:
            try:
                names = estimator[:-1].get_feature_names_out()
            except (AttributeError, ValueError):  # a step that does not name its outputs
                return model
            if names is None:  # the steps are all "passthrough"
                return model
            return SoftmaxModel(model.coef, model.intercept, model.classes, tuple(map(str, names)))
        return model
    classes_of(estimator)
    return estimator.model_ if hasattr(estimator, "model_") else SoftmaxModel.from_sklearn(estimator)
