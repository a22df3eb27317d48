"""Blocks of rows: what a source of data yields that does not have to fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.validation import Float64s, Floats


class Block(NamedTuple):
    """Some consecutive rows with their targets, which nobody changes."""

    X: Any  # (n, n_features), float32 or float64; or a sparse matrix of SciPy
    y: Any  # labels (n,), or probabilities (n, n_classes)
    sample_weight: Float64s | None = None  # (n,)
    offset: Floats | None = None  # (n, n_classes)


@runtime_checkable
class RowBlocks(Protocol):
    """Rows in blocks, which can be read any number of times: always the same blocks in the same order.

    Attributes
    ----------
    feature_names : tuple of str or None
    """

    feature_names: tuple[str, ...] | None

    def blocks(self, dtype: np.dtype[Any] | None = None) -> Iterator[Block]:
        """All rows from the first one, X in this dtype; by default float32 and float64 stay as they are."""
        ...


def empty_offset(dtype: Any) -> NDArray[Any]:
    """The offset of a backend that has none."""
    return np.empty((0, 0), dtype)
