"""The curvature of projected Newton steps, in coordinates in which the intercept is nearly independent of the rest.

    c_k = b_k + W_k . x_k,    the features minus their means x_k, weighted by the curvatures of the samples in class k

A feature with a large mean is correlated with the intercept, and with every other such feature: a step along one of
them alone, with the intercept fixed, is far too short. Bounds hold for W, so they are the same in both coordinates.

On a face, some coefficients are held at their bounds, and M is restricted to the free ones. The kind `blocks` of
`preconditioners` inverts the restricted M for each face. The kind `gram`, whose matrices may be large, restricts the
inverse of the whole M instead, which is less accurate. For `diagonal` the two are equal.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.penalties import curvature_of_columns
from nbsoftmax.solvers.base import Curved
from nbsoftmax.solvers.tools.quadratic_model import GramCurvature
from nbsoftmax.solvers.tools.scaled_inverse import LEAST_CURVATURE, scale_of, scaled_inverse
from nbsoftmax.solvers.tools.square_products import times_square
from nbsoftmax.validation import Float64s

LEAST_SHARE = 1e-14  # of a feature's curvature that is left after centring: smaller ones are rounding errors


class FacePreconditioner:
    """The curvature at some parameters.

    Parameters
    ----------
    objective : Curved
    params : ndarray (n_classes, n_features + 1)
    kind : {"diagonal", "gram", "blocks"}
    moments : (ndarray, ndarray), optional
        Means and variances of the features, (n_features,), by which the kind `diagonal` centres them.

    Attributes
    ----------
    scale : ndarray (n_classes, n_features + 1)
        1 / the diagonal of the Hessian for W and c, with the penalty; 0 where there is no curvature.
    """

    def __init__(
        self, objective: Curved, params: Float64s, kind: str, moments: tuple[Float64s, Float64s] | None = None
    ) -> None:
        diagonal = objective.curvatures(params)
        d = diagonal.shape[1]
        self._penalty = curvature_of_columns(objective.penalty, d)
        self._n_threads, self._inverse = objective.n_threads, np.empty((0, 0, 0))
        self._means, self._grams, share = np.zeros((1, d - 1)), np.empty((0, 0, 0)), np.ones((1, d - 1))
        if kind != "diagonal":
            grams = objective.blocks(params) if kind == "blocks" else objective.gram(params)[None]
            whole = np.einsum("bjj->bj", grams)[:, :-1]
            curvature = GramCurvature(grams, objective.n_threads)
            self._means, self._grams = curvature.means, curvature.grams
            share = _share(np.einsum("bjj->bj", self._grams), whole)
        elif moments is not None and objective.fit_intercept:
            mean, variance = moments
            with np.errstate(over="ignore"):
                square = variance + mean**2
            fits = np.isfinite(square)
            self._means = np.where(fits, mean, 0.0)[None]
            share = np.where(fits, _share(variance, square), 1.0)[None]
        diagonal[:, :-1] *= share
        self._exact = len(self._grams) == len(diagonal)
        diagonal += self._penalty
        self.scale = np.where(diagonal > LEAST_CURVATURE, 1 / np.maximum(diagonal, LEAST_CURVATURE), 0.0)

    def gradient(self, slope: Float64s) -> Float64s:
        """The gradient by W and c, from that by W and b; both (n_classes, n_features + 1)."""
        return np.column_stack([slope[:, :-1] - self._means * slope[:, -1:], slope[:, -1]])

    def step(self, step: Float64s) -> Float64s:
        """The step of W and b, from that of W and c."""
        coef = step[:, :-1]
        return np.column_stack([coef, step[:, -1] - (self._means * coef).sum(axis=1)])

    def at_fixed_centre(self, step: Float64s, coef: Float64s) -> Float64s:
        """A step of W and b with another step of W, `coef`, and the same step of c."""
        return np.column_stack([coef, step[:, -1] + (self._means * (step[:, :-1] - coef)).sum(axis=1)])

    def on_face(self, free: NDArray[np.bool_]) -> Callable[[Float64s], Float64s]:
        """M^-1 for the coefficients that are `free`, (n_classes, n_features + 1), as a function of a gradient."""
        inverse = self._of_coef(free[:, :-1])

        def product(slope: Float64s) -> Float64s:
            centred = np.where(free, self.gradient(slope), 0.0)
            result = centred * self.scale
            result[:, :-1] = inverse(centred[:, :-1])
            return self.step(np.where(free, result, 0.0))

        return product

    def _of_coef(self, free: NDArray[np.bool_]) -> Callable[[Float64s], Float64s]:
        if not len(self._grams):
            return lambda r: np.asarray(r * self.scale[:, :-1])
        if not self._exact:
            if not len(self._inverse):
                self._inverse = self._inverted(self._grams)
            inverse, n_threads = self._inverse[0], self._n_threads
            return lambda r: np.asarray(times_square(r, inverse, n_threads))
        inverses = self._inverted(np.where(free[:, :, None] & free[:, None, :], self._grams, 0.0))
        return lambda r: np.asarray((inverses @ r[:, :, None])[:, :, 0])

    def _inverted(self, matrices: Float64s) -> Float64s:
        scale = scale_of(np.einsum("bjj->bj", matrices) + self._penalty[:-1])
        inverses = np.stack([scaled_inverse(*pair) for pair in zip(matrices, scale, strict=True)])
        return np.asarray(inverses * scale[:, :, None] * scale[:, None, :])


def _share(left: Float64s, whole: Float64s) -> Float64s:
    """Left / whole, and 0 where only rounding errors are left."""
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        share = np.where(whole > 0, left / whole, 0.0)
    return np.where(share > LEAST_SHARE, share, 0.0)
