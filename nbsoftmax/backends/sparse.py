"""Sparse rows in memory (CSR)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.dense import DenseBackend, hessian_of_pairs
from nbsoftmax.backends.design import difference
from nbsoftmax.backends.face import face_hessian, probabilities
from nbsoftmax.backends.kept import intercept_curvature
from nbsoftmax.backends.moments import Moments, moments
from nbsoftmax.backends.refined import RefinedBackend
from nbsoftmax.backends.separation import counts_of, margins_of
from nbsoftmax.backends.sparse_binary import BinarySums
from nbsoftmax.backends.sparse_descent import descend
from nbsoftmax.backends.sparse_design import Layout, SparseDesign
from nbsoftmax.backends.sparse_grams import grams, of_classes, of_pairs
from nbsoftmax.backends.sparse_levels import couplings, frequent_beside_levels
from nbsoftmax.backends.sparse_sums import SparseSums
from nbsoftmax.backends.sum import MadeParts, SumBackend
from nbsoftmax.backends.targets import curvature_weights, kernel_target, part_of, targets_in
from nbsoftmax.backends.transposed import Blocks
from nbsoftmax.cached import cached_property
from nbsoftmax.kernels import rows, sgd, sparse
from nbsoftmax.kernels.lang.panels import padded
from nbsoftmax.kernels.predict import LOGITS
from nbsoftmax.kernels.sparse_gram import work_of
from nbsoftmax.kernels.sparse_linear import VARIANCES, Curved, Residuals
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Float64s, Floats, WeightedTargets

# Of the logits of a block of rows, which the gradient reads at random. Each block adds to the sums of its columns. On a
# Zen 4, where the second-level cache has 1 MB, blocks of half the size took 10% longer. On Intel CPUs, where it has
# 2 MB and the third level is slow, blocks of 2 MB took 10 to 20% less time with 20 and 53 classes; where there are
# several, blocks of 1 MB, which leave room for the sums of the columns, again 6 to 10% less with 53 classes.
BLOCK_BYTES, SINGLE_BLOCK_BYTES, SMALL_BLOCK_BYTES = 2**23, 2**21, 2**20
DENSE_BYTES = 2**23  # of rows that are made dense at a time
# In multiply-adds of dense products: what one of a sparse product costs, and making a number dense.
SCATTER_COST, COPY_WORK = 2, 60
KEPT_BYTES = 40 * 2**20  # of the probabilities kept for Hessian-vector products


def _second_level_cache() -> int:
    """Bytes of the second-level cache of a core, or 0 if the system does not say."""
    try:
        return int(Path("/sys/devices/system/cpu/cpu0/cache/index2/size").read_text().rstrip("K\n")) * 1024
    except (OSError, ValueError):
        return 0


class SparseBackend:
    """Rows of one `scipy.sparse.csr_array` of float32 or float64 numbers, which is not changed.

    Parameters
    ----------
    X : scipy.sparse.csr_array (n_samples, n_features)
        With sorted indices and no duplicates; explicit zeros are allowed.
    target : WeightedTargets
    offset : ndarray (n_samples, n_classes) of the dtype of X, added to the logits; (0, 0) for none
    fit_intercept : bool
    n_threads : int or None
        None: as many as Numba would use.
    block_bytes : int or None
        Bytes of the logits of a block of rows. None: as the second-level cache of the CPU suggests.
    """

    def __init__(
        self,
        X: Any,
        target: WeightedTargets,
        *,
        offset: Floats,
        fit_intercept: bool,
        n_threads: int | None,
        block_bytes: int | None = None,
    ) -> None:
        self.n_samples, self.n_features = X.shape
        self.n_classes = target.gain.size
        self.weight_sum = target.total
        self.fit_intercept = fit_intercept
        self._source = X, target, offset
        self._n_threads, self._block_bytes = n_threads, block_bytes
        self._counts: NDArray[np.int64] | None = None
        self._curvature = curvature_weights(target)
        # Numbers of a row in the sums: two classes have one logit.
        self._n_columns = 1 if self.n_classes == 2 else self.n_classes
        row_bytes = (1 if self._n_columns == 1 else padded(self.n_classes, X.dtype.itemsize)) * X.dtype.itemsize
        if block_bytes is None:
            several = self.n_samples * row_bytes > SINGLE_BLOCK_BYTES
            cached = SMALL_BLOCK_BYTES if several else SINGLE_BLOCK_BYTES
            block_bytes = cached if _second_level_cache() >= SINGLE_BLOCK_BYTES else BLOCK_BYTES
        if self._n_columns == 1 and offset.size:
            offset = difference(offset.T, offset.dtype)
        self._blocks = Blocks(X, offset, max(16, block_bytes // row_bytes), n_threads)
        self._set_dtype(X.dtype)

    def _set_dtype(self, dtype: np.dtype[Any]) -> None:
        """Set the dtype of products, which may be wider than that of X."""
        self.dtype = dtype
        self._layout = Layout(self.n_features, self.n_classes, dtype, self._n_threads)
        sums = BinarySums if self.n_classes == 2 else SparseSums
        self._sums = sums(self._blocks, self._layout, fit_intercept=self.fit_intercept)
        self._target = kernel_target(targets_in(dtype, self._source[1]))
        # A point and the probabilities of the first rows there, or a (1 - a) for two classes, flat; replaced as a pair,
        # never changed.
        self._kept: tuple[Float64s, Floats] = np.empty(0), np.empty(0, dtype)

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        stage = self._residuals(want_grad=False)
        self._sums.by_rows(stage, params)
        return float(pairwise_sum(stage.losses))

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1)."""
        stage = self._residuals(want_grad=True)
        gradient = self._sums.products(stage, params)
        return float(pairwise_sum(stage.losses)), gradient

    def _residuals(self, *, want_grad: bool) -> Residuals:
        return Residuals(self._target, want_grad, np.empty(self._sums.n_groups))

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        return self.hessian_at(params)(v)

    def hessian_at(self, params: Float64s) -> Callable[[Float64s], Float64s]:
        """`hess_vec` at `params`, which must not change while the function is in use."""
        memory, kept = self._memory_for(params)

        def times(v: Float64s) -> Float64s:
            nonlocal memory
            product, memory = self._hess_vec(params, v, memory, kept), rows.KEPT
            return product

        return times

    def _hess_vec(self, params: Float64s, v: Float64s, memory: int, kept: Floats) -> Float64s:
        """The product, with probabilities that are already `kept`, or are kept from now on, as `memory` says."""
        complete = memory == rows.KEPT and kept.size == self.n_samples * self._n_columns
        stage = Curved(self._curvature, memory, kept, np.empty(0))
        product = self._sums.products(stage, None if complete else params, v)
        if memory == rows.KEEP:  # set only when complete: another thread may read it
            self._kept = params.copy(), kept
        return product

    def _memory_for(self, params: Float64s) -> tuple[int, Floats]:
        """What the next product does with the probabilities of the first rows, and the array for them."""
        point, kept = self._kept
        if np.array_equal(point, params):
            return rows.KEPT, kept
        n_rows = min(self.n_samples, KEPT_BYTES // (self._n_columns * self.dtype.itemsize))
        return rows.KEEP, np.empty(n_rows * self._n_columns, self.dtype)

    def gram(self, params: Float64s | None = None) -> Float64s:
        """X1^T diag(h mean_k a_k (1 - a_k)) X1 at `params`, or X1^T diag(h) X1, with X1 = (X, 1): (N + 1, N + 1)."""
        if self._scatters(1):
            return self.frequent_gram(params, np.arange(self.n_features))
        return self._dense().gram(params)

    @property
    def n_numbers(self) -> int:
        """Number of the numbers of X that are stored."""
        return int(self._source[0].nnz)

    def counts(self) -> NDArray[np.int64]:
        """Number of the numbers of each feature that are stored, (n_features,)."""
        if self._counts is None:
            self._counts = np.bincount(self._source[0].indices, minlength=self.n_features)
        return self._counts.copy()

    def frequent_gram(self, params: Float64s | None, features: NDArray[np.int64]) -> Float64s:
        """The part of `gram` of some features, which are sorted, and of the intercept."""
        by_row = self._h() if params is None else self.sample_curvatures(params)
        matrix: Float64s = self._grams(features, lambda part: [by_row[part]], 1)[0]
        return matrix

    def _grams(
        self, features: NDArray[np.int64], weights: Callable[[slice], Iterable[Float64s]], n_matrices: int
    ) -> Float64s:
        matrices = grams(self._blocks, self._layout, features, weights, n_matrices)
        if not self.fit_intercept:
            matrices[:, -1] = matrices[:, :, -1] = 0
        return matrices

    def _scatters(self, n_matrices: int) -> bool:
        """Whether Gram matrices take less time by adding to their places than as dense products."""
        dense = self.n_samples * self.n_features * (n_matrices * self.n_features / 2 + COPY_WORK)
        return bool(SCATTER_COST * work_of(self.n_samples, self.n_numbers, n_matrices) < dense)

    def _hessian_grams(
        self, params: Float64s, weights: Callable[[Float64s, Float64s, Float64s], Iterator[Float64s]], n_matrices: int
    ) -> Float64s:
        """Gram matrices of all features with the weights of `_weights_at`."""
        return self._grams(np.arange(self.n_features), self._weights_at(params, weights), n_matrices)

    def _weights_at(
        self, params: Float64s, weights: Callable[[Float64s, Float64s, Float64s], Iterator[Float64s]]
    ) -> Callable[[slice], Iterator[Float64s]]:
        """Weights of a slice of the rows, from h, the probabilities a and 1 - a."""
        h, offset = self._h(), self._source[2]

        def of_rows(part: slice) -> Iterator[Float64s]:
            z = self._logits(params, part, self.dtype).astype(np.float64)
            return weights(h[part], *probabilities(z, offset[part]))

        return of_rows

    @cached_property
    def _apart(self) -> NDArray[np.int64] | None:
        return frequent_beside_levels(self._source[0], self.counts())

    def frequent_beside_levels(self) -> NDArray[np.int64] | None:
        """The frequent features, if no sample has two of the others; None if that is so for no small number of them."""
        return self._apart

    def blocks_beside_levels(self, params: Float64s) -> tuple[Float64s, list[Any]]:
        """Parts of `class_grams`: of these features and the intercept, and between the others and them (csr_array)."""
        assert self._apart is not None
        weights = self._weights_at(params, of_classes)
        between = couplings(self._source[0], self._apart, weights, fit_intercept=self.fit_intercept)
        return self._grams(self._apart, weights, self.n_classes), between

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, sum_i h_i a_ik (1 - a_ik) (x_i, 1)^2, (K, N + 1)."""
        return self._sums.products(self._variances(), params, squared=True)

    def moments(self, params: Float64s) -> tuple[Float64s, Float64s]:
        """`curvatures`, and the same sums without squares, sum_i h_i a_ik (1 - a_ik) (x_i, 1), (K, N + 1)."""
        return self.curvatures(params), self._sums.products(self._variances(), params)

    def _variances(self, means: Floats | None = None) -> Curved:
        """The stage of h_i a_ik (1 - a_ik), and of their means over the classes if there is an array for them."""
        return Curved(self._curvature, VARIANCES, np.empty(0, self.dtype), np.empty(0) if means is None else means)

    def class_grams(self, params: Float64s) -> Float64s:
        """X1^T diag(h a_k (1 - a_k)) X1 for each class k: the diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        if self._scatters(self.n_classes):
            return self._hessian_grams(params, of_classes, self.n_classes)
        return self._dense().class_grams(params)

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        n_pairs = self.n_classes * (self.n_classes - 1) // 2
        if self._scatters(n_pairs):
            return hessian_of_pairs(self._hessian_grams(params, of_pairs, n_pairs), self.n_classes)
        return self._dense().hessian(params)

    def intercept_curvature(self, params: Float64s) -> Float64s | None:
        """sum_i h_i (a_ik [k = l] - a_ik a_il), (K, K); None if those at `params` were not kept for all samples."""
        point, kept = self._kept
        if kept.size < self.n_samples * self._n_columns or not np.array_equal(point, params):
            return None
        proba, weight = kept.reshape(-1, self._n_columns), self._curvature
        parts = map(self._blocks.part, range(len(self._blocks)))
        return intercept_curvature(((proba[part], weight[part]) for part in parts), self.n_classes)

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,), and margins z_y - z_k (n, K), of the samples of some rows that have weight."""
        _, target, offset = self._source
        part = slice(*part.indices(self.n_samples)[:2])
        return margins_of(self._logits(params, part), offset, target, part)

    def _logits(self, params: Float64s, part: slice, dtype: np.dtype[Any] | None = None) -> Floats:
        """The logits of some rows, without offset, in the dtype of X or in another one."""
        X = self._source[0][part]
        design = SparseDesign(X.astype(dtype or X.dtype, copy=False), self.n_classes, self._n_threads)
        return design.predict(params[:, :-1], params[:, -1] * self.fit_intercept, LOGITS)[0]

    def face_hessian(self, params: Float64s, free: NDArray[np.bool_]) -> Float64s:
        """The Hessian of the loss over the parameters in `free`, see `face.face_hessian`."""
        X, _, offset = self._source
        return face_hessian(X, offset, self._curvature, free, partial(self._logits, params))

    def margin_counts(self, params: Float64s, step: Float64s) -> NDArray[np.int64]:
        """Numbers of samples whose margins a step changes, as `separation.counts_of` says."""
        return counts_of(self, params, step)

    def descend(
        self,
        state: sgd.State,
        order: NDArray[np.int64],
        batch_size: int,
        rates: Float64s,
        rule: sgd.Rule,
        n_before: int,
    ) -> Float64s:
        """Change `state` by a step of rates[t] for each mini-batch t of the samples in `order`; their losses."""
        X, _, offset = self._source
        samples = sparse.SparseRows(X.data, X.indices, X.indptr, *X.shape, max(0, X.nnz - 1), offset.reshape(-1))
        design = samples, self._layout, self._target
        return descend(design, state, order, batch_size, rates, rule, n_before, fit_intercept=self.fit_intercept)

    def feature_moments(self, centre: Float64s) -> Moments:
        """Sums of the features and their squares, as differences from `centre`; see `moments`."""
        return moments(self._source[0], self._curvature, centre)

    def with_features(self, features: NDArray[np.int64]) -> SparseBackend:
        """The same sums over only these features, whose columns are copied, and computed in float64 throughout."""
        X, target, offset = self._source
        return SparseBackend(
            X[:, features].astype(np.float64, copy=False),
            targets_in(np.float64, target),
            offset=offset.astype(np.float64, copy=False),
            fit_intercept=self.fit_intercept,
            n_threads=self._n_threads,
            block_bytes=self._block_bytes,
        )

    def in_float64(self, *, hessian: bool = False) -> SparseBackend | RefinedBackend:
        """The same sums by products in float64: loss and gradient, and if `hessian` the other sums too."""
        if self.dtype == np.float64:
            return self
        precise = copy.copy(self)
        precise._set_dtype(np.dtype(np.float64))
        return RefinedBackend(self, precise, hessian=hessian)

    def columns(self) -> Any:
        """X as a csc_array."""
        return self._source[0].tocsc()

    def sample_curvatures(self, params: Float64s) -> Float64s:
        """h_i mean_k a_ik (1 - a_ik), (n_samples,)."""
        means = np.empty(self.n_samples)
        self._sums.by_rows(self._variances(means), params)
        return means

    def _dense(self) -> SumBackend:
        """The same sums over dense blocks of rows."""

        def make() -> Iterator[DenseBackend]:
            X, target, offset = self._source
            size = max(16, DENSE_BYTES // (self.dtype.itemsize * max(1, self.n_features)))
            for start in range(0, max(1, self.n_samples), size):
                part = slice(start, min(self.n_samples, start + size))
                yield DenseBackend(
                    X[part].toarray().astype(self.dtype, copy=False),
                    targets_in(self.dtype, part_of(target, part)),
                    offset=(offset[part] if offset.size else offset).astype(self.dtype, copy=False),
                    fit_intercept=self.fit_intercept,
                    n_threads=self._n_threads,
                )

        sizes = {"n_samples": self.n_samples, "n_features": self.n_features, "n_classes": self.n_classes}
        return SumBackend(MadeParts(make), **sizes, weight_sum=self.weight_sum)

    def _h(self) -> Float64s:
        """h_i of all rows."""
        return self._curvature if self._curvature.size else np.ones(self.n_samples)
