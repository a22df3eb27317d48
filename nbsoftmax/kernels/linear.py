"""Fused kernels of a linear model: loss, gradient and Hessian-vector product, summed over the rows of X.

    Z = X W^T + b,    L = sum_i L_i(z_i),    dL/dW = D^T X,    D = dL/dZ
    Hessian . V = E^T X,    E_i = h_i a_i * (u_i - a_i . u_i),    U = X V^T + v_b

Each chunk walks its rows in blocks small enough to stay in cache between the two products: X is read from memory
once, and no more than a block of logits exists. Within a block products are in the dtype of X; every block adds to
its chunk's gradient in float64, and chunks are added in order, so the result does not depend on the threads.
"""

from collections import namedtuple

import numpy as np
from numba import prange

from nbsoftmax.kernels.blas import add_product
from nbsoftmax.kernels.jit import jit, kernel
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
from nbsoftmax.kernels.simd import element, lanes, load, store
from nbsoftmax.kernels.tiles import MOST_ROWS, backward, dots, forward

# The samples: x flat from the first element on, strides counted in elements; `offset` (m * K,) is added to the logits,
# or empty.
Rows = namedtuple("Rows", "x row_stride column_stride n_rows n_features offset")
# The parameters, in the dtype of X and laid out as `form` wants them; rows of logits are `stride` numbers apart.
Weights = namedtuple("Weights", "w stride n_classes form")
# Some samples with features side by side: row r from x[at + r * stride] on.
Block = namedtuple("Block", "x at stride n_rows n_features")

# How a block is multiplied: register tiles with classes in lanes, with features in lanes, or BLAS. Of `w`:
# TILES and BLAS (n_features + 1, stride), the bias last; DOTS as in `tiles.dots`.
TILES, DOTS, BLAS = 0, 1, 2

# Bytes of X in a block, half of the smallest second-level cache in use: larger ones read and write the weights and the
# gradient less often. Measured flat from here to 1 MB; 8% slower at a quarter of it for 512 features and 100 classes.
BLOCK_BYTES = 1 << 18
# Bytes of logits in a block of products by BLAS, which wants more rows at a time.
BLAS_BLOCK_BYTES = 1 << 21
# Where the classes are split over threads: classes of a task in steps of this many, whole vectors of every dtype.
TASK_STEP, MOST_TASKS = 128, 64
# How far ahead of the logits memory is asked for: a few hundred nanoseconds' worth. The gradient asks for the block
# after its own, so that memory does not idle meanwhile: 25% faster for 54 features and 7 classes.
PREFETCH_BYTES = 1 << 14


