"""Versions of the package and its dependencies, and facts about the machine, for bug reports."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import TextIO

NEEDED = ("numba", "llvmlite", "numpy", "scipy", "threadpoolctl")
OPTIONAL = ("scikit-learn", "matplotlib", "rich", "onnx", "pandas", "polars", "numba-cuda", "nvmath-python")


def show_versions(file: TextIO | None = None) -> None:
    """Print the versions of nbsoftmax, Python and its dependencies, and the CPU, vector width, threads and BLAS.

    Include the output in a bug report. Nothing is compiled.

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
            "cores": str(os.cpu_count()),
            "threads": str(numba.config.NUMBA_NUM_THREADS),  # type: ignore[attr-defined]
            "BLAS": "; ".join(blas) or "unknown",
        },
    }
    lines = [
        line
        for title, entries in sections.items()
        for line in ("", title, *(f"{name:>16}: {' '.join(value.split())}" for name, value in entries.items()))
    ]
    print("\n".join(lines), file=file)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
