"""Weighted Gram matrices of the rows of X: the blocks that Hessians and their preconditioners are made of.

    G_c = sum_i w_ic (x_i, 1) (x_i, 1)^T          with, for h_i the weight of sample i and a_i its probabilities,
    UNIT   w_i  = h_i                             one matrix
    MEAN   w_i  = h_i mean_k a_ik (1 - a_ik)      one matrix
    EACH   w_ik = h_i a_ik (1 - a_ik)             K: the diagonal blocks of the Hessian
    PAIRS  w_ip = h_i a_ik a_il, k < l            K (K - 1) / 2: minus its other blocks; every row of blocks sums to 0

Only the upper triangles, with the diagonals, are computed.
"""

from nbsoftmax.kernels.lang.simd import filled, lanes, load, load_part, store
from nbsoftmax.kernels.lang.tiles import MOST_ROWS, backward
from nbsoftmax.kernels.linear import (
    Block,
    add_offset,
    block_of,
    copy_columns,
    copy_row,
    logits_of,
    pack_scratch,
    softmax_of,
    whole_vectors,
)
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.rows import chunk_bounds, class_variances, weight_of
from nbsoftmax.kernels.runtime.blas import add_product
from nbsoftmax.kernels.runtime.jit import jit, part
from nbsoftmax.kernels.runtime.threads import take

UNIT, MEAN, EACH, PAIRS = 0, 1, 2, 3
# Bytes of a block of rows: the block and its weighted copy fit in the second-level cache.
BLOCK_BYTES = 1 << 17
# Columns of a task if the columns are split over threads, and rows packed at a time.
PANEL, GROUP = 128, 64


