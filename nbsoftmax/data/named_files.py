"""The files that names, folders and patterns stand for."""

from __future__ import annotations

import glob
import os
import stat
from collections.abc import Iterator
from typing import Any

from nbsoftmax.errors import InputValueError
from nbsoftmax.files import file_name


def files_of(path: Any) -> list[str]:
    """The files that paths, folders and patterns stand for; each is a regular file with content."""
    found = expanded(path)
    if not found:
        raise InputValueError("path is an empty list; give the name of a file.")
    for name in found:
        _check_file(name)
    return found


def expanded(path: Any) -> list[str]:
    """The names that paths, folders and patterns stand for; a name alone stands for itself, also if it is no file."""
    found = []
    for given in map(file_name, path if isinstance(path, (list, tuple)) else [path]):
        if os.path.isdir(given):
            some = sorted(_visible_files(given))
        elif os.path.exists(given) or not glob.has_magic(given):
            some = [given]
        else:
            some = sorted(name for name in glob.glob(given, recursive=True) if not os.path.isdir(name))
        if not some:
            raise InputValueError(f"there is no file {given!r}; give the names of files, a folder or a pattern.")
        found += some
    return found


def _check_file(name: str) -> None:
    """Refuse what is no regular file, and a file without content, such as one whose writer has failed."""
    try:
        status = os.stat(name)
    except (FileNotFoundError, NotADirectoryError):
        raise FileNotFoundError(f"there is no file {name!r}.") from None
    if not stat.S_ISREG(status.st_mode):
        raise InputValueError(
            f"{name} is a pipe or a device, not a regular file, and can be read only once; write its content to a file."
        )
    if status.st_size == 0:
        raise InputValueError(f"{name} is empty (0 bytes); write it again, or leave it out.")


def _visible_files(folder: str) -> Iterator[str]:
    """The files below a folder, without hidden ones and those that other programs keep for themselves (._*, _*).

    A folder such as `_year=2024`, which names a value, is no such folder.
    """
    for inside, folders, names in os.walk(folder):
        folders[:] = [name for name in folders if not name.startswith((".", "_")) or "=" in name]
        yield from (os.path.join(inside, name) for name in names if not name.startswith((".", "_")))
