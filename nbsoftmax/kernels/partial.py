"""Row kernels for partial labels: of each sample, only the set S of the classes that are possible is known.

    L = -log sum_{k in S} a_k = log(1 + x),    x = sum_{k not in S} exp(z_k) / sum_{k in S} exp(z_k)
    dL/dz_k = a_k                          for k not in S
    dL/dz_k = a_k - q_k = -q_k (1 - P)     for k in S: q is the softmax over S, and P = 1 / (1 + x) its probability

Each side is summed relative to its own maximum, c_in and c_out, so that nothing cancels and nothing overflows: with
d = c_out - c_in and the sums s_in and s_out, x = exp(d) s_out / s_in. The derivative by the logits of either side is
the softmax over that side times 1 - P, with the sign of the side.

The stages exist in the two forms of `rows`.
"""

from collections import namedtuple
from math import exp as exp_of_number
from math import inf
from math import log1p as log1p_of_number

from nbsoftmax.kernels.lang.simd import (
    any_of,
    filled,
    lanes,
    larger,
    load,
    load_part,
    max_of,
    store,
    store_part,
    sum_of,
    to_doubles,
    where,
)
from nbsoftmax.kernels.lang.vmath import exp_of_difference, log1p
from nbsoftmax.kernels.row_tiles import empty_tile, fill_tile
from nbsoftmax.kernels.rows import weight_of, weights_in_lanes
from nbsoftmax.kernels.runtime.jit import inlined, part

# Which classes of which samples are possible, uint8 (m * K,), and the weights of the samples (m,), empty if all are 1.
PartialTarget = namedtuple("PartialTarget", "possible weight")

INSIDE, OUTSIDE, NOWHERE = 1.0, 0.0, -1.0  # where a class is, in a vector of classes; NOWHERE: beyond the last class


@inlined
def fill_sides(possible, i, n_rows, n_classes, sides):
    """Transpose the possible classes of n_rows rows, as numbers, to the tile `sides`."""
    width, numbers = lanes(sides), sides.numbers
    for r in range(n_rows):
        at = (i + r) * n_classes
        for k in range(n_classes):
            numbers[k * width + r] = possible[at + k]


@part
def partial_tiles(z, stride, n_rows, n_classes, first, target, scale, want_grad, tile, sides):
    """Sum of the losses of some rows, with rows in lanes; if `want_grad`, z becomes scale times their derivatives."""
    width = lanes(tile)
    total, zero, one = to_doubles(filled(tile, 0)), filled(tile, 0), filled(tile, 1)
    for r in range(0, n_rows, width):
        n = min(width, n_rows - r)
        fill_tile(z, r * stride, stride, n_rows - r, n_classes, tile)
        fill_sides(target.possible, first + r, n, n_classes, sides)
        w = weights_in_lanes(first + r, n, target.weight, tile)
        alive = w > 0.0
        if any_of(w <= 0.0):  # as in `rows.cross_entropy_tiles`
            for k in range(n_classes):
                store(tile, k * width, where(alive, load(tile, k * width), 0.0))
        c_in, c_out = filled(tile, -inf), filled(tile, -inf)
        for k in range(n_classes):
            x, inside = load(tile, k * width), load(sides, k * width) > 0.5
            c_in = where(inside, larger(c_in, x), c_in)
            c_out = where(inside, c_out, larger(c_out, x))
        s_in, s_out = zero, zero
        for k in range(n_classes):
            inside = load(sides, k * width) > 0.5
            e = exp_of_difference(load(tile, k * width), where(inside, c_in, c_out))
            store(tile, k * width, e)
            s_in = where(inside, s_in + e, s_in)
            s_out = where(inside, s_out, s_out + e)
        d = c_out - c_in
        near = d <= 0.0
        ratio = exp_of_difference(where(near, d, zero - d), zero) * where(near, s_out / s_in, s_in / s_out)
        rest_in, rest_out = larger(s_in - 1.0, zero), larger(s_out - 1.0, zero)
        far = d + (log1p(rest_out) - log1p(rest_in))
        loss = log1p(ratio) + where(near, zero, far)
        total += to_doubles(where(alive, loss * w, 0.0))
        if want_grad:
            factor = where(alive, w * scale * where(near, ratio, one) / (ratio + 1.0), 0.0)
            of_in, of_out = zero - factor / s_in, factor / s_out
            for k in range(n_classes):
                side = where(load(sides, k * width) > 0.5, of_in, of_out)
                store(tile, k * width, where(alive, load(tile, k * width) * side, 0.0))
            empty_tile(tile, z, r * stride, stride, n, n_classes)
    return sum_of(total)


@inlined
def side_of(possible, i, few, numbers, like):
    """INSIDE, OUTSIDE or NOWHERE for a vector of classes, of which `few` exist."""
    for j in range(lanes(like)):
        numbers[j] = possible[i + j] if j < few else NOWHERE
    return load(numbers, 0)


@part
def partial_wide(z, stride, n_rows, n_classes, first, target, scale, want_grad, tile, sides):
    """As `partial_tiles`, with classes in lanes."""
    width, numbers, possible = lanes(z), sides.numbers, target.possible
    total = 0.0
    for r in range(n_rows):
        at, p = r * stride, (first + r) * n_classes
        w = weight_of(first + r, target.weight)
        if w == 0.0:
            for k in range(n_classes):
                z[at + k] = 0.0
            continue
        most_in, most_out = filled(z, -inf), filled(z, -inf)
        for k in range(0, n_classes, width):
            few = min(width, n_classes - k)
            x, side = load_part(z, at + k, few, 0.0), side_of(possible, p + k, few, numbers, z)
            most_in = where(side == INSIDE, larger(most_in, x), most_in)
            most_out = where(side == OUTSIDE, larger(most_out, x), most_out)
        c_in, c_out = max_of(most_in), max_of(most_out)
        s_in, s_out = 0.0, 0.0
        for k in range(0, n_classes, width):
            few = min(width, n_classes - k)
            x, side = load_part(z, at + k, few, 0.0), side_of(possible, p + k, few, numbers, z)
            e = exp_of_difference(x, where(side == INSIDE, filled(z, c_in), filled(z, c_out)))
            store_part(z, at + k, e, few)
            s_in += sum_of(where(side == INSIDE, e, 0.0))
            s_out += sum_of(where(side == OUTSIDE, e, 0.0))
        d = float(c_out) - float(c_in)
        if d <= 0.0:
            ratio = exp_of_number(d) * (s_out / s_in)
            loss, outside = log1p_of_number(ratio), ratio / (1.0 + ratio)
        else:
            ratio = exp_of_number(-d) * (s_in / s_out)
            loss = d + (log1p_of_number(s_out - 1.0) - log1p_of_number(s_in - 1.0)) + log1p_of_number(ratio)
            outside = 1.0 / (1.0 + ratio)
        total += loss * w
        if want_grad:
            factor = w * scale * outside
            of_in, of_out = filled(z, -factor / s_in), filled(z, factor / s_out if s_out > 0.0 else 0.0)
            for k in range(0, n_classes, width):
                few = min(width, n_classes - k)
                side = side_of(possible, p + k, few, numbers, z)
                store_part(z, at + k, load_part(z, at + k, few, 0.0) * where(side == INSIDE, of_in, of_out), few)
    return total
