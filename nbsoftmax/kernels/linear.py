"""Fused kernels of a linear model: loss, gradient and Hessian-vector product, summed over the rows of X.

    Z = X W^T + b,    L = sum_i L_i(z_i),    dL/dW = D^T X,    D = dL/dZ
    Hessian . V = E^T X,    E_i = h_i a_i * (u_i - a_i . u_i),    U = X V^T + v_b

Here a_i = softmax(z_i), h_i is the weight of sample i, and u_i and v_b are the row of U and the intercepts of V.

Each chunk processes its rows in blocks that fit in cache, so that X is read from memory once for both products, and
only one block of logits exists at a time. Within a block products are in the dtype of X; every block adds to the
gradient of its chunk in float64, and the caller adds the chunks in order.
"""

from collections import namedtuple

from nbsoftmax.kernels.lang.simd import element, lanes, load, store
from nbsoftmax.kernels.lang.tiles import MOST_ROWS, backward, dots, forward
from nbsoftmax.kernels.rows import (
    FORGET,
    KEPT,
    MOST_CLASSES_IN_TILE,
    aligned,
    chunk_bounds,
    cross_entropy_rows,
    curvature_rows,
    filled,
    new_tile,
)
from nbsoftmax.kernels.runtime.blas import add_product
from nbsoftmax.kernels.runtime.jit import jit
from nbsoftmax.kernels.runtime.threads import take

# The samples: x is flat from the first element on, strides are in elements; `offset` (m * K,) is added to the logits,
# unless it is empty.
Rows = namedtuple("Rows", "x row_stride column_stride n_rows n_features offset")
# The parameters, in the dtype of X and in the layout of `form`; rows of logits are `stride` numbers apart.
Weights = namedtuple("Weights", "w stride n_classes form")
# Some samples with contiguous features: row r begins at x[at + r * stride]. `ahead` is the prefetch distance in
# elements; 0 for no prefetching.
Block = namedtuple("Block", "x at stride n_rows n_features ahead")

# How a block is multiplied: register tiles with classes in lanes, with features in lanes, or BLAS. Layout of `w`:
# for TILES and BLAS (n_features + 1, stride), the bias in the last row; for DOTS as in `tiles.dots`.
TILES, DOTS, BLAS = 0, 1, 2

# What the horizontal sum of one dot product costs, in steps of its tile: measured where both forms take as long.
DOT_SUM = 12

# Bytes of X in a block: half of the smallest second-level cache in use. Larger blocks read and write the weights and
# the gradient less often. Times are constant from here to 1 MB, and 8% longer at a quarter (512 features, 100 classes).
BLOCK_BYTES = 1 << 18
# Bytes of logits in a block for BLAS, which is faster with more rows at a time.
BLAS_BLOCK_BYTES = 1 << 21
# Prefetch distance of the logits, a few hundred nanoseconds of reading. The gradient prefetches the next block, so that
# the memory is never idle: 25% faster for 54 features and 7 classes.
PREFETCH_BYTES = 1 << 14


