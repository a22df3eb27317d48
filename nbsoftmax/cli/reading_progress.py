"""How much of a file has been read, on one line of a terminal."""

from __future__ import annotations

import sys
import time
from contextlib import suppress
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

AFTER, EVERY = 1.0, 0.2  # seconds: before the first report, and between reports
ERASE = "\r\x1b[K"


class ReadingProgress:
    """Shows the bytes that have been read, if standard error is a terminal, without --quiet, after a second."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._name = "standard input" if str(arguments.data) == "-" else arguments.data.name
        self._is_shown = sys.stderr.isatty() and not getattr(arguments, "quiet", False)
        if arguments.command == "predict" and arguments.out is None and sys.stdout.isatty():
            self._is_shown = False  # the rows appear there, too
        self._next = time.monotonic() + AFTER
        self._written = False

    def __call__(self, n_bytes: int, size: int | None) -> None:
        """Show that `n_bytes` of `size` have been read."""
        now = time.monotonic()
        if not self._is_shown or now < self._next:
            return
        self._next, self._written = now + EVERY, True
        of = "" if size is None else f" of {size / 1e6:.0f}"
        self._write(f"{ERASE}reading {self._name}: {n_bytes / 1e6:.0f}{of} MB")

    def __enter__(self) -> ReadingProgress:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Erase the line."""
        if self._written:
            self._write(ERASE)

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a closed terminal must not end the work
            print(text, end="", file=sys.stderr, flush=True)
