"""Row kernels for GPUs: cross-entropy and its gradient, counterparts of those in `nbsoftmax.kernels.rows`.

    c = max_k z_k,   s = sum_k exp(z_k - c) = 1 + r,   lse = c + log1p(r)
    L = sum_k t_k (lse - z_k),        dL/dz_k = a_k sum_l t_l - t_k           (t: weighted target)

r is the sum without one term of the maximum. If one class is almost certain, s rounds to 1, while r is accurate; the
derivative for the largest class k is then computed as (sum_{l != k} t_l) - r / s sum_l t_l. If r >= 1, r = s - 1 is
accurate.

The stages exist in two forms. Up to 512 classes, a group of lanes of one warp processes a row, and each lane has some
of its logits in registers: several rows in a warp for few classes, one row for more. Beyond, a block of threads
processes a row and reads it twice, the first time with a running maximum (M. Milakov, N. Gimelshein, "Online normalizer
calculation for softmax", 2018). All arrays are flat. The order of all sums depends only on the shape; the result of a
row does not depend on other rows.
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

from nbsoftmax.kernels.kinds import INDEX, PROBA

WARP = 32
EVERY_LANE = 0xFFFFFFFF
THREADS = 128  # of a block in which every warp has different rows
BLOCK_THREADS = 256  # of a block that processes one row
MOST_IN_REGISTERS = 512  # classes, 16 logits in a lane; with 32 the compiler moves some to memory

_configuring = threading.Lock()  # warning filters apply to the whole process


@dataclass(frozen=True)
class Plan:
    """A kernel, which is a plain function, and its launch configuration."""

    kernel: Callable[..., None]
    grid: int
    block: int
    least_blocks: int = 1  # on one multiprocessor, for which the compiler leaves registers


def plan_cross_entropy(dtype: Any, n_rows: int, n_classes: int) -> Plan:
    """Choose the kernel of losses and gradients.

    kernel(z, labels, proba, gain, floor, weight, kind, scale, losses, want_grad, grad, n_rows, n_classes), where
    `losses` is float64 (n_rows,) and the rest is as in `kernels.rows.cross_entropy_rows`. Arrays that are not used may
    have any size, except that an unused `weight` must not have the size `n_rows`.
    """
    if n_classes > MOST_IN_REGISTERS:
        return Plan(cross_entropy_by_blocks(np.dtype(dtype)), n_rows, BLOCK_THREADS)
    width, per_lane = lanes_for(n_classes)
    return Plan(cross_entropy_by_lanes(np.dtype(dtype), width, per_lane), blocks_for(n_rows, width), THREADS)


def lanes_for(n_classes: int) -> tuple[int, int]:
    """Number of lanes for a row, and of logits in each: powers of two, so that few kernels cover all shapes."""
    width = min(WARP, 1 << (n_classes - 1).bit_length())
    return width, 1 << (-(-n_classes // width) - 1).bit_length()


def blocks_for(n_rows: int, width: int) -> int:
    """Number of blocks of THREADS threads for rows of `width` lanes each."""
    rows = THREADS // width
    return max(1, -(-n_rows // rows))


def configured(chosen: Plan, stream: Any = 0) -> Any:
    """The kernel of a plan, to be called with its arguments, on the current device."""
    with _configuring, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"(\x1b\[\d+m)?Grid size")  # small problems have small grids
        return _jitted(chosen.kernel, (chosen.block, chosen.least_blocks))[chosen.grid, chosen.block, stream]


@cache
def _jitted(kernel: Callable[..., None], launch_bounds: tuple[int, int]) -> Any:
    """Compile a kernel. Without the second bound the compiler spills registers to fit more threads (sm_80)."""
    return cuda.jit(launch_bounds=launch_bounds)(kernel)


# --- stages, as device functions --------------------------------------------------------------------


@cache
def _stages(dtype: np.dtype[Any], width: int) -> Any:
    """Make (under, total, without_largest) for a group of lanes and a dtype: z - c, the sum over the lanes, and r."""
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

    @cuda.jit(device=True, inline="always")
    def without_largest(s, less):
        """Compute r from the sum of all exp(z - c), and the sum of those with z < c."""
        return less if s < number(2) else s - number(1)  # s >= 2 if two classes share the maximum; NaN is kept

    return under, total, without_largest


@cache
def _largest(dtype: np.dtype[Any], width: int, per_lane: int) -> Any:
    """Make a device function that copies a lane's logits to `mine`, -inf beyond the row, and returns the maximum."""
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
def _compensated(dtype: np.dtype[Any]) -> Any:
    """Make the device function add(so_far, lost, v), one step of compensated summation (W. Kahan, 1965).

    It returns the new pair: the sum, and its rounding error.
    """
    number = float32 if dtype == np.float32 else float64

    @cuda.jit(device=True, inline="always")
    def add(so_far, lost, v):
        v -= lost
        after = so_far + v
        lost = (after - so_far) - v
        if lost != lost:  # noqa: PLR0124 - inf - inf: an infinite sum needs no compensation
            lost = number(0)
        return after, lost

    return add


