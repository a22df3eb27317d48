"""Mean marginal effects and their standard errors by the delta method, in one pass over blocks of rows.

Coefficients are relative to a reference class, whose own are 0. With wbar_j = sum_l a_l w_lj, and s_j = 1 ("dx") or x_j
("ex"), the effects of a feature that is not binary are means over the rows, or over other points, of

    "dy"   s_j da_k/dx_j     = s_j a_k (w_kj - wbar_j)
    "ey"   s_j dlog a_k/dx_j = s_j     (w_kj - wbar_j)

Their derivatives with respect to w_lq, with x_q = 1 for the intercept, are means of

    "dy"   [j = q] s_j a_k ([k = l] - a_l) + s_j x_q ([k = l] a_k (w_kj - wbar_j) - a_k a_l (w_kj + w_lj - 2 wbar_j))
    "ey"   [j = q] s_j     ([k = l] - a_l) - s_j x_q a_l (w_lj - wbar_j)

So the only sums over rows are those of a_l, and for "dy" of a_k a_l with k <= l, times s_j and s_j wbar_j, times x_q.
As wbar is linear in the probabilities, products of three of them replace a_k a_l wbar_j if there are fewer classes than
features. The effect of a binary feature is the change of a_k, or of log a_k, from x_j = 0 to x_j = 1. If it
is a level of a factor, the features of the other levels are 0 at both ends: no row has two levels at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.row_blocks import blocks
from nbsoftmax.functional import log_softmax
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.models.points import Points
from nbsoftmax.validation import Float64s, Floats

KINDS = ("dydx", "eyex", "dyex", "eydx")
MOST_PRODUCTS = 2**12  # of one row at a time


@dataclass(frozen=True, eq=False)
class EffectOptions:
    """Which effects: those on log a_k if `of_log`, times x_j if `times_x`, and discrete for the features `binary`.

    `others` has for each of these the features that are 0 at both ends of the change.
    """

    of_log: bool
    times_x: bool
    binary: NDArray[np.intp]
    others: Sequence[NDArray[np.intp]]

    @classmethod
    def of(cls, kind: str, binary: NDArray[np.intp], others: Sequence[NDArray[np.intp]]) -> EffectOptions:
        """The options of one of `KINDS`."""
        return cls(kind.startswith("ey"), kind.endswith("ex"), binary, others)


def mean_effects(
    points: Points, params: Float64s, free: NDArray[np.bool_], covariance: Float64s, options: EffectOptions
) -> tuple[Float64s, Float64s]:
    """Mean effects and their standard errors, both (n_features, n_classes).

    `params` (n_classes, n_features + 1) has the intercept in its last column; `covariance` is that of the `free`
    classes, without intercepts if the model has none.
    """
    n, n_params = int(free.sum()), params.shape[1]
    with one_thread():  # the last bits of BLAS depend on the number of its threads
        means = _Means(params, free, options)
        for rows, x in blocks(points.X, True, means.row_size):
            means.add(x, points.weight[rows], points.offset[rows] if points.offset.size else None)
        effects, found = np.zeros((2, n_params - 1, n + 1))
        n_names = len(covariance) // n
        rest = np.zeros((n_params - 1, n, n_params))
        for k, position in enumerate(np.flatnonzero(free).tolist()):
            effects[:, position], jacobian = means.of_class(k)
            rest -= jacobian
            found[:, position] = variances(jacobian[:, :, :n_names], covariance)
        base = int(np.flatnonzero(~free)[0])
        if options.of_log:
            effects[:, base], rest = means.of_class(None)
        else:
            effects[:, base] = -effects.sum(axis=1)
        found[:, base] = variances(rest[:, :, :n_names], covariance)
    return effects, np.sqrt(np.maximum(found, 0.0))


def variances(jacobian: Float64s, covariance: Float64s) -> Float64s:
    """Variances of some numbers, whose derivatives are (n_numbers, n, P), by the delta method."""
    rows = jacobian.reshape(len(jacobian), -1)
    return np.asarray(np.einsum("ji,ji->j", rows @ covariance, rows))


class _Means:
    """Weighted sums over rows, and the effects and Jacobians that follow from them.

    With n free classes, N features and P = N + 1 columns of (x, 1), the products are the n probabilities and, for "dy",
    their n (n + 1) / 2 products of two.
    """

    def __init__(self, params: Float64s, free: NDArray[np.bool_], options: EffectOptions) -> None:
        self.params, self.free, self.options = params, free, options
        self.w = params[free, :-1].T.copy()  # (N, n)
        n_features, n = self.w.shape
        self.left, self.right = np.triu_indices(0 if options.of_log else n)
        self.number = np.zeros((n, n), np.intp)  # of the product of two probabilities
        self.number[self.left, self.right] = self.number[self.right, self.left] = n + np.arange(len(self.left))
        self.cubic = not options.times_x and n < n_features
        n_products, n_params = n + len(self.left), params.shape[1]
        n_factors = 2 * n_features if options.times_x else 1 + min(n, n_features)
        self.factors_at_once = max(1, min(n_factors, MOST_PRODUCTS // n_products))
        self.row_size = n_params + n_products * (1 + self.factors_at_once)
        self.sums = np.zeros((n_factors, n_products, n_params))
        self.x = np.zeros(n_params)
        self.at = np.zeros((len(options.binary), 2, n_products, n_params))  # each binary feature at 0 and at 1
        self.log_change = np.zeros((len(options.binary), n + 1))

    def add(self, x: Float64s, weight: Float64s, offset: Floats | None) -> None:
        """Add a block of rows (x, 1) with their weights."""
        logits = x @ self.params.T
        if offset is not None:
            logits += offset
        weighted = x * weight[:, None]
        self.x += weighted.sum(axis=0)
        products = self._products(log_softmax(logits))
        factors = self._factors(x, products[: self.w.shape[1]])
        for start in range(0, len(factors), self.factors_at_once):
            some = slice(start, start + self.factors_at_once)
            terms = factors[some, None, :] * products
            self.sums[some] += (terms.reshape(-1, len(x)) @ weighted).reshape(-1, *self.sums.shape[1:])
        for i, (j, others) in enumerate(zip(self.options.binary.tolist(), self.options.others, strict=True)):
            without = logits - x[:, others] @ self.params[:, others].T
            for value in (0, 1):
                log_proba = log_softmax(without + (value - x[:, j, None]) * self.params[:, j])
                moments = self._products(log_proba) @ weighted
                moments[:, j], moments[:, others] = value * moments[:, -1], 0.0
                self.at[i, value] += moments
                if self.options.of_log:
                    self.log_change[i] += (2 * value - 1) * (weight @ log_proba)

    def _products(self, log_proba: Floats) -> Float64s:
        """(n_products, rows)."""
        proba = np.exp(np.ascontiguousarray(log_proba[:, self.free].T, np.float64))
        return np.concatenate([proba, proba[self.left] * proba[self.right]])

    def _factors(self, x: Float64s, proba: Float64s) -> Float64s:
        """(n_factors, rows): s and s wbar for each feature, or where they follow from them, 1 and the probabilities."""
        if self.cubic:
            return np.concatenate([np.ones((1, len(x))), proba])
        mean = self.w @ proba  # (N, rows)
        s = np.ascontiguousarray(x[:, :-1].T) if self.options.times_x else np.ones((1, len(x)))
        return np.concatenate([s, s * mean])

    def _moments(self, chosen: NDArray[np.intp]) -> tuple[Float64s, Float64s]:
        """Means of these products times s_j x_q, and times s_j wbar_j x_q: both (N, len(chosen), P)."""
        sums, n_features = self.sums[:, chosen], len(self.w)
        if self.options.times_x:
            return sums[:n_features], sums[n_features:]
        shape = (n_features, *sums.shape[1:])
        return np.broadcast_to(sums[0], shape), np.tensordot(self.w, sums[1:], 1) if self.cubic else sums[1:]

    def of_class(self, k: int | None) -> tuple[Float64s, Float64s]:
        """Effects (N,) on free class k and their Jacobian (N, n, P); for "ey" also on the reference class, None."""
        n_features, n = self.w.shape
        each, free = np.arange(n_features), np.arange(n)
        plain, mean = self._moments(free)
        if self.options.of_log:
            s = self.x[:-1] if self.options.times_x else np.ones(n_features)
            jacobian = mean - self.w[:, :, None] * plain
            jacobian[each, :, each] -= plain[:, :, -1]
            effects = -(self.w * plain[:, :, -1]).sum(axis=1)
            if k is not None:
                jacobian[each, k, each] += s
                effects += s * self.w[:, k]
        else:
            assert k is not None
            two, two_mean = self._moments(self.number[k])
            own = self.w[:, k, None]
            jacobian = 2 * two_mean - (own[:, :, None] + self.w[:, :, None]) * two
            jacobian[:, k] += own * plain[:, k] - mean[:, k]
            jacobian[each, :, each] -= two[:, :, -1]
            jacobian[each, k, each] += plain[:, k, -1]
            effects = self.w[:, k] * plain[:, k, -1] - mean[:, k, -1]
        for i, j in enumerate(self.options.binary.tolist()):
            effects[j], jacobian[j] = self._discrete(i, j, k)
        return effects, jacobian

    def _discrete(self, i: int, j: int, k: int | None) -> tuple[float, Float64s]:
        """The effect of binary feature j, number i of them, and its derivatives (n, P)."""
        n = self.w.shape[1]
        change = self.at[i, 1] - self.at[i, 0]
        if not self.options.of_log:
            assert k is not None
            slopes = -change[self.number[k]]
            slopes[k] += change[k]
            return float(change[k, -1]), slopes
        slopes = -change[:n]
        log_change = self.log_change[i]
        if k is None:
            return float(log_change[~self.free][0]), slopes
        slopes[k, j] += 1.0  # x changes in column j alone
        return float(log_change[self.free][k]), slopes
