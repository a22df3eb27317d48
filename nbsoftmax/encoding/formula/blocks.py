"""`Block`: the columns that a factor of a term makes of each row, and the products of such blocks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.validation import Float64s


@dataclass(frozen=True, eq=False)
class Block:
    """Some columns, of which each row has the same number of stored values.

    Attributes
    ----------
    width : int
        The number of columns.
    values : ndarray (n, n_stored)
    places : ndarray (n, n_stored) of int64, or None
        The columns of the values, -1 for none; None if all columns are stored, in order.
    """

    width: int
    values: Float64s
    places: NDArray[np.int64] | None = None

    @property
    def n_stored(self) -> int:
        """The number of values that are stored of a row."""
        return int(self.values.shape[1])

    def located(self) -> NDArray[np.int64]:
        """`places`, (n, n_stored)."""
        if self.places is not None:
            return self.places
        return np.broadcast_to(np.arange(self.width), self.values.shape)

    def times(self, other: Block) -> Block:
        """The products of all pairs of columns; those of this block vary fastest, as in R."""
        width, shape = self.width * other.width, (len(self.values), self.n_stored * other.n_stored)
        values = (other.values[:, :, None] * self.values[:, None, :]).reshape(shape)
        if self.places is None and other.places is None:
            return Block(width, values)
        first, second = self.located()[:, None, :], other.located()[:, :, None]
        places = np.where((first < 0) | (second < 0), -1, first + self.width * second).reshape(shape)
        return Block(width, values, places)

    def scaled(self, scale: float) -> Block:
        """The block times a number."""
        return self if scale == 1 else Block(self.width, self.values * scale, self.places)


def dense(blocks: list[Block], n: int) -> Float64s:
    """Blocks side by side as an array (n, n_columns)."""
    X = np.zeros((n, sum(block.width for block in blocks)))
    j = 0
    for block in blocks:
        if block.places is None:
            X[:, j : j + block.width] = block.values
        else:
            stored = block.places >= 0
            X[np.nonzero(stored)[0], j + block.places[stored]] = block.values[stored]
        j += block.width
    return X


def sparse(blocks: list[Block], n: int) -> Any:
    """Blocks side by side as a canonical csr_array (n, n_columns) without stored zeros."""
    from scipy.sparse import csr_array

    n_columns = sum(block.width for block in blocks)
    n_stored = sum(block.n_stored for block in blocks)
    places, values = np.empty((n, n_stored), np.int32), np.empty((n, n_stored))
    stored = np.empty((n, n_stored), bool)
    j = k = 0
    for block in blocks:
        here = slice(k, k + block.n_stored)
        located = block.located()
        places[:, here], values[:, here] = j + located, block.values
        stored[:, here] = (located >= 0) & (block.values != 0)
        j, k = j + block.width, k + block.n_stored
    starts = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    X = csr_array((values[stored], places[stored], starts), shape=(n, n_columns))
    X.sort_indices()
    return X
