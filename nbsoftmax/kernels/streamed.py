"""The kernels of `rows` for results that are larger than the caches, with the same bits: see `streaming`.

Rows are in tiles. Results in place of the logits are left to `rows`, because their lines are in a cache already.
"""

from nbsoftmax.kernels.row_tiles import new_tile
from nbsoftmax.kernels.rows import (
    MOST_CLASSES_TO_MEMORY,
    chunk_bounds,
    cross_entropy_tiles,
    log_softmax_tiles,
    softmax_tiles,
)
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.threads import take
from nbsoftmax.kernels.streaming import new_memory

# Results with fewer bytes may still be in a cache when they are read.
LEAST_BYTES = 2**24


def pays(z, out, n_classes):
    """Whether these kernels are faster than those of `rows`. `out` is empty if only the loss is wanted."""
    large = out.size > 0 and out.nbytes >= LEAST_BYTES and n_classes <= MOST_CLASSES_TO_MEMORY
    return large and out.ctypes.data != z.ctypes.data and out.flags.aligned


@jit
def softmax(todo, z, out, n_classes, n_rows, n_chunks):
    """As `rows.softmax`."""
    memory = new_memory(n_classes, out)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, n_chunks, n_rows)
        at = low * n_classes
        softmax_tiles(z, at, n_classes, high - low, n_classes, out, at, n_classes, memory)
        chunk = take(todo)


@jit
def log_softmax(todo, z, out, n_classes, n_rows, n_chunks):
    """As `rows.log_softmax`."""
    memory = new_memory(n_classes, out)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, n_chunks, n_rows)
        at = low * n_classes
        log_softmax_tiles(z, at, n_classes, high - low, n_classes, out, at, n_classes, memory)
        chunk = take(todo)


@jit
def cross_entropy(todo, z, n_classes, n_rows, target, scale, losses, want_grad, out, partial):
    """As `rows.cross_entropy`, with gradient."""
    tile, proba_tile = new_tile(n_classes, z), new_tile(n_classes, z)
    memory = new_memory(n_classes, out)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, partial.size, n_rows)
        at = low * n_classes
        partial[chunk] = cross_entropy_tiles(
            z, at, n_classes, high - low, n_classes, low, target, scale, losses, want_grad, out, at, n_classes, tile,
            proba_tile, memory,
        )  # fmt: skip
        chunk = take(todo)
