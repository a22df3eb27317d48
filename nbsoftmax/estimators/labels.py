"""Labels between scikit-learn, whose classes may be of any kind, and models."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputError


def readable(y: Any) -> Any:
    """Labels in a form that scikit-learn supports, and does not change.

    Text of NumPy's StringDType becomes objects. A pandas column of integers or booleans that could be missing, and are
    not, becomes an array of them; scikit-learn would make floats of them. Masked values are refused.
    """
    if not isinstance(y, np.ndarray):
        known = getattr(getattr(y, "dtype", None), "numpy_dtype", None)
        if known is not None and known.kind in "iub" and not y.isna().any():
            return y.to_numpy(known)
        return y
    y = validation.as_array("y", y)
    return y.astype(object) if y.dtype.kind == "T" else y


def sortable(y: Any) -> Any:
    """Check that labels in an array of objects can be sorted and that none is missing; convert numbers of one kind."""
    if getattr(getattr(y, "dtype", None), "kind", None) != "O":
        return y
    y = np.asarray(y)
    kinds = {np.asarray(label).dtype.kind if np.isscalar(label) else "O" for label in y}
    if len(kinds) == 1 and kinds < {"b", "i", "u", "f"}:
        return np.array(y.tolist())
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
