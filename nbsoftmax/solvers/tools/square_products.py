"""Products with the square matrix of a preconditioner, on several threads if it is large."""

from __future__ import annotations

import numpy as np

from nbsoftmax.kernels import products
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.validation import Float64s

# Multiply-adds from which on a kernel pays: small fits need not compile it.
MANY = 2**25


def times_square(left: Float64s, square: Float64s, n_threads: int | None) -> Float64s:
    """The product of `left`, (n_rows, n), and `square`, (n, n), with the same bits for any number of threads."""
    n_rows, n = left.shape
    work = n_rows * n**2
    if work < MANY:
        return left @ square
    result = np.zeros((n_rows, n))
    flat = (np.ascontiguousarray(a).reshape(-1) for a in (left, square, result))
    launch(products.add_columns, -(-n // products.COLUMNS), work, n_threads, *flat, n_rows, n)
    return result
