"""Rows of a small problem, copied once in the layout of the kernel that makes a whole Newton step.

With few parameters and samples, the time of a fit is that of the calls of Python and NumPy. Here an iteration of
Newton's method is one call, `newton_step`. All other sums are those of another backend.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from nbsoftmax.backends.base import Backend
from nbsoftmax.backends.sharpness import inverse_of, reduced_from_proba, sharpness
from nbsoftmax.cached import cached_property
from nbsoftmax.kernels import newton
from nbsoftmax.kernels.kinds import PROBA
from nbsoftmax.kernels.newton import FEATURES, NUMBERS, SAMPLES
from nbsoftmax.kernels.runtime.threads import EXP_WORK
from nbsoftmax.validation import Float64s, Floats, WeightedTargets

# The most multiply-adds of a step. Measured on two threads, with vectors of 64 and of 32 bytes: fits of so many take
# 1.1 to 2.2 times as long by the general way, fits of 2^24 as long either way.
MOST_WORK = 2**22


class NewtonStep(NamedTuple):
    """A point, and the Newton step that has led there from the last point."""

    params: Float64s
    value: float
    grad: Float64s
    grad_norm: float  # Euclidean
    bound: float  # sum_j ||grad_j||^2 / (2 l2_j) over the features; inf if one of them is not penalised
    direction: Float64s
    decrement: float  # grad . H^-1 grad / 2 at the last point
    outcome: float  # one of `kernels.newton`; unless it is MOVED, the point is not the next one


class PackedRows:
    """Rows of a small problem, in float64, whose samples are next to each other in memory.

    Parameters
    ----------
    X : ndarray (n_samples, n_features), float32 or float64
    target : WeightedTargets
    fit_intercept : bool
    general : callable
        Makes the backend for all sums except `loss`, `loss_and_grad` and `newton_step`, at the first use of one.
    """

    def __init__(
        self, X: Floats, target: WeightedTargets, *, fit_intercept: bool, general: Callable[[], Backend]
    ) -> None:
        self.n_samples, self.n_features = m, n = X.shape
        self.n_classes, self.weight_sum, self._make_general = target.gain.size, target.total, general
        width = -(-m // SAMPLES) * SAMPLES
        self._x = np.zeros((-(-(n + 1) // FEATURES) * FEATURES, width))
        self._x[:n, :m] = X.T
        if fit_intercept:
            self._x[n, :m] = 1.0
        self._targets = np.zeros((self.n_classes, width))
        _write_targets(target, self._targets[:, :m])
        self._proba = np.empty((self.n_classes, width))  # at the point of the last call, `_last`
        self._last, self._last_params = np.empty(0), np.empty(0)
        self._size = self.n_classes * (n + 1)
        self._no_penalty = np.zeros(n + 1)

    def newton_step(self, params: Float64s, l2s: Float64s, *, step: bool = True) -> NewtonStep:
        """A Newton step from `params` for the mean loss plus the penalty sum_j l2_j / 2 ||W_:j||^2.

        `l2s` has a last entry for the intercept. Without `step`, only evaluate at `params`. The arrays of a point must
        not be changed afterwards: a step from there does not evaluate it again.
        """
        size, known = self._size, params is self._last_params
        out = np.empty(NUMBERS + 3 * size)
        point = self._last
        if not known:
            point = np.empty(NUMBERS + 2 * size)
            point[NUMBERS : NUMBERS + size] = params.reshape(-1)
        self._last_params = self._no_penalty  # of no point, until the call has ended
        newton.newton_step(self._x, self._targets, l2s, self.weight_sum, point, known, step, self._proba, out)
        arrays = out[NUMBERS:].reshape(3, self.n_classes, -1)
        self._last, self._last_params = out, arrays[0] if step else params
        value, norm, bound, decrement, outcome = out[:NUMBERS].tolist()
        return NewtonStep(self._last_params, value, arrays[1], norm, bound, arrays[2], decrement, outcome)

    def sharpness(self, params: Float64s, l2s: Float64s) -> float:
        """The number q of `sharpness.sharpness` at `params`; inf if the Hessian is singular in float64."""
        self.newton_step(params, l2s, step=False)
        m = self.n_samples
        x, h, proba = self._x[: self.n_features + 1, :m], self._targets[:, :m].sum(axis=0), self._proba[:, :m]
        if not (h > 0).all():
            x, h, proba = x[:, h > 0], h[h > 0], proba[:, h > 0]
        inverse = inverse_of(reduced_from_proba(x, h / self.weight_sum, proba, l2s), np.asarray(x.any(axis=1)))
        return np.inf if inverse is None else sharpness([x.T], inverse)

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        return self.loss_and_grad(params)[0]

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1)."""
        found = self.newton_step(params, self._no_penalty, step=False)
        self._last_params = self._no_penalty  # with a penalty the point is another
        return found.value * self.weight_sum, found.grad * self.weight_sum

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        return self._general.hess_vec(params, v)

    def gram(self, params: Float64s | None = None) -> Float64s:
        """X1^T diag(h mean_k a_k (1 - a_k)) X1 at `params`, or X1^T diag(h) X1, with X1 = (X, 1): (N + 1, N + 1)."""
        return self._general.gram(params)

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, (K, N + 1)."""
        return self._general.curvatures(params)

    def class_grams(self, params: Float64s) -> Float64s:
        """The diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        return self._general.class_grams(params)

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        return self._general.hessian(params)

    @cached_property
    def _general(self) -> Backend:
        return self._make_general()


def fits(n_samples: int, n_features: int, n_classes: int) -> bool:
    """Whether a problem is so small that a Newton step of all its parameters takes at most `MOST_WORK`."""
    d, order = n_features + 1, (n_classes - 1) * (n_features + 1)
    matrix = n_samples * n_classes * (n_classes - 1) // 2 * d * (d // 2 + 1)
    return bool(matrix + order**3 // 6 + 2 * n_samples * n_classes * (d + EXP_WORK) <= MOST_WORK)


def _write_targets(target: WeightedTargets, out: Float64s) -> None:
    """Write t_ik = s_i (gain_k q_ik + floor_k) to `out` (n_classes, n_samples), which is 0."""
    gain = target.gain.astype(np.float64)
    if target.kind == PROBA:
        np.multiply(target.proba.T, gain[:, None], out=out)
    else:
        out[target.labels, np.arange(target.labels.size)] = gain[target.labels]
    if target.floor.any():
        out += target.floor.astype(np.float64)[:, None]
    if target.weight.size:
        out *= target.weight
