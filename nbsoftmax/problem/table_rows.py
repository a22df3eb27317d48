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
    warn_of_unknown(found.unknown, stacklevel=6)
    kept = found.kept
    if kept is None:
        return found.X, y, sample_weight, offset, None
    if not kept.any():
        raise InputValueError(NOTHING_LEFT)
    warn_of_dropped(kept.size - int(kept.sum()), kept.size, stacklevel=6)
    y, sample_weight, offset = validation.kept_beside(kept, y=y, sample_weight=sample_weight, offset=offset)
    return found.X, y, sample_weight, offset, np.flatnonzero(kept)
