"""Tiles: a vector for each class, with a row of logits or results in each lane."""

import numpy as np

from nbsoftmax.kernels.lang.simd import HAS_MASKS, REGISTERS_OF_TILE, Tile, lanes
from nbsoftmax.kernels.lang.transpose import lanes_to_rows, rows_to_lanes
from nbsoftmax.kernels.runtime.jit import inlined, part


@part
def aligned(n, like):
    """Allocate n elements of the dtype of `like`, aligned to a cache line."""
    raw = np.empty(n + 64 // like.itemsize, like.dtype)
    skip = (-raw.ctypes.data // like.itemsize) % (64 // like.itemsize)
    return raw[skip : skip + n]


@part
def new_tile(n_classes, like):
    """Allocate a tile: a vector of rows for each class; the number of classes is rounded up to whole squares."""
    width = lanes(like)
    return Tile(aligned((n_classes + width - 1) // width * width * REGISTERS_OF_TILE * width, like))


@inlined
def last_whole(k, n_classes, width):
    """`k`; without mask registers less if this makes the last vector whole, which then overlaps the one before."""
    return k if HAS_MASKS or k + width <= n_classes else max(0, n_classes - width)


@inlined
def fill_tile(z, i, stride, n_rows, n_classes, tile):
    """Transpose the first of n_rows rows of `z`, at most `lanes(tile)`, to a tile; other lanes repeat the last row.

    Give the number of all rows that follow: where there are more than those of the tile, loads are faster.
    """
    width = lanes(z)
    for square in range(0, lanes(tile), width):  # the outer loop: the hardware prefetches few rows at a time
        r = min(square, n_rows - 1)
        at, n = i + r * stride, n_rows - r
        for start in range(0, n_classes, width):
            if n_classes - start > width // 2:
                k = last_whole(start, n_classes, width)
                rows_to_lanes(z, at + k, stride, n, n_classes - k, tile, k * lanes(tile) + square, 1)
            else:
                k = last_whole(start, n_classes, width // 2)
                rows_to_lanes(z, at + k, stride, n, n_classes - k, tile, k * lanes(tile) + square, 2)


@inlined
def empty_tile(tile, out, i, stride, n_rows, n_classes):
    """Inverse of `fill_tile`."""
    width = lanes(out)
    for r in range(0, min(n_rows, lanes(tile)), width):
        at, n = i + r * stride, n_rows - r
        for start in range(0, n_classes, width):
            if n_classes - start > width // 2:
                k = last_whole(start, n_classes, width)
                lanes_to_rows(tile, k * lanes(tile) + r, out, at + k, stride, n, n_classes - k, 1)
            else:
                k = last_whole(start, n_classes, width // 2)
                lanes_to_rows(tile, k * lanes(tile) + r, out, at + k, stride, n, n_classes - k, 2)
