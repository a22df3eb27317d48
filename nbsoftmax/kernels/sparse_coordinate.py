"""Coordinate descent on the quadratics of `coordinate`, with the features as sparse columns instead of Gram matrices.

    G = A^T A - c mean mean^T        for all classes, A = diag(d)^(1/2) X, c = sum_i d_i, mean = X^T d / c

with d (n_samples,), of which only A, `data`, takes part. With p = v_k - x_k for each class k, the products t = A p and
s = mean . p are kept: the slope of a coordinate and the update after a move each read only its column. (A Gram matrix
of n features costs n^2 numbers and many more products.) The rows of t hold as many classes as a vector, or a multiple:
each number of a column is read once for all of them.
"""

from math import sqrt

from nbsoftmax.kernels.coordinate import clipped, coordinate_at, flat_minimum, shrunk
from nbsoftmax.kernels.lang.simd import filled, lanes, load, store
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take


@part
def column_products(data, rows, first, end, t, stride, sums):
    """Write the sums of the products of a column and the rows of t, (n_samples, stride) flat, to `sums`."""
    for k in range(0, stride, lanes(t)):
        one, two = filled(t, 0), filled(t, 0)
        for e in range(first, end - 1, 2):
            one += data[e] * load(t, rows[e] * stride + k)
            two += data[e + 1] * load(t, rows[e + 1] * stride + k)
        if (end - first) % 2:
            one += data[end - 1] * load(t, rows[end - 1] * stride + k)
        store(sums, k, one + two)


@part
def add_column(data, rows, first, end, move, t, stride):
    """Add a column times `move`, (stride,), to the rows of t."""
    for k in range(0, stride, lanes(t)):
        by = load(move, k)
        for e in range(first, end):
            at = rows[e] * stride + k
            store(t, at, load(t, at) + data[e] * by)


@part
def take_moves(data, rows, first, end, mean, curved, move, p, t, s):
    """Add `move`, (stride,), to the moves p of a feature, and to the products s and t if the feature is `curved`."""
    for k in range(move.size):
        p[k] += move[k]
        if curved:
            s[k] += mean * move[k]
    if curved:
        add_column(data, rows, first, end, move, t, move.size)


@part
def squared_moves(c, factor, l2, moves, t, s, sums, squares):
    """Write p . M p = factor (t . t - c s^2) + p . diag(l2) p of each class to `squares`; p is from `moves`."""
    stride = sums.size
    for k in range(0, stride, lanes(t)):
        total = filled(t, 0)
        for at in range(k, t.size, stride):
            total += load(t, at) * load(t, at)
        store(sums, k, total)
    for k in range(squares.size):
        squares[k] = factor * (sums[k] - c * s[k] * s[k])
        for j in range(l2.size):
            squares[k] += l2[j] * moves[j * stride + k] ** 2


@jit
def sparse_lasso(
    todo, data, rows, starts, mean, c, diagonal, factor, l2, l1, low, high, slope, point, squares, n_sweeps, n_samples
):
    """Decrease as `coordinate.lasso`: `point` (K, n) moves from x towards the minimum in `n_sweeps` sweeps.

    Vectors of classes are tasks. `slope` (K, n) is g. `diagonal` holds G_jj, 0 for a column that is left out because it
    is constant. The squares p . M p of each class's move are written to `squares` (K,).
    """
    n_classes, n = point.shape
    width = lanes(data)
    t, moves = aligned(n_samples * width, data), aligned(n * width, data)
    sums, move, s = aligned(width, data), aligned(width, data), aligned(width, data)
    task = take(todo)
    while task >= 0:
        first_class = task * width
        few = min(width, n_classes - first_class)
        g, v = slope[first_class : first_class + few], point[first_class : first_class + few]
        lowest, highest = low[first_class : first_class + few], high[first_class : first_class + few]
        t[:], moves[:], move[:], s[:] = 0.0, 0.0, 0.0, 0.0
        for sweep in range(n_sweeps):
            for position in range(n):
                j = coordinate_at(position, n, sweep)
                first, end, curved = starts[j], starts[j + 1], diagonal[j] > 0
                bend, moved = factor * diagonal[j] + l2[j], False
                if curved:
                    column_products(data, rows, first, end, t, width, sums)
                for k in range(few):
                    r, x = g[k, j] + l2[j] * moves[j * width + k], v[k, j]
                    if curved:
                        r += factor * (sums[k] - c * mean[j] * s[k])
                    if bend > 0:
                        new = clipped(shrunk(x - r / bend, l1[j] / bend), lowest[k, j], highest[k, j])
                    else:
                        new = flat_minimum(x, r, l1[j], lowest[k, j], highest[k, j])
                    move[k] = new - x
                    if new != x:
                        v[k, j], moved = new, True
                if moved:
                    p = moves[j * width : (j + 1) * width]
                    take_moves(data, rows, first, end, mean[j], curved, move, p, t, s)
        squared_moves(c, factor, l2, moves, t, s, sums, squares[first_class : first_class + few])
        task = take(todo)


@jit
def sparse_group_lasso(
    todo, data, rows, starts, mean, c, diagonal, factor, l2, l1, slope, point, squares, n_sweeps, n_samples
):
    """As `sparse_lasso`, with the group penalty: the K weights of a feature change together. There is one task.

    All classes have the same curvature m, so that the minimum of q . v + m/2 ||v||^2 + l1 ||v|| is -q (1 - l1 / ||q||)
    / m, or 0. The products t, (n_samples, K), have the classes of a sample beside each other.
    """
    n_classes, n = point.shape
    width = lanes(data)
    stride = (n_classes + width - 1) // width * width
    t, moves = aligned(n_samples * stride, data), aligned(n * stride, data)
    sums, move, s = aligned(stride, data), aligned(stride, data), aligned(stride, data)
    while take(todo) >= 0:
        t[:], moves[:], move[:], s[:] = 0.0, 0.0, 0.0, 0.0
        for sweep in range(n_sweeps):
            for position in range(n):
                j = coordinate_at(position, n, sweep)
                first, end, curved = starts[j], starts[j + 1], diagonal[j] > 0
                bend, square = factor * diagonal[j] + l2[j], 0.0
                if curved:
                    column_products(data, rows, first, end, t, stride, sums)
                for k in range(n_classes):
                    q = slope[k, j] + l2[j] * moves[j * stride + k] - bend * point[k, j]
                    if curved:
                        q += factor * (sums[k] - c * mean[j] * s[k])
                    sums[k] = q
                    square += q * q
                kept = 0.0  # share of -q / m in the minimum
                if square > l1[j] * l1[j]:
                    if bend == 0:  # no curvature and no minimum
                        continue
                    kept = (1 - l1[j] / sqrt(square)) / bend
                moved = False
                for k in range(n_classes):
                    new = 0.0 - kept * sums[k]  # not -0.0
                    move[k] = new - point[k, j]
                    if move[k] != 0:
                        point[k, j], moved = new, True
                if moved:
                    p = moves[j * stride : (j + 1) * stride]
                    take_moves(data, rows, first, end, mean[j], curved, move, p, t, s)
        squared_moves(c, factor, l2, moves, t, s, sums, squares)
