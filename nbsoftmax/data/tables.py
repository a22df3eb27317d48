"""Files of columns as arrays: features, labels and weights, from text such as CSV, from Parquet and from Arrow.

Messages name the line of a text file as a text editor counts it, and the row of other files, counted from 0.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Collection, Iterator, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data import labels as labels_of
from nbsoftmax.data.columnar import ColumnarFile
from nbsoftmax.data.dialect import TextOptions
from nbsoftmax.data.numbers import collect
from nbsoftmax.data.roles import NAMELESS
from nbsoftmax.data.source import Source
from nbsoftmax.data.text import NotANumberError, TextFile, is_number
from nbsoftmax.errors import InputValueError, look_alike, plain
from nbsoftmax.validation import Float64s

T = TypeVar("T")
Collect: TypeAlias = Callable[[Iterator[Any]], T]  # what makes something of RecordBatches
LEAST_COUNTED = 10  # rows that a column must number before it is considered an index
MOST_COMPARED = 10_000  # columns among which a similar name is searched for


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a file: the features, and the labels and weights if they were requested."""

    X: NDArray[Any]  # (n_samples, n_features) float64, or float32 if all features of the file are
    feature_names: tuple[str, ...]
    y: NDArray[Any] | None  # (n_samples,)
    weight: Float64s | None = None  # (n_samples,)
    offset: Float64s | None = None  # (n_samples, n_offsets)


@dataclass(frozen=True)
class Request:
    """The columns to read.

    Attributes
    ----------
    target : str, optional
        Column of labels.
    features : sequence of str, optional
        Columns of numbers, in this order; by default all but the target, the weights and the dropped columns.
    chosen : bool
        Whether the features are those of an option, and not those of a model.
    weight : str, optional
        Column of sample weights.
    group : str, optional
        Column of groups of rows, which may be a feature too.
    drop : collection of str
        Columns to leave out.
    offset : sequence of str
        Columns of the offset.
    keep : sequence of str
        Columns that are read as they are.
    labels : collection of str
        Known labels, which are accepted unchanged. Other labels must not be missing or numbers with a fraction.
    columns : bool
        Whether the columns are wanted beside the features that a known encoding makes from them.
    """

    target: str | None = None
    features: Sequence[str] | None = None
    chosen: bool = False
    weight: str | None = None
    group: str | None = None
    drop: Collection[str] = ()
    offset: Sequence[str] = ()
    keep: Sequence[str] = ()
    labels: Collection[str] = ()
    columns: bool = False

    @property
    def beside(self) -> tuple[str, ...]:
        """The columns of numbers that are no features: weights, then offsets."""
        return (*(() if self.weight is None else (self.weight,)), *self.offset)

    def read(self, file: TextFile | ColumnarFile, numbers: list[str], texts: list[str], collect: Collect[T]) -> T:
        """What `read` of the file returns; an error about text does not take weights or an offset for features."""
        try:
            return file.read(numbers, texts, collect)
        except NotANumberError as error:
            if error.column in self.beside:
                raise error.beside() from None
            raise

    def split(self, beside: Float64s) -> tuple[Float64s | None, Float64s | None]:
        """The weights and the offset from the columns `beside`."""
        n = 0 if self.weight is None else 1
        return beside[:, 0].copy() if n else None, beside[:, n:] if self.offset else None

    @property
    def names(self) -> Set[str]:
        """All columns that are named."""
        used = {*(self.features or ()), *self.drop, *self.offset, *self.keep}
        return used | {name for name in (self.target, self.weight, self.group) if name is not None}


class SomeRows:
    """Some rows of a file, for messages about them.

    Parameters
    ----------
    file : Located
    rows : array (n,)
        Their numbers in the file.
    """

    def __init__(self, file: labels_of.Located, rows: NDArray[np.intp]) -> None:
        self.name, self._file, self._rows = file.name, file, rows

    def where(self, row: int, column: str) -> tuple[str, str]:
        """Return the line or row for a message, and the text of a field."""
        return self._file.where(int(self._rows[row]), column)


