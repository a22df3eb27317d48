"""Results of tiles that wait in memory of their own, and are stored while the next tile is computed.

A core that stores the results of a whole tile at once waits as soon as its store buffer is full. The results of a tile
therefore wait in `memory`, in a first-level cache, and go to their array a few lines at a time, one part for each
class, while the exponentials of the next tile are computed (`store_waiting`).

If there are more results than the caches hold, they are stored past these (`past`): to store in a cache line that is
not in its caches, a core reads the line from memory, changes it, and writes it back later. A store past the caches
writes whole lines without reading them.

`memory` has two halves, which take turns. A half has the results of a tile from place `skew` on, so that its vectors
are whole lines of the results; before them are the last results of the tile before. The results of the first tile of
some rows, whose first line may belong to another thread in part, are stored at once. With None in place of `memory`,
the results of all tiles are.
"""

import numpy as np

from nbsoftmax.kernels.lang.simd import (
    REGISTERS_OF_TILE,
    lanes,
    load,
    move_results,
    store,
    store_part,
    wait_for_stores,
)
from nbsoftmax.kernels.row_tiles import empty_tile
from nbsoftmax.kernels.runtime.jit import inlined, part

NOTHING = -(2**62)  # in place of an index: still negative when the offset of a part of a tile is added
# Fewer bytes of results may still be in a cache when they are read.
LEAST_BYTES_PAST_CACHES = 2**25


def past_caches(z, out):
    """Whether results are to be stored past the caches in `out`, which may be the logits `z`, or empty for none."""
    large = out.size > 0 and out.nbytes >= LEAST_BYTES_PAST_CACHES
    return bool(large and out.ctypes.data != z.ctypes.data and out.flags.aligned)


@inlined
def half_of(n_classes, out):
    """Number of elements of a half of the memory: the results of a tile, and two vectors more."""
    return (n_classes * REGISTERS_OF_TILE + 2) * lanes(out)


@part
def new_memory(n_classes, out):
    """Memory for the results of two tiles."""
    width, n = lanes(out), 2 * half_of(n_classes, out)
    raw = np.empty(n + width, out.dtype)
    skip = (-raw.ctypes.data // out.itemsize) % width
    return raw[skip : skip + n]


@inlined
def skew_of(memory, out, o):
    """Number of elements between out[o] and the whole line before it."""
    return 0 if memory is None else (out.ctypes.data // out.itemsize + o) % lanes(out)


@inlined
def pending_of(memory, r, o, skew, n_classes, tile, out):
    """Where the results of the tile before row r, whose own go to out[o ...], are to be stored, and where they wait."""
    if memory is None or r < 2 * lanes(tile):
        return NOTHING, 0
    return o - n_classes * lanes(tile) - skew, (r // lanes(tile) - 1) % 2 * half_of(n_classes, out)


@inlined
def store_waiting(memory, waiting, out, at, k, tile, past):
    """Store part k of the results of a tile, which has a part for each class; nothing is stored if at < 0."""
    move_results(memory, waiting + k * lanes(tile), out, at + k * lanes(tile), tile, past)


@inlined
def write_tile(memory, r, skew, tile, out, o, stride, n_rows, n_classes):
    """Write the rows of a tile from row r on to out[o ...], as `empty_tile`, or let them wait."""
    if memory is None:
        empty_tile(tile, out, o, stride, n_rows, n_classes)
    else:
        half = half_of(n_classes, out)
        here = r // lanes(tile) % 2 * half
        empty_tile(tile, memory, here + skew, n_classes, n_rows, n_classes)
        store(memory, half - here, load(memory, here + n_classes * lanes(tile)))
        if r == 0:
            store_first(memory, skew, out, o, n_rows * n_classes)


@part
def store_first(memory, skew, out, o, n):
    """Store the results of the first tile, whose first line may belong to another thread in part."""
    for c in range(0, n, lanes(out)):
        store_part(out, o + c, load(memory, skew + c), min(lanes(out), n - c))


@part
def store_last(memory, past, n_rows, skew, tile, n_classes, out, oi):
    """Store the results of the last tile of some rows, which begin at out[oi]; other threads see all afterwards."""
    if memory is not None:
        width = lanes(tile)
        r = (n_rows - 1) // width * width
        if r > 0:
            waiting = r // width % 2 * half_of(n_classes, out)
            at, n = oi + r * n_classes - skew, skew + (n_rows - r) * n_classes
            whole = n // lanes(out) * lanes(out)
            for c in range(0, whole, lanes(out)):
                move_results(memory, waiting + c, out, at + c, out, past)
            store_part(out, at + whole, load(memory, waiting + whole), n - whole)
        if past:
            wait_for_stores()
