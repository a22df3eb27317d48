"""Row kernels for two classes, of which each sample has one logit: z = z_1 - z_0.

    e = exp(-|z|)                                                    (never overflows)
    a = sigmoid(z) = 1 / (1 + e) for z >= 0, else e / (1 + e)        1 - a = sigmoid(-z)
    L = (t_0 + t_1) log1p(e) + (t_1 for z < 0, else t_0) |z|         t: weighted target of the classes
    dL/dz = t_0 sigmoid(z) - t_1 sigmoid(-z),    d^2L/dz^2 = (t_0 + t_1) a (1 - a) = (t_0 + t_1) e / (1 + e)^2

These are the formulas of `rows` for the logits (0, z); the derivative by the first logit is -dL/dz. Both sigmoids are
used because sigmoid(z) - 1 would lose digits by cancellation. Rows are in lanes.
"""

from numba.extending import overload

from nbsoftmax.kernels.binary import both_sigmoids, exp_below_0
from nbsoftmax.kernels.kinds import PROBA
from nbsoftmax.kernels.lang.simd import (
    Tile,
    filled,
    lanes,
    larger,
    load,
    load_converted,
    store,
    store_part,
    sum_of,
    to_doubles,
    where,
)
from nbsoftmax.kernels.lang.vmath import log1p_of_fraction
from nbsoftmax.kernels.partial import PartialTarget, fill_sides
from nbsoftmax.kernels.row_tiles import fill_tile
from nbsoftmax.kernels.rows import KEEP, KEPT, weights_in_lanes
from nbsoftmax.kernels.runtime.jit import inlined, part
from nbsoftmax.kernels.runtime.parts import PART


def _targets(i, n, target, tile, memory):
    """Weighted targets t_0 and t_1 of the n samples from i on, in the lanes of a vector; 0 in the other lanes."""
    raise NotImplementedError("this function works in compiled code only")


@overload(_targets, jit_options={"forceinline": True, **PART})
def _targets_of(i, n, target, tile, memory):
    def of_classes(i, n, target, tile, memory):
        w = weights_in_lanes(i, n, target.weight, tile)
        if target.kind == PROBA:
            fill_tile(target.proba, i * 2, 2, n, 2, memory)
            t0 = load(memory, 0) * target.gain[0] + target.floor[0]
            t1 = load(memory, lanes(memory)) * target.gain[1] + target.floor[1]
        else:
            label = load_converted(target.labels, i, n, -1.0, tile)
            w = where(label >= 0.0, w, 0.0)
            t0 = where(label == 0.0, target.gain[0] + target.floor[0], filled(tile, target.floor[0]))
            t1 = where(label == 1.0, target.gain[1] + target.floor[1], filled(tile, target.floor[1]))
        return where(w > 0.0, t0 * w, 0.0), where(w > 0.0, t1 * w, 0.0)

    def of_sets(i, n, target, tile, memory):
        w = weights_in_lanes(i, n, target.weight, tile)
        fill_sides(target.possible, i, n, 2, memory)
        can_be_0, can_be_1 = load(memory, 0), load(memory, lanes(memory))
        # A sample of which both classes are possible says nothing.
        return where(can_be_0 > can_be_1, w, 0.0), where(can_be_1 > can_be_0, w, 0.0)

    return of_sets if target.instance_class is PartialTarget else of_classes


@part
def logit_cross_entropy(z, n_rows, first, target, scale, want_grad, memory):
    """Sum of the losses of n_rows samples from `first` on, float64; if `want_grad`, z becomes scale * dL/dz.

    z consists of whole vectors of a tile, and `memory` is a tile of two classes.
    """
    tile = Tile(z)
    width, total = lanes(tile), to_doubles(filled(tile, 0))
    for r in range(0, n_rows, width):
        t0, t1 = _targets(first + r, min(width, n_rows - r), target, tile, memory)
        mass = t0 + t1
        alive = mass > 0.0
        x = where(alive, load(tile, r), 0.0)  # the logits of other samples have no effect
        size = larger(x, -x)
        e = exp_below_0(x)
        wrong = where(x < 0.0, t1, t0)  # the target of the class with the smaller logit
        loss = to_doubles(mass) * to_doubles(log1p_of_fraction(e))
        # A product of 0 and inf counts as 0.
        total += loss + to_doubles(where(wrong > 0.0, wrong, 0.0)) * to_doubles(where(wrong > 0.0, size, 0.0))
        if want_grad:
            up, down = both_sigmoids(x, e)
            store(tile, r, (t0 * up - t1 * down) * scale)
    return sum_of(total)


@inlined
def _curvature(x):
    """The curvature a (1 - a) of logits x."""
    e = exp_below_0(x)
    near = 1.0 / (e + 1.0)
    return e * near * near


@part
def logit_curvature(z, u, n_rows, first, curvature, memory, kept, ki):
    """Replace u, changes of the logits, by h a (1 - a) u: see `rows.curvature_rows`. `kept` has a (1 - a)."""
    logits, changes = Tile(z), Tile(u)
    width = lanes(logits)
    for r in range(0, n_rows, width):
        n = min(width, n_rows - r)
        if memory == KEPT:
            c = load_converted(kept, ki + r, n, 0.0, logits)
        else:
            c = _curvature(load(logits, r))
            if memory == KEEP:
                store_part(kept, ki + r, c, n)
        store(changes, r, load(changes, r) * (c * weights_in_lanes(first + r, n, curvature, logits)))


@part
def logit_variances(z, n_rows, first, curvature):
    """Replace the logits of n_rows samples from `first` on by h a (1 - a)."""
    logits = Tile(z)
    width = lanes(logits)
    for r in range(0, n_rows, width):
        h = weights_in_lanes(first + r, min(width, n_rows - r), curvature, logits)
        store(logits, r, _curvature(load(logits, r)) * h)
