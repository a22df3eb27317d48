"""Weights of classes by label, to an array in the order of the classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, listed, plain
from nbsoftmax.validation import Float64s

ClassWeight = str | Mapping[Any, float] | ArrayLike | None


def weights_of_classes(
    given: ClassWeight, y: NDArray[Any], classes: NDArray[Any], sample_weight: Float64s
) -> ArrayLike | None:
    """Weights (n_classes,) in the order of the classes; None if none are given.

    Parameters
    ----------
    given : None, "balanced", mapping of label to weight, or array (n_classes,)
    y : ndarray (n_samples,) of class indices, or (n_samples, n_classes) of probabilities
    classes : ndarray (n_classes,)
    sample_weight : ndarray (n_samples,), or (0,) if all weights are 1
    """
    if given is None:
        return None
    given = validation.by_label(given, classes.size)
    if isinstance(given, str):
        validation.choice("class_weight", given, ("balanced",))
        weight, _ = validation.scaled(sample_weight)
        if not weight.size:
            weight = np.ones(len(y))
        counts = np.bincount(y, weight, classes.size) if y.ndim == 1 else np.einsum("i,ik->k", weight, y)
        share = np.where(counts > 0, counts, 1.0)  # a class without weight has no sample that counts
        return np.asarray(counts.sum() / (classes.size * share))
    if isinstance(given, Mapping):
        known, read = validation.keys_of(classes)
        by_label = dict.fromkeys(known, 1.0)
        for key, value in given.items():
            label = read(key)
            if label not in by_label:
                raise InputValueError(
                    f"class_weight names {plain(label)}, which is no label in y (labels: {listed(known)})."
                )
            by_label[label] = validation.number(f"class_weight[{plain(label)}]", value, low=0.0)
        return np.array(list(by_label.values()))
    return given
