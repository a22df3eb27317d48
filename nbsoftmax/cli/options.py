"""Options that several commands take, and the types of their values."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_data(command: argparse.ArgumentParser) -> None:
    """Add the options of labelled data."""
    command.add_argument(
        "data",
        type=Path,
        help="CSV with a header; .npz with arrays X and y; or .npy of features; - for standard input",
    )
    add_labels(command, "column of labels (CSV), or array of labels (.npz; default: y)")
    command.add_argument(
        "--sample-weight", metavar="NAME", help="column (CSV) or array (.npz) of weights; FILE.npy for .npy data"
    )
    add_drop(command)


def add_labels(command: argparse.ArgumentParser, what: str) -> None:
    """Add the options that name the labels."""
    command.add_argument("--target", metavar="NAME", help=what)
    command.add_argument("--labels", type=Path, metavar="FILE", help=".npy of labels, for .npy data")


def add_drop(command: argparse.ArgumentParser) -> None:
    """Add --drop."""
    command.add_argument(
        "--drop", action="append", default=[], metavar="NAME", help="column (CSV) to leave out; may be repeated"
    )


def file(text: str) -> Path:
    """A file that cannot be standard input or output."""
    if text == "-":
        raise argparse.ArgumentTypeError("- is standard input or output, but this must be a file; name one")
    return Path(text)


def file_or_stdout(text: str) -> Path | None:
    """A file, or None for standard output."""
    return None if text == "-" else Path(text)
