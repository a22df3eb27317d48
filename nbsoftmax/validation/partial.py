"""Partial labels: for each sample the set of the classes that are possible, rows of booleans (n_samples, n_classes)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError, listed, plain
from nbsoftmax.validation.arrays import Float64s, writeable_view
from nbsoftmax.validation.conversion import as_array
from nbsoftmax.validation.frames import boolean_columns
from nbsoftmax.validation.lazy import is_dask

Possible = NDArray[np.bool_]


def possible_classes(y: Any, *, name: str = "y") -> tuple[Possible, NDArray[Any]] | None:
    """Partial labels and their sorted classes; None if `y` is no boolean array or table of two or more columns.

    The classes are the column names of a table, and otherwise 0, 1, ...
    """
    table = boolean_columns(y, name=name)
    if table is not None:
        array, names = table
        if len(set(names)) < len(names):
            raise InputValueError(f"{name} has two columns of the same name; name each column after its class.")
        order = np.argsort(names)
        array, classes = array[:, order], np.array(names)[order]
    else:
        if isinstance(y, (list, tuple)) and y and isinstance(y[0], (list, tuple, np.ndarray)):
            y = as_array(name, y)
        if is_dask(y) or getattr(y, "ndim", 0) != 2 or not str(getattr(y, "dtype", "")).endswith("bool"):
            return None
        array = as_array(name, y)
        if array.shape[1] < 2:
            return None
        classes = np.arange(array.shape[1])
    return checked_possible(array, name=name), classes


def possible_in_order(y: Any, classes: NDArray[Any], n_samples: int, *, name: str = "y") -> Possible | None:
    """Partial labels with their columns in the order of `classes`; None if `y` holds no partial labels.

    The columns of an array are in that order already; those of a table are named after the classes.
    """
    found = possible_classes(y, name=name)
    if found is None:
        return None
    possible, labels = found
    if possible.shape != (n_samples, classes.size):
        raise InputValueError(
            f"{name} has shape {possible.shape}, expected ({n_samples}, {classes.size}): the possible classes of each "
            "row."
        )
    if labels.dtype.kind != "U":  # of an array
        return possible
    names = [str(label) for label in classes.tolist()]
    if sorted(names) != labels.tolist():
        raise InputValueError(
            f"{name} has the columns [{listed(labels.tolist())}], but the classes of the fit are [{listed(names)}]."
        )
    return possible[:, np.searchsorted(labels, names)]


def checked_possible(array: Possible, *, name: str = "y") -> Possible:
    """Check that each row has a possible class; contiguous, of a type for which kernels are compiled once."""
    impossible = ~array.any(axis=1)
    if impossible.any():
        i = int(np.argmax(impossible))
        raise InputValueError.about_rows(
            f"{name} row ",
            i,
            " has no possible class; set the classes that are possible to True, all of them if nothing is known.",
        )
    return writeable_view(np.ascontiguousarray(array))


def refuse_never_possible(possible: Possible, classes: NDArray[Any]) -> None:
    """Raise the error for a class that is possible in no row: its probability has no estimate but 0."""
    never = ~possible.any(axis=0)
    if never.any():
        label = classes.tolist()[int(np.argmax(never))]
        raise InputValueError(f"class {plain(label)} is possible in no row of y; leave its column out.")


def certain_labels(possible: Possible, weight: Float64s) -> tuple[NDArray[np.int64], Float64s] | None:
    """Ordinary labels and sample weights, if each row has one possible class, or all, which counts as left out.

    `weight` is (n_samples,), or (0,) if all are 1. None if a row says something else.
    """
    n_possible = possible.sum(axis=1)
    unknown = n_possible == possible.shape[1]
    if not ((n_possible == 1) | unknown).all():
        return None
    return possible.argmax(axis=1), without_unknown(possible, weight)


def without_unknown(possible: Possible, weight: Float64s) -> Float64s:
    """The sample weights, 0 for rows of which all classes are possible: their loss is 0."""
    unknown = possible.all(axis=1)
    if not unknown.any():
        return weight
    return np.where(unknown, 0.0, weight if weight.size else 1.0)
