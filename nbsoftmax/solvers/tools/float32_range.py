"""Features so large or small that sums in float32 overflow or underflow."""

from __future__ import annotations

import numpy as np

from nbsoftmax.solvers.base import Smooth
from nbsoftmax.validation import Float64s

# Root mean squares of features between which squares of features, and the coefficients, are far from the limits of
# float32, 1e-38 and 3e38.
SMALLEST, LARGEST = 1e-14, 1e14


def beyond_float32(objective: Smooth, grad: Float64s) -> bool:
    """Whether Hessians of float32 products would overflow or lose digits: a feature is very large or small.

    Gradients of ordinary size rule that out, usually without a pass over the rows.
    """
    slopes = np.abs(grad[:, :-1]).max(axis=0, initial=0.0)
    if ((slopes == 0) | ((slopes > 10 * SMALLEST) & (slopes < 1e-6 * LARGEST))).all():
        return False
    mean, variance = objective.moments()
    size = np.sqrt(mean**2 + variance)
    return bool(((size > 0) & ~((size >= SMALLEST) & (size <= LARGEST))).any())
