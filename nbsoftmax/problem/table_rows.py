"""The rows of a table as an encoding makes them, and the targets, weights and offsets of those that are kept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.encoding import NOTHING_LEFT, AnyEncoding, warn_of_unknown
from nbsoftmax.errors import InputValueError
from nbsoftmax.validation.frames import only_column


def encoded_rows(
    encoding: AnyEncoding, X: Any, y: Any, sample_weight: Any, offset: Any, *, dense: bool = False
) -> tuple[Any, Any, Any, Any]:
    """The matrix of a table, with y, weights and offset without the rows that the encoding drops."""
    found = encoding.encode(X, drop=True, dense=dense)
    warn_of_unknown(found.unknown, stacklevel=6)
    kept = found.kept
    if kept is None:
        return found.X, y, sample_weight, offset
    if not kept.any():
        raise InputValueError(NOTHING_LEFT)
    return found.X, *kept_beside(kept, y, sample_weight, offset)


def kept_beside(kept: NDArray[np.bool_], y: Any, sample_weight: Any, offset: Any) -> tuple[Any, Any, Any]:
    """The targets, weights and offset of the rows that an encoding keeps."""
    beside = []
    for name, array in (("y", y), ("sample_weight", sample_weight), ("offset", offset)):
        given = None if array is None else validation.as_array(name, only_column(array))
        if given is not None and len(given) != kept.size:
            raise InputValueError(
                f"{name} has {len(given)} entries, but X has {kept.size} rows; give one for each row."
            )
        beside.append(None if given is None else np.asarray(given)[kept])
    return beside[0], beside[1], beside[2]
