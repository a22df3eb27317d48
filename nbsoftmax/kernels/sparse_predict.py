"""The kernel of `predict` for sparse X."""

from nbsoftmax.kernels.delayed_stores import new_memory
from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.linear import LOGIT
from nbsoftmax.kernels.predict import BEST, LOGITS, work_for_best, write_best, write_proba
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.rows import MOST_CLASSES_TO_MEMORY
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.threads import take
from nbsoftmax.kernels.sparse_linear import sparse_logits


@jit
def sparse_predict(todo, rows, weights, panels, what, k, group, out, best):
    """Write logits, probabilities or their logarithms to `out` (m * K,), or the best k classes to `best` (m * k,).

    The probabilities of the best classes go to `out` (m * k,), unless it is empty. Groups of rows are tasks.
    """
    one_logit = weights.form == LOGIT
    n_classes, stride = (2, 2) if one_logit else (weights.n_classes, weights.stride)
    z = aligned(group * stride + lanes(weights.w), weights.w)
    work = work_for_best(group, n_classes, k, z)
    memory = new_memory(min(n_classes, MOST_CLASSES_TO_MEMORY), out)
    task = take(todo)
    while task >= 0:
        start = task * group
        n, o = min(group, rows.n_rows - start), start * n_classes
        sparse_logits(rows, weights, panels, start, n, z)
        if one_logit:  # the logits of the two classes are 0 and the difference
            for r in range(n - 1, -1, -1):
                z[2 * r + 1], z[2 * r] = z[r], 0
        if what == BEST:
            write_best(weights, z, stride, n, n_classes, 0, k, work, out, best, start)
        elif what != LOGITS:
            write_proba(weights, z, stride, n, n_classes, what, out, o, memory)
        else:
            for r in range(n):
                for j in range(n_classes):
                    out[o + r * n_classes + j] = z[r * stride + j]
        task = take(todo)
