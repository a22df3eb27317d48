"""`Column`: a column of a table in one form, whatever library it comes from, and its conversions.

Texts are read as numbers, truth values and dates here, in one way for all tables.
"""

from __future__ import annotations

import datetime
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.cached import cached_property
from nbsoftmax.encoding.base import WrongFieldError
from nbsoftmax.errors import InputTypeError, plain
from nbsoftmax.validation import EXACT_INTEGERS

NUMBER, CATEGORY, DATE = "number", "category", "date"
TRUTH = {"true": 1.0, "false": 0.0}
NUMBER_AS_TRUTH = {"0": "False", "1": "True"}  # levels of one column, as tables with other types have them
TRUTH_AS_NUMBER = {"False": "0", "True": "1"}
YEAR_FIRST = re.compile(r"\d{4}([-/])\d{2}\1\d{2}([T ]\d{2}:\d{2}.*)?")
# Dates whose day and month cannot be told apart, or that have names of months, other separators or fewer digits.
MONTH = (
    "(jan(uary)?|feb(ruary)?|mar(ch)?|apr(il)?|may|june?|july?|aug(ust)?|sept?(ember)?|oct(ober)?|nov(ember)?"
    "|dec(ember)?)"
)
OTHER_DATE = re.compile(
    r"(\d{1,2}/\d{1,2}/(\d{4}|\d{2})|\d{1,2}([.-])\d{1,2}\3\d{4}|\d{4}([-/.])\d{1,2}\4\d{1,2}"
    rf"|\d{{1,2}}[- /]{MONTH}[- /](\d{{4}}|\d{{2}})|{MONTH} \d{{1,2}},? \d{{4}})([T ]\d{{1,2}}:\d{{2}}.*)?",
    re.IGNORECASE,
)
# A number with the sign of a currency or of percent.
SIGNED = re.compile(r"[-+]?[$\u20ac\u00a3\u00a5]\s?[-+]?\d[\d,.]*|[-+]?\d[\d,.]*\s?[%\u2030$\u20ac\u00a3\u00a5]")
# A number with a decimal comma.
DECIMAL_COMMA = re.compile(r"[-+]?\d*,\d+([eE][-+]?\d+)?")
# A number with separators of thousands, of any country.
GROUPED = re.compile(r"[-+]?[1-9]\d{0,2}([,.'\u2019 \u00a0\u202f])\d{3}(\1\d{3})*([.,]\d+)?")
MIDNIGHT = re.compile(r"(\d{4}-\d{2}-\d{2})[ T]00:00:00")
WHOLE = re.compile(r"(-?(?:0|[1-9]\d*))\.0+")


@dataclass(frozen=True, eq=False)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
    kind : {"number", "category", "date"}
    values : ndarray (n,)
        Numbers as float64, with NaN for missing ones; positions among the levels as int64, with -1 for missing ones;
        days as datetime64[D], with NaT.
    levels : tuple of str
        Distinct texts, which need not occur.
    ordered : bool
        Whether the order of the levels is declared, so that learned levels keep it.
    strict : bool
        Whether the column holds levels even if all are truth values or dates.
    truth : bool
        Whether the numbers are truth values.
    """

    name: str
    kind: str
    values: NDArray[Any]
    levels: tuple[str, ...] = ()
    ordered: bool = False
    strict: bool = False
    truth: bool = False

    def __len__(self) -> int:
        return len(self.values)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which values are missing, (n,)."""
        if self.kind == CATEGORY:
            return np.asarray(self.values < 0)
        return np.asarray(np.isnat(self.values) if self.kind == DATE else np.isnan(self.values))

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """How often each level occurs, (n_levels,)."""
        return np.bincount(self.values[self.values >= 0], minlength=len(self.levels)).astype(np.int64)

    def take(self, rows: Any) -> Column:
        """Some of the rows."""
        return replace(self, values=self.values[rows])

    def as_numbers(self) -> Column:
        """The numbers of a column, of text too; the first text that is no number is refused."""
        return self._read(NUMBER, number, "a number")

    def as_dates(self) -> Column:
        """The dates of a column, of text too; the first value that is no date is refused."""
        return self._read(DATE, date, "a date such as 2024-05-31")

    def as_levels(self) -> Column:
        """The texts of a column: numbers without a fraction as whole numbers, truth values as True and False."""
        if self.kind == CATEGORY:
            return self
        found = ~self.missing
        if self.kind == NUMBER and (np.abs(self.values[found]) >= EXACT_INTEGERS).any():
            raise InputTypeError(
                f"X has numbers of 2^53 or more in column {plain(self.name)}, which are not exact as floats; convert "
                "this column to text, so that its values can be levels."
            )
        distinct, inverse = np.unique(self.values[found], return_inverse=True)
        codes = np.full(len(self), -1, np.int64)
        codes[found] = inverse
        texts = map(text_of, distinct.astype(bool).tolist() if self.truth else distinct.tolist())
        return Column(self.name, CATEGORY, codes, tuple(texts))

    def _read(self, kind: str, read: Any, expected: str) -> Column:
        if self.kind == kind:
            return self
        missing = np.datetime64("NaT", "D") if kind == DATE else np.nan
        if self.missing.all():  # its type says nothing
            return Column(self.name, kind, np.full(len(self), missing))
        if self.kind != CATEGORY:
            raise InputTypeError(
                f"X has {'dates' if self.kind == DATE else 'numbers'} in column {plain(self.name)}, expected {expected}"
                " in each row, as in the training."
            )
        table = [read(level) for level in self.levels]
        wrong = np.array([value is None for value in table], bool)
        if wrong.any():
            bad = wrong[self.values] & (self.values >= 0)
            if bad.any():
                row = int(bad.argmax())
                raise WrongFieldError.at(
                    self.name, row, plain(self.levels[self.values[row]]), f"expected {expected}, as in the training"
                )
        known = [missing if value is None else value for value in table]
        lookup = np.array([*known, missing], "datetime64[D]" if kind == DATE else np.float64)
        return Column(self.name, kind, lookup[self.values])


