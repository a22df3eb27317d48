"""Perfectly separable classes, for which the objective without a penalty has no minimum.

With p_ik = z_iy - z_ik the margins of sample i, the loss decreases forever along a direction in which some margins grow
and none decreases (A. Albert, J. Anderson, "On the existence of maximum likelihood estimates in logistic regression
models", Biometrika 71, 1984). Without a penalty, Newton's method follows such a direction: each step adds about 1 to
these margins p, which contribute about exp(-p) to the loss, however close the objective is to its infimum. Near a
minimum, the steps tend to 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.base import Margins
from nbsoftmax.validation import Float64s

if TYPE_CHECKING:
    from nbsoftmax.penalized_loss import PenalizedLoss

BLOCK_BYTES = 2**22  # of margins
# In logits: the least increase of a diverging margin in a step, also relative to the margin itself (the last step
# towards a minimum adds less); the largest decrease of another margin; the margin above which decreases are ignored.
LEAST_GAIN, LEAST_GROWTH, MOST_LOSS, CLEAR = 0.5, 0.01, 0.05, 10.0


def separated(objective: PenalizedLoss, params: Float64s, step: Float64s) -> NDArray[Any]:
    """The classes whose margins a Newton step from `params`, near the infimum, still increases; none at a minimum.

    If some samples are separable from all other classes, only the classes of these samples are returned, because the
    margins of the others follow from them. If the backend cannot compute margins, no classes are returned.
    """
    if not isinstance(objective.backend, Margins):
        return np.array([], np.int64)
    touched, apart = np.zeros((2, objective.n_classes), bool)
    size = max(16, BLOCK_BYTES // (8 * objective.n_classes))
    for start in range(0, objective.n_samples, size):
        part = slice(start, start + size)
        labels, before = objective.margins(params, part)
        after = objective.margins(params + step, part)[1]
        if (np.minimum(after, CLEAR) < np.minimum(before, CLEAR) - MOST_LOSS).any():
            return np.array([], np.int64)
        grown = after - before > np.maximum(LEAST_GAIN, LEAST_GROWTH * before)
        touched[labels[grown.any(axis=1)]] = True
        grown[np.arange(labels.size), labels] = True
        apart[labels[grown.all(axis=1)]] = True
    return np.flatnonzero(apart if apart.any() else touched)
