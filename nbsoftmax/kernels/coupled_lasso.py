"""The minimum of one quadratic over the weights of all classes, with an l1 penalty and bounds, for small problems.

    minimise over V   g . (V - X) + 1/2 (V - X) . M (V - X) + sum_kj l1_j |v_kj|,    low_kj <= v_kj <= high_kj

Unlike in `coordinate`, M couples the classes: (K n, K n), in the order k n + j, with the curvature of the ridge
penalty. Sweeps of coordinate descent find which weights are 0 or at a bound. When a sweep changes none of them, a step
of Newton's method over the other weights follows. The steps repeat until a sweep changes almost nothing, which after a
whole step of Newton's method is the next one; if it changes more than the sweep before the step, the changes are
rounding errors. After a step that was not whole and did not help, twice as many sweeps pass before the next one.

The part of M without the penalty is 0 along the same shift of all classes, in which coordinate descent is slow: each
sweep takes the shift with the least penalty, too. The step of Newton's method then has no shift.
"""

import numpy as np

from nbsoftmax.kernels.coordinate import clipped, coordinate_at, flat_minimum, shrunk
from nbsoftmax.kernels.newton import solve
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take

DECREASE = 0.1  # of Armijo's condition
USELESS = 0.25  # a step of Newton's method does not help if the next sweep changes more than this share of the last
REPAIR = 1e-10  # relative increase of the diagonal, with which collinear features have a step of Newton's method
HELD, POSITIVE, NEGATIVE = 0, 1, -1  # a weight at 0 or at a bound; a weight that can move, by its sign


@part
def state_of(v, l1, low, high):
    """Which of the three a weight is. Without an l1 penalty 0 is no kink, and the sign does not matter."""
    if v <= low or v >= high or (v == 0 and l1 > 0):
        return HELD
    return NEGATIVE if v < 0 and l1 > 0 else POSITIVE


@part
def least_shift(v, j, n, n_classes, l1, l2, low, high, ordered):
    """The m with the least l1 sum_k |v_kj - m| + l2/2 sum_k (v_kj - m)^2 within the bounds; see `class_shift`."""
    signs, total, zeros, least, most = 0.0, 0.0, 0.0, -np.inf, np.inf
    for k in range(n_classes):
        i = k * n + j
        signs += np.sign(v[i])
        total += v[i]
        zeros += v[i] == 0
        least, most = max(least, v[i] - high[i]), min(most, v[i] - low[i])
    if abs(l1 * signs + l2 * total) <= l1 * zeros:
        return clipped(0.0, least, most)
    for position in range(2 * n_classes + 1):  # the median of the classes and of the roots for 0 to K classes below m
        if position < n_classes:
            new = v[position * n + j]
        else:
            pull = l1 * (n_classes - 2 * (position - n_classes))
            new = (total + pull / l2) / n_classes if l2 > 0 else (pull * np.inf if pull != 0 else 0.0)
        at = position
        while at > 0 and ordered[at - 1] > new:
            ordered[at] = ordered[at - 1]
            at -= 1
        ordered[at] = new
    return clipped(ordered[n_classes], least, most)


