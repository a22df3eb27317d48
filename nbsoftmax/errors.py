"""Exceptions for invalid input, and the formatting of values in their messages."""

from __future__ import annotations

import sys
from typing import Any

LONGEST = 120  # maximum of characters of a value in a message


class InputError(Exception):
    """Base class of the errors for invalid input. The message says what came, what was expected and what to do."""


class InputValueError(InputError, ValueError):
    """A value, shape or content is invalid."""


class InputTypeError(InputError, TypeError):
    """A type or dtype is invalid."""


class DeviceMemoryError(InputError, MemoryError):
    """A GPU does not have enough free memory; the message says how much is needed and how much is free."""


def plain(value: Any) -> str:
    """Format a label or another value for a message: on one line, NumPy scalars as Python numbers, shortened."""
    numpy = sys.modules.get("numpy")  # not imported here: the command line shows its help without NumPy
    text = " ".join(repr(value.item() if numpy and isinstance(value, numpy.generic) else value).split())
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 4]} ..."
