"""`.npz` files without pickles: written atomically, and read with a limit on their memory.

A file is refused before it is read if its arrays would need more memory than its size justifies.
"""

from __future__ import annotations

import io
import math
import os
import zipfile
from collections import Counter
from typing import IO, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputTypeError, plain
from nbsoftmax.files import whole_file

NPY, ZIP = b"\x93NUMPY", b"PK\x03\x04"  # first bytes of .npy files, and of .npz files, which are zip archives
RATIO, ALWAYS = 100, 1 << 28  # an archive may unpack to 256 MiB plus 100 times its own size


class OtherFormatError(ValueError):
    """A file does not begin like a `.npz` file."""


def write_npz(path: str | os.PathLike[str], arrays: dict[str, Any]) -> None:
    """Write arrays to `path`, a `.npz` file; an array of Python objects, which needs pickle, is refused beforehand."""
    for name, array in arrays.items():
        dtype = np.asarray(array).dtype
        if dtype.hasobject:
            raise InputTypeError(f"{name} has dtype {dtype}, which needs pickle; expected numbers, booleans or text.")
    with whole_file(path) as file:
        np.savez(file, **arrays)


def read_npz(file: BinaryIO) -> dict[str, NDArray[Any]]:
    """Read the arrays of a `.npz` file from `write_npz`, by name; the file may be a pipe.

    Raises
    ------
    OtherFormatError
        If it does not begin like a `.npz` file.
    Exception
        Of any type, for a damaged file; the message says what is wrong.
    """
    source: BinaryIO = file if file.seekable() else io.BytesIO(file.read())
    start, size = _start(source)
    if start == NPY:
        raise OtherFormatError("it is a .npy file with a single array")
    if not start.startswith(ZIP):
        raise OtherFormatError("it is not a .npz file")
    with zipfile.ZipFile(source) as archive:
        members = [member for member in archive.infolist() if member.filename.endswith(".npy")]
        unpacked, limit = sum(member.file_size for member in members), ALWAYS + RATIO * size
        if unpacked > limit:
            raise ValueError(f"it would unpack to {unpacked} bytes, more than {limit}, the limit for its size")
        _refuse_doubles(members)
        arrays = {}
        for member in members:
            with archive.open(member) as opened:
                check_header(opened, member.file_size)
            with archive.open(member) as opened:
                arrays[member.filename.removesuffix(".npy")] = np.lib.format.read_array(opened, allow_pickle=False)
        return arrays


def check_sizes(file: IO[bytes]) -> None:
    """Check before reading that the arrays of a `.npy` or `.npz` file are as large as their headers say."""
    if not file.seekable():
        return
    start, size = _start(file)
    if start == NPY:
        check_header(file, size, exactly=False)  # np.save may have appended other arrays
    elif start.startswith(ZIP):
        with zipfile.ZipFile(file) as archive:
            _refuse_doubles(archive.infolist())
            for member in archive.infolist():
                if member.filename.endswith(".npy"):
                    with archive.open(member) as opened:
                        check_header(opened, member.file_size)
    else:
        raise ValueError("it does not begin like one")
    file.seek(0)


def _refuse_doubles(members: list[zipfile.ZipInfo]) -> None:
    """Refuse an archive with two members of one name, of which NumPy reads the last one."""
    names = Counter(member.filename for member in members)
    twice = next((name for name, n in names.items() if n > 1), None)
    if twice is not None:
        raise ValueError(f"it has two members with the name {plain(twice)}")


def _start(file: IO[bytes]) -> tuple[bytes, int]:
    """First bytes of a file, as many as `NPY` has, and its size; an empty file is refused."""
    start = file.read(len(NPY))
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    if size == 0:
        raise ValueError("it is empty")
    return start, size


def check_header(file: Any, size: int, *, exactly: bool = True) -> None:
    """Check that an array in `.npy` format fits in the `size` bytes of its file; only the header is read."""
    version = np.lib.format.read_magic(file)
    if version == (1, 0):
        shape, _, dtype = np.lib.format.read_array_header_1_0(file)
    elif version == (2, 0):
        shape, _, dtype = np.lib.format.read_array_header_2_0(file)
    else:
        raise ValueError(f"its .npy version is {version}, expected 1.0 or 2.0")
    if dtype.hasobject:
        raise ValueError("it contains Python objects, which are not unpickled for safety")
    count, left = math.prod(shape), size - file.tell()
    if count > size or count * dtype.itemsize > left or (exactly and count * dtype.itemsize != left):
        raise ValueError(f"its header says shape {shape} and dtype {dtype}, but the file has {left} bytes of data")
