"""The row kernels for few and very long rows: each row is cut in segments, and the segments are spread over threads.

The names and results are those of `rows`. Three sweeps, each over all segments of all rows: the largest logits; the
terms exp(z - c) and their sums, segment by segment and added in order; the results from the terms.
"""

import numpy as np
from numba import prange

from nbsoftmax.kernels.jit import inlined, jit, kernel
from nbsoftmax.kernels.rows import (
    INDEX,
    below,
    filled,
    label_of,
    row_exp,
    row_log,
    row_scale,
    row_shift,
    row_target,
    weight_of,
)
from nbsoftmax.kernels.simd import element, lanes, load_part, max_of, store_part, sum_of, where
from nbsoftmax.kernels.vmath import log

# Classes of a segment, whole vectors of every dtype: some microseconds of exponentials.
SEGMENT_CLASSES = 1 << 13
# Rows are long from here on; so few of them would leave threads idle if each row went to one.
LONG_CLASSES, FEW_ROWS = 1 << 15, 64


@inlined
def segments(n_classes):
    return (n_classes + SEGMENT_CLASSES - 1) // SEGMENT_CLASSES


@inlined
def segment(t, n_classes):
    """Row of a segment, its first class, and how many."""
    n = segments(n_classes)
    i, first = t // n, t % n * SEGMENT_CLASSES
    return i, first, min(SEGMENT_CLASSES, n_classes - first)


@jit
def segment_shift(t, z, n_classes, part):
    i, first, n = segment(t, n_classes)
    part[t] = row_shift(z, i * n_classes + first, n)


@jit
def segment_exp(t, z, n_classes, shift, keep, out, part):
    """Sum of exp(z - c) over a segment to part[t]; the terms to `out` where `keep`."""
    i, first, n = segment(t, n_classes)
    at = i * n_classes + first
    part[t], last = row_exp(z, at, n, z.dtype.type(shift[i]), keep, out, at)
    whole = n // lanes(z) * lanes(z)
    if keep and whole < n:
        store_part(out, at + whole, last, n - whole)


@jit
def segment_scale(t, out, n_classes, factor):
    """Multiply the kept terms of a segment by the row's factor."""
    i, first, n = segment(t, n_classes)
    at, rest = i * n_classes + first, n % lanes(out)
    row_scale(out, at, n, factor[i], load_part(out, at + n - rest, rest, 0.0))


@jit
def segment_log(t, z, out, n_classes, shift, total):
    i, first, n = segment(t, n_classes)
    at = i * n_classes + first
    row_log(z, at, n, filled(z, shift[i]), log(filled(z, total[i])), out, at)


@jit
def row_logsumexp(i, z, out, shift, total):
    store_part(out, i, filled(z, shift[i]) + log(filled(z, total[i])), 1)


@jit
def largest_of_rows(n_rows, part, shift):
    n = part.size // n_rows
    for i in range(n_rows):
        shift[i] = part[i * n : (i + 1) * n].max()


@jit
def sums_of_rows(n_rows, part, total):
    n = part.size // n_rows
    for i in range(n_rows):
        total[i] = 0.0
        for t in range(i * n, (i + 1) * n):
            total[i] += part[t]


@kernel
def softmax(z, out, n_classes, n_rows, _):
    """Softmax of the rows of `z` to `out`, both flat (m * K,); `out` may be `z`."""
    part, shift, total = np.empty(n_rows * segments(n_classes)), np.empty(n_rows), np.empty(n_rows)
    for t in prange(part.size):
        segment_shift(np.int64(t), z, n_classes, part)
    largest_of_rows(n_rows, part, shift)
    for t in prange(part.size):
        segment_exp(np.int64(t), z, n_classes, shift, True, out, part)
    sums_of_rows(n_rows, part, total)
    factor = 1.0 / total
    for t in prange(part.size):
        segment_scale(np.int64(t), out, n_classes, factor)


@kernel
def log_softmax(z, out, n_classes, n_rows, _):
    """Log-softmax of the rows of `z` to `out`, both flat (m * K,); `out` may be `z`."""
    part, shift, total = np.empty(n_rows * segments(n_classes)), np.empty(n_rows), np.empty(n_rows)
    for t in prange(part.size):
        segment_shift(np.int64(t), z, n_classes, part)
    largest_of_rows(n_rows, part, shift)
    for t in prange(part.size):
        segment_exp(np.int64(t), z, n_classes, shift, False, out, part)
    sums_of_rows(n_rows, part, total)
    for t in prange(part.size):
        segment_log(np.int64(t), z, out, n_classes, shift, total)


