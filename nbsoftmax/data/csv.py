"""CSV files with a header, read into numbers and labels.

NumPy's C reader reads the numbers. If it fails, the file is read again line by line to find the line that is wrong.
Line numbers count from 1 and include the header.
"""

from __future__ import annotations

import csv
import difflib
import io
import re
import warnings
from collections.abc import Collection, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data.source import Path, Source, opened
from nbsoftmax.errors import InputValueError
from nbsoftmax.validation import Float64s

# Fields of the target that mark a missing value in files from pandas, R and databases. "None" is often a class.
MISSING = ("", "nan", "NaN", "NAN", "NA", "N/A", "n/a", "#N/A", "<NA>", "null", "NULL")
SEPARATORS = {";": "';'", "\t": "tabs", "|": "'|'", " ": "spaces"}
SPACE_BEFORE_QUOTE = re.compile(rb'[,\r\n] +"')
QUOTED_SEPARATOR = re.compile(rb'(?:\xef\xbb\xbf)?"[^"\r\n]*"([;\t| ])"')
LEAST_COUNTED = 10  # rows that a column must number before it is considered an index
MOST_COMPARED = 10_000  # columns among which a similar name is searched for


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of a file: the features, and the labels and weights if they were requested."""

    X: Float64s  # (n_samples, n_features)
    feature_names: tuple[str, ...]
    y: NDArray[Any] | None  # (n_samples,) integers if all labels are integers, strings otherwise
    weight: Float64s | None = None  # (n_samples,)


def read(
    path: Path | Source,
    *,
    target: str | None = None,
    features: Sequence[str] | None = None,
    weight: str | None = None,
    drop: Collection[str] = (),
    labels: Collection[str] = (),
) -> Table:
    """Read a CSV file.

    Parameters
    ----------
    path : path of a UTF-8 text file whose first line names the columns, or "-" for standard input
    target : str, optional
        Column of labels.
    features : sequence of str, optional
        Columns of numbers, in this order; by default all but the target, the weights and the dropped columns.
    weight : str, optional
        Column of sample weights.
    drop : collection of str
        Columns to leave out.
    labels : collection of str
        Known labels, which are accepted unchanged. Other labels must not be missing or numbers with a fraction.

    Raises
    ------
    InputValueError
        If the file is empty, a column is missing or named twice, a line has too few or too many fields, a number is
        missing or text, or a label is missing or continuous. The message contains the line number.
    """
    with _text(path) as file:
        return _read(file, target, features, weight, drop, labels)


def header(path: Path | Source) -> list[str]:
    """Read the names of the columns of a CSV file."""
    with _text(path) as file:
        return _header(file)


def row_counters(table: Table) -> tuple[str, ...]:
    """Features that only number the rows, in steps of 1, or have no name: an index that another program wrote."""
    counts = np.zeros(len(table.feature_names), bool)
    if len(table.X) >= LEAST_COUNTED:
        counts = np.diff(table.X[:3], axis=0).min(axis=0) == 1
        for j in np.flatnonzero(counts).tolist():
            counts[j] = bool((np.diff(table.X[:, j]) == 1).all())
    return tuple(name for name, counting in zip(table.feature_names, counts, strict=True) if counting or not name)


def listed(names: Sequence[str], wanted: str | None = None) -> str:
    """Return the first ten names for a message, and those among all names that are similar to `wanted`."""
    some = ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
    if wanted is None:
        return some
    folded = {name.casefold(): name for name in reversed(names[:MOST_COMPARED])}
    close = [folded[name] for name in difflib.get_close_matches(wanted.casefold().strip(), list(folded), 3)]
    return some + (f" (did you mean {' or '.join(map(repr, close))}?)" if close else "")


@dataclass(frozen=True)
class _Text:
    """The content of a UTF-8 file, and its name for messages."""

    name: str
    content: bytes

    def lines(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(io.BytesIO(self.content), encoding="utf-8-sig", newline="")

    def rows(self) -> Any:
        return csv.reader(self.lines(), strict=True, skipinitialspace=True)

    def body(self) -> Iterator[tuple[int, list[str]]]:
        """Return the line numbers and fields of the non-empty rows below the header."""
        rows = self.rows()
        next(rows)
        return ((rows.line_num, row) for row in rows if row)


@contextmanager
def _text(path: Path | Source) -> Iterator[_Text]:
    with opened(path) as source:
        file = _Text(source.name, _content(source))
    try:
        yield file
    except csv.Error as error:  # a quote that is never closed, a field of megabytes
        raise InputValueError(f"{file.name} cannot be read as CSV ({error}); correct its quotes.") from None


def _content(source: Source) -> bytes:
    content = source.file.read()
    try:
        content.decode()
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputValueError(
            f"{source.name} is not UTF-8 text (byte 0x{content[error.start]:02x} in line {line}); save it as UTF-8."
        ) from None
    if b"\0" in content:
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise InputValueError(f"{source.name} is not text (a NUL in line {line}); save it as CSV, UTF-8.")
    return content


def _read(
    file: _Text,
    target: str | None,
    features: Sequence[str] | None,
    weight: str | None,
    drop: Collection[str],
    labels: Collection[str],
) -> Table:
    header = _header(file)
    _check_separator(file.name, header, {target, *(features or ())})
    _check_drop(file.name, header, target, features, weight, drop)
    _check_target_and_weight(file.name, header, target, weight)
    names = _feature_names(file.name, header, features, {target, weight, *drop})
    where = {name: j for j, name in enumerate(header)}
    columns = [where[n] for n in names] + ([] if weight is None else [where[weight]])
    target_column = None if target is None else where[target]
    try:
        numbers = _numbers(file, columns)
        y = None if target_column is None else _labels(file, target_column)
    except (ValueError, IndexError) as error:
        _explain(file, header, columns, error)
    _check_lines(file, header, columns, numbers)
    if y is not None and target_column is not None:
        y = _checked_labels(file, header[target_column], target_column, y, labels)
    if weight is None:
        return Table(numbers, names, y)
    return Table(np.ascontiguousarray(numbers[:, :-1]), names, y, numbers[:, -1].copy())


def _check_drop(
    file: str,
    header: list[str],
    target: str | None,
    features: Sequence[str] | None,
    weight: str | None,
    drop: Collection[str],
) -> None:
    known = set(header)
    for name in drop:
        if name not in known:
            raise InputValueError(f"{file} has no column {name!r} to drop; {_has(header, name)}.")
        if name in {target, weight} or name in (features or ()):
            needed = "the labels" if name == target else "the weights" if name == weight else "a feature of the model"
            raise InputValueError(f"--drop {name!r} names {needed}; do not drop this column.")


def _check_target_and_weight(file: str, header: list[str], target: str | None, weight: str | None) -> None:
    known = set(header)
    if target is not None and target == weight:
        raise InputValueError(f"{target!r} is given as the column of labels and of weights; give two columns.")
    if target is not None and target not in known:
        raise InputValueError(f"{file} has no column {target!r}; {_has(header, target)}.")
    if weight is not None and weight not in known:
        raise InputValueError(f"{file} has no column {weight!r} for --sample-weight; {_has(header, weight)}.")


def _feature_names(
    file: str, header: list[str], features: Sequence[str] | None, others: Set[str | None]
) -> tuple[str, ...]:
    """Return the given features if all are in the header, or without them all columns but the `others`."""
    names = tuple(n for n in header if n not in others) if features is None else tuple(features)
    known = set(header)
    missing = [n for n in names if n not in known]
    if missing:
        more = f" (and {len(missing) - 1} more)" if len(missing) > 1 else ""
        raise InputValueError(
            f"{file} lacks the column {missing[0]!r}{more} that the model was trained on; {_has(header, missing[0])}."
        )
    if not names:
        raise InputValueError(f"{file} has no feature columns: every column is the target, the weights or dropped.")
    return names


def _header(file: _Text) -> list[str]:
    try:
        header = [name.strip() for name in next(file.rows(), [])]
    except csv.Error:
        # In "x";"y" and "x"<tab>"y", as R writes them, a quote ends before a character that is not a comma.
        if found := QUOTED_SEPARATOR.match(file.content):
            raise _separated_by(file.name, SEPARATORS[found[1].decode()]) from None
        raise
    if not any(header):
        raise InputValueError(f"{file.name} is empty; expected a CSV file whose first line names the columns.")
    seen: set[str] = set()
    for name in header:
        if name in seen:
            twice = f"named {name!r}" if name else "without a name"
            raise InputValueError(f"{file.name} has two columns {twice} in line 1; rename one.")
        seen.add(name)
    return header


def _check_separator(name: str, header: list[str], wanted: Set[str | None]) -> None:
    """Raise an error if the header is one field only because its separator is not a comma."""
    if len(header) > 1 or header[0] in wanted:
        return
    for separator, what in SEPARATORS.items():
        # A field with spaces is a name or prose, unless one of its words is a requested column.
        if separator in header[0] and (separator != " " or not wanted.isdisjoint(header[0].split())):
            raise _separated_by(name, what)


def _separated_by(name: str, what: str) -> InputValueError:
    return InputValueError(
        f"{name} is separated by {what}, expected commas; save it with commas between the fields, and a point in 1.5."
    )


def _numbers(file: _Text, columns: list[int]) -> Float64s:
    if SPACE_BEFORE_QUOTE.search(file.content):  # NumPy's reader would read such a quote as text
        rows = [[_number(row[j]) for j in columns] for _, row in file.body()]
        return np.array(rows, np.float64).reshape(len(rows), len(columns))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no lines below the header: `_explain` raises an error
        return np.loadtxt(
            file.lines(), np.float64, delimiter=",", skiprows=1, usecols=columns, ndmin=2, quotechar='"', comments=None
        )


def _number(field: str) -> float:
    if "_" in field or not field.isascii():  # Python accepts these as numbers, NumPy's reader does not
        raise ValueError
    return float(field)


def _labels(file: _Text, column: int) -> NDArray[np.str_]:
    return np.array([row[column].strip() for _, row in file.body()], np.str_)


def _checked_labels(file: _Text, name: str, column: int, y: NDArray[np.str_], known: Collection[str]) -> NDArray[Any]:
    """Return integer labels if all are integers; raise an error for missing labels and for numbers with a fraction."""
    distinct = np.unique(y).tolist()
    unknown = [label for label in distinct if label not in known]
    missing = next((label for label in unknown if label in MISSING), None)
    if missing is not None:
        line = next(line for line, row in file.body() if row[column].strip() == missing)
        has = f"has {missing!r}, which marks a missing value," if missing else "has no value"
        raise InputValueError(f"{file.name} line {line} {has} in column {name!r}; fill it in or drop the line.")
    if distinct and all(_is_integer(label) for label in distinct):
        return y.astype(np.int64)
    continuous = _with_fraction(unknown)
    if continuous is not None:
        line = next(line for line, row in file.body() if row[column].strip() == continuous)
        raise InputValueError(
            f"{file.name} line {line} has {continuous!r} in column {name!r}: continuous values cannot be labels (this "
            "is classification, not regression); if they are codes, write them as text, for example v1.5."
        )
    alike = _same_numbers(unknown)
    if alike is not None:
        raise InputValueError(
            f"{file.name} has the labels {alike[0]!r} and {alike[1]!r} in column {name!r}, which are the same number; "
            "write them in the same form, or as text, for example v1.0."
        )
    return y


def _is_integer(label: str) -> bool:
    digits = label.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and (digits == "0" or digits[0] != "0")


def _with_fraction(labels: list[str]) -> str | None:
    """Return the first label that is not a whole number, if all are numbers."""
    try:
        return next((label for label, x in [(label, _number(label)) for label in labels] if not x.is_integer()), None)
    except ValueError:
        return None


def _same_numbers(labels: list[str]) -> tuple[str, str] | None:
    """Return two labels that differ only in zeros after the point, as 1 and 1.0 do; 01 and 1 are different codes.

    None if there are no two such labels, or if some label is not a number.
    """
    try:
        known: dict[float, str] = {}
        for label in labels:
            first = known.setdefault(_number(label), label)
            if label != first and label.partition(".")[0] == first.partition(".")[0]:
                return first, label
    except ValueError:
        return None
    return None


def _check_lines(file: _Text, header: list[str], columns: list[int], numbers: Float64s) -> None:
    """Check what NumPy's reader accepts: lines with too many fields, and files without lines below the header."""
    commas = len(header) - 1
    if b'"' in file.content:
        uneven = any(len(row) != len(header) for _, row in file.body())
    else:
        uneven = any(line.count(",") != commas for line in file.lines() if line.strip())
    if uneven or len(numbers) == 0:
        _explain(file, header, columns, None)


