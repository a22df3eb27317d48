"""The kernels of `linear` for many parameters: the classes, not the rows, are split over threads.

A separate gradient for each chunk of rows would take too much memory. All threads therefore work on the same block of
rows: each computes the logits of some classes, then the losses of some rows, then the gradient of some classes. The two
functions at the end loop over the blocks; `run(kernel, n_tasks, work, *arguments)` starts threads and waits for them.
"""

import numpy as np

from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.lang.tiles import MOST_ROWS
from nbsoftmax.kernels.linear import BLAS, add_gradient, add_offset, block_of, logits_of, shared_scratch
from nbsoftmax.kernels.rows import FORGET, MOST_CLASSES_IN_TILE, aligned, cross_entropy_rows, curvature_rows, new_tile
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.threads import EXP_WORK, take

# The number of classes of a task is a multiple of TASK_STEP, which is a multiple of the vector length of every dtype.
# There are at most MOST_TASKS tasks, because BLAS packs its operands anew for each.
TASK_STEP, MOST_TASKS = 128, 64
GROUP = 16  # rows of a task


@jit
def classes_of_task(n_classes):
    return (n_classes + TASK_STEP * MOST_TASKS - 1) // (TASK_STEP * MOST_TASKS) * TASK_STEP


@jit
def logits_by_classes(todo, block, weights, z):
    """Compute the logits of a block, without offset."""
    per_task = classes_of_task(weights.n_classes)
    task = take(todo)
    while task >= 0:
        first = task * per_task
        logits_of(block, weights, first, min(weights.n_classes, first + per_task), z[first:], weights.stride)
        task = take(todo)


@jit
def gradient_by_classes(todo, block, d, d_stride, n_classes, fit_intercept, gradient):
    """Add the gradient of a block to `gradient`."""
    per_task = classes_of_task(n_classes)
    buffer = aligned(lanes(d), d)
    narrow = aligned(per_task * block.n_features if d.itemsize == 4 else 1, d)
    task = take(todo)
    while task >= 0:
        first = task * per_task
        last = min(n_classes, first + per_task)
        add_gradient(block, d, d_stride, first, last, BLAS, fit_intercept, buffer, narrow, gradient, 0)
        task = take(todo)


@jit
def cross_entropy_by_rows(todo, rows, start, n, weights, target, want_grad, z, losses):
    """Replace the logits of a block by gradients; write the sum of the losses of each group of rows to `losses`."""
    n_classes, stride = weights.n_classes, weights.stride
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
    proba_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
    task = take(todo)
    while task >= 0:
        r = task * GROUP
        few = min(GROUP, n - r)
        part = z[r * stride : (r + few) * stride]
        add_offset(rows, start + r, few, n_classes, part, stride)
        losses[task] = cross_entropy_rows(
            part, 0, stride, few, n_classes, start + r, target, 1.0, z[:0], want_grad, part, 0, stride, tile, proba_tile
        )
        task = take(todo)


@jit
def curvature_by_rows(todo, rows, start, n, weights, curvature, z, u):
    """Replace u, the change of the logits along a direction, by the Hessian of the losses (by the logits) times u."""
    n_classes, stride = weights.n_classes, weights.stride
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
    u_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
    task = take(todo)
    while task >= 0:
        r = task * GROUP
        few = min(GROUP, n - r)
        logits, change = z[r * stride : (r + few) * stride], u[r * stride : (r + few) * stride]
        add_offset(rows, start + r, few, n_classes, logits, stride)
        curvature_rows(logits, change, stride, few, n_classes, start + r, curvature, FORGET, z[:0], 0, tile, u_tile)
        task = take(todo)


# --- entry points ------------------------------------------------------------------------------------------


def n_class_tasks(n_classes):
    return -(-n_classes // classes_of_task.py_func(n_classes))


def loss_and_grad(run, rows, weights, target, fit_intercept, want_grad, size, gradient):
    """Return the loss, and add its gradient to `gradient`, (K, N + 1) flat, in blocks of `size` rows."""
    n_classes, stride = weights.n_classes, weights.stride
    n_tasks = n_class_tasks(n_classes)
    z, pack = shared_scratch(rows, size, weights)
    total = 0.0
    for start in range(0, rows.n_rows, size):
        n = min(size, rows.n_rows - start)
        block = block_of(rows, weights, start, n, pack)
        product = n * n_classes * rows.n_features
        losses = np.empty(-(-n // GROUP))
        run(logits_by_classes, n_tasks, product, block, weights, z)
        run(
            cross_entropy_by_rows, losses.size, n * n_classes * EXP_WORK,
            rows, start, n, weights, target, want_grad, z, losses,
        )  # fmt: skip
        total += float(losses.sum())
        if want_grad:
            run(gradient_by_classes, n_tasks, product, block, z, stride, n_classes, fit_intercept, gradient)
    return total


def hess_vec(run, rows, weights, v, curvature, fit_intercept, size, gradient):
    """Add the Hessian times v to `gradient`, (K, N + 1) flat, in blocks of `size` rows."""
    n_classes, stride = weights.n_classes, weights.stride
    n_tasks = n_class_tasks(n_classes)
    z, pack = shared_scratch(rows, size, weights)
    u = aligned((size + MOST_ROWS) * stride, z)
    for start in range(0, rows.n_rows, size):
        n = min(size, rows.n_rows - start)
        block = block_of(rows, weights, start, n, pack)
        product = n * n_classes * rows.n_features
        run(logits_by_classes, n_tasks, product, block, weights, z)
        run(logits_by_classes, n_tasks, product, block, v, u)
        run(
            curvature_by_rows, -(-n // GROUP), n * n_classes * EXP_WORK, rows, start, n, weights, curvature, z, u
        )  # fmt: skip
        run(gradient_by_classes, n_tasks, product, block, u, stride, n_classes, fit_intercept, gradient)
