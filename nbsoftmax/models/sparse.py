"""Predictions of a linear model for sparse rows, block by block: only the requested results are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.functional import log_softmax, softmax
from nbsoftmax.kernels.predict import BEST, LOG_PROBA, PROBA
from nbsoftmax.validation import Float64s, Floats

BLOCK_BYTES = 2**22  # of the logits of a block of rows


def sparse_predictions(
    coef: Float64s, intercept: Float64s, X: Any, what: int, k: int = 1, *, with_proba: bool = False
) -> tuple[Floats, NDArray[np.int64]]:
    """Predictions as `Design.predict` returns them, for a canonical `scipy.sparse.csr_array` X."""
    n_samples, n_classes, dtype = X.shape[0], len(coef), X.dtype
    out = np.empty((n_samples, n_classes if what != BEST else k if with_proba else 0), dtype)
    best = np.empty((n_samples, k if what == BEST else 0), np.int64)
    weights, offset = np.ascontiguousarray(coef.T, dtype), intercept.astype(dtype)
    size = max(16, BLOCK_BYTES // (n_classes * dtype.itemsize))
    for start in range(0, n_samples, size):
        rows = slice(start, min(n_samples, start + size))
        z = X[rows] @ weights + offset
        if what == BEST:
            order = z.argmax(axis=1)[:, None] if k == 1 else np.argsort(-z, axis=1, kind="stable")[:, :k]
            best[rows] = order
            if with_proba:
                out[rows] = np.take_along_axis(softmax(z), order, axis=1)
        else:
            out[rows] = softmax(z) if what == PROBA else log_softmax(z) if what == LOG_PROBA else z
    return out, best
