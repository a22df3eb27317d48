"""The possible decrease of the objective along coefficients whose curvature is too small or too large for solvers.

    J(W) - min over one coefficient of J  ~  g^2 / (2 h)        with its gradient g and curvature h

Squares of features below about 1e-50 count as no curvature (`scaled_inverse.LEAST_CURVATURE`), those of features below
1e-162 are 0 in float64, and those above 1e154 overflow. Steps then hardly change such coefficients. Conjugate gradients
treat their gradients as rounding errors of the others, so that the Newton decrement lacks this decrease.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.penalties import curvature_of_columns
from nbsoftmax.solvers.base import Point, Smooth
from nbsoftmax.solvers.tools.scaled_inverse import LEAST_CURVATURE
from nbsoftmax.validation import Float64s

EPS = float(np.finfo(float).eps)
MOST_GRADIENT = 1e100  # squares of features with larger gradients may overflow


def unseen_decrease(objective: Smooth, point: Point) -> float:
    """The decrease along coefficients whose gradients solvers may ignore: much smaller than 1 or than others, or huge.

    0 if there are none; otherwise it takes one pass over the data.
    """
    size = np.abs(point.grad).max(axis=0)
    suspect = ((size > 0) & (size < EPS * max(1.0, size.max()))) | ~(size <= MOST_GRADIENT)
    if not suspect.any():
        return 0.0
    curvatures = objective.in_float64(hessian=True).curvatures(point.params)
    curvatures += curvature_of_columns(objective.penalty, curvatures.shape[1])
    return possible_decrease(point.grad[:, suspect], curvatures[:, suspect])


def possible_decrease(grad: Float64s, curvatures: Float64s) -> float:
    """The sum of g^2 / (2 h) over the coefficients without a usable curvature, or the largest of the others.

    The decrease over several coefficients is at least that over one of them. inf where h is 0 or not finite.
    """
    seen = usable(curvatures)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        # Not g^2 / h: the square may underflow.
        slope = np.where(curvatures < np.inf, grad / np.sqrt(curvatures), np.inf)
        decrease = np.where(grad == 0, 0.0, slope**2 / 2)
    return float(max(decrease[seen].max(initial=0.0), decrease[~seen].sum()))


def usable(curvatures: Float64s) -> NDArray[np.bool_]:
    """Which curvatures solvers use to scale a step."""
    found: NDArray[np.bool_] = (curvatures > LEAST_CURVATURE) & (curvatures < np.inf)
    return found
