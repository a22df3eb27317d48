"""Encodings from what the file of a model stores, by their kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from nbsoftmax.encoding.base import AnyEncoding
from nbsoftmax.encoding.columns import Encoding
from nbsoftmax.encoding.formula import FormulaEncoding

KINDS: dict[str, Callable[[Mapping[str, Any]], AnyEncoding]] = {
    Encoding.kind: Encoding.from_dict,
    FormulaEncoding.kind: FormulaEncoding.from_dict,
}


def encoding_of(stored: Mapping[str, Any]) -> AnyEncoding:
    """The encoding that `to_dict` of its class has described; any exception for what no class has made."""
    kind = stored["kind"]
    if kind not in KINDS:
        raise ValueError(f"its encoding is of the kind {kind!r}, which this version does not know")
    return KINDS[kind](stored)