def complete(columns: Sequence[Column]) -> NDArray[np.bool_] | None:
    """The rows without missing values, (n,); None if all are."""
    missing = [column.missing for column in columns]
    return ~np.any(missing, axis=0) if any(array.any() for array in missing) else None


def is_binary(values: NDArray[Any]) -> bool:
    """Whether all numbers are 0 or 1, and both occur."""
    return bool(np.isin(values, (0, 1)).all() and 0 < values.sum() < len(values))


def number(text: str) -> float | None:
    """The number that a text is, or the truth value as 1 or 0; None for other texts."""
    stripped = text.strip()
    truth = TRUTH.get(stripped.lower())
    if truth is not None:
        return truth
    return as_float(stripped)


def as_float(text: str) -> float | None:
    """The number that a text is, with a decimal point if it has a fraction; None for other texts."""
    if "_" in text or not text.isascii():  # Python accepts these as numbers
        return None
    try:
        return float(text)
    except ValueError:
        return None


def date(text: str) -> np.datetime64 | None:
    """The day of a date, or of a date with a time, such as 2024-05-31 or 2024/05/31; None for other texts."""
    stripped = text.strip()
    if not YEAR_FIRST.fullmatch(stripped):
        return None
    try:
        return np.datetime64(stripped[:10].replace("/", "-"), "D")
    except ValueError:
        return None


def first_number_as_text(counts: Mapping[str, int]) -> str | None:
    """The first number with a sign or a decimal comma, if these are at least half of the counted texts."""
    found = [level for level in counts if any(form.fullmatch(level.strip()) for form in (SIGNED, DECIMAL_COMMA))]
    return found[0] if found and 2 * sum(map(counts.__getitem__, found)) >= sum(counts.values()) else None


def is_truth(text: str) -> bool:
    """Whether a text is True or False."""
    return text.strip().lower() in TRUTH


def mistake_among_numbers(counts: Mapping[str, int], is_number: Callable[[str], bool]) -> str | None:
    """The first text that is no number, if numbers are at least half of the texts that were counted.

    It is probably a mistake, and the column one of numbers. Numbers with separators of thousands, or with the other
    decimal mark than that of the file, count as numbers, although they cannot be read. Truth values are no mistakes
    among 0 and 1.
    """
    numbers = {level for level in counts if is_number(level) and not is_truth(level)}
    wrong = [level for level in counts if level not in numbers]
    if all(map(is_truth, wrong)) and all(number(level) in (0.0, 1.0) for level in numbers):
        return None
    with_point = {level for level in wrong if number(level) is not None and not is_truth(level)}
    forms = GROUPED, DECIMAL_COMMA
    numbers |= with_point | {level for level in wrong if any(form.fullmatch(level.strip()) for form in forms)}
    meant = sum(counts[level] for level in numbers)
    return next(iter(wrong), None) if meant > 0 and 2 * meant >= sum(counts.values()) else None


def mistake_among_dates(counts: Mapping[str, int]) -> str | None:
    """The first text that cannot be read as a date, if dates are more than half of the texts that were counted.

    Dates in other forms count as dates, although they cannot be read, and are the first such text if no other is wrong.
    """
    others = [text for text in counts if date(text) is None]
    no_dates = [text for text in others if not OTHER_DATE.fullmatch(text.strip())]
    meant = sum(counts.values()) - sum(counts[text] for text in no_dates)
    return next(iter(no_dates or others), None) if 2 * meant > sum(counts.values()) else None


def text_of(value: Any) -> str:
    """The level of a value that is no text: whole numbers without a fraction, days without a time of day."""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    text = str(value)
    return text.removesuffix(" 00:00:00") if isinstance(value, datetime.datetime) else text


def canonical(text: str) -> str:
    """A level as another table may write it: 3.0 as 3, a day without its time 00:00:00, accents as one character."""
    text = unicodedata.normalize("NFC", text.strip())
    found = WHOLE.fullmatch(text) or MIDNIGHT.fullmatch(text)
    return text if found is None else found[1]


def in_order(levels: Sequence[str]) -> tuple[str, ...]:
    """Levels by number if all are numbers, and as text otherwise."""
    numbers = {level: number(level) for level in levels if not is_truth(level)}
    if len(numbers) == len(levels) and all(value is not None and value == value for value in numbers.values()):  # noqa: PLR0124
        return tuple(sorted(levels, key=lambda level: (numbers[level], level)))
    return tuple(sorted(levels))
