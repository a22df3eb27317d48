"""Files of columns of any kind in blocks of rows, which the encoding of a model makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data import tables
from nbsoftmax.data.blocks import Block
from nbsoftmax.data.columnar import ColumnarFile
from nbsoftmax.data.cut import Batch, cut
from nbsoftmax.data.encoded_tables import in_file, located, retried
from nbsoftmax.data.table_blocks import Encode, WrongRowError, kept_columns, labels_of_batch, texts_of
from nbsoftmax.data.text import TextFile
from nbsoftmax.encoding import AnyEncoding, WrongFieldError
from nbsoftmax.encoding.reports import Unknown, add_unknown
from nbsoftmax.validation.frames import rows_where

T = TypeVar("T")


class EncodedBlocks:
    """Reads the columns of an encoding in blocks of rows.

    Parameters
    ----------
    file : TextFile or ColumnarFile
    request : Request
    encoding : AnyEncoding
    drop : bool
        Whether rows with missing values are left out if the encoding drops them.

    Attributes
    ----------
    unknown : dict
        Counts of unknown levels of the rows that have been read, as in `Encoded`.
    n_dropped : int
        Rows that have been left out.
    """

    def __init__(
        self, file: TextFile | ColumnarFile, request: tables.Request, encoding: AnyEncoding, *, drop: bool
    ) -> None:
        self._file, self._encoding, self._drop = file, encoding, drop
        self._request = replace(request, features=encoding.columns)
        self.unknown: Unknown = {}
        self.n_dropped = 0

    def read(self, use: Callable[[Iterator[Block]], T], *, batch_rows: int, encode: Encode | None = None) -> T:
        """What `use` returns; the parameters and errors are those of `table_blocks.read_in_blocks`."""
        names = tables.columns_to_read(self._file, self._request)[0]

        def once(texts: set[str]) -> T:
            others = [*(name for name in names if name in texts), *texts_of(self._request)]
            numbers = [*(name for name in names if name not in others), *self._request.beside]

            def blocks(batches: Iterator[Any]) -> Iterator[Block]:
                self.unknown, self.n_dropped = {}, 0
                return cut(self._batches(batches, encode), batch_rows=batch_rows, dtype=None)

            numbers, others = list(dict.fromkeys(numbers)), list(dict.fromkeys(others))
            return self._request.read(self._file, numbers, others, lambda batches: use(blocks(batches)))

        try:
            with located(self._file):
                return retried(set(self._file.not_numbers(names)), names, once)
        except WrongRowError as wrong:
            error = wrong.error
        raise error()

    def _batches(self, batches: Iterator[Any], encode: Encode | None) -> Iterator[Batch]:
        n = 0
        for batch in batches:
            columns = {name: self._column(batch, name) for name in self._encoding.columns}
            try:
                found = self._encoding.encode(columns, drop=self._drop)
            except WrongFieldError as error:
                raise WrongRowError(partial(in_file, self._file, error, n)) from None
            add_unknown(self.unknown, found.unknown)
            self.n_dropped += found.n_dropped
            rows = n + np.arange(len(batch))
            n += len(batch)
            left = batch
            if found.kept is not None:
                left, rows = rows_where(found.kept, batch), rows[found.kept]
            yield Batch(found.X, *self._rest(left, rows, encode))

    def _rest(self, batch: Any, rows: NDArray[np.intp], encode: Encode | None) -> tuple[Any, ...]:
        """The y, weights and offset of these rows of the file."""
        request = self._request
        beside = np.empty((len(batch), len(request.beside)))
        for j, name in enumerate(request.beside):
            beside[:, j] = self._column(batch, name).values
        wrong = tables.first_wrong(beside, request)
        if wrong is not None:
            row, column, number = wrong
            raise WrongRowError(partial(tables.not_finite, self._file, int(rows[row]), column, number))
        y: Any = kept_columns(batch, request.keep) if request.keep else None
        if request.target is not None and encode is not None:
            y = encode(labels_of_batch(self._file, batch.column(request.target), request, rows))
        return y, *request.split(beside)

    def _column(self, batch: Any, name: str) -> Any:
        """A column of a batch for the encoding."""
        import pyarrow as pa

        return self._file.column(name, pa.chunked_array([batch.column(name)]))
