"""Decision thresholds: the predicted class is the one with the largest p_k / t_k.

p_k is the probability of class k and t_k its threshold, as in Spark's `ProbabilisticClassificationModel`. p_k / t_k and
z_k - log t_k, with the logits z, have the same order, so that thresholds only change the intercept.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, InputValueError, listed, plain
from nbsoftmax.kernels.predict import BEST, PROBA
from nbsoftmax.models.predictions import predictions
from nbsoftmax.validation import Float64s, Floats

Thresholds = Mapping[Any, float] | ArrayLike | None

BLOCK_NUMBERS = 2**20  # probabilities that exist at once while those of the best classes are selected


def thresholds_of(given: Thresholds, classes: NDArray[Any]) -> Float64s | None:
    """Validate thresholds: float64 (n_classes,) in the order of `classes`; None for none.

    They are an array in that order, or a mapping of label to threshold. A class that a mapping does not name has the
    threshold 1; of two classes, if it names only one with the threshold t, the other has 1 - t.

    Raises
    ------
    InputValueError, InputTypeError
        If a threshold is negative, not finite or for an unknown class, if more than one is 0, or if their number is
        wrong.
    """
    if given is None:
        return None
    given = validation.by_label(given, classes.size)
    if isinstance(given, Mapping):
        given = _from_mapping(given, classes)
    if isinstance(given, (str, int, float)):
        raise InputTypeError(
            f"thresholds is {plain(given)}, expected {classes.size} numbers in the order of the classes "
            f"[{listed(classes.tolist())}], or a dict of label to threshold.",
            parameter="thresholds",
        )
    t = validation.as_float64s("thresholds", given)
    if t.shape != (classes.size,):
        raise InputValueError(
            f"thresholds has shape {t.shape}, expected ({classes.size},): one for each of the classes "
            f"[{listed(classes.tolist())}].",
            parameter="thresholds",
        )
    bad = ~(np.isfinite(t) & (t >= 0))
    if bad.any():
        k = int(np.argmax(bad))
        raise InputValueError(
            f"the threshold of class {plain(classes.tolist()[k])} is {t[k]:g}, expected a finite number of at least 0."
        )
    if np.count_nonzero(t == 0) > 1:
        raise InputValueError(
            f"the thresholds of {np.count_nonzero(t == 0)} classes are 0, but only one class can always be predicted; "
            "give the others a positive threshold."
        )
    return t


def _from_mapping(given: Mapping[Any, float], classes: NDArray[Any]) -> Float64s:
    labels, read = validation.keys_of(classes)
    t = np.ones(len(labels))
    for key, value in given.items():
        label = read(key)
        if label not in labels:
            raise InputValueError(f"thresholds names {plain(label)}, which is no class (classes: {listed(labels)}).")
        t[labels.index(label)] = validation.number(f"thresholds[{plain(label)}]", value, low=0.0)
    if len(labels) == 2 and len(given) == 1:
        k = labels.index(*map(read, given))
        if t[k] >= 1:
            raise InputValueError(
                f"the threshold of class {plain(labels[k])} is {t[k]:g}, expected less than 1, because the threshold "
                "of the other class is 1 minus this one if it is not given; give both."
            )
        t[1 - k] = 1 - t[k]
    return t


def above_thresholds(intercept: Float64s, thresholds: Float64s | None) -> Float64s:
    """The intercept with which the most probable class is the one with the largest p_k / t_k; inf where t_k is 0."""
    if thresholds is None:
        return intercept
    largest = thresholds.max()
    with np.errstate(divide="ignore", under="ignore"):
        ratio = thresholds / largest  # equal thresholds change nothing, and simple ratios keep ties
        log_ratio = np.where(ratio >= np.finfo(np.float64).tiny, np.log(ratio), np.log(thresholds) - np.log(largest))
        # Also for a class of intercept -inf, which has no sample in a fold: the other differences are no NaN.
        return np.where(thresholds == 0, np.inf, intercept - np.where(thresholds == 0, 0.0, log_ratio))


def best_classes(
    coef: Float64s,
    intercept: Float64s,
    X: Any,
    k: int,
    thresholds: Float64s | None,
    *,
    with_proba: bool = False,
    offset: Floats | None = None,
    names: tuple[str, ...] | None = None,
) -> tuple[Floats, NDArray[np.int64]]:
    """The k classes with the largest p_k / t_k, and their probabilities: as `predictions` with BEST returns them."""
    with_both = with_proba and thresholds is not None
    shifted = above_thresholds(intercept, thresholds)
    alone = with_proba and not with_both
    proba, best = predictions(coef, shifted, X, BEST, k, with_proba=alone, offset=offset, names=names)
    if not with_both:
        return proba, best
    proba = np.empty(best.shape, X.dtype)
    size = max(1, BLOCK_NUMBERS // len(coef))
    for start in range(0, len(best), size):
        rows = slice(start, start + size)
        added = None if offset is None else offset[rows]
        every = predictions(coef, intercept, X[rows], PROBA, offset=added)[0]
        proba[rows] = np.take_along_axis(every, best[rows], axis=1)
    return proba, best
