"""Files of columns of any kind as arrays: `tables.read` where all features are numbers, and an encoding otherwise."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data import tables
from nbsoftmax.data.columnar import ColumnarFile
from nbsoftmax.data.text import NotANumberError, TextFile
from nbsoftmax.encoding import AnyEncoding, Column, Encoded, Formula, Learner, TableOptions, WrongFieldError
from nbsoftmax.encoding.column import CATEGORY, NUMBER, mistake_among_numbers
from nbsoftmax.encoding.columns import Encoding, NumberColumn
from nbsoftmax.encoding.reports import Unknown
from nbsoftmax.errors import InputError, InputValueError, plain
from nbsoftmax.validation import Float64s
from nbsoftmax.validation.frames import rows_where

File = TextFile | ColumnarFile
T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class EncodedTable:
    """The columns of a file as arrays.

    Attributes
    ----------
    table : Table
        Its X may be a csr_array.
    encoding : AnyEncoding or None
        None if all features are numbers.
    row_counters : tuple of str
        Columns that have been left out, because they only number the rows.
    suspects : tuple of str
        Features that number the rows from another number on.
    n_dropped : int
        Rows that have been left out, because a value is missing.
    unknown : dict
        Counts of unknown levels, as in `Encoded`.
    kept : ndarray (n_rows,) of bool, optional
        The rows that have not been left out; None for all.
    columns : dict of str to Column, optional
        The columns of these rows from which a known encoding has made the features, if they are wanted.
    """

    table: tables.Table
    encoding: AnyEncoding | None = None
    row_counters: tuple[str, ...] = ()
    suspects: tuple[str, ...] = ()
    n_dropped: int = 0
    unknown: Unknown | None = None
    kept: NDArray[np.bool_] | None = None
    columns: dict[str, Column] | None = None


def read_any(file: File, request: tables.Request, options: TableOptions) -> EncodedTable:
    """Read the requested columns of a file, and learn how to encode them.

    Columns without a name, and those that count the rows from 0 or 1, are left out unless the request names them.

    Raises
    ------
    InputValueError, InputTypeError
        As `tables.read`, and for columns that cannot be encoded. The message contains the line or row.
    """
    names = tables.columns_to_read(file, request)[0]
    texts = set(file.not_numbers(names)) | (set(options.categorical) & set(names))
    if not texts and not options.always:
        try:
            return _without_counters(tables.read(file, request), request.features)
        except NotANumberError as error:
            if error.column not in names:
                raise
            texts.add(error.column)
    columns, batches = retried(texts, names, lambda found: _read_columns(file, request, names, found, options))
    counters, suspects = _numbering(columns if request.features is None else ())
    columns = [column for column in columns if column.name not in counters]
    if not columns:
        raise InputValueError(f"{file.name} has no features: its only column numbers the rows; name it by --features.")
    with located(file):
        learner = Learner(options)
        learner.add(columns)
        encoding = learner.encoding()
        found = encoding.encode({column.name: column for column in columns}, drop=True)
    return EncodedTable(*_with_rest(file, request, batches, encoding, found), counters, suspects, found.n_dropped)


def read_formula(file: File, request: tables.Request, text: str, options: TableOptions) -> EncodedTable:
    """Read the columns of a formula, and learn their encoding.

    `.` stands for all features of the request, without columns that count the rows from 0 or 1.

    Raises
    ------
    InputValueError, InputTypeError
        As `read_any`, and for a formula that is not allowed.
    """
    available = [*tables.columns_to_read(file, request)[0], str(request.target)]
    formula = Formula.of(text, available, options)
    request = replace(request, features=formula.columns)
    names = tables.columns_to_read(file, request)[0]
    texts = set(file.not_numbers(names))
    columns, batches = retried(texts, names, lambda found: _read_columns(file, request, names, found, options))
    counters, suspects = _numbering([column for column in columns if not _is_named(column.name, text)])
    if counters:
        formula = Formula.of(text, [name for name in available if name not in counters], options)
        columns = [column for column in columns if column.name in formula.columns]
    with located(file):
        given = {column.name: column for column in columns}
        encoding = formula.learned(given)
        found = encoding.encode(given, drop=True)
    return EncodedTable(*_with_rest(file, request, batches, encoding, found), counters, suspects, found.n_dropped)


def _is_named(name: str, formula: str) -> bool:
    """Whether a formula names a column, so that it is not only one of those that `.` stands for."""
    return re.search(rf"(?<![\w.]){re.escape(name)}(?![\w.])", formula) is not None


def read_encoded(file: File, request: tables.Request, encoding: AnyEncoding) -> EncodedTable:
    """Read the columns of an encoding, and encode them without the rows that it drops; none of them is predicted."""
    request = replace(request, features=encoding.columns)
    names = tables.columns_to_read(file, request)[0]
    texts = set(file.not_numbers(names))
    columns, batches = retried(texts, names, lambda found: _read_columns(file, request, names, found, None))
    with located(file):
        found = encoding.encode({column.name: column for column in columns}, drop=True)
    whole = _with_rest(file, request, batches, encoding, found)
    given = None
    if request.columns:
        kept = slice(None) if found.kept is None else found.kept
        given = {column.name: column.take(kept) for column in columns}
    return EncodedTable(*whole, (), (), found.n_dropped, found.unknown, found.kept, given)


def groups(file: File, name: str, kept: NDArray[np.bool_] | None) -> NDArray[Any]:
    """The group of each row that is kept, (n_kept,): the values of a column, or the places of its levels."""
    column = file.column(name, _joined(file.read([], [name], list), name))
    missing = column.missing if kept is None else column.missing & kept
    if missing.any():
        place, _ = file.where(int(missing.argmax()), name)
        raise InputValueError(f"{file.name} {place} has no value in column {plain(name)} of --cluster; fill it in.")
    return column.values if kept is None else column.values[kept]


def encoding_for_file(file: File, encoding: AnyEncoding | None, names: Sequence[str] | None) -> AnyEncoding | None:
    """The encoding of a model; for a model of numbers, one that reads True and False if its columns have them."""
    if encoding is not None or names is None:
        return encoding
    known = set(file.columns)
    others = file.not_numbers([name for name in names if name in known])
    if not others or not file.are_truth_values(others):
        return None
    return Encoding(tuple(map(NumberColumn, names)))


def retried(texts: set[str], names: Sequence[str], read: Callable[[set[str]], T]) -> T:
    """What `read` returns, which is called again with another column of texts if one turns out not to hold numbers."""
    while True:
        try:
            return read(texts)
        except NotANumberError as error:
            if error.column in texts or error.column not in names:
                raise
            texts.add(error.column)


def _read_columns(
    file: File, request: tables.Request, names: tuple[str, ...], texts: set[str], options: TableOptions | None
) -> tuple[list[Column], list[Any]]:
    """The features of a file as columns, and the RecordBatches of all that was requested."""
    others = [*texts, *([] if request.target is None else [request.target])]
    numbers = list(dict.fromkeys([*(name for name in names if name not in texts), *request.beside]))
    batches: list[Any] = request.read(file, numbers, list(dict.fromkeys(others)), list)
    columns = [file.column(name, _joined(batches, name)) for name in names]
    if options is not None and isinstance(file, TextFile):
        for column in columns:
            if column.kind != CATEGORY or column.name in options.categorical:
                continue
            counts = dict(zip(column.levels, column.counts.tolist(), strict=True))
            if mistake_among_numbers(counts, file.is_number) is not None:
                file.read([column.name], [], list)  # raises the error that names the line
    return columns, batches


def _joined(batches: Sequence[Any], name: str) -> Any:
    """A column of all batches, a ChunkedArray."""
    import pyarrow as pa

    return pa.chunked_array([batch.column(name) for batch in batches])


def _with_rest(
    file: File, request: tables.Request, batches: Sequence[Any], encoding: AnyEncoding, found: Encoded
) -> tuple[tables.Table, AnyEncoding]:
    """The matrix of an encoding with labels, weights and offset; those of rows that it has dropped are not checked."""
    kept = found.kept
    if kept is not None and not kept.any():
        raise InputValueError("every row has a missing value, so that none is left; give --missing mean.")
    rows = file if kept is None else tables.SomeRows(file, np.flatnonzero(kept))

    def column(name: str) -> Any:
        whole = _joined(batches, name)
        return whole if kept is None else rows_where(kept, whole)

    y = None if request.target is None else tables.labels(file, column(request.target), request, rows)
    beside = np.column_stack([file.column(name, column(name)).values for name in request.beside] or [np.empty((0, 0))])
    wrong = tables.first_wrong(beside, request)
    if wrong is not None:
        raise tables.not_finite(rows, *wrong)
    return tables.Table(found.X, encoding.names, y, *request.split(beside)), encoding


@contextmanager
def located(file: Any) -> Iterator[None]:
    """Replace errors about a row of X by errors about a line of a file."""
    try:
        yield
    except WrongFieldError as error:
        raise in_file(file, error) from None
    except InputError as error:
        raise error.of(file.name) from None


def in_file(file: Any, error: WrongFieldError, first: int = 0) -> InputValueError:
    """The error about a field of a file, whose row `first` is row 0 of X."""
    place, field = file.where(first + error.row, error.column)
    has, advice = error.has, error.advice
    if error.missing:
        has = f"{plain(field)}, which marks a missing value," if field else "no value"
        advice = (
            "fill it in, drop the column, or fit with --missing mean, or with --missing drop, which leaves such rows "
            "out of fits and evaluations (a prediction needs every row)"
        )
    return InputValueError(f"{file.name} {place} has {has} in column {plain(error.column)}; {advice}.")


def _numbering(columns: Sequence[Column]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The columns that number the rows from 0 or 1, and those that do so from another number on."""
    found = [column for column in columns if column.kind == NUMBER and tables.steps_by_one(column.values)]
    counters = tuple(column.name for column in found if column.values[0] in (0, 1))
    return counters, tuple(column.name for column in found if column.name not in counters)


def counts_rows(values: Float64s) -> bool:
    """Whether numbers count the rows from 0 or 1."""
    return len(values) > 0 and values[0] in (0, 1) and tables.steps_by_one(values)


def _without_counters(table: tables.Table, named: Sequence[str] | None) -> EncodedTable:
    """The table without columns that count the rows, unless the features were named."""
    if named is not None:
        return EncodedTable(table)
    numbering = tables.row_counters(table.X, table.feature_names)
    found = [j for j, name in enumerate(table.feature_names) if name in numbering and table.X[0, j] in (0, 1)]
    if not found:
        return EncodedTable(table, suspects=numbering)
    kept = [j for j in range(table.X.shape[1]) if j not in set(found)]
    if not kept:
        raise InputValueError("the only feature numbers the rows; name it by --features if it is one.")
    names = table.feature_names
    X = np.ascontiguousarray(table.X[:, kept])
    read = replace(table, X=X, feature_names=tuple(names[j] for j in kept))
    left_out = tuple(names[j] for j in found)
    return EncodedTable(read, None, left_out, tuple(name for name in numbering if name not in left_out))