def n_matrices(what, n_classes):
    """Number of matrices."""
    return {UNIT: 1, MEAN: 1, EACH: n_classes, PAIRS: n_classes * (n_classes - 1) // 2}[what]


@part
def pack_rows(rows, start, n, fit_intercept, side, x, at):
    """Copy n samples to x[at ...], each followed by 1 (0 without intercept) and by zeros up to a whole vector."""
    if rows.column_stride != 1:
        copy_columns(rows, start, n, x, at, side)
    for r in range(n):
        i, o = (start + r) * rows.row_stride, at + r * side
        if rows.column_stride == 1:
            copy_row(rows.x, i, rows.n_features, x, o)
        x[o + rows.n_features] = 1.0 if fit_intercept else 0.0
        for j in range(rows.n_features + 1, side):
            x[o + j] = 0.0


@part
def row_weights(block, rows, weights, what, curvature, start, w, w_at, n_columns):
    """Write the weights of the samples of a block, one for each matrix, (n, n_columns), to w[w_at ...]."""
    n = block.n_rows
    if what == UNIT:
        for r in range(n):
            w[w_at + r] = weight_of(start + r, curvature)
        return
    n_classes, stride = weights.n_classes, weights.stride
    a = aligned((n + MOST_ROWS) * stride, block.x)
    logits_of(block, weights, 0, n_classes, a, stride)
    add_offset(rows, start, n, n_classes, a, stride)
    softmax_of(weights, a, n)
    for r in range(n):
        h, row, o = weight_of(start + r, curvature), r * stride, w_at + r * n_columns
        if what == PAIRS:
            for k in range(n_classes):
                for l in range(k + 1, n_classes):  # noqa: E741
                    w[o] = h * a[row + k] * a[row + l]
                    o += 1
            continue
        if what == EACH:
            class_variances(a, row, n_classes, h, w, o)
        else:
            w[o] = class_variances(a, row, n_classes, h, a, row) / n_classes


@part
def packed_block(x, at, side, n, n_features):
    """The block of n packed samples from x[at] on."""
    return Block(x, at, side, n, n_features, 0, x, at, 0)


@part
def weigh(x, at, side, n, width, w, w_at, w_stride, d):
    """Compute d[r, :] = w[r] x[r, :] for the first `width` numbers of each row; `width` is a multiple of a vector."""
    for r in range(n):
        factor = filled(x, w[w_at + r * w_stride])
        for j in range(0, width, lanes(x)):
            store(d, r * width + j, load(x, at + r * side + j) * factor)


@part
def weigh_and_add(block, w, column, w_stride, d, side, total):
    """Compute d[r, :] = w[r] x[r, :] in rows of `side` numbers, whole vectors, and the sum of these rows in `total`.

    The sums of four vectors at a time stay in registers, and do not wait for each other.
    """
    x, first, stride, n, n_features = block.x, block.at, block.stride, block.n_rows, block.n_features
    width, j = lanes(x), 0
    while j + 4 * width <= n_features:
        zero = filled(x, 0)
        s1, s2, s3, s4 = zero, zero, zero, zero
        for r in range(n):
            at, to, factor = first + r * stride + j, r * side + j, filled(x, w[r * w_stride + column])
            d1, d2 = load(x, at) * factor, load(x, at + width) * factor
            d3, d4 = load(x, at + 2 * width) * factor, load(x, at + 3 * width) * factor
            store(d, to, d1)
            store(d, to + width, d2)
            store(d, to + 2 * width, d3)
            store(d, to + 3 * width, d4)
            s1, s2, s3, s4 = s1 + d1, s2 + d2, s3 + d3, s4 + d4
        store(total, j, s1)
        store(total, j + width, s2)
        store(total, j + 2 * width, s3)
        store(total, j + 3 * width, s4)
        j += 4 * width
    while j < n_features:
        s1, rest = filled(x, 0), n_features - j
        for r in range(n):
            at, factor = first + r * stride + j, filled(x, w[r * w_stride + column])
            d1 = (load(x, at) if rest >= width else load_part(x, at, rest, 0.0)) * factor
            store(d, r * side + j, d1)
            s1 += d1
        store(total, j, s1)
        j += width


@jit
def gram(todo, n_chunks, rows, weights, what, curvature, fit_intercept, n_columns, sums):
    """Add the upper triangles of all matrices, for chunks of rows, to `sums`.

    `sums` is (n_chunks, n_columns, N + 1, N + 1) flat. Chunks are tasks.
    """
    n_features, order = rows.n_features, rows.n_features + 1
    side = whole_vectors(n_features, rows.x)
    size = min(256, max(16, BLOCK_BYTES // (max(1, side) * rows.x.itemsize) // 16 * 16))
    pack, d = pack_scratch(rows, size, weights), aligned(size * side, rows.x)
    w, total = aligned(size * n_columns, rows.x), aligned(side, rows.x)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, n_chunks, rows.n_rows)
        for start in range(low, high, size):
            n = min(size, high - start)
            block = block_of(rows, weights, start, n, pack)
            row_weights(block, rows, weights, what, curvature, start, w, 0, n_columns)
            x, at, stride, _, _, _, f, fi, f_stride = block
            for c in range(n_columns):
                g = (chunk * n_columns + c) * order * order
                weigh_and_add(block, w, c, n_columns, d, side, total)
                if n_features > 0:
                    ahead = f_stride if c == 0 else 0
                    # The weighted rows, which are aligned, are the vectors, and X the factors.
                    backward(
                        d, 0, side, n, n_features, x, at, stride, n_features, sums, g, order, f, fi, ahead, True
                    )  # fmt: skip
                if fit_intercept:  # as a feature, it would take tiles with a single lane in use
                    for j in range(n_features):
                        sums[g + j * order + n_features] += total[j]
                    for r in range(n):
                        sums[g + order * order - 1] += w[r * n_columns + c]
        chunk = take(todo)


@jit
def curvatures(todo, n_chunks, rows, weights, curvature, fit_intercept, sums):
    """Add the diagonals of the matrices EACH, for chunks of rows, to `sums`, (n_chunks, K, N + 1) flat."""
    n_classes, order = weights.n_classes, rows.n_features + 1
    side, columns = whole_vectors(order, rows.x), whole_vectors(n_classes, rows.x)
    size = min(256, max(16, BLOCK_BYTES // (side * rows.x.itemsize) // 16 * 16))
    x, w = aligned(size * side, rows.x), aligned(size * columns, rows.x)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, n_chunks, rows.n_rows)
        for start in range(low, high, size):
            n = min(size, high - start)
            pack_rows(rows, start, n, fit_intercept, side, x, 0)
            block = packed_block(x, 0, side, n, rows.n_features)
            row_weights(block, rows, weights, EACH, curvature, start, w, 0, columns)
            for i in range(n * side):
                x[i] *= x[i]
            g = chunk * n_classes * order
            backward(x, 0, side, n, order, w, 0, columns, n_classes, sums, g, order, x, 0, side, False)
        chunk = take(todo)


# --- large matrices: their rows are split over threads, some samples at a time, and BLAS multiplies -----------


@jit
def pack_by_rows(todo, rows, start, n, weights, what, curvature, fit_intercept, x, w, n_columns):
    """Pack and weigh n samples, in groups."""
    side = whole_vectors(rows.n_features + 1, x)
    task = take(todo)
    while task >= 0:
        r = task * GROUP
        few = min(GROUP, n - r)
        pack_rows(rows, start + r, few, fit_intercept, side, x, r * side)
        block = packed_block(x, r * side, side, few, rows.n_features)
        row_weights(block, rows, weights, what, curvature, start + r, w, r * n_columns, n_columns)
        task = take(todo)


@jit
def add_panels(todo, n, order, x, w, n_columns, sums):
    """Add what n packed samples give to the upper triangles, PANEL rows of a matrix in a task."""
    side = whole_vectors(order, x)
    n_panels = (order + PANEL - 1) // PANEL
    d = aligned(n * min(PANEL, side), x)
    narrow = aligned(min(PANEL, order) * order if x.itemsize == 4 else 1, x)
    task = take(todo)
    while task >= 0:
        c, turn = task // n_panels, task % n_panels
        # Long rows and short ones in turn, so that threads with equally many have equally much to do.
        panel = turn // 2 if turn % 2 == 0 else n_panels - 1 - turn // 2
        first = panel * PANEL
        width = min(PANEL, side - first)
        few, rest, g = min(PANEL, order - first), order - first, (c * order + first) * order + first
        weigh(x, first, side, n, width, w, c, n_columns, d)
        if x.itemsize == 8:
            add_product(False, True, rest, few, n, x, first, side, d, 0, width, sums, g, order)
        else:  # products in float32, sums of blocks in float64
            narrow[: few * rest] = 0
            add_product(False, True, rest, few, n, x, first, side, d, 0, width, narrow, 0, rest)
            for k in range(few):
                for j in range(rest):
                    sums[g + k * order + j] += narrow[k * rest + j]
        task = take(todo)
