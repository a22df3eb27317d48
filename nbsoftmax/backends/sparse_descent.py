"""Steps of stochastic gradient descent on sparse rows."""

from __future__ import annotations

from math import isqrt

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.sparse_design import Layout
from nbsoftmax.kernels import rows, sgd, sparse_sgd
from nbsoftmax.kernels.linear import TILES, weights_of
from nbsoftmax.kernels.sparse import SparseRows
from nbsoftmax.validation import Float64s

# Steps after which all columns are brought up to date, at most.
MOST_STEPS = 512


def descend(
    design: tuple[SparseRows, Layout, rows.Target],
    state: sgd.State,
    order: NDArray[np.int64],
    batch_size: int,
    rates: Float64s,
    rule: sgd.Rule,
    n_before: int,
    *,
    fit_intercept: bool,
) -> Float64s:
    """Change `state` by a step of rates[t] for each mini-batch t of the samples in `order`; their losses."""
    samples, layout, target = design
    batch_size = min(batch_size, order.size)
    l2s, group = np.unique(np.append(rule.l2, 0.0), return_inverse=True)  # the last column is that of the intercept
    rule = rule._replace(l2=l2s)
    columns = _columns(state, layout, group.reshape(-1).astype(np.int32), fit_intercept=fit_intercept)
    weights = weights_of(columns.w, layout.stride, layout.n_classes, TILES)
    shares = np.minimum(batch_size, order.size - batch_size * np.arange(rates.size)) / batch_size
    # The table of a period and its end take about as long together.
    size = max(1, min(rates.size, MOST_STEPS, isqrt(columns.numbers.size // max(1, l2s.size))))
    table, losses = np.empty(l2s.size * sparse_sgd.ENTRIES * size), np.empty(rates.size)
    n_tasks = -(-group.size // sparse_sgd.COLUMNS)
    for start in range(0, rates.size, size):
        part = slice(start, start + size)
        period = sparse_sgd.Period(rates[part], shares[part], n_before + start, size, table)
        batches = order[start * batch_size : (start + size) * batch_size]
        common = weights, layout.panels, target, columns, period, rule, fit_intercept
        layout.run(sparse_sgd.sparse_descend, 1, 0, samples, batches, batch_size, *common, losses[part])
        work = columns.numbers.size * (period.rates.size * sgd.ADAM_WORK if rule.kind == sgd.ADAM else 1)
        layout.run(sparse_sgd.catch_up, n_tasks, work, columns, period, rule)
    _store(columns, state, layout, fit_intercept=fit_intercept)
    return losses


def _places(state: sgd.State) -> dict[int, Float64s]:
    """The arrays of a state by their places in `Columns.numbers`; place 2 is that of the gradient."""
    more = [part for part in (state.square, state.mean) if part.size]
    return {0: state.params, 1: state.velocity} | dict(enumerate(more, 3))


def _columns(state: sgd.State, layout: Layout, group: NDArray[np.int32], *, fit_intercept: bool) -> sparse_sgd.Columns:
    """The state by columns."""
    n, n_classes, stride = layout.n_features, layout.n_classes, layout.stride
    places = _places(state)
    n_parts = max(2, *places) + 1
    numbers = np.zeros((n + 1, n_parts, stride))
    for place, part in places.items():
        numbers[:, place, :n_classes] = part.reshape(n_classes, n + 1).T
    if not fit_intercept:
        numbers[n] = 0
    row, flat = n_parts * stride, numbers.reshape(-1)
    copied = layout.dtype != np.float64
    w = np.zeros((n + 1) * stride + layout.more, layout.dtype) if copied else flat
    mean = (n_parts - 1) * stride if state.mean.size else 0
    return sparse_sgd.Columns(flat, row, stride, mean, np.zeros(n + 1, np.int32), group, w, stride if copied else row)


def _store(columns: sparse_sgd.Columns, state: sgd.State, layout: Layout, *, fit_intercept: bool) -> None:
    """Write the numbers of the columns back to the state."""
    n = layout.n_features + fit_intercept
    numbers = columns.numbers.reshape(layout.n_features + 1, -1, columns.stride)
    for place, part in _places(state).items():
        part.reshape(layout.n_classes, -1)[:, :n] = numbers[:n, place, : layout.n_classes].T