def _explain(file: _Text, header: list[str], columns: list[int], error: Exception | None) -> NoReturn:
    """Raise an error about the first line that is wrong."""
    count = 0
    for line, row in file.body():
        count += 1
        if len(row) != len(header):
            raise InputValueError(
                f"{file.name} line {line} has {len(row)} fields, expected {len(header)} as in the header; "
                "correct the line."
            )
        for j in columns:
            _check_number(file.name, line, header[j], row[j])
    if count == 0:
        raise InputValueError(f"{file.name} has a header, but no lines below it; expected at least one sample.")
    raise InputValueError(
        f"{file.name} cannot be read as CSV ({error}); expected a header and lines of numbers and labels."
    )


def _check_number(file: str, line: int, column: str, field: str) -> None:
    if not field.strip():
        raise InputValueError(
            f"{file} line {line} has no value in column {column!r}; fill it in, drop the line, or --drop the column."
        )
    if not _is_number(field):
        raise InputValueError(
            f"{file} line {line} has {field.strip()!r} in column {column!r}, expected a number; encode text first, "
            "name the column as the target, or leave it out with --drop."
        )


def _has(header: Sequence[str], wanted: str) -> str:
    data = " (is its first line a header?)" if any(map(_is_number, header[:MOST_COMPARED])) else ""
    return f"its columns are {listed(header, wanted)}{data}"


def _is_number(field: str) -> bool:
    try:
        _number(field)
    except ValueError:
        return False
    return True
