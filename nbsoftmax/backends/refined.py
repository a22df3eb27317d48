"""Float32 rows whose loss and gradient are computed by products in float64.

Close to a minimum the gradient of float32 products is rounding error. Products in float64 take about three times as
long, and Hessian-vector products seldom need them, so they are refined only if asked for.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.base import Backend, CountsMargins, HasMoments, KeepsProbabilities, Margins, SelectsFeatures
from nbsoftmax.backends.moments import Moments
from nbsoftmax.validation import Float64s


class Rows(Backend, Margins, CountsMargins, HasMoments, SelectsFeatures, Protocol):
    """Rows in memory."""


class RefinedBackend:
    """The loss and the gradient of one backend, and everything else of another one.

    Parameters
    ----------
    rows : Rows
        Sums by products in the dtype of X.
    precise : Backend
        The same sums by products in float64.
    hessian : bool
        Whether the parts of the Hessian are those of `precise` as well.
    """

    def __init__(self, rows: Rows, precise: Backend, *, hessian: bool) -> None:
        self.n_samples, self.n_features, self.n_classes = rows.n_samples, rows.n_features, rows.n_classes
        self.weight_sum = rows.weight_sum
        self._rows, self._precise = rows, precise
        self._curved: Backend = precise if hessian else rows

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i, in float64."""
        return self._precise.loss(params)

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1), in float64."""
        return self._precise.loss_and_grad(params)

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        return self._curved.hess_vec(params, v)

    def gram(self, params: Float64s | None = None) -> Float64s:
        """The Gram matrix of (X, 1), weighted with the mean curvatures at `params` if they are given."""
        return self._curved.gram(params)

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, (K, N + 1)."""
        return self._curved.curvatures(params)

    def class_grams(self, params: Float64s) -> Float64s:
        """The diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        return self._curved.class_grams(params)

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        return self._curved.hessian(params)

    def intercept_curvature(self, params: Float64s) -> Float64s | None:
        """sum_i h_i (a_ik [k = l] - a_ik a_il), (K, K); None if the probabilities at `params` were not kept."""
        curved = self._curved
        return curved.intercept_curvature(params) if isinstance(curved, KeepsProbabilities) else None

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,) and margins z_y - z_k (n, K) of those samples in `part` whose weight is positive."""
        return self._rows.margins(params, part)

    def margin_counts(self, params: Float64s, step: Float64s) -> NDArray[np.int64]:
        """Numbers of samples whose margins a step changes, as `separation.counts_of` says."""
        return self._rows.margin_counts(params, step)

    def feature_moments(self, centre: Float64s) -> Moments:
        """As `moments.moments`."""
        return self._rows.feature_moments(centre)

    def with_features(self, features: NDArray[np.int64]) -> Backend:
        """The same sums over these features only, computed in float64."""
        return self._rows.with_features(features)
