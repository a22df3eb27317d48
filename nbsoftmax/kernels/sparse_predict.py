"""The kernel of `predict` for sparse X."""

from math import inf

import numpy as np

from nbsoftmax.kernels.delayed_stores import new_memory
from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.linear import LOGIT
from nbsoftmax.kernels.predict import BEST, LOG_PROBA, PROBA, best_in_tiles, insert_rows, proba_of_best
from nbsoftmax.kernels.row_tiles import aligned, new_tile
from nbsoftmax.kernels.rows import MOST_CLASSES_IN_TILE, MOST_CLASSES_TO_MEMORY, log_softmax_rows, softmax_rows
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.threads import take
from nbsoftmax.kernels.sparse_linear import sparse_logits


@jit
def sparse_predict(todo, rows, weights, panels, what, k, group, out, best):
    """Write logits, probabilities or their logarithms to `out` (m * K,), or the best k classes to `best` (m * k,).

    The probabilities of the best classes go to `out` (m * k,), unless it is empty. Groups of rows are tasks.
    """
    one_logit = weights.form == LOGIT
    n_classes, stride = (2, 2) if one_logit else (weights.n_classes, weights.stride)
    z = aligned(group * stride + lanes(weights.w), weights.w)
    top = aligned(group * k, z)
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
    memory = new_memory(min(n_classes, MOST_CLASSES_TO_MEMORY), out)
    shift, total, buffer = aligned(group, z), np.empty(group), aligned(lanes(tile), z)
    task = take(todo)
    while task >= 0:
        start = task * group
        n, o = min(group, rows.n_rows - start), start * n_classes
        sparse_logits(rows, weights, panels, start, n, z)
        if one_logit:  # the logits of the two classes are 0 and the difference
            for r in range(n - 1, -1, -1):
                z[2 * r + 1], z[2 * r] = z[r], 0
        if what == PROBA:
            softmax_rows(z, 0, stride, n, n_classes, out, o, memory, False)
        elif what == LOG_PROBA:
            log_softmax_rows(z, 0, stride, n, n_classes, out, o, memory, False)
        elif what != BEST:
            for r in range(n):
                for j in range(n_classes):
                    out[o + r * n_classes + j] = z[r * stride + j]
        elif n_classes <= MOST_CLASSES_IN_TILE:
            best_in_tiles(z, stride, n, n_classes, k, tile, buffer, out, best, start)
        else:
            shift[:n] = -inf
            total[:n] = 0.0
            insert_rows(z, stride, n, 0, n_classes, k, top, shift, total, buffer, out, best, start)
            proba_of_best(n, k, top, shift, total, out, start)
        task = take(todo)
