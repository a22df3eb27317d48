"""From tables to their encoding: which columns are numbers, levels or dates, their levels and their means."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from operator import add
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.encoding.base import AnyEncoding, WrongFieldError
from nbsoftmax.encoding.column import (
    CATEGORY,
    DATE,
    DECIMAL_COMMA,
    NUMBER,
    NUMBER_AS_TRUTH,
    OTHER_DATE,
    TRUTH_AS_NUMBER,
    Column,
    complete,
    date,
    first_number_as_text,
    in_order,
    is_truth,
    mistake_among_dates,
    mistake_among_numbers,
    number,
)
from nbsoftmax.encoding.columns import IMPUTE, AnyColumn, CategoryColumn, DateColumn, Encoding, NumberColumn, parts_of
from nbsoftmax.encoding.frames import columns_of, is_table, names_of, needs_encoding
from nbsoftmax.encoding.options import TableOptions
from nbsoftmax.encoding.reports import warn_of_dropped
from nbsoftmax.errors import InputTypeError, InputValueError, a_type, listed, plain, warn
from nbsoftmax.sums import exact_sum, mean_of

# The error where no row is left.
NOTHING_LEFT = "every row of X has a missing value, so that none is left; give missing='mean' (--missing mean)."
# A variable with more levels than this, and than one for every other row, is probably a name or an identifier.
FEW_LEVELS = 20


class Learner:
    """Collects what the encoding of a table needs to know, from one batch of its rows after another.

    The encoding does not depend on how the rows are cut into batches.

    Parameters
    ----------
    options : TableOptions

    Attributes
    ----------
    n_rows : int
        Number of rows so far.
    n_dropped : int
        Number of these rows that a fit leaves out.
    """

    def __init__(self, options: TableOptions) -> None:
        self._options = options
        self._seen: dict[str, _Seen] = {}
        self.n_rows = self.n_dropped = 0

    def add(self, columns: Iterable[Column]) -> None:
        """Add rows; every batch has the same columns, in any order.

        Raises
        ------
        WrongFieldError
            For a missing value, if these are refused, and for a number that is infinite. It has the number of the row
            among all rows.
        InputValueError, InputTypeError
            For other columns than those of other batches, or one of another kind.
        """
        more, given = Learner(self._options), list(columns)
        whole = complete(given) if self._options.missing == "drop" else None
        try:
            for column in given:
                more._seen[column.name] = _Seen.of(column, self._options, whole)
        except WrongFieldError as error:
            raise error.among(whole).after(self.n_rows) from None
        more.n_rows = len(given[0]) if given else 0
        more.n_dropped = 0 if whole is None else int((~whole).sum())
        self.merge(more)

    def merge(self, later: Learner) -> None:
        """Add the rows of another learner with the same options, which come after those of this one.

        Raises
        ------
        InputValueError, InputTypeError
            As `add`.
        """
        if self._seen and set(self._seen) != set(later._seen):
            raise InputValueError(
                f"a batch has the columns {listed(later._seen)}, but batches before had {listed(self._seen)}; give "
                "the same columns in all batches."
            )
        for name, seen in later._seen.items():
            self._seen.setdefault(name, _Seen(name)).merge(seen)
        self.n_rows, self.n_dropped = self.n_rows + later.n_rows, self.n_dropped + later.n_dropped

    def mistake(self, is_number: Callable[[str], bool]) -> tuple[str, str] | None:
        """The first column of text, not `categorical`, at least half of whose values are numbers, and its first text.

        None if there is no such column.
        """
        for name, seen in self._seen.items():
            wrong = None if name in self._options.categorical else mistake_among_numbers(seen.counts, is_number)
            if wrong is not None:
                return name, wrong
        return None

    def texts_of_numbers(self, is_number: Callable[[str], bool]) -> list[str]:
        """The columns of text, not `categorical`, in which all values are numbers."""
        return [
            name
            for name, seen in self._seen.items()
            if seen.counts
            and name not in self._options.categorical
            and all(is_number(text) and not is_truth(text) for text in seen.counts)
        ]

    def warn_of_dropped(self) -> None:
        """Warn of the rows that a fit leaves out, if there are some; if these are all, `encoding` refuses them."""
        if self.n_dropped < self.n_rows:
            warn_of_dropped(self.n_dropped, self.n_rows)

    def encoding(self) -> Encoding:
        """The encoding of all rows so far.

        Raises
        ------
        InputValueError, InputTypeError
            For rows that are all dropped, a column without any value, a date if these are refused, and a name in
            `categorical` that no column has.
        """
        if 0 < self.n_rows == self.n_dropped:
            for seen in self._seen.values():
                seen.refuse_no_values()
            raise InputValueError(NOTHING_LEFT)
        self._options.refuse_absent(self._seen)
        if not self._seen:
            raise InputValueError("X has no columns; expected at least one.")
        return Encoding(tuple(seen.part(self._options) for seen in self._seen.values()), self._options.missing)


@dataclass
class _Seen:
    """What is known of a column.

    Attributes
    ----------
    kind : str
        That of its values; "" if all are missing.
    counts : dict
        Of the levels.
    declared : tuple of str or None
        The levels in the order of the type; None if the type declares none.
    strict : bool
        As in `Column`.
    sums : tuple of int
        Of the numbers, or the parts of the dates, as `exact_sum` adds them.
    """

    name: str
    kind: str = ""
    counts: dict[str, int] = field(default_factory=dict)
    declared: tuple[str, ...] | None = ()
    strict: bool = False
    sums: tuple[int, ...] = ()
    n_values: int = 0
    n_missing: int = 0

    @classmethod
    def of(cls, column: Column, options: TableOptions, whole: NDArray[np.bool_] | None) -> _Seen:
        """What the values of some rows say: of the `whole` ones alone, which a fit keeps; None for all."""
        name = column.name
        column = column.as_levels() if name in options.categorical else column
        missing = column.missing
        n_missing = int(missing.sum())
        if n_missing == missing.size:
            return cls(name, n_missing=n_missing)
        if n_missing and options.missing == "error":
            raise WrongFieldError.at(name, int(missing.argmax()), "a missing value", IMPUTE, missing=True)
        n_values = missing.size - n_missing
        column = column if whole is None else column.take(whole)
        if not len(column):
            return cls(name, n_values=n_values, n_missing=n_missing)
        if column.kind == CATEGORY:
            counts = {level: n for level, n in zip(column.levels, column.counts.tolist(), strict=True) if n}
            declared = column.levels if column.ordered else None
            return cls(name, CATEGORY, counts, declared, column.strict, (), n_values, n_missing)
        if column.kind == NUMBER:
            NumberColumn(name).convert(column)  # refuses infinite ones
        sums: tuple[int, ...] = ()
        if options.missing == "mean":
            found = column.values[~column.missing]
            sums = tuple(map(exact_sum, [found] if column.kind == NUMBER else parts_of(found)))
        return cls(name, column.kind, {}, None, False, sums, n_values, n_missing)

    def merge(self, later: _Seen) -> None:
        """Add what later rows say."""
        self.n_values, self.n_missing = self.n_values + later.n_values, self.n_missing + later.n_missing
        if not later.kind:
            return
        if not self.kind:
            self.kind, self.declared, self.sums = later.kind, later.declared, later.sums
        elif self.kind != later.kind:
            raise InputTypeError(
                f"X has a {self.kind} and a {later.kind} in column {plain(self.name)}; give one type in all batches."
            )
        else:
            self.declared, self.sums = self._order(later), tuple(map(add, self.sums, later.sums))
        self.strict |= later.strict
        for level, n in later.counts.items():
            self.counts[level] = self.counts.get(level, 0) + n

    def _order(self, later: _Seen) -> tuple[str, ...] | None:
        """The declared order of the levels of both.

        Types that compare their levels may declare different ones. Other types with different levels, such as the
        categories that pandas finds in each batch, declare no order of all of them.
        """
        if self.declared is None or later.declared is None:
            return None
        if self.declared == later.declared or (self.strict and later.strict):
            return tuple(dict.fromkeys([*self.declared, *later.declared]))
        return None

    def refuse_no_values(self) -> None:
        """Refuse a column of which all values are missing."""
        if self.n_values == 0:
            raise no_values(self.name)

    def part(self, options: TableOptions) -> AnyColumn:
        """The encoding of the column."""
        if self.n_values == self.n_missing == 0:
            raise InputValueError("X has no rows, so that there is nothing to learn; give at least one sample.")
        self.refuse_no_values()
        self._call_truth_values_alike()
        indicator = options.indicators and options.missing == "mean" and self.n_missing > 0
        kind = self.kind
        sums = self.sums
        if kind == CATEGORY and not (self.strict or self.name in options.categorical):
            kind, sums = self._read_texts()
        if kind == CATEGORY:
            return self._levels(options, indicator)
        means = [mean_of(total, self.n_values) for total in sums]
        if kind == NUMBER:
            return NumberColumn(self.name, means[0] if options.missing == "mean" else None, indicator)
        if options.dates == "error":
            raise InputTypeError(
                f"X has dates in column {plain(self.name)}; give dates='parts' in TableOptions (--dates parts on the "
                "command line) for their year, month and day, turn them into numbers, for example days since a fixed "
                "date, or drop the column."
            )
        return DateColumn(self.name, tuple(means) if options.missing == "mean" else None, indicator)

    def _call_truth_values_alike(self) -> None:
        """Call the levels 0 and 1 False and True if all others are these."""
        names = set(self.counts)
        if names <= NUMBER_AS_TRUTH.keys() or not names <= NUMBER_AS_TRUTH.keys() | TRUTH_AS_NUMBER.keys():
            return
        counts, self.counts = self.counts, {}
        for level, n in counts.items():
            name = NUMBER_AS_TRUTH.get(level, level)
            self.counts[name] = self.counts.get(name, 0) + n
        if self.declared is not None:
            self.declared = tuple(dict.fromkeys(NUMBER_AS_TRUTH.get(level, level) for level in self.declared))

    def _read_texts(self) -> tuple[str, tuple[int, ...]]:
        """What texts are if all are truth values or dates, and the sums of these from the counts of the texts.

        0 and 1 beside truth values are these, too, as they are in columns that are no text.
        """
        counts = np.array(list(self.counts.values()), np.float64)
        others = [text for text in self.counts if not is_truth(text)]
        if len(others) < len(counts) and all(number(text) in (0.0, 1.0) for text in others):
            return NUMBER, (exact_sum(np.array(list(map(number, self.counts)), np.float64) * counts),)
        if all(date(text) is not None for text in self.counts):
            parts = parts_of(np.array(list(map(date, self.counts)), "datetime64[D]"))
            return DATE, tuple(exact_sum(part * counts) for part in parts)
        self._check_levels()
        return CATEGORY, ()

    def _check_levels(self) -> None:
        """Refuse dates in other forms and other text among dates; warn of numbers as text."""
        wrong = mistake_among_dates(self.counts)
        if wrong is not None:
            what = (
                "whose values look like dates"
                if OTHER_DATE.fullmatch(wrong.strip())
                else "most of whose values are dates"
            )
            raise InputTypeError(
                f"X has {plain(wrong)} in column {plain(self.name)}, {what}; write dates as 2024-05-31, correct "
                "others, name the column in `categorical` (--categorical) if its values are levels, or leave it out."
            )
        found = first_number_as_text(self.counts)
        if found is not None:
            advice = "write them like 1.5, without signs, to use them as numbers"
            if DECIMAL_COMMA.fullmatch(found.strip()):
                advice = (
                    'read the table with decimal="," of pandas (--decimal , on the command line) if the comma is the '
                    "decimal mark"
                )
            warn(
                f"the column {plain(self.name)} has numbers as text, such as {plain(found)}, and each becomes a level: "
                f"{advice}, or name the column in `categorical` (--categorical).",
            )

    def _levels(self, options: TableOptions, indicator: bool) -> CategoryColumn:
        n = len(self.counts)
        if n > max(FEW_LEVELS, self.n_values // 2):
            warn(
                f"the column {plain(self.name)} has {n} levels in {self.n_values} rows, each of which becomes a "
                "feature: if it is a name or an identifier, drop it.",
            )
        declared = self.declared
        levels = in_order(list(self.counts)) if declared is None else tuple(x for x in declared if x in self.counts)
        return CategoryColumn(self.name, levels, levels[0] if options.drop_first else None, indicator)


def no_values(name: str) -> InputValueError:
    """The error about a column of which all values are missing."""
    return InputValueError(f"X has no values in column {plain(name)}; leave the column out.")


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
            raise InputTypeError(f"table is an encoding of tables, but X is {a_type(X)}; give a table.")
        return options
    if not is_table(X):
        if options.always:
            raise InputTypeError(
                f"{options!r} is for tables of pandas, polars or Arrow, but X is {a_type(X)}; give a table."
            )
        return None
    if not names_of(X) or not (options.always or needs_encoding(X)):
        return None
    return learned(X, options)
