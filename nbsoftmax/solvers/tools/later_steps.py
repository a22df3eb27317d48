"""The decrease of the objective that Newton steps after the next one will add to it."""

from __future__ import annotations

import numpy as np

from nbsoftmax.solvers.tools.truncated_newton import FAR_WITHIN

# Largest factor by which a decrement is multiplied to account for later steps; small enough for FAR_WITHIN.
MOST_TO_COME = 0.8 / FAR_WITHIN


def still_to_come(decrement: float, predicted: float, gained: float) -> float:
    """The decrease by this and all later steps, relative to a decrement, if the decrements decrease geometrically.

    Near the minimum it is 1. If the objective behaves like exp, as on nearly separable data, each decrement is 1/e of
    the last one, and the gap is about twice the decrement.
    """
    if not 0 < predicted < np.inf:
        return 1.0
    share = min(decrement / predicted, 0.9)
    return float(min(max(1.0, gained / predicted) / (1 - share), MOST_TO_COME))
