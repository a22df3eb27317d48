"""Row kernels: softmax, log-softmax, log-sum-exp and cross-entropy of rows of logits.

    c = max_k z_k,   s = sum_k exp(z_k - c) = 1 + r
    softmax_k = exp(z_k - c) / s      log_softmax_k = (z_k - c) - log1p(r)   lse = c + log1p(r)
    L = sum_k t_k (lse - z_k),        dL/dz_k = a_k sum_l t_l - t_k           (t: weighted target)

If r is small, the sum s = 1 + r loses its digits, and then log s loses all accuracy. The terms below the maximum are
therefore summed separately. This sum is r if only one class attains the maximum, which implies s < 2; if s >= 2,
r = s - 1 is accurate. For the same reason, the gradient of a unique maximum m is computed as
sum_{l != m} t_l - (r / s) sum_l t_l.

The stages exist in two forms. For few classes, rows are in lanes: as many rows as a register has lanes are transposed
into a tile, [k][lane], and each stage loops over the classes, with every lane in use. For many classes, one row is
processed at a time, with classes in lanes. Classes that share an infinite maximum get equal probabilities, which is the
limit; a NaN affects only its own row.

The results of a row do not depend on other rows; the sum of the losses adds the rows in a fixed order.
"""

from collections import namedtuple
from math import exp as exp_of_number
from math import inf
from math import log1p as log1p_of_number

import numpy as np

from nbsoftmax.kernels.chunks import CHUNK_STEP
from nbsoftmax.kernels.delayed_stores import new_memory, pending_of, skew_of, store_last, store_waiting, write_tile
from nbsoftmax.kernels.kinds import INDEX, PROBA
from nbsoftmax.kernels.lang.simd import (
    VECTOR_BYTES,
    any_of,
    element,
    filled,
    fma,
    head,
    lane_numbers,
    lanes,
    larger,
    load,
    load_converted,
    load_part,
    max_of,
    store,
    store_part,
    sum_of,
    to_doubles,
    where,
)
from nbsoftmax.kernels.lang.vmath import exp_of_difference, log1p
from nbsoftmax.kernels.row_tiles import empty_tile, fill_tile, new_tile
from nbsoftmax.kernels.runtime.jit import inlined, jit, part
from nbsoftmax.kernels.runtime.threads import take

# Up to this number of classes, tiles are faster than horizontal sums of one row at a time.
MOST_CLASSES_IN_TILE = 64
# The same for softmax and log-softmax, and for cross-entropy, whose results do not replace the logits in a cache.
MOST_CLASSES_TO_MEMORY = MOST_CLASSES_IN_TILE if VECTOR_BYTES > 16 else 47
MOST_CLASSES_WITH_GRADIENT = 47
# Number of vectors that are summed in a register before the sum is added in float64; limits the rounding of long rows.
SEGMENT = 64

# Losses above this limit, near the largest float32, are recomputed by `far_loss` if rows are processed one at a time.
FAR = 2.0**120

# Targets of all samples: class indices `labels` (m,) or rows of probabilities `proba` (m * K,), depending on `kind`.
# The weighted target of class k is gain[k] q_k + floor[k], times weight[i]; `weight` is empty if all weights are 1.
Target = namedtuple("Target", "labels proba gain floor weight kind")


@part
def chunk_bounds(chunk, n_chunks, n_rows):
    """First row of a chunk, and last row + 1: multiples of CHUNK_STEP."""
    steps = (n_rows + CHUNK_STEP - 1) // CHUNK_STEP
    return chunk * steps // n_chunks * CHUNK_STEP, min(n_rows, (chunk + 1) * steps // n_chunks * CHUNK_STEP)


@part
def bounds_of_logits(chunk, n_chunks, n_rows, n_classes):
    """As `chunk_bounds`, but rows that are too long for tiles are split evenly: there may be fewer than CHUNK_STEP."""
    if n_classes > MOST_CLASSES_IN_TILE:
        return chunk * n_rows // n_chunks, (chunk + 1) * n_rows // n_chunks
    return chunk_bounds(chunk, n_chunks, n_rows)


@inlined
def below(z, c):
    """`z - c`; 0 where both are the same infinity."""
    return where(z == c, 0.0, z - c)


