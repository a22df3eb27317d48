"""Labels between scikit-learn, whose classes may be of any kind, and models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputError


def readable(y: Any) -> Any:
    """Labels without a mask, and text of NumPy's StringDType as objects: scikit-learn supports neither."""
    if not isinstance(y, np.ndarray):
        return y
    y = validation.as_array("y", y)
    return y.astype(object) if y.dtype.kind == "T" else y


def sortable(y: Any) -> Any:
    """Check that labels in an array of objects can be sorted and that none is missing; convert floats."""
    if not isinstance(y, np.ndarray) or y.dtype.kind != "O":
        return y
    if all(isinstance(label, (float, np.floating)) for label in y):
        return y.astype(np.float64)
    try:
        sorted(set(y.tolist()))
    except TypeError:
        validation.labels(y)  # raises an error that names missing labels or mixed types
        raise
    return y


def storable(classes: NDArray[Any]) -> NDArray[Any]:
    """The labels, which are sorted and distinct, or their indices if a model cannot store the labels."""
    if classes.dtype.kind in "iub" and classes.dtype.isnative:
        return classes
    try:
        return validation.class_labels(classes)
    except InputError:
        return np.arange(classes.size)
