"""Row kernels on a GPU: softmax and its relatives on rows of logits, as `nbsoftmax.kernels.rows` has them.

    c = max_k z_k,   s = sum_k exp(z_k - c)
    softmax_k = exp(z_k - c) / s      log_softmax_k = (z_k - c) - log s      lse = c + log s
    L = sum_k t_k (lse - z_k),        dL/dz_k = a_k sum_l t_l - t_k           (t: weighted target)

Two forms of the same stages. Up to 512 classes a group of lanes of one warp has a row, each lane some
of its logits in registers: several rows a warp for few classes, a warp a row for more. Beyond, a block of threads has a
row and reads it twice, the first time with a running maximum (M. Milakov, N. Gimelshein, "Online normalizer calculation
for softmax", 2018). All arrays are flat. Sums are made in an order that the shape alone decides; a row never sees
another one.
"""

from __future__ import annotations

import math
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, float32, float64

# What a kernel makes of a row.
SOFTMAX, LOG_SOFTMAX, LOGSUMEXP = 0, 1, 2
# Kinds of targets, as `nbsoftmax.check` counts them.
INDEX, INDEX_SMOOTHED, PROBA = 0, 1, 2

WARP = 32
EVERY_LANE = 0xFFFFFFFF
THREADS = 128  # of a block whose warps have rows of their own
BLOCK_THREADS = 256  # of a block that has one row
MOST_IN_REGISTERS = 512  # classes, 16 logits a lane; of 32 the compiler puts some into memory

_configuring = threading.Lock()  # filters of warnings are the process's


@dataclass(frozen=True)
class Plan:
    """A kernel, a plain function, and how it is launched."""

    kernel: Callable[..., None]
    grid: int
    block: int
    least_blocks: int = 1  # of a multiprocessor, that the compiler leaves registers for


def plan(what: int, dtype: Any, n_rows: int, n_classes: int) -> Plan:
    """How to make SOFTMAX, LOG_SOFTMAX or LOGSUMEXP of `n_rows` rows: kernel(z, out, n_rows, n_classes)."""
    if n_classes > MOST_IN_REGISTERS:
        return Plan(rows_by_blocks(what, np.dtype(dtype)), n_rows, BLOCK_THREADS)
    width, per_lane = lanes_for(n_classes)
    return Plan(rows_by_lanes(what, np.dtype(dtype), width, per_lane), blocks_for(n_rows, width), THREADS)


def plan_cross_entropy(dtype: Any, n_rows: int, n_classes: int) -> Plan:
    """How to make losses and gradients.

    kernel(z, labels, proba, gain, floor, weight, kind, scale, losses, want_grad, grad, n_rows, n_classes), where
    `losses` is float64 (n_rows,) and the rest as `kernels.rows.cross_entropy_rows` has it. Arrays that are not used may
    have any size, `weight` any but `n_rows`.
    """
    if n_classes > MOST_IN_REGISTERS:
        return Plan(cross_entropy_by_blocks(np.dtype(dtype)), n_rows, BLOCK_THREADS)
    width, per_lane = lanes_for(n_classes)
    return Plan(cross_entropy_by_lanes(np.dtype(dtype), width, per_lane), blocks_for(n_rows, width), THREADS)


