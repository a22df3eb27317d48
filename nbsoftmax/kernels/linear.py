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

from nbsoftmax.kernels.jit import jit
from nbsoftmax.kernels.rows import (
    MOST_CLASSES_IN_TILE,
    aligned,
    chunk_bounds,
    cross_entropy_rows,
    curvature_rows,
    filled,
    new_tile,
)
from nbsoftmax.kernels.simd import element, lanes, load, store
from nbsoftmax.kernels.tiles import MOST_ROWS, backward, forward

# The samples: x flat from the first element on, strides counted in elements; `offset` (m * K,) is added to the logits,
# or empty.
Rows = namedtuple("Rows", "x row_stride column_stride n_rows n_features offset")

# Bytes of X in a block: half of the smallest second-level cache in use, which leaves room for logits and weights.
BLOCK_BYTES = 1 << 17
# How far ahead of the arithmetic memory is asked for: a few hundred nanoseconds' worth.
PREFETCH_BYTES = 1 << 14


@jit
def block_rows(n_features, w_stride, itemsize):
    """Rows of a block: a multiple of 16, so that tiles are full."""
    return min(256, max(16, BLOCK_BYTES // ((n_features + w_stride) * itemsize) // 16 * 16))


@jit
def prefetch_distance(n_features, stride, itemsize):
    """PREFETCH_BYTES in elements of x, rounded up to whole tiles of rows."""
    return (PREFETCH_BYTES // (n_features * itemsize * MOST_ROWS) + 1) * MOST_ROWS * stride


@jit
def packed(rows, start, n, pack):
    """Copy n rows whose features are not side by side to `pack`, row by row."""
    for j in range(rows.n_features):
        for r in range(n):
            pack[r * rows.n_features + j] = element(rows.x, (start + r) * rows.row_stride + j * rows.column_stride)


@jit
def logits_of(rows, start, n, w, w_stride, pack, z):
    """Logits of the rows from `start` on, to z (n, w_stride); returns their array, offset and stride."""
    block, at, stride, ahead = rows.x, start * rows.row_stride, rows.row_stride, 0
    if rows.column_stride == 1:
        ahead = prefetch_distance(rows.n_features, stride, block.itemsize)
    else:
        packed(rows, start, n, pack)
        block, at, stride = pack, 0, rows.n_features
    forward(block, at, stride, n, rows.n_features, w, w_stride, z, w_stride, ahead)
    if rows.offset.size > 0:
        n_classes = rows.offset.size // rows.n_rows
        for r in range(n):
            for k in range(n_classes):
                z[r * w_stride + k] += rows.offset[(start + r) * n_classes + k]
    return block, at, stride


@jit
def add_columns(d, d_stride, n_rows, n_classes, buffer, g, gi, g_stride):
    """g[k] += sum over the block's rows of d[r, k]: the gradient by the intercepts."""
    for k in range(0, n_classes, lanes(d)):
        total = filled(d, 0)
        for r in range(n_rows):
            total += load(d, r * d_stride + k)
        store(buffer, 0, total)
        for lane in range(min(lanes(d), n_classes - k)):
            g[gi + (k + lane) * g_stride] += buffer[lane]


@jit
def loss_and_grad_chunk(chunk, rows, w, w_stride, n_classes, target, fit_intercept, want_grad, partial, gradient):
    """Loss of one chunk of rows to partial[chunk], gradient to the chunk's (K, N + 1) slice of `gradient`."""
    low, high = chunk_bounds(chunk, partial.size, rows.n_rows)
    n_features = rows.n_features
    size = block_rows(n_features, w_stride, rows.x.itemsize)
    z = aligned((size + MOST_ROWS) * w_stride, rows.x)
    pack = aligned(size * n_features if rows.column_stride != 1 else 1, rows.x)
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    proba_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    no_losses = z[:0]
    g_stride = n_features + 1
    gi = chunk * n_classes * g_stride
    total = 0.0
    for start in range(low, high, size):
        n = min(size, high - start)
        block, at, stride = logits_of(rows, start, n, w, w_stride, pack, z)
        total += cross_entropy_rows(
            z, 0, w_stride, n, n_classes, start, target, 1.0, no_losses, want_grad, z, 0, w_stride, tile, proba_tile
        )
        if want_grad:
            backward(block, at, stride, n, n_features, z, w_stride, n_classes, gradient, gi, g_stride)
            if fit_intercept:
                add_columns(z, w_stride, n, n_classes, tile, gradient, gi + n_features, g_stride)
    partial[chunk] = total


@jit
def hess_vec_chunk(chunk, n_chunks, rows, w, v, w_stride, n_classes, curvature, fit_intercept, gradient):
    """Hessian-vector product of one chunk of rows to the chunk's (K, N + 1) slice of `gradient`."""
    low, high = chunk_bounds(chunk, n_chunks, rows.n_rows)
    n_features = rows.n_features
    size = block_rows(n_features, 2 * w_stride, rows.x.itemsize)
    z = aligned((size + MOST_ROWS) * w_stride, rows.x)
    u = aligned((size + MOST_ROWS) * w_stride, rows.x)
    pack = aligned(size * n_features if rows.column_stride != 1 else 1, rows.x)
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    u_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    g_stride = n_features + 1
    gi = chunk * n_classes * g_stride
    for start in range(low, high, size):
        n = min(size, high - start)
        block, at, stride = logits_of(rows, start, n, w, w_stride, pack, z)
        forward(block, at, stride, n, n_features, v, w_stride, u, w_stride, 0)
        curvature_rows(z, u, w_stride, n, n_classes, start, curvature, tile, u_tile)
        backward(block, at, stride, n, n_features, z, w_stride, n_classes, gradient, gi, g_stride)
        if fit_intercept:
            add_columns(z, w_stride, n, n_classes, tile, gradient, gi + n_features, g_stride)


@jit
def add_chunks(k, n_chunks, size, gradient):
    """Add the k-th piece of `size` numbers of every chunk to that of the first, in order."""
    pieces = gradient.size // (n_chunks * size)
    total = gradient[k * size : (k + 1) * size]
    for chunk in range(1, n_chunks):
        at = (chunk * pieces + k) * size
        for j in range(size):
            total[j] += gradient[at + j]


# --- kernels: a stage over chunks of rows, in the calling thread or in parallel -------------------------


@jit
def loss_and_grad_serial(rows, w, w_stride, n_classes, target, fit_intercept, want_grad, partial, gradient):
    for chunk in range(partial.size):
        loss_and_grad_chunk(chunk, rows, w, w_stride, n_classes, target, fit_intercept, want_grad, partial, gradient)
    if want_grad:
        add_chunks(0, partial.size, n_classes * (rows.n_features + 1), gradient)


@jit(parallel=True)
def loss_and_grad_parallel(rows, w, w_stride, n_classes, target, fit_intercept, want_grad, partial, gradient):
    for chunk in prange(partial.size):
        loss_and_grad_chunk(
            np.int64(chunk), rows, w, w_stride, n_classes, target, fit_intercept, want_grad, partial, gradient
        )
    if want_grad:
        for k in prange(n_classes):
            add_chunks(np.int64(k), partial.size, rows.n_features + 1, gradient)


@jit
def hess_vec_serial(n_chunks, rows, w, v, w_stride, n_classes, curvature, fit_intercept, gradient):
    for chunk in range(n_chunks):
        hess_vec_chunk(chunk, n_chunks, rows, w, v, w_stride, n_classes, curvature, fit_intercept, gradient)
    add_chunks(0, n_chunks, n_classes * (rows.n_features + 1), gradient)


@jit(parallel=True)
def hess_vec_parallel(n_chunks, rows, w, v, w_stride, n_classes, curvature, fit_intercept, gradient):
    for chunk in prange(n_chunks):
        hess_vec_chunk(np.int64(chunk), n_chunks, rows, w, v, w_stride, n_classes, curvature, fit_intercept, gradient)
    for k in prange(n_classes):
        add_chunks(np.int64(k), n_chunks, rows.n_features + 1, gradient)
