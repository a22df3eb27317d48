"""Sums over all rows of products with (x, 1): gradients and Gram matrices, by tiles or by cuBLAS."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbsoftmax.backends.cuda.blas import Blas
from nbsoftmax.backends.cuda.rows import DeviceRows
from nbsoftmax.backends.cuda.workspace import Chunk
from nbsoftmax.kernels.cuda import products, rows
from nbsoftmax.validation import Float64s

SUMS_BYTES = 2**28  # of sums in parts, for each of two streams


class TileSums:
    """Sums of products of a with (x, 1), by `products.weighted_sums`.

    Parameters
    ----------
    rows : DeviceRows
    rows_at_once : int
        Most rows of a chunk.
    n_a, n_b : int
        Columns of a, and features of x, that take part.
    ones : int
        1 where a is x itself and a 1 follows each of its rows, else 0.
    """

    def __init__(self, rows: DeviceRows, rows_at_once: int, n_a: int, n_b: int, ones: int = 0) -> None:
        self._rows, self._n_a, self._n_b, self._ones, self._used = rows, n_a, n_b, ones, set[int]()
        self._shape = n_a + ones, n_b + 1
        self._n_parts = products.parts_for(rows_at_once, *self._shape, SUMS_BYTES)

    def add(self, chunk: Chunk, a: Any, *, squared: bool = False, weight: Any = None) -> None:
        """Add those of a chunk, each row with its weight; with the squares of x if `squared`."""
        work, (high, wide) = self._rows.work, self._shape
        parts = work.reserve(("sums", chunk.slot), self._n_parts * high * wide, np.float64)
        grid = self._n_parts * products.tiles(high) * products.tiles(wide)
        left = a, self._rows.ld if self._ones else self._n_a, self._n_a
        right = chunk.x, self._rows.ld, self._n_b
        weight = work.held["ones"] if weight is None else weight
        rest = weight, self._ones, 1, squared, parts, self._n_parts, chunk.slot in self._used, chunk.n
        plan = rows.Plan(products.weighted_sums(work.dtype), grid, products.THREADS)
        work.run(chunk, plan, *left, *right, *rest)
        self._used.add(chunk.slot)

    def total(self) -> Float64s:
        """The matrix."""
        high, wide = self._shape
        return self._rows.work.total("sums", self._used, self._n_parts, high * wide).reshape(high, wide)


class BlasSums:
    """Sums of products of d (n, n_classes) with x by cuBLAS; those with 1 by `TileSums`."""

    def __init__(self, rows: DeviceRows, rows_at_once: int, blas: Sequence[Blas]) -> None:
        self._rows, self._blas, self._used = rows, blas, set[int]()
        self._intercepts = TileSums(rows, rows_at_once, rows.n_classes, 0)

    def add(self, chunk: Chunk, d: Any) -> None:
        """Add those of a chunk."""
        work, ld = self._rows.work, self._rows.ld
        n_features, n_classes = self._rows.n_features, self._rows.n_classes
        size = n_classes * n_features
        sums = work.reserve(("products", chunk.slot), size, np.float64)
        wide = work.dtype == np.float64
        step = chunk.n if wide else products.BLAS_ROWS
        into = sums if wide else work.reserve(("narrow", chunk.slot), size, np.float32)
        for begin in range(0, chunk.n, step):  # columns of BLAS are our rows: S^T = X^T D
            n, used = min(step, chunk.n - begin), chunk.slot in self._used
            x, part = chunk.x[begin * ld : (begin + n) * ld], d[begin * n_classes : (begin + n) * n_classes]
            factors = x, ld, part, n_classes, into, n_features
            blas = self._blas[chunk.slot]
            blas.add_product(False, True, n_features, n_classes, n, *factors, onto=wide and used)
            if not wide:
                work.run_elementwise(products.widened, chunk, size, into, sums, size, used)
            self._used.add(chunk.slot)
        self._intercepts.add(chunk, d)

    def total(self) -> Float64s:
        """The matrix."""
        n_classes, n_features = self._rows.n_classes, self._rows.n_features
        weights = self._rows.work.total("products", self._used, 1, n_classes * n_features)
        return np.hstack([weights.reshape(n_classes, n_features), self._intercepts.total()])