def lanes_for(n_classes: int) -> tuple[int, int]:
    """Lanes that share a row, and logits of each: powers of two, so that few kernels serve all shapes."""
    width = min(WARP, 1 << (n_classes - 1).bit_length())
    return width, 1 << (-(-n_classes // width) - 1).bit_length()


def blocks_for(n_rows: int, width: int) -> int:
    """Blocks of THREADS threads for rows of `width` lanes each."""
    rows = THREADS // width
    return max(1, -(-n_rows // rows))


def launch(chosen: Plan, *arguments: Any, stream: Any = 0) -> None:
    """Run a plan on the current device, on arrays that are there."""
    with _configuring, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Grid size")  # of small grids: small problems have them
        bounds = chosen.block, chosen.least_blocks
        ready = _jitted(chosen.kernel, bounds)[chosen.grid, chosen.block, stream]
    ready(*arguments)


@cache
def _jitted(kernel: Callable[..., None], launch_bounds: tuple[int, int]) -> Any:
    """Without the second bound the compiler spills registers so that all threads fit that there can be (sm_80)."""
    return cuda.jit(launch_bounds=launch_bounds)(kernel)


# --- stages, as device functions --------------------------------------------------------------------


@cache
def _stages(dtype: np.dtype[Any], width: int) -> Any:
    """For a group of lanes, and one dtype: z - c, and the sum over the lanes, (under, total)."""
    number = float32 if dtype == np.float32 else float64

    @cuda.jit(device=True, inline="always")
    def under(z, c):
        if z == c:
            return number(0)
        return z - c

    @cuda.jit(device=True, inline="always")
    def total(v):
        step = width // 2
        while step > 0:
            v += cuda.shfl_xor_sync(EVERY_LANE, v, step)
            step //= 2
        return v

    return under, total


@cache
def _largest(dtype: np.dtype[Any], width: int, per_lane: int) -> Any:
    """Put a lane's logits into `mine`, -inf beyond the row; the largest of the whole row, as a device function."""
    number = float32 if dtype == np.float32 else float64

    @cuda.jit(device=True, inline="always")
    def largest(z, start, lane, inside, n_classes, mine):
        c = number(-math.inf)
        for p in range(per_lane):
            k = lane + p * width
            mine[p] = number(-math.inf)
            if inside and k < n_classes:
                mine[p] = z[start + k]
                if mine[p] > c:
                    c = mine[p]
        step = width // 2
        while step > 0:
            other = cuda.shfl_xor_sync(EVERY_LANE, c, step)
            if other > c:
                c = other
            step //= 2
        return c

    return largest


@cache
def rows_by_lanes(what: int, dtype: np.dtype[Any], width: int, per_lane: int) -> Callable[..., None]:
    """A kernel in which `width` lanes have a row, and each of them `per_lane` of its logits."""
    number = float32 if dtype == np.float32 else float64
    under, total = _stages(dtype, width)
    largest = _largest(dtype, width, per_lane)
    rows_of_block = THREADS // width

    def kernel(z, out, n_rows, n_classes):
        thread = cuda.threadIdx.x
        row = cuda.blockIdx.x * rows_of_block + thread // width
        lane = thread % width
        # Lanes beyond the last row go along, since a shuffle waits for all; they read and write nothing.
        alive = row < n_rows
        start = row * n_classes
        mine = cuda.local.array(per_lane, number)
        c = largest(z, start, lane, alive, n_classes, mine)
        s = number(0)
        for p in range(per_lane):
            if alive and lane + p * width < n_classes:
                mine[p] = under(mine[p], c)
                if what == SOFTMAX:
                    mine[p] = math.exp(mine[p])
                    s += mine[p]
                else:
                    s += math.exp(mine[p])
        s = total(s)
        if what == LOGSUMEXP:
            if alive and lane == 0:
                out[row] = c + math.log(s)
        else:
            factor = number(1) / s
            log_s = math.log(s)
            for p in range(per_lane):
                k = lane + p * width
                if alive and k < n_classes:
                    out[start + k] = mine[p] * factor if what == SOFTMAX else mine[p] - log_s

    return kernel


@cache
def _pair(dtype: np.dtype[Any]) -> Any:
    """For blocks, and one dtype: z - c, and the pair (max, sum of exp) of a row, (under, scan)."""
    number = float32 if dtype == np.float32 else float64
    under, _ = _stages(dtype, WARP)

    @cuda.jit(device=True, inline="always")
    def join(c, s, other_c, other_s):
        """The pair of two parts, from theirs; the larger maximum is kept."""
        if other_c > c:
            return other_c, other_s + s * math.exp(under(c, other_c))
        return c, s + other_s * math.exp(under(other_c, c))

    @cuda.jit(device=True, inline="always")
    def scan(z, start, n_classes, shared_c, shared_s):
        """(max, sum of exp) of a row, the same in every thread of the block."""
        thread = cuda.threadIdx.x
        c, s = number(-math.inf), number(0)
        for k in range(thread, n_classes, BLOCK_THREADS):
            v = z[start + k]
            if v > c:
                s = s * math.exp(under(c, v)) + number(1)
                c = v
            else:
                s += math.exp(under(v, c))
        step = WARP // 2
        while step > 0:
            c, s = join(c, s, cuda.shfl_xor_sync(EVERY_LANE, c, step), cuda.shfl_xor_sync(EVERY_LANE, s, step))
            step //= 2
        if thread % WARP == 0:
            shared_c[thread // WARP], shared_s[thread // WARP] = c, s
        cuda.syncthreads()
        c, s = shared_c[0], shared_s[0]
        for w in range(1, BLOCK_THREADS // WARP):
            c, s = join(c, s, shared_c[w], shared_s[w])
        cuda.syncthreads()  # before what is shared is used again
        return c, s

    return under, scan


@cache
def rows_by_blocks(what: int, dtype: np.dtype[Any]) -> Callable[..., None]:
    """A kernel in which a block has a row."""
    number = float32 if dtype == np.float32 else float64
    under, scan = _pair(dtype)
    warps = BLOCK_THREADS // WARP

    def kernel(z, out, n_rows, n_classes):
        shared_c, shared_s = cuda.shared.array(warps, number), cuda.shared.array(warps, number)
        row, thread = cuda.blockIdx.x, cuda.threadIdx.x
        start = row * n_classes
        c, s = scan(z, start, n_classes, shared_c, shared_s)
        if what == LOGSUMEXP:
            if thread == 0:
                out[row] = c + math.log(s)
        else:
            factor, log_s = number(1) / s, math.log(s)
            for k in range(thread, n_classes, BLOCK_THREADS):
                d = under(z[start + k], c)
                out[start + k] = math.exp(d) * factor if what == SOFTMAX else d - log_s

    return kernel


# --- cross-entropy ------------------------------------------------------------------------------------


@cache
def _target(dtype: np.dtype[Any]) -> Any:
    """t_k of a row, a device function."""
    number = float32 if dtype == np.float32 else float64

    @cuda.jit(device=True, inline="always")
    def target(kind, label, at, k, proba, gain, floor):
        if kind == INDEX:
            return number(1) if k == label else number(0)
        if kind == PROBA:
            return proba[at + k] * gain[k] + floor[k]
        return gain[k] + floor[k] if k == label else floor[k]

    return target


@cache
def cross_entropy_by_lanes(dtype: np.dtype[Any], width: int, per_lane: int) -> Callable[..., None]:
    """`rows_by_lanes` for losses and gradients."""
    number = float32 if dtype == np.float32 else float64
    under, total = _stages(dtype, width)
    largest = _largest(dtype, width, per_lane)
    target = _target(dtype)
    rows_of_block = THREADS // width

    def kernel(z, labels, proba, gain, floor, weight, kind, scale, losses, want_grad, grad, n_rows, n_classes):
        thread = cuda.threadIdx.x
        row = cuda.blockIdx.x * rows_of_block + thread // width
        lane = thread % width
        inside = row < n_rows
        start = row * n_classes
        label, w = -1, number(1)
        if inside:
            label = 0 if kind == PROBA else labels[row]
            if weight.size == n_rows:
                w = number(weight[row])
        counts = inside and label >= 0 and w > 0
        mine = cuda.local.array(per_lane, number)
        c = largest(z, start, lane, inside, n_classes, mine)
        s, dot, mass = number(0), number(0), number(0)
        for p in range(per_lane):
            k = lane + p * width
            if inside and k < n_classes:
                d = under(mine[p], c)
                t = target(kind, label, start, k, proba, gain, floor)
                mass += t
                if t > 0:  # 0 * -inf counts 0
                    dot += t * d
                mine[p] = math.exp(d)
                s += mine[p]
        s, dot, mass = total(s), total(dot), total(mass)
        if inside and lane == 0:
            losses[row] = float64((mass * math.log(s) - dot) * w) if counts else float64(0)
        if want_grad:
            w *= scale
            factor = mass * w / s
            for p in range(per_lane):
                k = lane + p * width
                if inside and k < n_classes:
                    t = target(kind, label, start, k, proba, gain, floor)
                    grad[start + k] = mine[p] * factor - t * w if counts else number(0)

    return kernel


@cache
def cross_entropy_by_blocks(dtype: np.dtype[Any]) -> Callable[..., None]:
    """`rows_by_blocks` for losses and gradients."""
    number = float32 if dtype == np.float32 else float64
    under, scan = _pair(dtype)
    _, total = _stages(dtype, WARP)
    target = _target(dtype)
    warps = BLOCK_THREADS // WARP

    def kernel(z, labels, proba, gain, floor, weight, kind, scale, losses, want_grad, grad, n_rows, n_classes):
        shared_c, shared_s = cuda.shared.array(warps, number), cuda.shared.array(warps, number)
        row, thread = cuda.blockIdx.x, cuda.threadIdx.x
        start = row * n_classes
        label = 0 if kind == PROBA else labels[row]
        w = number(1)
        if weight.size == n_rows:
            w = number(weight[row])
        counts = label >= 0 and w > 0
        c, s = scan(z, start, n_classes, shared_c, shared_s)
        dot, mass = number(0), number(0)
        for k in range(thread, n_classes, BLOCK_THREADS):
            t = target(kind, label, start, k, proba, gain, floor)
            mass += t
            if t > 0:
                dot += t * under(z[start + k], c)
        dot, mass = total(dot), total(mass)
        if thread % WARP == 0:
            shared_c[thread // WARP], shared_s[thread // WARP] = dot, mass
        cuda.syncthreads()
        dot, mass = number(0), number(0)
        for v in range(warps):
            dot += shared_c[v]
            mass += shared_s[v]
        if thread == 0:
            losses[row] = float64((mass * math.log(s) - dot) * w) if counts else float64(0)
        if want_grad:
            w *= scale
            factor = mass * w / s
            for k in range(thread, n_classes, BLOCK_THREADS):
                t = target(kind, label, start, k, proba, gain, floor)
                grad[start + k] = math.exp(under(z[start + k], c)) * factor - t * w if counts else number(0)

    return kernel


def sum_in_order(values, out, n):
    """A kernel of one block: out[0] = the sum of `values`, float64 (n,), by threads, then by a tree of fixed shape."""
    shared = cuda.shared.array(BLOCK_THREADS, float64)
    thread = cuda.threadIdx.x
    total = float64(0)
    for i in range(thread, n, BLOCK_THREADS):
        total += values[i]
    shared[thread] = total
    cuda.syncthreads()
    step = BLOCK_THREADS // 2
    while step > 0:
        if thread < step:
            shared[thread] += shared[thread + step]
        cuda.syncthreads()
        step //= 2
    if thread == 0:
        out[0] = shared[0]
