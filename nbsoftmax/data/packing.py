"""Columns of a table, packed into the rows of one matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

STEP = 4096  # rows that are packed at a time: they stay in the cache while their columns arrive one after another


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
        for start in range(0, len(out), STEP):
            rows = out[start : start + STEP]
            begin, end = first + start, first + start + len(rows)
            for j, column in enumerate(self.columns):
                rows[:, j] = column[begin:end]
