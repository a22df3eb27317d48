"""Columns of tables in batches: which are features, targets, weights or offsets."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.data.arrow import arrow
from nbsoftmax.data.blocks import ClassColumns, CodedLabels
from nbsoftmax.data.cut import Batch
from nbsoftmax.data.dialect import other_separator
from nbsoftmax.encoding import AnyEncoding, Encoded, WrongFieldError, names_of, warn_of_unknown
from nbsoftmax.encoding.reports import Unknown, add_unknown
from nbsoftmax.errors import InputTypeError, InputValueError, listed, look_alike, plain, rows_called
from nbsoftmax.validation import Float64s
from nbsoftmax.validation.arrow_tables import INDEX, arrow_dtype, floats_of, index_of
from nbsoftmax.validation.column_dtypes import plain_dtype
from nbsoftmax.validation.decimals import whole_decimals
from nbsoftmax.validation.frames import library_of, only_column, rows_where
from nbsoftmax.validation.packing import Columns

Names = str | Sequence[str] | None
# Names of columns that are features only if they are named: those of an index of pandas, which is "" in a CSV file.
NAMELESS = re.compile(f"({INDEX})?")


@dataclass(frozen=True)
class Roles:
    """The names of the columns by what they are used for.

    Attributes
    ----------
    target, offset : str, tuple of str, or None
        The column of the labels, or those of the probabilities of all classes; the columns of the offset.
    features : tuple of str or None
        None: all columns that have a name and no other use.
    weight : str or None
    """

    target: str | tuple[str, ...] | None = None
    features: tuple[str, ...] | None = None
    weight: str | None = None
    offset: str | tuple[str, ...] | None = None

    @classmethod
    def of(cls, target: Names, features: Names, weight: str | None, offset: Names) -> Roles:
        """From the arguments of `open` and `from_batches`."""
        given = {"target": target, "features": features, "weight": weight, "offset": offset}
        for name, value in given.items():
            names = [value] if isinstance(value, str) else [] if value is None else value
            if not isinstance(names, (list, tuple)) or not all(isinstance(each, str) for each in names):
                raise InputTypeError(f"{name} is {plain(value)}, expected the name of a column, or a list of names.")
        if weight is not None and not isinstance(weight, str):
            raise InputTypeError(f"weight is {plain(weight)}, expected the name of one column.")
        one = {
            name: value if value is None or isinstance(value, str) else tuple(value) for name, value in given.items()
        }
        only = one.pop("features")
        roles = cls(features=(only,) if isinstance(only, str) else only, **one)  # type: ignore[arg-type]
        used = [*roles.others(), *(roles.features or ())]
        twice = validation.first_repeated(used)
        if twice is not None:
            raise InputValueError(f"the column {plain(twice)} is given twice; give each column one use.")
        return roles

    def others(self) -> tuple[str, ...]:
        """The columns that are no features."""
        groups = [(name,) if isinstance(name, str) else name or () for name in (self.target, self.weight, self.offset)]
        return tuple(name for group in groups for name in group)

    @property
    def class_columns(self) -> ClassColumns:
        """The names of the columns of probabilities and of the offset, if there are several."""
        return ClassColumns(*(n if isinstance(n, tuple) and len(n) > 1 else None for n in (self.target, self.offset)))

    def of_columns(self, columns: Sequence[str], index: Collection[str] = ()) -> tuple[str, ...]:
        """The features among the columns of a table, which must have all that are named.

        Those of an index are features only if they are named.
        """
        wanted = (*self.others(), *(self.features or ()))
        known = set(columns)
        missing = next((name for name in wanted if name not in known), None)
        if missing is not None:
            hint = look_alike(missing, columns) or other_separator(columns)
            raise InputValueError(f"there is no column {plain(missing)}; the columns are {listed(columns)}{hint}.")
        others = set(self.others())
        unnamed = others.union(index)
        features = self.features or tuple(n for n in columns if n not in unnamed and not NAMELESS.fullmatch(n))
        if len(known) < len(columns):
            used = others.union(features)
            double = validation.first_repeated([name for name in columns if name in used])
            if double is not None:
                raise InputValueError(f"several columns are named {plain(double)}; give each a name of its own.")
        if not features:
            raise InputValueError(f"no column is left for the features; the columns are {listed(columns)}.")
        return features


class TableRows:
    """Makes batches of tables, one after another.

    Parameters
    ----------
    roles : Roles
    encoding : AnyEncoding, optional
        What makes the features; without it they are numbers.
    first_row : int
        The number of the first row, for messages.

    Attributes
    ----------
    n_rows : int
        The number of the next row.
    """

    def __init__(
        self, roles: Roles, encoding: AnyEncoding | None = None, first_row: int = 0, *, drop: bool = True
    ) -> None:
        self._roles, self._encoding, self.n_rows, self._drop = roles, encoding, first_row, drop
        self._unknown: Unknown = {}

    def batch(self, table: Any) -> Batch:
        """The rows of a RecordBatch of Arrow, or of a pandas or polars data frame."""
        first, library = self.n_rows, library_of(table)
        is_arrow = library == "pyarrow"
        if self._encoding is None:
            self.n_rows += len(table)
            return of_arrow(table, self._roles, first) if is_arrow else of_frame(table, self._roles)
        self._roles.of_columns(names_of(table, index=True))  # refuses a table without one of them
        found, called = self.encoded(table), None
        if found.kept is not None:
            table, called, first = rows_where(found.kept, table), first + np.flatnonzero(found.kept), 0
        with rows_called(called):
            beside = _beside(table, self._roles, first) if is_arrow else _beside_of_frame(table, self._roles)
        return Batch(found.X, *beside, self._encoding.names, columns=self._roles.class_columns)

    def encoded(self, table: Any) -> Encoded:
        """The matrix of a table, without the rows that the encoding drops, if these are not refused."""
        assert self._encoding is not None
        with located_from(self.n_rows):
            found = self._encoding.encode(table, drop=self._drop)
        self.n_rows += len(table)
        add_unknown(self._unknown, found.unknown)
        return found

    def warn_of_unknown(self) -> None:
        """Warn once of all levels that the encoding does not know."""
        warn_of_unknown(self._unknown)


def selected(frame: Any, names: str | Sequence[str]) -> Any:
    """Columns of a RecordBatch of Arrow, or of a pandas or polars data frame."""
    names = [names] if isinstance(names, str) else list(names)
    if library_of(frame) == "pyarrow":
        return frame.select(names)
    column = {str(name): name for name in frame.columns}  # pandas' names may be numbers
    return frame[[column[name] for name in names]]


def of_frame(frame: Any, roles: Roles) -> Batch:
    """The rows of a pandas or polars data frame."""
    features = roles.of_columns(names_of(frame))
    X, names = validation.frame(selected(frame, features), sparse=False)
    return Batch(X, *_beside_of_frame(frame, roles), names, columns=roles.class_columns)


def _beside_of_frame(frame: Any, roles: Roles) -> tuple[Any, Float64s | None, Any]:
    """The targets, weights and offset of a data frame."""
    y: Any = None
    if isinstance(roles.target, str):
        y = validation.target_array(selected(frame, roles.target), name=f"the target {plain(roles.target)}")
    elif roles.target is not None:
        y = validation.frame(selected(frame, roles.target), name="the target", sparse=False, unique=False)[0]
    weight: Float64s | None = None
    if roles.weight is not None:
        weight = validation.as_float64s("the weight", only_column(selected(frame, roles.weight)))
    offset = None
    if roles.offset is not None:
        offset = validation.frame(selected(frame, roles.offset), name="the offset", sparse=False, unique=False)[0]
    return y, weight, offset


def of_arrow(batch: Any, roles: Roles, first_row: int = 0) -> Batch:
    """The rows of a RecordBatch of Arrow, whose number of the first row is for messages."""
    features = roles.of_columns(batch.schema.names, index_of(batch.schema))
    columns = [_storage(batch.column(name)) for name in features]
    names: tuple[str, ...] | None = features
    X: Any
    if any(_width(column.type) for column in columns):
        if len(columns) > 1:
            raise InputValueError(
                f"of the features {listed(features)} some are lists; a list of all features must be the only column: "
                "give features."
            )
        X, names = _matrix(columns[0], features[0], first_row), None
    else:
        dtype = arrow_dtype(features, [column.type for column in columns])
        X = Columns([floats_of(column) for column in columns], dtype)
    return Batch(X, *_beside(batch, roles, first_row), names, columns=roles.class_columns)


def _beside(batch: Any, roles: Roles, first_row: int) -> tuple[Any, Float64s | None, Any]:
    """The targets, weights and offset of a RecordBatch."""
    y = None if roles.target is None else _target(batch, roles.target, first_row)
    weight: Float64s | None = None
    if roles.weight is not None:
        weight = _vector(batch.column(roles.weight), roles.weight, first_row, "the weight")
    offset = None if roles.offset is None else _group(batch, roles.offset, first_row, "the offset")
    return y, weight, offset


@contextmanager
def located_from(first_row: int) -> Iterator[None]:
    """Errors about a row of a batch, with the number of the row among all rows."""
    try:
        yield
    except WrongFieldError as error:
        raise error.after(first_row) from None


def is_matrix(types: Sequence[Any]) -> bool:
    """Whether the features are one column of Arrow with a row of the matrix in each value."""
    pa = arrow()
    return len(types) == 1 and isinstance(types[0], (pa.FixedSizeListType, pa.BaseExtensionType))


def _storage(array: Any) -> Any:
    """The array itself, or what an extension type such as a tensor is stored in."""
    return array.storage if hasattr(array, "storage") else array


def _width(kind: Any) -> int:
    """The length of the lists of a FixedSizeList; 0 for another type."""
    return int(kind.list_size) if arrow().types.is_fixed_size_list(kind) else 0


def _matrix(array: Any, name: str, first_row: int, what: str = "X") -> NDArray[Any]:
    """Lists of one length as the rows of a matrix, without a copy."""
    _refuse_missing(array, name, first_row)
    arrow_dtype((name,), [array.type.value_type], what)
    return floats_of(array.flatten()).reshape(len(array), _width(array.type))


def _vector(array: Any, name: str, first_row: int, what: str) -> NDArray[Any]:
    _refuse_missing(array, name, first_row)
    arrow_dtype((name,), [array.type], what)
    return floats_of(array).astype(np.float64, copy=False)


def _group(batch: Any, names: str | tuple[str, ...], first_row: int, what: str) -> NDArray[Any]:
    """One column of lists, or several columns of numbers, as a matrix."""
    if isinstance(names, str):
        column = _storage(batch.column(names))
        if _width(column.type):
            return _matrix(column, names, first_row, what)
        names = (names,)
    return np.column_stack([_vector(batch.column(name), name, first_row, what) for name in names])


def _target(batch: Any, target: str | tuple[str, ...], first_row: int) -> Any:
    """Labels, or probabilities."""
    pa = arrow()
    if not isinstance(target, str):
        return _group(batch, target, first_row, "the target")
    array = _storage(batch.column(target))
    kind, types = array.type, pa.types
    if _width(kind):
        return _matrix(array, target, first_row, "the target")
    _refuse_missing(
        array, target, first_row, "drop such rows, or, in text, name other spellings of missing values (--null)"
    )
    if types.is_string(kind) or types.is_large_string(kind) or str(kind) == "string_view":
        array = array.cast(pa.large_string()).dictionary_encode()
    if types.is_dictionary(array.type):
        labels = array.dictionary.to_numpy(zero_copy_only=False)
        return CodedLabels(array.indices.to_numpy(zero_copy_only=False), labels)
    if not (types.is_integer(kind) or types.is_boolean(kind) or types.is_floating(kind) or types.is_decimal(kind)):
        raise InputTypeError(
            f"the target {plain(target)} has the type {plain_dtype(str(kind))}; expected integers, text or booleans "
            "as labels."
        )
    if types.is_decimal(kind):
        array = whole_decimals(f"the target {plain(target)}", array)
        return array if isinstance(array, np.ndarray) else floats_of(array)
    return array.to_numpy(zero_copy_only=False)


def _refuse_missing(
    array: Any, name: str, first_row: int, advice: str = "drop such rows, or impute the values"
) -> None:
    if array.null_count:
        missing = np.asarray(array.is_null().to_numpy(zero_copy_only=False))
        raise InputValueError.about_rows(
            f"there is a missing value in column {plain(name)} at row ",
            first_row + int(missing.argmax()),
            f" (counted from 0); {advice}.",
        )
