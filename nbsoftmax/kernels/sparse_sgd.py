"""Steps of stochastic gradient descent on sparse rows, which touch only the columns of their batch.

The definitions are those of `sgd`. In a step without numbers of its column, the gradient of a parameter w is l w, with
l = share l2. Momentum and the mean m of the iterates then change linearly,

    (w, v, m)  <-  M_t (w, v, m),    M_t from rate, l and mu of step t alone,

so that a column whose parameters are those after step s needs only the product Q_s = M_t ... M_(s+1), when a later
batch contains it. The products from every s to the current step are kept in a table, and updated after each step. This
is exact up to rounding, for any schedule. (Neither a scale factor of the weights nor powers of mu are: with momentum, a
penalty makes the parameters oscillate, and rates change from step to step.) The table begins anew with each period of
steps, at the end of which all columns are brought up to date. ADAM is not linear: the steps of a column are made one
after another.

The parameters of a column are beside each other: w, v, the gradient, q for ADAM, m for a mean; each `stride` classes.
"""

from collections import namedtuple
from math import sqrt

import numpy as np

from nbsoftmax.kernels.lang.panels import logits_panel, scatter_panel
from nbsoftmax.kernels.lang.simd import lanes, prefetch
from nbsoftmax.kernels.linear import cross_entropy_of
from nbsoftmax.kernels.row_tiles import aligned, new_tile
from nbsoftmax.kernels.rows import MOST_CLASSES_IN_TILE, PROBA, Target
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take
from nbsoftmax.kernels.sgd import (
    ADAM,
    EPSILON,
    FORGETTING,
    MOMENTUM,
    SECOND_MOMENT,
    add_offsets,
    gather_target,
)
from nbsoftmax.kernels.sparse import LINE

# The parameters (N + 1, row), float64, flat, in `numbers`; `mean` is the place of m in a row, or 0. `current` has the
# step of the period up to which a column is up to date. `group` has the place of the l2 of each feature in `Rule.l2`.
# `w` is a copy of the parameters in the dtype of X, with rows of w_row elements; for float64 it is `numbers` itself.
Columns = namedtuple("Columns", "numbers row stride mean current group w w_row")
# Steps of a period: rate and share of each, the number of steps before, and the table of products (n_groups, 7, size).
Period = namedtuple("Period", "rates shares n_before size table")
ENTRIES = 7  # of a product: w from w, v; v from w, v; m from m, w, v

# Rows of a batch whose logits are computed at a time.
BLOCK = 128
# Prefetch distance, in samples and in numbers. Their order is random.
AHEAD_ROWS, AHEAD = 4, 8
# Columns of a task of `catch_up`.
COLUMNS = 256
# An index that is not negative, as Numba sees it: LLVM then makes vectors of the loops over classes.
index = np.uintp


# The loops over columns are inside of these functions: what a function takes from a tuple of arrays counts references,
# which takes as long as the work on a column.
@part
def update_columns(columns, chosen, n, t, period, rule):
    """Make step t of a period for the parameters of the first n of the chosen columns; reset their gradient to 0."""
    numbers, row, stride, mean = columns.numbers, columns.row, columns.stride, columns.mean
    group, l2s, mu, nu = columns.group, rule.l2, rule.momentum, SECOND_MOMENT
    rate, share, step = period.rates[t], period.shares[t], period.n_before + t + 1
    length, spread = rate / (1 - mu**step), 1 / (1 - nu**step)
    of_slope, of_v = (0.0, rate) if rule.kind == MOMENTUM else (rate, rate * mu)
    newest = (FORGETTING + 1.0) / (FORGETTING + step)
    for c in range(n):
        at, bend = chosen[c] * row, share * l2s[group[chosen[c]]]
        if rule.kind == ADAM:
            for i in range(at, at + stride):
                w, v, g, q = index(i), index(i + stride), index(i + 2 * stride), index(i + 3 * stride)
                slope = numbers[g] + bend * numbers[w]
                numbers[v] = mu * numbers[v] + (1 - mu) * slope
                numbers[q] = nu * numbers[q] + (1 - nu) * slope**2
                numbers[w] -= length * numbers[v] / (sqrt(numbers[q] * spread) + EPSILON)
        else:
            for i in range(at, at + stride):
                w, v, g = index(i), index(i + stride), index(i + 2 * stride)
                slope = numbers[g] + bend * numbers[w]
                moved = mu * numbers[v] + slope
                numbers[v] = moved
                numbers[w] -= of_slope * slope + of_v * moved
        if mean > 0:
            for i in range(at, at + stride):
                numbers[index(i + mean)] += newest * (numbers[index(i)] - numbers[index(i + mean)])
        for i in range(at + 2 * stride, at + 3 * stride):
            numbers[index(i)] = 0.0