@inlined
def without_largest(s, t):
    """`s - 1` to full precision, for vectors; `t` is the sum s without the terms of the maximum."""
    return where(s < 2.0, t, s - 1.0)


# --- stages, rows in lanes -------------------------------------------------------------------------


@inlined
def tile_shift(tile, n_classes):
    c = load(tile, 0)
    for k in range(1, n_classes):
        c = larger(c, load(tile, k * lanes(tile)))
    return c


@inlined
def tile_exp(tile, n_classes, c, out, memory, past, at, waiting):
    """Replace each logit by exp(z - c); return the sums of the rows. Also store what waits (`store_waiting`)."""
    s = filled(tile, 0)
    for k in range(n_classes):
        store_waiting(memory, waiting, out, at, k, tile, past)
        e = exp_of_difference(load(tile, k * lanes(tile)), c)
        store(tile, k * lanes(tile), e)
        s += e
    return s


@inlined
def tile_rest(tile, n_classes, c, out, memory, past, at, waiting):
    """Sums of exp(z - c) without one term of the maximum; the tile is not changed. Also store what waits."""
    s, t = filled(tile, 0), filled(tile, 0)
    for k in range(n_classes):
        store_waiting(memory, waiting, out, at, k, tile, past)
        z = load(tile, k * lanes(tile))
        e = exp_of_difference(z, c)
        s += e
        t = where(z < c, t + e, t)
    return without_largest(s, t)


# --- stages, classes in lanes ----------------------------------------------------------------------


@inlined
def row_shift(z, i, n_classes):
    c = filled(z, -inf)
    width = lanes(z)
    whole = n_classes // width * width
    for k in range(0, whole, width):
        c = larger(c, load(z, i + k))
    if whole < n_classes:
        c = larger(c, load_part(z, i + whole, n_classes - whole, -inf))
    return max_of(c)


@inlined
def row_exp(z, i, n_classes, c, keep, out, o):
    """Sums of exp(z - c) over the row, with and without the terms of the maximum, and the last terms.

    If `keep`, the terms of all whole vectors go to `out`. The last terms, fewer than a vector, are returned in a
    register, padded with 0: to read what a masked store has just written takes about a hundred cycles.
    """
    width = lanes(z)
    whole = n_classes // width * width
    total, lower = 0.0, 0.0
    last = filled(z, 0)
    if whole < n_classes:
        x = load_part(z, i + whole, n_classes - whole, 0.0)
        last = head(exp_of_difference(x, c), n_classes - whole)
        total = sum_of(last) + 0.0
        lower = sum_of(where(x < c, last, 0.0)) + 0.0
    for start in range(0, whole, SEGMENT * width):
        s, t = filled(z, 0), filled(z, 0)
        for k in range(start, min(whole, start + SEGMENT * width), width):
            x = load(z, i + k)
            e = exp_of_difference(x, c)
            if keep:
                store(out, o + k, e)
            s += e
            t = where(x < c, t + e, t)
        total += sum_of(s)
        lower += sum_of(t)
    return total, lower, last


@inlined
def row_rest(total, lower):
    """`without_largest` for the two sums of one row, `total` and `lower`."""
    return lower if total < 2.0 else total - 1.0


@inlined
def row_scale(out, o, n_classes, factor, last):
    """Multiply the stored terms of a row, and `last`, which is stored after them, by a factor."""
    width = lanes(out)
    whole = n_classes // width * width
    for k in range(0, whole, width):
        store(out, o + k, load(out, o + k) * factor)
    if whole < n_classes:
        store_part(out, o + whole, last * factor, n_classes - whole)


# --- softmax, log-softmax, log-sum-exp --------------------------------------------------------------


@part
def softmax_tiles(z, zi, stride, n_rows, n_classes, out, oi, out_stride, memory=None, past=False):
    """As `softmax_rows`, with rows in lanes."""
    tile = new_tile(n_classes, z)
    width, skew = lanes(tile), skew_of(memory, out, oi)
    for r in range(0, n_rows, width):
        n, o = min(width, n_rows - r), oi + r * out_stride
        at, waiting = pending_of(memory, r, o, skew, n_classes, tile, out)
        fill_tile(z, zi + r * stride, stride, n_rows - r, n_classes, tile)
        c = tile_shift(tile, n_classes)
        # One division for each row: multiplication by the reciprocal adds half an ULP of error and is much faster.
        scale = 1.0 / tile_exp(tile, n_classes, c, out, memory, past, at, waiting)
        for k in range(n_classes):
            store(tile, k * width, load(tile, k * width) * scale)
        write_tile(memory, r, skew, tile, out, o, out_stride, n, n_classes)
    store_last(memory, past, n_rows, skew, tile, n_classes, out, oi)


