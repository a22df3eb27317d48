"""Preconditioned conjugate gradients for H d = -grad, with the Hessian H known only through products.

M. Hestenes, E. Stiefel, "Methods of conjugate gradients for solving linear systems", J. Res. NBS 49 (1952).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from nbsoftmax.kernels.runtime.lapack import lapack
from nbsoftmax.solvers.tools.cg_vectors import CGVectors
from nbsoftmax.validation import Float64s

NEGLIGIBLE = np.finfo(float).eps ** 2  # squares of residuals below this share are rounding errors
# A negative square whose absolute value is below this share is a rounding error of the residual, above it of M^-1.
ROUNDED = 1e-8


class CGIterate(NamedTuple):
    """The state of conjugate gradients after a product."""

    vectors: CGVectors  # with the residual, grad + H direction, and the last search direction
    direction: Float64s  # approximates -H^-1 grad
    decrement: float  # approximates grad . H^-1 grad / 2 from below; inf if H is singular in float64
    tail: float  # the part of it that the second half of the products added
    relative_square: float  # `square`, relative to that of the gradient
    square: float = np.inf  # residual . M^-1 residual; if M = H, half of it is the rest of the decrement
    tridiagonal: tuple[list[float], list[float]] = ([], [])  # of the Lanczos process for M^-1 H
    asymmetry: float = 0.0  # of the last two products, as `CGVectors` says

    def least_curvature(self) -> float:
        """The smallest Ritz value, an upper bound on the smallest eigenvalue of M^-1 H that soon becomes tight.

        It needs two products. 0 if LAPACK's bisection fails.
        """
        by_index, first, most_accurate = 2, 1, 0.0
        _, values, _, _, failed = lapack().dstebz(
            *self.tridiagonal, by_index, 0.0, 0.0, first, first, most_accurate, b"E"
        )
        return 0.0 if failed else float(values[0])


def conjugate_gradients(vectors: CGVectors) -> Iterator[CGIterate]:
    """Solve H d = -grad, one Hessian-vector product for each iterate, until no residual is left.

    The arrays of an iterate may change when the next one is computed.
    """
    square = first = vectors.square
    gains: list[float] = []
    diagonal: list[float] = []
    off_diagonal: list[float] = []
    beta, alpha = 0.0, 1.0
    while square > NEGLIGIBLE * first:
        curvature = vectors.multiply()
        if not 0 < curvature < np.inf:  # no curvature: the decrement is infinite
            yield CGIterate(vectors, vectors.direction if gains else -vectors.search, np.inf, np.inf, np.inf)
            return
        if gains:
            off_diagonal.append(math.sqrt(beta) / alpha)
        diagonal.append(curvature / square + beta / alpha)  # the first term is 1 / (the next alpha)
        alpha = square / curvature
        gains.append(alpha * square / 2)
        square, last = vectors.advance(alpha), square
        if not -ROUNDED * first <= square < np.inf:  # M^-1 is indefinite because of rounding errors, or overflow
            yield CGIterate(vectors, vectors.direction, np.inf, np.inf, np.inf)
            return
        square = max(square, 0.0)  # if the residual consists of rounding errors
        beta = square / last
        tail = sum(gains[len(gains) // 2 :])
        lanczos = (diagonal, off_diagonal)
        found = sum(gains), tail, square / first, square, lanczos
        yield CGIterate(vectors, vectors.direction, *found, vectors.asymmetry)
        vectors.next_search(beta)
