"""Steps of stochastic gradient descent: gather the samples of a batch, compute logits and gradient, update.

    w is one of the parameters (W, b), v its velocity, q its mean squared gradient, rate the learning rate:

    g = scale / B sum_{i in batch} dL_i/d(W, b) + share l2 (W, 0),    share = n / B of a batch of n <= B samples

    MOMENTUM, NESTEROV    v <- mu v + g,    w <- w - rate v    or    w <- w - rate (g + mu v)
    ADAM                  v <- mu v + (1 - mu) g,    q <- nu q + (1 - nu) g^2,
                          w <- w - rate v / (1 - mu^t) / (sqrt(q / (1 - nu^t)) + eps)

Sutskever et al., "On the importance of initialization and momentum in deep learning" (2013), in PyTorch's form; Kingma
and Ba, "Adam" (2015). A smaller last batch has less weight, so that the gradients of an epoch add up to that of the
objective. With the divisor n instead of B, a fit of 400 samples in batches of 32 ended 40 times further from the
minimum.

The parameters are float64; products are in the dtype of X, with a copy of the parameters in that dtype. `descend`
processes many small batches in one thread. For large batches, `batch_gradients` splits each into chunks for the
threads, and `update` adds the gradients of the chunks in order.
"""

from collections import namedtuple
from math import sqrt

import numpy as np

from nbsoftmax.kernels.lang.simd import element, lanes, load, load_part, prefetch, store, store_part
from nbsoftmax.kernels.lang.tiles import MOST_ROWS
from nbsoftmax.kernels.linear import (
    BLAS,
    Block,
    add_gradient,
    block_rows,
    cross_entropy_of,
    logits_of,
    pack_stride,
    place_of_class,
)
from nbsoftmax.kernels.row_tiles import aligned, new_tile
from nbsoftmax.kernels.rows import MOST_CLASSES_IN_TILE, PROBA, Target, chunk_bounds
from nbsoftmax.kernels.runtime.jit import inlined, jit, part
from nbsoftmax.kernels.runtime.threads import take

# State of a fit between steps: float64, flat (K * (N + 1),). `square` is empty except for ADAM, `mean` except when the
# iterates are averaged.
State = namedtuple("State", "params velocity square mean")
# The update rule: `kind` (one of the three below), mu, l2 of each feature (N,), and n_samples / (sum of weights), the
# scale of gradients.
Rule = namedtuple("Rule", "kind momentum l2 scale")
MOMENTUM, NESTEROV, ADAM = 0, 1, 2
SECOND_MOMENT, EPSILON = 0.999, 1e-8  # nu and eps, as in the paper

# The mean of the iterates gives more weight to later ones, in proportion to t^3. Shamir and Zhang, "Stochastic gradient
# descent for non-smooth optimization" (2013), section 4.
FORGETTING = 3
# Prefetch distance in samples. Their order is random, so the hardware cannot predict the addresses. 16 is the best of
# 4, 16 and 80, and 1.3 to 1.5 times as fast as no prefetching.
AHEAD = 16
# Cost of a parameter in a step of ADAM, in multiply-adds: a square root and a division.
ADAM_WORK = 8


@inlined
def gather_row(rows, i, pack, at, later):
    """Copy sample i to pack[at ...], and prefetch sample `later`."""
    x, start, width = rows.x, i * rows.row_stride, lanes(pack)
    if rows.column_stride == 1:
        ahead = later * rows.row_stride
        whole = rows.n_features // width * width
        for j in range(0, whole, width):
            prefetch(x, ahead + j)
            store(pack, at + j, load(x, start + j))
        if whole < rows.n_features:
            rest = rows.n_features - whole
            store_part(pack, at + whole, load_part(x, start + whole, rest, 0.0), rest)
    else:
        for j in range(rows.n_features):
            pack[at + j] = element(x, start + j * rows.column_stride)


@part
def gather_target(target, i, n_classes, picked, r):
    """Copy the target and the weight of sample i to place r of `picked`."""
    if target.kind == PROBA:
        for k in range(n_classes):
            picked.proba[r * n_classes + k] = target.proba[i * n_classes + k]
    else:
        picked.labels[r] = target.labels[i]
    if picked.weight.size > 0:
        picked.weight[r] = target.weight[i]


@part
def add_offsets(rows, order, start, n, n_classes, z, stride):
    """Add the offsets of the samples order[start:start + n] to their logits."""
    if rows.offset.size > 0:
        for r in range(n):
            for k in range(n_classes):
                z[r * stride + k] += rows.offset[order[start + r] * n_classes + k]


@part
def batch_gradient(rows, order, low, high, weights, target, scale, fit_intercept, memory, gradient, gi):
    """Add scale times the gradient of the samples order[low:high] to `gradient`, (K, N + 1) from gi on.

    Returns the sum of their losses.
    """
    total = 0.0
    z, pack, labels, proba, weight, tile, proba_tile, narrow = memory
    n_features, n_classes, stride = rows.n_features, weights.n_classes, weights.stride
    size, side = block_rows(rows, weights, 1), pack_stride(rows)
    picked = Target(labels, proba, target.gain, target.floor, weight, target.kind)
    for start in range(low, high, size):
        n = min(size, high - start)
        for r in range(n):
            i = order[start + r]
            gather_row(rows, i, pack, r * side, order[min(start + r + AHEAD, order.size - 1)])
            gather_target(target, i, n_classes, picked, r)
        block = Block(pack, 0, side, n, n_features, 0, pack, 0, side)
        logits_of(block, weights, 0, n_classes, z, stride)
        add_offsets(rows, order, start, n, n_classes, z, stride)
        total += cross_entropy_of(weights, z, n, 0, picked, scale, True, tile, proba_tile)
        add_gradient(block, weights, z, stride, 0, n_classes, fit_intercept, tile.numbers, narrow, gradient, gi)
    return total


