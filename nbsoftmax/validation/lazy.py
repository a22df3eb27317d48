"""Recognise collections of Dask without importing it; compute a DataFrame of Dask with the names of its columns."""

from __future__ import annotations

import sys
from typing import Any

from nbsoftmax.errors import InputTypeError


def is_dask(a: Any) -> bool:
    """Whether `a` is a collection of Dask: an Array, a DataFrame, a Series or a Bag, or delayed."""
    dask = sys.modules.get("dask.base")  # else no collection can exist
    return dask is not None and bool(dask.is_dask_collection(a))


def is_delayed(a: Any) -> bool:
    """Whether `a` is a delayed value of Dask, which has every attribute that it is asked for."""
    dask = sys.modules.get("dask.delayed")
    return dask is not None and isinstance(a, dask.Delayed)


def computed(name: str, a: Any) -> Any:
    """A DataFrame of Dask as one of pandas, whose columns keep their names; anything else as it is.

    Raises
    ------
    InputTypeError
        If `a` is delayed: nothing is known about its value.
    """
    if not is_dask(a):
        return a
    if is_delayed(a):
        raise InputTypeError(f"{name} is a Delayed of Dask, expected an array or a table; give {name}.compute().")
    return a.compute() if hasattr(a, "columns") and hasattr(a, "divisions") else a
