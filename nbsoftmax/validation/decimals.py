"""Columns of decimals as labels. None of the libraries of tables is imported here."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np

from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.validation.arrow_tables import floats_of
from nbsoftmax.validation.conversion import EXACT_INTEGERS


def is_decimal(a: Any) -> bool:
    """Whether `a` is a column of decimals: of polars, of Arrow, or of pandas with a type of Arrow."""
    if _is_of_polars(a):
        return True
    pa = sys.modules.get("pyarrow")
    of_arrow = getattr(getattr(a, "dtype", None), "pyarrow_dtype", getattr(a, "type", None))
    return pa is not None and isinstance(of_arrow, pa.DataType) and bool(pa.types.is_decimal(of_arrow))


def whole_decimals(name: str, a: Any) -> Any:
    """A column of decimals that are all whole numbers as int64; anything else is returned unchanged.

    Raises
    ------
    InputValueError
        For a decimal of 2^53 or more in a column that int64 cannot hold: floats would merge such numbers.
    """
    if not is_decimal(a):
        return a
    if _is_of_polars(a):  # without Arrow, which polars does not need
        polars = sys.modules["polars"]
        whole = a.cast(polars.Int64, strict=False)  # without fractions; null if it is too large
        if a.null_count():
            return a
        if not whole.null_count() and (whole.cast(a.dtype) == a).all():
            return whole.to_numpy()
        wrong = np.abs(a.cast(polars.Float64).to_numpy()) >= EXACT_INTEGERS
    else:
        pa = sys.modules["pyarrow"]
        if hasattr(a, "dtype"):  # of pandas
            a = getattr(a, "array", a).__arrow_array__()
        if a.null_count:
            return a
        try:
            return np.asarray(a.cast(pa.int64()))
        except pa.ArrowInvalid:  # a fraction, or too large
            wrong = np.abs(floats_of(a)) >= EXACT_INTEGERS
    if wrong.any():
        raise InputValueError(
            f"{name} has the label {plain(str(a[int(wrong.argmax())]))}, which is not exact as an integer of 64 bits "
            "or as a float; convert the labels to text."
        )
    return a


def _is_of_polars(a: Any) -> bool:
    return hasattr(a, "to_arrow") and str(getattr(a, "dtype", "")).startswith("Decimal")  # NumPy's dtypes take 7 us
