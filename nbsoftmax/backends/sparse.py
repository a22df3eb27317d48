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
from nbsoftmax.backends.refined import RefinedBackend
from nbsoftmax.backends.sum import MadeParts, SumBackend
from nbsoftmax.backends.targets import curvature_weights, part_of, targets_in
from nbsoftmax.backends.transposed import Block, blocks_of
from nbsoftmax.kernels import linear, rows, sparse, sparse_linear
from nbsoftmax.kernels.lang.panels import padded, panels_of
from nbsoftmax.kernels.lang.simd import VECTOR_BYTES
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.kernels.sparse_linear import group_rows
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Float64s, Floats, WeightedTargets

BLOCK_BYTES = 2**22  # of the logits of a block of rows
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
        self._curvature = curvature_weights(target)
        self._set_dtype(X.dtype)
        n_rows = max(16, block_bytes // (self._stride * self.dtype.itemsize))
        self._blocks = blocks_of(X, offset, n_rows, n_threads)

    def _set_dtype(self, dtype: np.dtype[Any]) -> None:
        """Set the dtype of products, which may be wider than that of X."""
        self.dtype = dtype
        self._stride = padded(self.n_classes, dtype.itemsize)
        self._panels = panels_of(self.n_classes, dtype.itemsize)
        self._group = group_rows(self._stride, dtype.itemsize)
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
        losses = np.zeros(self._n_groups(block))
        after = self._target(block.part), want_grad, self._group, scratch.block, losses
        self._run(sparse_linear.residuals, losses.size, self._work(block), block.rows, weights, self._panels, *after)
        return losses

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        memory, kept = self._memory_for(params)
        with self._scratch() as scratch:
            direction = point = self._weights(v, scratch.v)
            if memory == rows.KEEP or not kept[-1].size:
                point = self._weights(params, scratch.w)

            def changes(block: Block) -> None:
                proba = kept[block.number]
                mode = memory if proba.size else rows.FORGET
                after = self._h(block.part), mode, self._group, proba, scratch.block
                work = self._work(block) * (1 if mode == rows.KEPT else 2)
                common = block.rows, point, direction, self._panels, *after
                self._run(sparse_linear.curved_changes, self._n_groups(block), work, *common)

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
        return self._dense().gram(params)

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, sum_i h_i a_ik (1 - a_ik) (x_i, 1)^2, (K, N + 1)."""
        with self._scratch() as scratch:
            weights = self._weights(params, scratch.w)

            def variances(block: Block) -> None:
                after = self._h(block.part), self._group, scratch.block
                common = block.rows, weights, self._panels, *after
                self._run(sparse_linear.variances, self._n_groups(block), self._work(block), *common)

            return self._products(variances, scratch, squared=True)

    def class_grams(self, params: Float64s) -> Float64s:
        """X1^T diag(h a_k (1 - a_k)) X1 for each class k: the diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        return self._dense().class_grams(params)

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        return self._dense().hessian(params)

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,), and margins z_y - z_k (n, K), of the samples of some rows that have weight."""
        target = self._source[1]
        part = slice(*part.indices(self.n_samples)[:2])
        counts = target.labels[part] >= 0
        if target.weight.size:
            counts &= target.weight[part] > 0
        X, _, offset = self._source
        logits = X[part] @ params[:, :-1].T.astype(X.dtype)
        logits = (logits + params[:, -1].astype(X.dtype) if self.fit_intercept else logits).astype(np.float64)
        if offset.size:
            logits += offset[part]
        logits, labels = logits[counts], target.labels[part][counts]
        return labels, np.take_along_axis(logits, labels[:, None], axis=1) - logits

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
        out = np.empty(self.n_samples)
        with self._scratch() as scratch:
            weights = self._weights(params, scratch.w)
            for block in self._blocks:
                after = self._h(block.part), self._group, scratch.block
                common = block.rows, weights, self._panels, *after
                self._run(sparse_linear.variances, self._n_groups(block), self._work(block), *common)
                d = scratch.block[: block.rows.n_rows * self._stride].reshape(-1, self._stride)[:, : self.n_classes]
                out[block.part] = d.mean(axis=1, dtype=np.float64)
        return out

    def _sum_of(self, make: Any) -> SumBackend:
        sizes = {"n_samples": self.n_samples, "n_features": self.n_features, "n_classes": self.n_classes}
        return SumBackend(MadeParts(make), **sizes, weight_sum=self.weight_sum)

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

    def _target(self, part: slice) -> rows.Target:
        """Targets of some rows, in the dtype of the products."""
        target = targets_in(self.dtype, part_of(self._source[1], part))
        proba = target.proba.reshape(-1)
        return rows.Target(target.labels, proba, target.gain, target.floor, target.weight, target.kind)

    def _h(self, part: slice) -> Float64s:
        """h_i of some rows, or an empty array if all are 1."""
        return self._curvature[part] if self._curvature.size else self._curvature

    def _work(self, block: Block) -> int:
        """Multiply-adds of the logits of a block, and of their exponentials."""
        n_numbers = int(block.rows.indptr[-1] - block.rows.indptr[0])
        return int(self._stride * (n_numbers + EXP_WORK * block.rows.n_rows))

    def _weights(self, params: Float64s, w: Floats) -> linear.Weights:
        """The parameters in the dtype of the products, copied to w, (n_features + 1, stride)."""
        if not self.fit_intercept:
            params = np.column_stack([params[:, :-1], np.zeros(self.n_classes)])
        n_tasks = -(-(self.n_features + 1) // sparse.COLUMNS)
        sizes = self.n_features, self.n_classes, self._stride
        self._run(sparse.by_features, n_tasks, 2 * w.size, np.ascontiguousarray(params).reshape(-1), *sizes, w)
        return linear.weights_of(w, self._stride, self.n_classes, linear.TILES)

    @contextmanager
    def _scratch(self) -> Iterator[Scratch]:
        """Memory for one evaluation, which is kept for later ones: fresh memory costs as much as a pass over it."""
        try:
            scratch = self._spare.pop()
        except IndexError:  # the first evaluation, or another thread is evaluating
            order, stride = self.n_features + 1, self._stride
            n_rows = max(block.rows.n_rows for block in self._blocks)
            scratch = Scratch(order * stride, n_rows * stride, len(self._blocks) > 1, self.dtype)
        yield scratch
        self._spare.append(scratch)

    def _products(self, write: Callable[[Block], None], scratch: Scratch, *, squared: bool = False) -> Float64s:
        """X1^T D, (n_classes, n_features + 1), where `write` writes D of a block; X is squared if `squared`."""
        sizes = self.n_classes, self._stride, self._panels
        common = scratch.block, *sizes, squared, self.fit_intercept, scratch.sums
        out = np.empty((self.n_classes, self.n_features + 1))
        scratch.sums.fill(0)
        for block in self._blocks:
            write(block)
            work = self._work(block)
            if block is self._blocks[-1]:
                work += out.size
                self._run(sparse.last_products, sparse.TASKS + 1, work, block.columns, *common, out.reshape(-1))
            else:
                self._run(sparse.add_products, sparse.TASKS + 1, work, block.columns, *common)
        return out

    def _n_groups(self, block: Block) -> int:
        return int(-(-block.rows.n_rows // self._group))

    def _run(self, kernel: Any, n_tasks: int, work: int, *arguments: Any) -> None:
        launch(kernel, n_tasks, work, self._n_threads, *arguments)


def _total(losses: list[Float64s]) -> float:
    return float(pairwise_sum(np.concatenate(losses)))


class Scratch:
    """Memory for one evaluation.

    w, v : parameters and a direction by features, flat (n_features + 1, stride); made when they are needed
    sums : float64, of the shape of w; empty if there is only one block
    block : residuals of a block (n_rows, stride)

    Each has a vector more, because kernels load whole vectors.
    """

    def __init__(self, n_params: int, n_block: int, needs_sums: bool, dtype: np.dtype[Any]) -> None:
        more = VECTOR_BYTES // 4
        self._new = partial(np.empty, n_params + more, dtype)
        self.sums = np.empty(n_params + more if needs_sums else 0)
        self.block = np.empty(n_block + more, dtype)

    @cached_property
    def w(self) -> Floats:
        """Memory for parameters."""
        return self._new()

    @cached_property
    def v(self) -> Floats:
        """Memory for a direction."""
        return self._new()
