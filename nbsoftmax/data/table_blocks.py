"""Files of columns in blocks of rows, in memory that does not depend on their number."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
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
from nbsoftmax.validation import EXACT_INTEGERS

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
        The `y` of blocks are class indices, or the columns to keep, an array of objects (n, n_columns).
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
        others = [name for name in texts_of(request) if name not in numbers]
        return request.read(file, numbers, others, lambda batches: use(blocks(batches)))
    except WrongRowError as wrong:
        error = wrong.error
    raise error()


class WrongRowError(Exception):
    """A row is wrong; `error` makes the message, which reads the file again to find the line."""

    def __init__(self, error: Callable[[], InputError]) -> None:
        super().__init__()
        self.error = error


class _PlaceWantedError(Exception):
    """A message needs the line of a row while the file is being read."""


class _RowsBeingRead(tables.SomeRows):
    """Some rows of a file that is being read, so that it cannot say where they are."""

    def where(self, row: int, column: str) -> tuple[str, str]:
        """Ask for the place when the file has been read."""
        raise _PlaceWantedError


def _arrays(
    file: TextFile | ColumnarFile,
    batches: Iterator[Any],
    names: tuple[str, ...],
    request: tables.Request,
    encode: Encode | None,
) -> Iterator[Batch]:
    columns = [*names, *request.beside]
    n = 0
    for batch in batches:
        numbers = batch.select(columns)
        array = array_of(numbers)
        wrong = first_not_finite(array)
        if wrong is not None:
            row, j = wrong
            raise WrongRowError(partial(tables.not_finite, file, n + row, columns[j], float(array[row, j])))
        X = array[:, : len(names)].astype(common_dtype(numbers.schema.types[: len(names)]), copy=False)
        beside = array[:, len(names) :].astype(np.float64)
        negative = tables.first_wrong(beside, request)
        if negative is not None:
            raise WrongRowError(partial(tables.not_finite, file, n + negative[0], *negative[1:]))
        weight, offset = request.split(beside)
        y = kept_columns(batch, request.keep) if request.keep else None
        if request.target is not None and encode is not None:
            y = encode(labels_of_batch(file, batch.column(request.target), request, n + np.arange(len(batch))))
        n += len(batch)
        yield Batch(X, y, weight, offset)


def texts_of(request: tables.Request) -> list[str]:
    """The columns that are not read as numbers."""
    return list(dict.fromkeys([*([] if request.target is None else [request.target]), *request.keep]))


def kept_columns(batch: Any, names: Sequence[str]) -> NDArray[Any]:
    """Columns of a batch as Python objects, (n, n_columns); whole numbers among floats are integers."""
    kept = np.empty((len(batch), len(names)), object)
    for j, name in enumerate(names):
        values = batch.column(name).to_pylist()
        kept[:, j] = [
            int(x) if isinstance(x, float) and x.is_integer() and abs(x) < EXACT_INTEGERS else x for x in values
        ]
    return kept


def labels_of_batch(
    file: TextFile | ColumnarFile, array: Any, request: tables.Request, rows: NDArray[np.intp]
) -> NDArray[Any]:
    """The labels of a batch of these rows of the file."""
    import pyarrow as pa

    column = pa.chunked_array([array])
    try:
        return tables.labels(file, column, request, _RowsBeingRead(file, rows))
    except _PlaceWantedError:
        raise WrongRowError(partial(_error_of_labels, file, column, request, rows)) from None


def _error_of_labels(
    file: TextFile | ColumnarFile, column: Any, request: tables.Request, rows: NDArray[np.intp]
) -> InputError:
    try:
        tables.labels(file, column, request, tables.SomeRows(file, rows))
    except InputError as error:
        return error
    raise AssertionError("the labels are right")
