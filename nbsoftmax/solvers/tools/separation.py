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

from nbsoftmax.backends.base import CountsMargins
from nbsoftmax.backends.separation import ALL_GROW, GROWS, SHRINKS
from nbsoftmax.validation import Float64s

if TYPE_CHECKING:
    from nbsoftmax.penalized_loss import PenalizedLoss


def separated(objective: PenalizedLoss, params: Float64s, step: Float64s) -> NDArray[Any]:
    """The classes whose margins a Newton step from `params`, near the infimum, still increases; none at a minimum.

    If some samples are separable from all other classes, only the classes of these samples are returned, because the
    margins of the others follow from them. If the backend cannot compute margins, no classes are returned.
    """
    if not isinstance(objective.backend, CountsMargins):
        return np.array([], np.int64)
    counts = objective.backend.margin_counts(params, step)
    if counts[SHRINKS].any():
        return np.array([], np.int64)
    return np.flatnonzero(counts[ALL_GROW] if counts[ALL_GROW].any() else counts[GROWS])