def file_of(content: Source, kind: str, options: TextOptions, wanted: Set[str]) -> TextFile | ColumnarFile:
    """A file of columns in a format that `source.kind` has recognised; `options` and `wanted` as for `sniff`."""
    return TextFile(content, options, wanted) if kind == "text" else ColumnarFile(content, kind)


def read(file: TextFile | ColumnarFile, request: Request) -> Table:
    """Read the requested columns of a file.

    Raises
    ------
    InputValueError, InputTypeError
        If the file is empty, a column is missing or named twice, a line has too few or too many fields, a number is
        missing, text or not finite, or a label is missing or continuous. The message contains the line or row.
    """
    names, numbers = columns_to_read(file, request)
    collected = request.read(
        file,
        numbers,
        [] if request.target is None else [request.target],
        lambda batches: collect(batches, file.n_rows, names, request.beside, request.target),
    )
    if collected.not_finite is not None:
        raise not_finite(file, *collected.not_finite)
    wrong = first_wrong(collected.beside, request)
    if wrong is not None:
        raise not_finite(file, *wrong)
    y = None if request.target is None else labels(file, collected.labels, request)
    return Table(collected.X, names, y, *request.split(collected.beside))


def columns_to_read(file: TextFile | ColumnarFile, request: Request) -> tuple[tuple[str, ...], list[str]]:
    """The features that a request means, and all columns of numbers: the features, the weights and the offset."""
    _check_drop(file, request)
    _check_target_and_weight(file, request)
    _check_group(request)
    names = _feature_names(file, request)
    return names, list(dict.fromkeys([*names, *request.beside]))


def labels(
    file: TextFile | ColumnarFile, column: Any, request: Request, located: labels_of.Located | None = None
) -> NDArray[Any]:
    """The labels of a column of Arrow, a ChunkedArray of the requested target.

    `located` knows the places of rows for messages, if that is not the file.
    """
    assert request.target is not None
    if isinstance(file, TextFile):
        return labels_of.of_text(located or file, request.target, column, request.labels, file.format.null)
    return labels_of.of_types(located or file, request.target, column, request.labels)


def row_counters(X: NDArray[Any], names: Sequence[str]) -> tuple[str, ...]:
    """Features that only number the rows, in steps of 1: an index that another program wrote."""
    likely = (np.diff(X[:3], axis=0) == 1).all(axis=0)  # so that few columns are looked at whole
    return tuple(names[j] for j in np.flatnonzero(likely).tolist() if steps_by_one(X[:, j]))


def steps_by_one(values: NDArray[Any]) -> bool:
    """Whether each number is that of the previous row plus 1."""
    return len(values) >= LEAST_COUNTED and bool((np.diff(values) == 1).all())


