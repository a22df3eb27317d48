"""The row kernels for few and very long rows: each row is cut in segments, and the segments are spread over threads.

Three sweeps, each over all segments of all rows: the largest logits; the terms exp(z - c) and their sums, segment by
segment and added in order; the results from the terms. `backends.long_rows` starts them one after another.
"""

from nbsoftmax.kernels.lang.simd import lanes, load_part, store_part
from nbsoftmax.kernels.rows import (
    INDEX,
    filled,
    label_of,
    row_exp,
    row_log,
    row_minus_target,
    row_scale,
    row_shift,
    target_sums,
    weight_of,
)
from nbsoftmax.kernels.runtime.jit import inlined, jit
from nbsoftmax.kernels.runtime.threads import take

# Classes of a segment, whole vectors of every dtype: some microseconds of exponentials.
SEGMENT_CLASSES = 1 << 13


@inlined
def segments(n_classes):
    return (n_classes + SEGMENT_CLASSES - 1) // SEGMENT_CLASSES


@inlined
def segment(t, n_classes):
    """Row of a segment, its first class, and how many."""
    n = segments(n_classes)
    i, first = t // n, t % n * SEGMENT_CLASSES
    return i, first, min(SEGMENT_CLASSES, n_classes - first)


# --- sweeps over segments -----------------------------------------------------------------------------


@jit
def shifts(todo, z, n_classes, part):
    """Largest logit of each segment to `part`."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        part[t] = row_shift(z, i * n_classes + first, n)
        t = take(todo)


@jit
def terms(todo, z, n_classes, shift, keep, out, part, lower):
    """Sums of exp(z - c) over each segment to `part`, those below the maximum to `lower`; terms to `out` if `keep`."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        at = i * n_classes + first
        part[t], lower[t], last = row_exp(z, at, n, z.dtype.type(shift[i]), keep, out, at)
        whole = n // lanes(z) * lanes(z)
        if keep and whole < n:
            store_part(out, at + whole, last, n - whole)
        t = take(todo)


@inlined
def scale_segment(out, at, n, factor):
    rest = n % lanes(out)
    row_scale(out, at, n, factor, load_part(out, at + n - rest, rest, 0.0))


@jit
def scaled(todo, out, n_classes, factor):
    """Multiply the kept terms by their row's factor."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        scale_segment(out, i * n_classes + first, n, factor[i])
        t = take(todo)


@jit
def logarithms(todo, z, out, n_classes, shift, log_s):
    """(z - c) - log s to `out`."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        at = i * n_classes + first
        row_log(z, at, n, filled(z, shift[i]), filled(z, log_s[i]), out, at)
        t = take(todo)


@jit
def targets(todo, z, n_classes, target, shift, masses, others, dots):
    """Sums of the target t_k, of t_k below the maximum and of t_k (z_k - c) over each segment."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        label = label_of(i, target)
        if label >= 0:
            at, c = i * n_classes + first, filled(z, shift[i])
            masses[t], others[t], dots[t] = target_sums(z, at, i, first, n, c, label, target)
        t = take(todo)


@jit
def gradients(todo, n_classes, target, scale, out, factor, own):
    """Gradient, times `scale`, from the kept terms; `own` is that of the largest term, NaN where it is not needed."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        at, label = i * n_classes + first, label_of(i, target)
        w = weight_of(i, target.weight) * scale
        if label < 0:
            out[at : at + n] = 0.0
        else:
            scale_segment(out, at, n, factor[i])
            sole = own[i] == own[i]
            if target.kind != INDEX:
                row_minus_target(out, at, first, n, i, label, target, w, sole, factor[i], own[i])
            elif first <= label < first + n:
                at = i * n_classes + label
                out[at] = own[i] if sole else out[at] - w
        t = take(todo)
