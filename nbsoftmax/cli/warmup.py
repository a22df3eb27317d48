"""`nbsoftmax warmup`: compile all kernels in advance, on all cores, and store them in the disk cache."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

from nbsoftmax.cli.output import print_report

if TYPE_CHECKING:
    import argparse
    from pathlib import Path


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `warmup`."""
    command.add_argument(
        "--dtype",
        default="both",
        choices=["float64", "float32", "both"],
        help="dtype of the data; float32 includes float64, in which a fit evaluates its result (default: both)",
    )
    command.add_argument("--jobs", type=int, help="number of processes (default: one for each core)")


def run(arguments: argparse.Namespace) -> int:
    """Compile the kernels; exit with 1 if they cannot be stored."""
    from nbsoftmax import validation
    from nbsoftmax.kernels.runtime.cache import cache_folder
    from nbsoftmax.kernels.runtime.threads import default_threads

    jobs = validation.count("--jobs", default_threads() if arguments.jobs is None else arguments.jobs)
    folder = cache_folder()
    if folder is None:
        print_report(
            arguments,
            ["no folder for compiled kernels is writable; set NUMBA_CACHE_DIR to a writable folder, or set HOME."],
            {"folder": None, "compiled": 0},
        )
        return 1
    started, before = time.perf_counter(), _entries(folder)
    _compile(["float64"] if arguments.dtype == "float64" else ["float64", "float32"], jobs)
    stored, seconds = _entries(folder), time.perf_counter() - started
    new = sorted(stored - before)
    lines = [f"compiled {name}" for name in new]
    lines.append(f"{len(new)} kernels compiled in {seconds:.1f} s, {len(stored)} stored in {folder}")
    facts = {"folder": str(folder), "compiled": len(new), "stored": len(stored), "seconds": seconds}
    print_report(arguments, lines, facts)
    return 0 if stored else 1


def _compile(dtypes: list[str], jobs: int) -> None:
    """Run all tasks in `jobs` processes, because one process compiles one kernel at a time."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    from nbsoftmax.training import warmup

    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn"), initializer=_prepare) as pool:
        work = [pool.submit(warmup.run, task) for dtype in dtypes for task in warmup.tasks(dtype)]
        try:
            for task in work:
                task.result()
            for task in [pool.submit(warmup.check, dtype) for dtype in dtypes]:
                task.result()
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


def _prepare() -> None:
    """Let a process of the pool compile what it is told alone, without a message."""
    os.environ.update(NBSOFTMAX_QUIET="1", NBSOFTMAX_HELPERS="0")


def _entries(folder: Path) -> set[str]:
    return {path.stem for path in folder.glob("*.nbc")}
