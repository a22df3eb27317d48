"""Many classes on a GPU: chunks of rows go through logits, a row kernel and sums.

Only a chunk's logits exist at a time. Both products are those of cuBLAS where it is installed, and else tiles of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from nbsoftmax.backends.cuda.blas import Blas
from nbsoftmax.backends.cuda.rows import DeviceRows
from nbsoftmax.backends.cuda.sums import NARROW_BYTES, BlasSums, TileSums
from nbsoftmax.backends.cuda.workspace import Chunk
from nbsoftmax.kernels.cuda import curvature, products, rows, sums
from nbsoftmax.validation import Float64s

LOGITS_BYTES = 2**24  # of a chunk of rows: they stay in the second cache between the kernels


class Tiled:
    """Every sum, for any number of classes and features.

    Parameters
    ----------
    rows : DeviceRows
    fit_intercept : bool
    blas : sequence of Blas
        One for each stream; empty where only tiles multiply.
    """

    def __init__(self, rows: DeviceRows, *, fit_intercept: bool, blas: Sequence[Blas]) -> None:
        self._rows, self._work, self._fit_intercept, self._blas = rows, rows.work, fit_intercept, blas

    def workspace(self) -> int:
        """Bytes for what is neither X nor the target, at most about."""
        n_classes, n_features, itemsize = self._rows.n_classes, self._rows.n_features, self._work.dtype.itemsize
        matrix = 8 * max(n_classes, n_features + 1) * (n_features + 1)
        in_parts = 3 * (matrix + 8 * products.BLOCKS * products.SIDE**2)  # of two streams, and of ranges of parts
        logits = min(LOGITS_BYTES, self._rows.n_samples * n_classes * itemsize)
        by_blas = 2 * (matrix + min(NARROW_BYTES, self._rows.n_samples * matrix // products.BLAS_ROWS) + matrix // 2)
        most: int = 4 * logits + in_parts + (by_blas if self._blas else 0)
        return most

    def evaluate(self, params: Float64s, *, want_grad: bool) -> tuple[float, Float64s]:
        """The loss, and if `want_grad` its gradient."""
        work, gradients = self._work, self._gradients()
        self._fill("point", params)
        begin = partial(self._begin_loss, gradients if want_grad else None)
        work.finish(begin, key=("loss", want_grad), fixed=self._rows.resident)
        loss = float(work.brought("losses", self._n_losses()).sum())
        return loss, self._without_intercept(gradients.total()) if want_grad else np.empty(0)

    def _begin_loss(self, gradients: TileSums | BlasSums | None) -> None:
        work, n_classes, size = self._work, self._rows.n_classes, self._rows_at_once()
        point = self._send("point")
        losses = work.reserve("losses", self._n_losses(), np.float64)
        of_chunk = sums.blocks_for(size)
        if gradients is not None:
            gradients.start()
        for number, chunk in enumerate(self._rows.chunks(size)):
            z, by_row = self._buffer("z", chunk), work.reserve(("by_row", chunk.slot), chunk.n, np.float64)
            self._logits(chunk, point, z, offset=True)
            plan = rows.plan_cross_entropy(work.dtype, chunk.n, n_classes)
            weight, one = self._rows.of("weight", chunk), work.dtype.type(1)
            target = *self._rows.target_of(chunk), weight, self._rows.kind, one
            work.run(chunk, plan, z, *target, by_row, gradients is not None, z, chunk.n, n_classes)
            out = losses[number * of_chunk : (number + 1) * of_chunk]
            work.run(chunk, rows.Plan(sums.sum_in_order, of_chunk, sums.THREADS), by_row, out, chunk.n)
            if gradients is not None:
                gradients.add(chunk, z)
        if gradients is not None:
            gradients.bring()
        if not self._rows.resident:
            work.device.wait(work.streams[1])
        work.bring("losses", losses)

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        gradients = self._gradients()
        self._fill("point", params)
        self._fill("direction", v)
        begin = partial(self._begin_product, gradients)
        self._work.finish(begin, key="product", fixed=self._rows.resident)
        return self._without_intercept(gradients.total())

    def _begin_product(self, gradients: TileSums | BlasSums) -> None:
        point, direction = self._send("point"), self._send("direction")
        gradients.start()
        for chunk in self._rows.chunks(self._rows_at_once()):
            z, u = self._buffer("z", chunk), self._buffer("u", chunk)
            self._logits(chunk, point, z, offset=True)
            self._logits(chunk, direction, u, offset=False)
            self._curve(curvature.MOVED, chunk, z, u, self._work.held["ones"])
            gradients.add(chunk, u)
        gradients.bring()

    def gram(self, params: Float64s | None, what: int, k: int = 0, other: int = 0) -> Float64s:
        """X1^T diag(w) X1, (N + 1, N + 1): w_i = h_i, or at `params` what `kernels.cuda.curvature` makes."""
        n_features = self._rows.n_features
        squares = TileSums(self._rows, self._rows_at_once(), n_features, n_features, 1)
        if params is not None:
            self._fill("point", params)

        def begin() -> None:
            point = None if params is None else self._send("point")
            squares.start()
            for chunk in self._rows.chunks(self._rows_at_once()):
                weight = self._rows.of("curvature", chunk)
                if point is not None:
                    z, weight = self._buffer("z", chunk), self._work.reserve(("w", chunk.slot), chunk.n, np.float64)
                    self._logits(chunk, point, z, offset=True)
                    self._curve(what, chunk, z, self._work.held["none"], weight, k, other)
                squares.add(chunk, chunk.x, weight=weight)
            squares.bring()

        self._work.finish(begin)
        matrix = squares.total()
        upper = np.triu(matrix)  # both halves are made; one decides, so that the matrix is symmetric
        matrix = upper + np.triu(upper, 1).T
        if not self._fit_intercept:
            matrix[-1], matrix[:, -1] = 0, 0
        return matrix

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, sum_i h_i a_ik (1 - a_ik) (x_i, 1)^2, (K, N + 1)."""
        at_once = self._rows_at_once()
        squares = TileSums(self._rows, at_once, self._rows.n_classes, self._rows.n_features)
        self._fill("point", params)

        def begin() -> None:
            point = self._send("point")
            squares.start()
            for chunk in self._rows.chunks(at_once):
                z, u = self._buffer("z", chunk), self._buffer("u", chunk)
                self._logits(chunk, point, z, offset=True)
                self._curve(curvature.EACH, chunk, z, u, self._work.held["ones"])
                squares.add(chunk, u, squared=True)
            squares.bring()

        self._work.finish(begin)
        return self._without_intercept(squares.total())

    def _rows_at_once(self) -> int:
        most = self._rows.n_samples if self._rows.resident else self._rows.rows_sent
        rows_of_chunk: int = max(1, min(most, LOGITS_BYTES // (self._rows.n_classes * self._work.dtype.itemsize)))
        return rows_of_chunk

    def _n_losses(self) -> int:
        size = self._rows_at_once()
        count: int = -(-self._rows.n_samples // size) * sums.blocks_for(size)
        return count

    def _fill(self, name: str, params: Float64s) -> None:
        """Prepare W (n_classes, n_features) and b for the device."""
        n_classes, weights = self._rows.n_classes, self._rows.n_classes * self._rows.n_features
        staged = self._work.staged(name, weights + n_classes, self._work.dtype)
        staged[:weights].reshape(n_classes, -1)[:] = params[:, :-1]
        staged[weights:] = params[:, -1] if self._fit_intercept else 0

    def _send(self, name: str) -> tuple[Any, Any]:
        """Begin to copy W and b to the device."""
        n = self._rows.n_classes * self._rows.n_features
        there = self._work.send(name, n + self._rows.n_classes)
        return there[:n], there[n:]

    def _logits(self, chunk: Chunk, point: tuple[Any, Any], z: Any, *, offset: bool) -> None:
        work, n, ld = self._work, chunk.n, self._rows.ld
        n_features, n_classes = self._rows.n_features, self._rows.n_classes
        added = self._rows.of("offset", chunk, n_classes) if offset else work.held["none"]
        if self._blas:  # columns of BLAS are our rows: Z^T = W X^T
            work.run_elementwise(products.biases, chunk, z.size, point[1], added, z, n, n_classes)
            factors = point[0], n_features, chunk.x, ld, z, n_classes
            self._blas[chunk.slot].add_product(True, False, n_classes, n, n_features, *factors, onto=True)
            return
        grid = products.tiles(n) * products.tiles(n_classes)
        plan = rows.Plan(products.logits(work.dtype), grid, products.THREADS)
        work.run(chunk, plan, chunk.x, ld, point[0], n_features, point[1], added, z, n, n_features, n_classes)

    def _curve(self, what: int, chunk: Chunk, z: Any, u: Any, w: Any, k: int = 0, other: int = 0) -> None:
        kernel = curvature.curvature(what, self._work.dtype)
        plan = rows.Plan(kernel, rows.blocks_for(chunk.n, rows.WARP), rows.THREADS)
        h = self._rows.of("curvature", chunk)
        self._work.run(chunk, plan, z, h, u, w, k, other, chunk.n, self._rows.n_classes)

    def _gradients(self) -> TileSums | BlasSums:
        """Of d, sums of its products with (x, 1)."""
        if self._blas:
            return BlasSums(self._rows, self._rows_at_once(), self._blas)
        return TileSums(self._rows, self._rows_at_once(), self._rows.n_classes, self._rows.n_features)

    def _buffer(self, name: str, chunk: Chunk) -> Any:
        return self._work.reserve((name, chunk.slot), chunk.n * self._rows.n_classes, self._work.dtype)

    def _without_intercept(self, gradient: Float64s) -> Float64s:
        if not self._fit_intercept:
            gradient[:, -1] = 0
        return gradient
