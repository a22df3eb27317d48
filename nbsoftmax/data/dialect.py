"""How a text file is written: separator, quotes, decimal mark, encoding, missing values, and the names of its columns.

`sniff` finds in the first lines of a file what `TextOptions` leave open. The result, `TextFormat`, gives the options of
pyarrow's readers, and the rows of a file with their line numbers for messages.
"""

from __future__ import annotations

import codecs
import csv
import io
import os
import re
from collections.abc import Generator, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field, replace
from itertools import islice
from threading import RLock
from typing import Any

from nbsoftmax.data.source import Source
from nbsoftmax.data.text_encoding import encoding_of, for_python, is_encoding, not_text
from nbsoftmax.encoding.column import DECIMAL_COMMA
from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.validation import first_repeated

# Fields that mark a missing value in files from pandas, R and databases. "None" is often a class.
MISSING = ("", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL")
SEPARATORS = (",", ";", "\t", "|", " ")
NAMED_SEPARATORS = {"\\t": "\t", "tab": "\t", "space": " ", "\\s+": " "}
SAMPLE, LARGEST_SAMPLE = 2**18, 2**26  # bytes
LONGEST_FIELD = 2**26  # characters; the limit of Python's csv module is 131072
AT_ONCE = 16  # rows that are read under another limit of the csv module: setting it takes longer than reading a row
RECORDS = 200  # rows of the sample that are looked at
BLOCK = 2**20  # bytes that pyarrow parses at once, if rows are not long
SEPARATOR_LINE = re.compile(r'"?sep=(.)"?(\r\n|\n|\r)')  # first line of some files of Excel
NUMBER = re.compile(r"\s*[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?\s*")
DECIMAL_POINT = re.compile(r"[-+]?\d*\.\d+([eE][-+]?\d+)?")
THOUSANDS = re.compile(r"[-+]?[1-9]\d{0,2}(,\d{3})+")


@dataclass(frozen=True)
class TextOptions:
    """What is known of a text file; None for what its first lines are to show.

    Attributes
    ----------
    sep : str, optional
        The separator of fields, one ASCII character; also "tab", "space".
    decimal : {".", ","}, optional
    quote : str, optional
        The character around fields, by default `"`; "" if quotes have no meaning.
    encoding : str, optional
        A name that Python knows, by default UTF-8, or UTF-16 if the first bytes say so.
    null : tuple of str, optional
        Fields that mark a missing value besides the empty field, in the place of MISSING.
    """

    sep: str | None = None
    decimal: str | None = None
    quote: str | None = None
    encoding: str | None = None
    null: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        sep = None if self.sep is None else NAMED_SEPARATORS.get(self.sep, self.sep)
        object.__setattr__(self, "sep", sep)
        for name, value in (("sep", sep), ("quote", self.quote or None)):
            if value is not None and not (len(value) == 1 and value.isascii() and value not in "\r\n\0"):
                raise InputValueError(f"{name} is {value!r}, expected one ASCII character.", parameter=name)
        if sep is not None and sep == ('"' if self.quote is None else self.quote):
            raise InputValueError(f"sep is {sep!r}, which is also the quote; give two characters.", parameter="sep")
        if self.decimal not in {None, ".", ","}:
            raise InputValueError(f"decimal is {self.decimal!r}, expected '.' or ','.", parameter="decimal")
        if self.encoding is not None and not is_encoding(self.encoding):
            raise InputValueError(
                f"encoding is {self.encoding!r}, which Python does not know; expected, for example, utf-8, latin-1, "
                "cp1252 or utf-16.",
                parameter="encoding",
            )


@dataclass(frozen=True)
class TextFormat:
    """How a text file is parsed."""

    columns: tuple[str, ...]  # names of all columns, in the order of the file
    n_header_lines: int  # lines up to the header, and with it
    separator: str = ","
    decimal: str = "."
    quote: str = '"'  # "" for none
    encoding: str = "utf-8"
    null: tuple[str, ...] = MISSING
    block_size: int = BLOCK  # bytes that are parsed at once; no row may be longer
    row_size: float = 1.0  # bytes of a row in the first lines, on average

    def arrow_options(self, types: Mapping[str, Any]) -> tuple[Any, Any, Any]:
        """Return pyarrow.csv's ReadOptions, ParseOptions and ConvertOptions.

        Parameters
        ----------
        types : mapping of str to pyarrow.DataType
            The columns to read with their types, in the order of the table.
        """
        from pyarrow import csv as arrow_csv

        return (
            arrow_csv.ReadOptions(
                column_names=list(self.columns),
                skip_rows=self.n_header_lines,
                block_size=self.block_size,
                encoding="utf8" if self.encoding == "utf-8" else self.encoding,
            ),
            arrow_csv.ParseOptions(
                delimiter=self.separator, quote_char=self.quote or False, newlines_in_values=bool(self.quote)
            ),
            arrow_csv.ConvertOptions(
                column_types=dict(types),
                include_columns=list(types),
                null_values=["", *self.null],
                strings_can_be_null=False,
                decimal_point=self.decimal,
            ),
        )

    def rows(self, source: Source) -> Generator[tuple[int, list[str]], None, None]:
        """Yield the fields of each row below the header and its line number, counted from 1: the last one of the row.

        Raises
        ------
        InputValueError
            For a quote that is not closed, and for bytes that are not text.
        """
        source.file.seek(0)
        text = io.TextIOWrapper(source.file, encoding=for_python(self.encoding), newline="")
        try:
            for _ in islice(text, self.n_header_lines):
                pass
            rows = _Reader(text, self.separator, self.quote, strict=True)
            for row in rows:
                if row:
                    yield self.n_header_lines + rows.line_num, _trimmed(row, self.separator)
        except csv.Error as error:  # a quote that is never closed, a field of megabytes
            raise InputValueError(
                f"{source.name} cannot be read as text of columns ({error}); correct its quotes."
            ) from None
        except UnicodeDecodeError:
            raise not_text(source, self.encoding) from None
        finally:
            text.detach()  # leaves the file open


def sniff(source: Source, options: TextOptions, wanted: Set[str]) -> TextFormat:
    """Find the format of a text file in its first lines.

    Parameters
    ----------
    source : Source
    options : TextOptions
        What is known already.
    wanted : set of str
        Names of columns that are expected; they decide where several separators are possible.

    Raises
    ------
    InputValueError
        If the file is empty, is not text, or has two columns of one name.
    """
    encoding = encoding_of(source, options.encoding)
    sample, whole = _sample(source, encoding)
    if "\0" in sample:
        line = sample.count("\n", 0, sample.index("\0")) + 1
        raise InputValueError(f"{source.name} is not text (a NUL in line {line}); expected CSV, Parquet or Arrow.")
    quote = '"' if options.quote is None else options.quote
    sep, n_lines = options.sep, 0
    if found := SEPARATOR_LINE.match(sample):
        sep, n_lines, sample = sep or found[1], 1, sample[found.end() :]
    looked_at, lengths = _Sample(sample, whole, quote), list(map(len, sample.splitlines()))
    sep = looked_at.separator(wanted) if sep is None else sep
    columns, n_header_lines = _header(source.name, looked_at, sep, n_lines)
    if options.quote is None and all(len(name) > 1 and name[0] == name[-1] == "'" for name in columns):
        return sniff(source, replace(options, quote="'"), wanted)
    return TextFormat(
        columns=columns,
        n_header_lines=n_header_lines,
        separator=sep,
        decimal=options.decimal or looked_at.decimal(sep),
        quote=quote,
        encoding=encoding,
        null=MISSING if options.null is None else options.null,
        block_size=max(BLOCK, 16 * max(lengths, default=0)),
        row_size=len(sample.encode(encoding)) / len(lengths),
    )


@dataclass(frozen=True)
class _Sample:
    """The beginning of a file."""

    text: str
    whole: bool  # whether the file has no more
    quote: str
    _parsed: dict[str, list[list[str]]] = field(default_factory=dict)

    def records(self, separator: str) -> list[list[str]]:
        """The first rows with a separator; none if they cannot be parsed."""
        if separator not in self._parsed:
            self._parsed[separator] = self._parse(separator)
        return self._parsed[separator]

    def _parse(self, separator: str) -> list[list[str]]:
        reader = _Reader(io.StringIO(self.text, newline=""), separator, self.quote)
        try:
            rows = list(islice((_trimmed(row, separator) for row in reader if row), RECORDS))
        except csv.Error:
            return []
        return rows if self.whole or len(rows) == RECORDS else rows[:-1]  # the last one may be cut

    def separator(self, wanted: Set[str]) -> str:
        """The separator with which the most rows have as many fields as the header; a comma if there is none.

        Next it matters how many fields are numbers.
        """
        best, chosen = (0, False, 0.0, 0, 0), ","
        for separator in SEPARATORS:
            header, *rows = self.records(separator) or [[]]
            found = len(wanted & set(map(str.strip, header)))
            share = sum(len(row) == len(header) for row in rows) / len(rows) if rows else float(separator != " ")
            least = 0.9 if separator == " " else 1e-9  # names and labels may contain spaces
            n_numbers = sum(NUMBER.fullmatch(field) is not None for row in rows for field in row)
            score = (found, separator != " ", share, n_numbers, len(header))
            if len(header) > 1 and (found or share >= least) and score > best:
                best, chosen = score, separator
        return chosen

    def decimal(self, separator: str) -> str:
        """The comma if numbers have commas, none has a point, and the commas cannot separate thousands."""
        fields = {field.strip() for row in self.records(separator)[1:] for field in row}
        if any(DECIMAL_POINT.fullmatch(field) for field in fields):
            return "."
        commas = [field for field in fields if DECIMAL_COMMA.fullmatch(field)]
        return "," if any(not THOUSANDS.fullmatch(field) for field in commas) else "."


def _header(name: str, sample: _Sample, separator: str, n_before: int) -> tuple[tuple[str, ...], int]:
    """The names of the columns, and the number of lines up to the header, and with it; the sample has no `n_before`."""
    reader = _Reader(io.StringIO(sample.text, newline=""), separator, sample.quote, strict=True)
    try:
        row: Sequence[str] = next((row for row in reader if row), [])
    except csv.Error as error:
        raise InputValueError(f"{name} cannot be read as text of columns ({error}); correct the quotes.") from None
    columns = tuple(column.strip() for column in _trimmed(list(row), separator))
    if not any(columns):
        raise InputValueError(f"{name} is empty; expected a file whose first line names the columns.")
    line = n_before + reader.line_num
    check_names(name, columns, f" in line {line}")
    return columns, line


def check_names(name: str, columns: Sequence[str], where: str = "") -> None:
    """Raise an error if two columns have one name."""
    twice = first_repeated(columns)
    if twice is not None:
        named = f"named {plain(twice)}" if twice else "without a name"
        raise InputValueError(f"{name} has two columns {named}{where}; rename one.")


class _Reader:
    """The rows of a text, whose fields may be longer than csv's limit, which holds for all threads and readers.

    The limit is another one only while some rows are read, and the caller's again before they are used.
    """

    _lock = RLock()  # the lines may be those of another reader

    def __init__(self, lines: Any, separator: str, quote: str, *, strict: bool = False) -> None:
        self.line_num = 0  # of the last row: lines up to its end
        self._rows = csv.reader(
            lines,
            delimiter=separator,
            quotechar=quote or None,
            quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
            strict=strict,
            skipinitialspace=True,
        )

    def __iter__(self) -> Iterator[list[str]]:
        while True:
            some, error = self._some()
            for row, self.line_num in some:
                yield row
            if error is not None:
                raise error
            if len(some) < AT_ONCE:
                return

    def _some(self) -> tuple[list[tuple[list[str], int]], Exception | None]:
        """The next rows with their last lines, and the error that comes after them."""
        found: list[tuple[list[str], int]] = []
        error = None
        with self._lock:
            limit = csv.field_size_limit(max(LONGEST_FIELD, csv.field_size_limit()))
            try:
                found.extend((row, self._rows.line_num) for row in islice(self._rows, AT_ONCE))
            except Exception as raised:  # of csv, of the encoding, of a compressed file; the rows before it are right
                error = raised
            finally:
                csv.field_size_limit(limit)
        return found, error


def _unlock() -> None:
    """In a forked child: another thread of its parent, which the child lacks, may hold the lock."""
    _Reader._lock = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _trimmed(row: list[str], separator: str) -> list[str]:
    """Remove the empty field that spaces at the end of a line make."""
    return row[:-1] if separator == " " and len(row) > 1 and not row[-1] else row


def other_separator(columns: Sequence[str]) -> str:
    """A part of a message, if the only name of a header contains what separates columns in other files; or ""."""
    found = next((mark for mark in SEPARATORS[:-1] if mark in columns[0]), "") if len(columns) == 1 else ""
    if not found:
        return ""
    in_python = f"format=pyarrow.dataset.CsvFileFormat(pyarrow.csv.ParseOptions(delimiter={found!r}))"
    return f" (if {found!r} separates the columns, give --sep, and in Python {in_python})"


def _sample(source: Source, encoding: str) -> tuple[str, bool]:
    """The beginning of a file, with two lines if it has so many, and whether it is the whole file."""
    source.file.seek(0)
    decoder = codecs.getincrementaldecoder(for_python(encoding))()
    text, size = "", 0
    while size < LARGEST_SAMPLE and (size < SAMPLE or len(text.splitlines()) < 3):
        block = source.file.read(max(SAMPLE, size))
        size += len(block)
        try:
            text += decoder.decode(block, not block)
        except UnicodeDecodeError:
            raise not_text(source, encoding) from None
        if not block:
            return text, True
    return text, False
