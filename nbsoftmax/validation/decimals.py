"""Columns of decimals as labels. None of the libraries of tables is imported here."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.validation.conversion import EXACT_INTEGERS
from nbsoftmax.validation.frames import floats_of


def whole_decimals(name: str, a: Any) -> Any:
    """A column of decimals that are all whole numbers as int64; anything else is returned unchanged.

    Raises
    ------
    InputValueError
        For a decimal of 2^53 or more in a column that int64 cannot hold: floats would merge such numbers.
    """
    if str(getattr(a, "dtype", "")).startswith("Decimal") and hasattr(a, "to_arrow"):  # of polars
        a = a.to_arrow()
    elif getattr(getattr(a, "dtype", None), "pyarrow_dtype", None) is not None:
        a = a.array.__arrow_array__() if hasattr(a, "array") else a.__arrow_array__()
    pa = sys.modules.get("pyarrow")
    if pa is None or not isinstance(a, (pa.Array, pa.ChunkedArray)) or not pa.types.is_decimal(a.type) or a.null_count:
        return a
    try:
        return np.asarray(a.cast(pa.int64()))
    except pa.ArrowInvalid:  # a fraction, or too large
        wrong = np.abs(floats_of(a)) >= EXACT_INTEGERS
    if wrong.any():
        value = a[int(wrong.argmax())].as_py()
        raise InputValueError(
            f"{name} has the label {plain(str(value))}, which is not exact as an integer of 64 bits or as a float; "
            "convert the labels to text."
        )
    return a
