"""Class and feature names as texts of plots: literal, and shortened if they are long."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import takewhile
from typing import Any

LONGEST_NAME = 18  # characters of a class or feature name beside an axis
BEGINNING = 4  # characters that names in a group have in common at least, and keep


def literal(text: Any) -> str:
    """Escape `$` in a text, which matplotlib would read as the start or the end of a formula."""
    return str(text).replace("$", r"\$")


def display_names(names: Iterable[Any]) -> list[str]:
    """Shorten names as `short_names` does, and escape them for matplotlib."""
    return [literal(name) for name in short_names(names)]


def short_names(names: Iterable[Any]) -> list[str]:
    """Shorten names to at most `LONGEST_NAME` characters where possible; different names stay different.

    If any name is longer, the beginning and the end that all names share are left out, up to a separator. So is what
    the levels of a column share, in names such as species[Adelie], and what names with the same first letters share
    after these. Names that are still too long lose their middle, columns and levels separately. More is kept until no
    two short names are equal.
    """
    texts = [str(name) for name in names]
    if max(map(len, texts), default=0) <= LONGEST_NAME:
        return texts
    rests = _without_shared_in_groups(_without_shared(texts))
    for longest in range(LONGEST_NAME, max(map(len, rests)) + 1, 6):
        short = [_shortened(text, longest) for text in rests]
        if len(set(short)) == len(set(texts)):
            return short
    return rests


def _without_shared_in_groups(texts: list[str]) -> list[str]:
    """Leave out what the levels of a column share, or names with the same beginning, if one of them is too long."""
    groups: dict[tuple[str, str], list[str]] = {}
    for text in dict.fromkeys(texts):
        column, level = _column_and_level(text)
        key = (f"{column}[", "]") if column else (text[:BEGINNING], "")
        groups.setdefault(key, []).append(level if column else text[BEGINNING:])
    changed: dict[str, str] = {}
    for (begin, end), rests in groups.items():
        if len(begin + end) + max(map(len, rests)) <= LONGEST_NAME:
            continue
        short = _without_shared(rests)
        room = LONGEST_NAME - len(begin + end) - max(map(len, short))
        more = "" if end else rests[0][: min(max(room, 0), _shared(rests))]  # keep more of the beginning if it fits
        more = more if all(one.startswith("…") for one in short) else ""
        changed |= {f"{begin}{rest}{end}": f"{begin}{more}{cut}{end}" for rest, cut in zip(rests, short, strict=True)}
    found = [changed.get(text, text) for text in texts]
    return found if len(set(found)) == len(set(texts)) else texts


def _without_shared(texts: list[str]) -> list[str]:
    """Replace the beginning and the end that all of different names share by an ellipsis, up to a separator."""
    if len(set(texts)) == 1:
        return texts
    begin = _shared(texts)
    backwards = [text[begin:][::-1] for text in texts]
    end = _shared(backwards)
    shared, last = texts[0][:begin], texts[0][-1:]
    opening = {"]": "[", ")": "("}.get(last)
    closes = end == 1 and opening is not None and shared.count(opening) > shared.count(last)
    tail = "" if closes else "…"
    end = end if end > 1 or closes else 0
    head, tail = "…" if begin > 1 else "", tail if end else ""
    return [head + text[begin if head else 0 : len(text) - end] + tail for text in texts]


def _shared(texts: list[str]) -> int:
    """The length of the prefix that all texts share, up to its last separator."""
    ends = min(texts), max(texts)  # a prefix of these two is a prefix of all
    common = takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=False))
    return max((i for i, (letter, _) in enumerate(common, 1) if not letter.isalnum()), default=0)


def _column_and_level(text: str) -> tuple[str, str]:
    """Split a name such as species[Adelie]; the column of any other name is empty."""
    column, bracket, level = text.partition("[")
    return (column, level[:-1]) if bracket and level.endswith("]") else ("", "")


def _shortened(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    column, level = _column_and_level(text)
    if not column:
        return _without_middle(text, longest)
    column = _without_middle(column, longest // 3)  # the same for all levels of a column
    return f"{column}[{_without_middle(level, longest - len(column) - 2)}]"


def _without_middle(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    beginning = text[: longest // 3].rstrip("…")
    if "…" in beginning[1:]:
        beginning = beginning[: beginning.rindex("…")]
    return beginning + "…" + text[len(beginning) + 1 - longest :].lstrip("…")
