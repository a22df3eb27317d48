"""Parquet files, files of Arrow (Feather), and streams of Arrow, read into Arrow batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np

from nbsoftmax.data.arrow import LeftOpen, damage_named, require_pyarrow
from nbsoftmax.data.dialect import check_names
from nbsoftmax.data.source import Source
from nbsoftmax.encoding.column import NUMBER, Column
from nbsoftmax.encoding.frames import column_of_arrow
from nbsoftmax.errors import InputTypeError, InputValueError, NoRowsError, plain
from nbsoftmax.validation.arrow_tables import floats_of, index_of
from nbsoftmax.validation.column_dtypes import advice_for, plain_dtype

T = TypeVar("T")

BATCH = 2**16  # rows of a batch of Parquet, at most
BATCH_BYTES = 2**25  # of the numbers in a batch of Parquet, if each takes 8
BUFFER = 2**18  # bytes of a column of Parquet that are read at once


class ColumnarFile:
    """A file of typed columns.

    Parameters
    ----------
    source : Source
    kind : {"parquet", "arrow", "arrow stream"}

    Attributes
    ----------
    name : str
        Name for messages.
    columns : tuple of str
        Names of all columns.
    index : set of str
        Columns that are an index of pandas.
    n_rows : int
        Number of rows, or 0 if it is not known.
    """

    def __init__(self, source: Source, kind: str) -> None:
        self.name, self._kind, self._source = source.name, kind, source
        self._pa = require_pyarrow("Parquet and Arrow files")
        with damage_named(self.name, kind):
            self._schema = self._opened().schema_arrow if kind == "parquet" else self._opened().schema
            self.columns: tuple[str, ...] = tuple(self._schema.names)
            self.index = index_of(self._schema)
            self.n_rows: int = self._opened().metadata.num_rows if kind == "parquet" else 0
        if not self.columns:
            raise InputValueError(f"{self.name} has no columns; expected features and labels.")
        check_names(self.name, self.columns)

    def read(self, numbers: Sequence[str], others: Sequence[str], collect: Callable[[Iterator[Any]], T]) -> T:
        """Read columns of numbers, and others, with the types of the file.

        Parameters
        ----------
        numbers : sequence of str
        others : sequence of str
            Columns of any type.
        collect : function of an iterator over pyarrow.RecordBatch
            It need not read all batches.

        Returns
        -------
        What `collect` returns.

        Raises
        ------
        InputValueError
            If the file is damaged or has no rows.
        InputTypeError
            If a column is not one of numbers.
        """
        for name in numbers:
            self._check_type(name)
        with damage_named(self.name, self._kind):
            return collect(self._batches(list(dict.fromkeys([*numbers, *others]))))

    def _batches(self, names: list[str]) -> Iterator[Any]:
        n_rows = 0
        for batch in self._of_parquet(names) if self._kind == "parquet" else self._of_arrow(names):
            batch.validate(full=True)  # a damaged offset of Arrow's format would end the process
            n_rows += len(batch)
            if len(batch):
                yield batch
        if n_rows == 0:
            raise NoRowsError(f"{self.name} has no rows; expected at least one sample.")

    def _of_parquet(self, names: list[str]) -> Iterator[Any]:
        n = max(64, min(BATCH, BATCH_BYTES // (8 * len(names))))
        return iter(self._opened().iter_batches(n, columns=names))

    def _of_arrow(self, names: list[str]) -> Iterator[Any]:
        included = sorted(self.columns.index(name) for name in names)
        reader = self._opened(self._pa.ipc.IpcReadOptions(included_fields=included))
        if self._kind == "arrow stream":
            return iter(reader)
        return (reader.get_batch(i) for i in range(reader.num_record_batches))

    def where(self, row: int, column: str) -> tuple[str, str]:
        """Return a row for a message, and nothing of its field; rows are counted from 0."""
        return f"row {row} (counted from 0)", ""

    def not_numbers(self, names: Sequence[str]) -> list[str]:
        """Those of the columns that are not of a type of numbers."""
        return [name for name in names if not self._is_number(self._type(name))]

    def are_truth_values(self, names: Sequence[str]) -> bool:
        """Whether columns are of a type of truth values."""
        return all(self._pa.types.is_boolean(self._type(name)) for name in names)

    def column(self, name: str, chunks: Any) -> Column:
        """A column as `read` returns it, a ChunkedArray; a dictionary of numbers is a column of numbers."""
        if self._is_number(self._type(name)):
            return Column(name, NUMBER, floats_of(chunks).astype(np.float64, copy=False))
        return column_of_arrow(name, chunks)

    def _type(self, name: str) -> Any:
        """The type of a column, or of the values of a dictionary."""
        type_ = self._schema.field(name).type
        return type_.value_type if self._pa.types.is_dictionary(type_) else type_

    def _is_number(self, type_: Any) -> bool:
        types = self._pa.types
        return any(check(type_) for check in (types.is_floating, types.is_integer, types.is_decimal))

    def _check_type(self, name: str) -> None:
        """Raise an error if a column is not one of numbers."""
        types, type_ = self._pa.types, self._type(name)
        if types.is_null(type_):
            raise InputValueError(
                f"{self.name} has no values in column {plain(name)}; leave it out of the fit with --drop."
            )
        if not self._is_number(type_):
            shown = plain_dtype(str(type_))
            advice = (
                "convert it to 0 and 1" if types.is_boolean(type_) else advice_for(shown) or "convert it to numbers"
            )
            raise InputTypeError(
                f"{self.name} has the type {shown} in column {plain(name)}, expected numbers; {advice}, name the "
                "column as the target, or leave it out of the fit with --drop."
            )

    def _opened(self, options: Any = None) -> Any:
        self._source.file.seek(0)
        file = self._pa.PythonFile(LeftOpen(self._source.file), "r")
        if self._kind == "parquet":
            from pyarrow import parquet

            # pyarrow would read whole groups of rows, which may be gigabytes.
            return parquet.ParquetFile(file, buffer_size=BUFFER, pre_buffer=False)
        open_ = self._pa.ipc.open_file if self._kind == "arrow" else self._pa.ipc.open_stream
        return open_(file, options=options)
