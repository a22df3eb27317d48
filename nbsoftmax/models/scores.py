"""How well predicted classes agree with the true ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError
from nbsoftmax.validation import Float64s


def confusion(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int, sample_weight: ArrayLike | None = None
) -> NDArray[Any]:
    """Confusion matrix (n_classes, n_classes): rows are true classes, columns are predicted classes.

    Counts are integers; with weights they are float64 sums of weights.
    """
    counts = np.bincount(truth * n_classes + predicted, sample_weight, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes)


def accuracy(right: NDArray[np.bool_], sample_weight: Float64s | None = None) -> float:
    """Proportion of correct predictions, weighted if there are weights, whose sum may overflow.

    At least one weight must be positive; (0,) is the same as None.
    """
    if not right.size:
        raise InputValueError("X has no rows, so the accuracy is not defined; give at least one sample.")
    weights = None if sample_weight is None or not sample_weight.size else validation.scaled(sample_weight)[0]
    return float(np.average(right, weights=weights))


def accuracy_of_codes(
    predicted: NDArray[np.int64], y: Any, classes: NDArray[Any], sample_weight: ArrayLike | None = None
) -> float:
    """The accuracy of predicted classes, by their numbers, for labels or possible classes y, which are validated."""
    weights = validation.sample_weights(sample_weight, predicted.size)
    possible = validation.possible_in_order(y, classes, predicted.size)
    if possible is not None:
        return accuracy(possible[np.arange(predicted.size), predicted], weights)
    return accuracy(predicted == validation.codes_of(y, classes, n_samples=predicted.size), weights)
