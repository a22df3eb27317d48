"""What commands print: text for people, JSON for programs, warnings on standard error.

With --json a command prints one JSON object, or for `predict` one for each row; numbers that are not finite are null.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from nbsoftmax.errors import InputValueError

if TYPE_CHECKING:
    import argparse


# Control characters, and marks that reverse the order of text: names and labels from a file must not change the state
# of a terminal, hide text or look like another line.
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]")


def print_report(arguments: argparse.Namespace, lines: list[str], facts: dict[str, Any]) -> None:
    """Print the facts as JSON if --json is given, and the lines otherwise."""
    text = to_json(facts) if arguments.json else "\n".join(map(without_controls, lines))
    encoding = stdout_encoding()
    print(text.encode(encoding, "backslashreplace").decode(encoding))  # escape labels that a terminal cannot show


def without_controls(text: str) -> str:
    r"""Write control characters as Python does, for example the escape character as `\x1b`."""
    return _CONTROLS.sub(lambda found: ascii(found[0])[1:-1], text)


def to_json(facts: Any) -> str:
    """Return facts as one line of JSON, with NumPy scalars as numbers, and dates, decimals and bytes as text."""
    import numpy as np

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {str(name): plain(entry) for name, entry in value.items()}
        if isinstance(value, (list, tuple)):
            return [plain(entry) for entry in value]
        if isinstance(value, np.generic):
            value = value.item()
        return None if isinstance(value, float) and not np.isfinite(value) else value

    return json.dumps(plain(facts), allow_nan=False, default=str)


def format_number(value: Any) -> str:
    """Return a value as text, floats with six digits."""
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def warn(message: str) -> None:
    """Print a warning as one line on standard error."""
    note(f"warning: {message}")


def note(message: str) -> None:
    """Print a message as one line on standard error."""
    print(f"nbsoftmax: {without_controls(' '.join(message.split()))}", file=sys.stderr)


def check_encoding(texts: Iterable[str]) -> None:
    """Raise an error if standard output cannot encode a text, before anything is written."""
    encoding = stdout_encoding()
    for text in texts:
        try:
            text.encode(encoding)
        except UnicodeEncodeError as error:
            raise InputValueError(
                f"standard output is {encoding}, which cannot encode {text[error.start : error.end]!a} in {text!a}; "
                "write to --out FILE, which is UTF-8, or set PYTHONIOENCODING=utf-8."
            ) from None


def stdout_encoding() -> str:
    """The encoding of standard output."""
    return getattr(sys.stdout, "encoding", None) or "utf-8"
