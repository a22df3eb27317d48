"""Tables of results as data frames of pandas, or of polars without pandas."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import numpy as np


def data_frame(columns: Mapping[str, Any]) -> Any:
    """A data frame with these columns, arrays of any shape of n_rows numbers, or sequences (n_rows,)."""
    for library in ("pandas", "polars"):
        if find_spec(library) is not None:
            frames: Any = import_module(library)
            return frames.DataFrame({name: _values(column) for name, column in columns.items()})
    raise ImportError("to_frame needs pandas or polars; install one of them with: pip install pandas")


def _values(column: Any) -> list[Any]:
    return column.ravel().tolist() if isinstance(column, np.ndarray) else list(column)
