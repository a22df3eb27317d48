"""Sigmoid, log-sigmoid and binary cross-entropy, element by element: one logit z for each sample.

    e = exp(-|z|)                                    (never overflows)
    sigmoid(z) = 1 / (1 + e) for z >= 0, else e / (1 + e)
    log sigmoid(z) = min(z, 0) - log1p(e)
    L = -t1 log sigmoid(z) - t0 log sigmoid(-z),     dL/dz = t0 sigmoid(z) - t1 sigmoid(-z)

with the weighted targets t1 = w1 p ((1 - s) y + s/2) and t0 = w0 ((1 - s) (1 - y) + s/2), the class weights w0 and w1,
the weights p of class 1, which are repeated along the elements, and the label smoothing s. The gradient uses both
sigmoids because sigmoid(z) - 1 would lose digits by cancellation.
"""

from nbsoftmax.kernels.lang.simd import filled, head, lanes, larger, load_part, store_part, sum_of, to_doubles, where
from nbsoftmax.kernels.lang.vmath import exp_of_difference, log1p_of_fraction
from nbsoftmax.kernels.rows import chunk_bounds
from nbsoftmax.kernels.runtime.jit import inlined, jit, part
from nbsoftmax.kernels.runtime.threads import take

SIGMOID, LOG_SIGMOID = 0, 1
AHEAD = 64  # bytes of the largest vector


@inlined
def exp_below_0(z):
    """exp(-|z|), which never overflows."""
    return exp_of_difference(-larger(z, -z), 0.0)


@inlined
def both_sigmoids(z, e):
    """sigmoid(z) and sigmoid(-z), both to full precision, from e = exp(-|z|)."""
    near = 1.0 / (e + 1.0)
    far = e * near
    return where(z >= 0.0, near, far), where(z >= 0.0, far, near)


@inlined
def sigmoid_of(x, kind):
    """sigmoid(x), or its logarithm."""
    if kind == SIGMOID:
        return both_sigmoids(x, exp_below_0(x))[0]
    return where(x > 0.0, 0.0, x) - log1p_of_fraction(exp_below_0(x))


@part
def sigmoid_range(z, out, low, high, kind):
    """Write the sigmoid of z[low:high], or its logarithm, to `out`, which may be `z`."""
    for i in range(low, high, lanes(z)):
        n = min(lanes(z), high - i)
        store_part(out, i, sigmoid_of(load_part(z, i, n, 0.0), kind), n)


@jit
def sigmoid(todo, z, out, n_chunks, kind):
    """Write the sigmoid of `z`, or its logarithm, to `out`, which may be `z`. Chunks are tasks."""
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, n_chunks, z.size)
        sigmoid_range(z, out, low, high, kind)
        chunk = take(todo)


@part
def binary_cross_entropy_range(z, y, weight, weights, positive, smoothing, scale, losses, want_grad, out, low, high):
    """Sum of the weighted losses of z[low:high]; y < 0 marks an ignored element. See `rows.cross_entropy_rows`."""
    total = to_doubles(filled(z, 0))
    keep, half = 1.0 - smoothing, smoothing / 2
    for i in range(low, high, lanes(z)):
        n = min(lanes(z), high - i)
        x, target = load_part(z, i, n, 0.0), load_part(y, i, n, -1.0)
        w = load_part(weight, i, n, 0.0) if weight.size > 0 else filled(z, 1)
        alive = where(target >= 0.0, w, 0.0) > 0.0
        t1 = (target * keep + half) * weights[1]
        if positive.size > 0:
            t1 *= load_part(positive, i % (positive.size - AHEAD // z.itemsize), n, 0.0)
        t0 = ((1.0 - target) * keep + half) * weights[0]
        e = exp_below_0(x)
        common = log1p_of_fraction(e)
        # A product of 0 and inf counts as 0.
        loss = where(t1 > 0.0, (common + where(x < 0.0, -x, 0.0)) * t1, 0.0) + where(
            t0 > 0.0, (common + where(x > 0.0, x, 0.0)) * t0, 0.0
        )
        loss = where(alive, loss * w, 0.0)
        total += to_doubles(head(loss, n))
        if losses.size > 0:
            store_part(losses, i, loss, n)
        if want_grad:
            up, down = both_sigmoids(x, e)
            slope = where(t0 > 0.0, t0 * up, 0.0) - where(t1 > 0.0, t1 * down, 0.0)
            store_part(out, i, where(alive, slope * (w * scale), 0.0), n)
    return sum_of(total)


@jit
def binary_cross_entropy(todo, z, y, weight, weights, positive, smoothing, scale, losses, want_grad, out, partial):
    """Write the sum of the losses of each chunk to `partial`, and the gradient to `out`. Chunks are tasks.

    `positive` holds p, and after the last number the first ones again, AHEAD bytes. It is empty if all p are 1.
    """
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk_bounds(chunk, partial.size, z.size)
        partial[chunk] = binary_cross_entropy_range(
            z, y, weight, weights, positive, smoothing, scale, losses, want_grad, out, low, high
        )
        chunk = take(todo)
