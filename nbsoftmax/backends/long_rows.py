"""Functions of logits for few and very long rows: the sweeps of `kernels.long_rows`, one after another."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.kernels import long_rows as sweeps
from nbsoftmax.kernels.rows import INDEX, PROBA, Target
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Float64s, Floats

# Rows are long from here on; so few of them would leave threads idle if each row went to one.
LONG_CLASSES, FEW_ROWS = 1 << 15, 64


def few_and_long(z: Floats) -> bool:
    """Whether there are too few rows to keep the threads busy with one each, and each is worth being split."""
    n_rows, n_classes = z.shape
    return bool(0 < n_rows <= FEW_ROWS and n_classes >= LONG_CLASSES)


def _sweep(kernel: Any, z: Floats, n_classes: int, *arguments: Any) -> None:
    n_segments = z.size // n_classes * sweeps.segments.py_func(n_classes)
    launch(kernel, n_segments, z.size * EXP_WORK // 3, None, *arguments)


def _parts(z: Floats, n_classes: int) -> Float64s:
    """A number for each segment of each row, (n_rows, n_segments)."""
    return np.zeros((z.size // n_classes, sweeps.segments.py_func(n_classes)))


def _shift(z: Floats, n_classes: int) -> Float64s:
    """Largest logit c of every row, (n_rows,)."""
    part = _parts(z, n_classes)
    _sweep(sweeps.shifts, z, n_classes, z, n_classes, part.reshape(-1))
    shift: Float64s = part.max(axis=1)
    return shift


def _sums(z: Floats, n_classes: int, shift: Float64s, keep: bool, out: Floats) -> tuple[Float64s, Float64s]:
    """Sums s, and r = s - 1, of every row, (n_rows,); the terms to `out` where `keep`."""
    part, lower = _parts(z, n_classes), _parts(z, n_classes)
    _sweep(sweeps.terms, z, n_classes, z, n_classes, shift, keep, out, part.reshape(-1), lower.reshape(-1))
    total = part.sum(axis=1)
    return total, np.where(total < 2, lower.sum(axis=1), total - 1)


def softmax(z: Floats, out: Floats, n_classes: int) -> None:
    """Softmax of the rows of `z` to `out`, both flat (m * K,); `out` may be `z`."""
    total, _ = _sums(z, n_classes, _shift(z, n_classes), True, out)
    _sweep(sweeps.scaled, z, n_classes, out, n_classes, 1.0 / total)


def log_softmax(z: Floats, out: Floats, n_classes: int) -> None:
    """Log-softmax of the rows of `z` to `out`, both flat (m * K,); `out` may be `z`."""
    shift = _shift(z, n_classes)
    log_s = np.log1p(_sums(z, n_classes, shift, False, z)[1])
    _sweep(sweeps.logarithms, z, n_classes, z, out, n_classes, shift, log_s)


def logsumexp(z: Floats, out: Floats, n_classes: int) -> None:
    """Log-sum-exp of the rows of `z`, flat (m * K,), to `out` (m,)."""
    shift = _shift(z, n_classes)
    out[:] = shift + np.log1p(_sums(z, n_classes, shift, False, z)[1])


def cross_entropy(
    z: Floats, n_classes: int, target: Target, scale: float, losses: Floats, want_grad: bool, out: Floats
) -> float:
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
            other_mass, is_own = 0.0, dot == 0
        else:
            parts = _parts(z, n_classes), _parts(z, n_classes), _parts(z, n_classes)
            _sweep(sweeps.targets, z, n_classes, z, n_classes, target, shift, *(part.reshape(-1) for part in parts))
            mass, other_mass, dot = (part.sum(axis=1) for part in parts)
            is_own = np.ones(n_rows, bool)
        labels = np.full(n_rows, -1, np.int32) if target.kind == PROBA else target.labels
        far = {
            i: sweeps.loss_of_row(z, i * n_classes, n_classes, i, labels[i], target)
            for i in np.flatnonzero((weight > 0) & (dot == -np.inf))
        }  # while the logits are still there
        total, rest = _sums(z, n_classes, shift, want_grad, out)
        loss = np.where(weight > 0, (mass * np.log1p(rest) - dot) * weight, 0.0)
        loss[list(far)] = list(far.values())
        if want_grad:
            factor = mass * weight * scale / total
            own = np.where(is_own & (total < 2), other_mass * weight * scale - rest * factor, np.nan)
            _sweep(sweeps.gradients, z, n_classes, n_classes, target, scale, out, factor, own)
        if losses.size:
            losses[:] = loss
    return float(pairwise_sum(loss))
