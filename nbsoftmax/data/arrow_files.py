"""Parquet, Arrow and CSV files, read by pyarrow in memory that does not depend on their size."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from nbsoftmax.data.arrow import arrow, damage_named
from nbsoftmax.data.cut import Batch
from nbsoftmax.data.roles import Roles, TableRows, is_matrix
from nbsoftmax.data.text_batches import TextBatches
from nbsoftmax.data.text_labels import TextLabels
from nbsoftmax.encoding import AnyEncoding, Learner, TableOptions, WrongFieldError
from nbsoftmax.encoding.frames import column_of_arrow
from nbsoftmax.errors import InputError, InputValueError, plain
from nbsoftmax.validation import refuse_twice
from nbsoftmax.validation.arrow_tables import arrow_dtype, index_of, is_number_of_arrow

FORMATS = {
    ".parquet": "parquet", ".pq": "parquet", ".arrow": "arrow", ".feather": "arrow", ".ipc": "arrow", ".csv": "csv",
    ".tsv": "tsv", ".npy": "npy",
}  # fmt: skip
TEXT = ("csv", "tsv")  # formats of text
BATCH_BYTES = 2**24  # of the numbers in a batch, if each takes 8


class ArrowFiles:
    """Files of one format with the same columns.

    Parameters
    ----------
    paths : list of str
    kind : {"parquet", "arrow", "csv", "tsv"} or pyarrow.dataset.CsvFileFormat
    roles : Roles
    table : TableOptions or AnyEncoding, optional
        How features that are not numbers are encoded; options are learned from all rows.
    classes : ndarray (n_classes,), optional
        Labels that are known, for files of text.

    Attributes
    ----------
    encoding : AnyEncoding or None
    seekable : bool
        Whether reading can begin at any row.
    """

    def __init__(self, paths: list[str], kind: Any, roles: Roles, table: Any = None, classes: Any = None) -> None:
        pa = arrow()
        self.paths, self._kind = paths, kind if kind in ("parquet", "arrow") else "text"
        self.seekable = kind == "arrow"
        self._text_batches = TextBatches(_csv_format(kind)) if self._kind == "text" else None
        self._open: dict[str, Any] = {}  # Arrow files that have been opened
        self._lengths: dict[str, list[int]] = {}  # of the batches of Arrow files that have been read
        self._starts: dict[int, str] = {}  # files that have been read, by the number of their first row
        self._complete: set[str] = set()  # files of text that have all columns
        self._schema = self._first_schema()
        with damage_named(paths[0], self._kind):  # a damaged name is no text
            names = self._schema.names
        known = None if isinstance(table, TableOptions) else table
        if known is not None:
            roles = replace(roles, features=known.columns)
        features = roles.of_columns(names, index_of(self._schema))
        if self._text_batches is not None:
            levels = known.level_columns if known is not None else () if table is None else table.categorical
            self._schema = pa.schema([_typed(field, roles.target, levels) for field in self._schema])
        types = [self._schema.field(name).type for name in features]
        if is_matrix(types):
            table = known
        elif table is None:
            arrow_dtype(features, types)
        self._roles = Roles(roles.target, features, roles.weight, roles.offset)
        self._labels: TextLabels | None = None
        if self._text_batches is not None and isinstance(roles.target, str):
            name = paths[0] if len(paths) == 1 else "the data"
            missing = self._text_batches.missing
            self._labels = TextLabels(name, roles.target, self._texts_of_labels, missing, classes, self._place_of_label)
        self._columns = [*features, *roles.others()]
        self._batch_rows = max(64, min(2**17, BATCH_BYTES // (8 * len(features))))
        self.encoding = self._learned(table, types) if isinstance(table, TableOptions) else table
        self._keeps = False
        if self.encoding is not None and self.encoding.drops_rows:
            self.seekable = False  # blocks begin at other rows than those of the files

    def keeping_rows(self) -> ArrowFiles:
        """The same rows; those that the encoding would drop are errors."""
        files = copy.copy(self)
        files._keeps = True
        return files

    def key(self) -> tuple[Any, ...]:
        """What identifies the rows, besides the files."""
        import pickle

        encoding = None if self.encoding is None else json.dumps(self.encoding.to_dict())
        classes = None if self._labels is None else ("labels of all rows", self._labels.classes)
        return (
            self._kind,
            self._roles,
            None if self._text_batches is None else pickle.dumps(self._text_batches.format),
            encoding,
            classes,
        )

    def _learned(self, options: TableOptions, types: list[Any]) -> AnyEncoding | None:
        """The encoding of all rows; None if all features are numbers."""
        if not options.always and all(map(is_number_of_arrow, types)):
            return None
        learner = self._learner(options)
        if self._text_batches is not None:
            is_number = self._text_batches.is_number
            mistake = learner.mistake(is_number)
            if mistake is not None:
                raise self._text_batches.among_numbers(self.paths, *mistake)
            odd = set(learner.texts_of_numbers(is_number)) - self._text_batches.typed
            if odd:  # numbers that pyarrow does not read, as behind a space of another kind
                pa, fields = arrow(), list(self._schema)
                self._schema = pa.schema([f.with_type(pa.float64()) if f.name in odd else f for f in fields])
                return self._learned(options, [self._schema.field(name).type for name in self._roles.features or ()])
        learner.warn_of_dropped()
        return learner.encoding()

    def _learner(self, options: TableOptions) -> Learner:
        """What the features of all rows say."""
        learner, features = Learner(options), self._roles.features or ()
        for path in self.paths:
            with damage_named(path, self._kind):
                self._starts[learner.n_rows] = path
                for batch in self._read(path, 0):
                    with self._in_file(path):
                        learner.add(column_of_arrow(name, batch.column(name)) for name in features)
                    del batch
        return learner

    def batches(self, first_row: int = 0) -> Iterator[Batch]:
        """The rows of all files, from this one on; only of Arrow files from another one than the first."""
        if self._labels is not None:
            self._labels.find_type()
        start, rows = 0, TableRows(self._roles, self.encoding, first_row, drop=not self._keeps)
        for path in self.paths:
            self._starts[start] = path
            with damage_named(path, self._kind):
                for table in self._read(path, first_row - start):
                    with self._in_file(path):
                        batch = rows.batch(self._with_labels(table, rows.n_rows))
                    yield batch._replace(file=path)
                    del table, batch
            start = start + sum(self._lengths[path]) if path in self._lengths else rows.n_rows
        rows.warn_of_unknown()

    @contextmanager
    def _in_file(self, path: str) -> Iterator[None]:
        """Name the file in errors, and the row in it in those about one row."""
        try:
            yield
        except InputError as error:
            found = self.located(error, 0)
            raise (type(error)(f"{path}: {error}") if found is error else found) from None

    def located(self, error: InputError, first_row: int) -> InputError:
        """Name the file, and the row or line in it, in an error about one row; other errors are returned unchanged.

        Parameters
        ----------
        error : InputError
        first_row : int
            The row of all files that the error counts as row 0.
        """
        field = error if isinstance(error, WrongFieldError) else None
        number = error.only_row() if field is None else field.row
        if number is None:
            return error
        path, row = self._file_of(first_row + number)
        line = None if self._text_batches is None else self._text_batches.line(path, row)
        place = "" if line is None else f" line {line}"
        if field is not None:
            place = place or f" row {row} (counted from 0)"
            return InputValueError(f"{path}{place} has {field.has} in column {plain(field.column)}; {field.advice}.")
        return error.in_file(f"{path}{place}", row)

    def _file_of(self, row: int) -> tuple[str, int]:
        """The file of a row of all files that have been read, and its number in it."""
        start = max(start for start in self._starts if start <= row)
        return self._starts[start], row - start

    def _place_of_label(self, row: int) -> str:
        path, row = self._file_of(row)
        return f"{f'in {path} ' if len(self.paths) > 1 else ''}at row {row} (counted from 0)"

    def located_again(self, error: InputError, first_row: int) -> InputError:
        """As `located`, if `first_row` counts only kept rows. The files are read again: a cache has no lines."""
        number = error.only_row()
        if number is None:
            return error
        wanted, start = first_row + number, 0
        dropping = TableRows(self._roles, self.encoding) if self.encoding and self.encoding.drops_rows else None
        for path in self.paths:
            self._starts[start] = path
            for table in self._read(path, 0):
                kept = None if dropping is None else dropping.encoded(table).kept
                rows = np.arange(len(table)) if kept is None else np.flatnonzero(kept)
                if wanted < len(rows):
                    row = start + int(rows[wanted])
                    parts = (part if isinstance(part, str) else row for part in error.parts)
                    return self.located(type(error).about_rows(*parts), 0)
                wanted, start = wanted - len(rows), start + len(table)
        return error

    def _with_labels(self, table: Any, first_row: int) -> Any:
        """A RecordBatch of a text file, its labels with their types; `first_row` is the number of its first row."""
        if self._labels is None:
            return table
        i = table.schema.get_field_index(self._labels.column)
        return table.set_column(i, self._labels.column, self._labels.of(table.column(i), first_row))

    def _texts_of_labels(self) -> Iterator[Any]:
        """The column of labels of all text files as text, in batches."""
        n_rows = 0
        for path in self.paths:
            self._starts[n_rows] = path
            with damage_named(path, self._kind):
                for batch in self._text(path, [str(self._roles.target)]):
                    n_rows += len(batch)
                    yield batch.column(0)

    def _first_schema(self) -> Any:
        """The schema of the first file that has values: where all are missing, types say nothing."""
        first = None
        for path in self.paths:
            with damage_named(path, self._kind):
                schema = self._schema_of(path)
            if not all(map(arrow().types.is_null, schema.types)):
                return schema
            first = first or schema
        return first

    def _schema_of(self, path: str) -> Any:
        pa = arrow()
        if self._kind == "parquet":
            import pyarrow.parquet as pq

            return pq.read_schema(path)
        if self._kind == "arrow":
            with pa.memory_map(path) as file:
                return pa.ipc.open_file(file).schema
        assert self._text_batches is not None
        return self._text_batches.schema(path)

    def _read(self, path: str, skip: int) -> Iterator[Any]:
        """The RecordBatches of a file, without the rows to skip."""
        if self._kind == "arrow":
            yield from self._arrow(path, skip)
        elif self._kind == "parquet":
            import pyarrow.parquet as pq

            # pyarrow.dataset would decode whole groups of rows in advance, which may be gigabytes.
            with pq.ParquetFile(path, memory_map=True) as file:
                self._check_columns(path, file.schema_arrow)
                yield from file.iter_batches(self._batch_rows, columns=self._columns)
        else:
            yield from self._text(path, self._columns)

    def _text(self, path: str, columns: list[str]) -> Iterator[Any]:
        """The RecordBatches of a text file, with these columns."""
        assert self._text_batches is not None
        if path not in self._complete:  # pyarrow would read a column that the file lacks as missing values
            self._check_columns(path, self._schema_of(path))
            self._complete.add(path)
        yield from self._text_batches.read(path, self._schema, columns, self._batch_rows)

    def _check_columns(self, path: str, schema: Any) -> None:
        """Refuse a file that lacks a column of the first one, or has it twice."""
        lacking = next((name for name in self._columns if name not in schema.names), None)
        if lacking is not None:
            raise InputValueError(
                f"{path} has no column {plain(lacking)}, which {self.paths[0]} has; give files with the same columns."
            )
        refuse_twice([name for name in schema.names if name in self._columns], name=path)

    def _arrow(self, path: str, skip: int) -> Iterator[Any]:
        """The RecordBatches of an Arrow file; where they are not compressed, they are mapped into memory."""
        # It stays open: a new map would have to look up every page again.
        if path not in self._open:
            self._open[path] = arrow().ipc.open_file(arrow().memory_map(path))
        file, known = self._open[path], self._lengths.get(path, [])
        self._check_columns(path, file.schema)
        lengths = []
        for i in range(file.num_record_batches):
            n = known[i] if known else None
            if n is not None and skip >= n:
                skip -= n
                continue
            batch = file.get_batch(i)
            for name in self._columns:
                batch.column(name).validate(full=True)  # damaged offsets of texts would end the process
            lengths.append(batch.num_rows)
            if 0 < batch.num_rows <= skip:
                skip -= batch.num_rows
                continue
            yield batch.slice(skip) if skip > 0 else batch
            skip = 0
            del batch
        if not known:
            self._lengths[path] = lengths


def _typed(field: Any, target: Any, levels: Sequence[str]) -> Any:
    """A column of a file of text: labels and levels as text, and others as `_number` says."""
    pa = arrow()
    if field.name == target:
        return field.with_type(pa.dictionary(pa.int32(), pa.string()))
    return field.with_type(pa.string()) if field.name in levels else _number(field)


def _number(field: Any) -> Any:
    """A column of text whose beginning has no number but whole ones, or none: others may follow.

    Dates with a zone stay text, because pyarrow would convert them to another zone, in which the day may differ.
    """
    pa = arrow()
    if pa.types.is_timestamp(field.type) and field.type.tz is not None:
        return field.with_type(pa.string())
    whole = pa.types.is_integer(field.type) or pa.types.is_null(field.type)
    return field.with_type(pa.float64()) if whole else field


def _csv_format(kind: Any) -> Any:
    """The options of pyarrow for a format of text."""
    import pyarrow.csv as pc
    import pyarrow.dataset as ds

    if isinstance(kind, ds.CsvFileFormat):
        return kind
    if kind not in ("csv", "tsv"):
        raise InputValueError(
            f"format is {plain(kind)}, expected 'parquet', 'arrow', 'csv', 'tsv', 'npy' or a "
            "pyarrow.dataset.CsvFileFormat."
        )
    missing = ds.CsvFragmentScanOptions(convert_options=pc.ConvertOptions(strings_can_be_null=True))
    delimiter = "," if kind == "csv" else "\t"
    return ds.CsvFileFormat(pc.ParseOptions(delimiter=delimiter), default_fragment_scan_options=missing)