@jit
def tiled_form(n_features, n_classes, width):
    """TILES or DOTS: whichever takes fewer vector operations for a row."""
    by_classes = (n_classes + width - 1) // width * n_features
    by_features = n_classes * ((n_features + width - 1) // width + DOT_SUM)
    return DOTS if by_features < by_classes else TILES


@jit
def block_rows(rows, weights, n_logits):
    """Number of rows in a block with `n_logits` numbers for each class: a multiple of 16, so that tiles are full."""
    size, itemsize = n_logits * weights.stride, rows.x.itemsize
    if weights.form == BLAS:
        return min(512, max(64, BLAS_BLOCK_BYTES // (size * itemsize) // 16 * 16))
    return min(256, max(16, BLOCK_BYTES // ((rows.n_features + size) * itemsize) // 16 * 16))


@jit
def prefetch_distance(rows):
    """`PREFETCH_BYTES` in elements of x, rounded up to whole tiles of rows."""
    return (PREFETCH_BYTES // (rows.n_features * rows.x.itemsize * MOST_ROWS) + 1) * MOST_ROWS * rows.row_stride


@jit
def shared_scratch(rows, size, weights):
    """Allocate memory for the logits and the packed samples of a block."""
    z = aligned((size + MOST_ROWS) * weights.stride, rows.x)
    return z, aligned(1 if side_by_side(rows, weights) else size * rows.n_features, rows.x)


@jit
def scratch(rows, size, weights):
    """Allocate memory for a block: logits, packed samples, two tiles, and the float32 products of BLAS."""
    n_classes = weights.n_classes
    z, pack = shared_scratch(rows, size, weights)
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    other = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    narrow = aligned(n_classes * rows.n_features if weights.form == BLAS and rows.x.itemsize == 4 else 1, rows.x)
    return z, pack, tile, other, narrow


@jit
def side_by_side(rows, weights):
    """Whether blocks of X need no copy: contiguous features; for BLAS, rows that do not overlap or run backwards."""
    return rows.column_stride == 1 and (weights.form != BLAS or rows.row_stride >= rows.n_features)


@jit
def block_of(rows, weights, start, n, pack):
    """Return the n samples from `start` on as a block, copied to `pack` unless they are `side_by_side`."""
    if side_by_side(rows, weights):
        ahead = prefetch_distance(rows)
        return Block(rows.x, start * rows.row_stride, rows.row_stride, n, rows.n_features, ahead)
    for j in range(rows.n_features):
        for r in range(n):
            pack[r * rows.n_features + j] = element(rows.x, (start + r) * rows.row_stride + j * rows.column_stride)
    return Block(pack, 0, rows.n_features, n, rows.n_features, 0)


@jit
def logits_of(block, weights, first, last, z, z_stride):
    """Compute the logits of a block, without offset, for the classes first to last - 1; class `first` is at z[0].

    Only BLAS supports a part of the classes.
    """
    x, at, stride, n, n_features, ahead = block
    w, w_stride = weights.w, weights.stride
    if weights.form == TILES:
        forward(x, at, stride, n, n_features, w, w_stride, z, z_stride, ahead)
    elif weights.form == DOTS:
        dots(x, at, stride, n, n_features, w, weights.n_classes, z, z_stride, ahead)
    else:
        bias = n_features * w_stride
        for r in range(n):
            for k in range(last - first):
                z[r * z_stride + k] = w[bias + first + k]
        add_product(False, False, last - first, n, n_features, w, first, w_stride, x, at, stride, z, 0, z_stride)


@jit
def add_offset(rows, start, n, n_classes, z, z_stride):
    """Add the offset to the logits of a block."""
    if rows.offset.size > 0:
        for r in range(n):
            for k in range(n_classes):
                z[r * z_stride + k] += rows.offset[(start + r) * n_classes + k]


@jit
def add_gradient(block, d, d_stride, first, last, form, fit_intercept, buffer, narrow, g, gi):
    """Add sum_r d[r, k] (x[r, :], 1) over a block to g[k, :], for the classes first to last - 1.

    g, (K, N + 1), begins at index gi.
    """
    x, at, stride, n, n_features, ahead = block
    g_stride = n_features + 1
    to = gi + first * g_stride
    if form != BLAS:
        next_block = n * stride if ahead > 0 else 0
        backward(x, at, stride, n, n_features, d, d_stride, last, g, gi, g_stride, next_block, False)
    elif x.itemsize == 8:
        add_product(False, True, n_features, last - first, n, x, at, stride, d, first, d_stride, g, to, g_stride)
    else:  # products in float32, sums of blocks in float64
        narrow[: (last - first) * n_features] = 0
        add_product(False, True, n_features, last - first, n, x, at, stride, d, first, d_stride, narrow, 0, n_features)
        for k in range(last - first):
            for j in range(n_features):
                g[to + k * g_stride + j] += narrow[k * n_features + j]
    if fit_intercept:
        for k in range(first, last, lanes(d)):
            total = filled(d, 0)
            for r in range(n):
                total += load(d, r * d_stride + k)
            store(buffer, 0, total)
            for lane in range(min(lanes(d), last - k)):
                g[gi + (k + lane) * g_stride + n_features] += buffer[lane]


@jit
def loss_and_grad(todo, rows, weights, target, fit_intercept, want_grad, partial, gradient):
    """Write the loss of each chunk of rows to `partial` (n_chunks,), and add its gradient to `gradient`.

    `gradient` is (n_chunks, K, N + 1) flat. Chunks are tasks.
    """
    n_classes, stride, form = weights.n_classes, weights.stride, weights.form
    size = block_rows(rows, weights, 1)
    z, pack, tile, proba_tile, narrow = scratch(rows, size, weights)
    no_losses = z[:0]
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, partial.size, rows.n_rows)
        gi = chunk * n_classes * (rows.n_features + 1)
        total = 0.0
        for start in range(low, high, size):
            n = min(size, high - start)
            block = block_of(rows, weights, start, n, pack)
            logits_of(block, weights, 0, n_classes, z, stride)
            add_offset(rows, start, n, n_classes, z, stride)
            total += cross_entropy_rows(
                z, 0, stride, n, n_classes, start, target, 1.0, no_losses, want_grad, z, 0, stride, tile, proba_tile
            )
            if want_grad:
                add_gradient(block, z, stride, 0, n_classes, form, fit_intercept, tile, narrow, gradient, gi)
        partial[chunk] = total
        chunk = take(todo)


@jit
def hess_vec(todo, n_chunks, rows, weights, v, curvature, fit_intercept, memory, kept, gradient):
    """Add the Hessian-vector product of each chunk of rows to `gradient`, (n_chunks, K, N + 1) flat.

    `memory` says whether probabilities are stored in `kept`, or taken from it: see `rows.curvature_rows`.
    """
    n_classes, stride, form = weights.n_classes, weights.stride, weights.form
    size = block_rows(rows, weights, 2)
    z, pack, tile, u_tile, narrow = scratch(rows, size, weights)
    u = aligned((size + MOST_ROWS) * stride, rows.x)
    n_kept = kept.size // (n_chunks * n_classes)  # rows of each chunk whose probabilities fit in `kept`
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, n_chunks, rows.n_rows)
        gi = chunk * n_classes * (rows.n_features + 1)
        for start in range(low, high, size):
            n = min(size, high - start)
            block = block_of(rows, weights, start, n, pack)
            # Every chunk keeps the same number of rows, so that all threads have equal work.
            mode = memory if start - low + n <= n_kept else FORGET
            if mode != KEPT:
                logits_of(block, weights, 0, n_classes, z, stride)
                add_offset(rows, start, n, n_classes, z, stride)
            logits_of(block, v, 0, n_classes, u, stride)
            at = (chunk * n_kept + start - low) * n_classes
            curvature_rows(z, u, stride, n, n_classes, start, curvature, mode, kept, at, tile, u_tile)
            add_gradient(block, u, stride, 0, n_classes, form, fit_intercept, tile, narrow, gradient, gi)
        chunk = take(todo)
