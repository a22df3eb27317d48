"""Exceptions for input that cannot be used, and the form of a value in their messages."""

from __future__ import annotations

import sys
from typing import Any

LONGEST = 120  # characters of a value in a message


class InputError(Exception):
    """What the user gave cannot be used; the message says what to do. The one base of the family."""


class InputValueError(InputError, ValueError):
    """The value, shape or content is wrong."""


class InputTypeError(InputError, TypeError):
    """The type or dtype is wrong."""


class DeviceMemoryError(InputError, MemoryError):
    """A GPU does not have enough free memory; the message says how much was needed, and how much is free."""


def plain(value: Any) -> str:
    """Write a label or another value for a message, on one line, and NumPy's scalars as Python's."""
    numpy = sys.modules.get("numpy")  # not imported: the command line shows its help without it
    text = " ".join(repr(value.item() if numpy and isinstance(value, numpy.generic) else value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
