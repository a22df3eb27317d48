"""Products of sparse columns with the residuals of a block of rows: X1^T D, from the transposed copy of X."""

from nbsoftmax.kernels.lang.panels import column_panel
from nbsoftmax.kernels.lang.simd import filled, lanes, load, prefetch, store
from nbsoftmax.kernels.lang.transpose import lanes_to_rows
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.jit import part
from nbsoftmax.kernels.sparse import LINE, SEGMENT, TASKS

# Entries whose numbers stay in cache while the panels of classes take turns.
ENTRIES = 16
# Bytes of the sums of some columns, which are transposed while they are in the first-level cache.
TILE_BYTES = 2**14


@part
def tile_columns(stride):
    """Number of columns whose sums are in a tile."""
    return min(64, max(8, TILE_BYTES // (8 * stride) // 8 * 8))


@part
def new_sums_tile(stride, out):
    """Allocate a tile of sums, and a vector more."""
    return aligned(tile_columns(stride) * stride + lanes(out), out)


@part
def add_ones(d, n_rows, n_classes, stride, buffer, g, gi):
    """Add the sum of the rows of D to g[gi ...]. `buffer` has a vector."""
    for start in range(0, n_rows, SEGMENT):
        for k in range(0, n_classes, lanes(d)):
            total = filled(d, 0)
            for r in range(start, min(n_rows, start + SEGMENT)):
                total += load(d, r * stride + k)
            store(buffer, 0, total)
            for lane in range(min(lanes(d), n_classes - k)):
                g[gi + k + lane] += buffer[lane]


@part
def start_tile(sums, at, n, tile):
    """Copy n numbers of `sums` from `at` on to a tile; 0 if `sums` is empty."""
    for c in range(n):
        tile[c] = sums[at + c] if sums.size > 0 else 0.0


@part
def intercept_sums(n_rows, d, n_classes, stride, ones, last, n_features, buffer, tile, sums, out):
    """Add the sum of the rows of D to the last row of `sums`, (N + 1, stride), if `ones`.

    If `last`, the total goes to the last column of `out`, (K, N + 1), and `sums` is not changed.
    """
    if not last:
        if ones:
            add_ones(d, n_rows, n_classes, stride, buffer, sums, n_features * stride)
        return
    start_tile(sums, n_features * stride, stride, tile)
    if ones:
        add_ones(d, n_rows, n_classes, stride, buffer, tile, 0)
    for k in range(n_classes):
        out[k * (n_features + 1) + n_features] = tile[k]


@part
def prefetch_block(out, start, stride, n_rows, n):
    """Prefetch n elements of each of some rows, the first of them from `start` on."""
    for r in range(n_rows):
        for c in range(0, n + LINE, LINE):
            prefetch(out, r * stride + start + min(c, n - 1))


@part
def store_tile(tile, start, n, n_classes, stride, order, square, out):
    """Transpose the sums of n columns from column `start` on to `out`, (K, order). `square` has a square of vectors."""
    width = lanes(out)
    for k in range(0, n_classes, width):
        for c in range(0, n, width):
            few = min(width, n - c)
            for j in range(few):
                store(square, j * width, load(tile, (c + j) * stride + k))
            lanes_to_rows(square, 0, out, k * order + start + c, order, min(width, n_classes - k), few, 1)


@part
def column_sums(columns, bound, d, n_classes, stride, panels, squared, last, square, tile, sums, out):
    """Add the products of a task's columns with the rows of D to `sums`, (N + 1, stride); X squared if `squared`.

    The entries of the task begin at columns.bounds[bound]. If `last`, the totals of all columns from the first of the
    task to the first of the next one go to `out`, (K, N + 1), and `sums` is not changed.
    """
    order = columns.n_features + 1
    e, end = columns.bounds[bound], columns.bounds[bound + 1]
    low, high, size = 0, 1, 1
    if last:
        low, high = first_column(columns, bound), first_column(columns, bound + 1)
        size = tile_columns(stride)
    for start in range(low, high, size):
        n = min(size, high - start)
        first = e
        if last:
            prefetch_block(out, start, order, n_classes, n)
            start_tile(sums, start * stride, n * stride, tile)
            while e < end and columns.columns[e] < start + n:
                e += 1
        else:
            e = end
        g, gi = (tile, -start * stride) if last else (sums, 0)
        for at in range(first, e, ENTRIES):
            many = min(ENTRIES, e - at)
            for p in range(0, panels.size, 2):
                k, form = panels[p], panels[p + 1]
                column_panel(
                    columns.data, columns.rows, columns.starts, columns.columns, at, many, columns.rows.size - 1,
                    d, stride, k, form, squared, g, gi + k,
                )  # fmt: skip
        if last:
            store_tile(tile, start, n, n_classes, stride, order, square, out)


@part
def first_column(columns, bound):
    """First column of a task of the last block; the number of columns after its last task."""
    e, task = columns.bounds[bound], bound % (TASKS + 1)
    if task == 0:
        return 0
    return columns.columns[e] if task < TASKS and e < columns.columns.size else columns.n_features
