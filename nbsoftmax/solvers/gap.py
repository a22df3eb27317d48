"""How far an objective is above its minimum: a bound where one exists, an estimate otherwise.

J - J* <= ||grad J||^2 / (2 l2)        where J is l2-strongly convex: l2 > 0 and no free intercept
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nbsoftmax.check import Float64s
from nbsoftmax.solvers import Smooth

# An objective of less than this is 0 for the purpose of a relative gap: float64 sums of losses near 1 are not known
# better than to a few thousand eps.
LEAST_OBJECTIVE = 1e-12


def gap(objective: Smooth, grad: Float64s, values: Sequence[float], decrement: float = 0.0) -> tuple[float, str]:
    """Gap of the last of `values` (one an iteration) with gradient `grad`, and its kind.

    Parameters
    ----------
    decrement : float
        g . H^-1 g / 2 with the solver's idea of the Hessian H, where it has one.

    Notes
    -----
    The estimate is the larger of the decrement and what the last quarter of the iterations has gained: a solver that
    still makes progress, however slow, is not at the minimum. It asks for 8 iterations at least.
    """
    bound = np.inf
    if objective.l2 > 0:
        bound = float(np.vdot(grad, grad)) / (2 * objective.l2)
        if not objective.fit_intercept:
            return bound, "strong-convexity"
    if not grad.any():
        return 0.0, "estimate"
    n = len(values)
    gained = values[(3 * n) // 4 - 1] - values[-1] if n >= 8 else np.inf
    # With an intercept the bound holds up to the intercept's own gradient, which counts as if it had curvature l2.
    return float(min(bound, max(decrement, gained))), "estimate"


def small_enough(gap: float, value: float, tol: float) -> bool:
    """The one meaning of convergence."""
    return gap <= tol * max(abs(value), LEAST_OBJECTIVE)
