"""Time of loss + gradient as a function of rows, features, classes and threads: python -m perf scaling"""

import nbsoftmax as nbs
from perf import peers
from perf.objective import problem
from perf.report import Results
from perf.timing import interleave, n_cores

BASE = {"rows": 100_000, "features": 64, "classes": 10}
SERIES = {
    "rows": (100, 1_000, 10_000, 100_000, 1_000_000),
    "features": (4, 16, 64, 256, 1024),
    "classes": (2, 5, 10, 30, 100, 300, 1000),
}
HEADER = ["rows", "features", "classes", "threads", "ms", "spread", "ns / row", "GFLOP/s", "GB/s of X"]


def run(results: Results, rounds: int, scale: int) -> None:
    """Make a table for each of the four; `scale` divides the rows."""
    for varied, values in SERIES.items():
        body = []
        for value in values:
            shape = BASE | {varied: value}
            body.append(measure(max(1, shape["rows"] // scale), shape["features"], shape["classes"], n_cores(), rounds))
        results.add_table(f"Cost against {varied}, float64", HEADER, body)
    rows = BASE["rows"] // scale
    doublings = [2**i for i in range(n_cores().bit_length()) if 2**i < n_cores()]
    body = [measure(rows, 256, 30, n_threads, rounds) for n_threads in [*doublings, n_cores()]]
    results.add_table("Cost against threads, float64", HEADER, body)


def measure(m: int, n_features: int, n_classes: int, n_threads: int, rounds: int) -> list[str]:
    """Measure one line of a table."""
    X, y, params = problem(m, n_features, n_classes, "float64")
    objective = nbs.Objective(X, y, n_classes=n_classes, n_threads=n_threads)
    times = interleave({peers.OURS: lambda: objective.value_and_grad(params)}, rounds)[peers.OURS]
    seconds = times.median
    return [
        *map(str, (m, n_features, n_classes, n_threads)),
        f"{seconds * 1e3:.3f}",
        times.around,
        f"{seconds / m * 1e9:.1f}",
        f"{4.0 * X.size * n_classes / seconds / 1e9:.1f}",
        f"{X.nbytes / seconds / 1e9:.1f}",
    ]
