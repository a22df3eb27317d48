"""The row kernels for few and very long rows: each row is cut in segments, and the segments are spread over threads.

Three sweeps, each over all segments of all rows: the largest logits; the terms exp(z - c) and their sums, segment by
segment and added in order; the results from the terms. The four functions at the end start them one after the other.
"""

import numpy as np

from nbsoftmax.kernels.jit import inlined, jit
from nbsoftmax.kernels.rows import (
    INDEX,
    PROBA,
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
from nbsoftmax.kernels.simd import lanes, load_part, store_part, sum_of, where
from nbsoftmax.kernels.threads import EXP_WORK, launch, take

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
def terms(todo, z, n_classes, shift, keep, out, part):
    """Sum of exp(z - c) over each segment to `part`; the terms to `out` where `keep`."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        at = i * n_classes + first
        part[t], last = row_exp(z, at, n, z.dtype.type(shift[i]), keep, out, at)
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
def targets(todo, z, n_classes, target, shift, masses, dots):
    """Sums of the target t_k and of t_k (z_k - c) over each segment."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        at, c, label = i * n_classes + first, filled(z, shift[i]), label_of(i, target)
        mass, dot = filled(z, 0), filled(z, 0)
        if label >= 0:
            for k in range(0, n, lanes(z)):
                rest = min(lanes(z), n - k)
                share = row_target(i, first + k, rest, n_classes, label, target)
                d = below(load_part(z, at + k, rest, 0.0), c)
                mass += share
                dot += where(share > 0.0, share * d, 0.0)
        masses[t], dots[t] = sum_of(mass), sum_of(dot)
        t = take(todo)


@jit
def gradients(todo, n_classes, target, scale, out, factor):
    """Scale * dL/dz from the kept terms."""
    t = take(todo)
    while t >= 0:
        i, first, n = segment(t, n_classes)
        at, label = i * n_classes + first, label_of(i, target)
        w = weight_of(i, target.weight) * scale
        if label < 0:
            out[at : at + n] = 0.0
        else:
            scale_segment(out, at, n, factor[i])
            if target.kind != INDEX:
                for k in range(0, n, lanes(out)):
                    rest = min(lanes(out), n - k)
                    share = row_target(i, first + k, rest, n_classes, label, target)
                    store_part(out, at + k, load_part(out, at + k, rest, 0.0) - share * w, rest)
            elif first <= label < first + n:
                out[i * n_classes + label] -= w
        t = take(todo)


# --- what callers start: the sweeps one after the other ------------------------------------------------


def _sweep(kernel, z, n_classes, *arguments):
    n_segments = z.size // n_classes * segments.py_func(n_classes)
    launch(kernel, n_segments, z.size * EXP_WORK // 3, None, *arguments)


def _parts(z, n_classes):
    """A number for each segment of each row, (n_rows, n_segments)."""
    return np.zeros((z.size // n_classes, segments.py_func(n_classes)))


def _shift(z, n_classes):
    """C of every row, (n_rows,)."""
    part = _parts(z, n_classes)
    _sweep(shifts, z, n_classes, z, n_classes, part.reshape(-1))
    return part.max(axis=1)


def _sum(z, n_classes, shift, keep, out):
    """S of every row, (n_rows,); the terms to `out` where `keep`."""
    part = _parts(z, n_classes)
    _sweep(terms, z, n_classes, z, n_classes, shift, keep, out, part.reshape(-1))
    return part.sum(axis=1)


def softmax(z, out, n_classes):
    """Softmax of the rows of `z` to `out`, both flat (m * K,); `out` may be `z`."""
    total = _sum(z, n_classes, _shift(z, n_classes), True, out)
    _sweep(scaled, z, n_classes, out, n_classes, 1.0 / total)


def log_softmax(z, out, n_classes):
    """Log-softmax of the rows of `z` to `out`, both flat (m * K,); `out` may be `z`."""
    shift = _shift(z, n_classes)
    log_s = np.log(_sum(z, n_classes, shift, False, z))
    _sweep(logarithms, z, n_classes, z, out, n_classes, shift, log_s)


def logsumexp(z, out, n_classes):
    """Log-sum-exp of the rows of `z`, flat (m * K,), to `out` (m,)."""
    shift = _shift(z, n_classes)
    out[:] = shift + np.log(_sum(z, n_classes, shift, False, z))


def cross_entropy(z, n_classes, target, scale, losses, want_grad, out):
    """The sum of the losses of all rows, each to `losses` unless empty; gradient to `out`, which may be `z`."""
    n_rows = z.size // n_classes
    weight = np.ones(n_rows) if target.weight.size == 0 else target.weight
    if target.kind != PROBA:
        weight = np.where(target.labels >= 0, weight, 0.0)
    shift = _shift(z, n_classes)
    with np.errstate(invalid="ignore", over="ignore"):  # whatever rows of weight 0 hold
        if target.kind == INDEX:  # looked up before the terms may take the logits' place
            z_y = z.reshape(n_rows, n_classes)[np.arange(n_rows), np.maximum(target.labels, 0)]
            mass, dot = 1.0, np.where(z_y == shift, 0.0, z_y - shift)
        else:
            masses, dots = _parts(z, n_classes), _parts(z, n_classes)
            _sweep(targets, z, n_classes, z, n_classes, target, shift, masses.reshape(-1), dots.reshape(-1))
            mass, dot = masses.sum(axis=1), dots.sum(axis=1)
        total = _sum(z, n_classes, shift, want_grad, out)
        loss = np.where(weight > 0, (mass * np.log(total) - dot) * weight, 0.0)
        if want_grad:
            _sweep(gradients, z, n_classes, n_classes, target, scale, out, mass * weight * scale / total)
    if losses.size:
        losses[:] = loss
    return float(loss.sum())
