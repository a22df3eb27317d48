"""Coordinate descent on the quadratics of `coordinate`, with the features as sparse columns instead of Gram matrices.

    G = X^T diag(d) X - c mean mean^T        for all classes, with d (n_samples,), c = sum_i d_i, mean = X^T d / c

With p = v_k - x_k for each class k, the products t = diag(d) X p and s = mean . p are kept: the slope of a coordinate
and the update after a move each read only its column. (A Gram matrix of n features costs n^2 numbers and many more
products.)
"""

from math import sqrt

import numpy as np

from nbsoftmax.kernels.coordinate import clipped, flat_minimum, shrunk
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take


@part
def column_product(data, rows, first, end, t):
    """Add up the products of a column and the elements of t in its rows."""
    total = 0.0
    for e in range(first, end):
        total += data[e] * t[rows[e]]
    return total


@jit
def sparse_lasso(
    todo, data, rows, starts, d, mean, c, diagonal, factor, l2, l1, low, high, slope, point, squares, most_sweeps, tol
):
    """Minimise as `coordinate.lasso`: `point` (K, n) moves from x to the minimum. Classes are tasks.

    `slope` (K, n) is g. `diagonal` holds G_jj, 0 for a column that is left out because it is constant. The squares
    p . M p of each class's move are written to `squares` (K,).
    """
    n = point.shape[1]
    t, begin = np.empty(d.size), np.empty(n)
    k = take(todo)
    while k >= 0:
        g, v = slope[k], point[k]
        t[:] = 0.0
        begin[:] = v
        s, first = 0.0, 0.0
        for sweep in range(most_sweeps):
            moved = 0.0
            for j in range(n):
                first_entry, end = starts[j], starts[j + 1]
                bend, r = factor * diagonal[j] + l2[j], g[j] + l2[j] * (v[j] - begin[j])
                if diagonal[j] > 0:
                    r += factor * (column_product(data, rows, first_entry, end, t) - c * mean[j] * s)
                if bend > 0:
                    new = clipped(shrunk(v[j] - r / bend, l1[j] / bend), low[k, j], high[k, j])
                else:
                    new = flat_minimum(v[j], r, l1[j], low[k, j], high[k, j])
                move = new - v[j]
                if move != 0:
                    v[j] = new
                    moved += bend * move * move
                    if diagonal[j] > 0:
                        for e in range(first_entry, end):
                            t[rows[e]] += d[rows[e]] * data[e] * move
                        s += mean[j] * move
            if sweep == 0:
                first = moved
            if moved <= tol * first:
                break
        square = 0.0
        for j in range(n):
            p = v[j] - begin[j]
            if p != 0:
                square += l2[j] * p * p
                if diagonal[j] > 0:
                    square += factor * p * (column_product(data, rows, starts[j], starts[j + 1], t) - c * mean[j] * s)
        squares[k] = square
        k = take(todo)


@part
def group_slopes(data, rows, first, end, t, sums):
    """Write the sums of the products of a column and the rows of t, (n_samples, K) flat, to `sums`, (K,)."""
    n_classes = sums.size
    sums[:] = 0.0
    for e in range(first, end):
        x, at = data[e], np.uintp(rows[e] * n_classes)
        for k in range(n_classes):
            sums[k] += x * t[at + np.uintp(k)]


@part
def move_group(data, rows, first, end, d, move, t):
    """Add a column times `move`, (K,), to the rows of t."""
    n_classes = move.size
    for e in range(first, end):
        x, at = data[e] * d[rows[e]], np.uintp(rows[e] * n_classes)
        for k in range(n_classes):
            t[at + np.uintp(k)] += x * move[k]


@jit
def sparse_group_lasso(
    todo, data, rows, starts, d, mean, c, diagonal, factor, l2, l1, slope, point, squares, most_sweeps, tol
):
    """As `sparse_lasso`, with the group penalty: the K weights of a feature change together. There is one task.

    All classes have the same curvature m, so that the minimum of q . v + m/2 ||v||^2 + l1 ||v|| is -q (1 - l1 / ||q||)
    / m, or 0. The products t, (n_samples, K), have the classes of a sample beside each other.
    """
    n_classes, n = point.shape
    t, s = np.zeros(d.size * n_classes), np.zeros(n_classes)
    g, v, begin = slope.T.copy(), point.T.copy(), point.T.copy()
    sums, move = np.empty(n_classes), np.empty(n_classes)
    first = 0.0
    while take(todo) >= 0:
        for sweep in range(most_sweeps):
            moved = 0.0
            for j in range(n):
                low, high, curved = starts[j], starts[j + 1], diagonal[j] > 0
                bend, square = factor * diagonal[j] + l2[j], 0.0
                if curved:
                    group_slopes(data, rows, low, high, t, sums)
                for k in range(n_classes):
                    q = g[j, k] + l2[j] * (v[j, k] - begin[j, k]) - bend * v[j, k]
                    if curved:
                        q += factor * (sums[k] - c * mean[j] * s[k])
                    sums[k] = q
                    square += q * q
                kept = 0.0  # share of -q / m in the minimum
                if square > l1[j] * l1[j]:
                    if bend == 0:  # no curvature and no minimum
                        continue
                    kept = (1 - l1[j] / sqrt(square)) / bend
                change = 0.0
                for k in range(n_classes):
                    new = 0.0 - kept * sums[k]  # not -0.0
                    move[k] = new - v[j, k]
                    v[j, k] = new
                    change += move[k] * move[k]
                if change > 0:
                    moved += bend * change
                    if curved:
                        move_group(data, rows, low, high, d, move, t)
                        for k in range(n_classes):
                            s[k] += mean[j] * move[k]
            if sweep == 0:
                first = moved
            if moved <= tol * first:
                break
        squares[:] = 0.0
        for j in range(n):
            if diagonal[j] > 0:
                group_slopes(data, rows, starts[j], starts[j + 1], t, sums)
            for k in range(n_classes):
                p = v[j, k] - begin[j, k]
                squares[k] += l2[j] * p * p
                if diagonal[j] > 0:
                    squares[k] += factor * p * (sums[k] - c * mean[j] * s[k])
                point[k, j] = v[j, k]