@part
def softmax_wide(z, zi, stride, n_rows, n_classes, out, oi, out_stride):
    """As `softmax_rows`, with classes in lanes."""
    for r in range(n_rows):
        at, o = zi + r * stride, oi + r * out_stride
        total, _, last = row_exp(z, at, n_classes, row_shift(z, at, n_classes), True, out, o)
        row_scale(out, o, n_classes, 1.0 / total, last)


@part
def softmax_rows(z, zi, stride, n_rows, n_classes, out, oi, memory, past):
    """Softmax of a block of rows: row r begins at z[zi + r * stride], its result at out[oi + r * n_classes].

    `out` may be `z`, with the same stride. For `memory` and `past`, see `delayed_stores`.
    """
    if n_classes <= MOST_CLASSES_TO_MEMORY:
        softmax_tiles(z, zi, stride, n_rows, n_classes, out, oi, n_classes, memory, past)
    else:
        softmax_wide(z, zi, stride, n_rows, n_classes, out, oi, n_classes)


@part
def log_softmax_tiles(z, zi, stride, n_rows, n_classes, out, oi, out_stride, memory=None, past=False):
    """As `log_softmax_rows`, with rows in lanes."""
    tile = new_tile(n_classes, z)
    width, skew = lanes(tile), skew_of(memory, out, oi)
    for r in range(0, n_rows, width):
        n, o = min(width, n_rows - r), oi + r * out_stride
        at, waiting = pending_of(memory, r, o, skew, n_classes, tile, out)
        fill_tile(z, zi + r * stride, stride, n_rows - r, n_classes, tile)
        c = tile_shift(tile, n_classes)
        log_s = log1p(tile_rest(tile, n_classes, c, out, memory, past, at, waiting))
        for k in range(n_classes):
            store(tile, k * width, below(load(tile, k * width), c) - log_s)
        write_tile(memory, r, skew, tile, out, o, out_stride, n, n_classes)
    store_last(memory, past, n_rows, skew, tile, n_classes, out, oi)


@part
def log_softmax_wide(z, zi, stride, n_rows, n_classes, out, oi):
    """As `log_softmax_rows`, with classes in lanes."""
    for r in range(n_rows):
        at, o = zi + r * stride, oi + r * n_classes
        c = filled(z, row_shift(z, at, n_classes))
        total, lower, _ = row_exp(z, at, n_classes, c, False, out, o)
        log_s = log1p(filled(z, row_rest(total, lower)))
        row_log(z, at, n_classes, c, log_s, out, o)


@part
def log_softmax_rows(z, zi, stride, n_rows, n_classes, out, oi, memory, past):
    """As `softmax_rows`, log-softmax: (z - c) - log1p(r); this order keeps the digits of large logits."""
    if n_classes <= MOST_CLASSES_TO_MEMORY:
        log_softmax_tiles(z, zi, stride, n_rows, n_classes, out, oi, n_classes, memory, past)
    else:
        log_softmax_wide(z, zi, stride, n_rows, n_classes, out, oi)


@inlined
def row_log(z, i, n_classes, c, log_s, out, o):
    """Write (z - c) - log s of a row to `out`."""
    width = lanes(z)
    whole = n_classes // width * width
    for k in range(0, whole, width):
        store(out, o + k, below(load(z, i + k), c) - log_s)
    if whole < n_classes:
        rest = n_classes - whole
        store_part(out, o + whole, below(load_part(z, i + whole, rest, 0.0), c) - log_s, rest)


