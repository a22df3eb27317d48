"""The content of a text file, as pyarrow reads it from other threads."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition, Lock
from typing import IO, Any, TypeVar
from weakref import finalize

from nbsoftmax.data.dialect import TextFormat
from nbsoftmax.data.quotes import Quotes

T = TypeVar("T")

REWRITTEN_AT_ONCE = 2**20  # bytes of rows that are rewritten at a time
RELEASED_AFTER = 1.0  # seconds, at most, until pyarrow has released what it got; it takes milliseconds as a rule


class Content:
    """A file for pyarrow, whose threads read ahead until `stop` is called.

    A thread of pyarrow that releases an object of Python while the interpreter shuts down aborts the process. Errors
    of `_read` therefore do not pass through pyarrow, which would keep them, and `stop` waits until it has nothing left.
    """

    def __init__(self) -> None:
        self._lock, self._is_stopped = Lock(), False
        self._error: BaseException | None = None
        self._n_lent, self._returned = 0, Condition(Lock())

    def lent(self) -> Any:
        """The content as a file of pyarrow."""
        import pyarrow as pa

        return pa.PythonFile(self._counted(Lent(self)), "r")

    def read(self, size: int) -> memoryview:
        """Read at most `size` bytes; none once the file is at its end or stopped, or an error has occurred."""
        block = b""
        with self._lock:
            if not self._is_stopped:
                try:
                    block = self._read(size)
                except BaseException as error:
                    self._error, self._is_stopped = error, True
        return self._counted(memoryview(block))

    def _read(self, size: int) -> bytes:
        raise NotImplementedError

    @contextmanager
    def errors_raised(self) -> Iterator[None]:
        """Raise the error of a read, in place of that of pyarrow about a file that ends too early."""
        try:
            yield
        except Exception:
            self._raise_error()
            raise
        self._raise_error()

    def _raise_error(self) -> None:
        with self._lock:
            error, self._error = self._error, None
        if error is not None:
            raise error from None

    def stop(self) -> None:
        """Wait for the end of a read, read no more, and wait until pyarrow has released what it got."""
        with self._lock:
            self._is_stopped = True
        with self._returned:
            self._returned.wait_for(lambda: self._n_lent == 0, timeout=RELEASED_AFTER)

    def _counted(self, given: T) -> T:
        """An object that pyarrow gets; it counts until it is released."""
        with self._returned:
            self._n_lent += 1
        finalize(given, self._count_returned).atexit = False
        return given

    def _count_returned(self) -> None:
        with self._returned:
            self._n_lent -= 1
            self._returned.notify()


class Lent:
    """What pyarrow needs of a file."""

    closed = False

    def __init__(self, content: Content) -> None:
        self.read = content.read

    def close(self) -> None:
        """Leave the file open."""


class Counted(Content):
    """The content of a file from its beginning, with its quotes."""

    def __init__(self, file: IO[bytes], format_: TextFormat) -> None:
        super().__init__()
        file.seek(0)
        self._file, self.quotes = file, Quotes(format_.separator, format_.quote)

    def _read(self, size: int) -> bytes:
        block = self._file.read(size)
        self.quotes.add(block)
        return block


class Rewritten(Content):
    """Rows as a file of CSV."""

    def __init__(self, rows: Iterator[list[str]]) -> None:
        super().__init__()
        self._rows = rows
        self._left = b""

    def _read(self, size: int) -> bytes:
        if not self._left:
            text = io.StringIO()
            writer = csv.writer(text, lineterminator="\r\n")
            for row in self._rows:
                writer.writerow(row)
                if text.tell() >= REWRITTEN_AT_ONCE:
                    break
            self._left = text.getvalue().encode()
        block, self._left = self._left[:size], self._left[size:]
        return block
