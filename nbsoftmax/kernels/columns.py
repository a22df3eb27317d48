"""Softmax, log-softmax and log-sum-exp of columns: logits (n_outer, n_classes, n_inner) in C order, along the classes.

Columns are in lanes, so that each class of a block of columns is a whole number of vectors and nothing is transposed.
The sums c, s and r of `kernels.rows` are in temporary memory, one of each for a column. A block has as many columns
as keep its logits in the second-level cache, and at least a cache line of them.

The terms of `SEGMENT` classes are added in the dtype of the logits, and these sums with compensation (T. Dekker, "A
floating-point technique for extending the available precision", Numer. Math. 18 (1971)). For at most
`rows.MOST_CLASSES_TO_MEMORY` classes, the results have the bits of those of `kernels.rows`, which adds the terms of a
row in the same order.
"""

from math import inf

from nbsoftmax.kernels.lang.simd import filled, lanes, larger, load, load_part, store, store_part, where
from nbsoftmax.kernels.lang.vmath import exp_of_difference, log1p
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.rows import SEGMENT, below, without_largest
from nbsoftmax.kernels.runtime.jit import inlined, jit, part
from nbsoftmax.kernels.runtime.threads import take

# Bytes of the logits of a block, bytes of one of its classes at most, and at least: a cache line. Logits with fewer
# bytes of one class side by side are copied to rows instead.
BLOCK_BYTES, MOST_BYTES, LEAST_BYTES = 2**17, 2**11, 64