@part
def logsumexp_rows(z, out, n_classes, low, high):
    """Write the log-sum-exp, c + log1p(r), of the rows low to high - 1 of `z`, flat (m * K,), to `out` (m,)."""
    if n_classes <= MOST_CLASSES_IN_TILE:
        tile = new_tile(n_classes, z)
        width = lanes(tile)
        for i in range(low, high, width):
            n_rows = min(width, high - i)
            fill_tile(z, i * n_classes, n_classes, high - i, n_classes, tile)
            c = tile_shift(tile, n_classes)
            store_part(out, i, c + log1p(tile_rest(tile, n_classes, c, out, None, False, -1, 0)), n_rows)
    else:
        for i in range(low, high):
            at = i * n_classes
            c = filled(z, row_shift(z, at, n_classes))
            total, lower, _ = row_exp(z, at, n_classes, c, False, z, at)
            store_part(out, i, c + log1p(filled(z, row_rest(total, lower))), 1)


# --- cross-entropy ----------------------------------------------------------------------------------


@inlined
def label_of(i, target):
    """Label of sample i; -1 if the sample is ignored or has weight 0, so that its logits have no effect."""
    if target.weight.size > 0 and target.weight[i] == 0.0:
        return -1
    return 0 if target.kind == PROBA else target.labels[i]


@inlined
def weight_of(i, weight):
    return weight[i] if weight.size > 0 else 1.0


@inlined
def weights_in_lanes(i, n, weight, tile):
    """The weights of the n samples from i on, in the lanes of a vector of `tile`; 0 in the other lanes."""
    if weight.size > 0:
        return load_converted(weight, i, n, 0.0, tile)
    return where(lane_numbers(tile) < n, filled(tile, 1), 0.0)


@part
def class_variances(a, at, n_classes, h, out, o):
    """Write h a_k (1 - a_k) of the probabilities a[at ...] to out[o ...], which may be the same; return their sum.

    For a class with a > 1/2, 1 - a would lose digits by cancellation: the sum of the other a takes its place.
    """
    sure, others, total = -1, 0.0, 0.0
    for k in range(n_classes):
        if a[at + k] > 0.5:
            sure = k
        else:
            others += a[at + k]
    for k in range(n_classes):
        each = h * a[at + k] * (others if k == sure else 1 - a[at + k])
        out[o + k] = each
        total += each
    return total


@part
def far_loss(z, at, n_classes, i, label, target):
    """Loss of sample i, whose logits are z[at ...], if differences of logits may overflow.

    Half of such a difference is finite, and so may be its product with a target or a weight. This function is slow; it
    is called only for the rare rows whose loss would overflow otherwise.
    """
    c = -inf
    for k in range(n_classes):
        c = max(c, float(element(z, at + k)))
    s, lower, mass, half = 0.0, 0.0, 0.0, 0.0
    for k in range(n_classes):
        x = float(element(z, at + k))
        e = 1.0 if x == c else exp_of_number(x - c)
        s += e
        lower += 0.0 if x == c else e
        t = float(target.floor[k])
        if target.kind == PROBA:
            t += float(target.proba[i * n_classes + k]) * float(target.gain[k])
        elif k == label:
            t += float(target.gain[k])
        mass += t
        if t > 0.0 and x != c:
            half += t * (0.5 * c - 0.5 * x)
    loss = half + 0.5 * mass * log1p_of_number(lower if s < 2.0 else s - 1.0)
    return 2.0 * (loss * weight_of(i, target.weight))


@part
def far_losses(z, at, stride, n_rows, n_classes, first, target, far, losses, tile):
    """Sum of `far_loss` over the rows of a tile that `far` marks; each goes to `losses`, unless it is empty."""
    marks, total = np.empty(lanes(tile), z.dtype), 0.0
    store(marks, 0, where(far, filled(tile, 1), 0.0))
    for r in range(n_rows):
        if marks[r] > 0.0:
            i = first + r
            loss = far_loss(z, at + r * stride, n_classes, i, label_of(i, target), target)
            total += loss
            if losses.size > 0:
                losses[i] = loss
    return total


@inlined
def tile_target(tile, k, label, target, proba_tile):
    """Targets t_k of the rows of a tile."""
    gain, floor = target.gain[k], target.floor[k]
    if target.kind == PROBA:
        return load(proba_tile, k * lanes(tile)) * gain + floor
    return where(label == k, gain + floor, filled(tile, floor))


