"""How every kernel is compiled and started: one decorator and one launcher.

Compiled code is kept on disk where Numba finds a folder that it may write to, and in memory otherwise.
A kernel is a function with loops over `prange`, compiled twice at most: to run in the calling thread, and to spread
those loops over threads. What it cuts in pieces it cuts by shape alone, so both give the same bits.
"""

import os
import threading
import warnings
from contextlib import contextmanager, nullcontext
from types import FunctionType
from typing import Any, NamedTuple

import numba

# No flags beyond the fused multiply-add: kernels meet inf and NaN, and sums must keep their order.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def jit(function=None, **options):
    """`numba.njit` with this project's options, cached on disk where that is possible."""
    if function is None:
        return lambda f: jit(f, **options)
    options = _OPTIONS | options
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # no folder for the cache is writable: compile in each process
        return numba.njit(**options)(function)


def inlined(function):
    """A helper that disappears into its callers."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)


class Kernel(NamedTuple):
    """One function, compiled for the calling thread and for many."""

    serial: Any
    parallel: Any


def kernel(function):
    """Make a `Kernel` of a function whose outer loops go over `prange`."""

    def named(suffix):
        # Numba's disk cache knows a function by its name and its source, but not by its options.
        copy = FunctionType(function.__code__, function.__globals__, function.__name__ + suffix)
        copy.__qualname__ = function.__qualname__ + suffix
        copy.__module__, copy.__doc__ = function.__module__, function.__doc__
        return copy

    return Kernel(jit(named("_serial")), jit(named("_parallel"), parallel=True))


# Below this many multiply-adds (about 50 microseconds) a kernel runs in the calling thread: starting threads takes
# some 10 microseconds where the machine is idle, and milliseconds where another process holds the cores.
SERIAL_WORK = 1_000_000

# A kernel uses all threads that it may, so two at once gain nothing; and Numba's `workqueue` layer aborts the
# process when two threads start a parallel region at the same time.
_launches = threading.Lock()
_parallel_pid = None


def _forget_launches():
    # A lock that another thread held at the fork would stay locked in the child for ever.
    global _launches  # noqa: PLW0603
    _launches = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_launches)


@contextmanager
def _short_spins():
    """Let GNU OpenMP, which reads its settings when Numba loads it, give up a core soon after it has run out of work.

    By default its threads spin for milliseconds. Where another process wants a core, that uses up their share of it:
    a fit of 130 evaluations took 3.3 s beside one busy process, and 0.1 s with short spins; alone the two are equal.
    """
    if any(name in os.environ for name in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")):
        yield  # the user has decided
        return
    os.environ["GOMP_SPINCOUNT"] = "1000"
    try:
        yield
    finally:
        del os.environ["GOMP_SPINCOUNT"]


def launch(kernel, work, n_threads, *args):
    """Run one kernel: in the calling thread for small work or one thread, in parallel otherwise.

    In a process forked from one that has run parallel code, the threads of that code are gone (OpenMP would
    kill the child), so everything runs serially there, with one warning.
    """
    global _parallel_pid  # noqa: PLW0603
    if n_threads is None:
        n_threads = numba.get_num_threads()
    if n_threads == 1 or work < SERIAL_WORK:
        return kernel.serial(*args)
    pid = os.getpid()
    if _parallel_pid not in (None, pid):
        if _parallel_pid != -pid:
            warnings.warn(
                "this process was forked from one that had already run parallel kernels; it runs them on one thread "
                "(multiprocessing's 'spawn' or 'forkserver' start method keeps all of them)",
                RuntimeWarning,
                stacklevel=3,
            )
            _parallel_pid = -pid
        return kernel.serial(*args)
    with _launches, _short_spins() if _parallel_pid is None else nullcontext():
        _parallel_pid = pid
        before = numba.get_num_threads()
        numba.set_num_threads(n_threads)
        try:
            return kernel.parallel(*args)
        finally:
            numba.set_num_threads(before)
