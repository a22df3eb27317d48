"""Signals: Ctrl-C during a fit is recorded, SIGTERM saves its state, and the end of a command removes unfinished files.

Python raises KeyboardInterrupt in the code that the main thread is executing. If that is a destructor or another
callback, such as those of Dask's futures, the exception is printed and ignored, and the fit would continue. With the
record, the fit ends after the current iteration.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from nbsoftmax.files import remove_unfinished

Handler = Callable[[int, FrameType | None], None]


@contextmanager
def recorded_interrupts(record: Callable[[], None]) -> Iterator[None]:
    """Within this context Ctrl-C first calls `record`, and then raises KeyboardInterrupt.

    Nothing changes outside the main thread, or if the program handles Ctrl-C itself.
    """
    if not _in_main_thread() or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        record()
        signal.default_int_handler(number, frame)

    with _handled(signal.SIGINT, handler):
        yield


@contextmanager
def saved_on_termination(save: Callable[[], None]) -> Iterator[None]:
    """Within this context SIGTERM first saves, and then has its previous effect, usually the end of the process.

    Nothing changes outside the main thread, where Python allows no signal handlers, or if SIGTERM is ignored.
    """
    previous = signal.getsignal(signal.SIGTERM)
    # None stands for a handler that Python cannot restore.
    if not _in_main_thread() or previous is None or previous == signal.SIG_IGN:
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        try:
            save()
        finally:
            if callable(previous):
                previous(number, frame)
            else:
                _end(number, frame)

    with _handled(signal.SIGTERM, handler):
        yield


@contextmanager
def removed_on_termination() -> Iterator[None]:
    """Within this context SIGTERM removes the temporary files of outputs before it ends the process.

    Nothing changes outside the main thread, or if the program handles or ignores SIGTERM itself.
    """
    if not _in_main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return
    with _handled(signal.SIGTERM, _end):
        yield


def _end(number: int, frame: FrameType | None) -> None:
    """End the process by a signal, without the temporary files of outputs."""
    remove_unfinished()
    signal.signal(number, signal.SIG_DFL)
    signal.raise_signal(number)
    os._exit(128 + number)  # the first process of a container ignores the signal


def _in_main_thread() -> bool:
    """Whether Python allows signal handlers here."""
    return threading.current_thread() is threading.main_thread()


@contextmanager
def _handled(number: int, handler: Handler) -> Iterator[None]:
    """Within this context a signal has this handler, unless another one is set meanwhile."""
    previous = signal.getsignal(number)
    try:
        signal.signal(number, handler)  # Ctrl-C may come as soon as it has returned
        yield
    finally:
        try:
            _replace(number, handler, previous)
        except BaseException:  # Ctrl-C
            _replace(number, handler, previous)
            raise


def _replace(number: int, handler: Handler, previous: Any) -> None:
    if signal.getsignal(number) is handler:
        signal.signal(number, previous)
