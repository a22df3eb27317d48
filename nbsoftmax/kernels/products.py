"""The product of a matrix of few rows and a square one, too large for one thread: a Gram matrix of many features.

Ranges of columns are tasks, so that the bits do not depend on the number of threads.
"""

from nbsoftmax.kernels.runtime.blas import add_product
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.threads import take

# Columns of a task: BLAS packs the whole left matrix for each.
COLUMNS = 256


@jit
def add_columns(todo, left, right, result, n_rows, n):
    """Add left @ right to `result`; arrays are flat, (n_rows, n), (n, n) and (n_rows, n)."""
    task = take(todo)
    while task >= 0:
        first = task * COLUMNS
        few = min(COLUMNS, n - first)
        add_product(False, False, few, n_rows, n, right, first, n, left, 0, n, result, first, n)
        task = take(todo)
