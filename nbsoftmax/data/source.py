"""Files, pipes and standard input as sources of data; the format is recognised by the first bytes."""

from __future__ import annotations

import os
import re
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO

from nbsoftmax.errors import InputValueError
from nbsoftmax.npz import NPY, ZIP

Path = str | os.PathLike[str]

STDIN = "-"
IN_MEMORY = 2**26  # bytes of a pipe that are kept in memory; larger content goes to a temporary file
EXCEL = "an Excel workbook; save it as CSV (UTF-8)"
# Text that is no CSV: a number, then pairs number:value, as in `3 1:0.5 7:1.25`. (Only the beginning of the file is
# searched for such a line.)
SVMLIGHT = {".svm", ".svmlight", ".libsvm"}
NUMBER = re.compile(rb"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
SVMLIGHT_LINE = re.compile(rb"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?(\s+qid:\d+)?\s+\d+:[-+.\d]")
LONGEST_HEAD = 2**16
# First bytes of files that users often give instead of a CSV file: what the file is, and what to do.
OTHERS = {
    b"\x1f\x8b": "compressed by gzip; unpack it, or give it as: zcat FILE | nbsoftmax ... -",
    b"BZh": "compressed by bzip2; unpack it, or give it as: bzcat FILE | nbsoftmax ... -",
    b"\xfd7zXZ\x00": "compressed by xz; unpack it, or give it as: xzcat FILE | nbsoftmax ... -",
    b"\x28\xb5\x2f\xfd": "compressed by zstd; unpack it, or give it as: zstdcat FILE | nbsoftmax ... -",
    b"\xd0\xcf\x11\xe0": EXCEL,
    b"PAR1": "a Parquet file; save it as CSV",
    b"ARROW1": "an Arrow file; save it as CSV",
    b"\xff\xfe": "UTF-16 text; save it as UTF-8",
    b"\xfe\xff": "UTF-16 text; save it as UTF-8",
}


@dataclass(frozen=True)
class Source:
    """An open binary file that can be read from its beginning any number of times, and its name for messages."""

    name: str
    file: IO[bytes]


@contextmanager
def opened(path: Path | Source) -> Iterator[Source]:
    """Open a path, or standard input for "-". Sources that cannot be rewound are copied first."""
    if isinstance(path, Source):
        path.file.seek(0)
        yield path
    elif os.fspath(path) == STDIN:
        if sys.stdin is None:
            raise InputValueError("standard input is closed; name a file instead of -.")
        with _copied(sys.stdin.buffer) as file:
            yield Source("standard input", file)
    else:
        with open(path, "rb") as file:
            if file.seekable():
                yield Source(os.fspath(path), file)
            else:
                with _copied(file) as copy:
                    yield Source(os.fspath(path), copy)


@contextmanager
def _copied(pipe: IO[bytes]) -> Iterator[IO[bytes]]:
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        shutil.copyfileobj(pipe, file)
        file.seek(0)
        yield file


def kind(source: Source) -> str:
    """Return the format of a source: "npy", "npz", "sparse npz" of scipy.sparse, "svmlight", or "csv" for other text.

    Raises
    ------
    InputValueError
        For compressed files, workbooks and other formats that are recognised but not supported.
    """
    head = source.file.read(16)
    source.file.seek(0)
    suffix = os.path.splitext(source.name)[1].lower()
    if head.startswith(NPY) or suffix == ".npy":
        return "npy"
    if suffix == ".npz":
        return _kind_of_npz(_names_in_zip(source))
    if head.startswith(ZIP):
        return _kind_of_zip(source)
    for magic, what in OTHERS.items():
        if head.startswith(magic):
            raise InputValueError(f"{source.name} is {what}.")
    return "svmlight" if suffix in SVMLIGHT or _is_svmlight(source) else "csv"


def _is_svmlight(source: Source) -> bool:
    """Whether the first line with more than a number and a comment is one of an svmlight file."""
    head = source.file.read(LONGEST_HEAD)
    source.file.seek(0)
    lines = (line.partition(b"#")[0].strip() for line in head.split(b"\n"))
    first = next((line for line in lines if line and not NUMBER.fullmatch(line)), b"")
    return SVMLIGHT_LINE.match(first) is not None


def _kind_of_npz(names: list[str]) -> str:
    return "sparse npz" if {"format.npy", "shape.npy", "data.npy"} <= set(names) else "npz"


def _names_in_zip(source: Source) -> list[str]:
    """The names of an archive; none if it is damaged, as its reader then says."""
    try:
        return zipfile.ZipFile(source.file).namelist()
    except zipfile.BadZipFile:
        return []
    finally:
        source.file.seek(0)


def _kind_of_zip(source: Source) -> str:
    names = _names_in_zip(source)
    if not names:
        raise InputValueError(f"{source.name} is a damaged zip archive; copy it again.")
    if all(name.endswith(".npy") for name in names):
        return _kind_of_npz(names)
    if "[Content_Types].xml" in names:
        raise InputValueError(f"{source.name} is {EXCEL}.")
    raise InputValueError(f"{source.name} is a zip archive; unpack it, or give it as: unzip -p FILE | nbsoftmax ... -.")