@part
def advance_columns(columns, chosen, since, n, t, period, rule):
    """Bring the first n of the chosen columns up to date before step t of the period: column c is before since[c]."""
    if rule.kind == ADAM:
        for c in range(n):
            for step in range(since[c], t):
                update_columns(columns, chosen[c:], 1, step, period, rule)
        return
    numbers, row, stride, mean = columns.numbers, columns.row, columns.stride, columns.mean
    group, size, table = columns.group, period.size, period.table
    for c in range(n):
        later = chosen[min(c + AHEAD, n - 1)] * row
        for i in range(later, later + 3 * stride, LINE):  # w, v and g
            prefetch(numbers, i)
        if since[c] >= t:
            continue
        at, e = chosen[c] * row, group[chosen[c]] * ENTRIES * size + since[c]
        ww, wv, vw, vv = table[e], table[e + size], table[e + 2 * size], table[e + 3 * size]
        if mean > 0:
            mm, mw, mv = table[e + 4 * size], table[e + 5 * size], table[e + 6 * size]
            for i in range(at, at + stride):
                w, v, m = index(i), index(i + stride), index(i + mean)
                numbers[m] = mm * numbers[m] + (mw * numbers[w] + mv * numbers[v])
        for i in range(at, at + stride):
            w, v = numbers[index(i)], numbers[index(i + stride)]
            numbers[index(i)] = ww * w + wv * v
            numbers[index(i + stride)] = vw * w + vv * v


@part
def extend_table(period, t, rule, with_mean):
    """Multiply the products of the table by M of step t, and add that of this step alone."""
    mu, rate, size, table = rule.momentum, period.rates[t], period.size, period.table
    share = (FORGETTING + 1.0) / (FORGETTING + period.n_before + t + 1)
    for group in range(rule.l2.size):
        bend = period.shares[t] * rule.l2[group]
        of_w, of_v = 1 - rate * bend, -rate * mu
        if rule.kind != MOMENTUM:
            of_w, of_v = 1 - rate * (bend + mu * bend), -rate * mu * mu
        first = group * ENTRIES * size
        ww, wv = table[first : first + t + 1], table[first + size : first + size + t + 1]
        vw, vv = table[first + 2 * size : first + 2 * size + t + 1], table[first + 3 * size : first + 3 * size + t + 1]
        ww[t], wv[t], vw[t], vv[t] = 1.0, 0.0, 0.0, 1.0
        for s in range(t + 1):
            a, b = of_w * ww[s] + of_v * vw[s], of_w * wv[s] + of_v * vv[s]
            vw[s], vv[s] = bend * ww[s] + mu * vw[s], bend * wv[s] + mu * vv[s]
            ww[s], wv[s] = a, b
        if with_mean:
            for s in range(t + 1):
                e, f, g = first + 4 * size + s, first + 5 * size + s, first + 6 * size + s
                last = s == t
                table[e] = (1 - share) * (1.0 if last else table[e])
                table[f] = (1 - share) * (0.0 if last else table[f]) + share * ww[s]
                table[g] = (1 - share) * (0.0 if last else table[g]) + share * wv[s]


@part
def copy_columns(columns, chosen, n):
    """Copy the parameters of the chosen columns in the dtype of X, unless the kernel reads them where they are."""
    numbers, row, w, w_row = columns.numbers, columns.row, columns.w, columns.w_row
    if w.itemsize < numbers.itemsize:
        for c in range(n):
            at, to = chosen[c] * row, chosen[c] * w_row
            for k in range(columns.stride):
                w[index(to + k)] = numbers[index(at + k)]


