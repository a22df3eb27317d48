"""Sparse rows as the kernels read them: blocks of rows, and a transposed copy of each block."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels import sparse
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.kernels.sparse import SparseColumns, SparseRows

MOST_ROWS = 2**16  # of a block: the transposed copy stores them as uint16
MOST_NUMBERS = 2**22  # of a block, about: a Gram matrix copies some of them


class Block(NamedTuple):
    """Some rows of X: their place, their numbers by rows, and by columns."""

    number: int
    part: slice
    rows: SparseRows
    columns: SparseColumns


def blocks_of(X: Any, offset: NDArray[Any], n_rows: int, n_threads: int | None) -> list[Block]:
    """Divide X, a CSR array, into blocks of at most `n_rows` rows, and transpose each."""
    m, n_features = X.shape
    size = max(16, min(n_rows, MOST_ROWS, MOST_NUMBERS * m // max(1, X.nnz)))
    starts = np.append(np.arange(0, max(m, 1), size), m)
    n_blocks, last = starts.size - 1, max(0, X.nnz - 1)
    everything = SparseRows(X.data, X.indices, X.indptr, m, n_features, last, offset.reshape(-1))
    n_entries = np.zeros(n_blocks, np.int64)
    work = 4 * X.nnz + n_blocks * n_features
    launch(sparse.count_entries, n_blocks, work, n_threads, everything, starts, n_entries)
    firsts = np.append(0, np.cumsum(n_entries))
    data, in_rows = np.empty_like(X.data), np.empty(X.nnz, np.uint16)
    columns = np.empty(firsts[-1], X.indices.dtype)
    entry_starts = np.full(firsts[-1] + 1, X.nnz, X.indptr.dtype)
    bounds = np.zeros(n_blocks * (sparse.TASKS + 1), np.int64)
    copy = data, in_rows, columns, entry_starts, firsts, bounds
    launch(sparse.transpose, n_blocks, 2 * work, n_threads, everything, starts, *copy)
    blocks = []
    for b in range(n_blocks):
        low, high = int(starts[b]), int(starts[b + 1])
        fixed = offset[low:high].reshape(-1) if offset.size else offset.reshape(-1)
        indptr = X.indptr[low : high + 1]
        first, end = firsts[b], firsts[b + 1]
        tasks = bounds[b * (sparse.TASKS + 1) : (b + 1) * (sparse.TASKS + 1)]
        by_columns = columns[first:end], entry_starts[first : end + 1], tasks
        blocks.append(
            Block(
                b,
                slice(low, high),
                SparseRows(X.data, X.indices, indptr, high - low, n_features, last, fixed),
                SparseColumns(data, in_rows, *by_columns, high - low, n_features),
            )
        )
    return blocks
