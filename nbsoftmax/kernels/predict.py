"""Predictions of a linear model, computed from the logits of a block of rows while the block is in cache.

Only the requested results are written. The most probable classes are found without storing all logits or
probabilities.
"""

from collections import namedtuple
from math import inf

import numpy as np

from nbsoftmax.kernels.delayed_stores import new_memory
from nbsoftmax.kernels.lang.simd import any_of, filled, lanes, load, load_part, rarely, store, store_part, where
from nbsoftmax.kernels.lang.tiles import MOST_ROWS
from nbsoftmax.kernels.lang.vmath import exp_of_difference
from nbsoftmax.kernels.linear import BLAS, block_of, block_rows, has_few_classes, logits_of, pack_stride, side_by_side
from nbsoftmax.kernels.row_tiles import aligned, fill_tile, new_tile
from nbsoftmax.kernels.rows import (
    MOST_CLASSES_IN_TILE,
    MOST_CLASSES_TO_MEMORY,
    chunk_bounds,
    log_softmax_rows,
    log_softmax_tiles,
    log_softmax_wide,
    row_exp,
    row_shift,
    softmax_rows,
    softmax_tiles,
    softmax_wide,
)
from nbsoftmax.kernels.runtime.jit import by_type, jit, part
from nbsoftmax.kernels.runtime.threads import take

# What `write_best` uses: a tile, a vector of it, the largest logits (n_rows * k,), the largest logit and the sum of the
# exponentials of each row.
Work = namedtuple("Work", "tile buffer top shift total")
# The requested result: all logits, probabilities or their logarithms; or the most probable classes.
LOGITS, PROBA, LOG_PROBA, BEST = 0, 1, 2, 3
# Number of classes whose logits are stored at a time when only the most probable classes are requested.
PANEL = 1024


@part
def first_other(best, start, n):
    """The first class that is not among best[start:start + n]."""
    k, i = 0, 0
    while i < n:
        taken = best[start + i] == k
        k, i = (k + 1, 0) if taken else (k, i + 1)
    return k


@part
def best_in_tiles(z, stride, n_rows, n_classes, k, tile, buffer, out, best, start):
    """The k most probable classes of each row of a block, and their probabilities unless `out` is empty.

    Rows are in lanes. Equal logits are in the order of the classes. A class that is found becomes -inf in the tile.
    """
    width = lanes(tile)
    for r in range(0, n_rows, width):
        n, o = min(width, n_rows - r), (start + r) * k
        fill_tile(z, r * stride, stride, n_rows - r, n_classes, tile)
        c, total = filled(tile, 0), filled(tile, 0)
        for j in range(k):
            most, place = filled(tile, -inf), filled(tile, -1)
            for i in range(n_classes):
                x = load(tile, i * width)
                place = where(x > most, filled(tile, i), place)
                most = where(x > most, x, most)
            store(buffer, 0, place)
            for lane in range(n):
                best[o + lane * k + j] = np.int64(buffer[lane])
            if rarely(any_of(place < 0)):  # all other logits are -inf or NaN
                for lane in range(n):
                    if buffer[lane] < 0:
                        best[o + lane * k + j] = first_other(best, o + lane * k, j)
            if out.size > 0:
                if j == 0:
                    c = most
                    for i in range(n_classes):
                        total += exp_of_difference(load(tile, i * width), c)
                store(buffer, 0, exp_of_difference(most, c) / total)
                for lane in range(n):
                    out[o + lane * k + j] = buffer[lane]
            if j + 1 < k:
                for lane in range(n):
                    tile.numbers[best[o + lane * k + j] * width + lane] = -inf


@part
def insert_row(z, i, first, n, k, top, t, best, b):
    """Insert the logits of n classes of a row, from `first` on, into its list of the k largest, in descending order."""
    for j in range(n):
        x, seen = z[i + j], first + j
        if seen < k or x > top[t + k - 1]:
            at = min(seen, k - 1)
            while at > 0 and x > top[t + at - 1]:  # equal logits stay in the order of their classes
                top[t + at], best[b + at] = top[t + at - 1], best[b + at - 1]
                at -= 1
            top[t + at], best[b + at] = x, seen


@part
def exp_below(x, c, buffer):
    """Compute exp(x - c) of two numbers."""
    store(buffer, 0, exp_of_difference(filled(buffer, x), filled(buffer, c)))
    return buffer[0]


@part
def insert_rows(z, stride, n, first, few, k, top, shift, total, buffer, out, best, start):
    """Run `insert_row` for the rows of a block; update their largest logits and their sums, unless `out` is empty."""
    for r in range(n):
        insert_row(z, r * stride, first, few, k, top, r * k, best, (start + r) * k)
        if out.size > 0:
            c = max(shift[r], row_shift(z, r * stride, few))
            s = row_exp(z, r * stride, few, c, False, z, 0)[0]
            total[r] = total[r] * exp_below(shift[r], c, buffer) + s
            shift[r] = c


@part
def proba_of_best(n, k, top, shift, total, out, start):
    """Write the probabilities of the best classes of the rows of a block to `out`, unless it is empty."""
    if out.size > 0:
        for r in range(n):
            scale = 1.0 / total[r]
            for j in range(0, k, lanes(out)):
                e = exp_of_difference(load_part(top, r * k + j, k - j, -inf), filled(top, shift[r]))
                store_part(out, (start + r) * k + j, e * scale, k - j)


