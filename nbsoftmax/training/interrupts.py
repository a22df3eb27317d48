"""Ctrl-C during a fit: the usual KeyboardInterrupt, and a record that outlives it.

Python raises the exception in whatever the main thread executes. In a destructor or another callback, such as those of
Dask's futures, it is printed and forgotten, and the fit would go on. With the record, it ends after the iteration.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType


@contextmanager
def recorded_interrupts(record: Callable[[], None]) -> Iterator[None]:
    """Within this context Ctrl-C first calls `record`, and then raises KeyboardInterrupt.

    Nothing changes outside the main thread, or if the program handles Ctrl-C itself.
    """
    main = threading.current_thread() is threading.main_thread()
    if not main or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        record()
        signal.default_int_handler(number, frame)

    signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is handler:
            signal.signal(signal.SIGINT, signal.default_int_handler)
