"""Start-up times of a new process: python -m perf coldstart

The time of the import without that of Numba, of the first `Trainer.fit` with an empty and with a filled disk cache, and
of one loss + gradient of a small problem, where the Python code dominates. Medians of several processes in turn; beside
the wall times the CPU times, which other programs disturb less, and their minima.
"""

import compileall
import contextlib
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import nbsoftmax

CLOCKS = """
import time
def clocks():
    return time.perf_counter(), time.process_time()
def passed(start):
    print(*(now - then for now, then in zip(clocks(), start)))
"""
IMPORT = CLOCKS + "start = clocks(); {}; passed(start)"
TRAINER = "import nbsoftmax; nbsoftmax.Trainer"
EVERY_NAME = "import nbsoftmax as nbs; [getattr(nbs, name) for name in nbs.__all__]"
DIGITS = (
    CLOCKS
    + """
import nbsoftmax as nbs
from nbsoftmax.data import digits
trainer = nbs.Trainer(l2=1e-3)
X, y = digits.load()
start = clocks()
{}
passed(start)
"""
)
FIT = DIGITS.format("trainer.fit(X / 16, y)")
PREDICT = DIGITS.format("trainer.fit(X / 16, y).model.predict(X / 16)")
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
print(best, best)
"""


def seconds(script, cache, helpers="1"):
    """Run a script in a new process, and return the two numbers that it prints: wall time and CPU time."""
    env = os.environ | {"NUMBA_CACHE_DIR": cache, "NBSOFTMAX_QUIET": "1", "NBSOFTMAX_HELPERS": helpers}
    done = subprocess.run([sys.executable, "-c", script], env=env, capture_output=True, text=True, check=True)
    wall, cpu = map(float, done.stdout.split())
    return wall, cpu


def run(results, rounds):
    """Measure the start-up times, and print them.

    The bytecode is compiled first, as pip does when it installs a package: a process that may not write it would
    compile 200 modules in each import.
    """
    compileall.compile_dir(Path(nbsoftmax.__file__).parent, quiet=1)
    times = {}
    with tempfile.TemporaryDirectory() as filled:
        for turn in range(rounds):
            with contextlib.ExitStack() as folders:
                empty, other, third, last = (folders.enter_context(tempfile.TemporaryDirectory()) for _ in range(4))
                tasks = {
                    "numba": (IMPORT.format("import numba"), filled),
                    "every": (IMPORT.format(EVERY_NAME), filled),
                    "alone": (IMPORT.format("import nbsoftmax"), filled),
                    "trainer": (IMPORT.format(TRAINER), filled),
                    "cold": (FIT, empty if turn else filled),
                    "alone cold": (FIT, other, "0"),
                    "predict": (PREDICT, third),
                    "alone predict": (PREDICT, last, "0"),
                    "warm": (FIT, filled),
                    "call": (CALL, filled),
                }
                for name, task in tasks.items():
                    times.setdefault(name, []).append(seconds(*task))

    def row(name, what, remark, most=None):
        wall, cpu = (statistics.median(column) for column in zip(*times[name], strict=True))
        least = min(cpu for _, cpu in times[name])
        if most is not None:
            remark = f"<= {most:g} s: {'yes' if wall <= most else 'NO'}; {remark}"
        return [what, f"{wall:.3f} s", f"{cpu:.3f} s", f"{least:.3f} s", remark]

    call = min(wall for wall, _ in times["call"]) * 1e6
    body = [
        row("alone", "import nbsoftmax", "modules are loaded when they are first used"),
        row("numba", "import numba", "contained in the next two"),
        row("trainer", "import of nbsoftmax.Trainer", "-", 0.4),
        row("every", "import of every public name", "with scipy.special"),
        row("cold", "first fit, empty cache", "digits, beyond imports", 10),
        row("alone cold", "the same without helper processes", "NBSOFTMAX_HELPERS=0"),
        row("predict", "first fit and predictions, empty cache", "digits"),
        row("alone predict", "the same without helper processes", "NBSOFTMAX_HELPERS=0"),
        row("warm", "first fit of a later process", "digits, beyond imports", 0.3),
        [
            "loss + gradient of 150 x 4 x 3",
            f"{call:.1f} us a call",
            "-",
            "-",
            f"<= 20: {'yes' if call <= 20 else 'NO'}",
        ],
    ]
    header = ["task", "wall", "CPU", "least CPU", "target, or remark"]
    results.add_table("Start-up times of a new process", header, body)
