"""CSV files with a header, read into numbers and labels.

Well-formed files go through NumPy's C reader; only when it refuses is the file walked line by line, to say where it
is wrong. Lines are counted from 1, the header included.
"""

from __future__ import annotations

import csv
import os
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.check import Float64s, InputValueError

Path = str | os.PathLike[str]


@dataclass(frozen=True)
class Table:
    """Columns of a file: features as numbers, and the target as it stands there, if one was asked for."""

    X: Float64s  # (n_samples, n_features)
    feature_names: tuple[str, ...]
    y: NDArray[Any] | None  # (n_samples,) integers where all are, strings otherwise


def read(path: Path, *, target: str | None = None, features: Sequence[str] | None = None) -> Table:
    """Read a CSV file.

    Parameters
    ----------
    path : path of a UTF-8 text file whose first line names the columns
    target : str, optional
        Column of labels.
    features : sequence of str, optional
        Columns of numbers, in this order; by default all but the target.

    Raises
    ------
    InputValueError
        For an empty file, columns that are missing or named twice, lines of another length, and text or nothing
        where a number should be; each with its line.
    """
    try:
        return _read(path, target, features)
    except csv.Error as error:  # a quote that is never closed, a field of megabytes
        raise InputValueError(f"{path} cannot be read as CSV ({error}); mend its quotes.") from None


def _read(path: Path, target: str | None, features: Sequence[str] | None) -> Table:
    header = _header(path)
    for name in [target] if target is not None else []:
        if name not in header:
            raise InputValueError(f"{path} has no column {name!r}; its columns are {_listed(header)}.")
    names = tuple(n for n in header if n != target) if features is None else tuple(features)
    missing = [n for n in names if n not in header]
    if missing:
        raise InputValueError(
            f"{path} lacks the column {missing[0]!r} that the model was trained on; its columns are {_listed(header)}."
        )
    if not names:
        raise InputValueError(f"{path} has no columns beside the target; there is nothing to learn from.")
    columns = [header.index(n) for n in names]
    target_column = None if target is None else header.index(target)
    try:
        X = _numbers(path, columns)
        y = None if target_column is None else _labels(path, target_column)
    except (ValueError, IndexError) as error:
        _explain(path, header, columns, error)
    _check_lines(path, header, columns, target_column, X, y)
    return Table(X, names, y)


def _header(path: Path) -> list[str]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        try:
            header = [name.strip() for name in next(csv.reader(file, strict=True), [])]
        except UnicodeDecodeError:
            raise InputValueError(f"{path} is no UTF-8 text; expected a CSV file with a header.") from None
    if not any(header):
        raise InputValueError(f"{path} is empty; expected a CSV file whose first line names the columns.")
    seen: set[str] = set()
    for name in header:
        if name in seen:
            raise InputValueError(f"{path} has two columns named {name!r} in line 1; rename one.")
        seen.add(name)
    return header


def _numbers(path: Path, columns: list[int]) -> Float64s:
    with open(path, newline="", encoding="utf-8-sig") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # no lines below the header: said better by `_explain`
        return np.loadtxt(
            file, np.float64, delimiter=",", skiprows=1, usecols=columns, ndmin=2, quotechar='"', comments=None
        )


def _labels(path: Path, column: int) -> NDArray[Any]:
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, strict=True)
        next(rows)
        labels = np.array([row[column].strip() for row in rows if row], np.str_)
    if labels.size and all(_is_integer(label) for label in np.unique(labels).tolist()):
        return labels.astype(np.int64)
    return labels


def _is_integer(label: str) -> bool:
    digits = label.removeprefix("-")
    return digits.isascii() and digits.isdigit() and len(digits) < 19 and (digits == "0" or digits[0] != "0")


def _check_lines(
    path: Path, header: list[str], columns: list[int], target: int | None, X: Float64s, y: NDArray[Any] | None
) -> None:
    """What the fast reader lets pass: lines with too many fields, labels that are missing, no lines at all."""
    commas = len(header) - 1
    with open(path, newline="", encoding="utf-8-sig") as file:
        text_has_quotes = '"' in file.read()
    with open(path, newline="", encoding="utf-8-sig") as file:
        if text_has_quotes:
            uneven = any(row and len(row) != len(header) for row in csv.reader(file, strict=True))
        else:
            uneven = any(line.count(",") != commas for line in file if line.strip())
    if uneven or (y is not None and y.dtype.kind == "U" and (y == "").any()) or len(X) == 0:
        _explain(path, header, columns, None, target=target)


def _explain(
    path: Path, header: list[str], columns: list[int], error: Exception | None, *, target: int | None = None
) -> NoReturn:
    """Find the first line that is wrong and say how."""
    with open(path, newline="", encoding="utf-8-sig") as file:
        rows = csv.reader(file, strict=True)
        next(rows)
        count = 0
        for row in rows:
            if not row:
                continue
            count += 1
            line = rows.line_num
            if len(row) != len(header):
                raise InputValueError(
                    f"{path} line {line} has {len(row)} fields, expected {len(header)} as in the header; mend the line."
                )
            for j in columns:
                _check_number(path, line, header[j], row[j])
            if target is not None and not row[target].strip():
                raise InputValueError(f"{path} line {line} has no value in column {header[target]!r}; fill or drop it.")
    if count == 0:
        raise InputValueError(f"{path} has a header, but no lines below it; expected at least one sample.")
    raise InputValueError(f"{path} cannot be read as CSV ({error}); expected a header and lines of numbers and labels.")


def _check_number(path: Path, line: int, column: str, field: str) -> None:
    if not field.strip():
        raise InputValueError(f"{path} line {line} has no value in column {column!r}; fill it in or drop the line.")
    try:
        float(field)
    except ValueError:
        raise InputValueError(
            f"{path} line {line} has {field.strip()!r} in column {column!r}, expected a number; encode text first, "
            "or name the column as the target."
        ) from None


def _listed(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")
