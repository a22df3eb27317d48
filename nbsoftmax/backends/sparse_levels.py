"""Sparse rows with few frequent features and many others, of which no row has two: the levels of one category.

The block of the Hessian for these others is then diagonal; what is left are the blocks of the frequent features and
those between the two.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.validation import Float64s

# Numbers of frequent features that are tried.
SIZES = (63, 127, 255, 511, 1023)
ROWS = 2**16  # that are multiplied at a time


def frequent_beside_levels(X: Any, counts: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """The frequent features, sorted, if no row has two of the others; None if that is so for no number of them.

    X is a csr_array, and `counts` has the number of the numbers of each feature.
    """
    by_count = np.argsort(-counts, kind="stable")
    for size in SIZES:
        others = by_count[size:]
        if others.size and counts[others].sum() <= X.shape[0]:
            is_other = np.zeros(counts.size, bool)
            is_other[others] = True
            rows = np.searchsorted(X.indptr, np.flatnonzero(is_other[X.indices]), side="right")
            if (np.diff(rows) > 0).all():
                return np.sort(by_count[:size])
    return None


def couplings(
    X: Any, features: NDArray[np.int64], weights: Callable[[slice], Iterable[Float64s]], *, fit_intercept: bool
) -> list[Any]:
    """X_others^T diag(w) (X_features, 1) as a csr_array for each of the weights of a slice of the rows."""
    from scipy import sparse

    others = np.setdiff1d(np.arange(X.shape[1]), features)
    sums: list[Any] = []
    for start in range(0, X.shape[0], ROWS):
        part = slice(start, min(X.shape[0], start + ROWS))
        rows = X[part].astype(np.float64)
        ones = np.full((rows.shape[0], 1), float(fit_intercept))
        some = sparse.hstack([rows[:, features], sparse.csr_array(ones)], format="csr")
        levels, counts = rows[:, others].T.tocsr(), np.diff(some.indptr)
        for k, w in enumerate(weights(part)):
            weighted = sparse.csr_array((some.data * np.repeat(w, counts), some.indices, some.indptr), some.shape)
            product = levels @ weighted
            if start == 0:
                sums.append(product)
            else:
                sums[k] = sums[k] + product
    return sums