def listed(names: Sequence[str], wanted: str | None = None) -> str:
    """Return the first ten names for a message, and those among all names that are similar to `wanted`."""
    some = ", ".join(map(plain, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    if wanted is None:
        return some
    folded = {name.casefold(): name for name in reversed(names[:MOST_COMPARED])}
    close = [folded[name] for name in difflib.get_close_matches(wanted.casefold().strip(), list(folded), 3)]
    return some + (f" (did you mean {' or '.join(map(plain, close))}?)" if close else "")


def _check_drop(file: TextFile | ColumnarFile, request: Request) -> None:
    known = set(file.columns)
    for name in request.drop:
        if name not in known:
            raise InputValueError(f"{file.name} has no column {plain(name)} to drop; {_has(file, name)}.")
        if name in {request.target, request.weight} or name in (request.features or ()):
            roles = {request.target: "the labels", request.weight: "the weights"}
            needed = roles.get(name, "a feature of the model")
            raise InputValueError(f"--drop {name!r} names {needed}; do not drop this column.")


def _check_target_and_weight(file: TextFile | ColumnarFile, request: Request) -> None:
    target, weight, known = request.target, request.weight, set(file.columns)
    if target is not None and target == weight:
        raise InputValueError(f"{target!r} is given as the column of labels and of weights; give two columns.")
    if target is not None and target in (request.features or ()):
        raise InputValueError(f"--target {target!r} is also one of the features; give the column of labels.")
    if target is not None and target not in known:
        raise InputValueError(f"{file.name} has no column {target!r}; {_has(file, target)}.")
    if weight is not None and weight not in known:
        raise InputValueError(f"{file.name} has no column {weight!r} for --sample-weight; {_has(file, weight)}.")
    if weight is not None and weight in (request.features or ()):
        raise InputValueError(f"--sample-weight names {plain(weight)}, which is a feature; give each column one use.")
    features = (request.features or ()) if request.chosen else ()
    group = () if request.group is None else (request.group,)
    beside = ("offset", request.offset), ("id", request.keep), ("cluster", group)
    for option, names in (("features", features), *beside):
        for name in names:
            if name not in known:
                raise InputValueError(f"{file.name} has no column {plain(name)} for --{option}; {_has(file, name)}.")
            if option == "offset" and name in {target, weight, *(request.features or ())}:
                raise InputValueError(f"--offset names {plain(name)}, which has another use; give each column one use.")


def _check_group(request: Request) -> None:
    name, offset = request.group, dict.fromkeys(request.offset, "the offset")
    used = {request.target: "labels", request.weight: "weights"} | offset
    if name is not None and name in used:
        raise InputValueError(f"--cluster names {plain(name)}, the column of {used[name]}; give a column of groups.")


def _feature_names(file: TextFile | ColumnarFile, request: Request) -> tuple[str, ...]:
    """Return the given features if all are in the file, or without them all columns but those for other purposes."""
    if request.features is None:
        others = {request.target, *request.beside, *request.keep, *request.drop, *file.index}
        names = tuple(n for n in file.columns if n not in others and not NAMELESS.fullmatch(n))
    else:
        names = tuple(request.features)
    known = set(file.columns)
    missing = [n for n in names if n not in known]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputValueError(
            f"{file.name} lacks the column {missing[0]!r}{more} that the model was trained on; "
            f"{_has(file, missing[0])}."
        )
    if not names:
        raise InputValueError(
            f"{file.name} has no feature columns: every column is the target, the weights, dropped or without a name"
            f"{_one_column(file)}."
        )
    return names


def first_wrong(beside: Float64s, request: Request) -> tuple[int, str, float] | None:
    """The row, column and value of the first number of `Request.beside` that is not finite, or a negative weight."""
    bad = ~np.isfinite(beside)
    if request.weight is not None:
        bad[:, 0] |= beside[:, 0] < 0
    wrong = np.argwhere(bad)
    if not len(wrong):
        return None
    row, j = wrong[0].tolist()
    return row, request.beside[j], float(beside[row, j])


def not_finite(file: labels_of.Located, row: int, column: str, number: float) -> InputValueError:
    """The error about a number that is missing, NaN, infinite, or a negative weight."""
    place, field = file.where(row, column)
    if number < 0 and np.isfinite(number):
        return InputValueError(
            f"{file.name} {place} has {field or number} in column {plain(column)}, expected a weight of at least 0; "
            "correct it."
        )
    advice = f"fill it in, drop the {place.split()[0]}, or leave the column out of the fit with --drop"
    if np.isinf(number):
        has, advice = f"has {field or number}", f"expected a finite number; {advice}"
        return InputValueError(f"{file.name} {place} {has} in column {plain(column)}, {advice}.")
    advice += " (--missing mean and --missing drop are for features)"
    has = f"has {plain(field)}, which marks a missing value," if field else "has no value"
    return InputValueError(f"{file.name} {place} {has} in column {plain(column)}; {advice}.")


def _has(file: TextFile | ColumnarFile, wanted: str) -> str:
    data = " (is its first line a header?)" if any(map(is_number, file.columns[:MOST_COMPARED])) else ""
    return f"its columns are {listed(file.columns, wanted)}{look_alike(wanted, file.columns)}{data}{_one_column(file)}"


def _one_column(file: TextFile | ColumnarFile) -> str:
    """Advice for a text file with a single column, whose separator may be an unusual one."""
    return " (if it has more columns, give their separator with --sep)" if len(file.columns) == 1 else ""
