"""Sums over the rows for many parameters: blocks of rows, whose classes are split over threads (`kernels.split`).

All threads work on the same block of rows, one stage after another: logits, then cross-entropy or curvature, then the
gradient.
"""

from __future__ import annotations

import numpy as np

from nbsoftmax.backends.design import Design
from nbsoftmax.kernels import split
from nbsoftmax.kernels.lang.tiles import MOST_ROWS
from nbsoftmax.kernels.linear import Weights
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.rows import FORGET, KEPT, Target
from nbsoftmax.kernels.runtime.threads import EXP_WORK
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Float64s, Floats


def n_class_tasks(n_classes: int) -> int:
    """In how many tasks the classes are split."""
    per_task: int = split.classes_of_task.py_func(n_classes)
    return -(-n_classes // per_task)


def loss_and_grad(
    design: Design,
    weights: Weights,
    target: Target,
    *,
    fit_intercept: bool,
    want_grad: bool,
    size: int,
    gradient: Float64s,
) -> float:
    """The loss, and its gradient added to `gradient`, (K, N + 1) flat, over blocks of `size` rows."""
    run, rows, n_classes = design.run, design.rows, weights.n_classes
    n_tasks = n_class_tasks(n_classes)
    z, pack = split.new_memory(rows, size, weights)
    loss = 0.0
    for start in range(0, rows.n_rows, size):
        n = min(size, rows.n_rows - start)
        block = split.new_block(rows, weights, start, n, pack)
        product, by_row = n * n_classes * rows.n_features, n * n_classes * EXP_WORK
        losses = np.empty(-(-n // split.GROUP))
        run(split.logits_by_classes, n_tasks, product, block, weights, z)
        after = weights, target, want_grad, z, losses
        run(split.cross_entropy_by_rows, losses.size, by_row, rows, start, n, *after)
        loss += float(pairwise_sum(losses))
        if want_grad:
            run(split.gradient_by_classes, n_tasks, product, block, weights, z, fit_intercept, gradient)
    return loss


def hess_vec(
    design: Design,
    weights: Weights,
    v: Weights,
    curvature: Float64s,
    *,
    fit_intercept: bool,
    size: int,
    memory: int,
    kept: Floats,
    gradient: Float64s,
) -> None:
    """The Hessian times v added to `gradient`, (K, N + 1) flat, over blocks of `size` rows.

    `memory` and `kept` as for `rows.curvature_rows`: the probabilities of the first rows, as many as there is room for.
    """
    run, rows = design.run, design.rows
    n_classes, stride = weights.n_classes, weights.stride
    n_tasks = n_class_tasks(n_classes)
    z, pack = split.new_memory(rows, size, weights)
    u = aligned.py_func((size + MOST_ROWS) * stride, z)
    for start in range(0, rows.n_rows, size):
        n = min(size, rows.n_rows - start)
        block = split.new_block(rows, weights, start, n, pack)
        product, by_row = n * n_classes * rows.n_features, n * n_classes * EXP_WORK
        how = memory if (start + n) * n_classes <= kept.size else FORGET
        if how != KEPT:
            run(split.logits_by_classes, n_tasks, product, block, weights, z)
        run(split.logits_by_classes, n_tasks, product, block, v, u)
        after = weights, curvature, how, kept, z, u
        run(split.curvature_by_rows, -(-n // split.GROUP), by_row, rows, start, n, *after)
        run(split.gradient_by_classes, n_tasks, product, block, weights, u, fit_intercept, gradient)