@part
def list_columns(rows, order, low, high, current, t, fit_intercept, touched, since):
    """List the columns of the samples order[low:high], and their steps `current`, which become t + 1.

    Returns their number.
    """
    n, indptr, indices, data = 0, rows.indptr, rows.indices, rows.data
    if fit_intercept:
        touched[0], since[0], n = rows.n_features, t, 1
        current[rows.n_features] = t + 1
    for b in range(low, high):
        later = indptr[order[min(b + AHEAD_ROWS, order.size - 1)]]
        prefetch(indices, later)
        prefetch(data, later)
        for at in range(indptr[order[b]], indptr[order[b] + 1]):
            j = indices[at]
            if current[j] <= t:
                touched[n], since[n] = j, current[j]
                current[j] = t + 1
                n += 1
    return n


@part
def add_batch_gradient(
    rows, order, low, high, weights, panels, target, columns, scale, fit_intercept, memory
):  # fmt: skip
    """Add scale times the gradient of the samples order[low:high] to that of their columns; the sum of their losses."""
    z, picked, tile, proba_tile = memory
    n_classes, stride, total, ones = weights.n_classes, weights.stride, 0.0, rows.n_features
    for start in range(low, high, BLOCK):
        n = min(BLOCK, high - start)
        for r in range(n):
            i = order[start + r]
            for p in range(0, panels.size, 2):
                k, form = panels[p], panels[p + 1]
                logits_panel(
                    rows.data, rows.indices, rows.indptr, i, 1, rows.last, weights.w, columns.w_row, k, form, ones,
                    z, r * stride + k,
                )  # fmt: skip
            gather_target(target, i, n_classes, picked, r)
        add_offsets(rows, order, start, n, n_classes, z, stride)
        total += cross_entropy_of(weights, z, n, 0, picked, scale, True, tile, proba_tile)
        for r in range(n):
            first, d = rows.indptr[order[start + r]], r * stride
            many = rows.indptr[order[start + r] + 1] - first
            for k in range(n_classes, stride):
                z[d + k] = 0
            for p in range(0, panels.size, 2):
                k, form = panels[p], panels[p + 1]
                scatter_panel(
                    rows.data, rows.indices, first, many, z, d + k, form, columns.numbers, 2 * stride + k, columns.row
                )  # fmt: skip
            if fit_intercept:
                for k in range(stride):
                    columns.numbers[index(ones * columns.row + 2 * stride + k)] += z[index(d + k)]
    return total


@jit
def sparse_descend(
    todo, rows, order, batch_size, weights, panels, target, columns, period, rule, fit_intercept, losses
):  # fmt: skip
    """Make the steps of a period, one for each batch of the samples in `order`, in one task.

    The sum of the losses of a batch, before its step, goes to `losses`.
    """
    n_classes, stride = weights.n_classes, weights.stride
    size, like = min(BLOCK, batch_size), weights.w
    z = aligned(size * stride + lanes(like), like)
    labels, weight = np.empty(size, np.int32), np.empty(size if target.weight.size > 0 else 0, np.float64)
    proba = aligned(size * n_classes if target.kind == PROBA else 0, like)
    picked = Target(labels, proba, target.gain, target.floor, weight, target.kind)
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), like)
    proba_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), like)
    memory = z, picked, tile, proba_tile
    touched, since = np.empty(rows.n_features + 1, np.int64), np.empty(rows.n_features + 1, np.int32)
    while take(todo) >= 0:
        for t in range(period.rates.size):
            low, high = t * batch_size, min((t + 1) * batch_size, order.size)
            n = list_columns(rows, order, low, high, columns.current, t, fit_intercept, touched, since)
            advance_columns(columns, touched, since, n, t, period, rule)
            copy_columns(columns, touched, n)
            losses[t] = add_batch_gradient(
                rows, order, low, high, weights, panels, target, columns, rule.scale / batch_size, fit_intercept,
                memory,
            )  # fmt: skip
            update_columns(columns, touched, n, t, period, rule)
            if rule.kind != ADAM:
                extend_table(period, t, rule, columns.mean > 0)


@jit
def catch_up(todo, columns, period, rule):
    """Bring all columns up to date at the end of a period, and begin another. Ranges of columns are tasks."""
    n_columns, chosen = columns.current.size, np.empty(COLUMNS, np.int64)
    task = take(todo)
    while task >= 0:
        low = task * COLUMNS
        n = min(COLUMNS, n_columns - low)
        for c in range(n):
            chosen[c] = low + c
        since = columns.current[low : low + n]
        advance_columns(columns, chosen, since, n, period.rates.size, period, rule)
        since[:] = 0
        task = take(todo)