@cache
def _pair(dtype: np.dtype[Any]) -> Any:
    """Make (under, scan) for blocks and a dtype: z - c, and the pair (max, r) of a row."""
    number = float32 if dtype == np.float32 else float64
    under, _, _ = _stages(dtype, WARP)
    add = _compensated(dtype)

    @cuda.jit(device=True, inline="always")
    def join(c, r, other_c, other_r):
        """Combine the pairs of two parts of a row: the larger maximum is kept, the other one is added to r."""
        if other_c > c:
            return other_c, other_r + (number(1) + r) * math.exp(under(c, other_c))
        return c, r + (number(1) + other_r) * math.exp(under(other_c, c))

    @cuda.jit(device=True, inline="always")
    def scan(z, start, n_classes, shared_c, shared_r):
        """Compute (max, r) of a row; all threads of the block get the same. Without any class, r = -1."""
        thread = cuda.threadIdx.x
        c, r, lost = number(-math.inf), number(-1), number(0)
        for k in range(thread, n_classes, BLOCK_THREADS):
            v = z[start + k]
            if v > c:
                r, lost = (number(1) + r - lost) * math.exp(under(c, v)), number(0)
                c = v
            else:
                r, lost = add(r, lost, math.exp(under(v, c)))
        step = WARP // 2
        while step > 0:
            c, r = join(c, r, cuda.shfl_xor_sync(EVERY_LANE, c, step), cuda.shfl_xor_sync(EVERY_LANE, r, step))
            step //= 2
        if thread % WARP == 0:
            shared_c[thread // WARP], shared_r[thread // WARP] = c, r
        cuda.syncthreads()
        c, r = shared_c[0], shared_r[0]
        for w in range(1, BLOCK_THREADS // WARP):
            c, r = join(c, r, shared_c[w], shared_r[w])
        cuda.syncthreads()  # before the shared memory is used again
        return c, r

    return under, scan


# --- cross-entropy ------------------------------------------------------------------------------------


@cache
def _target(dtype: np.dtype[Any]) -> Any:
    """Make device functions for a dtype: t_k of a row, (c - z) / 16, and the loss w (of_sum + 16 below) in float64.

    `below` is sum_k t_k (c - z_k) / 16. It is finite if the logits are, while c - z_k itself may overflow even if the
    loss is finite.
    """
    number = float32 if dtype == np.float32 else float64

    @cuda.jit(device=True, inline="always")
    def target(kind, label, at, k, proba, gain, floor):
        if kind == INDEX:
            return number(1) if k == label else number(0)
        if kind == PROBA:
            return proba[at + k] * gain[k] + floor[k]
        return gain[k] + floor[k] if k == label else floor[k]

    @cuda.jit(device=True, inline="always")
    def sixteenth(c, z):
        c, z = c * number(1 / 16), z * number(1 / 16)
        return number(0) if z == c else c - z

    @cuda.jit(device=True, inline="always")
    def loss(of_sum, below, w):
        whole = float64(below * w)
        for _ in range(4):
            whole += whole
        return float64(of_sum * w) + whole

    return target, sixteenth, loss


@cache
def cross_entropy_by_lanes(dtype: np.dtype[Any], width: int, per_lane: int) -> Callable[..., None]:
    """Make a kernel in which `width` lanes process a row, with `per_lane` logits in each of them."""
    number = float32 if dtype == np.float32 else float64
    under, total, without_largest = _stages(dtype, width)
    largest = _largest(dtype, width, per_lane)
    target, sixteenth, loss = _target(dtype)
    rows_of_block, one = THREADS // width, number(1)

    def kernel(z, labels, proba, gain, floor, weight, kind, scale, losses, want_grad, grad, n_rows, n_classes):
        thread = cuda.threadIdx.x
        row = cuda.blockIdx.x * rows_of_block + thread // width
        lane = thread % width
        # Lanes beyond the last row go along, since a shuffle waits for all; they read and write nothing.
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
        mass, below, s = number(0), number(0), number(0)
        less, others = number(0), number(0)  # sums without the maximum, for r < 1: then it is unique
        for p in range(per_lane):
            k = lane + p * width
            if inside and k < n_classes:
                t = target(kind, label, start, k, proba, gain, floor)
                mass += t
                if t > 0:  # a product of 0 and inf counts as 0
                    below += t * sixteenth(c, mine[p])
                if mine[p] != c:
                    others += t
        for p in range(per_lane):
            if inside and lane + p * width < n_classes:
                mine[p] = math.exp(under(mine[p], c))
                s += mine[p]
                if mine[p] != one:
                    less += mine[p]
        s, mass, below = total(s), total(mass), total(below)
        r, others = without_largest(s, total(less)), total(others)
        if inside and lane == 0:
            losses[row] = loss(mass * math.log1p(r), below, w) if counts else float64(0)
        if want_grad:
            w *= scale
            factor = mass * w / s
            for p in range(per_lane):
                k = lane + p * width
                if inside and k < n_classes:
                    t = target(kind, label, start, k, proba, gain, floor)
                    slope = mine[p] * factor - t * w
                    if r < one and mine[p] == one:
                        slope = others * w - r * factor
                    grad[start + k] = slope if counts else number(0)

    return kernel


@cache
def cross_entropy_by_blocks(dtype: np.dtype[Any]) -> Callable[..., None]:
    """Make a kernel in which a block of threads processes a row."""
    number = float32 if dtype == np.float32 else float64
    under, scan = _pair(dtype)
    _, total, _ = _stages(dtype, WARP)
    target, sixteenth, loss = _target(dtype)
    add = _compensated(dtype)
    warps = BLOCK_THREADS // WARP

    def kernel(z, labels, proba, gain, floor, weight, kind, scale, losses, want_grad, grad, n_rows, n_classes):
        shared_c, shared_r = cuda.shared.array(warps, number), cuda.shared.array(warps, number)
        shared_others = cuda.shared.array(warps, number)
        row, thread = cuda.blockIdx.x, cuda.threadIdx.x
        start = row * n_classes
        label = 0 if kind == PROBA else labels[row]
        w = number(1)
        if weight.size == n_rows:
            w = number(weight[row])
        counts = label >= 0 and w > 0
        c, r = scan(z, start, n_classes, shared_c, shared_r)
        below, mass, others = number(0), number(0), number(0)
        lost_below, lost_mass, lost_others = number(0), number(0), number(0)
        for k in range(thread, n_classes, BLOCK_THREADS):
            t = target(kind, label, start, k, proba, gain, floor)
            mass, lost_mass = add(mass, lost_mass, t)
            if t > 0:
                below, lost_below = add(below, lost_below, t * sixteenth(c, z[start + k]))
            if z[start + k] != c:
                others, lost_others = add(others, lost_others, t)
        below, mass, others = total(below), total(mass), total(others)
        if thread % WARP == 0:
            v = thread // WARP
            shared_c[v], shared_r[v], shared_others[v] = below, mass, others
        cuda.syncthreads()
        below, mass, others = number(0), number(0), number(0)
        for v in range(warps):
            below += shared_c[v]
            mass += shared_r[v]
            others += shared_others[v]
        if thread == 0:
            losses[row] = loss(mass * math.log1p(r), below, w) if counts else float64(0)
        if want_grad:
            w *= scale
            factor = mass * w / (number(1) + r)
            for k in range(thread, n_classes, BLOCK_THREADS):
                t = target(kind, label, start, k, proba, gain, floor)
                slope = math.exp(under(z[start + k], c)) * factor - t * w
                if r < number(1) and z[start + k] == c:
                    slope = others * w - r * factor
                grad[start + k] = slope if counts else number(0)

    return kernel
