"""The parameters of a linear model as the kernels for sparse rows read them, and its predictions for such rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.design import difference
from nbsoftmax.kernels import linear, sparse
from nbsoftmax.kernels.lang.panels import padded, panels_of
from nbsoftmax.kernels.lang.simd import VECTOR_BYTES
from nbsoftmax.kernels.predict import BEST, LOGITS
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.kernels.sparse import SparseRows
from nbsoftmax.kernels.sparse_linear import group_rows
from nbsoftmax.kernels.sparse_predict import sparse_predict
from nbsoftmax.validation import Float64s, Floats


class Layout:
    """Parameters for `n_classes` classes with one row for each feature, and products with them in one dtype.

    Attributes
    ----------
    stride : int
        Elements of a row of classes, with its padding.
    panels : ndarray
        The parts of a row of classes that stay in registers (`kernels.lang.panels`).
    group : int
        Rows of X in a task.
    more : int
        Elements that arrays need after their last row, because kernels load whole vectors.
    """

    def __init__(self, n_features: int, n_classes: int, dtype: np.dtype[Any], n_threads: int | None) -> None:
        self.n_features, self.n_classes, self.dtype, self.n_threads = n_features, n_classes, dtype, n_threads
        self.stride: int = padded(n_classes, dtype.itemsize)
        self.panels = panels_of(n_classes, dtype.itemsize)
        self.group: int = group_rows(self.stride, dtype.itemsize)
        self.more = VECTOR_BYTES // 4
        self.size = (n_features + 1) * self.stride + self.more  # of the parameters

    def weights(self, params: Float64s, w: Floats) -> linear.Weights:
        """The parameters (n_classes, n_features + 1), copied to w (size,)."""
        self._copy(params, w)
        return linear.weights_of(w, self.stride, self.n_classes, linear.TILES)

    def weights_of_parts(self, coef: Float64s, intercept: Float64s) -> linear.Weights:
        """As `weights`, from coefficients (n_classes, n_features) and intercepts (n_classes,), in a new array."""
        w = aligned.py_func(self.size, np.empty(0, self.dtype))
        self._copy(coef, w)
        w[self.n_features * self.stride :] = intercept[-1]
        w[self.n_features * self.stride :][: self.n_classes] = intercept
        return linear.weights_of(w, self.stride, self.n_classes, linear.TILES)

    def _copy(self, by_class: Float64s, w: Floats) -> None:
        """Copy columns (n_classes, n) to the first n rows of w."""
        n = by_class.shape[1]
        sizes = n - 1, self.n_classes, self.stride
        work = 2 * n * self.stride
        self.run(
            sparse.by_features, -(-n // sparse.COLUMNS), work, np.ascontiguousarray(by_class).reshape(-1), *sizes, w
        )

    def difference(self, params: Float64s) -> linear.Weights:
        """The difference of the parameters of two classes, as kernels with one logit for each sample take it."""
        return linear.weights_of(difference(params, self.dtype), 1, 1, linear.LOGIT)

    def n_groups(self, rows: SparseRows) -> int:
        """Number of tasks of some rows."""
        return int(-(-rows.n_rows // self.group))

    def work(self, rows: SparseRows) -> int:
        """Multiply-adds of the logits of some rows, and of their exponentials."""
        n_numbers = int(rows.indptr[-1] - rows.indptr[0])
        return int(self.stride * (n_numbers + EXP_WORK * rows.n_rows))

    def run(self, kernel: Any, n_tasks: int, work: int, *arguments: Any) -> None:
        """Run a kernel: so many tasks, about `work` multiply-adds in all."""
        launch(kernel, n_tasks, work, self.n_threads, *arguments)


class SparseDesign:
    """Sparse rows, beside parameters for `n_classes` classes: `Design` for sparse data.

    Parameters
    ----------
    X : scipy.sparse.csr_array (n_samples, n_features)
        As for `SparseBackend`.
    n_classes : int
    n_threads : int or None
        None: as many as Numba would use.
    """

    def __init__(self, X: Any, n_classes: int, n_threads: int | None) -> None:
        self.n_samples, self.n_features = X.shape
        self._layout = Layout(self.n_features, n_classes, X.dtype, n_threads)
        last = max(0, X.nnz - 1)
        self._rows = SparseRows(X.data, X.indices, X.indptr, *X.shape, last, np.empty(0, X.dtype))

    def predict(
        self, coef: Float64s, intercept: Float64s, what: int, k: int = 1, *, with_proba: bool = False
    ) -> tuple[Floats, NDArray[np.int64]]:
        """Logits, probabilities or their logarithms, or the best classes: see `Design.predict`."""
        layout, m = self._layout, self.n_samples
        columns = layout.n_classes if what != BEST else k if with_proba else 0
        out, best = np.empty((m, columns), layout.dtype), np.empty((m, k if what == BEST else 0), np.int64)
        if layout.n_classes == 2 and what != LOGITS:  # the rest follows from the difference of the logits
            weights = layout.difference(np.column_stack([coef, intercept]))
        else:
            weights = layout.weights_of_parts(coef, intercept)
        results = what, k, layout.group, out.reshape(-1), best.reshape(-1)
        work = layout.work(self._rows)
        layout.run(sparse_predict, layout.n_groups(self._rows), work, self._rows, weights, layout.panels, *results)
        return out, best
