"""The kernels of `linear` for many parameters: the classes, not the rows, are split over threads.

A separate gradient for each chunk of rows would take too much memory. All threads therefore work on the same block of
rows: each computes the logits of some classes, then the losses of some rows, then the gradient of some classes.
`backends.by_classes` loops over the blocks and starts these kernels.
"""

from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.linear import add_gradient, add_offset, block_of, cross_entropy_of, logits_of, shared_scratch
from nbsoftmax.kernels.row_tiles import aligned, new_tile
from nbsoftmax.kernels.rows import KEPT, MOST_CLASSES_IN_TILE, curvature_rows
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take

# The number of classes of a task is a multiple of TASK_STEP, which is a multiple of the vector length of every dtype.
# There are at most MOST_TASKS tasks, because BLAS packs its operands anew for each.
TASK_STEP, MOST_TASKS = 128, 64
GROUP = 16  # rows of a task


@part
def classes_of_task(n_classes):
    return (n_classes + TASK_STEP * MOST_TASKS - 1) // (TASK_STEP * MOST_TASKS) * TASK_STEP


@jit
def new_memory(rows, size, weights):
    """`linear.shared_scratch` for Python."""
    return shared_scratch(rows, size, weights)


@jit
def new_block(rows, weights, start, n, pack):
    """`linear.block_of` for Python."""
    return block_of(rows, weights, start, n, pack)


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
def gradient_by_classes(todo, block, weights, d, fit_intercept, gradient):
    """Add the gradient of a block, from the residuals `d`, to `gradient`."""
    n_classes, stride = weights.n_classes, weights.stride
    per_task = classes_of_task(n_classes)
    buffer = aligned(lanes(d), d)
    narrow = aligned(per_task * block.n_features if d.itemsize == 4 else 1, d)
    task = take(todo)
    while task >= 0:
        first = task * per_task
        last = min(n_classes, first + per_task)
        add_gradient(block, weights, d, stride, first, last, fit_intercept, buffer, narrow, gradient, 0)
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
        losses[task] = cross_entropy_of(weights, part, few, start + r, target, 1.0, want_grad, tile, proba_tile)
        task = take(todo)


@jit
def curvature_by_rows(todo, rows, start, n, weights, curvature, memory, kept, z, u):
    """Replace u, the change of the logits along a direction, by the Hessian of the losses (by the logits) times u.

    `memory` and `kept`, the probabilities of the first rows, as for `rows.curvature_rows`.
    """
    n_classes, stride = weights.n_classes, weights.stride
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
    u_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
    task = take(todo)
    while task >= 0:
        r = task * GROUP
        few = min(GROUP, n - r)
        logits, change = z[r * stride : (r + few) * stride], u[r * stride : (r + few) * stride]
        i = start + r
        if memory != KEPT:
            add_offset(rows, i, few, n_classes, logits, stride)
        curvature_rows(logits, change, stride, few, n_classes, i, curvature, memory, kept, i * n_classes, tile, u_tile)
        task = take(todo)
