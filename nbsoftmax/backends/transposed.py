"""Sparse rows as the kernels read them: blocks of rows, and a transposed copy of each block, made when it is needed."""

from __future__ import annotations

from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels import sparse
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.kernels.sparse import SparseColumns, SparseRows

MOST_ROWS = 2**16  # of a block: the transposed copy stores them as uint16
MOST_NUMBERS = 2**22  # of a block, about: a Gram matrix copies some of them


class Blocks:
    """Rows of X in blocks, and a transposed copy of each block, made when it is first needed.

    Parameters
    ----------
    X : scipy.sparse.csr_array
    offset : ndarray (n_samples, n_classes); (0, 0) for none
    n_rows : int
        Most rows of a block.
    n_threads : int or None

    Attributes
    ----------
    rows : SparseRows
        All rows.
    starts : ndarray (n_blocks + 1,)
        The first row of each block, and the number of rows.
    """

    def __init__(self, X: Any, offset: NDArray[Any], n_rows: int, n_threads: int | None) -> None:
        m, n_features = X.shape
        size = max(16, min(n_rows, MOST_ROWS, MOST_NUMBERS * m // max(1, X.nnz)))
        self.starts = np.array([*range(0, max(m, 1), size), m], np.int64)
        last = max(0, X.nnz - 1)
        self.rows = SparseRows(X.data, X.indices, X.indptr, m, n_features, last, offset.reshape(-1))
        self._n_threads = n_threads
        self._columns: SparseColumns | None = None
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=Lock())

    def __len__(self) -> int:
        return int(self.starts.size) - 1

    @property
    def most_rows(self) -> int:
        """Number of rows of the largest block."""
        return int(np.diff(self.starts).max())

    @property
    def columns(self) -> SparseColumns:
        """The numbers of all blocks by columns. Several threads may ask at once; the copy is made once."""
        if self._columns is None:
            with self._lock:
                if self._columns is None:
                    self._columns = _transposed(self.rows, self.starts, self._n_threads)
        return self._columns

    @property
    def no_columns(self) -> SparseColumns:
        """As `columns`, with empty arrays."""
        rows = self.rows
        rows_in_block, bounds = np.empty(0, np.uint16), np.empty(0, np.int64)
        by_columns = np.empty(0, rows.indices.dtype), np.empty(0, rows.indptr.dtype)
        return SparseColumns(np.empty(0, rows.data.dtype), rows_in_block, *by_columns, bounds, rows.n_features)

    def part(self, b: int) -> slice:
        """The rows of block b."""
        return slice(int(self.starts[b]), int(self.starts[b + 1]))

    def entries(self, b: int) -> slice:
        """The entries of block b."""
        bounds = self.columns.bounds.reshape(-1, sparse.TASKS + 1)[b]
        return slice(int(bounds[0]), int(bounds[-1]))

    def numbers(self, b: int) -> SparseRows:
        """The numbers of block b by rows, without the offset."""
        low, high = self.starts[b : b + 2].tolist()
        indptr = self.rows.indptr[low : high + 1]
        return self.rows._replace(indptr=indptr, n_rows=high - low, offset=self.rows.offset[:0])


def _transposed(rows: SparseRows, starts: NDArray[np.int64], n_threads: int | None) -> SparseColumns:
    """Transpose each block of rows."""
    n_blocks, n_numbers = starts.size - 1, rows.data.size
    n_entries = np.zeros(n_blocks, np.int64)
    work = 4 * n_numbers + n_blocks * rows.n_features
    launch(sparse.count_entries, n_blocks, work, n_threads, rows, starts, n_entries)
    firsts = np.append(0, np.cumsum(n_entries))
    data, in_rows = np.empty_like(rows.data), np.empty(n_numbers, np.uint16)
    columns = np.empty(firsts[-1], rows.indices.dtype)
    entry_starts = np.full(firsts[-1] + 1, n_numbers, rows.indptr.dtype)
    bounds = np.zeros(n_blocks * (sparse.TASKS + 1), np.int64)
    copy = data, in_rows, columns, entry_starts, firsts, bounds
    launch(sparse.transpose, n_blocks, 2 * work, n_threads, rows, starts, *copy)
    return SparseColumns(data, in_rows, columns, entry_starts, bounds, rows.n_features)
