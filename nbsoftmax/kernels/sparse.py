"""The layouts of sparse data: a transposed copy of X by blocks of rows, and parameters with a row for each feature.

A block of rows is transposed to entries: one for each column with numbers in the block, and several for a column with
more than SEGMENT numbers. Columns that are empty in a block have no entry, so that blocks with few numbers for each
column stay small. The entries of a block are in the order of their columns; those of each column belong to one task.
"""

from collections import namedtuple

import numpy as np

from nbsoftmax.kernels.lang.panels import store_as
from nbsoftmax.kernels.lang.simd import lanes, load, prefetch
from nbsoftmax.kernels.lang.transpose import rows_to_lanes
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take

# Rows of a CSR matrix: row r has the numbers data[indptr[r]:indptr[r + 1]] in the columns `indices`;
# `last` is the last element of these. `offset` (n_rows * K,) is added to the logits, unless it is empty.
SparseRows = namedtuple("SparseRows", "data indices indptr n_rows n_features last offset")
# All blocks of rows, transposed: entry e has the numbers data[starts[e]:starts[e + 1]] in `rows`, which count from the
# first row of its block, and belongs to column columns[e]. Task t of block b consists of the entries from
# bounds[b * (TASKS + 1) + t] to the next bound.
SparseColumns = namedtuple("SparseColumns", "data rows columns starts bounds n_features")

# Most numbers of an entry: the sums of entries are added in float64.
SEGMENT = 256
# Tasks that the columns of a block are divided into, and the cost of an entry in numbers.
TASKS, ENTRY_COST = 32, 4
# Columns of a task that changes the layout of parameters.
COLUMNS = 512
# Prefetch distance in columns of parameters.
COLUMNS_AHEAD = 64
# Numbers of float64 in a cache line.
LINE = 8


@part
def count_columns(rows, low, high, counts):
    """Count the numbers of the rows low to high - 1 in each column."""
    counts[:] = 0
    for at in range(rows.indptr[low], rows.indptr[high]):
        counts[rows.indices[at]] += 1


@jit
def count_entries(todo, rows, starts, n_entries):
    """Write the number of entries of each block b, the rows from starts[b] on, to `n_entries`. Blocks are tasks."""
    counts = np.empty(rows.n_features, np.int32)
    b = take(todo)
    while b >= 0:
        count_columns(rows, starts[b], starts[b + 1], counts)
        total = 0
        for j in range(counts.size):
            total += (counts[j] + SEGMENT - 1) // SEGMENT
        n_entries[b] = total
        b = take(todo)


@jit
def transpose(todo, rows, starts, data, in_rows, columns, entry_starts, firsts, bounds):
    """Transpose each block: write its entries, from firsts[b] on, and the bounds of its tasks. Blocks are tasks."""
    counts = np.empty(rows.n_features, np.int32)
    places = np.empty(rows.n_features, np.int64)
    b = take(todo)
    while b >= 0:
        low, high = starts[b], starts[b + 1]
        count_columns(rows, low, high, counts)
        first, at = firsts[b], rows.indptr[low]
        work = rows.indptr[high] - at + ENTRY_COST * (firsts[b + 1] - first)
        e, done, task = first, 0, 1
        bounds[b * (TASKS + 1)] = first
        for j in range(counts.size):
            n = counts[j]
            if n == 0:
                continue
            while task < TASKS and done * TASKS >= task * work:
                bounds[b * (TASKS + 1) + task] = e
                task += 1
            places[j] = at
            for start in range(0, n, SEGMENT):
                columns[e], entry_starts[e] = j, at + start
                e += 1
                done += ENTRY_COST
            at, done = at + n, done + n
        while task <= TASKS:
            bounds[b * (TASKS + 1) + task] = e
            task += 1
        for i in range(low, high):
            for t in range(rows.indptr[i], rows.indptr[i + 1]):
                j = rows.indices[t]
                to = places[j]
                places[j] = to + 1
                data[to], in_rows[to] = rows.data[t], i - low
        b = take(todo)


@part
def copy_columns(task, params, n_features, n_classes, stride, w, tile):
    """Copy some columns of parameters (K, N + 1), flat, to w, (N + 1, stride). `tile` has a square of vectors.

    The padding of w repeats numbers of the last class.
    """
    width = lanes(params)
    order = n_features + 1
    high = min(order, (task + 1) * COLUMNS)
    for j in range(task * COLUMNS, high, width):
        few = min(width, high - j)
        for k in range(n_classes):  # more streams than the hardware follows
            prefetch(params, k * order + j + COLUMNS_AHEAD)
        for k in range(0, stride, width):
            first = min(k, n_classes - 1)
            rows_to_lanes(params, first * order + j, order, max(1, n_classes - k), few, tile, 0, 1)
            for c in range(few):
                at = (j + c) * stride + k
                if k + width <= stride:
                    store_as(w, at, load(tile, c * width))
                else:
                    for r in range(stride - k):
                        w[at + r] = tile[c * width + r]


@jit
def by_features(todo, params, n_features, n_classes, stride, w):
    """Copy parameters (K, N + 1), flat, to w, (N + 1, stride), as `copy_columns`. Ranges of columns are tasks."""
    tile = aligned(lanes(params) * lanes(params), params)
    task = take(todo)
    while task >= 0:
        copy_columns(task, params, n_features, n_classes, stride, w, tile)
        task = take(todo)
