"""Names of columns in a formula, in a form that the library formulaic takes for names.

A column may be called `1`, which is the intercept for formulaic, or `log(z)` or `class`, which are an expression and a
keyword of Python. Such names get an alias before formulaic reads the formula, and are put back afterwards.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from collections.abc import Mapping, Sequence

from nbsoftmax.errors import InputValueError, plain

PLAIN = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*")
BARE = re.compile(r"[^\W\d]\w*(\.\w+)*")  # names that formulaic reads as such without backticks


def is_plain(name: str) -> bool:
    """Whether a name means the column in any place, without backticks."""
    if not PLAIN.fullmatch(name) or unicodedata.normalize("NFKC", name) != name:  # Python normalizes names
        return False
    return not any(map(keyword.iskeyword, name.split(".")))


def aliased(text: str, available: Sequence[str] = ()) -> tuple[str, dict[str, str]]:
    """A formula without backticks, and what its aliases stand for; those of the available columns too."""
    prefix = _unused(text, *available)
    source, quoted = without_backticks(text, prefix, bare=True)
    known = set(quoted.values())
    others = [name for name in dict.fromkeys(available) if name not in known and not BARE.fullmatch(name)]
    return source, quoted | {f"{prefix}of{j}": name for j, name in enumerate(others)}


def in_backticks(text: str, aliases: Mapping[str, str]) -> str:
    """An expression with each alias replaced by its name in backticks."""
    if not aliases:
        return text
    return re.sub(rf"\b({'|'.join(map(re.escape, aliases))})\b", lambda found: f"`{aliases[found[1]]}`", text)


def without_backticks(text: str, prefix: str = "", *, bare: bool = False) -> tuple[str, dict[str, str]]:
    """A text with an alias in the place of each name in backticks, and what these stand for.

    Aliases begin with `prefix`, by default one that the text does not contain. With `bare`, a name that needs no alias
    stands for itself.
    """
    prefix = prefix or _unused(text)
    quoted: dict[str, str] = {}
    parts: list[str] = []
    quote, i = "", 0
    while i < len(text):
        char = text[i]
        if quote and char == "\\":
            parts.append(text[i : i + 2])
            i += 2
            continue
        if char == "`" and not quote:
            end = text.find("`", i + 1)
            if end < 0:
                raise InputValueError(f"the formula has the term {plain(text)} with one backtick; close it.")
            name = text[i + 1 : end]
            if not (bare and is_plain(name)):
                alias = next((key for key, value in quoted.items() if value == name), f"{prefix}{len(quoted)}")
                quoted[alias] = name
                name = alias
            parts.append(f" {name} ")
            i = end + 1
            continue
        if quote:
            quote = "" if char == quote else quote
        elif char in "'\"":
            quote = char
        parts.append(char)
        i += 1
    return "".join(parts), quoted


def _unused(*texts: str) -> str:
    """A beginning of names that no text contains."""
    prefix = "column"
    while any(prefix in text for text in texts):
        prefix += "_"
    return prefix
