"""The possible decrease of the objective along unpenalised coefficients and the intercept.

    J(W) - min over the unpenalised part of J  ~  1/2 g . H^-1 g        (Newton decrement; g and H of that part alone)

In the dual each of these coefficients has an equality constraint, which the model's own probabilities satisfy only if
g = 0.

A class without samples whose probabilities are all but 0 takes no part: J would decrease by less than a rounding error
if its intercept fell to -inf, and a shift of all other classes then changes no probability.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.solvers.base import NOISE, Curved, Penalised
from nbsoftmax.solvers.tools.cg_vectors import NewVectors
from nbsoftmax.solvers.tools.conjugate_gradients import conjugate_gradients
from nbsoftmax.solvers.tools.scaled_inverse import LEAST_CURVATURE
from nbsoftmax.solvers.tools.unseen import possible_decrease, usable
from nbsoftmax.validation import Float64s

MOST_PRODUCTS = 500
LEAST_SHARE = 1e-4  # of a class's curvature in the largest one's, in the preconditioner
SETTLED = 1e-6  # square of a residual's norm, relative to the gradient's
MOST_ROUGH_PRODUCTS = 20  # in float32, whose rounding errors may keep a residual from settling


def vanished(objective: Penalised, grad: Float64s) -> NDArray[np.bool_]:
    """The classes without samples whose mean probability, the gradient of their intercept, is all but 0."""
    mass = objective.class_mass
    found: NDArray[np.bool_] = (mass <= 0) & (grad[:, -1] <= NOISE * mass.sum()) & objective.fit_intercept
    return found


def free_step(
    smooth: Curved,
    params: Float64s,
    grad: Float64s,
    free: NDArray[np.bool_],
    most_products: int = MOST_PRODUCTS,
    *,
    most: float = np.inf,
    rough: bool = False,
) -> tuple[float, Float64s]:
    """The Newton decrement over the intercept and the coefficients in `free`, and the Newton step.

    `free` is (n_features,) or (n_classes, n_features). If the step was not found, the decrement is inf, and the step is
    as far as it was found. A decrement above `most` is only a lower bound, which takes fewer products. If `rough`, the
    decrement is that of a few products.
    """
    if rough:
        most_products = min(most_products, MOST_ROUGH_PRODUCTS)
    mask = np.ones(params.shape, bool)
    mask[:, :-1] = free
    present = ~vanished(smooth, grad)
    whole, mask = mask[present].all(axis=0), mask & present[:, None]
    diagonal = smooth.curvatures(params)
    # A class without samples has next to no curvature; its scale would make rounding errors the largest entries.
    least = np.maximum(LEAST_SHARE * diagonal.max(axis=0), LEAST_CURVATURE)
    seen = usable(diagonal)
    scale = np.where(mask & seen, 1 / np.maximum(diagonal, least), 0.0)
    unseen = possible_decrease(grad[mask & ~seen], diagonal[mask & ~seen])

    def project(v: Float64s) -> Float64s:  # the objective is invariant to shifts of all classes
        return np.where(mask, v - np.where(whole, v[present].mean(axis=0), 0.0), 0.0)

    def precondition(v: Float64s) -> Float64s:
        return project(scale * v)

    total, rest, step = 0.0, 0.0, np.zeros_like(params)
    vectors = NewVectors(smooth, params, grad, precondition, project)
    for n, at in enumerate(conjugate_gradients(vectors), 1):
        total, rest, step = at.decrement + at.tail, at.relative_square, at.direction
        if not SETTLED < rest < np.inf or n == most_products or at.decrement > most:
            break
    return (total + unseen if rest <= SETTLED or rough or total > most else np.inf), step