@kernel
def logsumexp(z, out, n_classes, n_rows, _):
    """Log-sum-exp of the rows of `z`, flat (m * K,), to `out` (m,)."""
    part, shift, total = np.empty(n_rows * segments(n_classes)), np.empty(n_rows), np.empty(n_rows)
    for t in prange(part.size):
        segment_shift(np.int64(t), z, n_classes, part)
    largest_of_rows(n_rows, part, shift)
    for t in prange(part.size):
        segment_exp(np.int64(t), z, n_classes, shift, False, z, part)
    sums_of_rows(n_rows, part, total)
    for i in range(n_rows):
        row_logsumexp(i, z, out, shift, total)


@jit
def segment_target(t, z, n_classes, target, shift, masses, dots):
    """Sums of the target t_k and of t_k (z_k - c) over a segment."""
    i, first, n = segment(t, n_classes)
    at, c, label = i * n_classes + first, filled(z, shift[i]), label_of(i, target)
    masses[t], dots[t] = 0.0, 0.0
    if label < 0 or target.kind == INDEX:
        return
    mass, dot = filled(z, 0), filled(z, 0)
    for k in range(0, n, lanes(z)):
        rest = min(lanes(z), n - k)
        share = row_target(i, first + k, rest, n_classes, label, target)
        d = below(load_part(z, at + k, rest, 0.0), c)
        mass += share
        dot += where(share > 0.0, share * d, 0.0)
    masses[t], dots[t] = sum_of(mass), sum_of(dot)


@jit
def segment_grad(t, n_classes, target, scale, out, factor):
    """Scale * dL/dz of a segment from its kept terms."""
    i, first, n = segment(t, n_classes)
    at, label = i * n_classes + first, label_of(i, target)
    w = weight_of(i, target.weight) * scale
    if label < 0:
        out[at : at + n] = 0.0
        return
    segment_scale(t, out, n_classes, factor)
    if target.kind != INDEX:
        for k in range(0, n, lanes(out)):
            rest = min(lanes(out), n - k)
            share = row_target(i, first + k, rest, n_classes, label, target)
            store_part(out, at + k, load_part(out, at + k, rest, 0.0) - share * w, rest)
    elif first <= label < first + n:
        out[i * n_classes + label] -= w


@jit
def mass_and_dot(i, z, n_classes, target, shift, masses, dots):
    """Mass of a row's target, and its weighted sum of t_k (c - z_k), from sums over its segments."""
    label, w, n = label_of(i, target), weight_of(i, target.weight), segments(n_classes)
    mass, dot = masses[i * n : (i + 1) * n].sum(), dots[i * n : (i + 1) * n].sum()
    if label < 0:
        return 0.0, 0.0
    if target.kind == INDEX:
        z_y = element(z, i * n_classes + label)
        mass, dot = 1.0, z_y - shift[i] if z_y != shift[i] else 0.0
    return mass, -dot * w


@jit
def log_of(x, like):
    return max_of(log(filled(like, x)))


@kernel
def cross_entropy(z, n_classes, n_rows, target, scale, losses, want_grad, out, partial):
    """Sum of the losses of all rows to partial[0], each to `losses` unless empty; gradient to `out`, which may be z."""
    part, shift, total = np.empty(n_rows * segments(n_classes)), np.empty(n_rows), np.empty(n_rows)
    for t in prange(part.size):
        segment_shift(np.int64(t), z, n_classes, part)
    largest_of_rows(n_rows, part, shift)
    masses, dots = np.zeros(part.size), np.zeros(part.size)
    for t in prange(part.size):
        segment_target(np.int64(t), z, n_classes, target, shift, masses, dots)
    # The logits of the labels are looked up before the terms may take their place.
    mass, loss, factor = np.empty(n_rows), np.empty(n_rows), np.empty(n_rows)
    for i in range(n_rows):
        mass[i], loss[i] = mass_and_dot(i, z, n_classes, target, shift, masses, dots)
    for t in prange(part.size):
        segment_exp(np.int64(t), z, n_classes, shift, want_grad, out, part)
    sums_of_rows(n_rows, part, total)
    for i in range(n_rows):
        w = weight_of(i, target.weight)
        loss[i] += log_of(total[i], z) * mass[i] * w if mass[i] > 0 else 0.0
        partial[0] += loss[i]
        factor[i] = mass[i] * w * scale / total[i]
        if losses.size > 0:
            losses[i] = loss[i]
    if want_grad:
        for t in prange(part.size):
            segment_grad(np.int64(t), n_classes, target, scale, out, factor)
