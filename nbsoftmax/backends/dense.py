"""Dense rows in memory, summed by the CPU kernels."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends import by_classes, by_panels
from nbsoftmax.backends.design import Design
from nbsoftmax.backends.face import face_hessian
from nbsoftmax.backends.kept import intercept_curvature
from nbsoftmax.backends.moments import Moments, moments
from nbsoftmax.backends.refined import RefinedBackend
from nbsoftmax.backends.separation import counts_of, margins_of
from nbsoftmax.backends.sum import MadeParts, SumBackend
from nbsoftmax.backends.targets import curvature_weights, kernel_target, part_of, targets_in
from nbsoftmax.kernels import gram, linear, rows, sgd
from nbsoftmax.kernels.chunks import CHUNK_STEP, PARTIAL_BYTES
from nbsoftmax.kernels.predict import LOGITS
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Float64s, Floats, WeightedTargets

# A gradient larger than this is not kept once for each chunk; instead the classes are split over threads, and a block's
# logits, of at most so many bytes, are shared by all. (Measured on two threads for 1000 x 1000: chunks 16% faster.)
SPLIT_BYTES = PARTIAL_BYTES // 4
SPLIT_CLASSES = 8192  # where a chunk's own logits would be megabytes for each thread
LOGITS_BYTES = 24 * 2**20
# Gram matrices larger together than this are not kept once for each chunk either. (Measured: up to there register tiles
# are as fast as NumPy's X.T @ X, or faster.)
GRAM_SPLIT_BYTES = SPLIT_BYTES
PACK_BYTES = 16 * 2**20  # samples that such a product packs at a time
# Multiply-adds of a mini-batch that justify another chunk, and the largest number of chunks. Smaller batches run in one
# thread, because waking another thread takes as long as the step.
BATCH_CHUNK_WORK, MOST_BATCH_CHUNKS = 2**22, 16
# Size of the blocks of float32 rows that are converted at a time for products in float64.
CONVERTED_BYTES = 8 * 2**20
# What chunks' sums and the probabilities kept for Hessian-vector products may take together.
MEMORY_BYTES = 60 * 2**20


class DenseBackend:
    """Rows of one float32 or float64 array of any strides, which is not copied.

    Parameters
    ----------
    X : ndarray (n_samples, n_features)
    target : WeightedTargets
    offset : ndarray (n_samples, n_classes) of the dtype of X, added to the logits; (0, 0) for none
    fit_intercept : bool
    n_threads : int or None
        None: as many as Numba would use.
    """

    def __init__(
        self, X: Floats, target: WeightedTargets, *, offset: Floats, fit_intercept: bool, n_threads: int | None
    ) -> None:
        self.n_samples, self.n_features = X.shape
        self.n_classes = target.gain.size
        self.weight_sum = target.total
        self.dtype = X.dtype
        self.fit_intercept = fit_intercept
        self._source = X, target, offset
        self._design = Design(X, self.n_classes, offset, n_threads)
        self._target = kernel_target(target)
        self._curvature = curvature_weights(target)
        # A point and the probabilities (m * K,) there, or an empty array; replaced as a pair, never changed. For two
        # classes with one logit, a (1 - a) takes the place of the probabilities, (m,).
        self._kept: tuple[Float64s, NDArray[Any]] = np.empty(0), np.empty(0, X.dtype)
        size = 8 * self.n_classes * (self.n_features + 1)  # bytes of one gradient
        self._n_chunks, self._block = 1, 0
        if size > SPLIT_BYTES or self.n_classes >= SPLIT_CLASSES:  # the classes are split over threads, block by block
            self._design.form = linear.BLAS
            rows_of_block = LOGITS_BYTES // (self._design.stride * X.itemsize) // 16 * 16
            self._block = max(16, min(2048, rows_of_block, -(-self.n_samples // 16) * 16))
        else:
            self._n_chunks = self._design.n_chunks(PARTIAL_BYTES // size)
        # The rows as the fused kernels read them.
        one_logit = self.n_classes == 2 and not self._block
        self._fused = Design(X, 2, offset, n_threads, linear.LOGIT) if one_logit else self._design
        self._kept_bytes = MEMORY_BYTES - self._n_chunks * size
        # As `rows.chunk_bounds` cuts them, at most; blocks are not cut.
        step = CHUNK_STEP * self._n_chunks
        self._rows_in_chunk = self.n_samples if self._block else -(-self.n_samples // step) * CHUNK_STEP

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        return self._loss(params, np.empty(0), want_grad=False)

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1), in one pass over the rows."""
        gradient = self._new_gradient()
        loss = self._loss(params, gradient, want_grad=True)
        return loss, self._summed(gradient)

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v, in one pass over the rows."""
        gradient = self._new_gradient()
        point, direction = (self._fused.weights(p, fit_intercept=self.fit_intercept) for p in (params, v))
        memory, kept = self._memory_for(params)
        if self._block:
            by_classes.hess_vec(
                self._design,
                point,
                direction,
                self._curvature,
                fit_intercept=self.fit_intercept,
                size=self._block,
                memory=memory,
                kept=kept,
                gradient=gradient,
            )
        else:
            common = self._fused.rows, point, direction, self._curvature, self.fit_intercept
            n, work = self._n_chunks, self._fused.cost(3)
            self._fused.run(linear.hess_vec, n, work, n, *common, memory, kept, gradient)
        if memory == rows.KEEP:  # set only when complete: another thread may read it
            self._kept = params.copy(), kept
        return self._summed(gradient)

    def gram(self, params: Float64s | None = None) -> Float64s:
        """X1^T diag(h mean_k a_k (1 - a_k)) X1 at `params`, or X1^T diag(h) X1, with X1 = (X, 1): (N + 1, N + 1)."""
        equal = params is not None and not params.any() and not self._source[2].size  # all probabilities are 1 / K
        matrix: Float64s = self._grams(gram.UNIT if params is None or equal else gram.MEAN, params)[0]
        return matrix * ((self.n_classes - 1) / self.n_classes**2) if equal else matrix

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, sum_i h_i a_ik (1 - a_ik) (x_i, 1)^2, (K, N + 1)."""
        n_chunks = self._design.n_chunks(max(1, PARTIAL_BYTES // (8 * params.size)))
        sums = np.zeros((n_chunks, *params.shape))
        common = self._design.rows, self._weights(params), self._curvature, self.fit_intercept
        self._design.run(gram.curvatures, n_chunks, self._design.cost(2), n_chunks, *common, sums.reshape(-1))
        total: Float64s = sums.sum(axis=0)
        return total

    def class_grams(self, params: Float64s) -> Float64s:
        """X1^T diag(h a_k (1 - a_k)) X1 for each class k: the diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        return self._grams(gram.EACH, params)

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        return hessian_of_pairs(self._grams(gram.PAIRS, params), self.n_classes)

    def intercept_curvature(self, params: Float64s) -> Float64s | None:
        """sum_i h_i (a_ik [k = l] - a_ik a_il), (K, K); None if those at `params` were not kept for all samples."""
        point, kept = self._kept
        if kept.size < self._n_chunks * self._rows_in_chunk * self._n_columns or not np.array_equal(point, params):
            return None

        def parts() -> Iterator[tuple[Floats, Float64s]]:
            for chunk, proba in enumerate(kept.reshape(self._n_chunks, -1, self._n_columns)):
                low, high = rows.chunk_bounds.py_func(chunk, self._n_chunks, self.n_samples)
                yield proba[: high - low], self._curvature[low:high]

        return intercept_curvature(parts(), self.n_classes)

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,), and margins z_y - z_k (n, K), of the samples of some rows that have weight."""
        _, target, offset = self._source
        return margins_of(self._logits(params, part), offset, target, part)

    def _logits(self, params: Float64s, part: slice) -> Floats:
        """The logits of some rows, without offset."""
        X, _, offset = self._source
        design = Design(X[part], self.n_classes, offset[:0], self._design.n_threads)
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
        params = state.params.reshape(self.n_classes, self.n_features + 1)
        weights, target, fit_intercept = self._weights(params), self._target, self.fit_intercept
        batch_size = min(batch_size, order.size)
        batch_work = 2 * batch_size * params.size
        n_chunks = min(batch_work // BATCH_CHUNK_WORK, MOST_BATCH_CHUNKS, PARTIAL_BYTES // (8 * params.size))
        n_chunks = max(1, n_chunks // 2 * 2)
        gradient, losses, partial = np.zeros(n_chunks * params.size), np.empty(rates.size), np.empty(n_chunks)
        run, common = self._design.run, self._design.rows
        if n_chunks == 1:
            steps = weights, target, state, rates, rule, n_before, fit_intercept, gradient, losses
            run(sgd.descend, 1, 0, common, order, batch_size, *steps)
            return losses
        for t, rate in enumerate(rates):
            batch, step = order[t * batch_size : (t + 1) * batch_size], n_before + t + 1
            scale, share = rule.scale / batch_size, batch.size / batch_size
            sums = weights, target, scale, fit_intercept, gradient, partial
            run(sgd.batch_gradients, n_chunks, batch_work, common, batch, *sums)
            losses[t] = pairwise_sum(partial)
            change = weights, gradient, n_chunks, state, rate, rule, share, step, fit_intercept
            run(sgd.update, self.n_classes, (n_chunks + 8) * params.size, *change)
        return losses

    def feature_moments(self, centre: Float64s) -> Moments:
        """Sums of the features and their squares, as differences from `centre`; see `moments`."""
        return moments(self._source[0], self._curvature, centre)

    def with_features(self, features: NDArray[np.int64]) -> DenseBackend:
        """The same sums over only these features, which are copied, and computed in float64 throughout."""
        X, target, offset = self._source
        some = np.empty((len(X), features.size))
        step = max(1, CONVERTED_BYTES // (8 * max(1, features.size)))
        for start in range(0, len(X), step):  # no copy of all rows in the dtype of X
            some[start : start + step] = np.take(X[start : start + step], features, axis=1)
        return self._converted(some, target, offset)

    def in_float64(self, *, hessian: bool = False) -> DenseBackend | RefinedBackend:
        """The same sums by products in float64: loss and gradient, and if `hessian` the other sums too.

        X is not copied: blocks of its rows are converted one after another.
        """
        if self.dtype == np.float64:
            return self
        sizes = {"n_samples": self.n_samples, "n_features": self.n_features, "n_classes": self.n_classes}
        precise = SumBackend(MadeParts(self._blocks), **sizes, weight_sum=self.weight_sum)
        return RefinedBackend(self, precise, hessian=hessian)

    def _blocks(self) -> Iterator[DenseBackend]:
        """Blocks of rows in float64, each a backend, to be dropped before the next one: all use the same memory.

        On Dask's workers, where freed memory goes back to the system at once, new memory for each block took as long as
        the sums.
        """
        X, target, offset = self._source
        size = max(16, CONVERTED_BYTES // (8 * max(1, self.n_features)))
        memory = np.empty((min(size, self.n_samples), self.n_features))
        for start in range(0, max(1, self.n_samples), size):  # one block if there are no rows
            part = slice(start, start + size)
            block = memory[: len(X[part])]
            block[...] = X[part]
            yield self._converted(block, part_of(target, part), offset[part] if offset.size else offset)

    def _converted(self, X: Floats, target: WeightedTargets, offset: Floats) -> DenseBackend:
        return DenseBackend(
            X.astype(np.float64, copy=False),
            targets_in(np.float64, target),
            offset=offset.astype(np.float64, copy=False),
            fit_intercept=self.fit_intercept,
            n_threads=self._design.n_threads,
        )

    def _grams(self, what: int, params: Float64s | None) -> Float64s:
        n, order = gram.n_matrices(what, self.n_classes), self.n_features + 1
        weights = self._weights(np.zeros((self.n_classes, order)) if params is None else params)
        size = 8 * n * order * order
        work = self.n_samples * n * order * order // 2
        if size > GRAM_SPLIT_BYTES:
            sums = np.zeros(n * order * order)
            rows_of_block = PACK_BYTES // (order * self.dtype.itemsize) // 64 * 64
            rows_of_block = max(64, min(2048, rows_of_block, -(-self.n_samples // 64) * 64))
            options = {"n_columns": n, "size": rows_of_block, "sums": sums}
            by_panels.gram(self._design, weights, what, self._curvature, fit_intercept=self.fit_intercept, **options)
        else:
            n_chunks = min(self._design.n_chunks(PARTIAL_BYTES // size), max(1, self.n_samples // 64))
            sums = np.zeros(n_chunks * n * order * order)
            common = self._design.rows, weights, what, self._curvature, self.fit_intercept, n
            self._design.run(gram.gram, n_chunks, work, n_chunks, *common, sums)
            sums = sums.reshape(n_chunks, -1).sum(axis=0)
        matrices = sums.reshape(n, order, order)  # of which the kernels write the upper triangles
        return np.where(np.tri(order, dtype=bool), matrices.transpose(0, 2, 1), matrices)

    def _memory_for(self, params: Float64s) -> tuple[int, NDArray[Any]]:
        """What the next product does with the probabilities, and the array for them (empty if they are not kept).

        Computing them is a third of a product's work, storing them a twentieth, and conjugate gradients need many
        products at one point: those of as many rows as fit are kept from the first product on.
        """
        point, kept = self._kept
        if kept.size and np.array_equal(point, params):
            return rows.KEPT, kept
        fit = self._kept_bytes // (self._n_chunks * self._n_columns * self.dtype.itemsize)
        n_rows = self._n_chunks * max(0, min(fit, self._rows_in_chunk))
        return (rows.KEEP if n_rows > 0 else rows.FORGET), np.empty(n_rows * self._n_columns, self.dtype)

    def _loss(self, params: Float64s, gradient: Float64s, *, want_grad: bool) -> float:
        fused, target, fit_intercept = self._fused, self._target, self.fit_intercept
        weights = fused.weights(params, fit_intercept=fit_intercept)
        if self._block:
            options = {"fit_intercept": fit_intercept, "want_grad": want_grad}
            return by_classes.loss_and_grad(
                self._design, weights, target, **options, size=self._block, gradient=gradient
            )
        common = fused.rows, weights, target, fit_intercept, want_grad
        partial = np.zeros(self._n_chunks)
        fused.run(linear.loss_and_grad, self._n_chunks, fused.cost(2), *common, partial, gradient)
        return float(pairwise_sum(partial))

    def _weights(self, params: Float64s) -> linear.Weights:
        return self._design.weights(params, fit_intercept=self.fit_intercept)

    @property
    def _n_columns(self) -> int:
        """Numbers that a sample has in the fused kernels: 1 for two classes with one logit, else n_classes."""
        return 1 if self._fused.form == linear.LOGIT else self.n_classes

    def _new_gradient(self) -> Float64s:
        return np.zeros(self._n_chunks * self._n_columns * (self.n_features + 1))

    def _summed(self, gradient: Float64s) -> Float64s:
        """The chunks' gradients, added in order; those of two classes differ in their signs alone."""
        chunks = gradient.reshape(self._n_chunks, -1, self.n_features + 1)
        total: Float64s = chunks[0] if self._n_chunks == 1 else chunks.sum(axis=0)
        return np.concatenate([-total, total]) if self._fused.form == linear.LOGIT else total


def hessian_of_pairs(blocks: Float64s, n_classes: int) -> Float64s:
    """The Hessian (K, N + 1, K, N + 1) from X1^T diag(h a_k a_l) X1 for each pair k < l."""
    order = blocks.shape[-1]
    matrix = np.zeros((n_classes, order, n_classes, order))
    for (a, b), block in zip(combinations(range(n_classes), 2), blocks, strict=True):
        matrix[a, :, b], matrix[b, :, a] = -block, -block
        matrix[a, :, a] += block  # a sum of positive terms, where a_k (1 - a_k) would cancel
        matrix[b, :, b] += block
    return matrix
