"""The curvature of a quadratic model over sparse features: their columns and a weight for each sample.

It is the mean of the diagonal blocks of the Hessian, as in the first `GramCurvature` of a working set. (Blocks of each
class saved a few products near the minimum, but before, where some classes are almost separable, their steps were far
too long, and fits ended without progress.)
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.kernels.sparse_coordinate import sparse_group_lasso, sparse_lasso
from nbsoftmax.penalties import AnyPenalty
from nbsoftmax.penalties.feature import FeaturePenalty
from nbsoftmax.penalties.general import GeneralPenalty
from nbsoftmax.solvers.base import NOISE, Curved
from nbsoftmax.validation import Float64s

# Products of samples and classes that group lasso keeps, at most, unless a Gram matrix has more numbers.
MOST_PRODUCTS = 2**23
# Sweeps of coordinate descent in a step. (Fits of text and one-hot columns took nearly as many steps with 1 sweep as
# with 2 or 4, or with minima to 1e-8.)
N_SWEEPS = 1


def sparse_columns(part: Curved, penalty: AnyPenalty, n_classes: int) -> Any:
    """The features of an objective as a csc_array of float64; None if Gram matrices are to be used.

    Coordinate descent reads each column once in a sweep, or a row of a Gram matrix for each coordinate that moves.
    """
    if part.sparse_rows is None:
        return None
    columns = part.sparse_rows.columns()
    n_samples, n_features = columns.shape
    grouped = isinstance(penalty, FeaturePenalty) and not penalty.by_weight
    if columns.nnz >= n_features**2 or (grouped and n_samples * n_classes > max(MOST_PRODUCTS, n_features**2)):
        return None
    return columns.astype(np.float64, copy=False)


class SparseCurvature:
    """X^T diag(d) X without the intercept, for all classes; d_i = h_i mean_k a_ik (1 - a_ik) / S.

    Parameters
    ----------
    part : objective over the features of `columns`
    columns : csc_array (n_samples, n_features)
    at : ndarray (n_classes, n_features + 1)
        The parameters where the curvature is taken.
    """

    def __init__(self, part: Curved, columns: Any, at: Float64s) -> None:
        self._columns, self._n_threads = columns, part.n_threads
        rows = part.sparse_rows
        assert rows is not None
        self._weights = d = rows.sample_curvatures(at) / rows.weight_sum
        c = float(d.sum()) if part.fit_intercept else 0.0
        mean = columns.T @ d / c if c > 0 else np.zeros(columns.shape[1])
        squares = type(columns)((columns.data**2, columns.indices, columns.indptr), shape=columns.shape)
        whole = squares.T @ d
        diagonal = whole - c * mean**2
        self._diagonal = np.where(diagonal <= NOISE * whole, 0.0, diagonal)  # the rest of a constant feature is noise
        self.means, self.corner = mean[None], np.array([c])
        self._data = columns.data * np.sqrt(d)[columns.indices]

    def minimise(self, penalty: AnyPenalty, factor: float, damping: Float64s, slope: Float64s, coef: Float64s) -> float:
        """Move `coef` towards the minimum of the model plus the penalty; returns p . M p of the move p."""
        if isinstance(penalty, GeneralPenalty):
            return self._minimise_general(penalty, factor, damping, slope, coef)
        l1s, l2s = penalty.strengths(coef.shape[1])
        squares, columns = np.empty(len(coef)), self._columns
        curvature = self.means[0], float(self.corner[0]), self._diagonal, factor
        limits = penalty.limits(coef.shape)
        problem = l2s + damping, l1s, *limits, np.ascontiguousarray(slope), coef, squares, N_SWEEPS, columns.shape[0]
        work = 2 * N_SWEEPS * columns.nnz * len(coef)
        arrays = self._data, columns.indices, columns.indptr
        n_vectors = -(-len(coef) // lanes(coef))
        kernel, n_tasks = (sparse_lasso, n_vectors) if penalty.by_weight else (sparse_group_lasso, 1)
        launch(kernel, n_tasks, work, self._n_threads, *arrays, *curvature, *problem)
        return float(squares.sum())

    def _minimise_general(
        self, penalty: GeneralPenalty, factor: float, damping: Float64s, slope: Float64s, coef: Float64s
    ) -> float:
        """As `minimise`, for a penalty of the user."""
        columns, c, mean = self._columns, float(self.corner[0]), self.means[0]
        free = self._diagonal > 0
        d = factor * self._weights

        def product(p: Float64s) -> Float64s:
            """M p, (K, n_features), one class after another: the products with X of all would be an (m, K) array."""
            moves = [np.where(free, row, 0.0) for row in p]
            by_class = [columns.T @ (d * (columns @ row)) - factor * c * (mean @ row) * mean for row in moves]
            return np.where(free, np.array(by_class), 0.0) + damping * p

        # The largest eigenvalue is at most the largest sum of a row's absolute values.
        sizes = abs(columns)
        largest = float((sizes.T @ (d * sizes.sum(axis=1)) + damping).max(initial=0.0))
        residual, before = slope.copy(), coef.copy()
        penalty.minimise_by_products(product, largest, residual, coef)
        return float(np.vdot(coef - before, residual - slope))
