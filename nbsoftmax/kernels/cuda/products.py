"""Matrix products of rows for any number of classes and features: logits of some rows, and sums over rows.

    logits      Z = X W^T + 1 b^T + offset            (n, K), some thousand rows at a time
    sums        S += sum_i w_i (a_i, 1)(b_i, 1)^T     gradients from a = d, b = x; Gram matrices from a = b = x

Each block computes a tile of SIDE x SIDE results, 4 x 4 in each of its THREADS, from DEPTH rows or features at a time
in shared memory. Sums are float32 for at most FLUSH rows, then float64. The rows are split into parts;
`sums.sum_parts` adds the sums of the parts in order.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, float32, float64, uint64

THREADS, SIDE, DEPTH = 256, 64, 16
SIXTEENTH = SIDE // 4
PADDED = SIDE + 1  # threads that write a column of a tile access different memory banks
FLUSH = 512
BLOCKS = 264  # minimum of blocks, if the rows can be split into enough parts
BLAS_ROWS = 1024  # rows that cuBLAS sums in float32 before float64 is used: more lose digits, fewer move more sums


def tiles(n: int) -> int:
    """Number of tiles for n results along one side."""
    return -(-n // SIDE)


def parts_for(n_rows: int, n_a: int, n_b: int, most_bytes: int) -> int:
    """Number of parts of the rows for sums of shape (n_a, n_b); it depends only on the shape and `most_bytes`."""
    wanted = -(-BLOCKS // (tiles(n_a) * tiles(n_b)))
    return max(1, min(wanted, -(-n_rows // FLUSH), most_bytes // (8 * n_a * n_b)))


@cache
def logits(dtype: np.dtype[Any]) -> Callable[..., None]:
    """Make a kernel for the logits Z of some rows, in tiles(n_rows) * tiles(n_classes) blocks.

    kernel(x, ld, w, ld_w, bias, offset, z, n_rows, n_features, n_classes), with `offset` (n_rows * n_classes,), or an
    array of any other size for none.
    """
    number = float32 if dtype == np.float32 else float64
    size = DEPTH * PADDED

    def kernel(x, ld, w, ld_w, bias, offset, z, n_rows, n_features, n_classes):
        left, right = cuda.shared.array(size, number), cuda.shared.array(size, number)
        sums = cuda.local.array(16, number)
        thread = cuda.threadIdx.x
        across = (n_classes + SIDE - 1) // SIDE
        first_row = cuda.blockIdx.x // across * SIDE
        first_class = cuda.blockIdx.x % across * SIDE
        up, along = thread // SIXTEENTH, thread % SIXTEENTH
        for v in range(16):
            sums[v] = number(0)
        for start in range(0, n_features, DEPTH):
            for u in range(SIDE * DEPTH // THREADS):
                e = u * THREADS + thread
                i, j = e // DEPTH, e % DEPTH
                inside = start + j < n_features
                here = j * PADDED + i
                row, k = first_row + i, first_class + i
                left[here] = x[row * ld + start + j] if inside and row < n_rows else number(0)
                right[here] = w[k * ld_w + start + j] if inside and k < n_classes else number(0)
            cuda.syncthreads()
            for j in range(DEPTH):
                for u in range(4):
                    for v in range(4):
                        sums[u * 4 + v] += left[j * PADDED + up * 4 + u] * right[j * PADDED + along + v * SIXTEENTH]
            cuda.syncthreads()
        for u in range(4):
            row = first_row + up * 4 + u
            for v in range(4):
                k = first_class + along + v * SIXTEENTH
                if row < n_rows and k < n_classes:
                    value = sums[u * 4 + v] + bias[k]
                    if offset.size == n_rows * n_classes:
                        value += offset[row * n_classes + k]
                    z[row * n_classes + k] = value

    return kernel


def biases(bias, offset, z, n_rows, n_classes):
    """Kernel: Z <- 1 b^T + offset for some rows, one thread for each number; `offset` is as in `logits`."""
    e = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    if e < n_rows * n_classes:
        value = bias[e % n_classes]
        if offset.size == n_rows * n_classes:
            value += offset[e]
        z[e] = value


@cache
def weighted_sums(dtype: np.dtype[Any]) -> Callable[..., None]:
    """Make a kernel for the sums S of some rows, in n_parts * tiles(rows of S) * tiles(columns of S) blocks.

    kernel(a, ld_a, n_a, b, ld_b, n_b, weight, ones_a, ones_b, squared, parts, n_parts, more, n_rows)

    weight : float64 (n_rows,); an array of any other size if all are 1
    ones_a, ones_b : 1 if a column of ones is appended to `a`, to `b`; else 0
    squared : whether to use the squares of b instead of b
    parts : float64 (n_parts, n_a + ones_a, n_b + ones_b); if `more`, the sums are added to it
    """
    number = float32 if dtype == np.float32 else float64
    size = DEPTH * SIDE

    def kernel(a, ld_a, n_a, b, ld_b, n_b, weight, ones_a, ones_b, squared, parts, n_parts, more, n_rows):
        left, right = cuda.shared.array(size, number), cuda.shared.array(size, number)
        sums = cuda.local.array(16, number)
        thread = cuda.threadIdx.x
        high, wide = n_a + ones_a, n_b + ones_b
        across = (wide + SIDE - 1) // SIDE
        n_tiles = across * ((high + SIDE - 1) // SIDE)
        part, tile = cuda.blockIdx.x // n_tiles, cuda.blockIdx.x % n_tiles
        first_a, first_b = tile // across * SIDE, tile % across * SIDE
        up, along = thread // SIXTEENTH, thread % SIXTEENTH
        rows_of_part = (n_rows + n_parts - 1) // n_parts
        begin = part * rows_of_part
        end = min(n_rows, begin + rows_of_part)
        for since in range(begin, max(end, begin + 1), FLUSH):
            for v in range(16):
                sums[v] = number(0)
            for start in range(since, min(since + FLUSH, end), DEPTH):
                for u in range(SIDE * DEPTH // THREADS):
                    e = u * THREADS + thread
                    i, c = start + e // SIDE, e % SIDE
                    inside = i < min(since + FLUSH, end)
                    w = number(1)
                    if inside and weight.size == n_rows:
                        w = number(weight[i])
                    p, q = first_a + c, first_b + c
                    value = number(1) if p == n_a and ones_a > 0 else number(0)
                    if inside and p < n_a:
                        value = a[i * ld_a + p]
                    left[e] = value * w if inside else number(0)
                    value = number(1) if q == n_b and ones_b > 0 else number(0)
                    if inside and q < n_b:
                        value = b[i * ld_b + q]
                    right[e] = (value * value if squared else value) if inside else number(0)
                cuda.syncthreads()
                for j in range(DEPTH):
                    for u in range(4):
                        for v in range(4):
                            sums[u * 4 + v] += left[j * SIDE + up * 4 + u] * right[j * SIDE + along + v * SIXTEENTH]
                cuda.syncthreads()
            for u in range(4):
                p = first_a + up * 4 + u
                for v in range(4):
                    q = first_b + along + v * SIXTEENTH
                    if p < high and q < wide:
                        to = (part * high + p) * wide + q
                        before = parts[uint64(to)] if more or since > begin else float64(0)
                        parts[uint64(to)] = before + float64(sums[u * 4 + v])

    return kernel
