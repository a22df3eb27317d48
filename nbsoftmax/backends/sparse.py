"""Sparse rows in memory (CSR)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.backends.refined import RefinedBackend
from nbsoftmax.backends.sum import MadeParts, SumBackend
from nbsoftmax.backends.targets import curvature_weights, part_of
from nbsoftmax.kernels import rows
from nbsoftmax.kernels.chunks import chunks_of_logits
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Float64s, Floats, WeightedTargets

BLOCK_BYTES = 2**22  # of the logits of a block of rows
DENSE_BYTES = 2**23  # of rows that are made dense at a time


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
        self.dtype = X.dtype
        self.fit_intercept = fit_intercept
        self._source = X, target, offset
        self._n_threads, self._block_bytes = n_threads, block_bytes
        self._size = max(16, block_bytes // (self.n_classes * X.dtype.itemsize))  # rows of a block
        self._curvature = curvature_weights(target)

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        return sum(loss for loss, _, _ in self._residuals(params, want_grad=False))

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1)."""
        total, gradient = 0.0, np.zeros(params.shape)
        for loss, part, residuals in self._residuals(params, want_grad=True):
            total += loss
            self._add_products(part, residuals, gradient)
        return total, gradient

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        product = np.zeros(params.shape)
        for part, a in self._proba(params):
            u = self._logits(part, v)
            u -= np.einsum("ik,ik->i", a, u)[:, None]
            self._add_products(part, a * u * self._h(part), product)
        return product

    def gram(self, params: Float64s | None = None) -> Float64s:
        """X1^T diag(h mean_k a_k (1 - a_k)) X1 at `params`, or X1^T diag(h) X1, with X1 = (X, 1): (N + 1, N + 1)."""
        return self._dense().gram(params)

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, sum_i h_i a_ik (1 - a_ik) (x_i, 1)^2, (K, N + 1)."""
        sums = np.zeros(params.shape)
        for part, a in self._proba(params):
            self._add_products(part, a * _others(a) * self._h(part), sums, square=True)
        return sums

    def class_grams(self, params: Float64s) -> Float64s:
        """X1^T diag(h a_k (1 - a_k)) X1 for each class k: the diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        return self._dense().class_grams(params)

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        return self._dense().hessian(params)

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,), and margins z_y - z_k (n, K), of the samples of some rows that have weight."""
        _, target, _ = self._source
        part = slice(*part.indices(self.n_samples)[:2])
        counts = target.labels[part] >= 0
        if target.weight.size:
            counts &= target.weight[part] > 0
        logits = self._logits(part, params).astype(np.float64)
        self._add_offset(part, logits)
        logits, labels = logits[counts], target.labels[part][counts]
        return labels, np.take_along_axis(logits, labels[:, None], axis=1) - logits

    def with_features(self, features: NDArray[np.int64]) -> SparseBackend:
        """The same sums over only these features, whose columns are copied, and computed in float64 throughout."""
        X, target, offset = self._source
        return self._converted(X[:, features], target, offset)

    def in_float64(self, *, hessian: bool = False) -> SparseBackend | RefinedBackend:
        """The same sums by products in float64: loss and gradient, and if `hessian` the other sums too."""
        if self.dtype == np.float64:
            return self
        return RefinedBackend(self, self._sum_of(self._blocks_in_float64), hessian=hessian)

    def _sum_of(self, make: Any) -> SumBackend:
        sizes = {"n_samples": self.n_samples, "n_features": self.n_features, "n_classes": self.n_classes}
        return SumBackend(MadeParts(make), **sizes, weight_sum=self.weight_sum)

    def _dense(self) -> SumBackend:
        """The same sums over dense blocks of rows."""

        def make() -> Iterator[DenseBackend]:
            X, target, offset = self._source
            size = max(16, DENSE_BYTES // (X.dtype.itemsize * max(1, self.n_features)))
            for part in self._parts(size):
                yield DenseBackend(
                    self._rows(part).toarray(),
                    part_of(target, part),
                    offset=offset[part] if offset.size else offset,
                    fit_intercept=self.fit_intercept,
                    n_threads=self._n_threads,
                )

        return self._sum_of(make)

    def _blocks_in_float64(self) -> Iterator[SparseBackend]:
        _, target, offset = self._source
        for part in self._parts(self._size):
            yield self._converted(self._rows(part), part_of(target, part), offset[part] if offset.size else offset)

    def _converted(self, X: Any, target: WeightedTargets, offset: Floats) -> SparseBackend:
        proba, gain, floor = (np.asarray(a, np.float64) for a in (target.proba, target.gain, target.floor))
        return SparseBackend(
            X.astype(np.float64, copy=False),
            replace(target, proba=proba, gain=gain, floor=floor),
            offset=offset.astype(np.float64, copy=False),
            fit_intercept=self.fit_intercept,
            n_threads=self._n_threads,
            block_bytes=self._block_bytes,
        )

    def _parts(self, size: int) -> Iterator[slice]:
        """Blocks of at most `size` rows; one empty block if there are no rows."""
        for start in range(0, max(1, self.n_samples), size):
            yield slice(start, min(self.n_samples, start + size))

    def _rows(self, part: slice) -> Any:
        """Some rows of X, without a copy of their numbers."""
        from scipy.sparse import csr_array  # slow to import: loaded when it is used

        X = self._source[0]
        low, high = X.indptr[part.start], X.indptr[part.stop]
        arrays = X.data[low:high], X.indices[low:high], X.indptr[part.start : part.stop + 1] - low
        return csr_array(arrays, shape=(part.stop - part.start, self.n_features))

    def _h(self, part: slice) -> Any:
        """h_i of some rows, as a column; 1 if all are."""
        return self._curvature[part, None].astype(self.dtype) if self._curvature.size else self.dtype.type(1)

    def _logits(self, part: slice, params: Float64s) -> Floats:
        """The logits of some rows, without offset."""
        weights = np.ascontiguousarray(params[:, :-1].T, self.dtype)
        logits = np.ascontiguousarray(self._rows(part) @ weights)
        if self.fit_intercept:
            logits += params[:, -1].astype(self.dtype)
        return logits

    def _add_offset(self, part: slice, logits: Floats) -> None:
        offset = self._source[2]
        if offset.size:
            logits += offset[part]

    def _proba(self, params: Float64s) -> Iterator[tuple[slice, Floats]]:
        """The probabilities of each block."""
        for part in self._parts(self._size):
            z = self._logits(part, params)
            self._add_offset(part, z)
            n_chunks = chunks_of_logits.py_func(z.size)
            flat, n_classes = z.reshape(-1), self.n_classes
            launch(rows.softmax, n_chunks, z.size * EXP_WORK, self._n_threads, flat, flat, n_classes, len(z), n_chunks)
            yield part, z

    def _residuals(self, params: Float64s, *, want_grad: bool) -> Iterator[tuple[float, slice, Floats]]:
        """Loss and residuals of each block, (rows, K)."""
        for part in self._parts(self._size):
            z = self._logits(part, params)
            self._add_offset(part, z)
            target = part_of(self._source[1], part)
            flat = z.reshape(-1)
            of_block = rows.Target(
                target.labels, target.proba.reshape(-1), target.gain, target.floor, target.weight, target.kind
            )
            partial = np.zeros(chunks_of_logits.py_func(z.size))
            sizes = flat, self.n_classes, len(z)
            after = of_block, 1.0, flat[:0], want_grad, flat, partial
            launch(rows.cross_entropy, partial.size, z.size * EXP_WORK, self._n_threads, *sizes, *after)
            yield float(pairwise_sum(partial)), part, z

    def _add_products(self, part: slice, d: Floats, sums: Float64s, *, square: bool = False) -> None:
        """Add D^T (X, 1) over some rows to `sums`; X and 1 squared if `square`."""
        X = self._rows(part)
        sums[:, :-1] += ((X.multiply(X).tocsr() if square else X).T @ d).T
        if self.fit_intercept:
            sums[:, -1] += d.sum(axis=0, dtype=np.float64)


def _others(a: Floats) -> Floats:
    """1 - a, without cancellation where a > 1/2: there, the sum of the other probabilities of the row."""
    likely = a > 0.5
    others = np.where(likely, 0, a).sum(axis=1, keepdims=True)
    return np.where(likely, others, 1 - a)
