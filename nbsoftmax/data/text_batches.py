"""Text files of columns in batches, in memory that does not depend on their size.

The datasets of pyarrow parse the files. Before the first pass over a file, its quotes are looked at: pyarrow accepts
wrong ones. Where it fails, Python's csv module reads on, more slowly, and finds the line that is wrong.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from itertools import islice
from typing import IO, Any, cast

from nbsoftmax.data import source
from nbsoftmax.data.arrow import arrow
from nbsoftmax.data.compression import Decompressed
from nbsoftmax.data.dialect import TextFormat
from nbsoftmax.data.quotes import quotes_of
from nbsoftmax.data.text import NotANumberError, TextFile
from nbsoftmax.encoding.column import DECIMAL_COMMA, is_truth, number
from nbsoftmax.errors import InputValueError, plain

# The error of pyarrow about a text in a column of another type.
WRONG_VALUE = re.compile(r"In CSV column #(\d+): .*invalid value '(.*)'", re.DOTALL)
READ_AHEAD = 4  # batches that pyarrow parses in advance
BROTLI = ".br"  # the end of the names of compressed files that are not known by their first bytes


class TextBatches:
    """Reads text files of one format.

    Parameters
    ----------
    format_ : pyarrow.dataset.CsvFileFormat

    Attributes
    ----------
    missing : list of str
        Spellings of missing values.
    typed : set of str
        Columns whose type the format declares.
    """

    def __init__(self, format_: Any) -> None:
        self.format = format_
        convert = format_.default_fragment_scan_options.convert_options
        self.missing: list[str] = convert.null_values
        self._missing_texts = self.missing if convert.strings_can_be_null else []
        self.typed: set[str] = set(convert.column_types)
        self._decimal: str = convert.decimal_point
        self._columns: dict[str, tuple[str, ...]] = {}  # of files, as pyarrow names them
        self._by_python: dict[str, bool] = {}  # whether Python's csv module must read a file

    def is_number(self, text: str) -> bool:
        """Whether a text is a number or a truth value, as the files write them."""
        mark = self._decimal
        return number(text if mark == "." else text.replace(".", "x").replace(mark, ".")) is not None

    def schema(self, path: str) -> Any:
        """The names of the columns, and the types that the first rows show.

        Raises
        ------
        InputValueError
            For wrong quotes, bytes that are not text, and two columns of one name.
        """
        import pyarrow.dataset as ds

        if not self._misunderstood(path):
            try:
                found = ds.dataset(path, format=self.format).schema
                self._columns[path] = tuple(found.names)  # names may be no UTF-8
                return found
            except (arrow().ArrowInvalid, UnicodeDecodeError):
                if not self._can_be_reread():
                    raise
        with self._content(path) as content:
            return TextFile(content, self._format(path, content)).schema()

    def read(self, path: str, schema: Any, columns: list[str], n: int) -> Iterator[Any]:
        """RecordBatches of at most n rows with these columns, which have the types of a schema.

        Texts have no spaces around them, and are null where they mark a missing value.

        Raises
        ------
        InputValueError
            For a quote that is not closed, a row with too few or too many fields, and text in a column of numbers.
        """
        import pyarrow.dataset as ds

        n_rows = 0
        if not self._misunderstood(path):
            data = ds.dataset(path, schema=schema, format=self.format)
            try:
                for batch in data.to_batches(
                    columns=columns, batch_size=n, batch_readahead=READ_AHEAD, fragment_readahead=1
                ):
                    n_rows += len(batch)
                    yield self._stripped(batch)
                return
            except arrow().ArrowInvalid:
                if not self._can_be_reread():
                    raise
        yield from self._read_by_python(path, {name: schema.field(name).type for name in columns}, n_rows)

    def _read_by_python(self, path: str, types: Mapping[str, Any], first_row: int) -> Iterator[Any]:
        with self._content(path) as content:
            file = TextFile(content, self._format(path, content))
            try:
                with closing(file.rewritten(types, first_row)) as batches:
                    yield from map(self._stripped, batches)
            except NotANumberError as error:
                raise _no_number(error.found) from None
            except arrow().ArrowInvalid as error:
                wrong = WRONG_VALUE.search(str(error))
                if wrong is None:
                    raise
                name, value = list(types)[int(wrong[1])], wrong[2]
                j = file.columns.index(name)
                with closing(file.format.rows(content)) as rows:
                    place = next((f" line {line}" for line, row in rows if row[j].strip() == value), "")
                raise _no_number(f"{path}{place} has {plain(value)} in column {plain(name)}") from None

    def among_numbers(self, paths: Sequence[str], column: str, text: str) -> InputValueError:
        """The error about the first text in a column of numbers, with its file and line."""
        found = f"{paths[0]} has {plain(text)} in column {plain(column)}"
        for path in paths:
            with self._content(path) as content:
                file = TextFile(content, self._format(path, content))
                try:
                    for _ in file.rewritten({column: arrow().float64()}):
                        pass
                except NotANumberError as error:
                    found = error.found
                    break
        what, advice = "most of whose values are numbers", "correct it"
        if number(text) is not None and not is_truth(text):
            what = "but numbers of this file have a decimal comma"
            advice = "give --decimal . (a decimal_point of the format) if the point is the decimal mark"
        elif DECIMAL_COMMA.fullmatch(text.strip()):
            advice = "give --decimal , (decimal_point=',' of the format) if the comma is the decimal mark"
        return InputValueError(
            f"{found}, {what}; {advice}, remove separators of thousands, name the column in `categorical` "
            "(--categorical) if its values are levels, or leave it out."
        )

    def line(self, path: str, row: int) -> int | None:
        """The line of a row of a file, counted from 1; None if Python's csv module cannot read the file."""
        if not self._can_be_reread():
            return None
        with self._content(path) as content, closing(self._format(path, content).rows(content)) as rows:
            return next((line for line, _ in islice(rows, row, None)), None)

    def _misunderstood(self, path: str) -> bool:
        """Whether pyarrow reads the quotes of a file in another way than Python's csv module; refuses wrong quotes."""
        if path not in self._by_python:
            parse, by_python = self.format.parse_options, False
            if parse.quote_char and self._can_be_reread():
                with self._content(path) as content:
                    quotes = quotes_of(content.file, parse.delimiter, parse.quote_char)
                    if not quotes.are_plain():
                        for _ in self._format(path, content).rows(content):  # raises an error for wrong quotes
                            by_python = quotes.after_space
            self._by_python[path] = by_python
        return self._by_python[path]

    def _can_be_reread(self) -> bool:
        """Whether Python's csv module can read files of this format."""
        parse = self.format.parse_options
        return not parse.escape_char and bool(parse.double_quote)

    @contextmanager
    def _content(self, path: str) -> Iterator[source.Source]:
        with source.opened(path) as raw:
            if path.endswith(BROTLI):  # as pyarrow decides
                yield source.Source(raw.name, cast(IO[bytes], Decompressed(raw.name, raw.file, "brotli")))
            else:
                with source.recognised(raw) as (content, _):
                    yield content

    def _format(self, path: str, content: source.Source) -> TextFormat:
        """The format of a file for Python's csv module."""
        scan, parse = self.format.default_fragment_scan_options, self.format.parse_options
        read = scan.read_options
        found = TextFormat(
            columns=tuple(read.column_names),
            n_header_lines=read.skip_rows,
            separator=parse.delimiter,
            decimal=self._decimal,
            quote=parse.quote_char or "",
            encoding=codecs.lookup(read.encoding).name,
            null=tuple(scan.convert_options.null_values),
            block_size=read.block_size,
        )
        if not read.column_names:
            with closing(found.rows(content)) as rows:
                line, names = next(rows, (0, []))
            if read.autogenerate_column_names:
                found = replace(found, columns=tuple(f"f{j}" for j in range(len(names))))
            else:
                found = replace(found, columns=tuple(name.strip() for name in names), n_header_lines=line)
        return replace(
            found,
            columns=self._columns.get(path, found.columns),
            n_header_lines=found.n_header_lines + read.skip_rows_after_names,
        )

    def _stripped(self, batch: Any) -> Any:
        """A batch whose texts have no spaces around them; those that mark a missing value are null."""
        import pyarrow.compute as pc

        pa = arrow()
        for i, field in enumerate(batch.schema):
            if pa.types.is_string(field.type):
                texts = pc.utf8_trim_whitespace(batch.column(i))
                is_missing = pc.is_in(texts, value_set=pa.array(self._missing_texts, pa.string()))
                batch = batch.set_column(i, field, pc.if_else(is_missing, pa.scalar(None, pa.string()), texts))
        return batch


def _no_number(found: str) -> InputValueError:
    return InputValueError(
        f"{found}, whose first rows have no text; correct it, name the column in `categorical` (--categorical) if its "
        "values are levels, or leave it out."
    )