@part
def cross_entropy_tiles(
    z, zi, stride, n_rows, n_classes, first, target, scale, losses, want_grad, out, oi, out_stride, tile, proba_tile,
    memory=None, past=False,
):  # fmt: skip
    """As `cross_entropy_rows`, with rows in lanes."""
    width, skew = lanes(tile), skew_of(memory, out, oi)
    total, far_total = to_doubles(filled(tile, 0)), 0.0
    for r in range(0, n_rows, width):
        n, o = min(width, n_rows - r), oi + r * out_stride
        at, waiting = pending_of(memory, r, o, skew, n_classes, tile, out)
        fill_tile(z, zi + r * stride, stride, n_rows - r, n_classes, tile)
        # Label -1 marks what has no effect: rows beyond the last, ignored samples, samples of weight 0.
        if target.kind == PROBA:
            label = where(lane_numbers(tile) < n, filled(tile, 0), -1.0)
        else:
            label = load_converted(target.labels, first + r, n, -1.0, tile)
        w = filled(tile, 1)
        if target.weight.size > 0:
            w = load_converted(target.weight, first + r, n, 0.0, tile)
            label = where(w > 0.0, label, -1.0)
        alive = label >= 0.0
        if any_of(label < 0.0):
            for k in range(n_classes):  # numbers of samples without effect: no NaN, so that zero times a term is zero
                store(tile, k * width, where(alive, load(tile, k * width), 0.0))
        c = tile_shift(tile, n_classes)
        # `other`: for INDEX the sum of the terms of all classes except the label, else of those below the maximum.
        zero = filled(tile, 0)
        s, other, dot, mass, other_mass = zero, zero, zero, filled(tile, 1), zero
        if target.kind == INDEX:
            z_y = filled(tile, 0)
            for k in range(n_classes):
                store_waiting(memory, waiting, out, at, k, tile, past)
                x = load(tile, k * width)
                e = exp_of_difference(x, c)
                store(tile, k * width, e)
                s += e
                other = where(label == k, other, other + e)
                z_y = where(label == k, x, z_y)
            dot = below(z_y, c)
            rest = where(dot == 0.0, other, s - 1.0)
        else:
            if target.kind == PROBA:
                fill_tile(target.proba, (first + r) * n_classes, n_classes, n_rows - r, n_classes, proba_tile)
            mass = filled(tile, 0)
            for k in range(n_classes):
                store_waiting(memory, waiting, out, at, k, tile, past)
                x = load(tile, k * width)
                d = below(x, c)
                e = exp_of_difference(x, c)
                store(tile, k * width, e)
                s += e
                other = where(x < c, other + e, other)
                t = tile_target(tile, k, label, target, proba_tile)
                mass += t
                other_mass = where(x < c, other_mass + t, other_mass)
                dot += where(t > 0.0, t * d, 0.0)  # a product of 0 and -inf counts as 0
            rest = without_largest(s, other)
        loss = where(alive, (mass * log1p(rest) - dot) * w, 0.0)
        far = loss == inf
        total += to_doubles(where(far, 0.0, loss))
        if losses.size > 0:
            store_part(losses, first + r, loss, n)
        if any_of(far):
            far_total += far_losses(z, zi + r * stride, stride, n, n_classes, first + r, target, far, losses, tile)
        if want_grad:
            w = where(alive, w * scale, 0.0)
            factor = mass * w / s
            if target.kind == INDEX:
                own = 0.0 - other * factor
                for k in range(n_classes):
                    store(tile, k * width, where(label == k, own, load(tile, k * width) * factor))
            else:
                own = other_mass * w - rest * factor
                sole = where(s < 2.0, filled(tile, 1), 2.0)  # the term of a unique maximum is 1; no term is 2
                for k in range(n_classes):
                    e = load(tile, k * width)
                    # Explicit, because the optimiser would choose which of the two products is rounded.
                    g = fma(e, factor, -(w * tile_target(tile, k, label, target, proba_tile)))
                    store(tile, k * width, where(alive, where(e == sole, own, g), 0.0))
            write_tile(memory, r, skew, tile, out, o, out_stride, n, n_classes)
    store_last(memory, past, n_rows, skew, tile, n_classes, out, oi)
    return sum_of(total) + far_total


