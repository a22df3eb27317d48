"""Row kernels for few, very long rows: each row is split into segments, which are distributed over threads.

There are three sweeps over all segments of all rows. The first finds the largest logit c of each row, the second
computes the terms exp(z - c) and their sums (added in the order of the segments), the third computes the results from
the terms. The functions at the end run the sweeps one after the other.
"""

import numpy as np

from nbsoftmax.kernels.lang.simd import lanes, load_part, store_part
from nbsoftmax.kernels.rows import (
    INDEX,
    PROBA,
    far_loss,
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
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch, take

# Classes in a segment, a multiple of the vector length of every dtype: its exponentials take some microseconds.
SEGMENT_CLASSES = 1 << 13
# Rows of at least so many classes are long; with at most so many rows, threads would be idle if each took whole rows.
LONG_CLASSES, FEW_ROWS = 1 << 15, 64


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


# --- entry points: the sweeps one after the other -------------------------------------------------------


def _sweep(kernel, z, n_classes, *arguments):
    n_segments = z.size // n_classes * segments.py_func(n_classes)
    launch(kernel, n_segments, z.size * EXP_WORK // 3, None, *arguments)


def _parts(z, n_classes):
    """Zeros for each segment of each row, (n_rows, n_segments)."""
    return np.zeros((z.size // n_classes, segments.py_func(n_classes)))


def _shift(z, n_classes):
    """Largest logit c of every row, (n_rows,)."""
    part = _parts(z, n_classes)
    _sweep(shifts, z, n_classes, z, n_classes, part.reshape(-1))
    return part.max(axis=1)


def _sums(z, n_classes, shift, keep, out):
    """Sums s, and r = s - 1, of every row, (n_rows,); if `keep`, the terms go to `out`."""
    part, lower = _parts(z, n_classes), _parts(z, n_classes)
    _sweep(terms, z, n_classes, z, n_classes, shift, keep, out, part.reshape(-1), lower.reshape(-1))
    total = part.sum(axis=1)
    return total, np.where(total < 2, lower.sum(axis=1), total - 1)


def softmax(z, out, n_classes):
    """Write the softmax of the rows of `z` to `out`, both flat (m * K,); `out` may be `z`."""
    total, _ = _sums(z, n_classes, _shift(z, n_classes), True, out)
    _sweep(scaled, z, n_classes, out, n_classes, 1.0 / total)


def log_softmax(z, out, n_classes):
    """Write the log-softmax of the rows of `z` to `out`, both flat (m * K,); `out` may be `z`."""
    shift = _shift(z, n_classes)
    log_s = np.log1p(_sums(z, n_classes, shift, False, z)[1])
    _sweep(logarithms, z, n_classes, z, out, n_classes, shift, log_s)


def logsumexp(z, out, n_classes):
    """Write the log-sum-exp of the rows of `z`, flat (m * K,), to `out` (m,)."""
    shift = _shift(z, n_classes)
    out[:] = shift + np.log1p(_sums(z, n_classes, shift, False, z)[1])


def cross_entropy(z, n_classes, target, scale, losses, want_grad, out):
    """Return the sum of the losses of all rows; write the losses to `losses` unless it is empty, the gradient to `out`.

    `out` may be `z`.
    """
    n_rows = z.size // n_classes
    weight = np.ones(n_rows) if target.weight.size == 0 else target.weight
    if target.kind != PROBA:
        weight = np.where(target.labels >= 0, weight, 0.0)
    shift = _shift(z, n_classes)
    with np.errstate(invalid="ignore", over="ignore"):  # rows of weight 0 may contain inf and NaN
        if target.kind == INDEX:  # read the logits before the terms may overwrite them
            z_y = z.reshape(n_rows, n_classes)[np.arange(n_rows), np.maximum(target.labels, 0)]
            mass, dot = 1.0, np.where(z_y == shift, 0.0, z_y - shift)
            other_mass, is_own = 0.0, dot == 0
        else:
            parts = _parts(z, n_classes), _parts(z, n_classes), _parts(z, n_classes)
            _sweep(targets, z, n_classes, z, n_classes, target, shift, *(part.reshape(-1) for part in parts))
            mass, other_mass, dot = (part.sum(axis=1) for part in parts)
            is_own = np.ones(n_rows, bool)
        far = {
            i: far_loss(z, i * n_classes, n_classes, i, -1 if target.kind == PROBA else target.labels[i], target)
            for i in np.flatnonzero((weight > 0) & (dot == -np.inf))
        }  # before the terms may overwrite the logits
        total, rest = _sums(z, n_classes, shift, want_grad, out)
        loss = np.where(weight > 0, (mass * np.log1p(rest) - dot) * weight, 0.0)
        loss[list(far)] = list(far.values())
        if want_grad:
            factor = mass * weight * scale / total
            own = np.where(is_own & (total < 2), other_mass * weight * scale - rest * factor, np.nan)
            _sweep(gradients, z, n_classes, n_classes, target, scale, out, factor, own)
        if losses.size:
            losses[:] = loss
    return float(loss.sum())
