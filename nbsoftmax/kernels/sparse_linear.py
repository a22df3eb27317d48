"""The kernels of `linear` for sparse X: for a block of rows, the residuals, from which `sparse` makes the gradient.

The residuals of a block, (n_rows, stride), stay in cache until all threads have used them. Groups of rows are tasks;
within a group, the stages are those of `linear`.
"""

from nbsoftmax.kernels.lang.panels import logits_panel
from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.linear import add_offset, cross_entropy_of, curvature_of, softmax_of
from nbsoftmax.kernels.rows import KEPT, MOST_CLASSES_IN_TILE, aligned, new_tile, weight_of
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take

# Bytes of the logits of a group of rows: half of a first-level cache.
GROUP_BYTES = 2**14


@part
def sparse_logits(rows, weights, panels, start, n, z, zi):
    """Compute the logits of n rows, without offset; row r is at z[zi + r * stride]."""
    w, stride = weights.w, weights.stride
    for p in range(0, panels.size, 2):
        k, form = panels[p], panels[p + 1]
        logits_panel(
            rows.data, rows.indices, rows.indptr, start, n, rows.last, w, stride, k, form, rows.n_features, z, zi + k
        )  # fmt: skip


def group_rows(stride, itemsize):
    """Number of rows of a group."""
    return min(128, max(16, GROUP_BYTES // (stride * itemsize) // 16 * 16))


@jit
def residuals(todo, rows, weights, panels, target, want_grad, group, z, losses):
    """Write the sum of the losses of each group of rows to `losses`, and the gradients by the logits to z.

    z : (n_rows, stride) and a vector more
    """
    n_classes, stride = weights.n_classes, weights.stride
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
    proba_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
    task = take(todo)
    while task >= 0:
        start = task * group
        n = min(group, rows.n_rows - start)
        mine = z[start * stride :]
        sparse_logits(rows, weights, panels, start, n, mine, 0)
        add_offset(rows, start, n, n_classes, mine, stride)
        losses[task] = cross_entropy_of(weights, mine, n, start, target, 1.0, want_grad, tile, proba_tile)
        task = take(todo)


@jit
def curved_changes(todo, rows, weights, v, panels, curvature, memory, group, kept, u):
    """Write the Hessian of the losses times the change of the logits along v to u, (n_rows, stride) and a vector more.

    `memory` says whether probabilities are stored in `kept`, (n_rows, K), or taken from it: see `rows.curvature_rows`.
    """
    n_classes, stride = weights.n_classes, weights.stride
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), u)
    u_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), u)
    z = aligned(group * stride + lanes(u), u)
    task = take(todo)
    while task >= 0:
        start = task * group
        n = min(group, rows.n_rows - start)
        at = start * n_classes
        if memory != KEPT:
            sparse_logits(rows, weights, panels, start, n, z, 0)
            add_offset(rows, start, n, n_classes, z, stride)
        mine = u[start * stride :]
        sparse_logits(rows, v, panels, start, n, mine, 0)
        curvature_of(weights, z, mine, n, start, curvature, memory, kept, at, tile, u_tile)
        task = take(todo)


@jit
def variances(todo, rows, weights, panels, curvature, group, z):
    """Write h_i a_ik (1 - a_ik) to z, (n_rows, stride) and a vector more."""
    n_classes, stride = weights.n_classes, weights.stride
    task = take(todo)
    while task >= 0:
        start = task * group
        n = min(group, rows.n_rows - start)
        mine = z[start * stride :]
        sparse_logits(rows, weights, panels, start, n, mine, 0)
        add_offset(rows, start, n, n_classes, mine, stride)
        softmax_of(weights, mine, n)
        for r in range(n):
            h, at = weight_of(start + r, curvature), r * stride
            # 1 - a of a class with a > 1/2 would lose digits: the sum of the others takes its place.
            sure, others = -1, 0.0
            for k in range(n_classes):
                if mine[at + k] > 0.5:
                    sure = k
                else:
                    others += mine[at + k]
            for k in range(n_classes):
                mine[at + k] *= h * (others if k == sure else 1 - mine[at + k])
        task = take(todo)