@part
def block_width(n_classes, z):
    """Number of columns of a block."""
    n_bytes = min(MOST_BYTES, max(LEAST_BYTES, BLOCK_BYTES // (n_classes * z.itemsize)))
    return n_bytes // LEAST_BYTES * LEAST_BYTES // z.itemsize


@part
def column_shift(z, i, stride, n, n_classes, c):
    """Write the largest logit of each of n columns to `c`; class k of column j is z[i + k * stride + j]."""
    width = lanes(z)
    for j in range(0, n, width):
        store(c, j, filled(z, -inf))
    for k in range(n_classes):
        at = i + k * stride
        for j in range(0, n, width):
            store(c, j, larger(load(c, j), load_part(z, at + j, n - j, -inf)))


@inlined
def clear(sums, start, n, width):
    """Set n sums from `start` on to 0."""
    for j in range(0, n, width):
        store(sums, start + j, filled(sums, 0))


@inlined
def clear_all(sums, size, n, width):
    """Set the sums of n columns, their totals and the errors to 0."""
    clear(sums, 0, n, width)
    clear(sums, size, n, width)
    clear(sums, 2 * size, n, width)


@inlined
def fold(sums, size, n, width):
    """Add the sums of n columns to the totals, sums[size:], and the errors of these additions to sums[2 * size:].

    The sums are then 0.
    """
    for j in range(0, n, width):
        s, total = load(sums, j), load(sums, size + j)
        new = total + s
        store(sums, size + j, new)
        store(sums, 2 * size + j, load(sums, 2 * size + j) + (s - (new - total)))
    clear(sums, 0, n, width)


@inlined
def folded(sums, size, j):
    """A vector of the totals."""
    return load(sums, size + j) + load(sums, 2 * size + j)


@inlined
def column_exp(z, i, stride, n, n_classes, c, s, t, keep, out):
    """Sums of exp(z - c) of n columns to `s`, and without the terms of the maximum to `t` (see `fold`).

    If `keep`, the terms go to `out`, and `t` is not used.
    """
    width, size = lanes(z), c.size
    clear_all(s, size, n, width)
    if not keep:
        clear_all(t, size, n, width)
    for start in range(0, n_classes, SEGMENT):
        for k in range(start, min(n_classes, start + SEGMENT)):
            at = i + k * stride
            for j in range(0, n, width):
                x, largest = load_part(z, at + j, n - j, 0.0), load(c, j)
                e = exp_of_difference(x, largest)
                store(s, j, load(s, j) + e)
                if keep:
                    store_part(out, at + j, e, n - j)
                else:
                    store(t, j, where(x < largest, load(t, j) + e, load(t, j)))
        fold(s, size, n, width)
        if not keep:
            fold(t, size, n, width)


@inlined
def log_of_sum(s, t, size, j):
    """Return log s = log1p(r) of a vector of columns."""
    return log1p(without_largest(folded(s, size, j), folded(t, size, j)))


@part
def softmax_columns(z, i, stride, n, n_classes, out, c, s):
    """Softmax of n columns; `out` may be `z`, and has its strides."""
    width = lanes(z)
    column_shift(z, i, stride, n, n_classes, c)
    column_exp(z, i, stride, n, n_classes, c, s, s, True, out)
    for j in range(0, n, width):
        store(c, j, 1.0 / folded(s, c.size, j))
    for k in range(n_classes):
        at = i + k * stride
        for j in range(0, n, width):
            store_part(out, at + j, load_part(out, at + j, n - j, 0.0) * load(c, j), n - j)


@part
def log_softmax_columns(z, i, stride, n, n_classes, out, c, s, t):
    """Log-softmax of n columns; `out` may be `z`, and has its strides."""
    width = lanes(z)
    column_shift(z, i, stride, n, n_classes, c)
    column_exp(z, i, stride, n, n_classes, c, s, t, False, out)
    for j in range(0, n, width):
        store(s, j, log_of_sum(s, t, c.size, j))
    for k in range(n_classes):
        at = i + k * stride
        for j in range(0, n, width):
            d = below(load_part(z, at + j, n - j, 0.0), load(c, j))
            store_part(out, at + j, d - load(s, j), n - j)


@part
def logsumexp_columns(z, i, stride, n, n_classes, out, o, c, s, t):
    """Write the log-sum-exp of n columns to out[o ...]."""
    column_shift(z, i, stride, n, n_classes, c)
    column_exp(z, i, stride, n, n_classes, c, s, t, False, out)
    for j in range(0, n, lanes(z)):
        store_part(out, o + j, load(c, j) + log_of_sum(s, t, c.size, j), n - j)


@part
def blocks(z, n_classes, n_inner):
    """Columns of a block, blocks of each outer index, and blocks in all."""
    width = block_width(n_classes, z)
    per_outer = (n_inner + width - 1) // width
    return width, per_outer, z.size // (n_classes * n_inner) * per_outer


@jit
def softmax(todo, z, out, n_classes, n_inner, n_chunks):
    """Write the softmax of the columns of `z` to `out`, both flat; `out` may be `z`. Chunks of blocks are tasks."""
    width, per_outer, n_blocks = blocks(z, n_classes, n_inner)
    c, s = aligned(width, z), aligned(3 * width, z)
    chunk = take(todo)
    while chunk >= 0:
        for b in range(chunk * n_blocks // n_chunks, (chunk + 1) * n_blocks // n_chunks):
            a, j = b // per_outer, b % per_outer * width
            i = a * n_classes * n_inner + j
            softmax_columns(z, i, n_inner, min(width, n_inner - j), n_classes, out, c, s)
        chunk = take(todo)


@jit
def log_softmax(todo, z, out, n_classes, n_inner, n_chunks):
    """Write the log-softmax of the columns of `z` to `out`, both flat; `out` may be `z`. Chunks of blocks are tasks."""
    width, per_outer, n_blocks = blocks(z, n_classes, n_inner)
    c, s, t = aligned(width, z), aligned(3 * width, z), aligned(3 * width, z)
    chunk = take(todo)
    while chunk >= 0:
        for b in range(chunk * n_blocks // n_chunks, (chunk + 1) * n_blocks // n_chunks):
            a, j = b // per_outer, b % per_outer * width
            i = a * n_classes * n_inner + j
            log_softmax_columns(z, i, n_inner, min(width, n_inner - j), n_classes, out, c, s, t)
        chunk = take(todo)


@jit
def logsumexp(todo, z, out, n_classes, n_inner, n_chunks):
    """Write the log-sum-exp of the columns of `z`, flat, to `out` (n_outer * n_inner,). Chunks of blocks are tasks."""
    width, per_outer, n_blocks = blocks(z, n_classes, n_inner)
    c, s, t = aligned(width, z), aligned(3 * width, z), aligned(3 * width, z)
    chunk = take(todo)
    while chunk >= 0:
        for b in range(chunk * n_blocks // n_chunks, (chunk + 1) * n_blocks // n_chunks):
            a, j = b // per_outer, b % per_outer * width
            i = a * n_classes * n_inner + j
            logsumexp_columns(z, i, n_inner, min(width, n_inner - j), n_classes, out, a * n_inner + j, c, s, t)
        chunk = take(todo)
