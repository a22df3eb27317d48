"""Newton's step over the K intercepts alone, which reads no row of X: it makes the duality gap cheap to certify.

    H_kl = (1/S) sum_i h_i (a_ik [k = l] - a_ik a_il),    delta = -H^-1 g,    g = dJ/dintercept

The duality gap is of first order in g, and so g is often the last obstacle to a certificate. H comes from the
probabilities that Hessian-vector products at a point have left in memory. After the step g is of second order: about
the square of what it was, times the distance to the minimum.
"""

from __future__ import annotations

import numpy as np

from nbsoftmax.solvers.base import Curved
from nbsoftmax.validation import Float64s

MOST_CLASSES = 512  # H takes m K^2 multiply-adds on one thread, and its factors K^3
FARTHEST = 1.0  # the largest change of a logit: the quadratic model holds for changes of less than 1


class InterceptCurvature:
    """The Hessian over the intercepts at some parameters.

    Parameters
    ----------
    matrix : ndarray (K, K)
        H, or (0, 0) if it is unknown.
    """

    def __init__(self, matrix: Float64s | None = None) -> None:
        self.matrix = np.empty((0, 0)) if matrix is None else matrix

    @classmethod
    def at(cls, objective: Curved, params: Float64s) -> InterceptCurvature:
        """The curvature at the point of the last Hessian-vector products."""
        return cls(objective.intercept_curvature(params) if len(params) <= MOST_CLASSES else None)

    @property
    def known(self) -> bool:
        """Whether there is a matrix."""
        return self.matrix.size > 0

    def step(self, slope: Float64s) -> Float64s | None:
        """-H^-1 slope, whose sum is 0; None if it is unknown or so long that the quadratic model does not hold."""
        if not self.known:
            return None
        scale = float(self.matrix.diagonal().max())
        if not 0 < scale < np.inf:
            return None
        # H is singular along shifts of all classes; this makes it definite and changes nothing else.
        definite = self.matrix + scale / len(slope)
        try:
            delta = np.linalg.solve(definite, -(slope - slope.mean()))
        except np.linalg.LinAlgError:
            return None
        delta -= delta.mean()
        return delta if np.ptp(delta) <= FARTHEST else None  # also None for NaN
