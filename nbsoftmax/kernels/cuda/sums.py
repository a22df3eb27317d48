"""Sums in a fixed order of numbers that other kernels have made: of parts, of the values of rows, of columns.

All sums are float64, whatever the dtype of what is added. Long sums are cut into ranges that are added at the same
time, and the sums of the ranges are then added in order. The ranges depend only on the shape.
"""

from __future__ import annotations

import math

from numba import cuda, float64

THREADS = 256
BLOCKS = 132  # maximum of the blocks that share a long sum
ROWS = 2048  # values of rows that one block adds at least
COLUMN_ROWS = 64  # rows of a column that one block adds at least


def groups_for(n_parts: int) -> int:
    """Number of ranges of parts, so that a range has about as many parts as there are ranges."""
    return max(1, math.isqrt(n_parts))


def blocks_for(n: int) -> int:
    """Number of blocks, and of results, of `sum_in_order` for n values."""
    return max(1, min(BLOCKS, n // ROWS))


def column_parts_for(n_rows: int) -> int:
    """Number of parts of the rows for `column_sums`."""
    return max(1, min(2 * BLOCKS, n_rows // COLUMN_ROWS))


def column_tiles(n_columns: int) -> int:
    """Number of blocks of `column_sums` for one part of the rows."""
    return -(-n_columns // THREADS)


def sum_parts(parts, out, size, n_parts, n_groups, more):
    """Kernel: out[g, e] = sum of parts[p, e] over the p of range g, for `size` numbers e; one thread for each g and e.

    parts : (n_parts * size,)
    out : float64 (n_groups * size,); if `more`, the sums are added to it
    """
    at = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    if at < n_groups * size:
        e, length = at % size, (n_parts + n_groups - 1) // n_groups
        begin = at // size * length
        total = out[at] if more else float64(0)
        for p in range(begin, min(n_parts, begin + length)):
            total += float64(parts[p * size + e])
        out[at] = total


def sum_in_order(values, out, n):
    """Kernel: out[b] = sum of the values of block b's range, float64 (n,): in each thread, then by a fixed tree."""
    shared = cuda.shared.array(THREADS, float64)
    thread, block = cuda.threadIdx.x, cuda.blockIdx.x
    length = (n + cuda.gridDim.x - 1) // cuda.gridDim.x
    total = float64(0)
    for i in range(block * length + thread, min(n, (block + 1) * length), THREADS):
        total += values[i]
    shared[thread] = total
    cuda.syncthreads()
    step = THREADS // 2
    while step > 0:
        if thread < step:
            shared[thread] += shared[thread + step]
        cuda.syncthreads()
        step //= 2
    if thread == 0:
        out[block] = shared[0]


def column_sums(a, parts, n_parts, more, n_rows, n_columns):
    """Kernel: parts[p, k] = sum of the rows a[i, k] of part p, in n_parts * column_tiles(n_columns) blocks.

    A block has up to THREADS columns; if it has fewer, several threads share a column, each with every n-th row.

    a : (n_rows * n_columns,)
    parts : float64 (n_parts * n_columns,); if `more`, the sums are added to it
    """
    shared = cuda.shared.array(THREADS, float64)
    thread = cuda.threadIdx.x
    width = min(n_columns, THREADS)
    sharing, across = THREADS // width, (n_columns + width - 1) // width
    part, tile = cuda.blockIdx.x // across, cuda.blockIdx.x % across
    first, column = thread // width, tile * width + thread % width
    length = (n_rows + n_parts - 1) // n_parts
    begin, end = part * length, min(n_rows, (part + 1) * length)
    total = float64(0)
    if first < sharing and column < n_columns:
        for i in range(begin + first, end, sharing):
            total += float64(a[i * n_columns + column])
    shared[thread] = total
    cuda.syncthreads()
    if first == 0 and column < n_columns:
        for other in range(1, sharing):
            total += shared[other * width + thread]
        to = part * n_columns + column
        parts[to] = (parts[to] if more else float64(0)) + total
