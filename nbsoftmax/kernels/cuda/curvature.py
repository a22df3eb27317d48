"""Curvature of the loss of each row, computed from its logits: one warp for each row, for any number of classes.

    u <- h a * (u - a . u)        MOVED: the rows of a Hessian-vector product, from u = V x + v
    u <- h a * (1 - a)            EACH: weights of the diagonal blocks of the Hessian, one for each class
    w <- h mean_k a_k (1 - a_k)   MEAN: weight of one Gram matrix for all classes
    w <- h a_k (1 - a_k)          PAIR of k and k: weight of the diagonal block of class k
    w <- h a_k a_l                PAIR of k and l: weight of the block of two classes

Here a is the row of probabilities and h the weight of the sample.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from numba import cuda, float32, float64

from nbsoftmax.kernels.cuda.rows import EVERY_LANE, THREADS, WARP, _compensated, _stages

MOVED, EACH, MEAN, PAIR = 0, 1, 2, 3


@cache
def curvature(what: int, dtype: np.dtype[Any]) -> Callable[..., None]:
    """Make a kernel for blocks of THREADS, one warp for each row: kernel(z, weight, u, w, k, l, n_rows, n_classes).

    z : (n_rows * n_classes,), the logits
    weight : float64 (n_rows,), h; an array of any other size if all are 1
    u : like z, read and written by MOVED, written by EACH
    w : float64 (n_rows,), written by MEAN and PAIR
    """
    number = float32 if dtype == np.float32 else float64
    under, total, without_largest = _stages(dtype, WARP)
    add = _compensated(dtype)
    rows_of_block = THREADS // WARP

    def kernel(z, weight, u, w, one, other, n_rows, n_classes):
        thread = cuda.threadIdx.x
        lane = thread % WARP
        row = cuda.blockIdx.x * rows_of_block + thread // WARP
        inside = row < n_rows
        start = row * n_classes if inside else 0  # lanes beyond the last row compute the first row, and write nothing
        c = number(-math.inf)
        for k in range(lane, n_classes, WARP):
            if z[start + k] > c:
                c = z[start + k]
        step = WARP // 2
        while step > 0:
            far = cuda.shfl_xor_sync(EVERY_LANE, c, step)
            if far > c:
                c = far
            step //= 2
        s, lost, less, lost_less = number(0), number(0), number(0), number(0)
        for k in range(lane, n_classes, WARP):
            e = math.exp(under(z[start + k], c))
            s, lost = add(s, lost, e)
            if z[start + k] != c:
                less, lost_less = add(less, lost_less, e)
        s, less = total(s), total(less)
        factor = number(1) / s
        rest = without_largest(s, less) * factor  # 1 - a of the largest logit: that difference would lose its digits
        h = number(1)
        if inside and weight.size == n_rows:
            h = number(weight[row])
        if what == PAIR:
            if inside and lane == 0:
                a = math.exp(under(z[start + one], c)) * factor
                b = math.exp(under(z[start + other], c)) * factor
                if one == other:
                    b = rest if z[start + one] == c else number(1) - a
                w[row] = float64(h * a * b)
        elif what == MEAN:
            mean, lost = number(0), number(0)
            for k in range(lane, n_classes, WARP):
                a = math.exp(under(z[start + k], c)) * factor
                mean, lost = add(mean, lost, a * (rest if z[start + k] == c else number(1) - a))
            mean = total(mean)
            if inside and lane == 0:
                w[row] = float64(h * mean / number(n_classes))
        else:
            mean, lost = number(0), number(0)
            if what == MOVED:
                for k in range(lane, n_classes, WARP):
                    mean, lost = add(mean, lost, math.exp(under(z[start + k], c)) * factor * u[start + k])
                mean = total(mean)
            for k in range(lane, n_classes, WARP):
                a = math.exp(under(z[start + k], c)) * factor
                if inside and what == MOVED:
                    u[start + k] = h * a * (u[start + k] - mean)
                elif inside:
                    u[start + k] = h * a * (rest if z[start + k] == c else number(1) - a)

    return kernel
