"""The whole suite as on other CPUs: `make test-cpus`, or python tests/cpus.py [pytest's options].

Each run takes a width of vectors and a number of threads; together they cover every width that this CPU has, and 1 and
2 threads. `make test` covers this CPU's own width with 4 threads.
"""

import os
import platform
import subprocess
import sys

# Width of vectors in bytes: name and features of a CPU that has no wider ones, as Numba takes them.
NARROWER = {
    32: ("znver3", "+avx,+avx2,+fma,+bmi,+bmi2,+f16c,+sse4.2,+popcnt,+lzcnt"),
    16: ("generic", "+sse2"),  # what every x86-64 CPU has: no fused multiply-add, no rounding instruction
}
PRINT_WIDTH = "from nbsoftmax.kernels.lang.simd import VECTOR_BYTES; print(VECTOR_BYTES)"


def width_of(environment):
    """Width of the vectors that a process with this environment uses, in bytes."""
    command = [sys.executable, "-c", PRINT_WIDTH]
    return int(subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True).stdout)


def environments():
    """Widths, numbers of threads and the environments that should give them."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_CPU_")}
    own = width_of(inherited)
    if platform.machine().lower() in {"x86_64", "amd64"}:
        widths = [width for width in (64, 32, 16) if width <= own]
    else:
        widths = [own]
    # The numbers of threads alternate; a CPU of one width takes both.
    for n, width in enumerate(widths if len(widths) > 1 else widths * 2):
        n_threads = 1 + n % 2
        environment = inherited | {"NUMBA_NUM_THREADS": str(n_threads), "OPENBLAS_NUM_THREADS": str(n_threads)}
        if width < own:
            environment["NUMBA_CPU_NAME"], environment["NUMBA_CPU_FEATURES"] = NARROWER[width]
        yield width, n_threads, environment


def main(options):
    """Run pytest in each environment; the exit status is 0 if all of them pass."""
    failed = []
    for width, n_threads, environment in environments():
        found = width_of(environment)
        run = f"vectors of {found} bytes, NUMBA_NUM_THREADS={n_threads}"
        print(f"--- {run}", flush=True)
        if found != width:
            failed.append(f"{run}: {width} bytes were asked for")
        elif subprocess.run([sys.executable, "-m", "pytest", *options], env=environment, check=False).returncode:
            failed.append(run)
    for run in failed:
        print(f"failed: {run}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
