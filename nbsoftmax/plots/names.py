"""Short forms of long class and feature names."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Any

LONGEST_NAME = 18  # characters of a class or feature name beside an axis


def short_names(names: Iterable[Any]) -> list[str]:
    """Shorten names to at most `LONGEST_NAME` characters where possible; different names stay different.

    If any name is longer, the prefix that all names share is left out, up to its last separator. Names that are still
    too long lose their middle; more of it is kept until no two short names are equal.
    """
    texts = [str(name) for name in names]
    if max(map(len, texts), default=0) <= LONGEST_NAME:
        return texts
    ends = (min(texts), max(texts)) if len(texts) > 1 else ("", "")  # a prefix of these two is a prefix of all
    common = takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=False))
    begin = max((i for i, (letter, _) in enumerate(common, 1) if not letter.isalnum()), default=0)
    rests = ["…" + text[begin:] for text in texts] if begin > 1 else texts
    for longest in range(LONGEST_NAME, max(map(len, rests)) + 1, 6):
        short = [_without_middle(text, longest) for text in rests]
        if len(set(short)) == len(set(texts)):
            return short
    return rests


def _without_middle(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    first = longest // 3
    return text[:first] + "…" + text[first + 1 - longest :]
