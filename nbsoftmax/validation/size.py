"""Checks of a problem's size: the number of classes, and whether it fits in memory."""

from __future__ import annotations

import os

from numpy.typing import ArrayLike

from nbsoftmax.errors import InputValueError, counted
from nbsoftmax.validation.conversion import as_array
from nbsoftmax.validation.options import count

# Without `n_classes`, the largest class index sets the number of classes. Above this number, there must also be at
# least one sample for every ten classes; otherwise the index is probably an identifier.
MANY_CLASSES = 2**20


def n_classes(value: int | None, y: ArrayLike, n_features: int = 0) -> int:
    """Check the number of classes, or infer it from the targets; the parameters must fit in memory."""
    if value is not None:
        return _in_memory(count("n_classes", value, low=2), n_features)
    array = as_array("y", y)
    if array.ndim == 2:
        if array.shape[1] < 2:
            raise InputValueError(
                f"y has shape {array.shape}: {counted(array.shape[1], 'class')}, expected at least 2."
            )
        return _in_memory(int(array.shape[1]), n_features)
    if array.dtype.kind not in "biu" or array.size == 0:
        return 2  # `targets` raises the error
    found = int(array.max()) + 1
    if found < 2:
        raise InputValueError(
            f"y contains only class {found - 1}, expected at least 2 classes; give n_classes if the other classes "
            "have no samples."
        )
    if found > max(MANY_CLASSES, 10 * array.size):
        raise InputValueError(
            f"y contains class {found - 1}, which makes {found} classes for {array.size} samples; class indices count "
            "from 0: np.unique(y, return_inverse=True)[1] turns labels into indices; or give n_classes."
        )
    return _in_memory(found, n_features)


def _in_memory(n_classes: int, n_features: int) -> int:
    """Refuse a number of classes with which the parameters and a gradient do not fit in memory."""
    if n_classes >= 2**31:
        raise InputValueError(
            f"n_classes is {n_classes}, expected less than 2**31, because class indices are stored in 32 bits."
        )
    needs_memory(
        2 * 8 * n_classes * (n_features + 1),
        f"n_classes is {n_classes}, with {n_features} features: parameters and gradient take",
        "give fewer classes or features",
    )
    return n_classes


def needs_memory(n_bytes: int, what: str, advice: str) -> None:
    """Raise an error if `n_bytes` exceed this machine's memory; the message is `what` (ends in a verb), then the sizes.

    Called before the arrays are allocated.
    """
    memory = machine_memory()
    if memory is not None and n_bytes > memory:
        raise InputValueError(
            f"{what} {n_bytes / 2**30:.4g} GiB, but this machine has {memory / 2**30:.4g} GiB of memory; {advice}."
        )


def machine_memory() -> int | None:
    """The bytes of this machine's memory; None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # Windows
        return None
