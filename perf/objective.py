"""Loss and gradient of the linear model, compared with peers and with limits: python -m perf objective

X must be read once, and the two products take 4 m N K operations; the limit is the longer of the two times.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

import nbsoftmax as nbs
from nbsoftmax.kernels.lang.simd import VECTOR_BYTES
from perf import limits, memory, peers
from perf.report import WIDE, Results, Row, at_least, at_most
from perf.timing import interleave, n_cores

SIDE = 2048  # rows of the matrices whose product measures the rate of matrix products


@dataclass(frozen=True)
class Task:
    """A shape (m, N, K), and what to reach with vectors of 64 bytes and with narrower ones."""

    shape: tuple[int, int, int]
    best: dict[str, float] = field(default_factory=dict)  # by dtype: least speed-up over the best peer
    most_reads: float = 0.0  # largest ratio to the time of reading X
    share: float = 0.0  # least share of the rate of matrix products
    narrow_best: float = 0.0
    narrow_share: float = 0.0


TASKS = (
    Task((581_000, 54, 7), {"float64": 6.0, "float32": 4.0}, most_reads=2.2, narrow_best=5.0),
    Task((60_000, 784, 10), {"float64": 3.0, "float32": 2.0}, narrow_best=2.2, narrow_share=0.7),
    Task((100_000, 512, 100), {"float64": 1.6}, narrow_best=1.3, narrow_share=0.7),
    Task((20_000, 1000, 1000), {"float64": 1.25}, share=0.85, narrow_share=0.7),
    Task((333_333, 29, 3)),
    Task((1_000_000, 20, 2)),
    Task((40_000, 300, 41), narrow_share=0.7),
    Task((5_000, 784, 10), share=0.6, narrow_share=0.6),  # X of these two fits into the caches
    Task((20_000, 16, 26), share=0.6, narrow_share=0.6),
)


def problem(m: int, n_features: int, n_classes: int, dtype: str, seed: int = 0) -> tuple[Any, Any, Any]:
    """Random X (m, N), labels, and parameters with logits of the order of 1."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((m, n_features), np.dtype(dtype))
    params = rng.normal(size=(n_classes, n_features + 1)) / np.sqrt(n_features)
    return X, rng.integers(0, n_classes, m), params


def run(results: Results, rounds: int, scale: int) -> None:
    """Measure loss + gradient, Hessian-vector products and numbers of threads; `scale` divides the rows."""
    evaluations, products, threads = [], [], []
    for task in TASKS:
        m, n, k = task.shape
        for dtype in ("float64", "float32"):
            X, y, params = problem(max(m // scale, 16), n, k, dtype)
            row, multiply = evaluate(X, y, params, rounds, SIDE if scale == 1 else SIDE // 2)
            hold(row, task, multiply)
            if dtype == "float64":
                products.append(hessian(X, y, params, rounds))
                compute_bound = 2 * row.times["read"].median < multiply
                threads.append(by_threads(X, y, params, rounds, compute_bound=compute_bound))
            evaluations.append(row)
    results.add("Loss + gradient of a linear model", evaluations)
    results.add("Hessian-vector product, against loss + gradient", products)
    memory.run(results, scale)
    results.add(f"{n_cores()} threads against 1, loss + gradient", threads)


def evaluate(X: Any, y: Any, params: Any, rounds: int, side: int) -> tuple[Row, float]:
    """Check that the contestants agree on loss and gradient; time them, reading X, and a product of `side` rows.

    Return the row, and the seconds that its products would take at the rate of that product.
    """
    dtype = str(X.dtype)
    contestants = peers.linear(X, y, params)
    peers.agree(contestants, peers.TOLERANCE[dtype])
    calls: dict[str, Callable[[], Any]] = {name: c.call for name, c in contestants.items()}
    multiply = limits.Multiply(dtype, side)
    times = interleave(calls | {"read": lambda: limits.read(X), "matrix product": multiply}, rounds)
    flops = 4.0 * X.size * params.shape[0]
    read, seconds = times["read"].median, flops * times["matrix product"].median / multiply.flops
    limit = ("read", read) if read > seconds else ("GEMM", seconds)
    return Row(shape_of(X, params), dtype, times, *limit, flops, X.nbytes), seconds


def hold(row: Row, task: Task, multiply: float) -> None:
    """Set the bars of the task for the dtype and the vector width; `multiply` as `evaluate` returns it."""
    wide, double = VECTOR_BYTES == WIDE, row.dtype == "float64"
    row.hold_to(best=task.best.get(row.dtype, 0.0) if wide else task.narrow_best * double)
    share = task.share if wide else task.narrow_share
    if double and wide and task.most_reads:
        row.bars.append(at_most(task.most_reads, row.ours / row.times["read"].median, "read"))
    if double and share:
        row.bars.append(at_least(share, multiply / row.ours, "matrix products' rate"))


def hessian(X: Any, y: Any, params: Any, rounds: int) -> Row:
    """Time a Hessian-vector product at the same point as the last one (as in conjugate gradients), and at a new one."""
    objective = nbs.Objective(X, y, n_classes=params.shape[0])
    # A second objective for new points, because each objective stores the probabilities at its last point.
    other, v, points, turn = nbs.Objective(X, y, n_classes=params.shape[0]), params[::-1].copy(), [params, -params], [0]

    def new_point() -> Any:
        turn[0] ^= 1
        return other.hvp(points[turn[0]], v)

    for _ in range(2):
        objective.hvp(params, v)
    calls = {
        peers.OURS: lambda: objective.hvp(params, v),
        "at a new point": new_point,
        "loss + grad": lambda: objective.value_and_grad(params),
    }
    times = interleave(calls, rounds)
    row = Row(shape_of(X, params), str(X.dtype), times, "loss + grad", times["loss + grad"].median)
    row.hold_to(limit=1.3)
    return row


def by_threads(X: Any, y: Any, params: Any, rounds: int, *, compute_bound: bool) -> Row:
    """Compare all threads with one; the target applies only if multiplying takes much longer than reading."""
    alone = nbs.Objective(X, y, n_classes=params.shape[0], n_threads=1)
    together = nbs.Objective(X, y, n_classes=params.shape[0])
    calls = {
        peers.OURS: lambda: together.value_and_grad(params),
        "one thread": lambda: alone.value_and_grad(params),
    }
    times = interleave(calls, rounds)
    row = Row(shape_of(X, params), str(X.dtype), times, "one thread", times["one thread"].median)
    if compute_bound:
        row.bars.append(at_least(0.9 * n_cores(), row.limit_seconds / row.ours, "one thread"))  # 1.8 for two
    return row


def shape_of(X: Any, params: Any) -> str:
    """Shape as text, m x N x K."""
    return f"{X.shape[0]} x {X.shape[1]} x {params.shape[0]}"
