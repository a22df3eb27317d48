"""Preconditioned conjugate gradients for H d = -grad, with the Hessian H known only through products.

M. Hestenes, E. Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res. NBS 49 (1952).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nbsoftmax.solvers.base import Smooth
from nbsoftmax.validation import Float64s

NEGLIGIBLE = np.finfo(float).eps ** 2  # squares of residuals below this share are rounding errors
# A negative square whose absolute value is below this share is a rounding error of the residual, above it of M^-1.
ROUNDED = 1e-8


@dataclass(frozen=True, eq=False)
class CGIterate:
    """The state of conjugate gradients after a product."""

    direction: Float64s  # approximates -H^-1 grad
    decrement: float  # approximates grad . H^-1 grad / 2 from below; inf if H is singular in float64
    tail: float  # the part of it that the second half of the products added
    relative_square: float  # `square`, relative to that of the gradient
    residual: Float64s  # grad + H direction
    search: Float64s  # the last search direction
    product: Float64s  # H times that
    square: float = np.inf  # residual . M^-1 residual; if M = H, half of it is the rest of the decrement
    tridiagonal: tuple[list[float], list[float]] = ([], [])  # of the Lanczos process for M^-1 H

    def least_curvature(self) -> float:
        """The smallest Ritz value, an upper bound on the smallest eigenvalue of M^-1 H that soon becomes tight."""
        from scipy.linalg import eigvalsh_tridiagonal  # takes 0.15 s: loaded when it is used

        return float(eigvalsh_tridiagonal(*self.tridiagonal, select="i", select_range=(0, 0))[0])


def conjugate_gradients(
    objective: Smooth,
    params: Float64s,
    grad: Float64s,
    precondition: Callable[[Float64s], Float64s],
    project: Callable[[Float64s], Float64s],
) -> Iterator[CGIterate]:
    """Solve H d = -grad at `params`, one Hessian-vector product for each iterate, until no residual is left.

    `project` removes from a gradient its rounding errors along directions in which the objective is constant.
    """
    residual = project(grad)
    direction = np.zeros_like(grad)
    search = precondition(residual)
    square = first = float(np.vdot(residual, search))
    gains: list[float] = []
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    beta, alpha = 0.0, 1.0
    while square > NEGLIGIBLE * first:
        product = project(objective.hvp(params, search))
        curvature = float(np.vdot(search, product))
        if not 0 < curvature < np.inf:  # no curvature: the decrement is infinite
            yield CGIterate(direction if gains else -search, np.inf, np.inf, np.inf, residual, search, product)
            return
        if gains:
            off_diagonal.append(math.sqrt(beta) / alpha)
        diagonal.append(curvature / square + beta / alpha)  # the first term is 1 / (the next alpha)
        alpha = square / curvature
        direction = direction - alpha * search
        residual = residual - alpha * product
        gains.append(alpha * square / 2)
        preconditioned = precondition(residual)
        square, last = float(np.vdot(residual, preconditioned)), square
        if not -ROUNDED * first <= square < np.inf:  # M^-1 is indefinite because of rounding errors, or overflow
            yield CGIterate(direction, np.inf, np.inf, np.inf, residual, search, product)
            return
        square = max(square, 0.0)  # if the residual consists of rounding errors
        beta = square / last
        tail = sum(gains[len(gains) // 2 :])
        lanczos = (diagonal, off_diagonal)
        yield CGIterate(direction, sum(gains), tail, square / first, residual, search, product, square, lanczos)
        search = preconditioned + beta * search
