"""Columns of a table, packed into the rows of one matrix, on all threads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels.runtime.threads import launch

STEP = 4096  # rows that are packed at a time: they stay in the cache while their columns arrive one after another
GROUP = 16  # columns that are packed together: whole cache lines of a row, and few that wait in memory
PACK_WORK = 16  # the time of reading and writing a number, in multiply-adds

Piece = tuple[int, NDArray[Any]]  # the index of a feature, and its values (n,); or what `write` makes of an array (n,)


class Columns:
    """The columns of X, each an array of its own.

    Parameters
    ----------
    columns : sequence of ndarray (n,)
    dtype : dtype
        Of the matrix that they become.
    """

    def __init__(self, columns: Sequence[NDArray[Any]], dtype: np.dtype[Any]) -> None:
        self.columns, self.dtype = columns, dtype
        self.shape = (len(columns[0]), len(columns))

    def pack(self, out: NDArray[Any], first: int) -> None:
        """Write the rows from `first` on to `out`, (n, n_features)."""
        pack(enumerate(column[first : first + len(out)] for column in self.columns), out)


def _one_feature(rows: NDArray[Any], j: int, values: NDArray[Any]) -> None:
    rows[:, j] = values


def pack(
    pieces: Iterable[Piece],
    out: NDArray[Any],
    write: Callable[[NDArray[Any], int, NDArray[Any]], None] = _one_feature,
) -> None:
    """Write columns to `out`, (n, n_features).

    `write(rows, j, values)` writes some rows of a piece; without it, they are the values of feature j.
    """
    pieces = iter(pieces)
    n_steps = -(-len(out) // STEP)
    while group := list(islice(pieces, GROUP)):
        launch(_pack, n_steps, PACK_WORK * len(out) * len(group), None, iter(range(n_steps)), group, out, write)


def _pack(
    todo: NDArray[np.int64],
    steps: Iterator[int],  # which all threads take from
    group: Sequence[Piece],
    out: NDArray[Any],
    write: Callable[[NDArray[Any], int, NDArray[Any]], None],
) -> None:
    for step in steps:
        rows = slice(step * STEP, (step + 1) * STEP)
        for j, values in group:
            write(out[rows], j, values[rows])
