"""The files that DATA of a command stands for: one, several, a folder, or a pattern such as 'test/*.parquet'."""

from __future__ import annotations

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING

from nbsoftmax.errors import InputValueError

if TYPE_CHECKING:
    import argparse


def add_more(command: argparse.ArgumentParser, what: str) -> None:
    """Add the files after the first one."""
    command.add_argument("more", nargs="*", default=[], type=Path, metavar="DATA", help=what)


def is_several(data: Path) -> bool:
    """Whether a path is a folder or a pattern, not one file."""
    return data.is_dir() or (not data.exists() and glob.has_magic(os.fspath(data)))


def files_named(arguments: argparse.Namespace) -> list[Path]:
    """All files that the arguments name, those of a folder or a pattern in alphabetical order."""
    from nbsoftmax.data import source
    from nbsoftmax.data.named_files import files_of

    paths = [arguments.data, *getattr(arguments, "more", [])]
    if len(paths) == 1 and not is_several(paths[0]):
        return paths
    if any(str(path) == source.STDIN for path in paths):
        raise InputValueError("- is standard input, but several files are given; give either.")
    files = [Path(name) for name in files_of(paths)]
    weights = getattr(arguments, "sample_weight", None)  # a column or a file
    beside = {"labels": getattr(arguments, "labels", None), "sample-weight": weights and os.path.isfile(weights)}
    for name, given in beside.items():
        if len(files) > 1 and given:
            raise InputValueError(f"a file of --{name} is for one file of features, but {len(files)} are given.")
    return files
