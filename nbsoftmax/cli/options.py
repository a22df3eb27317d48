"""Options that several commands take, and the types of their values."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from nbsoftmax.cli.offsets import add_offset

TEXT = ("sep", "decimal", "encoding", "null", "quote")  # options of text files
COLUMNS = ("drop", "features", "categorical", "id", "offset")  # options that name columns
ENCODING = ("formula", "missing", "indicators", "dates", "drop_first")  # options of features that are made from columns
# As in `encoding.options`, which is not imported here: it needs NumPy.
MISSING, DATES = ("error", "mean", "drop"), ("error", "parts")


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the options of labelled data."""
    command.add_argument(
        "data",
        type=Path,
        help="CSV or other text with a header, Parquet, Arrow; .npz with arrays X and y; .npy, or .npz of "
        "scipy.sparse, of features; svmlight file; - for standard input",
    )
    add_labels(command, "column of labels, or array of labels (.npz; default: y)")
    command.add_argument(
        "--sample-weight",
        metavar="NAME",
        help="column or array (.npz) of weights; FILE.npy for .npy, sparse .npz and svmlight data",
    )
    add_columns(command)
    add_offset(command)


def add_encoding(command: argparse.ArgumentParser) -> None:
    """Add the options of features that are made from columns of any kind."""
    group = command.add_argument_group("columns of text, dates and missing values (files of columns)")
    add = group.add_argument
    add(
        "--formula",
        metavar="TEXT",
        help="the classes and the features as a formula, such as 'species ~ mass * island + bs(age, 4)'",
    )
    add("--features", action="append", metavar="NAMES", help="columns to use (default: all that have no other use)")
    add("--categorical", action="append", default=[], metavar="NAMES", help="columns of numbers that stand for levels")
    add(
        "--missing",
        default="error",
        choices=MISSING,
        help="missing values: refuse them, put the mean in their place, or drop their rows (default: error)",
    )
    add("--indicators", action="store_true", help="with --missing mean, a feature missing(NAME) for each such column")
    add(
        "--dates",
        default="error",
        choices=DATES,
        help="refuse dates, or make year, month and day of them (default: error)",
    )
    add("--drop-first", action="store_true", help="no feature for the first level of each column of text")


def add_bounds(command: argparse.ArgumentParser) -> None:
    """Add the option of bounds on the coefficients."""
    command.add_argument(
        "--bounds",
        type=float,
        nargs=2,
        metavar=("LOW", "HIGH"),
        help="keep the coefficients of all classes, but not the intercepts, between LOW and HIGH; -inf and inf for no "
        "bound: 0 inf for no negative ones",
    )


def add_labels(command: argparse.ArgumentParser, what: str) -> None:
    """Add the options that name the labels."""
    command.add_argument("--target", metavar="NAME", help=what)
    command.add_argument("--labels", type=Path, metavar="FILE", help=".npy of labels, for .npy and sparse .npz data")


def add_columns(command: argparse.ArgumentParser) -> None:
    """Add the options that say what the columns of the data are, and how text is written."""
    command.add_argument(
        "--drop",
        action="append",
        default=[],
        metavar="NAMES",
        help="columns to leave out: names with commas between them; may be repeated, like all options with NAMES",
    )
    _add_text(command)
    command.add_argument(
        "--zero-based",
        action="store_true",
        help="features of an svmlight file are numbered from 0 (default: from 1, unless the number 0 occurs)",
    )


def _add_text(command: argparse.ArgumentParser) -> None:
    text = command.add_argument_group("text files (default: found in the first lines)")
    text.add_argument("--sep", metavar="CHAR", help="separator of fields, such as ; or tab")
    text.add_argument("--decimal", metavar="CHAR", help="decimal mark of numbers: . or ,")
    text.add_argument(
        "--quote",
        metavar="CHAR",
        help="character around fields (default: \", or ' if it is around all names; '' for none)",
    )
    text.add_argument("--encoding", metavar="NAME", help="such as latin-1 (default: UTF-8, or UTF-16 by its mark)")
    text.add_argument(
        "--null",
        action="append",
        metavar="TEXT",
        help="a missing value besides the empty field, may be repeated (default: NA, N/A, nan, null and the like)",
    )


def file(text: str) -> Path:
    """A file that cannot be standard input or output."""
    if text == "-":
        raise argparse.ArgumentTypeError("- is standard input or output, but this must be a file; name one")
    return Path(text)


def file_or_stdout(text: str) -> Path | None:
    """A file, or None for standard output."""
    return None if text == "-" else Path(text)


def columns_named(given: Sequence[str], columns: Sequence[str]) -> tuple[str, ...]:
    """The columns that the values of an option name, each once."""
    return tuple(dict.fromkeys(names_in(given, columns)))


def names_in(given: Sequence[str], columns: Sequence[str]) -> list[str]:
    """The columns that the values of an option name: each is a name, or several with commas between them.

    A name that contains a comma may be in quotes, as in CSV.
    """
    known = set(columns)
    names: list[str] = []
    for value in given:
        names += [value] if value in known else map(str.strip, _fields(value))
    return names


def _fields(text: str) -> list[str]:
    if '"' not in text:
        return text.split(",")
    import csv

    try:
        return next(csv.reader([text], skipinitialspace=True))
    except csv.Error:  # a line end outside of quotes
        return text.split(",")
