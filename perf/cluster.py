"""Fits on a Dask cluster of this machine, against one process, and a model of larger ones: python -m perf dask"""

from typing import Any

import numpy as np

import nbsoftmax as nbs
from nbsoftmax.problem import ProblemInParts
from perf.peers import OURS
from perf.report import Results, Row, at_least
from perf.timing import Times, interleave, n_cores

ROWS, FEATURES, CLASSES = 1_000_000, 100, 10
WORKERS = 2
PARTITIONS = (2, 4, 8, 16)
LEAST_SPEED, MOST_OVERHEAD = 0.85, 0.030  # of one process with as many threads; seconds of an evaluation
IN_PROCESS = "one process"
HEADER = ["partitions", "overhead of an evaluation, ms", "spread", "bar: at most 30 ms"]
# The model: rows of each worker, network, the time of client and scheduler for the results of a worker (measured with 8
# and 24 workers on two cores of a Zen 4: 0.9 to 1.6 ms), and the bytes that name a partition to all workers.
MODEL_WORKERS = (10, 100, 1000)
MODEL_ROWS, MODEL_PARTITIONS = 10_000_000, 4
BYTES_PER_SECOND, ROUND_TRIP, ANSWER, NAME = 1.25e9, 0.5e-3, 1.0e-3, 20
SPREAD = 0.05  # standard deviation of a worker's time, relative to its mean
MODEL_HEADER = [
    "workers", "rows", "sums, ms", "stragglers, ms", "scheduler, ms", "sent, MB", "results, MB", "network, ms",
    "evaluation, ms", "efficiency",
]  # fmt: skip


def rows_of(block_info: Any) -> Any:
    """A block of features with the label in the last column, made by a task."""
    (low, high), _ = block_info[None]["array-location"]
    rng = np.random.default_rng(low)
    X = rng.normal(size=(high - low, FEATURES)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=(FEATURES, CLASSES)).astype(np.float32) / np.sqrt(FEATURES)
    labels = (X @ weights + rng.gumbel(size=(len(X), CLASSES))).argmax(axis=1)
    return np.column_stack([X, labels.astype(np.float32)])


def collections(m: int, n_partitions: int) -> tuple[Any, Any]:
    """X and y as Dask Arrays whose blocks are made by tasks."""
    import dask.array as da

    size = -(-m // n_partitions)
    chunks = tuple(min(size, m - start) for start in range(0, m, size))
    data = da.map_blocks(rows_of, chunks=(chunks, FEATURES + 1), dtype=np.float32)
    return data[:, :FEATURES].map_blocks(np.ascontiguousarray), data[:, FEATURES].astype(np.int64)


def overheads(rounds: int) -> list[list[str]]:
    """The time of an evaluation of very few rows, for several numbers of partitions."""
    body = []
    for n in PARTITIONS:
        problem = ProblemInParts.from_dask(*collections(50 * n, n))
        backend, params = problem.backend(fit_intercept=True, n_threads=None), np.zeros((CLASSES, FEATURES + 1))
        time = interleave({OURS: lambda backend=backend, params=params: backend.loss_and_grad(params)}, 5 * rounds)[
            OURS
        ]
        reached = "yes" if time.median <= MOST_OVERHEAD else "NO"
        body.append([str(n), f"{time.median * 1e3:.1f}", time.around, reached])
    return body


def evaluations(m: int, rounds: int) -> tuple[Row, Row]:
    """An evaluation and a whole fit by two workers with one thread each, against one process with two threads.

    The rows are in memory in both cases. (If the tasks made them again in each fit, their random numbers would take
    more time than the sums.)
    """
    import dask

    X, y = dask.persist(*collections(m, WORKERS * 2))
    whole, labels = (np.asarray(part) for part in dask.compute(X, y))
    backend = ProblemInParts.from_dask(X, y).backend(fit_intercept=True, n_threads=None)
    objective = nbs.Objective(whole, labels, n_threads=WORKERS)
    params = np.zeros(objective.shape)
    calls = {OURS: lambda: backend.loss_and_grad(params), IN_PROCESS: lambda: objective.backend.loss_and_grad(params)}
    name = f"{m} x {FEATURES} x {CLASSES}"
    fits = {
        OURS: lambda: nbs.Trainer(l2=1e-3).fit(X, y),
        IN_PROCESS: lambda: nbs.Trainer(l2=1e-3, n_threads=WORKERS).fit(whole, labels),
    }
    return row(f"evaluation, {name}", interleave(calls, rounds)), row(f"fit, {name}", interleave(fits, 3))


def row(work: str, times: dict[str, Times]) -> Row:
    """A line with the bar for the speed."""
    other = times[IN_PROCESS].median
    found = Row(work, "float32", times, IN_PROCESS, other)
    found.bars.append(at_least(LEAST_SPEED, other / times[OURS].median, IN_PROCESS))
    return found


def model(seconds_per_row: float) -> list[list[str]]:
    """Times of an evaluation on larger clusters, computed, not measured."""
    body = []
    size = 8 * CLASSES * (FEATURES + 1)  # bytes of parameters, and of a result
    for n in MODEL_WORKERS:
        parts = n * MODEL_PARTITIONS
        sums = MODEL_ROWS * seconds_per_row
        stragglers = sums * SPREAD * np.sqrt(2 * np.log(n))  # expected maximum of n normal variables, less the mean
        sent, results = n * (size + parts * NAME), parts * size
        scheduler, network = n * ANSWER, 4 * ROUND_TRIP + (sent + results) / BYTES_PER_SECOND
        total = sums + stragglers + scheduler + network
        times = [f"{1e3 * t:.0f}" for t in (sums, stragglers, scheduler)]
        sizes = [f"{1e-6 * s:.1f}" for s in (sent, results)]
        body.append(
            [str(n), f"{n * MODEL_ROWS:.0e}", *times, *sizes, f"{1e3 * network:.0f}", f"{1e3 * total:.0f}",
             f"{sums / total:.0%}"]
        )  # fmt: skip
    return body


def run(results: Results, rounds: int, scale: int) -> None:
    """Measure with a cluster of two workers; `scale` divides the rows."""
    from distributed import Client

    with Client(n_workers=WORKERS, threads_per_worker=1, dashboard_address=":0"):
        results.add_table("Overhead: the time of an evaluation of 50 rows in each partition", HEADER, overheads(rounds))
        both = evaluations(ROWS // scale, rounds)
    threads = f"{WORKERS} workers with one thread each (nbsoftmax), against one process with {WORKERS} threads"
    results.add(f"{threads}; {n_cores()} cores", list(both))
    title = (
        f"A model, not a measurement: {MODEL_ROWS:.0e} rows and {MODEL_PARTITIONS} partitions for each worker of "
        f"one thread, {BYTES_PER_SECOND / 1e9:g} GB/s at the client, {ANSWER * 1e3:g} ms of the scheduler for each "
        f"worker, {ROUND_TRIP * 1e3:g} ms for a message, times of workers that differ by {SPREAD:.0%} (standard "
        "deviation)"
    )
    seconds = WORKERS * both[0].times[IN_PROCESS].median / (ROWS // scale)
    results.add_table(title, MODEL_HEADER, model(seconds))