@jit
def block_rows(rows, weights, n_logits):
    """Rows of a block with `n_logits` numbers for each class: a multiple of 16, so that tiles are full."""
    size, itemsize = n_logits * weights.stride, rows.x.itemsize
    if weights.form == BLAS:
        return min(512, max(64, BLAS_BLOCK_BYTES // (size * itemsize) // 16 * 16))
    return min(256, max(16, BLOCK_BYTES // ((rows.n_features + size) * itemsize) // 16 * 16))


@jit
def prefetch_distance(rows, weights):
    """PREFETCH_BYTES in elements of x, rounded up to whole tiles of rows; 0 where blocks are copied."""
    if not side_by_side(rows, weights):
        return 0
    return (PREFETCH_BYTES // (rows.n_features * rows.x.itemsize * MOST_ROWS) + 1) * MOST_ROWS * rows.row_stride


@jit
def classes_of_task(n_classes):
    """Classes of one task: at most MOST_TASKS tasks, since small products waste BLAS's packing."""
    return (n_classes + TASK_STEP * MOST_TASKS - 1) // (TASK_STEP * MOST_TASKS) * TASK_STEP


@jit
def tasks_of(n_classes):
    """How many tasks the classes are split in."""
    per_task = classes_of_task(n_classes)
    return (n_classes + per_task - 1) // per_task


@jit
def shared_scratch(rows, size, weights):
    """Memory for the logits and the packed samples of a block."""
    z = aligned((size + MOST_ROWS) * weights.stride, rows.x)
    return z, aligned(1 if side_by_side(rows, weights) else size * rows.n_features, rows.x)


@jit
def scratch(rows, size, weights):
    """Memory for one block of a chunk: logits, packed samples, two tiles, and products in the dtype of float32 X."""
    n_classes = weights.n_classes
    z, pack = shared_scratch(rows, size, weights)
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    other = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    narrow = aligned(n_classes * rows.n_features if weights.form == BLAS and rows.x.itemsize == 4 else 1, rows.x)
    return z, pack, tile, other, narrow


@jit
def side_by_side(rows, weights):
    """Whether blocks of X can be used where they are; BLAS also refuses rows that overlap or run backwards."""
    return rows.column_stride == 1 and (weights.form != BLAS or rows.row_stride >= rows.n_features)


@jit
def block_of(rows, weights, start, n, pack):
    """The n samples from `start` on: where they are, or copied to `pack`."""
    if side_by_side(rows, weights):
        return Block(rows.x, start * rows.row_stride, rows.row_stride, n, rows.n_features)
    for j in range(rows.n_features):
        for r in range(n):
            pack[r * rows.n_features + j] = element(rows.x, (start + r) * rows.row_stride + j * rows.column_stride)
    return Block(pack, 0, rows.n_features, n, rows.n_features)


@jit
def logits_of(block, weights, first, last, z, z_stride, ahead):
    """Logits of a block, without offset, for the classes first..last (all, unless BLAS); class `first` at z[0]."""
    x, at, stride, n, n_features = block
    w, w_stride = weights.w, weights.stride
    if weights.form == TILES:
        forward(x, at, stride, n, n_features, w, w_stride, z, z_stride, ahead)
    elif weights.form == DOTS:
        dots(x, at, stride, n, n_features, w, weights.n_classes, z, z_stride, ahead)
    else:
        bias = n_features * w_stride
        for r in range(n):
            z[r * z_stride : r * z_stride + last - first] = w[bias + first : bias + last]
        add_product(False, False, last - first, n, n_features, w, first, w_stride, x, at, stride, z, 0, z_stride)


@jit
def add_offset(rows, start, n, n_classes, z, z_stride):
    """Add the fixed part of the logits to a block."""
    if rows.offset.size > 0:
        for r in range(n):
            for k in range(n_classes):
                z[r * z_stride + k] += rows.offset[(start + r) * n_classes + k]


@jit
def add_gradient(block, d, d_stride, first, last, form, fit_intercept, buffer, narrow, g, gi, ahead):
    """g[k, :] += sum_r d[r, k] (x[r, :], 1) over a block, for the classes first..last; g (K, N + 1) begins at gi."""
    x, at, stride, n, n_features = block
    g_stride = n_features + 1
    to = gi + first * g_stride
    if form != BLAS:
        backward(x, at, stride, n, n_features, d, d_stride, last, g, gi, g_stride, ahead, False)
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
def loss_and_grad_chunk(chunk, rows, weights, target, fit_intercept, want_grad, partial, gradient):
    """Loss of one chunk of rows to partial[chunk], gradient to the chunk's (K, N + 1) slice of `gradient`."""
    low, high = chunk_bounds(chunk, partial.size, rows.n_rows)
    n_classes, stride, form = weights.n_classes, weights.stride, weights.form
    size = block_rows(rows, weights, 1)
    z, pack, tile, proba_tile, narrow = scratch(rows, size, weights)
    ahead = prefetch_distance(rows, weights)
    no_losses = z[:0]
    gi = chunk * n_classes * (rows.n_features + 1)
    total = 0.0
    for start in range(low, high, size):
        n = min(size, high - start)
        block = block_of(rows, weights, start, n, pack)
        logits_of(block, weights, 0, n_classes, z, stride, ahead)
        add_offset(rows, start, n, n_classes, z, stride)
        total += cross_entropy_rows(
            z, 0, stride, n, n_classes, start, target, 1.0, no_losses, want_grad, z, 0, stride, tile, proba_tile
        )
        if want_grad:
            near = n * block.stride if ahead > 0 else 0
            add_gradient(block, z, stride, 0, n_classes, form, fit_intercept, tile, narrow, gradient, gi, near)
    partial[chunk] = total


@jit
def hess_vec_chunk(chunk, n_chunks, rows, weights, v, curvature, fit_intercept, memory, kept, gradient):
    """Hessian-vector product of one chunk of rows to the chunk's (K, N + 1) slice of `gradient`."""
    low, high = chunk_bounds(chunk, n_chunks, rows.n_rows)
    n_classes, stride, form = weights.n_classes, weights.stride, weights.form
    size = block_rows(rows, weights, 2)
    z, pack, tile, u_tile, narrow = scratch(rows, size, weights)
    u = aligned((size + MOST_ROWS) * stride, rows.x)
    ahead = prefetch_distance(rows, weights)
    gi = chunk * n_classes * (rows.n_features + 1)
    n_kept = kept.size // (n_chunks * n_classes)  # rows of each chunk
    for start in range(low, high, size):
        n = min(size, high - start)
        block = block_of(rows, weights, start, n, pack)
        # What does not fit is not kept: of every chunk the same share, so that threads stay equally busy.
        mode = memory if start - low + n <= n_kept else FORGET
        if mode != KEPT:
            logits_of(block, weights, 0, n_classes, z, stride, ahead)
            add_offset(rows, start, n, n_classes, z, stride)
        logits_of(block, v, 0, n_classes, u, stride, ahead)
        at = (chunk * n_kept + start - low) * n_classes
        curvature_rows(z, u, stride, n, n_classes, start, curvature, mode, kept, at, tile, u_tile)
        near = n * block.stride if ahead > 0 else 0
        add_gradient(block, u, stride, 0, n_classes, form, fit_intercept, tile, narrow, gradient, gi, near)


@jit
def logits_of_task(t, x, at, row_stride, n, n_features, weights, z):
    """Logits of a block for the classes of one task."""
    block = Block(x, at, row_stride, n, n_features)  # made here: threads cannot be handed a tuple with names
    per_task = classes_of_task(weights.n_classes)
    first = t * per_task
    logits_of(block, weights, first, min(weights.n_classes, first + per_task), z[first:], weights.stride, 0)


@jit
def add_gradient_of_task(t, x, at, row_stride, n, n_features, n_classes, d, d_stride, fit_intercept, gradient):
    """Add what a block gives to the gradient of the classes of one task."""
    block = Block(x, at, row_stride, n, n_features)
    per_task = classes_of_task(n_classes)
    first = t * per_task
    last = min(n_classes, first + per_task)
    buffer = aligned(lanes(d), d)
    narrow = aligned((last - first) * n_features if d.itemsize == 4 else 1, d)
    add_gradient(block, d, d_stride, first, last, BLAS, fit_intercept, buffer, narrow, gradient, 0, 0)


@jit
def add_chunks(k, n_chunks, size, gradient):
    """Add the k-th piece of `size` numbers of every chunk to that of the first, in order."""
    pieces = gradient.size // (n_chunks * size)
    total = gradient[k * size : (k + 1) * size]
    for chunk in range(1, n_chunks):
        at = (chunk * pieces + k) * size
        for j in range(size):
            total[j] += gradient[at + j]


# --- kernels ----------------------------------------------------------------------------------------


@kernel
def loss_and_grad(rows, weights, target, fit_intercept, want_grad, partial, gradient):
    """Losses of chunks of rows to `partial`; the whole gradient to the first (K, N + 1) of `gradient`."""
    for chunk in prange(partial.size):
        loss_and_grad_chunk(np.int64(chunk), rows, weights, target, fit_intercept, want_grad, partial, gradient)
    if want_grad:
        for k in prange(weights.n_classes):
            add_chunks(np.int64(k), partial.size, rows.n_features + 1, gradient)


@kernel
def hess_vec(n_chunks, rows, weights, v, curvature, fit_intercept, memory, kept, gradient):
    """The Hessian times v to the first (K, N + 1) of `gradient`."""
    for chunk in prange(n_chunks):
        hess_vec_chunk(
            np.int64(chunk), n_chunks, rows, weights, v, curvature, fit_intercept, memory, kept, gradient
        )  # fmt: skip
    for k in prange(weights.n_classes):
        add_chunks(np.int64(k), n_chunks, rows.n_features + 1, gradient)


@kernel
def loss_and_grad_split(rows, weights, target, fit_intercept, want_grad, size, partial, gradient):
    """`loss_and_grad` for many parameters: the classes are split over threads, not the rows.

    A gradient of its own for each chunk would not fit, so all threads work on the same `size` rows: first each on some
    classes of their logits, then each on some rows of them, then each on some classes of the gradient. Losses of blocks
    go to `partial`.
    """
    n_features, n_classes, stride = rows.n_features, weights.n_classes, weights.stride
    n_tasks = tasks_of(n_classes)
    z, pack = shared_scratch(rows, size, weights)
    no_losses = z[:0]
    of_rows = np.zeros(size // 16)
    for b in range(partial.size):
        start = b * size
        n = min(size, rows.n_rows - start)
        x, at, row_stride, _, _ = block_of(rows, weights, start, n, pack)
        for t in prange(n_tasks):
            logits_of_task(np.int64(t), x, at, row_stride, n, n_features, weights, z)
        of_rows[:] = 0.0
        for group in prange((n + 15) // 16):
            r = np.int64(group) * 16
            few = min(16, n - r)
            tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
            proba_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
            part = z[r * stride : (r + few) * stride]
            add_offset(rows, start + r, few, n_classes, part, stride)
            of_rows[group] = cross_entropy_rows(
                part, 0, stride, few, n_classes, start + r, target, 1.0, no_losses, want_grad, part, 0, stride, tile,
                proba_tile,
            )  # fmt: skip
        partial[b] = of_rows.sum()
        if want_grad:
            for t in prange(n_tasks):
                add_gradient_of_task(
                    np.int64(t), x, at, row_stride, n, n_features, n_classes, z, stride, fit_intercept, gradient
                )


@kernel
def hess_vec_split(rows, weights, v, curvature, fit_intercept, size, n_blocks, gradient):
    """`hess_vec` for many parameters, split as in `loss_and_grad_split`."""
    n_features, n_classes, stride = rows.n_features, weights.n_classes, weights.stride
    n_tasks = tasks_of(n_classes)
    z, pack = shared_scratch(rows, size, weights)
    u = aligned((size + MOST_ROWS) * stride, z)
    nothing = z[:0]
    for b in range(n_blocks):
        start = b * size
        n = min(size, rows.n_rows - start)
        x, at, row_stride, _, _ = block_of(rows, weights, start, n, pack)
        for t in prange(n_tasks):
            logits_of_task(np.int64(t), x, at, row_stride, n, n_features, weights, z)
            logits_of_task(np.int64(t), x, at, row_stride, n, n_features, v, u)
        for group in prange((n + 15) // 16):
            r = np.int64(group) * 16
            few = min(16, n - r)
            tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
            u_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), z)
            logits, change = z[r * stride : (r + few) * stride], u[r * stride : (r + few) * stride]
            add_offset(rows, start + r, few, n_classes, logits, stride)
            curvature_rows(
                logits, change, stride, few, n_classes, start + r, curvature, FORGET, nothing, 0, tile, u_tile
            )
        for t in prange(n_tasks):
            add_gradient_of_task(
                np.int64(t), x, at, row_stride, n, n_features, n_classes, u, stride, fit_intercept, gradient
            )
