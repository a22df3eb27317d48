"""Versions of the package and its dependencies, and facts about the machine, for bug reports."""

from __future__ import annotations

import math
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TextIO

NEEDED = ("numba", "llvmlite", "numpy", "scipy", "threadpoolctl")
# Packages of the extras for users, and packages whose arrays, tables or files are accepted.
OPTIONAL = (
    "scikit-learn", "joblib", "matplotlib", "rich", "onnx", "onnxruntime", "pyarrow", "pandas", "polars", "dask",
    "distributed", "formulaic", "hypothesis", "torch", "cupy", "numba-cuda", "nvmath-python", "nvidia-cublas",
)  # fmt: skip
# Other names under which these are distributed.
OTHER_NAMES = {
    "cupy": ("cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x"),
    "nvidia-cublas": ("nvidia-cublas-cu12", "nvidia-cublas-cu13"),
}
# Environment variables with these beginnings change threads, compilation or messages.
SETTINGS = (
    "NUMBA_", "NBSOFTMAX_", "OMP_", "OPENBLAS_", "MKL_", "BLIS_", "VECLIB_", "GOTO_", "CUDA_VISIBLE_DEVICES",
)  # fmt: skip


def show_versions(file: TextIO | None = None) -> None:
    """Print the versions of nbsoftmax, Python and its dependencies, and the CPU, vector width, threads and BLAS.

    The folder of compiled code and environment variables that affect computations are printed, too. Include the output
    in a bug report. Nothing is compiled.

    Parameters
    ----------
    file : text file, optional
        File to print to; standard output by default.
    """
    import numba
    import scipy.linalg.cython_blas  # noqa: F401  loads the BLAS that the kernels call
    from llvmlite import binding
    from threadpoolctl import threadpool_info

    from nbsoftmax import __version__
    from nbsoftmax.kernels.lang.simd import VECTOR_BYTES
    from nbsoftmax.kernels.runtime.cache import cache_folder
    from nbsoftmax.kernels.runtime.quota import cpu_limit
    from nbsoftmax.kernels.runtime.threads import default_threads

    limit = f", CPU time of {cpu_limit():g}" if math.isfinite(cpu_limit()) else ""
    blas = [
        f"{pool['internal_api']} {pool['version']}, {pool['num_threads']} threads, {pool['filepath']}"
        for pool in threadpool_info()
        if pool["user_api"] == "blas"
    ]
    sections = {
        "System": {
            "nbsoftmax": __version__,
            "python": sys.version,
            "executable": sys.executable,
            "machine": platform.platform(),
        },
        "Packages": {name: _version(name) for name in NEEDED},
        "Optional packages": {name: _version(name) for name in OPTIONAL},
        "Computing": {
            "CPU": str(numba.config.CPU_NAME or binding.get_host_cpu_name()),  # type: ignore[attr-defined]
            "vector": f"{VECTOR_BYTES} bytes",
            "cores": f"{os.cpu_count()}, {_usable_cores()} of them usable{limit}",
            "threads": str(default_threads()),
            "BLAS": "; ".join(blas) or "unknown",
            "compiled code": str(cache_folder() or "not stored on disk"),
        },
        "Environment variables": _settings() or {"none": "of those that change threads, compilation or messages"},
    }
    width = max(16, *(len(name) + 2 for entries in sections.values() for name in entries))
    lines = [
        line
        for title, entries in sections.items()
        for line in ("", title, *(f"{name:>{width}}: {' '.join(value.split())}" for name, value in entries.items()))
    ]
    print("\n".join(lines), file=file)


def _version(package: str) -> str:
    for name in (package, *OTHER_NAMES.get(package, ())):
        try:
            return version(name) if name == package else f"{version(name)} ({name})"
        except PackageNotFoundError:
            continue
    return "not installed"


def _usable_cores() -> int | None:
    """Number of cores that this process may use, where the system says so."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _settings() -> dict[str, str]:
    return {name: value for name, value in sorted(os.environ.items()) if name.startswith(SETTINGS)}
