"""The context of every compilation: garbage collection is off, and a message is logged after one second.

The message is a warning of the logger "nbsoftmax", which Python prints on standard error unless logging is configured
otherwise. The environment variable NBSOFTMAX_QUIET=1 suppresses it.
"""

import gc
import logging
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType

try:
    from numba.core.compiler_lock import global_compiler_lock
except ImportError:  # this name of Numba is not documented; without it, a fork waits for no compilation
    global_compiler_lock = threading.RLock()

# Seconds of compilation before the message.
PATIENCE = 1.0

_depth = 0  # number of nested compilations in progress
_collecting = False  # whether the garbage collector was on before the first of them
_announced = bool(os.environ.get("NBSOFTMAX_QUIET"))


@contextmanager
def compiling() -> Iterator[None]:
    """Surround a compilation, which holds Numba's global lock. A compilation may begin inside another.

    The compiler makes millions of objects and few cycles; the cyclic garbage collector took a tenth of the time.
    """
    global _depth, _collecting  # noqa: PLW0603
    timer = threading.Timer(PATIENCE, announce)
    timer.daemon = True
    outermost = _depth == 0
    _depth += 1
    try:
        if outermost:
            _collecting = gc.isenabled()
            gc.disable()
            if not _announced:
                with suppress(RuntimeError):  # the system has no more threads
                    timer.start()
        yield
    finally:
        _depth -= 1
        if outermost:
            if _collecting:
                gc.enable()  # first: Ctrl-C may end the call after it
            timer.cancel()


@contextmanager
def interrupted_later() -> Iterator[None]:
    """Within this context Ctrl-C has no effect; its handler is called at the end.

    Nothing changes outside the main thread, where Python calls no signal handlers.
    """
    handler = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(handler):
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    try:
        signal.signal(signal.SIGINT, lambda number, frame: came.append((number, frame)))
        yield
    finally:
        signal.signal(signal.SIGINT, handler)
        if came:
            handler(*came[0])


def find_folder() -> object:
    """The folder of compiled code, for the message; `runtime.jit` replaces this function by that of the cache."""
    return None


def announce() -> None:
    """Log the message, once in a process."""
    global _announced  # noqa: PLW0603
    if _announced:
        return
    _announced = True
    folder = find_folder()
    if folder:
        once = f"once; later processes load them from {folder}. `nbsoftmax warmup` does it in advance."
    else:
        once = "once in each process, since no folder for them is writable; set NUMBA_CACHE_DIR to a writable folder."
    with suppress(Exception):  # standard error may be closed
        logging.getLogger("nbsoftmax").warning("nbsoftmax is compiling kernels for this processor, %s", once)


def _wait_for_compilation() -> None:
    """Before a fork: a child would wait for ever for Numba's lock, and LLVM's, if another thread holds them."""
    global_compiler_lock.acquire()


def _continue() -> None:
    """After the fork, in the parent and in the child."""
    with suppress(RuntimeError):  # Ctrl-C ended the wait
        global_compiler_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_wait_for_compilation, after_in_parent=_continue, after_in_child=_continue)
