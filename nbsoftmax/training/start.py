"""The parameters at which a fit starts."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, listed
from nbsoftmax.models.softmax import SoftmaxModel, params_of
from nbsoftmax.training.result import FitResult
from nbsoftmax.validation import Float64s, Floats

# If the mean offsets of two classes differ by more, the probabilities at 0 are nearly 0 and 1, and the curvature there,
# about e^-20, does not show how far the minimum is.
FAR_OFFSETS = 20.0


def initial_params(
    init: Any, shape: tuple[int, int], classes: NDArray[Any], *, fit_intercept: bool, offset: Floats | None = None
) -> Float64s:
    """A copy of the parameters of a model, of a result or of an array; 0 if there is none.

    If there is none and the means of the `offset`, (n_samples, n_classes), differ by more than FAR_OFFSETS, the
    intercepts are the negative means, centred.
    """
    start = np.zeros(shape) if init is None else _params_of(init, shape, classes)
    if not fit_intercept:
        start[:, -1] = 0.0
    elif init is None and offset is not None and offset.size:
        with np.errstate(over="ignore", invalid="ignore"):
            means = offset.mean(axis=0, dtype=np.float64)
            if FAR_OFFSETS < np.ptp(means) < np.inf:
                start[:, -1] = means.mean() - means
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
