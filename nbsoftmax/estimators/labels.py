"""Labels between scikit-learn, whose classes may be of any kind, and models."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.multiclass import check_classification_targets

from nbsoftmax import validation
from nbsoftmax.errors import InputError, InputValueError, counted
from nbsoftmax.validation.decimals import is_decimal
from nbsoftmax.validation.wide_integers import is_wide


def readable(y: Any) -> Any:
    """Labels in a form that scikit-learn supports, and does not change.

    Text of NumPy's StringDType becomes objects. A pandas column of integers or booleans that could be missing, and are
    not, becomes an array of them; scikit-learn would make floats of them. A list of labels of several types becomes
    objects, because NumPy would turn [1, "a"] and [nan, "a"] into text. Masked and missing values are refused.
    """
    if isinstance(y, (list, tuple)):
        return _of_list(y)
    if not isinstance(y, np.ndarray):
        if isinstance(y, validation.TEXT):
            validation.as_array("y", y)  # refuses the name of a column or a file
        dtype = getattr(y, "dtype", None)
        if dtype is not None and hasattr(y, "isna") and not validation.is_dask(y) and y.isna().any():
            row = int(np.asarray(y.isna()).argmax())
            raise InputValueError.about_rows("y has a missing value at row ", row, "; drop such rows.")
        if is_wide(y) or is_decimal(y):
            y = validation.target_array(y)
            validation.labels(y)  # refuses integers that do not fit in 64 bits, and fractions
            return y
        known = getattr(dtype, "numpy_dtype", None)
        return y.to_numpy(known) if known is not None and known.kind in "iub" else y
    y = validation.as_array("y", y)
    return y.astype(object) if y.dtype.kind == "T" else y


def _of_list(y: Sequence[Any]) -> Any:
    types = set(map(type, y))
    if len(types) == 1 and types <= {bool, int, float, str, bytes, np.datetime64, np.timedelta64}:
        return y
    if all(issubclass(each, str) for each in types):
        return np.array([str.__str__(label) for label in y])  # not the name of a member of an Enum
    if not all(np.isscalar(label) or label is None for label in y):
        return y
    array = validation.target_array(y)
    validation.labels(array)  # refuses missing labels and several kinds
    return array


def sorted_labels(classes: Any) -> NDArray[Any]:
    """The distinct labels in `classes`, which are given before the first sample, sorted; at least two."""
    array = np.asarray(readable(classes))
    if array.ndim != 1:
        raise InputValueError(f"classes has the shape {array.shape}, expected (n_classes,): all labels of the stream.")
    labels = np.unique(sortable(array))
    if labels.size < 2:
        raise InputValueError(
            f"classes has {counted(labels.size, 'label')}, expected at least 2: all labels of the stream."
        )
    return labels


def sortable(y: Any) -> Any:
    """Check that labels can be sorted and that none is missing; convert numbers in an array of objects."""
    kind = getattr(getattr(y, "dtype", None), "kind", None)
    if kind in {"m", "M"} and np.isnat(y).any():
        raise InputValueError.about_rows(
            "y contains NaT at row ", int(np.isnat(y).argmax()), ": a missing label; drop such rows."
        )
    if kind != "O":
        return y
    y = np.asarray(y)
    if _is_text(y):
        return y
    kinds = {np.asarray(label).dtype.kind if np.isscalar(label) else "O" for label in y}
    if len(kinds) == 1 and kinds < {"b", "i", "u", "f"}:
        return np.array(y.tolist())
    if kinds <= {"b", "i", "u", "f"}:
        validation.labels(y)  # refuses booleans beside other numbers, and integers that are not exact as floats
        return y.astype(np.float64)
    try:
        sorted(set(y.tolist()))
    except TypeError:
        validation.labels(y)  # raises an error that names missing labels or mixed types
        raise
    return y


def encoded(y: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.integer[Any]]]:
    """Encode labels from `sortable`: the sorted classes (n_classes,), and the class index of each label (n_samples,).

    The result is that of `np.unique`, which is slower because it sorts all labels. Raises what scikit-learn's check of
    classification targets raises.
    """
    codes: NDArray[np.integer[Any]]
    if y.dtype.kind in "iub":
        codes, classes = validation.labels(y)
    elif y.dtype.kind in "OU":
        codes, ordered = validation.in_order(y)
        classes = np.fromiter(ordered, y.dtype, len(ordered))
    else:
        classes, codes = np.unique(y, return_inverse=True)
    if 2 * classes.size > codes.size:  # a regression target, perhaps: the check warns of it
        check_classification_targets(y)
    elif y.dtype.kind not in "iubU":
        check_classification_targets(np.repeat(classes, 2))  # it sorts all that it is given
    return classes, codes


def agreement(y: Any, predicted: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Whether each label equals the predicted one, (n_samples,); None if scikit-learn's slower accuracy has to compare.

    Labels of one kind are compared here: integers, whole floats, booleans or text, as many as predicted.
    """
    if isinstance(y, (list, tuple)):
        array = np.asarray(y) if len(set(map(type, y))) == 1 and isinstance(y[0], (bool, int, float, str)) else None
    else:
        array = y if isinstance(y, np.ndarray) else y.to_numpy() if hasattr(y, "to_numpy") else None
    if type(array) is not np.ndarray or array.shape != predicted.shape:
        return None
    one_kind = any(array.dtype.kind in kinds and predicted.dtype.kind in kinds for kinds in ("iu", "b", "f"))
    if array.dtype.kind == "f" and not (np.isfinite(array) & (array == np.floor(array))).all():
        return None
    if one_kind or (_is_text(array) and _is_text(predicted)):
        return np.asarray(array == predicted, np.bool_)
    return None


def _is_text(y: NDArray[Any]) -> bool:
    return y.dtype.kind == "U" or (y.dtype.kind == "O" and set(map(type, y.tolist())) == {str})


def storable(classes: NDArray[Any]) -> NDArray[Any]:
    """The labels, which are sorted and distinct, or their indices if a model cannot store the labels."""
    if classes.dtype.kind in "iub" and classes.dtype.isnative:
        return classes
    try:
        return validation.class_labels(classes)
    except InputError:
        return np.arange(classes.size)
