"""Weighted sums of the features and of their squares, as differences from given numbers, in float64."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.validation import Float64s, is_sparse

CONSTANT = 1e-12  # a feature whose standard deviation is at most this share of its mean is constant but for rounding
BLOCK_BYTES = 2**20  # of differences, which should stay in a cache
Moments = tuple[float, Float64s, Float64s]


def mean_and_variance(moments_from: Callable[[Float64s], Moments], n_features: int) -> tuple[Float64s, Float64s]:
    """The weighted mean and variance of each feature, (n_features,), in two passes; inf or NaN on overflow.

    `moments_from` returns the `moments` from some centre, such as `feature_moments` of a backend. The variance is 0 if
    the standard deviation is at most `CONSTANT` times the mean.
    """
    mass, first, _ = moments_from(np.zeros(n_features))
    mean = first / mass
    _, off, squares = moments_from(mean)
    with np.errstate(over="ignore", invalid="ignore"):
        variance = np.maximum(squares / mass - (off / mass) ** 2, 0.0)  # `mean` has rounding errors
        return mean, np.where(np.sqrt(variance) <= CONSTANT * np.abs(mean), 0.0, variance)


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
        differences = X.data - centre[X.indices]  # in float64, as the centre is
        # Both sums are added row by row, so that a column of which every row is stored has exactly no other weight: a
        # rounding error of their difference times c^2 may exceed the variance.
        absent = np.bincount(np.zeros(m, np.intp), h, 1) - np.bincount(X.indices, of_number, n)
        first = np.bincount(X.indices, of_number * differences, n) - absent * centre
        second = np.bincount(X.indices, of_number * differences**2, n) + absent * centre**2
        return mass, first, second
    first, second = np.zeros((2, n))
    size = max(1, BLOCK_BYTES // (8 * max(1, n)))
    with one_thread():  # the last bits of BLAS depend on the number of its threads
        for start in range(0, m, size):
            part = slice(start, start + size)
            # In one order, whatever that of X is: the last bits of the products depend on it.
            differences = np.subtract(X[part], centre, order="C")
            first += h[part] @ differences
            second += h[part] @ np.square(differences, out=differences)
    return mass, first, second
