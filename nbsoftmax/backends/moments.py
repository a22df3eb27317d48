"""Weighted sums of the features and of their squares, as differences from given numbers, in float64."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.validation import Float64s, is_sparse

BLOCK_BYTES = 2**20  # of differences, which should stay in a cache
Moments = tuple[float, Float64s, Float64s]


@np.errstate(over="ignore", invalid="ignore")
def moments(X: Any, weight: Float64s, centre: Float64s) -> Moments:
    """sum_i h_i, and for each feature sum_i h_i (x_ij - c_j) and sum_i h_i (x_ij - c_j)^2, which may overflow.

    Parameters
    ----------
    X : ndarray or canonical csr_array (n_samples, n_features)
    weight : ndarray (n_samples,), or (0,) if all weights are 1
    centre : ndarray (n_features,)
    """
    m, n = X.shape
    h = weight if weight.size else np.ones(m)
    mass = float(h.sum())
    if is_sparse(X):
        of_number = np.repeat(h, np.diff(X.indptr))
        numbers = X.data.astype(np.float64)
        differences = numbers - centre[X.indices]
        present = np.bincount(X.indices, of_number, n)
        first = np.bincount(X.indices, of_number * differences, n) - (mass - present) * centre
        second = np.bincount(X.indices, of_number * differences**2, n) + (mass - present) * centre**2
        return mass, first, second
    first, second = np.zeros((2, n))
    size = max(1, BLOCK_BYTES // (8 * max(1, n)))
    with one_thread():  # the last bits of BLAS depend on the number of its threads
        for start in range(0, m, size):
            part = slice(start, start + size)
            differences = X[part] - centre
            first += h[part] @ differences
            second += h[part] @ np.square(differences, out=differences)
    return mass, first, second
