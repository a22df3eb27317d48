"""Row kernels for few, very long rows: each row is split into segments, which are distributed over threads.

There are three sweeps over all segments of all rows. The first finds the largest logit c of each row, the second
computes the terms exp(z - c) and their sums (added in the order of the segments), the third computes the results from
the terms. `backends.long_rows` runs the sweeps one after the other.
"""

from nbsoftmax.kernels.lang.simd import filled, lanes, load_part, store_part
from nbsoftmax.kernels.rows import (
    INDEX,
    far_loss,
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

# Classes in a segment, a multiple of the vector length of every dtype: its exponentials take some microseconds.
SEGMENT_CLASSES = 1 << 13


@inlined
def segments(n_classes):
    return (n_classes + SEGMENT_CLASSES - 1) // SEGMENT_CLASSES


@inlined
def segment(t, n_classes):
    """Row of segment t, its first class, and its number of classes."""
    n = segments(n_classes)
    i, first = t // n, t % n * SEGMENT_CLASSES
    return i, first, min(SEGMENT_CLASSES, n_classes - first)


# --- sweeps over segments -----------------------------------------------------------------------------


@jit
def shifts(todo, z, n_classes, part):
    """Write the largest logit of each segment to `part`."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        part[t] = row_shift(z, i * n_classes + first, n)
        t = take(todo)


@jit
def terms(todo, z, n_classes, shift, keep, out, part, lower):
    """Write the sum of exp(z - c) over each segment to `part`, and to `lower` without the terms of the maximum.

    If `keep`, the terms go to `out`.
    """
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
    """Multiply the stored terms by the factor of their row."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        scale_segment(out, i * n_classes + first, n, factor[i])
        t = take(todo)


@jit
def logarithms(todo, z, out, n_classes, shift, log_s):
    """Write (z - c) - log s to `out`."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        at = i * n_classes + first
        row_log(z, at, n, filled(z, shift[i]), filled(z, log_s[i]), out, at)
        t = take(todo)


@jit
def targets(todo, z, n_classes, target, shift, masses, others, dots):
    """Sum over each segment the targets t_k, the t_k of classes below the maximum, and t_k (z_k - c)."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        label = label_of(i, target)
        if label >= 0:
            at, c = i * n_classes + first, filled(z, shift[i])
            masses[t], others[t], dots[t] = target_sums(z, at, i, first, n, c, label, target)
        t = take(todo)


@jit
def loss_of_row(z, at, n_classes, i, label, target):
    """`rows.far_loss` for Python."""
    return far_loss(z, at, n_classes, i, label, target)


@jit
def gradients(todo, n_classes, target, scale, out, factor, own):
    """Compute the gradient times `scale` from the stored terms.

    `own` is the value for the largest logit of each row; NaN if the general formula is accurate there too.
    """
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
