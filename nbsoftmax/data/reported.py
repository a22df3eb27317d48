"""A file that reports how much of it has been read."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import IO

from nbsoftmax.data.readable import Readable

Report = Callable[[int, int | None], None]  # called with bytes read so far, and the size of the file if it is known


class Reported(Readable):
    """A file whose reads are reported, with the position and the size of the file.

    Closing it leaves the file open.
    """

    def __init__(self, file: IO[bytes], report: Report) -> None:
        super().__init__()
        self._file, self._report = file, report
        start = file.tell()
        self._size = file.seek(0, os.SEEK_END)
        file.seek(start)

    def read(self, size: int | None = -1, /) -> bytes:
        """Read at most `size` bytes."""
        content = self._file.read(-1 if size is None else size)
        self._report(self._file.tell(), self._size)
        return content

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Set the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()
