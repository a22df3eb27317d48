"""The quotes of a text of columns: whether each is where CSV allows it.

Every second quote opens a part of a field, and the others close it. In a plain text, a separator or the end of a line
is before each opening quote and behind each closing quote; or the two are neighbours, and stand for a quote inside of
a field. pyarrow and Python's csv module read a plain text in the same way. pyarrow also accepts other texts: it takes
a quote that is not closed, text behind a quote, and a quote after a space, as part of the field.
"""

from __future__ import annotations

from codecs import BOM_UTF8
from typing import IO

import numpy as np

AT_ONCE = 2**20  # bytes


class Quotes:
    """The quotes of a text, which is added in blocks of bytes.

    Parameters
    ----------
    separator, quote : str
        One ASCII character each; the quote is "" if quotes have no meaning.

    Attributes
    ----------
    n : int
        Number of quotes.
    after_space : bool
        Whether a space is before some quote.
    """

    def __init__(self, separator: str, quote: str) -> None:
        self._quote = quote.encode()
        self._is_edge = np.zeros(256, np.bool_)
        self._is_edge[[*separator.encode(), *self._quote, *b"\r\n"]] = True
        self._last = b""  # the last byte, whose successor is not known, and the one before
        self._at_edges, self.after_space, self.n = True, False, 0

    def add(self, block: bytes) -> None:
        """Add the next block."""
        if not self._quote:
            return
        content = self._last + block if self._last else b"\n" + block.removeprefix(BOM_UTF8)
        self._last = content[-2:]
        if content.find(self._quote, 1, -1) < 0:
            return
        characters = np.frombuffer(content, np.uint8)
        places = np.flatnonzero(characters[1:-1] == self._quote[0]) + 1
        before, behind = characters[places - 1], characters[places + 1]
        opening = (self.n + np.arange(len(places))) % 2 == 0
        self._at_edges &= bool(self._is_edge[np.where(opening, before, behind)].all())
        self.after_space |= bool((before == ord(" ")).any())
        self.n += len(places)

    def are_plain(self) -> bool:
        """Whether all quotes are plain; the text is at its end."""
        self.add(b"\n")
        return self._at_edges and self.n % 2 == 0


def quotes_of(file: IO[bytes], separator: str, quote: str) -> Quotes:
    """The quotes of a file from its beginning."""
    file.seek(0)
    found = Quotes(separator, quote)
    while quote and (block := file.read(AT_ONCE)):
        found.add(block)
    return found
