"""Start-up times of a new process: python -m perf coldstart

The time of the import without that of Numba, of the first `Trainer.fit` with an empty and with a filled disk cache, and
of one loss + gradient of a small problem, where the Python code dominates. Medians of several processes in turn.
"""

import os
import statistics
import subprocess
import sys
import tempfile

IMPORT = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
EVERY_NAME = "import nbsoftmax as nbs; [getattr(nbs, name) for name in nbs.__all__]"
FIT = """
import time
t = time.perf_counter()
import nbsoftmax as nbs
from nbsoftmax.data import digits
X, y = digits.load()
nbs.Trainer(l2=1e-3).fit(X / 16, y)
print(time.perf_counter() - t)
"""
CALL = """
import time
import numpy as np
import nbsoftmax as nbs
rng = np.random.default_rng(0)
objective = nbs.Objective(rng.normal(size=(150, 4)), rng.integers(0, 3, 150))
params = np.zeros(objective.shape)
objective.value_and_grad(params)
best = float("inf")
for _ in range(20):
    t = time.perf_counter()
    for _ in range(1000):
        objective.value_and_grad(params)
    best = min(best, (time.perf_counter() - t) / 1000)
print(best)
"""


def seconds(script, cache):
    """Run a script in a new process, and return the number that it prints."""
    env = os.environ | {"NUMBA_CACHE_DIR": cache}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    return float(done.stdout)


def run(results, rounds):
    """Measure the start-up times, and print them."""
    with tempfile.TemporaryDirectory() as cache:
        pairs = [
            (
                seconds(IMPORT.format("import numba, scipy.linalg.cython_blas, threadpoolctl"), cache),
                seconds(IMPORT.format(EVERY_NAME), cache),
                seconds(IMPORT.format("import nbsoftmax"), cache),
            )
            for _ in range(rounds)
        ]
        numba, every, alone = (statistics.median(column) for column in zip(*pairs, strict=True))
        cold = seconds(FIT, cache)
        warm = statistics.median(seconds(FIT, cache) for _ in range(rounds))
        call = seconds(CALL, cache) * 1e6

    def bar(most, unit, value):
        return f"<= {most:g} {unit}: {'yes' if value <= most else 'NO'}"

    body = [
        ["import nbsoftmax", f"{alone:.3f} s", "modules are loaded when they are first used"],
        ["import of every public name", f"{every:.3f} s", f"numba and scipy take {numba:.3f} s of it"],
        ["... beyond numba and scipy", f"{every - numba:.3f} s", "-"],
        ["first fit of a process, empty cache", f"{cold:.2f} s, import included", bar(30, "s", cold)],
        ["first fit of a process, filled cache", f"{warm:.2f} s, import included", bar(1.5, "s", warm)],
        ["loss + gradient of 150 x 4 x 3", f"{call:.1f} microseconds a call", bar(20, "microseconds", call)],
    ]
    results.add_table("Start-up times of a new process", ["task", "time", "target, or remark"], body)
