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
    under, total, _ = _stages(dtype, WARP)
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
        s, lost = number(0), number(0)
        for k in range(lane, n_classes, WARP):
            s, lost = add(s, lost, math.exp(under(z[start + k], c)))
        factor = number(1) / total(s)
        h = number(1)
        if inside and weight.size == n_rows:
            h = number(weight[row])
        if what == PAIR:
            if inside and lane == 0:
                a = math.exp(under(z[start + one], c)) * factor
                b = math.exp(under(z[start + other], c)) * factor
                w[row] = float64(h * a * (number(1) - b if one == other else b))
        elif what == MEAN:
            mean, lost = number(0), number(0)
            for k in range(lane, n_classes, WARP):
                a = math.exp(under(z[start + k], c)) * factor
                mean, lost = add(mean, lost, a * (number(1) - a))
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
                if inside:
                    u[start + k] = h * a * (u[start + k] - mean if what == MOVED else number(1) - a)

    return kernel
