"""Threads of our own that run one kernel together.

A kernel's first argument is `todo`, and its outermost loop

    task = take(todo)
    while task >= 0:
        ...
        task = take(todo)

Every thread runs the whole kernel, which lets go of the GIL, and takes tasks until none is left; the caller is one of
them. What is cut in tasks is cut by shape alone and each task writes to places of its own, so any number of threads
gives the same bits. Numba's `prange` would do the same, but compiles what is in the loop four times where this compiles
it once (a minute for the first fit of all), kills forked children, and may not be entered by two threads at once.
"""

import os
import queue
import threading

import numba
import numpy as np
from numba.core import types
from numba.extending import intrinsic

from nbsoftmax.kernels.runtime.jit import inlined

# A further thread for each so many multiply-adds (about 50 microseconds): waking one takes as long.
THREAD_WORK = 1_000_000
# What an exp and its surroundings take, in multiply-adds.
EXP_WORK = 20


@intrinsic
def _next(typingctx, todo):
    def codegen(context, builder, sig, args):
        data = context.make_array(sig.args[0])(context, builder, args[0]).data
        return builder.atomic_rmw("add", data, context.get_constant(types.int64, 1), "monotonic")

    return types.int64(todo), codegen


@inlined
def take(todo):
    """The number of a task that nobody has taken; -1 when there is none."""
    task = _next(todo)
    return task if task < todo[1] else -1


class _Share:
    """One thread's part in a launch: begun by a helper, or withdrawn when the others have done without."""

    def __init__(self, kernel, arguments):
        self.kernel, self.arguments = kernel, arguments
        self.claim, self.done, self.error = threading.Lock(), threading.Lock(), None
        self.done.acquire()

    def run(self):
        if self.claim.acquire(blocking=False):
            try:
                self.kernel(*self.arguments)
            except BaseException as error:  # the caller's to raise: a task may not have been done
                self.error = error
            finally:
                self.done.release()

    def settle(self):
        if not self.claim.acquire(blocking=False):
            self.done.acquire()
        if self.error is not None:
            raise self.error


def _start_afresh():
    """No helpers yet: at import, and in a forked child, which has inherited none."""
    global _shares, _n_helpers, _hiring
    _shares, _n_helpers, _hiring = queue.SimpleQueue(), 0, threading.Lock()


_start_afresh()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_start_afresh)


def _help(shares):
    while True:
        shares.get().run()  # keeps no reference: arrays live no longer than their launch


def _hire(n):
    """Have at least n helpers, or as many as the system gives."""
    global _n_helpers  # noqa: PLW0603
    with _hiring:
        while _n_helpers < n:
            try:
                threading.Thread(target=_help, args=(_shares,), name="nbsoftmax", daemon=True).start()
            except RuntimeError:  # no more threads, or Python is shutting down
                return
            _n_helpers += 1


def _threads_of_numba():
    """What `numba.get_num_threads()` returns, without starting Numba's own threads, which may be impossible."""
    try:
        numba.threading_layer()
    except ValueError:  # not started: `numba.set_num_threads`, which starts them, has not been called
        return numba.config.NUMBA_NUM_THREADS
    return numba.get_num_threads()


def launch(kernel, n_tasks, work, n_threads, *arguments):
    """Run `kernel(todo, *arguments)` for tasks of `work` multiply-adds in all.

    On at most `n_threads` threads, the calling one included; None: as many as Numba is set to. Small work stays in the
    calling thread. Safe from several threads at once, which share the helpers, and in forked children.
    """
    todo = np.array([0, n_tasks])
    n = min(n_tasks, 1 + work // THREAD_WORK)
    if n > 1:
        n = min(n, _threads_of_numba() if n_threads is None else n_threads)
    if n <= 1:
        kernel(todo, *arguments)
        return
    _hire(n - 1)
    shares = [_Share(kernel, (todo, *arguments)) for _ in range(n - 1)]
    for share in shares:
        _shares.put(share)
    try:
        kernel(todo, *arguments)
    finally:
        for share in shares:
            share.settle()
