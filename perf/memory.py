"""Peak memory of one loss + gradient, without its data, in a new process. Linux only, because it reads /proc."""

import subprocess
import sys
from pathlib import Path

from perf.report import Results

SHAPE = (2_000_000, 20, 1000)  # the logits would take 8 GB
SCRIPT = """
import ctypes
import sys
from pathlib import Path
import numpy as np
import nbsoftmax as nbs
m, n, k = map(int, sys.argv[1:])

def status(name):
    text = Path("/proc/self/status").read_text()
    return int(text.split(name + ":")[1].split()[0]) * 1024

rng = np.random.default_rng(0)
params = rng.normal(size=(k, n + 1))
y = rng.integers(0, k, m)
X = rng.standard_normal((m, n), np.float32)
few = nbs.Objective(X[:64], y[:64], n_classes=k)
few.value_and_grad(params)  # compiles; with few rows, it leaves little free memory that the next call could use
objective = nbs.Objective(X, y, n_classes=k)
ctypes.CDLL(None).malloc_trim(0)  # return free memory to the system, or the call could use it unnoticed
Path("/proc/self/clear_refs").write_text("5")  # reset the peak
before = status("VmRSS")
objective.value_and_grad(params)
print(status("VmHWM") - before)
"""


def run(results: Results, scale: int) -> None:
    """Measure the peak memory, and print it; `scale` divides the rows."""
    if not Path("/proc/self/clear_refs").exists():
        print("\npeak memory is measured on Linux only and is skipped")
        return
    m, n_features, n_classes = SHAPE[0] // scale, *SHAPE[1:]
    shape = [str(m), str(n_features), str(n_classes)]
    done = subprocess.run([sys.executable, "-c", SCRIPT, *shape], capture_output=True, text=True, check=True)
    peak, allowed = int(done.stdout), 64 * 2**20 + 4 * 8 * n_classes * (n_features + 1)
    results.add_table(
        "Peak memory of one loss + gradient, without its data",
        ["work", "dtype", "MB", "bar: 64 MB + 4 copies of params"],
        [
            [
                " x ".join(shape),
                "float32",
                f"{peak / 2**20:.1f}",
                f"<= {allowed / 2**20:.1f}: {'yes' if peak <= allowed else 'NO'}",
            ]
        ],
    )
