"""Predictions of a linear model for validated rows; whether the numbers of a dense X are finite is checked here."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.backends.design import Design
from nbsoftmax.functional.logits import log_softmax, softmax
from nbsoftmax.kernels.predict import LOG_PROBA, LOGITS, PROBA
from nbsoftmax.validation import Float64s, Floats

# Finding the feature of one stored number of X takes as long as copying this many coefficients.
LOOK_UP = 32


def of_occurring_features(coef: Float64s, X: Any) -> tuple[Float64s, Any]:
    """The coefficients of the features that occur in sparse rows, and the rows of these features.

    Predictions copy all coefficients: 2.6 million for 20 classes and 130,000 words. One text has about a hundred words,
    and selecting their coefficients first takes less time. Arrays, and rows with many numbers, are returned unchanged.
    """
    if not validation.is_sparse(X) or coef.shape[1] != X.shape[1] or X.nnz * LOOK_UP > coef.size:
        return coef, X
    columns, places = np.unique(np.append(X.indices, 0), return_inverse=True)  # at least one feature
    return coef.take(columns, axis=1), validation.with_indices(X, places[:-1], columns.size)


def predictions(
    coef: Float64s,
    intercept: Float64s,
    X: Any,
    what: int,
    k: int = 1,
    *,
    with_proba: bool = False,
    offset: Floats | None = None,
    names: tuple[str, ...] | None = None,
) -> tuple[Floats, NDArray[np.int64]]:
    """Predictions as `Design.predict` returns them, for dense or sparse X.

    An `offset` (n_samples, n_classes) of the dtype of X is added to the logits, which then exist as an array. `names`
    are those of the features, for the error.

    Raises
    ------
    InputValueError
        If a dense X contains NaN or inf.
    """
    if offset is not None:
        logits = predictions(coef, intercept, X, LOGITS, names=names)[0]
        logits += offset
        return _from_logits(logits, what, k, with_proba=with_proba)
    limit = np.finfo(np.float32).max
    if X.dtype == np.float32 and max(np.abs(coef).max(initial=0.0), np.abs(intercept).max(initial=0.0)) > limit:
        # Such coefficients belong to features near 0: their products may be finite.
        wide = X.astype(np.float64)
        values, best = predictions(coef, intercept, wide, what, k, with_proba=with_proba, names=names)
        with np.errstate(over="ignore"):
            return values.astype(X.dtype), best
    if validation.is_sparse(X):
        from nbsoftmax.backends.sparse_design import SparseDesign  # predictions for arrays do not need it

        return SparseDesign(X, len(coef), None).predict(coef, intercept, what, k, with_proba=with_proba)
    design = Design(X, len(coef), np.empty((0, 0), X.dtype), None)
    return design.predict(coef, intercept, what, k, with_proba=with_proba, names=names)


def _from_logits(logits: Floats, what: int, k: int, *, with_proba: bool) -> tuple[Floats, NDArray[np.int64]]:
    """What `predictions` returns, from logits, which may be changed."""
    none = np.empty((0, 0), np.int64)
    if what == LOGITS:
        return logits, none
    if what in (PROBA, LOG_PROBA):
        return (softmax if what == PROBA else log_softmax)(logits, out=logits), none
    best = np.argmax(logits, axis=1)[:, None] if k == 1 else np.argsort(-logits, axis=1, kind="stable")[:, :k]
    proba = np.take_along_axis(softmax(logits, out=logits), best, axis=1) if with_proba else np.empty((0, 0))
    return proba, best.astype(np.int64, copy=False)
