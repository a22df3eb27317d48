"""Truncated Newton directions: H d = -grad by conjugate gradients, with a tolerance that depends on the progress.

R. Dembo, S. Eisenstat, T. Steihaug, "Inexact Newton methods", SIAM J. Numer. Anal. 19 (1982). The same conjugate
gradients compute the Newton decrement, grad . H^-1 grad / 2, the estimate of the gap for the test of convergence.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from nbsoftmax.solvers.base import Curved, Point
from nbsoftmax.solvers.tools.certificates import strongly_convex
from nbsoftmax.solvers.tools.cg_vectors import CGVectors, NewVectors
from nbsoftmax.solvers.tools.conjugate_gradients import CGIterate, conjugate_gradients
from nbsoftmax.solvers.tools.convergence import SETTLED
from nbsoftmax.solvers.tools.preconditioners import Preconditioner
from nbsoftmax.validation import Float64s

MOST_PRODUCTS = 2000  # for one direction
LEAST_PRODUCTS = 5  # before the decrement may count as settled
SOLVED = 1e-6  # square of a residual, relative to the gradient's, that counts as 0
FAR_WITHIN = 0.1  # share of the allowed gap: the error of a settled decrement is less than a factor of 10
NEAR_ENOUGH = 0.03  # share of the allowed gap: if a direction leaves no more than this, the fit usually ends after it
# Products this asymmetric are too rough: conjugate gradients take several times as many. (Of 40 fits to float32 X: at
# most 3e-7 where they took no more than in float64, 1e-5 to 1 where they took 3 to 100 times as many.)
ROUGH = 1e-5
LOOSEST = 0.3  # largest residual of a direction, relative to the gradient


@dataclass(frozen=True, eq=False)
class InnerTolerance:
    """How accurate a direction must be."""

    residual: float  # its norm, relative to the gradient's
    allowed: float  # the gap at which the fit has converged
    patience: int  # products to spend on a certificate once the decrement is within `allowed`
    certifiable: float  # the `bound` of the residual below which a certificate after the step is likely
    bound: Callable[[Float64s], float]  # from a gradient to the bound that is expected there
    asymmetry: float = np.inf  # of products; if it is larger, the direction ends at once, with decrement inf


@dataclass(frozen=True, eq=False)
class NewtonDirection:
    """A direction, and estimates from its products."""

    step: Float64s
    decrement: float  # estimate of grad . H^-1 grad / 2
    settled: bool  # whether more products would hardly change the decrement
    final: bool = False  # whether the fit should end after this step
    uncertifiable: bool = False  # whether no certificate is likely after this step
    residual: Float64s | None = None  # grad + H step; None if the step is 0


def newton_direction(
    objective: Curved, point: Point, preconditioner: Preconditioner, vectors: CGVectors, tolerance: InnerTolerance
) -> NewtonDirection:
    """Solve H d = -grad until the residual is within tolerance.

    `vectors` are those of the preconditioner at the point, which conjugate gradients have not changed yet.

    If the decrement is within the allowed gap, continue until it has settled, because the fit may have converged.
    Sometimes this is known before any product, from the smallest known eigenvalue of M^-1 H:

        grad . H^-1 grad <= decrement so far + residual . M^-1 residual / (the smallest eigenvalue of M^-1 H)

    If `tolerance.patience` > 0, up to that many more products are spent if they may make a certificate possible.
    """
    zero, square = np.zeros_like(point.grad), vectors.square
    if not 0 <= square < np.inf:  # M^-1 is indefinite because of rounding errors, or overflow
        return NewtonDirection(zero, np.inf, settled=False)
    rest = preconditioner.decrement_bound(square)
    # Without a penalty the direction is needed to detect separable classes.
    if rest <= FAR_WITHIN * tolerance.allowed and strongly_convex(objective) and not tolerance.patience:
        return NewtonDirection(zero, rest, settled=True)
    truncation = _Truncation(point, preconditioner, tolerance)
    iterate: CGIterate | None = None
    for iterate in conjugate_gradients(vectors):
        direction = truncation(iterate)
        if direction is not None:
            return direction
    if iterate is None:
        return NewtonDirection(zero, 0.0, settled=True)
    return NewtonDirection(iterate.direction, iterate.decrement, iterate.relative_square <= SOLVED)


class _Truncation:
    """Decides after each product whether a direction is accurate enough."""

    def __init__(self, point: Point, preconditioner: Preconditioner, tolerance: InnerTolerance) -> None:
        self._preconditioner, self._tolerance = preconditioner, tolerance
        self._value, self._first_bound = abs(point.value), tolerance.bound(point.grad)
        self._n_products = self._n_waited = 0

    def _provable(self, decrement: float) -> bool:
        """Whether the bound after the step will hardly be more than the residual's.

        What a step of Newton's method leaves is about decrement^2 / J, which the bound exceeds by the same factor as it
        exceeds the decrement here.
        """
        left = decrement * self._first_bound / self._value if self._value > 0 else np.inf
        return self._tolerance.patience > 0 and left <= self._tolerance.certifiable

    def __call__(self, iterate: CGIterate) -> NewtonDirection | None:
        self._n_products += 1
        preconditioner, tolerance, total = self._preconditioner, self._tolerance, iterate.decrement
        preconditioner.products += 1
        if total == np.inf or (self._n_products >= LEAST_PRODUCTS and iterate.asymmetry > tolerance.asymmetry):
            return NewtonDirection(iterate.direction, np.inf, settled=False)
        if isinstance(iterate.vectors, NewVectors):
            preconditioner.record(iterate.vectors.search, iterate.vectors.product)
        rest = preconditioner.decrement_bound(iterate.square)  # what more products would add to the decrement
        solved = iterate.relative_square <= SOLVED
        settled = solved or (self._n_products >= LEAST_PRODUCTS and iterate.tail <= SETTLED * total)
        # If the decrement is far within the allowed gap, no step follows, so only the decrement must be accurate.
        far_within = total + iterate.tail <= FAR_WITHIN * tolerance.allowed
        arrived = settled and iterate.relative_square <= LOOSEST**2 and far_within
        bounded = total + rest <= FAR_WITHIN * tolerance.allowed
        provable = self._provable(total + iterate.tail)
        near, residual = bounded or arrived or provable, iterate.vectors.residual
        uncertifiable = near and tolerance.patience > 0 and tolerance.bound(residual) > tolerance.certifiable
        if uncertifiable and self._n_products < MOST_PRODUCTS:
            self._n_waited += 1
            if self._n_waited <= tolerance.patience:
                return None
        if bounded:
            return NewtonDirection(iterate.direction, total + rest, True, True, uncertifiable, residual)
        certifiable = provable and not uncertifiable
        leaves_little = rest <= NEAR_ENOUGH * tolerance.allowed
        accurate = iterate.relative_square <= tolerance.residual**2 or leaves_little
        if arrived or certifiable or (accurate and (total > tolerance.allowed or settled)):
            if self._n_products >= LEAST_PRODUCTS:
                preconditioner.record_curvature(iterate.least_curvature())
            # The part that the second half of the products added is added once more, as an estimate of the rest.
            decrement = total if solved else total + iterate.tail
            final = arrived or leaves_little
            return NewtonDirection(iterate.direction, decrement, settled, final, arrived and uncertifiable, residual)
        return NewtonDirection(iterate.direction, total, settled) if self._n_products >= MOST_PRODUCTS else None
