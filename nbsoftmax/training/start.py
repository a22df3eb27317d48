"""The parameters at which a fit starts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, listed
from nbsoftmax.models.softmax import SoftmaxModel, params_of
from nbsoftmax.training.result import FitResult
from nbsoftmax.validation import Float64s


def initial_params(init: Any, shape: tuple[int, int], classes: NDArray[Any], *, fit_intercept: bool) -> Float64s:
    """A copy of the parameters of a model, of a result or of an array; 0 if there is none."""
    start = np.zeros(shape) if init is None else _params_of(init, shape, classes)
    if not fit_intercept:
        start[:, -1] = 0.0
    return start


def _params_of(init: Any, shape: tuple[int, int], classes: NDArray[Any]) -> Float64s:
    model = init.model if isinstance(init, FitResult) else init
    if isinstance(model, SoftmaxModel):
        if not np.array_equal(model.classes, classes):
            raise InputValueError(
                f"init has the classes [{listed(model.classes)}], but y has [{listed(classes)}]; "
                "start from a model of the same classes, or leave init out."
            )
        model = params_of(model)
    return validation.params(model, shape, name="init").copy()
