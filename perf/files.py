"""Fits from files: python -m perf files

Each format in a process of its own: the private memory of a fit (RssAnon of /proc, so Linux only), the time of reading
and decoding alone, of an evaluation from the file and of one in memory, and the objective beside that of memory. Times
are the shortest of three passes; CPU times, of all threads, are disturbed less by other programs.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from perf.report import Results

N_FEATURES, N_CLASSES, BYTES = 100, 10, 4 * 10**9
FORMATS = {"npy": "X.npy", "Arrow, lists": "lists.arrow", "Arrow, columns": "columns.arrow", "Parquet": "x.parquet"}
CHILD = """
import json, sys, threading, time
from pathlib import Path
import numpy as np
import nbsoftmax as nbs
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import problem_of

folder, name = Path(sys.argv[1]), sys.argv[2]
memory = []

def private():
    return int(Path("/proc/self/status").read_text().split("RssAnon:")[1].split()[0]) * 1024

def watch(end):
    while not end.wait(0.02):
        memory.append(private())

def shortest(work):
    found = []
    for _ in range(3):
        start = time.perf_counter(), time.process_time()
        work()
        found.append((time.perf_counter() - start[0], time.process_time() - start[1]))
    return [min(column) for column in zip(*found)]

def through(source):
    for block in source.blocks():
        block.X[-1]

y = folder / "y.npy"
if name == "memory":
    data = np.load(folder / "X.npy"), np.load(y)
elif name == "X.npy":
    data = nbs.data.open(folder / name, target=y), None
else:
    data = nbs.data.open(folder / name, target="label"), None
end = threading.Event()
watcher = threading.Thread(target=watch, args=(end,))
watcher.start()
result = nbs.Trainer(l2=1e-4, tol=1e-6).fit(*data)
end.set()
watcher.join()
objective = PenalizedLoss(result.problem, ObjectiveOptions())
params = np.random.default_rng(0).normal(size=objective.shape) / 10
found = {"evaluation": shortest(lambda: objective.value_and_grad(params)), "memory": max(memory)}
found |= {"objective": result.objective, "n_iter": result.n_iter, "seconds": result.seconds}
found["reading"] = [0.0, 0.0] if name == "memory" else shortest(lambda: through(data[0]))
exact = nbs.Trainer(l2=1e-4, tol=1e-11).fit(result.problem, init=result)
print(json.dumps(found | {"minimum": exact.objective, "summary": result.summary}))
"""


def write(folder: Path, n_bytes: int) -> int:
    """Write the same rows in all formats; returns their number."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(0)
    n, step = n_bytes // (4 * N_FEATURES), 2**17
    coef = rng.normal(size=(N_FEATURES, N_CLASSES)).astype(np.float32) / 5
    X = np.lib.format.open_memmap(folder / "X.npy", "w+", np.float32, (n, N_FEATURES))
    y = np.empty(n, np.int64)
    names = [f"x{j}" for j in range(N_FEATURES)]
    columns = pa.schema([*((name, pa.float32()) for name in names), ("label", pa.int64())])
    lists = pa.schema([("X", pa.list_(pa.float32(), N_FEATURES)), ("label", pa.int64())])
    with (
        pa.ipc.new_file(folder / "lists.arrow", lists) as of_lists,
        pa.ipc.new_file(folder / "columns.arrow", columns) as of_columns,
        pq.ParquetWriter(folder / "x.parquet", columns) as of_parquet,
    ):
        for start in range(0, n, step):
            part = rng.normal(size=(min(step, n - start), N_FEATURES)).astype(np.float32)
            labels = (part @ coef + rng.gumbel(size=(len(part), N_CLASSES))).argmax(axis=1)
            X[start : start + step], y[start : start + step] = part, labels
            rows = pa.FixedSizeListArray.from_arrays(pa.array(part.reshape(-1)), N_FEATURES)
            of_lists.write_batch(pa.record_batch([rows, labels], schema=lists))
            batch = pa.record_batch([*(pa.array(column) for column in part.T.copy()), labels], schema=columns)
            of_columns.write_batch(batch)
            of_parquet.write_batch(batch)
    X.flush()
    np.save(folder / "y.npy", y)
    return n


def measure(folder: Path, name: str) -> dict[str, Any]:
    """The numbers of one format, in a process of its own."""
    done = subprocess.run([sys.executable, "-c", CHILD, str(folder), name], capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def run(results: Results, scale: int) -> None:
    """Measure all formats, and print the table; `scale` divides the bytes."""
    if not Path("/proc/self/status").exists():
        print("\nprivate memory is measured on Linux only and is skipped")
        return
    with tempfile.TemporaryDirectory(prefix="nbsoftmax-files-") as name:
        folder = Path(name)
        n = write(folder, BYTES // scale)
        whole = measure(folder, "memory")
        body = [_line("in memory", whole, whole)]
        body += [_line(kind, measure(folder, file), whole) for kind, file in FORMATS.items()]
    results.add_table(
        f"Fits from files: {n} x {N_FEATURES} x {N_CLASSES}, float32",
        ["format", "fit s", "private MB", "reading s (CPU)", "evaluation s (CPU)", "rate", "minimum, relative"],
        body,
    )


def _line(kind: str, found: dict[str, Any], whole: dict[str, Any]) -> list[str]:
    reading, evaluation = found["reading"], found["evaluation"]
    # Bar: 0.8 of the rate of the slower of reading alone and an evaluation in memory.
    rate = max(reading[0], whole["evaluation"][0]) / evaluation[0]
    return [
        kind,
        f"{found['seconds']:.1f} ({found['n_iter']} iterations)",
        f"{found['memory'] / 1e6:.0f}",
        "{:.2f} ({:.2f})".format(*reading),
        "{:.2f} ({:.2f})".format(*evaluation),
        f"{rate:.2f}",
        f"{found['minimum'] / whole['minimum'] - 1:.1e}",
    ]
