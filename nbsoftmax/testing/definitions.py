"""Softmax and cross-entropy by their definitions, in extended precision where the platform has it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.validation import Floats


def softmax(z: Floats) -> NDArray[Any]:
    """Return exp(z_k - c) / sum_l exp(z_l - c) with c = max_k z_k, (n_samples, n_classes)."""
    z = np.asarray(z, np.longdouble)
    c = z.max(axis=1, keepdims=True) if z.size else z
    with np.errstate(all="ignore"):
        e = np.exp(np.where(z == c, np.longdouble(0), z - c))
        return np.asarray(e / e.sum(axis=1, keepdims=True))


def cross_entropy(z: Floats, y: NDArray[np.int64]) -> float:
    """Return the mean over samples of log sum_k exp(z_k - c) + (c - z_y)."""
    wide = np.asarray(z, np.longdouble)
    c = wide.max(axis=1, keepdims=True)
    own = np.take_along_axis(wide, y[:, None], axis=1)
    return float(np.mean(np.log(np.exp(wide - c).sum(axis=1)) + (c - own)[:, 0]))
