"""Reading ahead: the next item of an iterator is made in another thread while the caller uses the last one."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Reader(Generic[T]):
    """Makes the items in a thread, until the caller has them all or stops."""

    def __init__(self, items: Iterator[T]) -> None:
        self._items = items
        # One item, which is ready, while the thread makes another: ("item", it), ("error", it) or ("end", None).
        self.ready: queue.Queue[tuple[str, object]] = queue.Queue(maxsize=1)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="nbsoftmax reader", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after the item that it makes."""
        self._stopped.set()
        self._thread.join()

    def _work(self) -> None:
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
        while not self._stopped.is_set():
            try:
                self.ready.put((what, item), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False


def ahead(items: Iterator[T]) -> Iterator[T]:
    """The same items in the same order. Besides the caller's, at most two exist at a time.

    An error of `items` is raised where the caller asks for the item. If the caller stops early, so does the thread.
    """
    reader = _Reader(items)
    try:
        while True:
            what, item = reader.ready.get()
            if what == "end":
                return
            if isinstance(item, BaseException) and what == "error":
                raise item
            yield item  # type: ignore[misc]  # one of `items`
            del item
    finally:
        reader.stop()
