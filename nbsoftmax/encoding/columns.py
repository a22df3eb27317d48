"""`Encoding`: the columns of a table to the features of a model, one column after another.

number    age                           -> age, and missing(age) if asked for
category  island (Biscoe, Dream)        -> island[Biscoe], island[Dream]
date      born                          -> born[year], born[month], born[day]
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.cached import cached_property
from nbsoftmax.encoding.base import Encoded, WrongFieldError
from nbsoftmax.encoding.column import (
    CATEGORY,
    DATE,
    NUMBER,
    NUMBER_AS_TRUTH,
    TRUTH_AS_NUMBER,
    Column,
    canonical,
    complete,
)
from nbsoftmax.encoding.frames import columns_of
from nbsoftmax.encoding.options import MISSING
from nbsoftmax.encoding.reports import Unknown
from nbsoftmax.errors import InputValueError, counted, listed, plain
from nbsoftmax.validation import Float64s, first_repeated
from nbsoftmax.validation.packing import pack

PARTS = ("year", "month", "day")
IMPUTE = 'give missing="mean" or missing="drop" in TableOptions (--missing on the command line), or impute the values'
# Bytes of a stored element of a sparse array and its transposed copy, which the kernels read, in units of a float64.
STORED = 3


@dataclass(frozen=True)
class NumberColumn:
    """Numbers and truth values. `mean` replaces missing ones; `indicator` adds a feature that is 1 for these."""

    kind: ClassVar[str] = NUMBER
    name: str
    mean: float | None = None
    indicator: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return (self.name, *((f"missing({self.name})",) if self.indicator else ()))

    def dense(self, column: Column) -> list[Float64s]:
        """The features of a column, each (n,)."""
        return _imputed([column.values], column.missing, None if self.mean is None else (self.mean,), self.indicator)

    def convert(self, column: Column) -> Column:
        """The column as numbers; an infinite one is refused."""
        found = column.as_numbers()
        infinite = np.isinf(found.values)
        if infinite.any():
            row = int(infinite.argmax())
            raise WrongFieldError.at(self.name, row, str(found.values[row]), "expected finite numbers")
        return found

    def describe(self) -> str:
        """One line."""
        return "number" + ("" if self.mean is None else f", {self.mean:.6g} where it is missing")


@dataclass(frozen=True)
class DateColumn:
    """Dates as numbers of the year, the month and the day. `means` replace those of missing ones."""

    kind: ClassVar[str] = DATE
    name: str
    means: tuple[float, ...] | None = None
    indicator: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        parts = (f"{self.name}[{part}]" for part in PARTS)
        return (*parts, *((f"missing({self.name})",) if self.indicator else ()))

    def dense(self, column: Column) -> list[Float64s]:
        """The features of a column, each (n,)."""
        return _imputed(parts_of(column.values), column.missing, self.means, self.indicator)

    def convert(self, column: Column) -> Column:
        """The column as dates."""
        return column.as_dates()

    def describe(self) -> str:
        """One line."""
        return "date as year, month and day"


@dataclass(frozen=True)
class CategoryColumn:
    """Text or categories: a feature for each level; none for the `reference`, and none for a missing value."""

    kind: ClassVar[str] = CATEGORY
    name: str
    levels: tuple[str, ...]
    reference: str | None = None
    indicator: bool = False

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        levels = tuple(f"{self.name}[{level}]" for level in self.levels if level != self.reference)
        return (*levels, *((f"missing({self.name})",) if self.indicator else ()))

    @cached_property
    def _places(self) -> tuple[dict[str, int], dict[str, int]]:
        """The features of the levels by text, and by canonical text; -1 for the reference."""
        kept = [level for level in self.levels if level != self.reference]
        exact = {level: j for j, level in enumerate(kept)}
        if self.reference is not None:
            exact[self.reference] = -1
        alike: dict[str, int] = {}
        for level, j in exact.items():
            alike.setdefault(canonical(level), j)
        return exact, alike

    def convert(self, column: Column) -> Column:
        """The column as levels."""
        return column.as_levels()

    def positions(self, column: Column) -> tuple[NDArray[np.int64], NDArray[np.bool_], list[str]]:
        """The feature that is 1 in each row, or -1; which rows have an unknown level; and some of these levels."""
        exact, alike = self._places
        place = [exact[level] if level in exact else alike.get(canonical(level)) for level in column.levels]
        for other in (TRUTH_AS_NUMBER, NUMBER_AS_TRUTH):  # the same levels in a table with other types
            if exact.keys() <= set(other.values()):
                place = [
                    exact.get(other.get(x, "")) if j is None else j for x, j in zip(column.levels, place, strict=True)
                ]
        unknown = np.array([j is None for j in place] + [False])[column.values]
        lookup = np.array([-1 if j is None else j for j in place] + [-1], np.int64)
        occurs = column.counts.tolist()
        found = [level for level, j, n in zip(column.levels, place, occurs, strict=True) if j is None and n]
        return lookup[column.values], unknown, sorted(found)[:3]

    def describe(self) -> str:
        """One line."""
        n = len(self.levels)
        reference = "" if self.reference is None else f"; {plain(self.reference)} is the reference"
        return f"{counted(n, 'level')}: {listed(self.levels, most=5)}{reference}"


AnyColumn = NumberColumn | CategoryColumn | DateColumn
KINDS: dict[str, Any] = {NUMBER: NumberColumn, CATEGORY: CategoryColumn, DATE: DateColumn}


@dataclass(frozen=True)
class Encoding:
    """The features of a table: those of its columns, one after another.

    Attributes
    ----------
    parts : tuple of NumberColumn, CategoryColumn and DateColumn
    missing : {"error", "mean", "drop"}
        What happens to missing values.
    """

    kind: ClassVar[str] = "columns"
    parts: tuple[AnyColumn, ...]
    missing: str = "error"

    def __post_init__(self) -> None:
        twice = first_repeated(self.names)
        if twice is not None:
            raise InputValueError(f"two features of the table have the name {plain(twice)}; rename a column.")

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        return tuple(part.name for part in self.parts)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        return tuple(name for part in self.parts for name in part.names)

    def features_of(self, column: str) -> tuple[str, ...]:
        """The names of the features that are made from one column alone."""
        return tuple(self.of(column).names)

    def levels_of(self, column: str) -> tuple[str, ...]:
        """The names of the features that are levels of a column, of which a row has at most one."""
        return self.features_of(column) if self.of(column).kind == CATEGORY else ()

    def of(self, name: str) -> AnyColumn:
        """The encoding of a column."""
        return next(part for part in self.parts if part.name == name)

    @property
    def sparse(self) -> bool:
        """Whether matrices are sparse: where a sparse array and its transposed copy are smaller than a dense one."""
        n_stored = sum(len(part.names) if part.kind != CATEGORY else 1 + part.indicator for part in self.parts)
        return STORED * n_stored < len(self.names)

    @property
    def drops_rows(self) -> bool:
        """Whether rows with missing values are left out of fits."""
        return self.missing == "drop"

    @property
    def level_columns(self) -> tuple[str, ...]:
        """The columns whose values are levels alone; those of a formula may be numbers, too."""
        kinds: dict[str, set[str]] = {}
        for part in self.parts:
            kinds.setdefault(part.name, set()).add(part.kind)
        return tuple(name for name, found in kinds.items() if found == {CATEGORY})

    def encode(self, table: Any, *, drop: bool = False, dense: bool = False) -> Encoded:
        """The matrix of a table.

        Parameters
        ----------
        table : table of pandas, polars or Arrow, or dict of Column
            Its columns may be in any order; those that the encoding does not know are not used.
        drop : bool
            Whether rows with missing values are left out if the encoding drops them; otherwise they are refused.
        dense : bool
            Never make a sparse array.

        Raises
        ------
        InputValueError, InputTypeError
            For a column that is missing or holds other values than in the training, and for missing values, unless
            they are imputed or dropped. Levels that are unknown are counted, and are 0 in all columns.
        """
        found, kept = self.converted(table, drop=drop)
        n = len(found[0])
        unknown: Unknown = {}
        pieces = self._features(found, unknown)
        if self.sparse and not dense:
            return Encoded(_sparse(pieces, n, len(self.names)), kept, unknown)
        X = np.zeros((n, len(self.names)))
        pack(pieces, X, _write)
        return Encoded(X, kept, unknown)

    def converted(self, table: Any, *, drop: bool) -> tuple[list[Column], NDArray[np.bool_] | None]:
        """The columns in the kinds of the training, of the rows that are kept, and which are kept; None for all."""
        columns = list(columns_of(table, self.columns))
        whole = complete(columns) if drop and self.drops_rows else None
        columns = columns if whole is None else [column.take(whole) for column in columns]
        try:
            found = [part.convert(column) for part, column in zip(self.parts, columns, strict=True)]
            kept = self._kept(found, drop)  # a text may be NaN
        except WrongFieldError as error:
            raise error.among(whole) from None
        if kept is None:
            return found, whole
        if whole is not None:
            whole[whole] = kept
        return [column.take(kept) for column in found], kept if whole is None else whole

    def _kept(self, found: Sequence[Column], drop: bool) -> NDArray[np.bool_] | None:
        """The rows without missing values if rows are dropped; None if all are kept, or an error."""
        if self.missing == "mean":
            return None
        kept = np.ones(len(found[0]), bool)
        for column in found:
            missing = column.missing
            if missing.any() and not (drop and self.missing == "drop"):
                row = int(missing.argmax())
                advice = IMPUTE if self.missing == "error" else "drop the row, or fit with missing='mean'"
                raise WrongFieldError.at(column.name, row, "a missing value", advice, missing=True)
            kept &= ~missing
        return None if kept.all() else kept

    def _features(self, found: Sequence[Column], unknown: Unknown) -> Iterator[tuple[int, NDArray[Any]]]:
        """(feature, values (n,)), or (first feature, int64 positions (n,)) of a variable with levels."""
        j = 0
        for part, column in zip(self.parts, found, strict=True):
            if isinstance(part, CategoryColumn):
                positions, wrong, some = part.positions(column)
                if wrong.any():
                    unknown[part.name] = int(wrong.sum()), tuple(some)
                yield j, positions
                if part.indicator:
                    yield j + len(part.names) - 1, column.missing.astype(np.float64)
            else:
                for k, values in enumerate(part.dense(column)):
                    yield j + k, values
            j += len(part.names)

    def to_dict(self) -> dict[str, Any]:
        """What JSON stores."""
        parts = [{"kind": part.kind, **asdict(part)} for part in self.parts]
        return {"kind": self.kind, "missing": self.missing, "columns": parts}

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> Encoding:
        """The inverse of `to_dict`; any exception for what it has not made."""
        parts: list[AnyColumn] = []
        for entry in stored["columns"]:
            given: dict[str, Any] = {key: tuple(x) if isinstance(x, list) else x for key, x in entry.items()}
            kind = KINDS[given.pop("kind")]
            wrong = next((key for key, value in given.items() if not FIELDS[key](value)), None)
            if wrong is not None:
                raise ValueError(f"{wrong} of a column of its encoding is {plain(given[wrong])}")
            parts.append(kind(**given))
        if stored["missing"] not in MISSING:
            raise ValueError(f"missing is {stored['missing']!r}")
        return cls(tuple(parts), stored["missing"])

    def describe(self) -> list[str]:
        """A line for each column."""
        return [f"{part.name}: {part.describe()}" for part in self.parts]


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_finite(value: Any) -> bool:
    return isinstance(value, (int, float)) and math.isfinite(value)


# Whether a value that was read from a file can be the field of a column.
FIELDS: dict[str, Callable[[Any], bool]] = {
    "name": _is_text,
    "levels": lambda value: isinstance(value, tuple) and all(map(_is_text, value)),
    "reference": lambda value: value is None or _is_text(value),
    "indicator": lambda value: isinstance(value, bool),
    "mean": lambda value: value is None or _is_finite(value),
    "means": lambda value: (
        value is None or (isinstance(value, tuple) and len(value) == 3 and all(map(_is_finite, value)))
    ),
}


def parts_of(days: NDArray[Any]) -> list[Float64s]:
    """Year, month and day of dates, each (n,) float64, with NaN for missing ones."""
    months = days.astype("datetime64[M]")
    found = [
        days.astype("datetime64[Y]").astype(np.int64) + 1970.0,
        months.astype(np.int64) % 12 + 1.0,
        (days - months.astype("datetime64[D]")).astype(np.int64) + 1.0,
    ]
    return [np.where(np.isnat(days), np.nan, part) for part in found]


def _imputed(
    values: list[Float64s], missing: NDArray[np.bool_], means: Sequence[float] | None, indicator: bool
) -> list[Float64s]:
    if missing.any() and means is not None:
        values = [np.where(missing, mean, value) for value, mean in zip(values, means, strict=True)]
    return [*values, *([missing.astype(np.float64)] if indicator else [])]


def _write(rows: Float64s, j: int, values: NDArray[Any]) -> None:
    """Write a piece of the features to some rows, which are 0."""
    if values.dtype == np.int64:
        known = np.flatnonzero(values >= 0)
        rows[known, j + values[known]] = 1.0
    else:
        rows[:, j] = values


def _sparse(pieces: Iterator[tuple[int, NDArray[Any]]], n: int, n_encoded: int) -> Any:
    """Features as a csr_array: a piece has at most one element in a row, and pieces are in the order of columns."""
    from scipy.sparse import csr_array

    made = list(pieces)
    columns, data = np.empty((n, len(made)), np.int32), np.ones((n, len(made)))
    stored = np.empty((n, len(made)), bool)
    for k, (j, values) in enumerate(made):
        if values.dtype == np.int64:
            columns[:, k], stored[:, k] = j + values, values >= 0
        else:
            columns[:, k], data[:, k], stored[:, k] = j, values, values != 0
    starts = np.concatenate([[0], np.cumsum(stored.sum(axis=1))])
    return csr_array((data[stored], columns[stored], starts), shape=(n, n_encoded))
