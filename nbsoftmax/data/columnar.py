"""Parquet files, files of Arrow (Feather), and streams of Arrow, read into Arrow batches."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

from nbsoftmax.data.arrow import LeftOpen, damage_named, require_pyarrow
from nbsoftmax.data.dialect import check_names
from nbsoftmax.data.source import Source
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.validation import frames

T = TypeVar("T")

BATCH = 2**16  # rows of a batch of Parquet, at most
BATCH_BYTES = 2**25  # of the numbers in a batch of Parquet, if each takes 8
BUFFER = 2**18  # bytes of a column of Parquet that are read at once
NAMES = {"parquet": "a Parquet file", "arrow": "an Arrow file", "arrow stream": "a stream of Arrow"}


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
    n_rows : int
        Number of rows, or 0 if it is not known.
    """

    def __init__(self, source: Source, kind: str) -> None:
        self.name, self._kind, self._source = source.name, kind, source
        self._pa = require_pyarrow("Parquet and Arrow files")
        with damage_named(self.name, NAMES[kind]):
            self._schema = self._opened().schema_arrow if kind == "parquet" else self._opened().schema
            self.columns: tuple[str, ...] = tuple(self._schema.names)
            self.n_rows: int = self._opened().metadata.num_rows if kind == "parquet" else 0
        if not self.columns:
            raise InputValueError(f"{self.name} has no columns; expected features and labels.")
        check_names(self.name, self.columns)

    def read(self, numbers: Sequence[str], labels: str | None, collect: Callable[[Iterator[Any]], T]) -> T:
        """Read columns of numbers, and one of labels, with the types of the file.

        Parameters
        ----------
        numbers : sequence of str
        labels : str or None
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
        with damage_named(self.name, NAMES[self._kind]):
            return collect(self._batches([*numbers] + ([] if labels is None else [labels])))

    def _batches(self, names: list[str]) -> Iterator[Any]:
        n_rows = 0
        for batch in self._of_parquet(names) if self._kind == "parquet" else self._of_arrow(names):
            batch.validate(full=True)  # a damaged offset of Arrow's format would end the process
            n_rows += len(batch)
            if len(batch):
                yield batch
        if n_rows == 0:
            raise InputValueError(f"{self.name} has no rows; expected at least one sample.")

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

    def _check_type(self, name: str) -> None:
        """Raise an error if a column is not one of numbers."""
        types = self._pa.types
        type_ = self._schema.field(name).type
        if types.is_dictionary(type_):
            type_ = type_.value_type
        if types.is_null(type_):
            raise InputValueError(f"{self.name} has no values in column {plain(name)}; leave it out with --drop.")
        if not (types.is_floating(type_) or types.is_integer(type_) or types.is_decimal(type_)):
            shown = frames.plain_dtype(str(type_))
            advice = (
                "convert it to 0 and 1"
                if types.is_boolean(type_)
                else frames.advice_for(shown) or "convert it to numbers"
            )
            raise InputTypeError(
                f"{self.name} has the type {shown} in column {plain(name)}, expected numbers; {advice}, name the "
                "column as the target, or leave it out with --drop."
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