@part
def notice_not_finite(z, stride, n_rows, not_finite):
    """Make not_finite[0] True if the logit of the first class is NaN or inf for some row of a block.

    It is where a feature is NaN or inf, whatever its weight: 0 times such a number is NaN.
    """
    found = False
    for r in range(n_rows):
        found |= z[r * stride] * 0.0 != 0.0
    if found:
        not_finite[0] = True


def write_proba(weights, z, stride, n, n_classes, what, out, o, memory):
    """Write the probabilities of n rows, or their logarithms, to out[o ...]: see `rows.softmax_rows`."""
    raise NotImplementedError("this function works in compiled code only")


@by_type(write_proba)
def _write_proba(weights, z, stride, n, n_classes, what, out, o, memory):
    def tiles(weights, z, stride, n, n_classes, what, out, o, memory):
        if what == PROBA:
            softmax_tiles(z, 0, stride, n, n_classes, out, o, n_classes, memory, False)
        else:
            log_softmax_tiles(z, 0, stride, n, n_classes, out, o, n_classes, memory, False)

    def either(weights, z, stride, n, n_classes, what, out, o, memory):
        if what == PROBA:
            softmax_rows(z, 0, stride, n, n_classes, out, o, memory, False)
        else:
            log_softmax_rows(z, 0, stride, n, n_classes, out, o, memory, False)

    def wide(weights, z, stride, n, n_classes, what, out, o, memory):
        if what == PROBA:
            softmax_wide(z, 0, stride, n, n_classes, out, o, n_classes)
        else:
            log_softmax_wide(z, 0, stride, n, n_classes, out, o)

    if not has_few_classes(weights):
        return wide
    return tiles if MOST_CLASSES_TO_MEMORY == MOST_CLASSES_IN_TILE else either


def write_best(weights, z, stride, n, n_classes, first, k, work, out, best, start):
    """Write the best k classes of n rows to `best`, and their probabilities to `out` unless it is empty.

    z has the logits of one panel of classes, which begins with the class `first`. Call this for all panels in order:
    `work` has the best classes and the sums of the panels before.
    """
    raise NotImplementedError("this function works in compiled code only")


@by_type(write_best)
def _write_best(weights, z, stride, n, n_classes, first, k, work, out, best, start):
    def tiles(weights, z, stride, n, n_classes, first, k, work, out, best, start):
        best_in_tiles(z, stride, n, n_classes, k, work.tile, work.buffer, out, best, start)

    def panels(weights, z, stride, n, n_classes, first, k, work, out, best, start):
        if first == 0:
            work.shift[:n] = -inf
            work.total[:n] = 0.0
        few = min(stride, n_classes - first)
        insert_rows(z, stride, n, first, few, k, work.top, work.shift, work.total, work.buffer, out, best, start)
        if first + few == n_classes:
            proba_of_best(n, k, work.top, work.shift, work.total, out, start)

    return tiles if has_few_classes(weights) else panels


@part
def work_for_best(n_rows, n_classes, k, like):
    """Memory for the best k classes of so many rows of a block."""
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), like)
    top, shift, buffer = aligned(n_rows * k, like), aligned(n_rows, like), aligned(lanes(tile), like)
    return Work(tile, buffer, top, shift, np.empty(n_rows))


@jit
def predict(todo, rows, weights, what, k, n_chunks, out, best, not_finite):
    """Write logits, probabilities or their logarithms to `out` (m * K,), or the best k classes to `best` (m * k,).

    The probabilities of the best classes go to `out` (m * k,), unless it is empty. not_finite[0] becomes True if X
    contains NaN or inf, or if a logit of the first class is not finite for another reason. Chunks are tasks.
    """
    n_classes = weights.n_classes
    size = block_rows(rows, weights, 1)
    pack = aligned(1 if side_by_side(rows, weights) else size * pack_stride(rows), rows.x)
    # BLAS writes rows of any stride, so the logits go directly to `out`. Tiles do not: they write beyond the last row.
    direct = weights.form == BLAS and what != BEST
    panel = min(n_classes, PANEL) if weights.form == BLAS else n_classes
    stride = n_classes if direct else panel if weights.form == BLAS else weights.stride
    scratch = aligned(1 if direct else (size + MOST_ROWS) * stride, rows.x)
    work = work_for_best(size, n_classes, k, rows.x)
    memory = new_memory(min(n_classes, MOST_CLASSES_TO_MEMORY), out)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, n_chunks, rows.n_rows)
        for start in range(low, high, size):
            n = min(size, high - start)
            block = block_of(rows, weights, start, n, pack)
            o = start * n_classes
            if what != BEST:
                z = out[o:] if direct else scratch
                logits_of(block, weights, 0, n_classes, z, stride)
                notice_not_finite(z, stride, n, not_finite)
                if what != LOGITS:
                    write_proba(weights, z, stride, n, n_classes, what, out, o, memory)
                elif not direct:
                    for r in range(n):
                        for j in range(n_classes):
                            out[o + r * n_classes + j] = z[r * stride + j]
                continue
            for first in range(0, n_classes, panel):
                logits_of(block, weights, first, min(first + panel, n_classes), scratch, stride)
                if first == 0:
                    notice_not_finite(scratch, stride, n, not_finite)
                write_best(weights, scratch, stride, n, n_classes, first, k, work, out, best, start)
        chunk = take(todo)
