"""What an encoding reports of the rows of a table: levels that it does not know, and rows that are left out."""

from __future__ import annotations

from collections.abc import Mapping

from nbsoftmax.errors import counted, listed, plain, warn

# column -> (number of rows, some of the levels)
Unknown = dict[str, tuple[int, tuple[str, ...]]]


class UnknownLevelsWarning(UserWarning):
    """Some rows have levels that the model was not trained on; the columns of these levels are all 0."""


def add_unknown(total: Unknown, more: Mapping[str, tuple[int, tuple[str, ...]]]) -> None:
    """Add the counts of other rows."""
    for column, (n, levels) in more.items():
        before, some = total.get(column, (0, ()))
        total[column] = before + n, tuple(dict.fromkeys([*some, *levels]))[:3]


def unknown_message(unknown: Unknown) -> str:
    """The warning about unknown levels, which counts them by column."""
    parts = [
        f"{plain(column)} in {counted(n, 'row')} ({listed(levels, most=3)}{', ...' * (len(levels) > 2)})"
        for column, (n, levels) in unknown.items()
    ]
    return f"levels that the model was not trained on are 0 in all features of their column: {'; '.join(parts)}."


def warn_of_unknown(unknown: Unknown) -> None:
    """Warn once of all unknown levels of a table, if there are some."""
    if unknown:
        warn(unknown_message(unknown), UnknownLevelsWarning)


def warn_of_dropped(n_dropped: int, n_rows: int) -> None:
    """Warn of the rows of a table that are left out, if there are some."""
    if n_dropped:
        warn(f"{n_dropped} of {n_rows} rows have missing values and are left out.")
