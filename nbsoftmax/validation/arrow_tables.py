"""Tables of Arrow and their columns as arrays. pyarrow is not imported here: who has a table has imported it."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.validation.column_dtypes import common_dtype
from nbsoftmax.validation.packing import pack

INDEX = r"__index_level_\d+__"  # what pandas calls an index without a name in Arrow and Parquet


def index_of(schema: Any) -> set[str]:
    """The columns of a schema that are an index of pandas, as the metadata say that pandas writes, or their names.

    As a feature an index would predict the labels of rows that are sorted by them.
    """
    stored = (schema.metadata or {}).get(b"pandas", b"{}")
    try:  # a dict describes an index without a column
        index = {name for name in json.loads(stored)["index_columns"] if isinstance(name, str)}
    except (ValueError, KeyError, TypeError):  # written by another program
        index = set()
    return {name for name in schema.names if name in index or re.fullmatch(INDEX, name)}


def without_index(X: Any) -> Any:
    """A table without the columns that are an index of pandas."""
    index = index_of(X.schema)
    return X.select([name for name in X.schema.names if name not in index]) if index else X


def of_arrow(name: str, X: Any) -> tuple[NDArray[Any], tuple[str, ...]]:
    """A table as an array (n_samples, n_features), and the names of its columns, without an index of pandas."""
    X = without_index(X)
    names = tuple(X.schema.names)
    array = np.empty(X.shape, arrow_dtype(names, X.schema.types, name))
    pack(enumerate(map(floats_of, X.columns)), array)
    return array, names


def floats_of(column: Any) -> NDArray[Any]:
    """A column of Arrow, of numbers or booleans, as an array, without a copy where none is needed; nulls are NaN."""
    pa = sys.modules["pyarrow"]

    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_boolean(column.type):
        column = column.cast(pa.int8())
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.string()).cast(pa.float64())  # a direct cast is not rounded correctly
    elif column.null_count and not pa.types.is_floating(column.type):
        column = column.cast(pa.float64(), safe=False)
    return np.asarray(column.to_numpy(zero_copy_only=False))


def arrow_dtype(names: Sequence[str], dtypes: Sequence[Any], name: str = "X") -> np.dtype[Any]:
    """The common dtype of Arrow columns of these types; the first one that is not numeric is refused."""
    types = sys.modules["pyarrow"].types

    return common_dtype(
        name, names, dtypes, is_number_of_arrow, lambda dtype: types.is_float16(dtype) or types.is_float32(dtype)
    )


def is_number_of_arrow(dtype: Any) -> bool:
    """Whether a type of Arrow is one of numbers or booleans, or a dictionary of numbers."""
    types = sys.modules["pyarrow"].types
    if types.is_dictionary(dtype):
        return is_number_of_arrow(dtype.value_type) and not types.is_boolean(dtype.value_type)
    kinds = (types.is_floating, types.is_integer, types.is_boolean, types.is_decimal)
    return any(is_kind(dtype) for is_kind in kinds)


def without_views(column: Any) -> Any:
    """A column of Arrow whose texts are in one buffer: pyarrow cannot select those of polars, which are views."""
    plain = {"string_view": "string", "binary_view": "binary"}.get(str(column.type))
    return column if plain is None else column.cast(plain)
