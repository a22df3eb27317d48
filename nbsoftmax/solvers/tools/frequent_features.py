"""A preconditioner for sparse data with more features than a Gram matrix can have.

frequent   for class k, the Gram matrix G of the most frequent features and of the intercept, and the kind `diagonal`
           for the others:  M_k = D_k^(1/2) C D_k^(1/2),  C = the correlations of G,  D_k = the diagonal of its Hessian

with the penalty added to G and to D_k. G is the mean of the blocks of all classes, as in the preconditioner `gram`; the
scales of each class are exact.

It saves less than `gram` does for dense data, whose features are more correlated. For 75,000 lines of source code with
TF-IDF weights (67,405 features, 20 classes) a direction took 31 products with `diagonal` and 24 with the Gram matrix of
2895 features at C = 100, and 8 and 5 at C = 1, and the matrix cost more than 90 products. It is therefore made only
after a direction that took more products than it costs.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels.runtime.threads import EXP_WORK
from nbsoftmax.kernels.sparse_gram import work_of
from nbsoftmax.solvers.base import Curved
from nbsoftmax.solvers.tools.scaled_inverse import scale_of, scaled_inverse
from nbsoftmax.solvers.tools.square_products import times_square
from nbsoftmax.validation import Float64s

# Numbers of features that are tried, from the largest Gram matrix that may be made.
SIZES = (2895, 2047, 1447, 1023, 511, 255)
# The fixed cost of a number of X in a product, in multiply-adds.
NUMBER_WORK = 8
# Features of a Gram matrix occur at least so often: the correlations of others are not worth its factors.
LEAST_COUNT = 8
MOST_PRODUCTS = 40.0  # Hessian-vector products that the Gram matrix may cost


def works(objective: Curved, counts: NDArray[np.int64]) -> dict[str, float]:
    """The work of the kinds that differ from those for dense data."""
    logits = product_work(objective, counts) / 2
    k = objective.shape[0]
    return {
        "diagonal": 3 * logits,
        "frequent": 3 * logits + _gram_work(objective, np.sort(counts)[::-1][: n_frequent(objective, counts)]),
        "gram": logits + _gram_work(objective, counts),
        "blocks": logits + _sums_work(objective, counts, k) + k * float(counts.size) ** 3,
        "hessian": logits + _sums_work(objective, counts, k * (k - 1) // 2) + float((k - 1) * counts.size) ** 3,
    }


def product_work(objective: Curved, counts: NDArray[np.int64]) -> float:
    """The work of a Hessian-vector product: logits, and as much for the product with their changes."""
    m, (k, d) = objective.n_samples, objective.shape
    return 2 * (float(counts.sum()) * (k + NUMBER_WORK) + float(m * k * EXP_WORK + d * k))


def n_frequent(objective: Curved, counts: NDArray[np.int64]) -> int:
    """How many features take part in the Gram matrix: as many as cost at most `MOST_PRODUCTS`, at least the fewest."""
    product, by_count = product_work(objective, counts), np.sort(counts)[::-1]
    useful = int((counts >= LEAST_COUNT).sum())
    for size in SIZES:
        n = min(size, useful)
        if _gram_work(objective, by_count[:n]) <= MOST_PRODUCTS * product:
            return n
    return min(SIZES[-1], useful)


def _gram_work(objective: Curved, counts: NDArray[np.int64]) -> float:
    """Work of the Gram matrix of features with these counts, and of its inverse."""
    return _sums_work(objective, counts, 1) + float(counts.size) ** 3


def _sums_work(objective: Curved, counts: NDArray[np.int64], n_matrices: int) -> float:
    """Work of so many Gram matrices, with different weights of the samples."""
    return float(work_of(objective.n_samples, float(counts.sum()), n_matrices))


def frequent_columns(objective: Curved) -> NDArray[np.int64]:
    """The columns of the parameters that the Gram matrix is for: the most frequent features and the intercept."""
    assert objective.sparse_rows is not None
    counts = objective.sparse_rows.counts()
    by_count = np.argsort(-counts, kind="stable")  # of equal counts, the first
    return np.append(np.sort(by_count[: n_frequent(objective, counts)]), counts.size)


class FrequentGram:
    """The Gram matrix's part of M^-1 at some parameters.

    Parameters
    ----------
    objective : Curved
    params : ndarray (n_classes, n_features + 1)
    diagonal : ndarray (n_classes, columns.size)
        That of the Hessian, with the penalty, for the columns.
    penalty : ndarray (n_features + 1,)
        Its curvature.
    columns : ndarray of int
        Those of the parameters that it is for: `frequent_columns`.
    """

    def __init__(
        self,
        objective: Curved,
        params: Float64s,
        diagonal: Float64s,
        penalty: Float64s,
        columns: NDArray[np.int64],
    ) -> None:
        rows = objective.sparse_rows
        assert rows is not None
        self.columns = columns
        matrix = rows.frequent_gram(params, columns[:-1]) / rows.weight_sum
        matrix[np.diag_indices_from(matrix)] += penalty[columns]
        self._scale: Float64s = scale_of(diagonal)
        self._inverse: Float64s = scaled_inverse(matrix, scale_of(matrix.diagonal()))
        self._n_threads = objective.n_threads

    def __call__(self, residual: Float64s) -> Float64s:
        """The part of M^-1 r for `columns`, given that of r, both (n_classes, columns.size)."""
        return times_square(residual * self._scale, self._inverse, self._n_threads) * self._scale
