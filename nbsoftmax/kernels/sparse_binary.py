"""Sums over sparse rows of two classes in one launch: as `sparse_sums`, with one column of parameters.

Only the difference of the logits matters, and the residuals of the classes differ in their signs alone: each number of
X costs one multiply-add with a number of w = w_1 - w_0, and one with a residual of class 1.
"""

from collections import namedtuple

from nbsoftmax.kernels.lang.simd import element
from nbsoftmax.kernels.row_tiles import aligned, new_tile
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.phases import end_task, take_in_order
from nbsoftmax.kernels.sparse import SEGMENT, TASKS
from nbsoftmax.kernels.sparse_linear import write_rows

# The parameters and a direction, each as `linear.OneLogit` with w (N + 1,): differences of the classes.
Differences = namedtuple("Differences", "weights v")


@part
def column_totals(columns, bound, d, squared, out):
    """Add the products of a task's columns with d to `out`; X is squared if `squared`. See `sparse_products`."""
    for e in range(columns.bounds[bound], columns.bounds[bound + 1]):
        t, end = element(columns.starts, e), element(columns.starts, e + 1)
        even, odd = d.dtype.type(0), d.dtype.type(0)
        while t < end:
            number = element(columns.data, t)
            if squared:
                number *= number
            even += number * element(d, element(columns.rows, t))
            even, odd, t = odd, even, t + 1
        out[columns.columns[e]] += even + odd


@part
def scattered_totals(rows, start, n, d, squared, out):
    """Add the products of n rows from `start` on with d to `out`; X is squared if `squared`."""
    for r in range(n):
        residual = d[r]
        for t in range(rows.indptr[start + r], rows.indptr[start + r + 1]):
            number = element(rows.data, t)
            if squared:
                number *= number
            out[element(rows.indices, t)] += number * residual


@part
def intercept_total(n_rows, d):
    """The sum of the residuals of a block: of at most SEGMENT in their dtype, and of these sums in float64."""
    total = 0.0
    for start in range(0, n_rows, SEGMENT):
        few = d.dtype.type(0)
        for r in range(start, min(n_rows, start + SEGMENT)):
            few += d[r]
        total += few
    return total


@jit
def sparse_binary(todo, edges, starts, rows, columns, group, stage, points, d, squared, ones, out):
    """Add X1^T d to `out`, (N + 1,), with the residuals d of class 1 of a stage of `sparse_linear`.

    Phases: the rows of a block, by groups, and their products, by ranges of columns, of which task 0 is the column of
    ones; and so for each block. Without a transposed copy in `columns`, task 0 adds the products of all columns.
    Without memory d, (n_rows,), for the residuals of a block there are no products.
    """
    weights, v = points.weights, points.v
    tile, whole = new_tile(2, weights.w), (group + 31) // 32 * 32  # rows of whole tiles of either dtype
    memory, z = (tile, tile, aligned(whole, weights.w)), aligned(whole, weights.w)
    task, phase = take_in_order(todo, edges, 0)
    while task >= 0:
        b = phase // 2 if d.size > 0 else phase
        first = starts.rows[b]
        if d.size == 0 or phase % 2 == 0:
            start = first + task * group
            n = min(group, starts.rows[b + 1] - start)
            write_rows(stage, rows, weights, v, None, start, n, starts.groups[b] + task, memory, z)
            if d.size > 0:
                for r in range(n):
                    d[start - first + r] = z[r]
        elif task > 0:
            column_totals(columns, b * (TASKS + 1) + task - 1, d, squared, out)
        else:
            n = starts.rows[b + 1] - first
            if ones:
                out[rows.n_features] += intercept_total(n, d)
            if columns.columns.size == 0:
                scattered_totals(rows, first, n, d, squared, out)
        end_task(todo)
        task, phase = take_in_order(todo, edges, phase)
    return task
