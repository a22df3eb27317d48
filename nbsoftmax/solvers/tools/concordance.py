"""A bound on the gap that needs no penalty, for objectives with a small Hessian.

Solvers compute it where they would end with an estimate. If it is above the tolerance they continue: the steps near a
minimum make it small.
"""

from __future__ import annotations

import math
from typing import Protocol, runtime_checkable

from nbsoftmax.solvers.base import Point, Smooth
from nbsoftmax.solvers.tools.certificates import self_concordance_bound
from nbsoftmax.validation import Float64s


@runtime_checkable
class Concordant(Protocol):
    """What an objective needs for the bound."""

    def concordance(self, point: Float64s, grad: Float64s) -> tuple[float, float]:
        """The Newton decrement and the number q of `self_concordance_bound` at a point; inf if they are not known."""
        ...


def concordant_bound(objective: Smooth, point: Point) -> float:
    """A bound on the gap at a point near the minimum; inf if the point is too far away, or the Hessian too large."""
    if not isinstance(objective, Concordant):
        return math.inf
    bound = self_concordance_bound(*objective.concordance(point.params, point.grad))
    return max(bound, math.ulp(point.value))
