"""The encoding of a text file: its byte order mark, its name, and the error about bytes that are not text."""

from __future__ import annotations

import codecs

from nbsoftmax.data.source import Source
from nbsoftmax.errors import InputValueError

MARKS = {  # byte order marks; that of UTF-32 begins with that of UTF-16
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def is_encoding(name: str) -> bool:
    """Whether Python knows an encoding of text by this name."""
    try:
        return isinstance("".encode(name), bytes) and b"".decode(name) == ""
    except (LookupError, ValueError):
        return False


def for_python(encoding: str) -> str:
    """Python's name of an encoding, with which a byte order mark is skipped as by pyarrow."""
    return "utf-8-sig" if encoding == "utf-8" else encoding


def encoding_of(source: Source, given: str | None) -> str:
    """The encoding of a file: the given one, or the one that its first bytes show.

    With a given UTF-16 or UTF-32, a byte order mark decides on the order of the bytes.
    """
    source.file.seek(0)
    head = source.file.read(1024)
    marked = next((encoding for mark, encoding in MARKS.items() if head.startswith(mark)), None)
    if given is not None:
        name = codecs.lookup(given).name
        name = "utf-8" if name == "utf-8-sig" else name
        return marked if marked is not None and name.startswith(marked) else name
    if marked is not None or b"\0" not in head:
        return marked or "utf-8"
    first, second = (head[k::2].count(0) > len(head) / 8 for k in (0, 1))  # bytes of each pair
    return "utf-8" if first == second else "utf-16-be" if first else "utf-16-le"


def not_text(source: Source, encoding: str) -> InputValueError:
    """The error about the first byte of a file that its encoding does not allow."""
    source.file.seek(0)
    decoder, line, byte = codecs.getincrementaldecoder(encoding)(), 1, ""
    while not byte:
        block = source.file.read(2**20)
        try:
            decoder.decode(block, not block)
        except UnicodeDecodeError as error:
            line += error.object.count(b"\n", 0, error.start)
            byte = f"byte 0x{error.object[error.start]:02x} in line {line}"
        else:
            line += block.count(b"\n")
            byte = "" if block else "somewhere"
    shown = encoding_of(source, None)
    likely = "latin-1" if shown in ("utf-8", encoding) else shown
    return InputValueError(
        f"{source.name} is not {encoding.upper()} text ({byte}); save it as UTF-8, or name its encoding, for example "
        f"--encoding {likely}, and in Python "
        f"format=pyarrow.dataset.CsvFileFormat(read_options=pyarrow.csv.ReadOptions(encoding='{likely}'))."
    )
