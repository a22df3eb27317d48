"""Blocks of rows of X for sums that NumPy computes, not a kernel: dense, in float64, with a column of ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.validation import Float64s

BLOCK_BYTES = 2**21


def blocks(
    X: Any,
    fit_intercept: bool,
    row_size: int,
    order: NDArray[np.intp] | None = None,
    *,
    n_bytes: int | None = None,
) -> Iterator[tuple[Any, Float64s]]:
    """Blocks of rows of (X, 1), dense, in float64, and which rows of X they are; `order` are their numbers.

    `row_size` numbers for each row of a block take `n_bytes`, by default BLOCK_BYTES.
    """
    size = max(16, (n_bytes or BLOCK_BYTES) // (8 * row_size))
    for start in range(0, X.shape[0], size):
        rows = slice(start, start + size) if order is None else order[start : start + size]
        part = X[rows]
        # In C order, whatever that of X is: the last bits of products depend on it.
        x = np.ascontiguousarray(part.toarray() if validation.is_sparse(part) else part, np.float64)
        yield rows, np.column_stack([x, np.ones(len(x))]) if fit_intercept else x
