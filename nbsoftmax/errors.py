"""Exceptions for invalid input, warnings, and the formatting of values in their messages."""

from __future__ import annotations

import re
import sys
import threading
import unicodedata
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import islice
from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from numpy.typing import NDArray

Kept = list[tuple[str, type[Warning]]]  # messages and categories of warnings
_of_thread = threading.local()  # `kept`: the warnings of a thread that issues none itself
PASSED = {"nbsoftmax", "sklearn", "joblib"}  # a warning never names a line of these packages
LONGEST = 120  # maximum of characters of a value in a message
# By its sound: "ndarray" and abbreviations such as "SVC" do, "UInt8" and "OneHotEncoder" do not.
BEGINS_WITH_A_VOWEL = re.compile(r"(?!(?i:one|uint|uni|use))(?i:[aeiou]|ndarray)|[FHLMNRSX](?=[A-Z])")


class InputError(Exception):
    """Base class of the errors for invalid input. The message says what was given, what was expected and what to do.

    Attributes
    ----------
    parameter : str or None
        The parameter that the message begins with, if the message is about one: the command line shows its option.
    parts : tuple of str and int
        The parts of a message about rows, of which the integers are numbers of rows; () for other messages.
    """

    parts: tuple[str | int, ...] = ()

    def __init__(self, message: str = "", *, parameter: str | None = None) -> None:
        super().__init__(message)
        self.parameter = parameter

    @classmethod
    def about_rows(cls, *parts: str | int) -> Self:
        """The error whose message has these parts; integers are numbers of rows."""
        error = cls("".join(map(str, parts)))
        error.parts = parts
        return error

    def in_rows(self, rows: NDArray[Any]) -> Self:
        """The error in which row i is called rows[i]."""
        return self.about_rows(*(part if isinstance(part, str) else int(rows[part]) for part in self.parts))

    def only_row(self) -> int | None:
        """The number of the row that the message is about; None unless it is about one."""
        numbers = [part for part in self.parts if isinstance(part, int)]
        return numbers[0] if len(numbers) == 1 else None

    def in_file(self, place: str, row: int) -> Self:
        """The error about one row with its place before it, a file in which the row has this number."""
        return type(self)(f"{place}: {''.join(part if isinstance(part, str) else str(row) for part in self.parts)}")

    def of(self, name: str) -> Self:
        """The same error, with this name in place of X if the message begins with X."""
        text, parts = str(self), self.parts
        if not text.startswith("X "):
            return self
        error = type(self)(name + text[1:])
        vars(error).update(vars(self), parts=parts and (name + str(parts[0])[1:], *parts[1:]))
        return error


class InputValueError(InputError, ValueError):
    """A value, shape or content is invalid."""


class NoRowsError(InputValueError):
    """A file has no rows."""


class InputTypeError(InputError, TypeError):
    """A type or dtype is invalid."""


class DeviceMemoryError(InputError, MemoryError):
    """A GPU does not have enough free memory; the message says how much is needed and how much is free."""


class ClusterError(RuntimeError):
    """A cluster cannot complete a fit: no worker is left, workers die on one partition, or its scheduler is gone."""


@contextmanager
def rows_called(rows: NDArray[Any] | None) -> Iterator[None]:
    """Inside this context, errors about row i name rows[i] instead, its number in the caller's table; None: row i."""
    try:
        yield
    except InputError as error:
        if rows is None or not error.parts:
            raise
        raise error.in_rows(rows) from None


@contextmanager
def x_called(name: str) -> Iterator[None]:
    """Inside this context, errors about X name this argument instead."""
    try:
        yield
    except InputError as error:
        raise error.of(name) from None


def warn(message: str, category: type[Warning] = UserWarning) -> None:
    """Issue a warning that names the line which called this package, directly or through scikit-learn."""
    kept: Kept | None = getattr(_of_thread, "kept", None)
    if kept is not None:
        kept.append((message, category))
        return
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and str(frame.f_globals.get("__name__")).partition(".")[0] in PASSED:
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level + 1)


def keep_warnings() -> Kept:
    """Keep the warnings of this thread in the returned list from now on, so that another thread can issue them.

    It is for threads of this package: their stack has no line of a caller, which a warning would name.
    """
    kept: Kept = []
    _of_thread.kept = kept
    return kept


def plain(value: Any) -> str:
    """Format a label or another value for a message: on one line, NumPy scalars as Python numbers, shortened."""
    numpy = sys.modules.get("numpy")  # not imported here: the command line shows its help without NumPy
    return _shortened(" ".join(repr(value.item() if numpy and isinstance(value, numpy.generic) else value).split()))


def listed(values: Iterable[Any], *, most: int = 10) -> str:
    """Format the first `most` labels or names for a message: on one line, separated by commas, shortened."""
    shown = list(map(plain, islice(values, most + 1)))
    return _shortened(", ".join(shown[:most] + ["..."] * (len(shown) > most)))


def look_alike(wanted: str, names: Iterable[str]) -> str:
    """A part of a message, if a name differs from the wanted one only in how its accents are encoded; or ""."""
    form = unicodedata.normalize("NFC", wanted)
    if not any(name != wanted and unicodedata.normalize("NFC", name) == form for name in names):
        return ""
    advice = "unicodedata.normalize('NFC', name) makes them equal"
    return f" (one of them differs from {plain(wanted)} only in how accents are encoded; {advice})"


def counted(n: int, noun: str) -> str:
    """A number with its noun: "1 class", "3 classes"."""
    plural = f"{noun[:-1]}ies" if noun.endswith(("ty", "ry")) else f"{noun}es" if noun.endswith("s") else f"{noun}s"
    return f"{n} {noun if n == 1 else plural}"


def with_article(noun: str) -> str:
    """A noun with "a" or "an", by its sound: "a FitResult", "an Index", "an ndarray", "an SVC", "a UInt8Array"."""
    return f"{'an' if BEGINS_WITH_A_VOWEL.match(noun) else 'a'} {noun}"


def a_type(value: Any) -> str:
    """The type of a value for a message: "an int", "a DataFrame"."""
    return with_article(type(value).__name__)


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
