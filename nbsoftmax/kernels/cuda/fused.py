"""Loss and gradient, and Hessian-vector products, for few classes, in one kernel that reads X from memory once.

    z_i = W x_i + b + offset_i          G += sum_i d_i x_i^T,   g += sum_i d_i
    d_i = s_i (a_i sum_l t_il - t_i)    for the gradient
    d_i = h_i a_i * (u_i - a_i . u_i)   for a product with V, u_i = V x_i + v

A group of threads processes some rows at a time. Each thread has some features, loads 16 bytes of X at a time, one step
before they are needed, and keeps the sums of its features in registers; W stays in the first-level cache. The partial
logits are added over a warp by halving, so that each lane ends with one logit of one row, and over warps through shared
memory. Then the lanes compute d, and every thread adds the products with its features. Sums are float32 for at most
FLUSH steps and float64 beyond; their order depends only on the shape.

There is one kernel for each number of classes, up to the largest number whose sums fit in registers.
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
MULTIPROCESSORS = 132  # of a large GPU; a constant, so that all GPUs add alike
ROW_VECTORS = 4  # vectors of a thread in all rows of a step
MOST_VECTORS, MOST_SUMS = 2, 12  # 16-byte vectors that a thread has of a row, and of sums for all classes
SUMS_OF_THREE = 4  # vectors of sums up to which three blocks run on a multiprocessor at once, otherwise two
FLUSH = 128  # steps between additions in float64


@dataclass(frozen=True)
class Shape:
    """Assignment of threads: `width` threads for each row, with `vectors` of 16 bytes each; `rows` rows at a time."""

    n_classes: int
    width: int
    vectors: int
    rows: int

    @property
    def groups(self) -> int:
        """Number of groups of threads in a block; each group has different rows."""
        return THREADS // self.width

    @property
    def least_blocks(self) -> int:
        """Number of blocks on one multiprocessor for which the compiler must leave registers.

        A thread then has 80 or 128 registers. More sums need more, and a few values are kept in memory; on an H100 that
        is still 1.2 to 1.9 times faster than fewer threads, which do not hide the latency of X.
        """
        return 3 if self.n_classes * self.vectors <= SUMS_OF_THREE else 2

    def reach(self, dtype: Any) -> int:
        """Number of features that the threads of a group cover; those beyond the last one are 0."""
        return self.width * self.vectors * BYTES // int(np.dtype(dtype).itemsize)

    def size(self, dtype: Any) -> int:
        """Number of sums of one group: the gradients of W and of b, and the loss."""
        return self.n_classes * (self.reach(dtype) + 1) + 1


def shape_for(dtype: Any, n_features: int, n_classes: int) -> Shape | None:
    """Shape for these numbers of features and classes; None if the sums do not fit in registers."""
    slots = -(-n_features * np.dtype(dtype).itemsize // BYTES)
    vectors = 1 << (-(-slots // THREADS) - 1).bit_length()
    if vectors > MOST_VECTORS or n_classes * vectors > MOST_SUMS:
        return None
    width = min(THREADS, max(1 << (slots - 1).bit_length(), 1 << (n_classes - 1).bit_length()))
    return Shape(n_classes, width, vectors, max(1, min(min(width, WARP) // n_classes, ROW_VECTORS // vectors)))


def blocks_for(shape: Shape, n_rows: int) -> int:
    """Number of blocks of a launch; it depends only on the shape."""
    return max(1, min(MULTIPROCESSORS * shape.least_blocks, -(-n_rows // (shape.groups * shape.rows))))


@cache
def _gathered(span: int) -> Any:
    """Make a device function gathered(parts, at), which returns in lane `at` the sum of parts[at] over `span` lanes.

    Each step halves the number of sums in a lane. Each step is a function of its own: one loop over the steps is not
    unrolled for every generation of GPUs, and the sums would be kept in memory.
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
    """Make a kernel, for blocks of THREADS, that sums LOSS and gradient, or a Hessian-vector PRODUCT.

    kernel(x, ld, w, bias, offset, labels, proba, gain, floor, weight, kind, kept, parts, more, want_grad, n_rows)

    x : (n_rows * ld,), each row a multiple of 16 bytes; numbers beyond the features must be finite
    w : (n_classes * shape.reach,), 0 beyond the features; bias (n_classes,)
    offset : (n_rows * n_classes,); an array of any other size for none; ignored by PRODUCT
    labels, proba, gain, floor, weight, kind : as in `rows.plan_cross_entropy`; PRODUCT reads only `weight`, as h
    kept : (n_rows * n_classes,), the probabilities, which LOSS writes and PRODUCT reads; not written if of another size
    parts : float64 (blocks * groups, shape.size): the gradients of W, n_classes rows of shape.reach, and of b; the loss
    more : whether to add to the values in `parts`, which are the sums of other rows
    want_grad : if False, only the loss in `parts` is computed; PRODUCT ignores it
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

    @cuda.jit(device=True, inline="always")
    def load_rows(x, row0, n_rows, lane, ld, own):
        for r in range(rows):
            for f in range(vectors):
                j = (lane + f * width) * per_vector
                if row0 + r < n_rows and j < ld:
                    loaded = load_wide(x, (row0 + r) * ld + j)
                    for e in range(per_vector):
                        own[r * mine + f * per_vector + e] = loaded[e]
                else:
                    for e in range(per_vector):
                        own[r * mine + f * per_vector + e] = number(0)

    def kernel(x, ld, w, bias, offset, labels, proba, gain, floor, weight, kind, kept, parts, more, want_grad, n_rows):
        thread = cuda.threadIdx.x
        group, lane = thread // width, thread % width
        at = thread % span
        # First lane of the group in its warp. If the compiler knows that it is 0, shuffles need fewer registers.
        base = 0 if span == WARP else thread % WARP - at
        own_row = min(at // n_classes, rows - 1)
        own_class = at % n_classes
        valid = at < rows * n_classes
        first = base + own_row * n_classes  # lane of the row's first class
        speaks = valid and lane < span  # if a row is in several warps, only the first one adds to the sums
        part = cuda.blockIdx.x * groups + group
        stride = cuda.gridDim.x * groups * rows
        steps = (n_rows + stride - 1) // stride
        start = part * size
        own = start + lane * per_vector

        sums = cuda.local.array(of_weights, number)
        x_own, dots = cuda.local.array(of_rows, number), cuda.local.array(span, number)
        between = cuda.shared.array(of_warps, number)
        x_next = cuda.local.array(of_rows, number)
        own_bias = bias[own_class]
        load_rows(x, part * rows, n_rows, lane, ld, x_next)

        for since in range(0, max(1, steps), FLUSH):
            added = more or since > 0
            for v in range(of_weights):
                sums[v] = number(0)
            sum_d, sum_loss = number(0), float64(0)
            for s in range(since, min(since + FLUSH, steps)):
                row0 = s * stride + part * rows
                for v in range(span):
                    dots[v] = number(0)
                for v in range(of_rows):
                    x_own[v] = x_next[v]
                load_rows(x, row0 + stride, n_rows, lane, ld, x_next)  # arrives while these rows are computed
                for k in range(n_classes):  # W stays in the first-level cache: the registers are for the sums
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
                    for k in range(
                        n_classes
                    ):  # a separate loop: in the first one it would spill registers (sm_75 to sm_90)
                        r += cuda.shfl_sync(EVERY_LANE, short, first + k)
                    r = without_largest(total, r)
                    mass, below, others = one, number(0), number(0)
                    if kind == INDEX:
                        below = cuda.shfl_sync(EVERY_LANE, z, first + max(label, 0))
                        if below > number(0):
                            others = one
                    else:
                        mass = number(0)
                        share = t * z if t > 0 else number(0)  # a product of 0 and inf counts as 0
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

            # The offsets are compile-time constants: otherwise each address would need a register.
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
