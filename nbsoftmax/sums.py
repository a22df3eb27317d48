"""Sums of arrays in one order for all versions of NumPy: results keep their last bits when NumPy is upgraded."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# NumPy sums at most this number of terms by pairwise summation in each of its versions. Those before 2.3 add longer
# arrays buffer by buffer.
BUFFER = 8192


def pairwise_sum(a: NDArray[Any]) -> Any:
    """Sum of a contiguous array of shape (n,), by pairwise summation.

    The halves are those of NumPy's `pairwise_sum`, so the bits are those of `numpy.sum` in NumPy 2.3 and later, and
    of `kernels.overloads.sums.total`, which does the same in Numba code.
    """
    if a.size <= BUFFER:
        return np.sum(a)
    half = a.size // 2 // 8 * 8
    return pairwise_sum(a[:half]) + pairwise_sum(a[half:])
