"""Coordinate descent on quadratics, one for each class, with a penalty that makes exact zeros.

    minimise over V   sum_k [ g_k . (v_k - x_k) + 1/2 (v_k - x_k)^T M_k (v_k - x_k) ] + penalty
    M_k = factor G_k + diag(l2)
    penalty = sum_kj l1_j |v_kj|,  low_kj <= v_kj <= high_kj  (lasso),   or
              sum_j l1_j ||(v_1j ... v_Kj)||_2                (group_lasso)

J. Friedman, T. Hastie, R. Tibshirani, "Regularization paths for generalized linear models via coordinate descent",
J. Stat. Softw. 33 (2010). The residual r_k = g_k + M_k (v_k - x_k) is updated after each change of a coordinate, which
costs one row of G_k; an unchanged coordinate costs almost nothing. X is not needed. All arrays are float64 and
C-contiguous; `l1` and `l2` are (n,): a strength for each feature, which may be 0. The bounds, (K, n), may be infinite.
"""

import numpy as np

from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take

ROOT_STEPS = 50  # maximum of Newton steps for the norm of a group; about 5 are usual
ROOT_DONE = 1e-14


@part
def shrunk(x, by):
    """Soft thresholding: move x towards 0 by `by`, but not beyond 0."""
    if x > by:
        return x - by
    return x + by if x < -by else 0.0


@part
def clipped(x, low, high):
    """The nearest number to x in [low, high]."""
    if x < low:
        return low
    return high if x > high else x


@part
def flat_minimum(x, slope, l1, low, high):
    """Minimum of slope v + l1 |v| in [low, high]; the nearest number to x if the minimum is infinite."""
    if abs(slope) <= l1:
        return clipped(0.0, low, high)
    end = low if slope > 0 else high
    return clipped(x, low, high) if abs(end) == np.inf else end


@part
def coordinate_at(position, n, sweep):
    """The index of the coordinate that a sweep over n coordinates changes at `position`.

    Sweeps alternate between ascending and descending order. Two of them are a step of symmetric Gauss-Seidel, which the
    accelerated steps that call this assume.
    """
    return n - 1 - position if sweep % 2 else position


@part
def add_move(gram, factor, l2, j, move, residual):
    """Update the residual of one class after coordinate j has changed by `move`."""
    step = factor * move
    for p in range(residual.size):
        residual[p] += step * gram[j, p]
    residual[j] += l2[j] * move


@jit
def lasso(todo, grams, factor, l2, l1, low, high, residual, point, most_sweeps, tol):
    """Decrease with the l1 penalty: `point` (K, n) moves from x towards the minimum; `residual` (K, n) starts as g.

    Each class is a task. `grams` is (K, n, n), or (1, n, n) if all classes share one matrix. A class is finished after
    `most_sweeps` sweeps, or when the sum of M_jj move_j^2 over a sweep is at most `tol` times that of its first sweep.
    """
    k = take(todo)
    while k >= 0:
        gram, r, v = grams[k % grams.shape[0]], residual[k], point[k]
        first, n = 0.0, v.size
        for sweep in range(most_sweeps):
            moved = 0.0
            for position in range(n):
                j = coordinate_at(position, n, sweep)
                m = factor * gram[j, j] + l2[j]
                if m > 0:
                    new = clipped(shrunk(v[j] - r[j] / m, l1[j] / m), low[k, j], high[k, j])
                else:
                    new = flat_minimum(v[j], r[j], l1[j], low[k, j], high[k, j])
                move = new - v[j]
                if move != 0:
                    add_move(gram, factor, l2, j, move, r)
                    v[j] = new
                    moved += m * move * move
            if sweep == 0:
                first = moved
            if moved <= tol * first:
                break
        k = take(todo)


@part
def group_norm(q, m, l1):
    """Norm of v at the minimum of q . v + 1/2 sum_k m_k v_k^2 + l1 ||v||, given that ||q|| > l1.

    At the minimum v_k = -q_k / (m_k + l1 / n) for the norm n, so that s(n) = sum_k (q_k / (m_k n + l1))^2 = 1. Newton's
    method for s^(-1/2) = 1, which is concave and nearly linear in n, converges from below: J. More, D. Sorensen,
    "Computing a trust region step", SIAM J. Sci. Stat. Comput. 4 (1983).
    """
    n = 0.0
    for _ in range(ROOT_STEPS):
        s, slope = 0.0, 0.0
        for k in range(q.size):
            d = m[k] * n + l1
            each = (q[k] / d) ** 2
            s += each
            slope -= 2 * m[k] * each / d
        if slope == 0:  # no curvature: no minimum
            break
        step = 2 * s * (1 - np.sqrt(s)) / slope
        n += step
        if step <= ROOT_DONE * n:
            break
    return n


@jit
def group_lasso(grams, factor, l2, l1, residual, point, most_sweeps, tol):
    """As `lasso`, with the group penalty: the K weights of a feature are a group and change together. One thread."""
    n_classes, n = point.shape
    q, m = np.empty(n_classes), np.empty(n_classes)
    first = 0.0
    for sweep in range(most_sweeps):
        moved = 0.0
        for position in range(n):
            j = coordinate_at(position, n, sweep)
            square, curvature = 0.0, 0.0
            for k in range(n_classes):
                m[k] = factor * grams[k % grams.shape[0], j, j] + l2[j]
                q[k] = residual[k, j] - m[k] * point[k, j]
                square += q[k] * q[k]
                curvature += m[k]
            norm = 0.0
            if square > l1[j] * l1[j]:
                if not curvature > 0:
                    continue
                norm = group_norm(q, m, l1[j]) if l1[j] > 0 else 1.0
            for k in range(n_classes):
                d = m[k] * norm + l1[j]
                new = -q[k] * norm / d if norm > 0 and d > 0 else 0.0
                move = new - point[k, j]
                if move != 0:
                    add_move(grams[k % grams.shape[0]], factor, l2, j, move, residual[k])
                    point[k, j] = new
                    moved += m[k] * move * move
        if sweep == 0:
            first = moved
        if moved <= tol * first:
            break
