"""The rows of a table that a fit with missing="drop" takes: those without missing values.

Predictions refuse other rows, because every row needs a label. Statistics of many rows leave them out, as the fit does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.encoding import AnyEncoding, columns_of, is_table
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.problem.table_rows import beside_kept_rows


def rows_kept(encoding: AnyEncoding | None, X: Any) -> NDArray[np.bool_] | None:
    """Which rows of a table in memory an encoding keeps; None if it keeps all, and for X that is not a table."""
    if encoding is None or not encoding.drops_rows or not is_table(X):
        return None
    return encoding.encode(X, drop=True).kept


def complete_rows(model: SoftmaxModel, X: Any, **beside: Any) -> tuple[Any, ...]:
    """X, and the arrays beside it given by their names, without the rows that the encoding of the model leaves out.

    The last item is the numbers of the other rows, for `rows_called`. It is None, and all is returned as it is, for X
    that is not a table or has no such rows.
    """
    X = validation.computed("X", X)
    encoding, kept = model.encoding, rows_kept(model.encoding, X)
    if encoding is None or kept is None:
        return X, *beside.values(), None
    arrays = beside_kept_rows(kept, **beside)
    return {column.name: column.take(kept) for column in columns_of(X, encoding.columns)}, *arrays, np.flatnonzero(kept)
