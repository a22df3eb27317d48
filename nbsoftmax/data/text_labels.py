"""The types of labels in text files that are read in blocks: integers if all labels are, and text otherwise.

A text file does not say what type its labels have, and its first rows need not show it: all labels are looked at, or
those up to the first one that is no number, before a batch is used.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.cached import cached_property
from nbsoftmax.data import labels
from nbsoftmax.data.arrow import arrow
from nbsoftmax.data.text import is_number


class TextLabels:
    """The labels of a column of text files.

    Parameters
    ----------
    name : str
        Of the files, for messages.
    column : str
        Name of the column.
    read : function without arguments
        Returns an iterator over the column, in dictionaries of strings of Arrow, from the first row on.
    missing : collection of str
        Spellings of missing values.
    classes : ndarray (n_classes,), or None
        Labels that are known: a text that is one of them, written as text, becomes this label.
    place : function of the number of a row of all files
        Returns where it is, for messages.
    """

    def __init__(
        self,
        name: str,
        column: str,
        read: Callable[[], Iterator[Any]],
        missing: Collection[str],
        classes: NDArray[Any] | None,
        place: Callable[[int], str],
    ) -> None:
        self.name, self.column, self._read, self._missing = name, column, read, {"", *missing}
        self._place = place
        self.classes = [] if classes is None else list(classes.tolist())
        self._known = validation.by_text(self.classes)

    def of(self, texts: Any, first_row: int) -> Any:
        """The labels of a batch, an array of Arrow of integers, booleans or text, null where they are missing.

        `first_row` is the number of the first of them among all rows, for messages.
        """
        pa = arrow()
        distinct, codes = self._encoded(texts)
        typed: Any = distinct
        if self._known:
            unknown = next((text for text in distinct if text not in self._known), None)
            if unknown is not None:
                row = first_row + int((codes == distinct.index(unknown)).argmax())
                raise validation.unknown_label(unknown, self.classes, row=row)
            typed = [self._known[text] for text in distinct]
        elif self._are_integers:
            typed = list(map(int, distinct))
        absent = codes < 0
        indices = pa.array(np.where(absent, 0, codes), mask=absent if absent.any() else None)
        if not typed or isinstance(typed[0], str):
            return pa.DictionaryArray.from_arrays(indices, pa.array(typed, pa.large_string()))
        return pa.array(typed).take(indices)

    def find_type(self) -> None:
        """Read all labels, if that has not been done and is necessary; refuse numbers that cannot be labels."""
        if not self._known:
            _ = self._are_integers

    @cached_property
    def _are_integers(self) -> bool:
        """Whether all labels of the files are integers."""
        distinct: dict[str, int] = {}  # each label, and the row of the first one
        n_rows = 0
        for batch in self._read():
            found, codes = self._encoded(batch)
            for k in [k for k, text in enumerate(found) if text not in distinct]:
                distinct[found[k]] = n_rows + int((codes == k).argmax())
            if not all(map(is_number, found)):
                return False
            n_rows += len(batch)
        return bool(distinct) and self._typed(list(distinct), list(distinct.values())).dtype.kind == "i"

    def _typed(self, distinct: list[str], rows: list[int]) -> NDArray[Any]:
        """Distinct labels as `labels.of_text` returns them, which refuses numbers that cannot be labels."""
        return labels.of_text(
            _Rows(self.name, rows, self._place), self.column, arrow().chunked_array([distinct]), (), ()
        )

    def _encoded(self, texts: Any) -> tuple[list[str], NDArray[np.int64]]:
        """The distinct texts without spaces around them, and the place of each row among these, -1 for missing."""
        places: dict[str, int] = {}
        stripped = [text.strip() for text in texts.dictionary.to_pylist()]
        table = [-1 if text in self._missing else places.setdefault(text, len(places)) for text in stripped]
        indices = texts.indices.fill_null(len(table)).to_numpy()
        return list(places), np.array([*table, -1], np.int64)[indices]


class _Rows:
    """Where labels are, for messages."""

    def __init__(self, name: str, rows: list[int], place: Callable[[int], str]) -> None:
        self.name, self._rows, self._place = name, rows, place

    def where(self, row: int, column: str) -> tuple[str, str]:
        """Return where a label is, for a message."""
        return self._place(self._rows[row]), ""
