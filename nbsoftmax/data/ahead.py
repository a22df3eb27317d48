"""Reading ahead: the next item of an iterator is made in another thread while the caller uses the last one.

A forked child has no such thread, and shares the positions in open files with its parent: it cannot go on with a pass
over rows that its parent has begun.
"""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

from nbsoftmax.errors import Kept, keep_warnings, warn

T = TypeVar("T")


def check_process(process: int) -> None:
    """Raise an error in a child that was forked by the process which has begun a pass over rows."""
    if os.getpid() != process:
        raise RuntimeError(
            "this pass over the rows was begun by another process, which has forked this one and may still be reading "
            "them; begin a new pass in this process, for example by source.blocks()."
        )


class _Reader(Generic[T]):
    """Makes the items in a thread, until the caller has them all or stops."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        # ("item", it), ("error", it) or ("end", None), and warnings: one that is ready, while the thread makes another.
        self._ready: queue.SimpleQueue[tuple[str, object, Kept]] = queue.SimpleQueue()
        self._room: queue.SimpleQueue[None] = queue.SimpleQueue()  # an entry for each item that may become ready
        self._room.put(None)
        self._stopped, self._process = False, os.getpid()
        self._thread = threading.Thread(target=self._work, name="nbsoftmax reader", daemon=True)

    def start(self) -> None:
        """Start the thread. If Ctrl-C interrupts this method, the thread may run nevertheless."""
        self._thread.start()

    def take(self) -> tuple[str, object]:
        """Wait for the next item, and issue the warnings about it."""
        check_process(self._process)
        what, item, warnings = self._ready.get()
        self._room.put(None)
        for message, category in warnings:
            warn(message, category)
        return what, item

    def stop(self) -> None:
        """End the thread, after the item that it makes."""
        self._stopped = True
        self._room.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        self._warnings = keep_warnings()
        try:
            for item in self._items:
                if not self._offer("item", item):
                    return
                del item  # while the next one is made, only the caller needs it
            self._offer("end", None)
        except BaseException as error:  # raised in the caller's thread
            self._offer("error", error)

    def _offer(self, what: str, item: object) -> bool:
        """Whether the caller may still take it."""
        self._room.get()
        if not self._stopped:
            self._ready.put((what, item, self._warnings[:]))
            self._warnings.clear()
        return not self._stopped


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items in the same order. Besides the caller's, at most two exist at a time.

    An error of `items` is raised where the caller asks for the item. If the caller stops early, so does the thread.
    """
    reader = _Reader(items)
    try:
        reader.start()
        while True:
            what, item = reader.take()
            if what == "end":
                return
            if isinstance(item, BaseException) and what == "error":
                raise item
            yield item  # type: ignore[misc]  # one of `items`
            del item
    finally:
        reader.stop()
