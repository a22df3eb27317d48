"""Sparse rows in memory (CSR)."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.backends.kept import intercept_curvature
from nbsoftmax.backends.moments import Moments, moments
from nbsoftmax.backends.refined import RefinedBackend
from nbsoftmax.backends.separation import counts_of, margins_of
from nbsoftmax.backends.sparse_descent import descend
from nbsoftmax.backends.sparse_design import Layout, SparseDesign
from nbsoftmax.backends.sum import MadeParts, SumBackend
from nbsoftmax.backends.targets import curvature_weights, kernel_target, part_of, targets_in
from nbsoftmax.backends.transposed import Block, blocks_of
from nbsoftmax.kernels import linear, rows, sgd, sparse, sparse_gram, sparse_linear
from nbsoftmax.kernels.partial import PartialTarget
from nbsoftmax.kernels.predict import LOGITS
from nbsoftmax.kernels.rows import aligned
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Float64s, Floats, WeightedTargets

# What adding to a place in a Gram matrix costs, in multiply-adds of a dense product.
SCATTER_COST = 12
# Of the logits of a block of rows. Half of it took 10% longer with 53 classes on a Zen 4. A quarter of it took 15% less
# time with 53 classes on an Intel CPU with a slow third-level cache, and 3% more with 7 classes. It is not used there,
# because each block wakes all threads twice.
BLOCK_BYTES = 2**23
DENSE_BYTES = 2**23  # of rows that are made dense at a time
KEPT_BYTES = 40 * 2**20  # of the probabilities kept for Hessian-vector products


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
    block_bytes : int
        Bytes of the logits of a block of rows.
    """

    def __init__(
        self,
        X: Any,
        target: WeightedTargets,
        *,
        offset: Floats,
        fit_intercept: bool,
        n_threads: int | None,
        block_bytes: int = BLOCK_BYTES,
    ) -> None:
        self.n_samples, self.n_features = X.shape
        self.n_classes = target.gain.size
        self.weight_sum = target.total
        self.fit_intercept = fit_intercept
        self._source = X, target, offset
        self._n_threads, self._block_bytes = n_threads, block_bytes
        self._counts: NDArray[np.int64] | None = None
        self._curvature = curvature_weights(target)
        self._set_dtype(X.dtype)
        n_rows = max(16, block_bytes // (self._layout.stride * self.dtype.itemsize))
        self._blocks = blocks_of(X, offset, n_rows, n_threads)

    def _set_dtype(self, dtype: np.dtype[Any]) -> None:
        """Set the dtype of products, which may be wider than that of X."""
        self.dtype = dtype
        self._layout = Layout(self.n_features, self.n_classes, dtype, self._n_threads)
        # A point and the probabilities there, a block at a time; replaced as a pair, never changed.
        self._kept: tuple[Float64s, list[Floats]] = np.empty(0), []
        self._spare: list[Scratch] = []

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        with self._scratch() as scratch:
            weights = self._weights(params, scratch.w)
            return _total([self._residuals(block, weights, scratch, want_grad=False) for block in self._blocks])

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1)."""
        losses = []
        with self._scratch() as scratch:
            weights = self._weights(params, scratch.w)

            def residuals(block: Block) -> None:
                losses.append(self._residuals(block, weights, scratch, want_grad=True))

            gradient = self._products(residuals, scratch)
        return _total(losses), gradient

    def _residuals(self, block: Block, weights: linear.Weights, scratch: Scratch, *, want_grad: bool) -> Float64s:
        """Write the residuals of a block to the scratch memory; return the losses of its groups of rows."""
        layout = self._layout
        losses = np.zeros(layout.n_groups(block.rows))
        after = self._target(block.part), want_grad, layout.group, scratch.block, losses
        common = block.rows, weights, layout.panels, *after
        layout.run(sparse_linear.residuals, losses.size, layout.work(block.rows), *common)
        return losses

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

    def _hess_vec(self, params: Float64s, v: Float64s, memory: int, kept: list[Floats]) -> Float64s:
        """The product, with probabilities that are already `kept`, or are kept from now on, as `memory` says."""
        with self._scratch() as scratch:
            direction = point = self._weights(v, scratch.v)
            if memory == rows.KEEP or not kept[-1].size:
                point = self._weights(params, scratch.w)

            def changes(block: Block) -> None:
                layout, proba = self._layout, kept[block.number]
                mode = memory if proba.size else rows.FORGET
                after = self._h(block.part), mode, layout.group, proba, scratch.block
                work = layout.work(block.rows) * (1 if mode == rows.KEPT else 2)
                common = block.rows, point, direction, layout.panels, *after
                layout.run(sparse_linear.curved_changes, layout.n_groups(block.rows), work, *common)

            product = self._products(changes, scratch)
        if memory == rows.KEEP:  # set only when complete: another thread may read it
            self._kept = params.copy(), kept
        return product

    def _memory_for(self, params: Float64s) -> tuple[int, list[Floats]]:
        """What the next product does with the probabilities, and the array for those of each block, maybe empty."""
        point, kept = self._kept
        if kept and np.array_equal(point, params):
            return rows.KEPT, kept
        sizes = [block.rows.n_rows * self.n_classes for block in self._blocks]
        fits = np.cumsum(sizes) * self.dtype.itemsize <= KEPT_BYTES
        return rows.KEEP, [np.empty(size if fit else 0, self.dtype) for size, fit in zip(sizes, fits, strict=True)]

    def gram(self, params: Float64s | None = None) -> Float64s:
        """X1^T diag(h mean_k a_k (1 - a_k)) X1 at `params`, or X1^T diag(h) X1, with X1 = (X, 1): (N + 1, N + 1)."""
        numbers = self.n_numbers / max(1, self.n_samples)
        if SCATTER_COST * numbers**2 < self.n_features**2:
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
        places = np.full(self.n_features, -1, np.int32)
        places[features] = np.arange(features.size)
        order, layout = features.size + 1, self._layout
        lower = np.zeros((order, order))
        with self._scratch() as scratch:
            weights = None if params is None else self._weights(params, scratch.w)
            for block in self._blocks:
                by_row = self._mean_variances(block, weights, scratch)
                size = int(block.rows.indptr[-1] - block.rows.indptr[0])
                kept = np.empty(size, self.dtype), np.empty(size, np.int32), np.empty(block.rows.n_rows, np.int32)
                n_tasks = layout.n_groups(block.rows)
                layout.run(sparse_gram.keep_features, n_tasks, size, block.rows, places, layout.group, *kept)
                sides = [np.searchsorted(block.columns.columns, features, side) for side in ("left", "right")]
                common = block.rows, block.columns, np.column_stack(sides), by_row, *kept
                layout.run(sparse_gram.add_gram, order, size * SCATTER_COST, *common, lower.reshape(-1))
        if not self.fit_intercept:
            lower[-1] = 0
        return np.asarray(lower + np.tril(lower, -1).T)

    def _mean_variances(self, block: Block, weights: linear.Weights | None, scratch: Scratch) -> Float64s:
        """h_i mean_k a_ik (1 - a_ik) of the samples of a block; without `weights`, h_i."""
        n_rows, layout = block.rows.n_rows, self._layout
        if weights is None:
            return self._h(block.part) if self._curvature.size else np.ones(n_rows)
        self._variances(block, weights, scratch)
        variances = scratch.block[: n_rows * layout.stride].reshape(n_rows, layout.stride)[:, : self.n_classes]
        return np.asarray(variances.sum(axis=1, dtype=np.float64) / self.n_classes)

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, sum_i h_i a_ik (1 - a_ik) (x_i, 1)^2, (K, N + 1)."""
        with self._scratch() as scratch:
            weights = self._weights(params, scratch.w)

            return self._products(lambda block: self._variances(block, weights, scratch), scratch, squared=True)

    def moments(self, params: Float64s) -> tuple[Float64s, Float64s]:
        """`curvatures`, and the same sums without squares, sum_i h_i a_ik (1 - a_ik) (x_i, 1), (K, N + 1)."""
        with self._scratch() as scratch:
            weights = self._weights(params, scratch.w)

            def variances(block: Block) -> None:
                self._variances(block, weights, scratch)

            squares = self._products(variances, scratch, squared=True)
            known = len(self._blocks) == 1  # the variances of the block are still in memory
            return squares, self._products((lambda block: None) if known else variances, scratch)

    def _variances(self, block: Block, weights: linear.Weights, scratch: Scratch) -> None:
        """Write h_i a_ik (1 - a_ik) of a block to the scratch memory."""
        layout = self._layout
        common = block.rows, weights, layout.panels, self._h(block.part), layout.group, scratch.block
        layout.run(sparse_linear.variances, layout.n_groups(block.rows), layout.work(block.rows), *common)

    def class_grams(self, params: Float64s) -> Float64s:
        """X1^T diag(h a_k (1 - a_k)) X1 for each class k: the diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        return self._dense().class_grams(params)

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        return self._dense().hessian(params)

    def intercept_curvature(self, params: Float64s) -> Float64s | None:
        """sum_i h_i (a_ik [k = l] - a_ik a_il), (K, K); None if those at `params` were not kept for all samples."""
        point, kept = self._kept
        if not kept or not kept[-1].size or not np.array_equal(point, params):
            return None
        parts = ((kept[b.number].reshape(-1, self.n_classes), self._h(b.part)) for b in self._blocks)
        return intercept_curvature(parts, self.n_classes)

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,), and margins z_y - z_k (n, K), of the samples of some rows that have weight."""
        X, target, offset = self._source
        part = slice(*part.indices(self.n_samples)[:2])
        design = SparseDesign(X[part], self.n_classes, self._n_threads)
        intercept = params[:, -1] * self.fit_intercept
        return margins_of(design.predict(params[:, :-1], intercept, LOGITS)[0], offset, target, part)

    def margin_counts(self, params: Float64s, step: Float64s) -> NDArray[np.int64]:
        """Numbers of samples whose margins a step changes, as `separation.counts_of` says."""
        return counts_of(self, self.n_samples, self.n_classes, params, step)

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
        design = samples, self._layout, self._target(slice(None))
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
        with self._scratch() as scratch:
            weights = self._weights(params, scratch.w)
            return np.concatenate([self._mean_variances(block, weights, scratch) for block in self._blocks])

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

    def _target(self, part: slice) -> rows.Target | PartialTarget:
        """Targets of some rows, in the dtype of the products."""
        return kernel_target(targets_in(self.dtype, part_of(self._source[1], part)))

    def _h(self, part: slice) -> Float64s:
        """h_i of some rows, or an empty array if all are 1."""
        return self._curvature[part] if self._curvature.size else self._curvature

    def _weights(self, params: Float64s, w: Floats) -> linear.Weights:
        """The parameters in the dtype of the products, copied to w."""
        if not self.fit_intercept:
            params = np.column_stack([params[:, :-1], np.zeros(self.n_classes)])
        return self._layout.weights(params, w)

    @contextmanager
    def _scratch(self) -> Iterator[Scratch]:
        """Memory for one evaluation, which is kept for later ones: fresh memory costs as much as a pass over it."""
        try:
            scratch = self._spare.pop()
        except IndexError:  # the first evaluation, or another thread is evaluating
            n_rows = max(block.rows.n_rows for block in self._blocks)
            scratch = Scratch(self._layout, n_rows, len(self._blocks) > 1)
        yield scratch
        self._spare.append(scratch)

    def _products(self, write: Callable[[Block], None], scratch: Scratch, *, squared: bool = False) -> Float64s:
        """X1^T D, (n_classes, n_features + 1), where `write` writes D of a block; X is squared if `squared`."""
        layout = self._layout
        sizes = self.n_classes, layout.stride, layout.panels
        common = scratch.block, *sizes, squared, self.fit_intercept, scratch.sums
        out = np.empty((self.n_classes, self.n_features + 1))
        scratch.sums.fill(0)
        for block in self._blocks:
            write(block)
            work = layout.work(block.rows)
            if block is self._blocks[-1]:
                work += out.size
                layout.run(sparse.last_products, sparse.TASKS + 1, work, block.columns, *common, out.reshape(-1))
            else:
                layout.run(sparse.add_products, sparse.TASKS + 1, work, block.columns, *common)
        return out


def _total(losses: list[Float64s]) -> float:
    return float(pairwise_sum(np.concatenate(losses)))


class Scratch:
    """Memory for one evaluation, aligned to cache lines: kernels read rows of classes at random.

    w, v : parameters and a direction by features; made when they are needed
    sums : float64 (n_features + 1, stride), flat; empty if there is only one block
    block : residuals of a block (n_rows, stride), flat
    """

    def __init__(self, layout: Layout, n_rows: int, several_blocks: bool) -> None:
        numbers = np.empty(0, layout.dtype)
        self._new: Callable[[], Floats] = partial(aligned.py_func, layout.size, numbers)
        self.sums: Float64s = aligned.py_func(layout.size if several_blocks else 0, np.empty(0))
        self.block: Floats = aligned.py_func(n_rows * layout.stride + layout.more, numbers)

    @cached_property
    def w(self) -> Floats:
        """Memory for parameters."""
        return self._new()

    @cached_property
    def v(self) -> Floats:
        """Memory for a direction."""
        return self._new()
