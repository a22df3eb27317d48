"""Sparse rows as the kernels read them: blocks of rows, and a transposed copy of each block, made when it is needed."""

from __future__ import annotations

from itertools import pairwise
from threading import Lock
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels import sparse
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.kernels.sparse import SparseColumns, SparseRows

MOST_ROWS = 2**16  # of a block: the transposed copy stores them as uint16
MOST_NUMBERS = 2**22  # of a block, about: a Gram matrix copies some of them


class Block(NamedTuple):
    """Some rows of X: their slice, their numbers by rows, and the transposed copy of all blocks."""

    number: int
    part: slice
    rows: SparseRows
    transposed: TransposedCopy

    @property
    def columns(self) -> SparseColumns:
        """The same numbers by columns."""
        return self.transposed.columns()[self.number]


class TransposedCopy:
    """The blocks of X by columns, made by the first gradient or product; losses and predictions do not need them.

    Parameters
    ----------
    rows : SparseRows
        All rows.
    starts : ndarray (n_blocks + 1,)
        The first row of each block, and the number of rows.
    n_threads : int or None
    """

    def __init__(self, rows: SparseRows, starts: NDArray[np.int64], n_threads: int | None) -> None:
        self._source = rows, starts, n_threads
        self._columns: list[SparseColumns] | None = None
        self._lock = Lock()

    def columns(self) -> list[SparseColumns]:
        """The numbers of each block by columns. Several threads may ask at once; the copy is made once."""
        if self._columns is None:
            with self._lock:
                if self._columns is None:
                    self._columns = _transposed(*self._source)
        return self._columns


def blocks_of(X: Any, offset: NDArray[Any], n_rows: int, n_threads: int | None) -> list[Block]:
    """Divide X, a CSR array, into blocks of at most `n_rows` rows."""
    m, n_features = X.shape
    size = max(16, min(n_rows, MOST_ROWS, MOST_NUMBERS * m // max(1, X.nnz)))
    starts = np.append(np.arange(0, max(m, 1), size), m)
    last = max(0, X.nnz - 1)
    everything = SparseRows(X.data, X.indices, X.indptr, m, n_features, last, offset.reshape(-1))
    transposed = TransposedCopy(everything, starts, n_threads)
    blocks = []
    for b, (low, high) in enumerate(pairwise(starts.tolist())):
        fixed = offset[low:high].reshape(-1) if offset.size else offset.reshape(-1)
        part = everything._replace(indptr=X.indptr[low : high + 1], n_rows=high - low, offset=fixed)
        blocks.append(Block(b, slice(low, high), part, transposed))
    return blocks


def _transposed(rows: SparseRows, starts: NDArray[np.int64], n_threads: int | None) -> list[SparseColumns]:
    """Transpose each block of rows."""
    n_blocks, n_numbers = starts.size - 1, rows.data.size
    n_entries = np.zeros(n_blocks, np.int64)
    work = 4 * n_numbers + n_blocks * rows.n_features
    launch(sparse.count_entries, n_blocks, work, n_threads, rows, starts, n_entries)
    firsts = np.append(0, np.cumsum(n_entries))
    data, in_rows = np.empty_like(rows.data), np.empty(n_numbers, np.uint16)
    columns = np.empty(firsts[-1], rows.indices.dtype)
    entry_starts = np.full(firsts[-1] + 1, n_numbers, rows.indptr.dtype)
    bounds = np.zeros((n_blocks, sparse.TASKS + 1), np.int64)
    copy = data, in_rows, columns, entry_starts, firsts, bounds.reshape(-1)
    launch(sparse.transpose, n_blocks, 2 * work, n_threads, rows, starts, *copy)
    parts = []
    for b in range(n_blocks):
        first, end = firsts[b], firsts[b + 1]
        by_columns = columns[first:end], entry_starts[first : end + 1], bounds[b]
        parts.append(SparseColumns(data, in_rows, *by_columns, int(starts[b + 1] - starts[b]), rows.n_features))
    return parts
