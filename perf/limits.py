"""Limits of the machine: rates of reading, copying and matrix products, measured in the same run as the contestants.

`read` sums an array and `copy` copies one, both in parallel and vectorised; they run as contestants on the arrays of
the task itself. `Multiply` is NumPy's product of two large square matrices on all cores, a contestant too: its rate
changes by a third with the work of other machines on the same processor.
"""

import time
from typing import Any

import numpy as np
from numba import njit

from nbsoftmax.kernels.runtime.threads import launch, take

CHUNKS = 64  # several for each thread, each long enough for the full bandwidth
ALWAYS_PARALLEL = 1 << 60


@njit(fastmath=True)  # for this benchmark alone: the order of the sum does not matter
def _sum(part):
    total = part.dtype.type(0)
    for i in range(part.size):
        total += part[i]
    return total


@njit(nogil=True)
def _read(todo, x, n_chunks, sums):
    chunk = take(todo)
    while chunk >= 0:
        sums[chunk * 8] = _sum(x[chunk * x.size // n_chunks : (chunk + 1) * x.size // n_chunks])
        chunk = take(todo)


@njit(nogil=True)
def _copy(todo, x, out, n_chunks):
    chunk = take(todo)
    while chunk >= 0:
        low, high = chunk * x.size // n_chunks, (chunk + 1) * x.size // n_chunks
        out[low:high] = x[low:high]
        chunk = take(todo)


def read(x: Any) -> float:
    """Sum of an array, which is read once."""
    sums = np.zeros(CHUNKS * 8)  # a cache line for each chunk
    launch(_read, CHUNKS, ALWAYS_PARALLEL, None, x.reshape(-1), CHUNKS, sums)
    return float(sums.sum())


def copy(x: Any, out: Any) -> None:
    """Copy an array."""
    launch(_copy, CHUNKS, ALWAYS_PARALLEL, None, x.reshape(-1), out.reshape(-1), CHUNKS)


def best(call: Any, rounds: int) -> float:
    """Shortest time of several calls in seconds: a limit is the best that the machine can do."""
    call()
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


class Multiply:
    """Product of two square matrices of `n` rows: a call takes `flops` operations."""

    def __init__(self, dtype: str, n: int) -> None:
        self.a, self.b = np.ones((2, n, n), dtype)
        self.out = np.empty_like(self.a)
        self.flops = 2.0 * n**3

    def __call__(self) -> None:
        """Multiply once."""
        np.matmul(self.a, self.b, out=self.out)


def multiply_rate(dtype: str, *, quick: bool = False) -> float:
    """Rate in flop/s of a large square matrix product by NumPy."""
    multiply = Multiply(dtype, 1024 if quick else 3072)
    return multiply.flops / best(multiply, 3 if quick else 7)


def measure(*, quick: bool = False) -> dict[str, float]:
    """Rates: bytes/s read, bytes/s copied (read and written), flop/s in float64 and float32."""
    x = np.ones(2**20 if quick else 2**25)
    out = np.empty_like(x)
    rounds = 3 if quick else 15
    return {
        "read": x.nbytes / best(lambda: read(x), rounds),
        "copy": 2 * x.nbytes / best(lambda: copy(x, out), rounds),
        "gemm float64": multiply_rate("float64", quick=quick),
        "gemm float32": multiply_rate("float32", quick=quick),
    }
