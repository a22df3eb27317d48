"""Sums of float64 numbers in the order of `nbsoftmax.sums.pairwise_sum`, for the same bits as in Python."""

import numpy as np

from nbsoftmax.kernels.runtime.jit import jit

# NumPy halves a sum until a part has at most this number of terms: see `pairwise_sum` in its loops_utils.h.
BLOCK = 128
DEPTH = 128  # more than twice the number of times that the size of an array can be halved


@jit
def block_sum(a, low, n):
    """Sum of a[low : low + n] for at most `BLOCK` terms, with eight sums side by side."""
    if n < 8:
        s = 0.0
        for i in range(low, low + n):
            s += a[i]
        return s
    r0, r1, r2, r3 = a[low], a[low + 1], a[low + 2], a[low + 3]
    r4, r5, r6, r7 = a[low + 4], a[low + 5], a[low + 6], a[low + 7]
    whole = low + n // 8 * 8
    for i in range(low + 8, whole, 8):
        r0, r1, r2, r3 = r0 + a[i], r1 + a[i + 1], r2 + a[i + 2], r3 + a[i + 3]
        r4, r5, r6, r7 = r4 + a[i + 4], r5 + a[i + 5], r6 + a[i + 6], r7 + a[i + 7]
    s = ((r0 + r1) + (r2 + r3)) + ((r4 + r5) + (r6 + r7))
    for i in range(whole, low + n):
        s += a[i]
    return s


@jit
def mean(a, divisor):
    """`total(a) / divisor`, and 0 if the divisor is 0.

    The divisor is 0 only after an error in a `try` block of the caller: until the end of the block, Numba continues
    with zeros as the results of the function that has failed.
    """
    return total(a) / divisor if divisor > 0 else 0.0


@jit
def total(a):
    """Sum of a float64 array (n,), by pairwise summation."""
    if a.size <= BLOCK:
        return block_sum(a, 0, a.size)
    # Parts that are still to be summed, the next one on top; size 0 means that the last two sums are to be added.
    low, size, sums = np.empty(DEPTH, np.int64), np.empty(DEPTH, np.int64), np.empty(DEPTH)
    low[0], size[0], n_parts, n_sums = 0, a.size, 1, 0
    while n_parts > 0:
        n_parts -= 1
        at, n = low[n_parts], size[n_parts]
        if n == 0:
            n_sums -= 1
            sums[n_sums - 1] += sums[n_sums]
        elif n <= BLOCK:
            sums[n_sums] = block_sum(a, at, n)
            n_sums += 1
        else:
            half = n // 2 // 8 * 8
            size[n_parts] = 0
            low[n_parts + 1], size[n_parts + 1] = at + half, n - half
            low[n_parts + 2], size[n_parts + 2] = at, half
            n_parts += 3
    return sums[0]
