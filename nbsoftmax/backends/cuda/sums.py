"""Sums over all rows of products with (x, 1): gradients and Gram matrices, by tiles or by cuBLAS.

`add` begins the work for a chunk of rows, and `bring` that for the total; when the work is done, `total` returns it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nbsoftmax.backends.cuda.blas import Blas
from nbsoftmax.backends.cuda.rows import DeviceRows
from nbsoftmax.backends.cuda.workspace import Chunk
from nbsoftmax.kernels.cuda import products, rows, sums
from nbsoftmax.validation import Float64s

SUMS_BYTES = 2**28  # of sums in parts, for each of two streams
NARROW_BYTES = 2**26  # of float32 sums of BLAS_ROWS rows each that are made by one call of cuBLAS


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

    def start(self) -> None:
        """Forget the sums of earlier chunks, also of work that was begun and did not end."""
        self._used.clear()

    def add(self, chunk: Chunk, a: Any, *, squared: bool = False, weight: Any = None) -> None:
        """Add the products of a chunk, each row with its weight; with the squares of x if `squared`."""
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

    def bring(self) -> None:
        """Begin to add up and to copy the matrix to the host."""
        high, wide = self._shape
        self._rows.work.bring_total("sums", self._used, self._n_parts, high * wide)

    def total(self) -> Float64s:
        """The matrix."""
        high, wide = self._shape
        return self._rows.work.brought("sums", high * wide).reshape(high, wide).copy()


class ColumnSums:
    """Sums of d (n, n_classes)."""

    def __init__(self, rows: DeviceRows, rows_at_once: int) -> None:
        self._rows, self._used, self._n_parts = rows, set[int](), sums.column_parts_for(rows_at_once)

    def start(self) -> None:
        """As in `TileSums`."""
        self._used.clear()

    def add(self, chunk: Chunk, d: Any) -> None:
        """Add the rows of a chunk."""
        work, n_classes = self._rows.work, self._rows.n_classes
        parts = work.reserve(("columns", chunk.slot), self._n_parts * n_classes, np.float64)
        plan = rows.Plan(sums.column_sums, self._n_parts * sums.column_tiles(n_classes), sums.THREADS)
        work.run(chunk, plan, d, parts, self._n_parts, chunk.slot in self._used, chunk.n, n_classes)
        self._used.add(chunk.slot)

    def bring(self) -> None:
        """Begin to add up and to copy the sums to the host."""
        self._rows.work.bring_total("columns", self._used, self._n_parts, self._rows.n_classes)

    def total(self) -> Float64s:
        """The sums (n_classes,), until the next ones are brought."""
        return self._rows.work.brought("columns", self._rows.n_classes)


class BlasSums:
    """Sums of products of d (n, n_classes) with x by cuBLAS, float32 ones over BLAS_ROWS rows at a time."""

    def __init__(self, rows: DeviceRows, rows_at_once: int, blas: Sequence[Blas]) -> None:
        self._rows, self._blas, self._used = rows, blas, set[int]()
        self._intercepts = ColumnSums(rows, rows_at_once)

    def start(self) -> None:
        """As in `TileSums`."""
        self._used.clear()
        self._intercepts.start()

    def add(self, chunk: Chunk, d: Any) -> None:
        """Add the products of a chunk."""
        work, n_features, n_classes = self._rows.work, self._rows.n_features, self._rows.n_classes
        size = n_classes * n_features
        total = work.reserve(("products", chunk.slot), size, np.float64)
        if work.dtype == np.float64:
            self._multiply(chunk, d, total, onto=chunk.slot in self._used)
            self._used.add(chunk.slot)
        else:
            groups = min(-(-chunk.n // products.BLAS_ROWS), max(1, NARROW_BYTES // (size * 4)))
            step = groups * products.BLAS_ROWS
            for begin in range(0, chunk.n, step):
                n, ld = min(step, chunk.n - begin), self._rows.ld
                part = chunk._replace(begin=begin, n=n, x=chunk.x[begin * ld : (begin + n) * ld])
                self._add_narrow(part, d[begin * n_classes : (begin + n) * n_classes], total)
        self._intercepts.add(chunk, d)

    def _add_narrow(self, chunk: Chunk, d: Any, total: Any) -> None:
        """Add float32 sums of BLAS_ROWS rows each, and of the rest, in float64."""
        work, rows_of_one = self._rows.work, products.BLAS_ROWS
        size, ld, n_classes = total.size, self._rows.ld, self._rows.n_classes
        whole, rest = divmod(chunk.n, rows_of_one)
        narrow = work.reserve(("narrow", chunk.slot), (whole + (rest > 0)) * size, work.dtype)
        if whole:
            self._multiply(chunk._replace(n=rows_of_one), d, narrow, onto=False, count=whole)
        if rest:
            done = whole * rows_of_one
            last = chunk._replace(n=rest, x=chunk.x[done * ld :])
            self._multiply(last, d[done * n_classes :], narrow[whole * size :], onto=False)
        work.sum_parts(narrow, total, size, whole + (rest > 0), more=chunk.slot in self._used, slot=chunk.slot)
        self._used.add(chunk.slot)

    def _multiply(self, chunk: Chunk, d: Any, out: Any, *, onto: bool, count: int = 1) -> None:
        """Begin S^T = X^T D for the rows of a chunk, in each of `count` successive chunks; columns of BLAS are rows."""
        n, ld, n_features, n_classes = chunk.n, self._rows.ld, self._rows.n_features, self._rows.n_classes
        factors = chunk.x, ld, d, n_classes, out, n_features
        steps = n * ld, n * n_classes, n_features * n_classes
        blas = self._blas[chunk.slot]
        blas.add_product(False, True, n_features, n_classes, n, *factors, onto=onto, count=count, steps=steps)

    def bring(self) -> None:
        """Begin to add up and to copy the matrix to the host."""
        self._rows.work.bring_total("products", self._used, 1, self._rows.n_classes * self._rows.n_features)
        self._intercepts.bring()

    def total(self) -> Float64s:
        """The matrix."""
        n_classes, n_features = self._rows.n_classes, self._rows.n_features
        matrix = np.empty((n_classes, n_features + 1))
        matrix[:, :-1] = self._rows.work.brought("products", n_classes * n_features).reshape(n_classes, n_features)
        matrix[:, -1] = self._intercepts.total()
        return matrix
