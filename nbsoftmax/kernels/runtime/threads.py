"""A thread pool that runs one kernel on several threads.

A kernel's first argument is `todo`, and its outermost loop

    task = take(todo)
    while task >= 0:
        ...
        task = take(todo)

Every thread, including the caller, runs the whole kernel without the GIL and takes tasks until none is left. The tasks
depend only on the shapes of the data, and each writes to its own part of the output, so the results have the same bits
for any number of threads. Numba's `prange` has disadvantages: it compiles the body of the loop four times (which makes
the first fit a minute slower), it kills forked children, and two threads must not enter it at the same time.
"""

import math
import os
import queue
import threading
import time
from collections import deque
from contextlib import suppress

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from nbsoftmax.kernels.runtime import ahead
from nbsoftmax.kernels.runtime.jit import inlined
from nbsoftmax.kernels.runtime.looking import CAN_YIELD, look, looks_in
from nbsoftmax.kernels.runtime.quota import cpu_limit

# Multiply-adds for which one more thread is used: 50 to 100 microseconds. A thread takes as long to wake up. On Intel
# Xeons, two threads took 1.2 to 1.4 times as long as one for 1e6 multiply-adds, and 0.7 to 1 times as long for 2e6.
THREAD_WORK = 2_000_000
# Cost of an exp and the operations around it, in multiply-adds.
EXP_WORK = 20

# How long, in seconds, helper threads look for the next launch before they sleep, and callers for the end of theirs:
# between the passes of a fit, Python and NumPy take 50 to 200 microseconds. At most so many helpers look at a time:
# launches with little work use few.
WAIT, MOST_LOOKING = 200e-6, 3 if CAN_YIELD else 0

# What a kernel returns if it has waited long for other threads (`phases`): it is called again after a pause in seconds.
WAITED, PAUSE = -2, 1e-4


@intrinsic
def _next(typingctx, todo):
    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, context.get_constant(types.int64, 1), "monotonic")

    return types.int64(todo), codegen


@inlined
def take(todo):
    """Take the next task: return its number, or -1 if none is left."""
    task = _next(todo)
    return task if task < todo[1] else -1


def _complete(kernel, arguments):
    """Call a kernel until no task is left for this thread."""
    try:
        while kernel(*arguments) == WAITED:
            time.sleep(PAUSE)
    except BaseException:
        todo = arguments[0]
        todo[0] = todo[1]  # nothing else begins: other threads would wait for a task of this one that never ends
        raise


class _Run:
    """One run of the kernel in a launch. A helper thread runs it, unless the caller finishes all tasks before."""

    def __init__(self, kernel, arguments):
        self.kernel, self.arguments = kernel, arguments
        self.claim, self.done, self.error = threading.Lock(), threading.Lock(), None
        self.ended = np.zeros(1, np.int64)
        self.done.acquire()

    def run(self):
        if self.claim.acquire(blocking=False):
            try:
                _complete(self.kernel, self.arguments)
            except BaseException as error:  # the caller raises it: a task may not have been completed
                self.error = error
            finally:
                self.done.release()

    def finish(self):
        """Wait for the end of the run, unless it has not begun; returns its error, or None."""
        if self.claim.acquire(blocking=False):
            del self.kernel, self.arguments  # now: a helper may take the run off the queue much later
        else:
            if _looks:
                look(np.zeros(1, np.int64), self.ended, *_looks)
            self.done.acquire()
        return self.error


class _Signal:
    """What a helper thread looks at: flag[0] is 1 if there may be a run for it."""

    def __init__(self):
        self.flag = np.zeros(1, np.int64)


def _reset_helpers():
    """Begin with no helper threads: at import, and in a forked child, which inherits no threads."""
    global _runs, _looking, _n_helpers, _starting
    _runs, _looking, _n_helpers, _starting = queue.SimpleQueue(), deque(), 0, threading.Lock()


_reset_helpers()
_looks = ()  # what `looks_in` gives; not known yet
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_reset_helpers)


def _serve(runs, looking):
    """Run what is launched; `looking` are the signals of the helpers that look for the next launch."""
    global _looks  # noqa: PLW0603
    signal = _Signal()
    while True:
        run = runs.get()
        run.run()
        ended = run.ended
        del run  # so that arrays can be freed after their launch
        if len(looking) >= MOST_LOOKING or not runs.empty():
            ended[0] = 1
            continue
        if not _looks:
            _looks = looks_in(WAIT)
        signal.flag[0] = 0
        looking.append(signal)
        if runs.empty():  # whoever launches from now on sees the signal
            look(ended, signal.flag, *_looks)
        ended[0] = 1
        with suppress(ValueError):  # a launch has taken it
            looking.remove(signal)


def _start_helpers(n):
    """Start helper threads until there are n, or as many as the system allows; return how many of n there are."""
    global _n_helpers  # noqa: PLW0603
    with _starting:
        while _n_helpers < n:
            try:
                threading.Thread(target=_serve, args=(_runs, _looking), name="nbsoftmax", daemon=True).start()
            except RuntimeError:  # no more threads, or Python is shutting down
                break
            _n_helpers += 1
        return min(n, _n_helpers)


def default_threads():
    """Number of threads unless a caller gives another: Numba's.

    If no user has set that number, it is the number of cores, and a limit of CPU time is observed too.
    """
    try:
        numba.threading_layer()
        n = numba.get_num_threads()
    except ValueError:  # Numba's own threads have not been started, which `numba.set_num_threads` does
        n = numba.config.NUMBA_NUM_THREADS
    if n == numba.config.NUMBA_DEFAULT_NUM_THREADS and "NUMBA_NUM_THREADS" not in os.environ:
        n = math.ceil(min(n, cpu_limit()))
    return n


def launch(kernel, n_tasks, work, n_threads, *arguments):
    """Run `kernel(todo, *arguments)` for `n_tasks` tasks, which take `work` multiply-adds in total.

    At most `n_threads` threads are used, including the calling one; None means `default_threads()`. Little work
    stays in the calling thread. Several threads may call this function at once (they share the helpers), and so may
    forked children.
    """
    launch_tasks(kernel, np.array([0, n_tasks], np.int64), work, n_threads, *arguments)


def launch_tasks(kernel, todo, work, n_threads, *arguments):
    """Run `kernel(todo, *arguments)` for the todo[1] tasks of an array `todo`, as `launch`."""
    if ahead.recording(kernel, (todo, *arguments)):
        return
    n = min(int(todo[1]), 1 + work // THREAD_WORK)
    if n > 1:
        n = min(n, default_threads() if n_threads is None else n_threads)
    if n <= 1:
        _complete(kernel, (todo, *arguments))
        return
    # Without a thread to take it, a run would stay in the queue, and keep the arrays of its arguments.
    runs = [_Run(kernel, (todo, *arguments)) for _ in range(_start_helpers(n - 1))]
    for run in runs:
        _runs.put(run)
        with suppress(IndexError):
            _looking.pop().flag[0] = 1
    try:
        _complete(kernel, (todo, *arguments))
    finally:
        errors = [run.finish() for run in runs]  # all helpers, before the arrays of the arguments may go
    for error in errors:
        if error is not None:
            raise error
