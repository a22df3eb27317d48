"""pyarrow, which is optional: its import, and its errors as errors about a file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any

from nbsoftmax.errors import InputError, InputValueError
from nbsoftmax.files import one_line

# What a file of each kind is called in messages, and what may help if it cannot be read.
NAMES = {
    "parquet": "a Parquet file",
    "arrow": "an Arrow file",
    "arrow stream": "a stream of Arrow",
    "text": "text of columns",
}
ADVICE = {"text": "correct it, or give its format"}


def arrow() -> Any:
    """The module pyarrow."""
    try:
        import pyarrow
    except ImportError as error:
        raise ImportError('this needs pyarrow; install it with: pip install "nbsoftmax[data]"') from error
    return pyarrow


def require_pyarrow(what: str) -> Any:
    """The module pyarrow for a file; `what` begins the message if it is missing, for example "Parquet files"."""
    try:
        return arrow()
    except ImportError:
        raise InputValueError(
            f'{what} are read by pyarrow, which is missing; install it with: pip install "nbsoftmax[data]".'
        ) from None


class LeftOpen:
    """A file for pyarrow, which closes files that it is done with."""

    closed = False

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def close(self) -> None:
        """Leave the file open."""


@contextmanager
def damage_named(name: str, kind: str) -> Iterator[None]:
    """Replace errors of pyarrow by one about the file `name`, which is read as a file of this kind of `NAMES`."""
    pa = arrow()
    try:
        yield
    except (InputError, MemoryError):
        raise
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:  # the last for the name of a column
        if isinstance(error, OSError) and error.errno is not None:
            raise  # the disk, not the content
        advice = ADVICE.get(kind, "copy or write it again")
        raise InputValueError(
            f"{name} cannot be read as {NAMES[kind]} ({one_line(error).rstrip('.')}); {advice}."
        ) from None
