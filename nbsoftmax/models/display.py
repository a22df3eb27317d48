"""How results are displayed: `repr` is a summary of at most five lines, and notebooks show a small HTML table."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from html import escape
from typing import Any, NamedTuple

from nbsoftmax.errors import plain

MOST_ROWS, MOST_COLUMNS = 12, 8  # of an HTML table
MOST_LISTED = 6  # labels or names in a line of a summary


class Table(NamedTuple):
    """A table of text: its header, and its rows of the same length."""

    header: Sequence[str]
    rows: Sequence[Sequence[str]]


class Displayed(ABC):
    """Gives a result class its `repr` and its HTML form.

    A dataclass that inherits it needs `repr=False`, because `dataclass` defines a `repr` of all fields otherwise.
    """

    @abstractmethod
    def _title(self) -> str:
        """First line of the summary, after the name of the class."""

    @abstractmethod
    def _lines(self) -> dict[str, str]:
        """The other lines of the summary, at most four: text by name."""

    def _table(self) -> Table:
        """The table that notebooks show under the title; by default the lines of the summary."""
        return Table((), list(self._lines().items()))

    def _heading(self) -> str:
        return f"{type(self).__name__}: {self._title()}"

    def __repr__(self) -> str:
        lines = self._lines()
        width = max(map(len, lines), default=0)
        return "\n".join([self._heading(), *(f"  {name:<{width}}  {text}" for name, text in lines.items())])

    def _repr_html_(self) -> str:
        table = self._table()
        rows = [table.header, *table.rows[:MOST_ROWS]] if table.header else list(table.rows)
        body = "".join(_html_row(row, "th" if i == 0 and table.header else "td") for i, row in enumerate(rows))
        more = len(table.rows) - MOST_ROWS
        note = f"<p>{more} more rows</p>" if table.header and more > 0 else ""
        return f"<p><b>{escape(self._heading())}</b></p><table>{body}</table>{note}"


def _html_row(cells: Sequence[str], tag: str) -> str:
    shown = [*cells[:MOST_COLUMNS], "..."] if len(cells) > MOST_COLUMNS else cells
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in shown)}</tr>"


def changed_options(owner: Any) -> str:
    """The repr of an object with the options of its constructor that are not default."""
    options = {name: option.default for name, option in inspect.signature(type(owner)).parameters.items()}
    given = {name: getattr(owner, name) for name in sorted(options)}
    # An array has no single truth value for `!=`; it is only possible for options whose default is None.
    shown = [
        f"{name}={plain(value)}"
        for name, value in given.items()
        if (value is not None if options[name] is None else value != options[name])
    ]
    return f"{type(owner).__name__}({', '.join(shown)})"