@part
def scratch(rows, weights, target, most):
    """Allocate memory for the blocks of a batch of at most `most` samples."""
    size, n_classes = min(block_rows(rows, weights, 1), most), weights.n_classes
    z = aligned((size + MOST_ROWS) * weights.stride, rows.x)
    pack = aligned(size * pack_stride(rows), rows.x)
    labels = np.empty(size, np.int32)
    proba = aligned(size * n_classes if target.kind == PROBA else 0, rows.x)
    weight = np.empty(size if target.weight.size > 0 else 0, np.float64)
    tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    proba_tile = new_tile(min(n_classes, MOST_CLASSES_IN_TILE), rows.x)
    narrow = aligned(n_classes * rows.n_features if weights.form == BLAS and rows.x.itemsize == 4 else 1, rows.x)
    return z, pack, labels, proba, weight, tile, proba_tile, narrow


@part
def update_class(k, weights, gradient, n_chunks, state, rate, rule, share, step, fit_intercept):
    """Make step number `step` (counted from 1) for the parameters of class k; reset its gradient to 0."""
    params, velocity, square, mean = state
    mu, nu = rule.momentum, SECOND_MOMENT
    order = params.size // weights.n_classes
    low, high = k * order, (k + 1) * order
    for chunk in range(1, n_chunks):
        at = chunk * params.size
        for j in range(low, high):
            gradient[j] += gradient[at + j]
            gradient[at + j] = 0.0
    for j in range(low, high - 1):
        gradient[j] += share * rule.l2[j - low] * params[j]
    if rule.kind == MOMENTUM:
        for j in range(low, high):
            velocity[j] = mu * velocity[j] + gradient[j]
            params[j] -= rate * velocity[j]
    elif rule.kind == NESTEROV:
        for j in range(low, high):
            velocity[j] = mu * velocity[j] + gradient[j]
            params[j] -= rate * (gradient[j] + mu * velocity[j])
    else:
        length, spread = rate / (1 - mu**step), 1 / (1 - nu**step)
        for j in range(low, high):
            velocity[j] = mu * velocity[j] + (1 - mu) * gradient[j]
            square[j] = nu * square[j] + (1 - nu) * gradient[j] ** 2
            params[j] -= length * velocity[j] / (sqrt(square[j] * spread) + EPSILON)
    if mean.size > 0:
        newest = (FORGETTING + 1.0) / (FORGETTING + step)
        for j in range(low, high):
            mean[j] += newest * (params[j] - mean[j])
    for j in range(low, high):
        gradient[j] = 0.0
    # Update the copy in the dtype of X, in the layout of `weights.form`.
    w = weights.w
    at, distance, bias = place_of_class(weights, order - 1, k)
    for j in range(order - 1):
        w[at + j * distance] = params[low + j]
    w[bias] = params[high - 1] if fit_intercept else 0.0


@jit
def descend(
    todo, rows, order, batch_size, weights, target, state, rates, rule, n_before, fit_intercept, gradient, losses
):  # fmt: skip
    """Make steps with the given learning rates, one for each batch of the samples in `order`, in one task.

    `n_before` steps were made before. The sum of the losses of a batch, before its step, goes to `losses`,
    (rates.size,).
    """
    memory = scratch(rows, weights, target, batch_size)
    while take(todo) >= 0:
        for t in range(rates.size):
            low, high = t * batch_size, min((t + 1) * batch_size, order.size)
            scale, share = rule.scale / batch_size, (high - low) / batch_size
            losses[t] = batch_gradient(
                rows, order, low, high, weights, target, scale, fit_intercept, memory, gradient, 0
            )
            for k in range(weights.n_classes):
                update_class(k, weights, gradient, 1, state, rates[t], rule, share, n_before + t + 1, fit_intercept)


@jit
def batch_gradients(todo, rows, order, weights, target, scale, fit_intercept, gradient, partial):
    """Add the gradient of each chunk of one batch, `order`, to `gradient`, (n_chunks, K, N + 1) flat.

    The losses of the chunks go to `partial`, (n_chunks,). Chunks are tasks.
    """
    memory = scratch(rows, weights, target, order.size)
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, partial.size, order.size)
        gi = chunk * weights.n_classes * (rows.n_features + 1)
        partial[chunk] = batch_gradient(
            rows, order, low, high, weights, target, scale, fit_intercept, memory, gradient, gi
        )
        chunk = take(todo)


@jit
def update(todo, weights, gradient, n_chunks, state, rate, rule, share, step, fit_intercept):
    """Run `update_class` for all classes. Classes are tasks."""
    k = take(todo)
    while k >= 0:
        update_class(k, weights, gradient, n_chunks, state, rate, rule, share, step, fit_intercept)
        k = take(todo)
