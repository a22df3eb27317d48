"""How far an objective is above its minimum: a bound where one exists, an estimate otherwise.

J - J* <= ||grad J||^2 / (2 l2)        where J is l2-strongly convex: l2 > 0 and no free intercept
J - J* ~  grad J . H^-1 grad J / 2     elsewhere: the Newton decrement, H^-1 grad J by conjugate gradients

What a solver believes of its own progress is only a hint of when to look: a quasi-Newton memory does not know the
directions of small curvature, which are those in which most of the distance lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from nbsoftmax.check import Float64s
from nbsoftmax.solvers import Smooth

# An objective of less than this is 0 for the purpose of a relative gap: float64 sums of losses near 1 are not known
# better than to a few thousand eps.
LEAST_OBJECTIVE = 1e-12
LEAST_PRODUCTS, MOST_PRODUCTS = 20, 500  # for the judge: as many as iterations so far, where those are more
NOTHING = np.finfo(float).eps ** 2  # squares of residuals below this share are rounding errors
SETTLED = 0.1  # the later half of the products has added at most this share of the decrement


def small_enough(gap: float, value: float, tol: float) -> bool:
    """The one meaning of convergence."""
    return gap <= tol * max(abs(value), LEAST_OBJECTIVE)


def strong_convexity_bound(objective: Smooth, grad: Float64s) -> float | None:
    """The bound on the gap at a point with this gradient; None where the objective has none."""
    if objective.l2 > 0 and not objective.fit_intercept:
        return float(np.vdot(grad, grad)) / (2 * objective.l2)
    return None


def newton_decrement(
    objective: Smooth,
    params: Float64s,
    grad: Float64s,
    *,
    most: int,
    enough: float = np.inf,
    precondition: Callable[[Float64s], Float64s] = lambda residual: residual,
) -> tuple[float, bool]:
    """Half of grad . H^-1 grad at `params`, and whether it has settled within `most` products.

    Conjugate gradients approach it from below, so the answer "more than `enough`" is early and cheap. What the later
    half of the products has added is added once more, for what is still to come.
    """
    total, rest = 0.0, 0.0

    def free(v: Float64s) -> Float64s:
        return without_shift(objective, v)

    for n, at in enumerate(conjugate_gradients(objective, params, grad, precondition, free), 1):
        total, rest = at.total, at.rest
        if not total <= enough or total == np.inf:
            return total, False
        if n >= LEAST_PRODUCTS and at.tail <= SETTLED * total:
            return total + at.tail, True
        if n == most and rest > NOTHING:
            return total, False
    return total, bool(np.isfinite(rest))


@dataclass(frozen=True)
class Progress:
    """Where conjugate gradients are after a product."""

    direction: Float64s  # -H^-1 grad, so far
    total: float  # half of grad . H^-1 grad, so far; inf where the curvature is 0 as far as float64 can tell
    tail: float  # what the later half of the products has added to it
    rest: float  # square of the residual's norm, that of the preconditioner, relative to the gradient's
    square: float = np.inf  # that norm's square itself: half of residual . M^-1 residual bounds what M = H leaves to do
    tridiagonal: tuple[list[float], list[float]] = ([], [])  # H as the directions so far see it, preconditioned

    def least_curvature(self) -> float:
        """The smallest eigenvalue of M^-1 H that the products have shown: from above, and soon close."""
        return float(eigvalsh_tridiagonal(*self.tridiagonal, select="i", select_range=(0, 0))[0])


def conjugate_gradients(
    objective: Smooth,
    params: Float64s,
    grad: Float64s,
    precondition: Callable[[Float64s], Float64s],
    project: Callable[[Float64s], Float64s],
) -> Iterator[Progress]:
    """Solve H d = -grad at `params`, a Hessian-vector product for each value, until no residual is left.

    `project` takes out of a gradient what is only rounding errors, along directions in which there is nothing to do.
    """
    residual = project(grad)
    direction = np.zeros_like(grad)
    search = precondition(residual)
    square = first = float(np.vdot(residual, search))
    gains: list[float] = []
    diagonal: list[float] = []
    beside: list[float] = []
    share = 0.0  # of the last search direction in the next
    length = 1.0
    while square > NOTHING * first:
        product = project(objective.hvp(params, search))
        curvature = float(np.vdot(search, product))
        if not 0 < curvature < np.inf:  # flat: nothing bounds the distance
            yield Progress(direction if gains else -search, np.inf, np.inf, np.inf)
            return
        if gains:
            beside.append(math.sqrt(share) / length)
        diagonal.append(curvature / square + share / length)  # the next length is the inverse of the first part
        length = square / curvature
        direction = direction - length * search
        residual = residual - length * product
        gains.append(length * square / 2)
        changed = precondition(residual)
        square, last = float(np.vdot(residual, changed)), square
        share = square / last
        tail = sum(gains[len(gains) // 2 :])
        yield Progress(direction, sum(gains), tail, square / first, square, (diagonal, beside))
        search = changed + share * search


def without_shift(objective: Smooth, v: Float64s) -> Float64s:
    """A gradient without its part along the shifts that leave softmax as it is, where it has only rounding errors."""
    v = v.copy()
    free = v if objective.l2 == 0 else v[:, -1:]  # l2 holds the coefficients, nothing holds the intercepts
    free -= free.mean(axis=0)
    return v


class Judge:
    """Says whether a solver has converged, and how far from the minimum it ended."""

    def __init__(self, objective: Smooth, tol: float, next_look: int = 0) -> None:
        self.objective, self.tol = objective, tol
        self.next_look = next_look  # the iteration before which none is worth it
        self.precondition: Callable[[Float64s], Float64s] = lambda residual: residual
        self._seen: tuple[Float64s, float] | None = None  # where the decrement is known, and what it is

    def converged(self, n_iter: int, params: Float64s, value: float, grad: Float64s, hint: float) -> bool:
        """Whether the gap at `params` is within tol; `hint` is what the solver itself believes of it."""
        bound = strong_convexity_bound(self.objective, grad)
        if bound is not None:
            return small_enough(bound, value, self.tol)
        if n_iter < self.next_look or not small_enough(hint, value, self.tol):
            return False
        if n_iter > 0:  # looks that fail cost at most a share of the fit
            self.next_look = n_iter + max(10, n_iter // 4)
        enough = self.tol * max(abs(value), LEAST_OBJECTIVE)
        most = max(MOST_PRODUCTS, n_iter)
        distance, settled = newton_decrement(
            self.objective, params, grad, most=most, enough=enough, precondition=self.precondition
        )
        if settled:
            self._seen = (params, distance)
        return settled and small_enough(distance, value, self.tol)

    def gap(self, n_iter: int, params: Float64s, value: float, grad: Float64s) -> tuple[float, str]:
        """The gap at `params`, and its kind. What has not settled is never reported as within tol."""
        bound = strong_convexity_bound(self.objective, grad)
        if bound is not None:
            return bound, "strong-convexity"
        if self._seen is not None and self._seen[0] is params:
            return self._seen[1], "estimate"
        most = max(LEAST_PRODUCTS, n_iter)  # no more work for the report than for the fit
        distance, settled = newton_decrement(self.objective, params, grad, most=most, precondition=self.precondition)
        return (distance if settled or not small_enough(distance, value, self.tol) else np.inf), "estimate"
