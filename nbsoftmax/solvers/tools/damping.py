"""Damping of Newton steps far from the minimum, for fits with too many parameters for quasi-Newton steps.

    (H + delta I) d = -grad        over the coefficients; the intercept is not damped

Far from the minimum the Newton step is too long, and a line search shortens all of its parts. Damping shortens those of
small curvature most, and it takes fewer products. delta is multiplied or divided by FACTOR according to the ratio of
the actual decrease of the objective to the predicted one (D. Marquardt, "An algorithm for least-squares estimation of
nonlinear parameters", SIAM J. Appl. Math. 11, 1963; J. More, "The Levenberg-Marquardt algorithm", 1978).
"""

from __future__ import annotations

import numpy as np

from nbsoftmax.solvers.base import Curved
from nbsoftmax.solvers.tools.preconditioners import Preconditioner

# The first delta is this share of the mean curvature of the coefficients at the start, each with itself as its weight.
# (Passes to 1e-6 with shares of 0, 0.03, 0.1, 0.3: 216, 114, 135, 126 for 20,000 x 30,000 x 10 with Zipf's frequencies
# of columns at C = 100, and 55, 51, 54, 56 at C = 1.)
FIRST = 0.03
FACTOR, POOR, GOOD = 10.0, 0.25, 0.6
# There is no damping below this share of the penalty's curvature, and of the first delta if there is no penalty.
NEGLIGIBLE, NEGLIGIBLE_OF_FIRST = 0.3, 1e-5


class Damping:
    """The delta of the next direction: 0 where Newton steps need no damping.

    Parameters
    ----------
    delta : float
    least : float
        A smaller delta is replaced by 0, and a step that needs damping again is given this one; inf: never.
    """

    def __init__(self, delta: float = 0.0, least: float = np.inf) -> None:
        self.delta, self.least = delta, least

    @classmethod
    def first(cls, objective: Curved, preconditioner: Preconditioner) -> Damping:
        """The damping of the first direction of a fit from a start far from its minimum."""
        delta = FIRST * preconditioner.typical_curvature()
        least = max(NEGLIGIBLE * float(np.mean(objective.penalty.curvature)), NEGLIGIBLE_OF_FIRST * delta)
        return cls(delta, least) if least < delta < np.inf else cls()

    @property
    def active(self) -> bool:
        """Whether the next direction is damped."""
        return self.delta > 0

    def end(self) -> None:
        """Damp no more."""
        self.delta, self.least = 0.0, np.inf

    def update(self, predicted: float, gained: float) -> None:
        """Change delta after a step, for which the damped quadratic model `predicted` a decrease."""
        if gained < POOR * predicted:
            self.delta = max(FACTOR * self.delta, self.least) if self.least < np.inf else 0.0
        elif gained > GOOD * predicted:
            self.delta = self.delta / FACTOR if self.delta > FACTOR * self.least else 0.0
