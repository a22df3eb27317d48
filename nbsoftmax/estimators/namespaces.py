"""Arrays of other libraries under scikit-learn's `array_api_dispatch`: read by NumPy, returned as what X is.

Without `array_api_dispatch`, arrays that NumPy can read are read, and the results are NumPy's, as in scikit-learn.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
import sklearn
from numpy.typing import NDArray
from sklearn.utils._array_api import _convert_to_numpy, get_namespace, get_namespace_and_device

from nbsoftmax.errors import InputValueError
from nbsoftmax.validation import refuse_tensor

Array = TypeVar("Array", bound=NDArray[Any])


def _is_dispatched(a: Any) -> bool:
    """Whether `a` is an array of another library than NumPy, and dispatch is on."""
    if isinstance(a, (np.ndarray, np.generic)) or not sklearn.get_config()["array_api_dispatch"]:
        return False
    return hasattr(a, "__array_namespace__") or type(a).__module__.partition(".")[0] == "torch"


def to_numpy(name: str, a: Any) -> Any:
    """An array of another library as a NumPy array on the host, if dispatch is on; everything else unchanged."""
    if not _is_dispatched(a):
        return a
    refuse_tensor(name, a)
    return _convert_to_numpy(a, get_namespace(a)[0])


def like(X: Any, a: Array) -> Array:
    """A NumPy array of numbers in the namespace of X and on its device, if dispatch is on."""
    if not _is_dispatched(X) or a.dtype.kind not in "fiub":
        return a
    xp, _, device = get_namespace_and_device(X)
    try:
        moved: Array = xp.asarray(a, device=device)
    except (TypeError, RuntimeError):  # a device without float64
        moved = xp.asarray(a.astype(np.float32), device=device)
    return moved


def move_attributes(estimator: Any, X: Any) -> None:
    """Move the fitted arrays to the namespace of X, other than the labels and the names of features."""
    if _is_dispatched(X):
        for name, value in vars(estimator).items():
            if name.endswith("_") and isinstance(value, np.ndarray) and name not in ("classes_", "feature_names_in_"):
                setattr(estimator, name, like(X, value))


def check_namespace(estimator: Any, X: Any, method: str) -> None:
    """Refuse X of another namespace than that of the fit, if dispatch is on; the message is scikit-learn's."""
    coef = estimator.coef_
    if not _is_dispatched(X) and not _is_dispatched(coef):
        return
    of_fit, given = (_place(a) for a in (coef, X))
    if of_fit != given:
        raise InputValueError(
            f"Inputs passed to {type(estimator).__name__}.{method}() must use the same namespace and the same device "
            f"as those passed to fit(), which were of {of_fit}, but X is of {given}; convert X, or fit again."
        )


def _place(a: Any) -> str:
    if not _is_dispatched(a):
        return "numpy"
    xp, _, device = get_namespace_and_device(a)
    return f"{xp.__name__} on {device}"
