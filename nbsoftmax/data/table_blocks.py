"""Files of columns in blocks of rows, in memory that does not depend on their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data import tables
from nbsoftmax.data.blocks import Block
from nbsoftmax.data.columnar import ColumnarFile
from nbsoftmax.data.cut import Batch, cut
from nbsoftmax.data.numbers import array_of, common_dtype, first_not_finite
from nbsoftmax.data.text import TextFile
from nbsoftmax.errors import InputError

T = TypeVar("T")
Encode = Callable[[NDArray[Any]], NDArray[np.int64]]


def read_in_blocks(
    file: TextFile | ColumnarFile,
    request: tables.Request,
    use: Callable[[Iterator[Block]], T],
    *,
    batch_rows: int,
    encode: Encode | None = None,
) -> T:
    """Read the requested columns in blocks of `batch_rows` rows; the last one may be shorter.

    Parameters
    ----------
    file : TextFile or ColumnarFile
    request : Request
    use : function of an iterator over Block
        Called a second time if the file must be read again from its beginning, because pyarrow has misunderstood it.
    batch_rows : int
    encode : function of labels (n,), optional
        Returns the `y` of blocks, class indices (n,); needed if the request has a target.

    Returns
    -------
    What `use` returns.

    Raises
    ------
    InputValueError, InputTypeError
        As `tables.read`; the blocks before the wrong row have been used.
    """
    names, numbers = tables.columns_to_read(file, request)

    def blocks(batches: Iterator[Any]) -> Iterator[Block]:
        return cut(_arrays(file, batches, names, request, encode), batch_rows=batch_rows, dtype=None)

    try:
        return file.read(numbers, request.target, lambda batches: use(blocks(batches)))
    except _WrongRowError as wrong:
        error = wrong.error
    raise error()


class _WrongRowError(Exception):
    """A row is wrong; `error` makes the message, which reads the file again to find the line."""

    def __init__(self, error: Callable[[], InputError]) -> None:
        super().__init__()
        self.error = error


class _PlaceWantedError(Exception):
    """A message needs the line of a row while the file is being read."""


class _Rows:
    """The rows of a file from one on."""

    def __init__(self, file: TextFile | ColumnarFile, first: int, *, being_read: bool) -> None:
        self.name, self._file, self._first, self._being_read = file.name, file, first, being_read

    def where(self, row: int, column: str) -> tuple[str, str]:
        """Return the line or row for a message, and the text of a field."""
        if self._being_read:
            raise _PlaceWantedError
        return self._file.where(self._first + row, column)


def _arrays(
    file: TextFile | ColumnarFile,
    batches: Iterator[Any],
    names: tuple[str, ...],
    request: tables.Request,
    encode: Encode | None,
) -> Iterator[Batch]:
    columns = [*names] + ([] if request.weight is None else [request.weight])
    n = 0
    for batch in batches:
        numbers = batch.select(columns)
        array = array_of(numbers)
        wrong = first_not_finite(array)
        if wrong is not None:
            row, j = wrong
            raise _WrongRowError(partial(tables.not_finite, file, n + row, columns[j], float(array[row, j])))
        X = array[:, : len(names)].astype(common_dtype(numbers.schema.types[: len(names)]), copy=False)
        weight = None if request.weight is None else array[:, -1].astype(np.float64)
        y = None
        if request.target is not None and encode is not None:
            y = encode(_labels(file, batch.column(request.target), request, n))
        n += len(batch)
        yield Batch(X, y, weight)


def _labels(file: TextFile | ColumnarFile, array: Any, request: tables.Request, first: int) -> NDArray[Any]:
    import pyarrow as pa

    column = pa.chunked_array([array])
    try:
        return tables.labels(file, column, request, _Rows(file, first, being_read=True))
    except _PlaceWantedError:
        raise _WrongRowError(partial(_error_of_labels, file, column, request, first)) from None


def _error_of_labels(file: TextFile | ColumnarFile, column: Any, request: tables.Request, first: int) -> InputError:
    try:
        tables.labels(file, column, request, _Rows(file, first, being_read=False))
    except InputError as error:
        return error
    raise AssertionError("the labels are right")
