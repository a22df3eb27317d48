"""Encodings from what the file of a model stores, by their kind."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbsoftmax.encoding.base import AnyEncoding
from nbsoftmax.encoding.columns import Encoding

KINDS = {Encoding.kind: Encoding.from_dict}


def encoding_of(stored: Mapping[str, Any]) -> AnyEncoding:
    """The encoding that `to_dict` of its class has described; any exception for what no class has made."""
    return KINDS[stored["kind"]](stored)
