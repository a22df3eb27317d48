"""The layouts of sparse data: a transposed copy of X by blocks of rows, and parameters with a row for each feature.

A block of rows is transposed to entries: one for each column with numbers in the block, and several for a column with
more than SEGMENT numbers. Columns that are empty in a block have no entry, so that blocks with few numbers for each
column stay small. The entries of a block are in the order of their columns; those of each column belong to one task.
"""

from collections import namedtuple

import numpy as np

from nbsoftmax.kernels.lang.panels import column_panel, store_as
from nbsoftmax.kernels.lang.simd import filled, lanes, load, prefetch, store
from nbsoftmax.kernels.lang.transpose import lanes_to_rows, rows_to_lanes
from nbsoftmax.kernels.rows import aligned
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take

# A block of rows of a CSR matrix: row r has the numbers data[indptr[r]:indptr[r + 1]] in the columns `indices`;
# `last` is the last element of these. `offset` (n_rows * K,) is added to the logits, unless it is empty.
SparseRows = namedtuple("SparseRows", "data indices indptr n_rows n_features last offset")
# The same block, transposed: entry e has the numbers data[starts[e]:starts[e + 1]] in `rows` and belongs to column
# columns[e]. Task t consists of the entries bounds[t] to bounds[t + 1] - 1.
SparseColumns = namedtuple("SparseColumns", "data rows columns starts bounds n_rows n_features")

# Most numbers of an entry: the sums of entries are added in float64.
SEGMENT = 256
# Tasks that the columns of a block are divided into, and the cost of an entry in numbers.
TASKS, ENTRY_COST = 32, 4
# Entries whose numbers stay in cache while the panels of classes take turns.
ENTRIES = 16
# Columns of a task that changes the layout of parameters.
COLUMNS = 512
# Prefetch distance in columns of parameters.
COLUMNS_AHEAD = 64
# Bytes of the sums of some columns, which are transposed while they are in the first-level cache.
TILE_BYTES = 2**14
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
        bounds[b * (TASKS + 1)] = 0
        for j in range(counts.size):
            n = counts[j]
            if n == 0:
                continue
            while task < TASKS and done * TASKS >= task * work:
                bounds[b * (TASKS + 1) + task] = e - first
                task += 1
            places[j] = at
            for start in range(0, n, SEGMENT):
                columns[e], entry_starts[e] = j, at + start
                e += 1
                done += ENTRY_COST
            at, done = at + n, done + n
        while task <= TASKS:
            bounds[b * (TASKS + 1) + task] = e - first
            task += 1
        for i in range(low, high):
            for t in range(rows.indptr[i], rows.indptr[i + 1]):
                j = rows.indices[t]
                to = places[j]
                places[j] = to + 1
                data[to], in_rows[to] = rows.data[t], i - low
        b = take(todo)


@jit
def by_features(todo, params, n_features, n_classes, stride, w):
    """Copy parameters (K, N + 1), flat, to w, (N + 1, stride). Ranges of columns are tasks.

    The padding of w repeats numbers of the last class.
    """
    width = lanes(params)
    tile = aligned(width * width, params)
    order = n_features + 1
    task = take(todo)
    while task >= 0:
        low, high = task * COLUMNS, min(order, (task + 1) * COLUMNS)
        for j in range(low, high, width):
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
        task = take(todo)


@part
def add_entries(columns, low, high, d, stride, panels, squared, g, gi):
    """Add the products of the numbers of the entries low to high - 1 with rows of D to g.

    The sums of column j are at g[gi + j * stride].
    """
    last = columns.rows.size - 1
    for start in range(low, high, ENTRIES):
        n = min(ENTRIES, high - start)
        for p in range(0, panels.size, 2):
            k, form = panels[p], panels[p + 1]
            column_panel(
                columns.data, columns.rows, columns.starts, columns.columns, start, n, last,
                d, stride, k, form, squared, g, gi + k,
            )  # fmt: skip


@part
def add_ones(d, n_rows, n_classes, stride, buffer, g, gi):
    """Add the sum of the rows of D to g[gi ...]."""
    for start in range(0, n_rows, SEGMENT):
        for k in range(0, n_classes, lanes(d)):
            total = filled(d, 0)
            for r in range(start, min(n_rows, start + SEGMENT)):
                total += load(d, r * stride + k)
            store(buffer, 0, total)
            for lane in range(min(lanes(d), n_classes - k)):
                g[gi + k + lane] += buffer[lane]


@jit
def add_products(todo, columns, d, n_classes, stride, panels, squared, fit_intercept, sums):
    """Add X1^T D of a block to `sums`, (N + 1, stride), from D (n_rows, stride); X squared if `squared`.

    Task 0 is the column of ones; the others are those of the block.
    """
    buffer = aligned(lanes(d), d)
    task = take(todo)
    while task >= 0:
        if task > 0:
            low, high = columns.bounds[task - 1], columns.bounds[task]
            add_entries(columns, low, high, d, stride, panels, squared, sums, 0)
        elif fit_intercept:
            add_ones(d, columns.n_rows, n_classes, stride, buffer, sums, columns.n_features * stride)
        task = take(todo)


@part
def first_column(columns, task):
    """First column of a task, or the number of columns after the last task."""
    e = columns.bounds[task]
    if task == 0:
        return 0
    return columns.columns[e] if task < TASKS and e < columns.columns.size else columns.n_features


@part
def start_tile(sums, at, tile):
    """Fill a tile with numbers of `sums` from `at` on; with 0 if `sums` is empty."""
    if sums.size > 0:
        tile[:] = sums[at : at + tile.size]
    else:
        tile[:] = 0.0


@part
def prefetch_block(out, start, stride, n_rows, n):
    """Prefetch n elements of each of some rows, the first of them from `start` on."""
    for r in range(n_rows):
        for c in range(0, n + LINE, LINE):
            prefetch(out, r * stride + start + min(c, n - 1))


@jit
def last_products(todo, columns, d, n_classes, stride, panels, squared, fit_intercept, sums, out):
    """As `add_products` for the last block: write `sums` with X1^T D to `out`, (K, N + 1).

    `sums`, which has some elements more than its last row, is not changed; it is empty if there is no other block.
    """
    width, order = lanes(out), columns.n_features + 1
    buffer, square = aligned(lanes(d), d), aligned(width * width, out)
    size = min(64, max(8, TILE_BYTES // (8 * stride) // 8 * 8))
    tile = aligned(size * stride + width, out)
    task = take(todo)
    while task >= 0:
        if task > 0:
            e, end = columns.bounds[task - 1], columns.bounds[task]
            low, high = first_column(columns, task - 1), first_column(columns, task)
            for start in range(low, high, size):
                n = min(size, high - start)
                prefetch_block(out, start, order, n_classes, n)
                start_tile(sums, start * stride, tile[: n * stride])
                first = e
                while e < end and columns.columns[e] < start + n:
                    e += 1
                add_entries(columns, first, e, d, stride, panels, squared, tile, -start * stride)
                for k in range(0, n_classes, width):
                    for c in range(0, n, width):
                        few = min(width, n - c)
                        for j in range(few):
                            store(square, j * width, load(tile, (c + j) * stride + k))
                        at = k * order + start + c
                        lanes_to_rows(square, 0, out, at, order, min(width, n_classes - k), few, 1)
        else:
            start_tile(sums, (order - 1) * stride, tile[:stride])
            if fit_intercept:
                add_ones(d, columns.n_rows, n_classes, stride, buffer, tile, 0)
            for k in range(n_classes):
                out[k * order + order - 1] = tile[k]
        task = take(todo)
