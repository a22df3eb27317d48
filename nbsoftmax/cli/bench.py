"""`nbsoftmax bench`: measure the speed of this machine on random data."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

from nbsoftmax.cli.output import print_report

if TYPE_CHECKING:
    import argparse


class Work(NamedTuple):
    """A call to be timed, and the work it does."""

    call: Callable[[], Any]
    flops: float
    n_bytes: int


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `bench`."""
    add = command.add_argument
    add("--samples", type=int, default=100_000, help="default: 100000")
    add("--features", type=int, default=100, help="default: 100")
    add("--classes", type=int, default=10, help="default: 10")
    add("--dtype", default="float64", choices=["float32", "float64"], help="default: float64")
    add("--threads", type=int, help="number of threads (default: as many as Numba would use)")
    add("--device", default="cpu", help="for the loss and its gradient; as for fit")


def run(arguments: argparse.Namespace) -> int:
    """Time functions of random data."""
    from nbsoftmax import validation

    m, n = validation.count("--samples", arguments.samples), validation.count("--features", arguments.features)
    k = validation.count("--classes", arguments.classes, low=2)
    lines = [
        f"{m} samples, {n} features, {k} classes, {arguments.dtype}",
        f"{'':>16} {'ms':>9} {'GB/s':>7} {'GFLOP/s':>8}",
    ]
    facts: dict[str, Any] = {}
    for name, work in _works(arguments, m, n, k).items():
        seconds = _median_seconds(work.call)
        facts[name] = {"seconds": seconds, "bytes": work.n_bytes, "flops": work.flops}
        rate = f"{work.flops / seconds / 1e9:8.1f}" if work.flops else f"{'-':>8}"
        lines.append(f"{name:>16} {seconds * 1e3:9.3f} {work.n_bytes / seconds / 1e9:7.1f} {rate}")
    print_report(arguments, lines, facts)
    return 0


def _works(arguments: argparse.Namespace, m: int, n: int, k: int) -> dict[str, Work]:
    """Return what is timed, by name, for m samples, n features and k classes."""
    import numpy as np

    from nbsoftmax import validation
    from nbsoftmax.functional import softmax
    from nbsoftmax.models.softmax import SoftmaxModel
    from nbsoftmax.objective import Objective

    dtype = np.dtype(arguments.dtype)
    needed = m * n * dtype.itemsize + 2 * m * k * dtype.itemsize + 8 * m
    validation.needs_memory(needed, f"{m} samples, {n} features and {k} classes take", "give fewer")
    rng = np.random.default_rng(0)
    X = rng.standard_normal((m, n), dtype)
    y = rng.integers(0, k, m)
    z, out = rng.standard_normal((m, k), dtype), np.empty((m, k), dtype)
    threads = validation.n_threads(arguments.threads)
    objective = Objective(X, y, n_classes=k, n_threads=threads, device=arguments.device)
    params = rng.normal(size=objective.shape) / np.sqrt(n)
    model = SoftmaxModel(params[:, :-1], params[:, -1], np.arange(k))
    products = 2.0 * m * n * k
    return {
        "softmax": Work(lambda: softmax(z, out=out), 0.0, 2 * z.nbytes),
        "loss": Work(lambda: objective.value(params), products, X.nbytes),
        "loss + gradient": Work(lambda: objective.value_and_grad(params), 2 * products, X.nbytes),
        "predict": Work(lambda: model.predict(X), products, X.nbytes),
    }


def _median_seconds(call: Callable[[], Any]) -> float:
    """Return the median time of a call, over at least 5 calls and 0.5 s, and at most 1000 calls, after a first one."""
    import statistics
    import time

    call()
    seconds: list[float] = []
    while len(seconds) < 5 or (sum(seconds) < 0.5 and len(seconds) < 1000):
        start = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
