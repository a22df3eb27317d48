"""What happens around the compilation of a kernel: no garbage collection, and a message if it takes long."""

import gc
import logging
import os
import threading
from contextlib import contextmanager, suppress

# Seconds of compilation after which the message is logged.
PATIENCE = 1.0
MESSAGE = "nbsoftmax: compiling kernels for this processor, which happens once; later calls load them from the disk."

_log = logging.getLogger("nbsoftmax.compiling")
_depth = 0
_collecting = False  # whether the garbage collector was on before the compilation


@contextmanager
def compiling():
    """Surround a compilation, which holds Numba's global lock; may be nested.

    The compiler makes millions of objects and few cycles: the cyclic garbage collector takes a tenth of the time.
    """
    global _depth, _collecting  # noqa: PLW0603
    timer = None
    if _depth == 0:
        _collecting = gc.isenabled()
        gc.disable()
        timer = threading.Timer(PATIENCE, announce)
        timer.daemon = True
        with suppress(RuntimeError):  # the system has no more threads
            timer.start()
    _depth += 1
    try:
        yield
    finally:
        _depth -= 1
        if timer is not None:
            timer.cancel()
            if _collecting:
                gc.enable()


def announce():
    with suppress(Exception):
        _log.warning(MESSAGE)


def _in_child():
    global _depth  # noqa: PLW0603
    if _depth and _collecting:
        gc.enable()
    _depth = 0


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