@part
def newton(matrix, l1, low, high, n, n_classes, shifted, residual, v, states):
    """Move the weights that are not held to their minimum, but not beyond 0 or a bound.

    Weights that would go beyond stop at 0 or at the bound if this decreases the objective enough. Otherwise all weights
    stop when the first one arrives there. Returns whether all weights have reached their minimum.
    """
    order = 0
    free, n_free, along = np.empty(v.size, np.int64), np.zeros(n, np.int64), np.zeros(n)
    for i in range(v.size):
        if states[i] != HELD:
            free[order] = i
            n_free[i % n] += 1
            along[i % n] += matrix[i, i] / n_classes
            order += 1
    if order == 0:
        return False
    stride = (order // 8 + 1) * 8
    rows, scale, move = aligned(order * stride, matrix), aligned(order, matrix), aligned(stride, matrix)
    rows[:] = 0.0
    for r in range(order):
        i = free[r]
        # M is singular where no class of a feature is held: its curvature along their shift may be anything.
        more = along[i % n] if shifted and n_free[i % n] == n_classes else 0.0
        for c in range(order):
            rows[r * stride + c] = matrix[i, free[c]] + (more if free[c] % n == i % n else 0.0)
        rows[r * stride + r] *= 1.0 + REPAIR
        rows[r * stride + order] = -(residual[i] + l1[i % n] * states[i])
    if not solve(rows, order, stride, scale, move):
        return False
    first, n_beyond, ends = 1.0, 0, np.empty(order)
    for r in range(order):
        i = free[r]
        ends[r] = high[i] if move[r] > 0 else low[i]
        if l1[i % n] > 0 and v[i] * move[r] < 0 and v[i] * ends[r] <= 0:
            ends[r] = 0.0
        if abs(ends[r] - v[i]) < abs(move[r]):
            n_beyond += 1
            first = min(first, abs(ends[r] - v[i]) / abs(move[r]))
    steps, product = np.empty(order), np.empty(v.size)
    for length in (1.0, first):
        slope, curvature = 0.0, 0.0
        for p in range(v.size):
            product[p] = 0.0
        for r in range(order):
            i, most = free[r], length * abs(move[r])
            beyond = abs(ends[r] - v[i]) <= most
            steps[r] = ends[r] - v[i] if beyond else (most if move[r] > 0 else -most)
            slope += steps[r] * (residual[i] + l1[i % n] * states[i])
            for p in range(v.size):
                product[p] += steps[r] * matrix[i, p]
        for r in range(order):
            curvature += steps[r] * product[free[r]]
        if n_beyond == 0 or slope + curvature / 2 <= DECREASE * slope < 0:
            break
    for r in range(order):
        i = free[r]
        v[i] = ends[r] if steps[r] == ends[r] - v[i] else v[i] + steps[r]
    for p in range(v.size):
        residual[p] += product[p]
    return n_beyond == 0


@part
def minimise(matrix, l2, l1, low, high, shifted, n_classes, r, v, most_sweeps, tol):
    """Move `v` from x to the minimum; `r` starts as g and ends as g + M (v - x). `l1` and `l2` are (n,), others (K n,).

    If `shifted`, M has no curvature along shifts of all classes but `l2`. The sweeps end after `most_sweeps`, or when
    the sum of M_ii move_i^2 over a sweep is at most `tol` times that of the first, or consists of rounding errors.
    Returns that sum over the last sweep, divided by that over the first, or 0 if the sweeps ended before `most_sweeps`.
    """
    n, first, moved = l1.size, 0.0, 0.0
    stepped, whole, before, pause, next_step = False, False, 0.0, 0, 0
    states, ordered = np.empty(v.size, np.int8), np.empty(2 * n_classes + 1)
    for i in range(v.size):
        states[i] = state_of(v[i], l1[i % n], low[i], high[i])
    for sweep in range(most_sweeps):
        moved, same = 0.0, True
        for position in range(v.size):
            i = coordinate_at(position, v.size, sweep)
            j, m = i % n, matrix[i, i]
            if m > 0:
                new = clipped(shrunk(v[i] - r[i] / m, l1[j] / m), low[i], high[i])
            else:
                new = flat_minimum(v[i], r[i], l1[j], low[i], high[i])
            move = new - v[i]
            if move != 0:
                for p in range(v.size):
                    r[p] += move * matrix[i, p]
                v[i] = new
                moved += m * move * move
        if shifted:
            for j in range(n):
                m = least_shift(v, j, n, n_classes, l1[j], l2[j], low, high, ordered)
                if m != 0:
                    for k in range(n_classes):
                        i = k * n + j
                        v[i] = clipped(v[i] - m, low[i], high[i])
                        r[i] -= l2[j] * m
        for i in range(v.size):
            state = state_of(v[i], l1[i % n], low[i], high[i])
            same = same and state == states[i]
            states[i] = state
        if sweep == 0:
            first = moved
        if not moved > tol * first or (stepped and whole and same and moved >= before):
            return 0.0
        if stepped:
            pause = 2 * pause + 1 if same and not whole and moved > USELESS * before else 0
            next_step = sweep + pause
        stepped = same and sweep >= next_step
        if stepped:
            whole, before = newton(matrix, l1, low, high, n, n_classes, shifted, r, v, states), moved
    return moved / first


@jit
def coupled_lasso(todo, matrix, l2, l1, low, high, shifted, n_classes, r, v, most_sweeps, tol, rest):
    """Call `minimise` as the only task of a launch, and write its result to `rest`, (1,)."""
    while take(todo) >= 0:
        rest[0] = minimise(matrix, l2, l1, low, high, shifted, n_classes, r, v, most_sweeps, tol)
