"""The files that DATA of a command stands for: one, several, a folder, or a pattern such as 'test/*.parquet'."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nbsoftmax.errors import InputValueError, counted

if TYPE_CHECKING:
    import argparse


def add_more(command: argparse.ArgumentParser, what: str) -> None:
    """Add the files after the first one."""
    command.add_argument("more", nargs="*", default=[], type=Path, metavar="DATA", help=what)


def is_several(data: Path) -> bool:
    """Whether a path is a folder or a pattern, not one file."""
    return data.is_dir() or (not data.exists() and glob.has_magic(os.fspath(data)))


def refuse_several(data: Path) -> None:
    """Refuse a folder or a pattern where a command reads one file."""
    if is_several(data):
        raise InputValueError(
            f"{data} stands for several files, but this command reads one file; write their rows to one file."
        )


def each_file(arguments: argparse.Namespace) -> list[argparse.Namespace]:
    """The arguments of each file that they name, those of a folder or a pattern in alphabetical order.

    Files of --labels and of --sample-weight are those of the files of features in the same order.
    """
    import argparse

    from nbsoftmax.data import source
    from nbsoftmax.data.named_files import files_of

    paths = [arguments.data, *getattr(arguments, "more", [])]
    if len(paths) == 1 and not is_several(paths[0]):
        return [arguments]
    if any(str(path) == source.STDIN for path in paths):
        raise InputValueError("- is standard input, but several files are given; give either.")
    each = [{"data": Path(name)} for name in files_of(paths)]
    for option, given in files_beside(arguments).items():
        beside = files_of([given])
        if len(beside) != len(each):
            raise InputValueError(
                f"--{option.replace('_', '-')} {given} stands for {counted(len(beside), 'file')}, but there are "
                f"{len(each)} of features; give a folder or a pattern of as many, such as 'y*.npy'."
            )
        for one, name in zip(each, beside, strict=True):
            one[option] = Path(name)
    return [argparse.Namespace(**{**vars(arguments), **one}) for one in each]


def files_beside(arguments: argparse.Namespace) -> dict[str, Path]:
    """The options that name files beside those of the features; --sample-weight may also name a column."""
    labels, weight = getattr(arguments, "labels", None), getattr(arguments, "sample_weight", None)
    found = {} if labels is None else {"labels": labels}
    if weight is not None and (os.path.isfile(weight) or is_several(Path(weight))):
        found["sample_weight"] = Path(weight)
    return found
