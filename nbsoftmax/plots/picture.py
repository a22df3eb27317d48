"""Picture files: their formats, and writing them."""

from __future__ import annotations

import os
from typing import Any

from nbsoftmax.errors import InputValueError
from nbsoftmax.files import file_name, whole_file

# The formats that every supported version of matplotlib writes.
FORMATS = ("png", "svg", "pdf", "eps", "ps", "jpg", "jpeg", "tif", "tiff", "webp", "svgz")


def picture_format(path: str | os.PathLike[str]) -> str:
    """Return the format given by a file name's extension, one of `FORMATS`."""
    ending = os.path.splitext(file_name(path))[1].removeprefix(".").lower()
    if ending not in FORMATS:
        given = f"ends in .{ending}" if ending else "has no extension"
        raise InputValueError(f"{os.fspath(path)} {given}, expected one of .{', .'.join(FORMATS)}.")
    return ending


def save_picture(figure: Any, path: str | os.PathLike[str], *, dpi: int) -> None:
    """Write a figure atomically, in the format given by the file name's extension."""
    ending = picture_format(path)
    with whole_file(path) as file:
        figure.savefig(file, dpi=dpi, format=ending)
