"""Arrays beside a table, such as its labels and weights, for the rows that the encoding of the table keeps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError
from nbsoftmax.validation.conversion import as_array
from nbsoftmax.validation.frames import is_tabular, rows_where
from nbsoftmax.validation.labels import target_array


def kept_beside(kept: NDArray[np.bool_], **beside: Any) -> tuple[Any, ...]:
    """Arrays beside a table, given by their names, for the rows that its encoding keeps; None for None."""
    return tuple(None if array is None else _kept_of(name, array, kept) for name, array in beside.items())


def _kept_of(name: str, array: Any, kept: NDArray[np.bool_]) -> Any:
    given = array if is_tabular(array) else target_array(array) if name == "y" else as_array(name, array)
    n = len(given) if np.ndim(given) or is_tabular(given) else 1
    if n != kept.size:
        raise InputValueError(f"{name} has {n} entries, but X has {kept.size} rows; give one for each row.")
    return rows_where(kept, given)
