"""Loss with gradient, and Hessian-vector products, of few classes: X goes from memory to registers once, in one kernel.

    z_i = W x_i + b + offset_i          G += sum_i d_i x_i^T,   g += sum_i d_i
    d_i = s_i (a_i sum_l t_il - t_i)    for the gradient
    d_i = h_i a_i * (u_i - a_i . u_i)   for a product with V, u_i = V x_i + v

A group of threads has some rows at a time; each thread has some features, 16 bytes of X at once, with their sums in
registers; W stays in the first cache. The logits' parts are added up over a warp by halves, so that each lane ends with
one logit of one row, and over warps through shared memory. Then the lanes make d, and every thread adds its features'
share. Sums are float32 for FLUSH steps at most and float64 beyond; their order is decided by the shape alone.

A kernel is made for each number of classes, up to as many as have room for their sums in registers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, float32, float64, uint64

from nbsoftmax.kernels.cuda.loads import BYTES, load_wide
from nbsoftmax.kernels.cuda.rows import EVERY_LANE, INDEX, PROBA, WARP, _stages, _target

LOSS, PRODUCT = 0, 1
THREADS = 256
BLOCKS = 264  # at most, two for each multiprocessor of the largest GPUs; a constant, so that all make the same sums
ROW_VECTORS = 4  # of a thread in all rows of a step
# Vectors of 16 bytes that a thread has of a row, and of the sums of all classes: 12 of these take nearly all of 255
# registers, with all else. Up to 7 half of the registers do, so that a multiprocessor can have two blocks.
MOST_VECTORS, MOST_SUMS, SUMS_OF_TWO = 2, 12, 7
FLUSH = 128  # steps between float64 sums


@dataclass(frozen=True)
class Shape:
    """How threads share rows: `width` threads a row, `vectors` of 16 bytes each, and `rows` at a time."""

    n_classes: int
    width: int
    vectors: int
    rows: int

    @property
    def groups(self) -> int:
        """Groups of threads in a block, each with rows of its own."""
        return THREADS // self.width

    @property
    def least_blocks(self) -> int:
        """Blocks of a multiprocessor that the compiler is to leave registers for."""
        most = SUMS_OF_TWO if self.width < WARP else SUMS_OF_TWO - 1  # a whole warp adds up more logits at once
        return 2 if self.n_classes * self.vectors <= most else 1

    def reach(self, dtype: Any) -> int:
        """Features that the threads of a group have, some beyond the last."""
        return self.width * self.vectors * BYTES // int(np.dtype(dtype).itemsize)

    def size(self, dtype: Any) -> int:
        """Sums of one group: W's gradient, b's, and the loss."""
        return self.n_classes * (self.reach(dtype) + 1) + 1


def shape_for(dtype: Any, n_features: int, n_classes: int) -> Shape | None:
    """The shape for so many features and classes; None where registers do not hold the weights."""
    slots = -(-n_features * np.dtype(dtype).itemsize // BYTES)
    vectors = 1 << (-(-slots // THREADS) - 1).bit_length()
    if vectors > MOST_VECTORS or n_classes * vectors > MOST_SUMS:
        return None
    width = min(THREADS, max(1 << (slots - 1).bit_length(), 1 << (n_classes - 1).bit_length()))
    return Shape(n_classes, width, vectors, max(1, min(min(width, WARP) // n_classes, ROW_VECTORS // vectors)))


def blocks_for(shape: Shape, n_rows: int) -> int:
    """Blocks of a launch: a function of the shape alone."""
    return max(1, min(BLOCKS, -(-n_rows // (shape.groups * shape.rows))))


@cache
def _gathered(span: int) -> Any:
    """The sum over `span` lanes of parts[at], for lane `at`, as a device function: gathered(parts, at).

    Each step adds halves, of half as many sums. A function for each step, since the compiler does not take apart one
    loop over all of them for every generation of GPUs, and then keeps the sums in memory.
    """
    if span == 1:

        @cuda.jit(device=True, inline="always")
        def gathered(parts, at):
            return parts[0]

        return gathered
    step, rest = span // 2, _gathered(span // 2)

    @cuda.jit(device=True, inline="always")
    def halved(parts, at):
        for v in range(step):
            low, high = parts[v], parts[v + step]
            given, kept = (low, high) if at & step else (high, low)
            parts[v] = kept + cuda.shfl_xor_sync(EVERY_LANE, given, step)
        return rest(parts, at)

    return halved


@cache
def fused(what: int, dtype: np.dtype[Any], shape: Shape) -> Callable[..., None]:
    """A kernel, for blocks of THREADS, that makes sums of LOSS and gradient or a Hessian-vector PRODUCT.

    kernel(x, ld, w, bias, offset, labels, proba, gain, floor, weight, kind, kept, parts, more, want_grad, n_rows)

    x : (n_rows * ld,), rows of a multiple of 16 bytes; beyond the features finite
    w : (n_classes * shape.reach,), 0 beyond the features; bias (n_classes,)
    offset : (n_rows * n_classes,), any other size for none; not of PRODUCT
    labels, proba, gain, floor, weight, kind : as in `rows.plan_cross_entropy`; of PRODUCT only `weight` is read, h
    kept : (n_rows * n_classes,), the probabilities, which LOSS writes and PRODUCT reads; any other size: not written
    parts : float64 (blocks * groups, shape.size): the gradients of W, n_classes rows of shape.reach, and of b; the loss
    more : whether `parts` has sums of other rows already
    want_grad : if not, of `parts` only the loss is made; PRODUCT always makes all
    """
    number = float32 if dtype == np.float32 else float64
    per_vector = BYTES // np.dtype(dtype).itemsize
    n_classes, width, vectors, rows = shape.n_classes, shape.width, shape.vectors, shape.rows
    groups, span, mine = shape.groups, min(width, WARP), vectors * per_vector
    reach, size = shape.reach(dtype), shape.size(dtype)
    of_weights, of_rows, of_warps, one = n_classes * mine, rows * mine, 2 * THREADS, number(1)
    under, _, without_largest = _stages(dtype, WARP)
    target, sixteenth, loss_of = _target(dtype)
    gathered = _gathered(span)

    def kernel(x, ld, w, bias, offset, labels, proba, gain, floor, weight, kind, kept, parts, more, want_grad, n_rows):
        thread = cuda.threadIdx.x
        group, lane = thread // width, thread % width
        at = thread % span
        # Of the group's lanes in the warp. Where it is known to be 0, lanes to shuffle from are no registers.
        base = 0 if span == WARP else thread % WARP - at
        own_row = min(at // n_classes, rows - 1)
        own_class = at % n_classes
        valid = at < rows * n_classes
        first = base + own_row * n_classes  # lane of the row's first class
        speaks = valid and lane < span  # of a row in several warps one makes the sums
        part = cuda.blockIdx.x * groups + group
        stride = cuda.gridDim.x * groups * rows
        steps = (n_rows + stride - 1) // stride
        start = part * size
        own = start + lane * per_vector

        sums = cuda.local.array(of_weights, number)
        x_own, dots = cuda.local.array(of_rows, number), cuda.local.array(span, number)
        between = cuda.shared.array(of_warps, number)
        own_bias = bias[own_class]

        for since in range(0, max(1, steps), FLUSH):
            added = more or since > 0
            for v in range(of_weights):
                sums[v] = number(0)
            sum_d, sum_loss = number(0), float64(0)
            for s in range(since, min(since + FLUSH, steps)):
                row0 = s * stride + part * rows
                for v in range(span):
                    dots[v] = number(0)
                for r in range(rows):
                    for f in range(vectors):
                        j = (lane + f * width) * per_vector
                        if row0 + r < n_rows and j < ld:
                            loaded = load_wide(x, (row0 + r) * ld + j)
                            for e in range(per_vector):
                                x_own[r * mine + f * per_vector + e] = loaded[e]
                        else:
                            for e in range(per_vector):
                                x_own[r * mine + f * per_vector + e] = number(0)
                for k in range(n_classes):  # W stays in the first cache, and leaves the registers to the sums
                    for f in range(vectors):
                        j = (lane + f * width) * per_vector
                        loaded = load_wide(w, k * reach + j)
                        for r in range(rows):
                            dot = dots[r * n_classes + k]
                            for e in range(per_vector):
                                dot += loaded[e] * x_own[r * mine + f * per_vector + e]
                            dots[r * n_classes + k] = dot
                z = gathered(dots, at)
                if width > WARP:
                    here = s % 2 * THREADS
                    between[uint64(here + thread)] = z
                    cuda.syncthreads()
                    z = number(0)
                    for warp in range(width // WARP):
                        z += between[uint64(here + group * width + warp * WARP + at)]
                z += own_bias
                row = row0 + own_row
                inside = valid and row < n_rows
                place = row * n_classes + own_class
                d, weighs = number(0), number(1)
                if inside and weight.size == n_rows:
                    weighs = number(weight[row])
                if what == PRODUCT:
                    a = kept[place] if inside else number(0)
                    mean = number(0)
                    for k in range(n_classes):
                        mean += cuda.shfl_sync(EVERY_LANE, a * z, first + k)
                    d = weighs * a * (z - mean)
                else:
                    if inside and offset.size == n_rows * n_classes:
                        z += offset[place]
                    label, t = -1, number(0)
                    if inside:
                        label = 0 if kind == PROBA else labels[row]
                        t = target(kind, label, row * n_classes, own_class, proba, gain, floor)
                    c = cuda.shfl_sync(EVERY_LANE, z, first)
                    for k in range(1, n_classes):
                        other = cuda.shfl_sync(EVERY_LANE, z, first + k)
                        if other > c:
                            c = other
                    a = math.exp(under(z, c))
                    z = sixteenth(c, z)
                    total, r = number(0), number(0)
                    for k in range(n_classes):
                        total += cuda.shfl_sync(EVERY_LANE, a, first + k)
                    short = a if a != one else number(0)
                    for k in range(n_classes):  # in the first loop it would spill registers (sm_75 to sm_90)
                        r += cuda.shfl_sync(EVERY_LANE, short, first + k)
                    r = without_largest(total, r)
                    mass, below, others = one, number(0), number(0)
                    if kind == INDEX:
                        below = cuda.shfl_sync(EVERY_LANE, z, first + max(label, 0))
                        if below > number(0):
                            others = one
                    else:
                        mass = number(0)
                        share = t * z if t > 0 else number(0)  # 0 * inf counts 0
                        beside = t if a != one else number(0)
                        for k in range(n_classes):
                            mass += cuda.shfl_sync(EVERY_LANE, t, first + k)
                            below += cuda.shfl_sync(EVERY_LANE, share, first + k)
                            others += cuda.shfl_sync(EVERY_LANE, beside, first + k)
                    if inside and speaks and kept.size == n_rows * n_classes:
                        kept[place] = a / total
                    factor = mass / total
                    if label >= 0 and weighs > 0:
                        d = (a * factor - t) * weighs
                        if r < one and a == one:  # the largest class of a sample that is nearly certain: see `rows`
                            d = (others - r * factor) * weighs
                        if own_class == 0:
                            sum_loss += loss_of(mass * math.log1p(r), below, weighs)
                sum_d += d
                if want_grad:
                    for r in range(rows):
                        for k in range(n_classes):
                            factor = cuda.shfl_sync(EVERY_LANE, d, base + r * n_classes + k)
                            for v in range(mine):
                                sums[k * mine + v] += factor * x_own[r * mine + v]

            # Offsets that the compiler knows: addresses made from other numbers would each keep a register.
            for k in range(n_classes):
                for f in range(vectors):
                    for e in range(per_vector):
                        to = own + k * reach + f * (width * per_vector) + e
                        before = parts[uint64(to)] if added else float64(0)
                        parts[uint64(to)] = before + float64(sums[k * mine + f * per_vector + e])
            d_of_class, loss = float64(0), float64(0)
            for r in range(rows):
                d_of_class += float64(cuda.shfl_sync(EVERY_LANE, sum_d, base + r * n_classes + own_class))
                loss += cuda.shfl_sync(EVERY_LANE, sum_loss, base + r * n_classes)
            if speaks and at < n_classes:
                to = start + n_classes * reach + own_class
                parts[uint64(to)] = (parts[uint64(to)] if added else float64(0)) + d_of_class
                if own_class == 0:
                    to = start + n_classes * (reach + 1)
                    parts[uint64(to)] = (parts[uint64(to)] if added else float64(0)) + loss

    return kernel


def sum_parts(parts, out, size, n_parts, more):
    """A kernel: out[e] = sum_p parts[p, e] in order, float64, `size` of them, a thread each; added to out if `more`."""
    e = cuda.blockIdx.x * THREADS + cuda.threadIdx.x
    if e < size:
        total = out[e] if more else float64(0)
        for p in range(n_parts):
            total += parts[p * size + e]
        out[e] = total
