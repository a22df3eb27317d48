"""Backends: where the rows live, and who adds them up. One file each.

Training is sums over the rows of X, and a backend makes those sums; solvers see nothing else. Parameters are one
small float64 array on the host, so a solver runs unchanged over every backend.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels.sgd import Rule, State
from nbsoftmax.validation import Float64s


class Backend(Protocol):
    """Sums over rows, without penalties and not divided by anything, in the units of `check.WeightedTargets`.

    `params` and `v` are float64 (n_classes, n_features + 1), the intercept in the last column; without an intercept
    that column takes no part and its results are 0.
    """

    n_samples: int
    n_features: int
    n_classes: int
    weight_sum: float  # sum_i s_i, what the objective divides by, in the same units

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        ...

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1), in one pass over the rows."""
        ...

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v, in one pass over the rows."""
        ...

    def gram(self, params: Float64s | None = None) -> Float64s:
        """The Gram matrix of (X, 1), (N + 1, N + 1), each sample with its mean curvature at `params`, or with 1."""
        ...

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, (K, N + 1)."""
        ...

    def class_grams(self, params: Float64s) -> Float64s:
        """The diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        ...

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,), and margins z_y - z_k (n, K), of the samples of some rows that have weight."""
        ...

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1); for small K N."""
        ...

    def descend(
        self, state: State, order: NDArray[np.int64], batch_size: int, rates: Float64s, rule: Rule, n_before: int
    ) -> Float64s:
        """Change `state` by a step for each rate, through mini-batches of the samples in `order`; the batches' losses.

        Each is that of the parameters before its step.
        """
        ...

    def with_features(self, features: NDArray[np.int64]) -> Backend:
        """The same sums over only these features, in float64 throughout."""
        ...
