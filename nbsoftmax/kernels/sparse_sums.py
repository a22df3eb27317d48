"""Sums over sparse rows in one launch: loss and gradient, Hessian-vector product and diagonal of the Hessian.

    D of a block of rows (`sparse_linear`),    sums += X1^T D (`sparse_products`),    and so for each block

The blocks take turns, so that D of one block is all that exists and stays in the second-level caches until all threads
have used it. Each turn consists of two phases (`runtime.phases`).
"""

from collections import namedtuple

from nbsoftmax.kernels.lang.simd import lanes
from nbsoftmax.kernels.row_tiles import aligned, new_tile
from nbsoftmax.kernels.rows import MOST_CLASSES_IN_TILE
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.phases import end_task, take_in_order
from nbsoftmax.kernels.sparse import COLUMNS, TASKS, copy_columns
from nbsoftmax.kernels.sparse_linear import write_rows
from nbsoftmax.kernels.sparse_products import column_sums, intercept_sums, new_sums_tile

# Phases, with their tasks. POINT, DIRECTION: copy parameters to the layout of the products, by ranges of columns.
# CLEAR: set the sums to 0, by ranges of columns. ROWS: D of a block, by groups of rows. PRODUCTS: X1^T D of a block;
# task 0 is the column of ones, the others are those of the block.
POINT, DIRECTION, CLEAR, ROWS, PRODUCTS = range(5)
# The kind of each phase, and its block.
Plan = namedtuple("Plan", "kinds blocks")
# Blocks: the first row of each, and the number of its first group of rows; after the last block, the numbers of all.
Starts = namedtuple("Starts", "rows groups")
# Parameters (K, N + 1), flat, and the memory for their copies; see `sparse.copy_columns`.
Points = namedtuple("Points", "params w direction v")


@jit
def sparse_sums(todo, edges, plan, starts, rows, columns, panels, group, stage, points, d, squared, ones, sums, out):
    """Write X1^T D to `out`, (K, N + 1), flat, with D of a stage of `sparse_linear`; X is squared if `squared`.

    The column of ones counts if `ones`. `d` is memory for D of a block, (n_rows, stride) and a vector more; without it,
    there are no products. `sums`, (N + 1, stride) and some elements more, is empty if there is only one block.
    """
    weights, v = points.w, points.v
    n_classes, stride, n_features = weights.n_classes, weights.stride, rows.n_features
    few = min(n_classes, MOST_CLASSES_IN_TILE)
    n_blocks, width = starts.rows.size - 1, lanes(out)
    memory = new_tile(few, weights.w), new_tile(few, weights.w), aligned(group * stride + lanes(weights.w), weights.w)
    z = aligned(group * stride + lanes(weights.w) if d.size == 0 else 0, weights.w)
    buffer, square, tile = aligned(lanes(weights.w), weights.w), aligned(width * width, out), new_sums_tile(stride, out)
    task, phase = take_in_order(todo, edges, 0)
    while task >= 0:
        kind, b = plan.kinds[phase], plan.blocks[phase]
        if kind == ROWS:
            first = starts.rows[b]
            start = first + task * group
            n = min(group, starts.rows[b + 1] - start)
            mine = z if d.size == 0 else d[(start - first) * stride :]
            write_rows(stage, rows, weights, v, panels, start, n, starts.groups[b] + task, memory, mine)
        elif kind == PRODUCTS and task > 0:
            bound = b * (TASKS + 1) + task - 1
            last = b == n_blocks - 1
            column_sums(columns, bound, d, n_classes, stride, panels, squared, last, square, tile, sums, out)
        elif kind == PRODUCTS:
            n, last = starts.rows[b + 1] - starts.rows[b], b == n_blocks - 1
            intercept_sums(n, d, n_classes, stride, ones, last, n_features, buffer, tile, sums, out)
        elif kind == CLEAR:
            low = task * COLUMNS
            high = sums.size if low + COLUMNS > n_features else (low + COLUMNS) * stride
            for at in range(low * stride, high):
                sums[at] = 0.0
        elif kind == POINT:
            copy_columns(task, points.params, n_features, n_classes, stride, weights.w, square)
        else:
            copy_columns(task, points.direction, n_features, n_classes, stride, v.w, square)
        end_task(todo)
        task, phase = take_in_order(todo, edges, phase)
    return task
