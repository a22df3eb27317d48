"""Compressed files, which are decompressed while they are read."""

from __future__ import annotations

import io
import os
from importlib import import_module
from typing import IO, Any

from nbsoftmax.data.arrow import LeftOpen, require_pyarrow
from nbsoftmax.data.readable import Readable
from nbsoftmax.errors import InputError, InputValueError
from nbsoftmax.files import one_line

MAGIC = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
}
SUFFIXES = (".gz", ".bz2", ".xz", ".zst", ".lz4")
IN_STANDARD_LIBRARY = {"gzip": "gzip", "bzip2": "bz2", "xz": "lzma"}  # modules, some of which a Python may lack


def recognise(head: bytes) -> str | None:
    """Return the method of compression by the first bytes of a file; None if it is not compressed."""
    return next((name for magic, name in MAGIC.items() if head.startswith(magic)), None)


def without_suffix(name: str) -> str:
    """Return the name of a file without .gz and similar."""
    return os.path.splitext(name)[0] if name.endswith(SUFFIXES) else name


def _open(file: IO[bytes], name: str, method: str) -> Any:
    """Open the content of a compressed file."""
    module = IN_STANDARD_LIBRARY.get(method)
    if module is None:
        pa = require_pyarrow(f"Files compressed by {method}")
        return pa.CompressedInputStream(pa.PythonFile(LeftOpen(file), "r"), method)
    try:
        return import_module(module).open(file, "rb")
    except ImportError:
        raise InputValueError(f"{name} is compressed by {method}, which this Python lacks; decompress it.") from None


class Decompressed(Readable):
    """The content of a compressed file. Going back means to decompress it again from the beginning.

    Closing it leaves the file open. A damaged file raises InputValueError.
    """

    def __init__(self, name: str, file: IO[bytes], method: str) -> None:
        super().__init__()
        self._name, self._file, self._method = name, file, method
        self._rewind()

    def _rewind(self) -> None:
        self._file.seek(0)
        self._content = _open(self._file, self._name, self._method)
        self._position = 0

    def read(self, size: int | None = -1, /) -> bytes:
        """Read `size` bytes, or all that are left for -1."""
        try:
            content: bytes = self._content.read(*([] if size is None or size < 0 else [size]))
        except (InputError, MemoryError):
            raise
        except Exception as error:  # each method has exceptions of its own
            if isinstance(error, OSError) and error.errno is not None:
                raise  # the disk, not the content
            raise InputValueError(
                f"{self._name} is a damaged {self._method} file ({one_line(error)}); copy it again."
            ) from None
        self._position += len(content)
        return content

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Set the position, from the beginning or from the present one."""
        if whence not in {os.SEEK_SET, os.SEEK_CUR}:
            raise io.UnsupportedOperation("the size of the content is not known")
        target = offset + (self._position if whence == os.SEEK_CUR else 0)
        if target < self._position:
            self._rewind()
        while self._position < target and self.read(min(target - self._position, 2**20)):
            pass
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position
