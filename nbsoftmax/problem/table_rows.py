"""The rows of a table as an encoding makes them, and the targets, weights and offsets of those that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.encoding import NOTHING_LEFT, AnyEncoding, warn_of_dropped, warn_of_unknown
from nbsoftmax.errors import InputValueError


def encoded_rows(
    encoding: AnyEncoding, X: Any, y: Any, sample_weight: Any, offset: Any, *, dense: bool = False
) -> tuple[Any, Any, Any, Any, NDArray[np.int64] | None]:
    """The matrix of a table, y, weights and offset without the rows that the encoding drops, and the rows it keeps.

    These are None if it keeps all; `rows_called` takes them.
    """
    found = encoding.encode(X, drop=True, dense=dense)
    warn_of_unknown(found.unknown)
    kept = found.kept
    if kept is None:
        return found.X, y, sample_weight, offset, None
    y, sample_weight, offset = beside_kept_rows(kept, y=y, sample_weight=sample_weight, offset=offset)
    return found.X, y, sample_weight, offset, np.flatnonzero(kept)


def beside_kept_rows(kept: NDArray[np.bool_], **beside: Any) -> tuple[Any, ...]:
    """Arrays beside a table, given by their names, for the rows that its encoding keeps; a warning counts the others.

    Raises
    ------
    InputValueError
        If no row is kept, and as `validation.kept_beside`.
    """
    if not kept.any():
        raise InputValueError(NOTHING_LEFT)
    arrays = validation.kept_beside(kept, **beside)
    warn_of_dropped(kept.size - int(kept.sum()), kept.size)
    return arrays
