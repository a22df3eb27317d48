"""Arrays and tables beside X, such as its labels, weights and offset: their kept rows, and the names of columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError, counted, listed
from nbsoftmax.validation.conversion import as_array
from nbsoftmax.validation.frames import is_data_frame, is_tabular, library_of, rows_where
from nbsoftmax.validation.labels import target_array


def kept_beside(kept: NDArray[np.bool_], **beside: Any) -> tuple[Any, ...]:
    """Arrays beside a table, given by their names, for the rows that its encoding keeps; None for None."""
    return tuple(None if array is None else _kept_of(name, array, kept) for name, array in beside.items())


def _kept_of(name: str, array: Any, kept: NDArray[np.bool_]) -> Any:
    given = array if is_tabular(array) else target_array(array) if name == "y" else as_array(name, array)
    n = len(given) if np.ndim(given) or is_tabular(given) else 1
    refuse_other_length(name, n, kept.size)
    return rows_where(kept, given)


def refuse_other_length(name: str, n: int, n_rows: int) -> None:
    """Refuse an array beside X that does not have one entry for each of the rows."""
    if n != n_rows:
        raise InputValueError(
            f"{name} has {counted(n, 'entry')}, but X has {counted(n_rows, 'row')}; give one for each row."
        )


def class_columns(a: Any) -> tuple[str, ...] | None:
    """The names of the columns of a table with a column for each class; None for anything else."""
    if type(a) is np.ndarray:
        return None
    names = a.schema.names if library_of(a) == "pyarrow" else a.columns if is_data_frame(a) else ()
    return tuple(map(str, names)) if len(names) > 1 else None


def in_order_of_classes(name: str, columns: Sequence[str] | None, classes: NDArray[Any]) -> None:
    """Refuse the columns of a table that are named after the classes, but are in another order."""
    if columns is None:
        return
    labels = [str(label) for label in np.asarray(classes).tolist()]
    if sorted(columns) == sorted(labels) and list(columns) != labels:
        raise InputValueError(
            f"{name} has the columns {listed(columns)}, but the order of the classes is {listed(labels)}; put the "
            "columns in this order."
        )


def targets_in_order(y: Any, classes: NDArray[Any], *, name: str = "y") -> NDArray[Any]:
    """`target_array` of labels, or of probabilities whose columns are in the order of the classes if they are named."""
    in_order_of_classes(name, class_columns(y), classes)
    return target_array(y, name=name)
