"""Sums of arrays in one order for all versions of NumPy: results keep their last bits when NumPy is upgraded.

Exact sums do not depend on any order.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

# NumPy sums at most this number of terms by pairwise summation in each of its versions. Those before 2.3 add longer
# arrays buffer by buffer.
BUFFER = 8192
UNIT = -1126  # every float64 is a whole number of 2^UNIT: 53 bits below the exponent of the smallest one
SLICE = 2**22  # numbers whose halves of 27 bits are added exactly as float64


def pairwise_sum(a: NDArray[Any]) -> Any:
    """Sum of a contiguous array of shape (n,), by pairwise summation.

    The halves are those of NumPy's `pairwise_sum`, so the bits are those of `numpy.sum` in NumPy 2.3 and later, and
    of `kernels.overloads.sums.total`, which does the same in Numba code.
    """
    if a.size <= BUFFER:
        return np.add.reduce(a)  # as `np.sum`, in half of the time for a few terms
    half = a.size // 2 // 8 * 8
    return pairwise_sum(a[:half]) + pairwise_sum(a[half:])


def exact_sum(values: NDArray[np.float64]) -> int:
    """The sum of finite numbers (n,) without rounding, as a whole number of 2^UNIT.

    Such sums of parts add up to that of the whole, however it was cut.
    """
    total = 0
    for start in range(0, values.size, SLICE):
        mantissa, exponent = np.frexp(values[start : start + SLICE])
        whole = np.ldexp(mantissa, 53).astype(np.int64)  # value = whole 2^(exponent - 53)
        shift = exponent - 53 - UNIT
        first = int(shift.min())
        halves = (np.bincount(shift - first, half).tolist() for half in (whole >> 26, whole & (2**26 - 1)))
        for j, (high, low) in enumerate(zip(*halves, strict=True)):
            total += (int(high) * 2**26 + int(low)) << (first + j)
    return total


def mean_of(total: int, n: int) -> float:
    """The mean of n > 0 numbers with this exact sum, rounded once."""
    return total / (n << -UNIT)
