"""Text files of columns, such as CSV, read into Arrow batches.

pyarrow parses the file. Where it fails, Python's csv module reads the file again, more slowly: it finds the line that
is wrong, or, if there is none, rewrites the rows in a form that pyarrow takes. Python's module is strict about quotes
and accepts spaces around fields.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence, Set
from contextlib import closing
from dataclasses import replace
from itertools import islice
from typing import IO, Any, NoReturn, TypeVar

import numpy as np

from nbsoftmax.data.arrow import damage_named, require_pyarrow
from nbsoftmax.data.dialect import RECORDS, THOUSANDS, TextFormat, TextOptions, other_separator, sniff
from nbsoftmax.data.source import Source
from nbsoftmax.data.text_content import Content, Counted, Rewritten
from nbsoftmax.encoding.column import CATEGORY, DECIMAL_COMMA, GROUPED, Column, as_float, is_truth
from nbsoftmax.encoding.frames import column_of_arrow
from nbsoftmax.errors import InputValueError, NoRowsError, counted, plain
from nbsoftmax.validation import refuse_twice

T = TypeVar("T")

# Bytes in a block of rewritten rows: a row that is too long for a block of the first attempt fits into it.
REWRITTEN_BLOCK = 2**26


class TextFile:
    """A text file of columns.

    Parameters
    ----------
    source : Source
    options : TextOptions or TextFormat
        What is known of the format, or the format.
    wanted : set of str
        Names of columns that are expected.

    Attributes
    ----------
    name : str
        Name for messages.
    format : TextFormat
    index : tuple of str
        Columns that are an index; of text, only names say so.
    n_rows : int
        Estimate of the number of rows, rather too large, or 0 if the size of the file is not known.
    """

    index: tuple[str, ...] = ()

    def __init__(self, source: Source, options: TextOptions | TextFormat, wanted: Set[str] = frozenset()) -> None:
        self.name = source.name
        self.format = options if isinstance(options, TextFormat) else sniff(source, options, wanted)
        self.n_rows = _n_rows(source.file, self.format.row_size)
        self._source = source

    @property
    def columns(self) -> tuple[str, ...]:
        """The names of the columns."""
        return self.format.columns

    def read(self, numbers: Sequence[str], texts: Sequence[str], collect: Callable[[Iterator[Any]], T]) -> T:
        """Read columns of numbers as float64, and others as dictionaries of strings.

        Missing numbers are null. Texts are never null: they may be empty, or a spelling of a missing value.

        Parameters
        ----------
        numbers : sequence of str
        texts : sequence of str
        collect : function of an iterator over pyarrow.RecordBatch
            Called a second time if the file must be read again. It need not read all batches.

        Returns
        -------
        What `collect` returns.

        Raises
        ------
        InputValueError
            If there are no rows, or a row has too few or too many fields.
        NotANumberError
            If a number is text.
        """
        pa = require_pyarrow("CSV and other text files")
        types = dict.fromkeys(numbers, pa.float64())
        types |= dict.fromkeys(texts, pa.dictionary(pa.int32(), pa.string()))
        content = Counted(self._source.file, self.format)
        try:
            with closing(_batches(content, self.format, types)) as batches:
                return collect(self._certain(batches, content, texts))
        except MemoryError:
            raise
        except (pa.ArrowException, UnicodeDecodeError, _DoubtfulError):
            pass
        return self._read_rewritten(types, collect)

    def _read_rewritten(self, types: Mapping[str, Any], collect: Callable[[Iterator[Any]], T]) -> T:
        with closing(self.rewritten(types)) as batches, damage_named(self.name, "text"):
            return collect(batches)

    def rewritten(self, types: Mapping[str, Any], first_row: int = 0) -> Generator[Any, None, None]:
        """Yield the RecordBatches of these columns from a row on, read by Python's csv module.

        Texts are never null. Errors of pyarrow are about the columns in `types`.
        """
        with closing(self._checked_rows(types)) as rows:
            content = Rewritten(islice(rows, first_row, None))
            plain_format = TextFormat(tuple(types), 0, null=self.format.null, block_size=REWRITTEN_BLOCK)
            yield from _batches(content, plain_format, types)

    def schema(self) -> Any:
        """The names of the columns, and the types that the first rows show, read by Python's csv module."""
        import pyarrow as pa
        from pyarrow import csv as arrow_csv

        refuse_twice(self.columns, name=self.name)
        with closing(self._checked_rows(dict.fromkeys(self.columns, pa.string()))) as rows:
            content = Rewritten(rows)
            plain_format = replace(self.format, n_header_lines=0, separator=",", quote='"', encoding="utf-8")
            try:
                with content.errors_raised():
                    return arrow_csv.open_csv(content.lent(), *plain_format.arrow_options({})).schema
            finally:
                content.stop()

    def where(self, row: int, column: str) -> tuple[str, str]:
        """Return the line of a row for a message, and the field of a column; rows are counted from 0."""
        with closing(self.format.rows(self._source)) as rows:
            line, fields = next(islice(rows, row, None))
        return f"line {line}", fields[self.columns.index(column)].strip()

    def _certain(self, batches: Iterator[Any], content: Counted, texts: Sequence[str]) -> Iterator[Any]:
        """Yield batches; raise an error at the end if pyarrow may have misunderstood quotes.

        It accepts a quote that is not closed and text behind a quote, and takes a quote after a space as text.
        """
        n_rows = 0
        for batch in batches:
            n_rows += len(batch)
            if content.quotes.n:
                for name in texts:
                    distinct = batch.column(name).dictionary.to_pylist()
                    if any(text.lstrip().startswith(self.format.quote) for text in distinct):
                        raise _DoubtfulError
            if len(batch):
                yield batch
        if n_rows == 0:
            self._refuse_no_rows()
        if content.quotes.are_plain():
            return
        if sum(1 for _ in self.format.rows(self._source)) != n_rows:
            raise _DoubtfulError

    def _checked_rows(self, types: Mapping[str, Any]) -> Generator[list[str], None, None]:
        """Yield the fields of the columns in `types`; numbers have a point and no sign +, missing ones are empty."""
        import pyarrow as pa

        columns = [(name, self.columns.index(name), pa.types.is_floating(type_)) for name, type_ in types.items()]
        row: list[str] = []
        for line, row in self.format.rows(self._source):
            if len(row) != len(self.columns):
                raise InputValueError(
                    f"{self.name} line {line} has {counted(len(row), 'field')}, expected {len(self.columns)} as in the "
                    f"header{other_separator(self.columns)}; correct the line."
                )
            yield [
                self._number(line, name, row[j].strip()) if is_floating else row[j].strip()
                for name, j, is_floating in columns
            ]
        if not row:
            self._refuse_no_rows()

    def _number(self, line: int, column: str, field: str) -> str:
        """Return a number in the form that pyarrow parses; a missing one is empty."""
        number = self._read(field)
        if number is not None:
            return number
        if DECIMAL_COMMA.fullmatch(field) or THOUSANDS.fullmatch(field):
            advice = (
                "give --decimal , if the comma is the decimal mark, remove separators of thousands, or, in a fit, name "
                "the column with --categorical if its values are levels"
            )
        elif GROUPED.fullmatch(field) and not is_number(field):
            advice = (
                "remove separators of thousands, or, in a fit, name the column with --categorical if its values are "
                "levels, or leave it out with --drop"
            )
        elif is_number(field):
            advice = (
                "give --decimal . if the point is the decimal mark, remove separators of thousands, or, in a fit, name "
                "the column with --categorical if its values are levels"
            )
        else:
            advice = (
                "correct it, or, in a fit, name the column with --categorical if its values are levels, or leave it "
                "out with --drop"
            )
        found = f"{self.name} line {line} has {plain(field)} in column {plain(column)}"
        raise NotANumberError(f"{found}, expected a number; {advice}.", column, found)

    def _read(self, field: str) -> str | None:
        """A number in the form that pyarrow parses, empty if it is missing; None for text."""
        if not field or field in self.format.null:
            return ""
        mark = self.format.decimal
        number = field if mark == "." else field.replace(".", "x").replace(mark, ".")
        return number.removeprefix("+") if is_number(number) else None

    def is_number(self, text: str) -> bool:
        """Whether a text is a number as this file writes numbers."""
        return self._read(text.strip()) not in (None, "")

    def not_numbers(self, names: Sequence[str]) -> list[str]:
        """Those of the columns that have text in the first rows."""
        places = {self.columns.index(name): name for name in names}
        found = set()
        with closing(self.format.rows(self._source)) as rows:
            for _, row in islice(rows, RECORDS):
                for j in [j for j in places if j < len(row) and self._read(row[j].strip()) is None]:
                    found.add(places.pop(j))
        return [name for name in names if name in found]

    def are_truth_values(self, names: Sequence[str]) -> bool:
        """Whether the first rows of columns that are not numbers have only True, False and missing values."""
        places = [self.columns.index(name) for name in names]
        with closing(self.format.rows(self._source)) as rows:
            fields = {row[j].strip() for _, row in islice(rows, RECORDS) for j in places if j < len(row)}
        return all(is_truth(field) or not field or field in self.format.null for field in fields)

    def column(self, name: str, chunks: Any) -> Column:
        """A column as `read` returns it, numbers or texts, a ChunkedArray; texts without spaces around them."""
        found = column_of_arrow(name, chunks)
        if found.kind != CATEGORY:
            return found
        places: dict[str, int] = {}
        stripped = [level.strip() for level in found.levels]
        lookup = [
            -1 if not text or text in self.format.null else places.setdefault(text, len(places)) for text in stripped
        ]
        return Column(name, CATEGORY, np.array([*lookup, -1], np.int64)[found.values], tuple(places))

    def _refuse_no_rows(self) -> NoReturn:
        raise NoRowsError(f"{self.name} has a header, but no lines below it; expected at least one sample.")


def is_number(field: str) -> bool:
    """Whether a field is a number with a decimal point."""
    return as_float(field) is not None


class NotANumberError(InputValueError):
    """A field that should be a number is text.

    Attributes
    ----------
    column : str
        The name of its column.
    found : str
        The beginning of the message: what the file has, and where.
    """

    def __init__(self, message: str, column: str = "", found: str = "") -> None:
        super().__init__(message)
        self.column, self.found = column, found

    def beside(self) -> InputValueError:
        """The error for a column that cannot be a feature: weights, groups or an offset."""
        return InputValueError(f"{self.found}, expected a number; correct it, or name another column.")


class _DoubtfulError(Exception):
    """pyarrow may have misunderstood the file."""


def _batches(content: Content, format_: TextFormat, types: Mapping[str, Any]) -> Generator[Any, None, None]:
    from pyarrow import csv as arrow_csv

    try:
        with content.errors_raised():
            yield from arrow_csv.open_csv(content.lent(), *format_.arrow_options(types))
    finally:
        content.stop()


def _n_rows(file: IO[bytes], row_size: float) -> int:
    try:
        return int(1.05 * file.seek(0, os.SEEK_END) / row_size) + 1
    except OSError:  # compressed
        return 0
