"""Gram matrices of sparse rows with weights of the samples, of which the Hessian consists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.sparse_design import Layout
from nbsoftmax.backends.transposed import Blocks
from nbsoftmax.kernels import sparse_gram
from nbsoftmax.kernels.sparse_gram import WIDTH, n_vectors, work_of
from nbsoftmax.validation import Float64s

# Bytes of the rows that are added at a time: they stay in a second-level cache. If the matrix is large, these are as
# many rows as it takes to read READS times as many bytes of numbers as of the matrix.
ROWS_BYTES, READS = 2**20, 8


def grams(
    blocks: Blocks,
    layout: Layout,
    features: NDArray[np.int64],
    weights: Callable[[slice], Iterable[Float64s]],
    n_matrices: int,
) -> Float64s:
    """X1^T diag(w) X1 of some features, which are sorted, and of the intercept: (n_matrices, order, order).

    Parameters
    ----------
    blocks : Blocks
    layout : Layout
        For the rows of a task, the dtype and the number of threads.
    features : ndarray of int
    weights : callable
        w of a slice of the rows, (n_rows,), for one matrix after the other.
    n_matrices : int
    """
    places = np.full(layout.n_features, -1, np.int32)
    places[features] = np.arange(features.size)
    order, columns = features.size + 1, blocks.columns
    alone = n_matrices == 1
    kernel = sparse_gram.add_gram if alone else sparse_gram.add_grams
    n, width = (1, 1) if alone else (n_vectors(n_matrices), WIDTH)
    sums = np.zeros((n, order, order, width))
    n_rows = _rows_at_a_time(blocks, features.size, width)
    for b in range(len(blocks)):
        numbers, entries, part = blocks.numbers(b), blocks.entries(b), blocks.part(b)
        size = int(numbers.indptr[-1] - numbers.indptr[0])
        kept = np.empty(size, layout.dtype), np.empty(size, np.int32), np.empty(numbers.n_rows, np.int32)
        layout.run(sparse_gram.keep_features, layout.n_groups(numbers), size, numbers, places, layout.group, *kept)
        sides = [np.searchsorted(columns.columns[entries], features, side) for side in ("left", "right")]
        of_features = np.column_stack(sides) + entries.start
        reached = np.tile(columns.starts[of_features[:, 0]].astype(np.int64), n)
        for first in range(0, numbers.n_rows, n_rows):
            end = min(numbers.n_rows, first + n_rows)
            by_vector = np.zeros((n, end - first, width))
            for i, w in enumerate(weights(slice(part.start + first, part.start + end))):
                by_vector[i // width, :, i % width] = w
            work = int(work_of(numbers.n_rows, size, n_matrices) * (end - first) / numbers.n_rows)
            common = numbers, columns, of_features, by_vector.reshape(-1), *kept, sparse_gram.Part(first, end)
            layout.run(kernel, n * order, work, *common, reached, sums.reshape(-1))
    lower = sums.transpose(0, 3, 1, 2).reshape(n * width, order, order)[:n_matrices]
    return lower + np.tril(lower, -1).transpose(0, 2, 1)


def _rows_at_a_time(blocks: Blocks, n_features: int, width: int) -> int:
    """Rows whose numbers are added at a time, with so many weights of each."""
    per_row = max(1, blocks.rows.data.size / max(1, blocks.rows.n_rows))
    number, float64 = blocks.rows.data.itemsize + 4, 8
    in_cache = ROWS_BYTES / (number * per_row + float64 * (width + 1))
    matrix, added = float64 * width * n_features**2 / 2, number * per_row**2 / 2
    return max(1, int(max(in_cache, READS * matrix / added)))


def of_classes(h: Float64s, a: Float64s, rest: Float64s) -> Iterator[Float64s]:
    """The weights h a_k (1 - a_k) of the diagonal blocks of the Hessian, from h, a and 1 - a of some rows."""
    for k in range(a.shape[1]):
        yield h * a[:, k] * rest[:, k]


def of_pairs(h: Float64s, a: Float64s, _: Float64s) -> Iterator[Float64s]:
    """The weights h a_k a_l of the other blocks, for each pair k < l."""
    for k, other in combinations(range(a.shape[1]), 2):
        yield h * a[:, k] * a[:, other]
