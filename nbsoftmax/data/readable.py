"""A binary file of which a subclass defines `read`, `seek` and `tell`."""

from __future__ import annotations

import io
from typing import Any


class Readable(io.BufferedIOBase):
    """The other methods of a file that can be read from any position."""

    def readable(self) -> bool:
        """Whether the file can be read: True."""
        return True

    def seekable(self) -> bool:
        """Whether the position can be set: True."""
        return True

    def read1(self, size: int = -1, /) -> bytes:
        """Read at most `size` bytes."""
        return self.read(size if size >= 0 else io.DEFAULT_BUFFER_SIZE)

    def readinto(self, buffer: Any, /) -> int:
        """Read into a buffer; return the number of bytes."""
        content = self.read(len(buffer))
        buffer[: len(content)] = content
        return len(content)