@inlined
def row_target(i, k, few, label, target):
    """Targets t of a vector of classes from k on, of which `few` exist."""
    n_classes = target.gain.size
    t = load_part(target.floor, k, few, 0.0)
    if target.kind == PROBA:
        t = fma(load_part(target.proba, i * n_classes + k, few, 0.0), load_part(target.gain, k, few, 0.0), t)
    elif k <= label < k + lanes(target.floor):
        t = t + where(lane_numbers(target.floor) == label - k, filled(target.gain, target.gain[label]), 0.0)
    return t


@inlined
def target_sums(z, at, i, first, n, c, label, target):
    """Sums in float64, over n classes from `first` on with logits z[at ...]: t, t below the maximum, and t (z - c)."""
    width = lanes(z)
    mass, other_mass, dot = 0.0, 0.0, 0.0
    # Smoothed targets are equal numbers, so their rounding errors add up: shorter sums in float32.
    segment = (SEGMENT if z.itemsize == 8 else SEGMENT // 8) * width
    for start in range(0, n, segment):
        masses, others, dots = filled(z, 0), filled(z, 0), filled(z, 0)
        for k in range(start, min(n, start + segment), width):
            few = min(width, n - k)
            t = row_target(i, first + k, few, label, target)
            x = load_part(z, at + k, few, 0.0)
            masses += t
            others = where(x < c, others + t, others)
            dots += where(t > 0.0, t * below(x, c), 0.0)
        mass += sum_of(masses)
        other_mass += sum_of(others)
        dot += sum_of(dots)
    return mass, other_mass, dot


@inlined
def row_minus_target(out, o, first, n, i, label, target, w, sole, largest, own):
    """Turn a_k sum_l t_l into the gradient, for n classes from `first` on; if `sole`, replace `largest` by `own`."""
    width = lanes(out)
    for k in range(0, n, width):
        few = min(width, n - k)
        a = load_part(out, o + k, few, 0.0)
        g = a - row_target(i, first + k, few, label, target) * w
        if sole:
            g = where(a == largest, own, g)
        store_part(out, o + k, g, few)


@inlined
def losses_of(buffer, width, n, losses, first):
    """Sum of the losses of n rows, from their r, dot, mass and weight in `buffer`, with one vector logarithm.

    Losses that `far_loss` has computed are at the end of the buffer; they go to `losses`, but not into the sum.
    """
    rest, dot, mass, w = load(buffer, 0), load(buffer, width), load(buffer, 2 * width), load(buffer, 3 * width)
    loss = head(where(w > 0.0, (mass * log1p(rest) - dot) * w, 0.0), n)
    if losses.size > 0:
        store_part(losses, first, loss + load(buffer, 4 * width), n)
    return sum_of(to_doubles(loss))


@part
def cross_entropy_wide(
    z, zi, stride, n_rows, n_classes, first, target, scale, losses, want_grad, out, oi, out_stride, tile, proba_tile
):  # fmt: skip
    """As `cross_entropy_rows`, with classes in lanes."""
    width, buffer = lanes(z), tile.numbers
    total = 0.0
    for r in range(n_rows):
        i, at, o, lane = first + r, zi + r * stride, oi + r * out_stride, r % width
        label = label_of(i, target)
        w = weight_of(i, target.weight) if label >= 0 else 0.0
        c = row_shift(z, at, n_classes)
        mass, other_mass, dot = 1.0, 0.0, 0.0
        if target.kind == INDEX:
            if label >= 0:
                z_y = element(z, at + label)
                dot = z_y - c if z_y != c else 0.0
        elif label >= 0:
            mass, other_mass, dot = target_sums(z, at, i, 0, n_classes, filled(z, c), label, target)
        far = 0.0
        if -dot * w > FAR:
            far = far_loss(z, at, n_classes, i, label, target)
            total += far
        s, lower, last = row_exp(z, at, n_classes, c, want_grad, out, o)
        r_sum = row_rest(s, lower)
        buffer[lane], buffer[width + lane] = r_sum, dot
        buffer[2 * width + lane], buffer[3 * width + lane] = mass, w if far == 0.0 else 0.0
        buffer[4 * width + lane] = far
        if lane == width - 1 or r == n_rows - 1:
            total += losses_of(buffer, width, lane + 1, losses, i - lane)
        if want_grad:
            w = w * scale
            if label < 0:
                for k in range(o, o + n_classes):
                    out[k] = 0.0
            else:
                factor = mass * w / s
                row_scale(out, o, n_classes, factor, last)
                own = other_mass * w - r_sum * factor
                if target.kind != INDEX:
                    row_minus_target(out, o, 0, n_classes, i, label, target, w, s < 2.0, factor, own)
                elif s < 2.0 and dot == 0.0:
                    out[o + label] = own
                else:
                    out[o + label] -= w
    return total


@part
def cross_entropy_rows(
    z, zi, stride, n_rows, n_classes, first, target, scale, losses, want_grad, out, oi, tile, proba_tile
):  # fmt: skip
    """Weighted cross-entropy of a block of rows; returns the sum of the losses, in float64.

    Row r of the block begins at z[zi + r * stride] and is sample first + r. If `want_grad`, scale * dL/dz of row r
    goes to out[oi + r * n_classes ...], which may be the memory of the logits. The loss of every sample goes to
    `losses` (m,), unless it is empty. `tile` and `proba_tile` are temporary memory (`new_tile`).
    """
    if n_classes <= MOST_CLASSES_WITH_GRADIENT:
        return cross_entropy_tiles(
            z, zi, stride, n_rows, n_classes, first, target, scale, losses, want_grad, out, oi, n_classes, tile,
            proba_tile,
        )  # fmt: skip
    return cross_entropy_wide(
        z, zi, stride, n_rows, n_classes, first, target, scale, losses, want_grad, out, oi, n_classes, tile, proba_tile
    )


# --- curvature ----------------------------------------------------------------------------------------


# How a Hessian-vector product gets the probabilities: computes and discards them, computes and stores them, or reads
# those stored by an earlier product at the same point.
FORGET, KEEP, KEPT = 0, 1, 2


@part
def curvature_tiles(z, u, stride, n_rows, n_classes, first, curvature, memory, kept, ki, tile, u_tile):
    """As `curvature_rows`, with rows in lanes."""
    width = lanes(tile)
    for r in range(0, n_rows, width):
        n, at = min(width, n_rows - r), ki + r * n_classes
        if memory == KEPT:
            fill_tile(kept, at, n_classes, n_rows - r, n_classes, tile)
        else:
            fill_tile(z, r * stride, stride, n_rows - r, n_classes, tile)
            scale = 1.0 / tile_exp(tile, n_classes, tile_shift(tile, n_classes), kept, None, False, -1, 0)
            for k in range(n_classes):
                store(tile, k * width, load(tile, k * width) * scale)
            if memory == KEEP:
                empty_tile(tile, kept, at, n_classes, n, n_classes)
        fill_tile(u, r * stride, stride, n_rows - r, n_classes, u_tile)
        h = filled(tile, 1)
        if curvature.size > 0:
            h = load_converted(curvature, first + r, n, 0.0, tile)
        mean = filled(tile, 0)
        for k in range(n_classes):
            mean = fma(load(tile, k * width), load(u_tile, k * width), mean)
        for k in range(n_classes):
            store(tile, k * width, load(tile, k * width) * (load(u_tile, k * width) - mean) * h)
        empty_tile(tile, u, r * stride, stride, n, n_classes)


@part
def curvature_wide(z, u, stride, n_rows, n_classes, first, curvature, memory, kept, ki, tile, u_tile):
    """As `curvature_rows`, with classes in lanes."""
    width = lanes(z)
    for r in range(n_rows):
        a, at, o = z, r * stride, r * stride
        if memory == KEPT:
            a, at = kept, ki + r * n_classes
        else:
            total, _, last = row_exp(z, at, n_classes, row_shift(z, at, n_classes), True, z, at)
            row_scale(z, at, n_classes, 1.0 / total, last)
            if memory == KEEP:
                for k in range(n_classes):
                    kept[ki + r * n_classes + k] = z[at + k]
        shift, h = 0.0, weight_of(first + r, curvature)
        for start in range(0, n_classes, SEGMENT * width):
            mean = filled(z, 0)
            for k in range(start, min(n_classes, start + SEGMENT * width), width):
                rest = min(width, n_classes - k)
                mean += load_part(a, at + k, rest, 0.0) * load_part(u, o + k, rest, 0.0)
            shift += sum_of(mean)
        for k in range(0, n_classes, width):
            rest = min(width, n_classes - k)
            d = load_part(a, at + k, rest, 0.0) * (load_part(u, o + k, rest, 0.0) - shift) * h
            store_part(u, o + k, d, rest)


@part
def curvature_rows(z, u, stride, n_rows, n_classes, first, curvature, memory, kept, ki, tile, u_tile):
    """Replace u by the Hessian of the losses of the rows times u: h a_k (u_k - sum_l a_l u_l), a = softmax(z).

    `u` and `z` are blocks of rows `stride` apart; h = curvature[first + r], or 1 if `curvature` is empty. Depending on
    `memory`, the probabilities go to or come from kept[ki ...], (n_rows, K); for KEPT, z is not read.
    """
    if n_classes <= MOST_CLASSES_IN_TILE:
        curvature_tiles(z, u, stride, n_rows, n_classes, first, curvature, memory, kept, ki, tile, u_tile)
    else:
        curvature_wide(z, u, stride, n_rows, n_classes, first, curvature, memory, kept, ki, tile, u_tile)


# --- kernels: the stages over chunks of rows, which are tasks ----------------------------------------


@jit
def softmax(todo, z, out, n_classes, n_rows, n_chunks, past):
    """Write the softmax of the rows of `z` to `out`, both flat (m * K,); `out` may be `z`.

    The results are stored past the caches if `past` (`delayed_stores.past_caches`).
    """
    memory = new_memory(min(n_classes, MOST_CLASSES_TO_MEMORY), out)
    chunk = take(todo)
    while chunk >= 0:
        low, high = bounds_of_logits(chunk, n_chunks, n_rows, n_classes)
        at = low * n_classes
        softmax_rows(z, at, n_classes, high - low, n_classes, out, at, memory, past)
        chunk = take(todo)


@jit
def log_softmax(todo, z, out, n_classes, n_rows, n_chunks, past):
    """Write the log-softmax of the rows of `z` to `out`, as `softmax`."""
    memory = new_memory(min(n_classes, MOST_CLASSES_TO_MEMORY), out)
    chunk = take(todo)
    while chunk >= 0:
        low, high = bounds_of_logits(chunk, n_chunks, n_rows, n_classes)
        at = low * n_classes
        log_softmax_rows(z, at, n_classes, high - low, n_classes, out, at, memory, past)
        chunk = take(todo)


@jit
def logsumexp(todo, z, out, n_classes, n_rows, n_chunks):
    """Write the log-sum-exp of the rows of `z`, flat (m * K,), to `out` (m,)."""
    chunk = take(todo)
    while chunk >= 0:
        low, high = bounds_of_logits(chunk, n_chunks, n_rows, n_classes)
        logsumexp_rows(z, out, n_classes, low, high)
        chunk = take(todo)


@jit
def cross_entropy(todo, z, n_classes, n_rows, target, scale, losses, want_grad, out, partial):
    """Write the sum of the losses of each chunk to `partial`, and the gradient to `out`: see `cross_entropy_rows`."""
    few = min(n_classes, MOST_CLASSES_WITH_GRADIENT)
    tile, proba_tile = new_tile(few, z), new_tile(few, z)
    chunk = take(todo)
    while chunk >= 0:
        low, high = bounds_of_logits(chunk, partial.size, n_rows, n_classes)
        at = low * n_classes
        partial[chunk] = cross_entropy_rows(
            z, at, n_classes, high - low, n_classes, low, target, scale, losses, want_grad, out, at, tile, proba_tile
        )
        chunk = take(todo)


@jit
def cross_entropy_past_caches(todo, z, n_classes, n_rows, target, scale, losses, want_grad, out, partial):
    """As `cross_entropy`, for a gradient of few classes that `delayed_stores` stores past the caches.

    (With memory in which the results wait, `cross_entropy` itself is slower for gradients in a cache, up to a third
    with vectors of 256 bits and two classes.)
    """
    tile, proba_tile, memory = new_tile(n_classes, z), new_tile(n_classes, z), new_memory(n_classes, out)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, partial.size, n_rows)
        at = low * n_classes
        partial[chunk] = cross_entropy_tiles(
            z, at, n_classes, high - low, n_classes, low, target, scale, losses, want_grad, out, at, n_classes, tile,
            proba_tile, memory, True,
        )  # fmt: skip
        chunk = take(todo)
