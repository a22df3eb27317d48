"""From tables to their encoding: which columns are numbers, levels or dates, their levels and their means."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.encoding.base import AnyEncoding, WrongFieldError
from nbsoftmax.encoding.column import (
    CATEGORY,
    DATE,
    NUMBER,
    Column,
    date,
    in_order,
    is_truth,
    mistake_among_numbers,
    number,
)
from nbsoftmax.encoding.columns import IMPUTE, AnyColumn, CategoryColumn, DateColumn, Encoding, NumberColumn, parts_of
from nbsoftmax.encoding.frames import columns_of, is_table, names_of, needs_encoding
from nbsoftmax.encoding.options import TableOptions
from nbsoftmax.errors import InputTypeError, InputValueError, listed, plain

SCALE = 64  # numbers are added in units of 2^64, whose sum does not overflow
# A variable with more levels than this, and than one for every other row, is probably a name or an identifier.
FEW_LEVELS = 20


class Learner:
    """Collects what the encoding of a table needs to know, from one batch of its rows after another.

    Parameters
    ----------
    options : TableOptions
    """

    def __init__(self, options: TableOptions) -> None:
        self._options = options
        self._seen: dict[str, _Seen] = {}

    def add(self, columns: Iterable[Column]) -> None:
        """Add rows; every batch has the same columns.

        Raises
        ------
        WrongFieldError
            For a missing value, if these are refused, and for a number that is infinite.
        InputTypeError
            For a column that is of another kind in another batch.
        """
        for column in columns:
            seen = self._seen.setdefault(column.name, _Seen(column.name, column.name in self._options.categorical))
            seen.add(column, self._options.missing)

    def check_numbers(self, is_number: Callable[[str], bool]) -> None:
        """Refuse columns of text in which at least half of the values are numbers.

        Raises
        ------
        InputValueError
            For the first such column that is not `categorical`.
        """
        for name, seen in self._seen.items():
            wrong = None if name in self._options.categorical else mistake_among_numbers(seen.counts, is_number)
            if wrong is not None:
                raise InputValueError(
                    f"X has {plain(wrong)} in column {plain(name)}, most of whose values are numbers; correct it and "
                    "remove separators of thousands, name the column in `categorical` (--categorical) if its values "
                    "are levels, or leave it out."
                )

    def encoding(self) -> Encoding:
        """The encoding of all rows so far.

        Raises
        ------
        InputValueError, InputTypeError
            For a column without any value, a date if these are refused, and a name in `categorical` that no column has.
        """
        absent = [name for name in self._options.categorical if name not in self._seen]
        if absent:
            raise InputValueError(
                f"categorical names {plain(absent[0])}, but the columns of X are {listed(self._seen)}; give one of "
                "these.",
                parameter="categorical",
            )
        if not self._seen:
            raise InputValueError("X has no columns; expected at least one.")
        return Encoding(tuple(seen.part(self._options) for seen in self._seen.values()), self._options.missing)


class _Seen:
    """What is known of a column."""

    def __init__(self, name: str, categorical: bool) -> None:
        self.name, self._categorical = name, categorical
        self._kind = ""
        self.counts: dict[str, int] = {}  # of the levels
        self._declared: tuple[str, ...] | None = ()  # the levels in the order of the type; None if a batch has none
        self._strict = False
        self._sums: list[list[float]] = []  # of the numbers, or the parts of the dates, of each batch
        self.n_values = self.n_missing = 0

    def add(self, column: Column, missing_as: str) -> None:
        """Add rows; `missing_as` is the option `missing`."""
        column = column.as_levels() if self._categorical else column
        missing = column.missing
        n_missing = int(missing.sum())
        if n_missing and missing_as == "error" and n_missing < missing.size:
            raise WrongFieldError.at(self.name, int(missing.argmax()), "a missing value", IMPUTE, missing=True)
        self.n_missing, self.n_values = self.n_missing + n_missing, self.n_values + missing.size - n_missing
        if n_missing < missing.size and self._kind not in ("", column.kind):
            raise InputTypeError(
                f"X has a {self._kind} and a {column.kind} in column {plain(self.name)}; give one type in all batches."
            )
        if n_missing == missing.size:
            return
        self._kind = column.kind
        if column.kind == CATEGORY:
            for level, n in zip(column.levels, column.counts.tolist(), strict=True):
                if n:
                    self.counts[level] = self.counts.get(level, 0) + n
            if self._declared is not None:  # another file may declare others
                self._declared = tuple(dict.fromkeys([*self._declared, *column.levels])) if column.ordered else None
            self._strict |= column.strict
            return
        if column.kind == NUMBER:
            NumberColumn(self.name).convert(column)  # refuses infinite ones
        if missing_as == "mean":
            self._add_sums([column.values] if column.kind == NUMBER else parts_of(column.values), ~missing)

    def _add_sums(self, values: list[NDArray[Any]], found: NDArray[np.bool_], counts: Any = None) -> None:
        """Add values, each as often as its count says."""
        small = [np.ldexp(value[found], -SCALE) for value in values]
        self._sums.append([math.fsum(value if counts is None else value * counts) for value in small])

    def part(self, options: TableOptions) -> AnyColumn:
        """The encoding of the column."""
        if self.n_values == self.n_missing == 0:
            raise InputValueError("X has no rows, so that there is nothing to learn; give at least one sample.")
        if self.n_values == 0:
            raise InputValueError(f"X has no values in column {plain(self.name)}; leave the column out.")
        indicator = options.indicators and options.missing == "mean" and self.n_missing > 0
        kind = self._kind
        if kind == CATEGORY and not (self._strict or self._categorical):
            kind = self._read_texts()
        if kind == CATEGORY:
            return self._levels(options, indicator)
        means = [math.ldexp(math.fsum(sums) / self.n_values, SCALE) for sums in zip(*self._sums, strict=True)]
        if kind == NUMBER:
            return NumberColumn(self.name, means[0] if options.missing == "mean" else None, indicator)
        if options.dates == "error":
            raise InputTypeError(
                f"X has dates in column {plain(self.name)}; give dates='parts' in TableOptions (--dates parts on the "
                "command line) for their year, month and day, turn them into numbers, for example days since a fixed "
                "date, or drop the column."
            )
        return DateColumn(self.name, tuple(means) if options.missing == "mean" else None, indicator)

    def _read_texts(self) -> str:
        """What texts are if all are truth values or dates, whose sums are then made from the counts of the texts."""
        for kind, is_one in ((NUMBER, is_truth), (DATE, lambda text: date(text) is not None)):
            if all(map(is_one, self.counts)):
                counts = np.array(list(self.counts.values()), np.float64)
                if kind == NUMBER:
                    values = [np.array(list(map(number, self.counts)), np.float64)]
                else:
                    values = parts_of(np.array(list(map(date, self.counts)), "datetime64[D]"))
                self._sums = []
                self._add_sums(values, np.ones(counts.size, bool), counts)
                return kind
        return CATEGORY

    def _levels(self, options: TableOptions, indicator: bool) -> CategoryColumn:
        n = len(self.counts)
        if n > max(FEW_LEVELS, self.n_values // 2):
            warnings.warn(
                f"the column {plain(self.name)} has {n} levels in {self.n_values} rows, each of which becomes a "
                "feature: if it is a name or an identifier, drop it.",
                UserWarning,
                stacklevel=10,  # the caller of `Trainer.fit`
            )
        declared = self._declared
        levels = in_order(list(self.counts)) if declared is None else tuple(x for x in declared if x in self.counts)
        return CategoryColumn(self.name, levels, levels[0] if options.drop_first else None, indicator)


def learned(table: Any, options: TableOptions) -> Encoding:
    """The encoding of a table."""
    learner = Learner(options)
    learner.add(columns_of(table))
    return learner.encoding()


def encoding_for(X: Any, options: TableOptions | AnyEncoding) -> AnyEncoding | None:
    """The encoding that a table needs; None for an array, and for a table of numbers without missing values.

    An encoding in the place of the options is that of the table.
    """
    if not isinstance(options, TableOptions):
        if not is_table(X):
            raise InputTypeError(f"table is an encoding of tables, but X is a {type(X).__name__}; give a table.")
        return options
    if not is_table(X):
        if options.always:
            raise InputTypeError(
                f"{options!r} is for tables of pandas, polars or Arrow, but X is a {type(X).__name__}; give a table."
            )
        return None
    if not names_of(X) or not (options.always or needs_encoding(X)):
        return None
    return learned(X, options)
