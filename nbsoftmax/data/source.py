"""Files, pipes and standard input as sources of data; the format is recognised by the first bytes.

A compressed file is the source of what it contains.
"""

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
from typing import IO, cast

from nbsoftmax.data import compression
from nbsoftmax.data.reported import Report, Reported
from nbsoftmax.errors import InputValueError
from nbsoftmax.npz import NPY, ZIP

Path = str | os.PathLike[str]

STDIN = "-"
IN_MEMORY = 2**26  # bytes of a pipe that are kept in memory; larger content goes to a temporary file
EXCEL, JSON = "an Excel workbook; save it as CSV", "JSON; save it as CSV or Parquet"
# Text that is no table: a number, then pairs number:value, as in `3 1:0.5 7:1.25`. (Only the beginning of the file is
# searched for such a line.)
SVMLIGHT = {".svm", ".svmlight", ".libsvm"}
NUMBER = re.compile(rb"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?")
SVMLIGHT_LINE = re.compile(rb"[-+]?\d+(\.\d*)?([eE][-+]?\d+)?(\s+qid:\d+)?\s+\d+:[-+.\d]")
LONGEST_HEAD = 2**16
# Files of columns, by their first bytes.
COLUMNS = {b"PAR1": "parquet", b"ARROW1": "arrow", b"\xff\xff\xff\xff": "arrow stream"}
TABLES = {"text", *COLUMNS.values()}
# First bytes of files that users often give instead of a table: what the file is, and what to do.
OTHERS = {
    b"\xd0\xcf\x11\xe0": EXCEL,
    b"PARE": "an encrypted Parquet file; decrypt it",
    b"FEA1": "a Feather file of version 1; write it again with a current version of pyarrow",
    b"ORC": "an ORC file; save it as Parquet",
    b"\x89HDF": "an HDF5 file; save its columns as Parquet",
    b"SQLite format 3": "an SQLite database; export a table as CSV",
    b'{"': JSON,
    b"[{": JSON,
}


@dataclass(frozen=True)
class Source:
    """An open binary file that can be read from its beginning any number of times, and its name for messages."""

    name: str
    file: IO[bytes]


@contextmanager
def opened(path: Path | Source, report: Report | None = None) -> Iterator[Source]:
    """Open a path, or standard input for "-". Sources that cannot be rewound are copied first.

    `report` is called with the number of bytes that have been copied, and None.
    """
    if isinstance(path, Source):
        path.file.seek(0)
        yield path
    elif os.fspath(path) == STDIN:
        if getattr(sys.stdin, "buffer", None) is None:  # some editors and notebooks replace it by one of text alone
            what = "closed" if sys.stdin is None else "replaced by this program, and has no bytes"
            raise InputValueError(f"standard input is {what}; name a file instead of -.")
        with _copied(sys.stdin.buffer, report) as file:
            yield Source("standard input", file)
    else:
        with open(path, "rb") as file:
            if file.seekable():
                yield Source(os.fspath(path), file)
            else:
                with _copied(file, report) as copy:
                    yield Source(os.fspath(path), copy)


@contextmanager
def recognised(source: Source, report: Report | None = None) -> Iterator[tuple[Source, str]]:
    """The content of a source, decompressed, and its format, see `kind`.

    `report` is called with the number of bytes of a table that have been read and the size of the file.
    """
    packing = compression.recognise(_head(source))
    if packing is None:
        what = kind(source)
        yield (_reported(source, report) if what in TABLES else source), what
        return
    unpacked = cast(IO[bytes], compression.Decompressed(source.name, _reported(source, report).file, packing))
    content = Source(source.name, unpacked)
    if kind(content) == "text":
        yield content, "text"
        return
    with _copied(unpacked) as file:  # the readers of other formats jump to and fro
        content = Source(source.name, file)
        yield content, kind(content)


def _reported(source: Source, report: Report | None) -> Source:
    return source if report is None else Source(source.name, cast(IO[bytes], Reported(source.file, report)))


@contextmanager
def _copied(pipe: IO[bytes], report: Report | None = None) -> Iterator[IO[bytes]]:
    with tempfile.SpooledTemporaryFile(IN_MEMORY) as file:
        if report is None:
            shutil.copyfileobj(pipe, file)
        else:
            while part := pipe.read(2**20):
                file.write(part)
                report(file.tell(), None)
        file.seek(0)
        yield file


def _head(source: Source) -> bytes:
    head = source.file.read(16)
    source.file.seek(0)
    return head


def kind(source: Source) -> str:
    """Return the format of a source.

    It is "npy", "npz", "sparse npz" of scipy.sparse, "svmlight", "parquet", "arrow" for a file of Arrow (Feather),
    "arrow stream", or "text" for other text, such as CSV.

    Raises
    ------
    InputValueError
        For workbooks and other formats that are recognised but not supported.
    """
    head = _head(source)
    suffix = os.path.splitext(compression.without_suffix(source.name.lower()))[1]
    if head.startswith(NPY) or suffix == ".npy":
        return "npy"
    if suffix == ".npz":
        return _kind_of_npz(_names_in_zip(source))
    if head.startswith(ZIP):
        return _kind_of_zip(source)
    for magic, name in COLUMNS.items():
        if head.startswith(magic):
            return name
    for magic, what in OTHERS.items():
        if head.startswith(magic):
            raise InputValueError(f"{source.name} is {what}.")
    return "svmlight" if suffix in SVMLIGHT or _is_svmlight(source) else "text"


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
