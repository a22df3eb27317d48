"""Files of columns of any kind in blocks of rows, which the encoding of a model makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import numpy as np

from nbsoftmax.data import tables
from nbsoftmax.data.blocks import Block
from nbsoftmax.data.columnar import ColumnarFile
from nbsoftmax.data.cut import Batch, cut
from nbsoftmax.data.encoded_tables import in_file, located, retried
from nbsoftmax.data.table_blocks import Encode, WrongRowError, kept_columns, labels_of_batch, texts_of
from nbsoftmax.data.text import TextFile
from nbsoftmax.encoding import AnyEncoding, WrongFieldError
from nbsoftmax.encoding.base import Unknown, add_unknown

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

            found: T = self._file.read(
                list(dict.fromkeys(numbers)), list(dict.fromkeys(others)), lambda batches: use(blocks(batches))
            )
            return found

        try:
            with located(self._file):
                return retried(set(self._file.not_numbers(names)), names, once)
        except WrongRowError as wrong:
            error = wrong.error
        raise error()

    def _batches(self, batches: Iterator[Any], encode: Encode | None) -> Iterator[Batch]:
        import pyarrow as pa

        n = 0
        for batch in batches:

            def column(name: str, batch: Any = batch) -> Any:
                return self._file.column(name, pa.chunked_array([batch.column(name)]))

            try:
                found = self._encoding.encode({name: column(name) for name in self._encoding.columns}, drop=self._drop)
            except WrongFieldError as error:
                raise WrongRowError(partial(in_file, self._file, error, n)) from None
            add_unknown(self.unknown, found.unknown)
            beside = np.empty((len(batch), len(self._request.beside)))
            for j, name in enumerate(self._request.beside):
                beside[:, j] = column(name).values
            wrong = np.argwhere(~np.isfinite(beside))
            if len(wrong):
                row, j = wrong[0].tolist()
                place = n + row, self._request.beside[j], float(beside[row, j])
                raise WrongRowError(partial(tables.not_finite, self._file, *place))
            y: Any = kept_columns(batch, self._request.keep) if self._request.keep else None
            if self._request.target is not None and encode is not None:
                y = encode(labels_of_batch(self._file, batch.column(self._request.target), self._request, n))
            weight, offset = self._request.split(beside)
            n += len(batch)
            if found.kept is not None:
                self.n_dropped += int((~found.kept).sum())
                y, weight, offset = (None if a is None else a[found.kept] for a in (y, weight, offset))
            yield Batch(found.X, y, weight, offset)
