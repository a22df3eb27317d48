"""How well predicted classes agree with the true ones."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray


def confusion(
    truth: NDArray[np.int64], predicted: NDArray[np.int64], n_classes: int, sample_weight: ArrayLike | None = None
) -> NDArray[Any]:
    """Confusion matrix (n_classes, n_classes): rows are true classes, columns are predicted classes.

    Counts are integers; with weights they are float64 sums of weights.
    """
    counts = np.bincount(truth * n_classes + predicted, sample_weight, minlength=n_classes**2)
    return counts.reshape(n_classes, n_classes)


def accuracy(right: NDArray[np.bool_], sample_weight: NDArray[np.float64] | None = None) -> float:
    """Proportion of correct predictions, weighted if there are weights, whose sum may overflow."""
    weights = None if sample_weight is None else sample_weight / sample_weight.max()
    return float(np.average(right, weights=weights))
