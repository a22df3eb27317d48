"""Run all tests as on other CPUs: `make test-cpus`, or python -m tests.cpus [options of pytest].

Each run has a vector width and a number of threads; together they cover every width that this CPU supports, and 1 and
2 threads. `make test` covers the full width of this CPU with 4 threads.
"""

import os
import platform
import subprocess
import sys

from perf.widths import numba_settings

PRINT_WIDTH = "from nbsoftmax.kernels.lang.simd import VECTOR_BYTES; print(VECTOR_BYTES)"


def width_of(environment):
    """Vector width in bytes that a process with these environment variables uses."""
    command = [sys.executable, "-c", PRINT_WIDTH]
    return int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)


def environments():
    """Vector widths, numbers of threads, and environment variables that should result in them."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU_")}
    own = width_of(inherited)
    if platform.machine().lower() in {"x86_64", "amd64"}:
        widths = [width for width in (64, 32, 16) if width <= own]
    else:
        widths = [own]
    # The numbers of threads alternate; with a single width there are two runs.
    for n, width in enumerate(widths if len(widths) > 1 else widths * 2):
        n_threads = 1 + n % 2
        environment = inherited | {"NUMBA_NUM_THREADS": str(n_threads), "OPENBLAS_NUM_THREADS": str(n_threads)}
        if width < own:
            environment |= numba_settings(width)
        yield width, n_threads, environment


def main(options):
    """Run pytest in each environment; the exit status is 0 if all of them pass."""
    failed = []
    for width, n_threads, environment in environments():
        found = width_of(environment)
        run = f"vectors of {found} bytes, NUMBA_NUM_THREADS={n_threads}"
        print(f"--- {run}", flush=True)
        if found != width:
            failed.append(f"{run}: expected vectors of {width} bytes")
        elif subprocess.run([sys.executable, "-m", "pytest", *options], env=environment, check=False).returncode:
            failed.append(run)
    for run in failed:
        print(f"failed: {run}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
