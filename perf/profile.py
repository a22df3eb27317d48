"""Profile of one evaluation of loss and gradient: python -m perf profile 581000x54x7

All threads repeat each stage of `linear.loss_and_grad` on one block of their own, which stays in cache; the time is
scaled to all blocks. The difference between the time of the whole evaluation and the sum of its stages is waiting for
memory, and starting threads.
"""

from contextlib import nullcontext
from typing import Any

import numpy as np
from numba import njit

import nbsoftmax as nbs
from nbsoftmax.kernels.linear import (
    BLAS,
    DOTS,
    LOGIT,
    TILES,
    add_gradient,
    block_of,
    block_rows,
    cross_entropy_of,
    logits_of,
    scratch,
)
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.kernels.runtime.threads import launch, take
from perf import limits
from perf.objective import problem
from perf.report import Results
from perf.timing import interleave, n_cores

FORWARD, SOFTMAX, BACKWARD = 0, 1, 2
STAGES = {"forward: logits of a block": FORWARD, "softmax and cross-entropy": SOFTMAX, "backward: gradient": BACKWARD}
FORMS = {TILES: "tiles, classes in lanes", DOTS: "tiles, features in lanes", BLAS: "BLAS on blocks", LOGIT: "one logit"}
HEADER = ["stage", "ms", "of the whole"]


# Compiled with the options of the kernels, but not cached, because Numba would not notice a change in the stages.
@njit(nogil=True, error_model="numpy", fastmath={"contract"})
def _repeat(todo, stage, turns, rows, weights, target, gradient):
    n_classes, stride = weights.n_classes, weights.stride
    size = block_rows(rows, weights, 1)
    thread = take(todo)
    while thread >= 0:
        n = min(size, rows.n_rows)
        start = thread * size if (thread + 1) * size <= rows.n_rows else 0
        z, pack, tile, proba_tile, narrow = scratch(rows, size, weights)
        block = block_of(rows, weights, start, n, pack)
        gi = thread * n_classes * (rows.n_features + 1)
        for turn in range(-1, turns):  # the first turn of every stage computes logits
            if stage == FORWARD or turn < 0:
                logits_of(block, weights, 0, n_classes, z, stride)
            elif stage == SOFTMAX:
                # In place, as in the kernel. From the second turn on, the "logits" are gradients; the time is the same.
                cross_entropy_of(weights, z, n, start, target, 1.0, True, tile, proba_tile)
            else:
                add_gradient(block, weights, z, stride, 0, n_classes, True, tile.numbers, narrow, gradient, gi)
        thread = take(todo)


def run(results: Results, shape: str, dtype: str, rounds: int, scale: int) -> None:
    """Print the times of the stages, of the whole evaluation, and the limits; `scale` divides the rows."""
    try:
        m, n_features, n_classes = map(int, shape.split("x"))
    except ValueError:
        raise SystemExit(f"the shape is {shape!r}, expected rows x features x classes such as 581000x54x7") from None
    m = max(m // scale, 16)
    X, y, params = problem(m, n_features, n_classes, dtype)
    objective = nbs.Objective(X, y, n_classes=n_classes)
    backend: Any = objective.backend
    if backend._block:
        raise SystemExit(
            "a model of this size splits its classes over threads and cannot be profiled; use fewer classes"
        )
    fused, n_chunks, threads = backend._fused, backend._n_chunks, n_cores()
    rows, weights = fused.rows, fused.weights(params)
    n_blocks = m / int(block_rows.py_func(rows, weights, 1))
    turns = max(3, int(n_blocks / threads / 8))
    sums = np.zeros(max(threads, n_chunks) * weights.n_classes * (n_features + 1))

    def stage(number: int, turns: int) -> None:
        with one_thread() if weights.form == BLAS else nullcontext():
            launch(
                _repeat, threads, limits.ALWAYS_PARALLEL, threads,
                number, turns, rows, weights, backend._target, sums,
            )  # fmt: skip

    calls = {name: lambda number=number: stage(number, turns) for name, number in STAGES.items()}
    times = interleave(
        calls
        | {
            "start": lambda: stage(FORWARD, 0),
            "merge: chunks' gradients added": lambda: sums.reshape(-1, weights.n_classes, n_features + 1).sum(axis=0),
            "Python: weights laid out, gradients zeroed": lambda: (fused.weights(params), backend._new_gradient()),
            "whole": lambda: objective.value_and_grad(params),
            "read": lambda: limits.read(X),
        },
        rounds,
    )
    start, whole, read = (times.pop(name).median for name in ("start", "whole", "read"))
    in_all = {}
    for name, t in times.items():
        scaled = max(t.median - start, 0.0) / turns * n_blocks / threads
        in_all[name] = scaled if name in STAGES else t.median
    multiply = 4.0 * X.size * n_classes / results.limits[f"gemm {dtype}"]
    in_all |= {
        "all stages": sum(in_all.values()),
        "the whole, measured": whole,
        "beyond its stages (memory not fetched in time, threads)": whole - sum(in_all.values()),
        "limit: reading X once": read,
        "limit: multiplying at the rate of matrix products": multiply,
    }
    body = [[name, f"{seconds * 1e3:.2f}", f"{seconds / whole:.0%}"] for name, seconds in in_all.items()]
    how = FORMS[weights.form]
    results.add_table(
        f"Loss + gradient {m} x {n_features} x {n_classes} {dtype}: {how}, {threads} threads", HEADER, body
    )
