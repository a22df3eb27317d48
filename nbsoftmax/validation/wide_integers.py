"""Integers of 128 bits in polars, for which NumPy has no type."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from numpy.typing import NDArray


def is_wide(a: Any) -> bool:
    """Whether `a` is a column of polars with integers of 128 bits."""
    return str(getattr(a, "dtype", "")) in ("Int128", "UInt128")


def narrowed(a: Any) -> NDArray[Any]:
    """The integers of such a column without missing values, in 64 bits if all fit, and otherwise as objects."""
    polars = sys.modules["polars"]
    for dtype in (polars.Int64, polars.UInt64):
        cast = a.cast(dtype, strict=False)
        if cast.null_count() == 0:
            found: NDArray[Any] = cast.to_numpy()
            return found
    return np.array(a.to_list(), object)
