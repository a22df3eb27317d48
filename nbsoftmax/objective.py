"""The objective of softmax regression: a backend's sums over rows, divided by the weights, plus penalties."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import check
from nbsoftmax.backends import Backend
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.check import Float64s


class Objective:
    """Penalised cross-entropy of a linear model, with gradient and Hessian-vector product.

        J(W, b) = (1 / S) sum_i L(W x_i + b + offset_i, y_i) + l2/2 ||W||^2 + l1 ||W||_1

    with L as in `cross_entropy` (weights and label smoothing included) and S what its mean divides by. X is read
    once per evaluation, in its own dtype and layout; the logits never exist as an array. Values and gradients are
    float64 and the same, bit for bit, for every number of threads.

    Parameters
    ----------
    X : array_like (n_samples, n_features)
        Finite. float32 and float64 arrays of any strides are used without a copy.
    y : array_like
        Class indices, integers (n_samples,); or probabilities (n_samples, n_classes).
    n_classes : int, optional
        At least 2. Default: the largest class index + 1, or the columns of `y`.
    sample_weight : array_like (n_samples,), optional
    class_weight : array_like (n_classes,) or dict of class index to weight, optional
    l1, l2 : float
        Penalties on W; the intercept b is never penalised.
    fit_intercept : bool
        If false, the last column of `params` takes no part, and its gradient is 0.
    label_smoothing : float in [0, 1]
    offset : array_like (n_samples, n_classes), optional
        Added to the logits, with fixed coefficient 1.
    n_threads : int, optional
        Default: as many as Numba would use.
    device : {"cpu"}

    Attributes
    ----------
    n_samples, n_features, n_classes : int
    shape : tuple
        Of `params`: (n_classes, n_features + 1), the intercept in the last column.
    weight_sum : float
        S.
    separable_below : float
        If J is below this, the classes can be told apart without error, and no minimum exists: it would be 0 at
        infinity. 0 where that cannot be told from J: with a penalty, label smoothing or probabilities as targets.
    backend : Backend
        The sums over rows, unpenalised.
    """

    def __init__(
        self,
        X: ArrayLike,
        y: ArrayLike,
        *,
        n_classes: int | None = None,
        sample_weight: ArrayLike | None = None,
        class_weight: Mapping[int, float] | ArrayLike | None = None,
        l1: float = 0.0,
        l2: float = 0.0,
        fit_intercept: bool = True,
        label_smoothing: float = 0.0,
        offset: ArrayLike | None = None,
        n_threads: int | None = None,
        device: str = "cpu",
    ) -> None:
        check.choice("device", device, ("cpu",))
        self.l1 = check.number("l1", l1, low=0.0)
        self.l2 = check.number("l2", l2, low=0.0)
        self.fit_intercept = check.flag("fit_intercept", fit_intercept)
        array = check.design(X)
        self.n_samples, self.n_features = array.shape
        self.dtype: np.dtype[Any] = array.dtype
        self.n_classes = check.n_classes(n_classes, y)
        target = check.weighted_targets(
            y,
            self.n_samples,
            self.n_classes,
            array.dtype,
            sample_weight=sample_weight,
            class_weight=class_weight,
            label_smoothing=label_smoothing,
            n_of="X",
        )
        if target.total == 0:
            raise check.InputValueError(
                "the weights of the samples sum to 0 (or there are no samples); nothing is left to learn from."
            )
        self.weight_sum = target.total
        self.shape = (self.n_classes, self.n_features + 1)
        # Where every sample's share of J is below log 2, each is given its class with more than one half.
        self.separable_below = np.log(2) * target.least_weight() / self.weight_sum if self.l1 == self.l2 == 0 else 0.0
        self.backend: Backend = DenseBackend(
            array,
            target,
            offset=check.offset(offset, (self.n_samples, self.n_classes), array.dtype),
            fit_intercept=self.fit_intercept,
            n_threads=check.n_threads(n_threads),
        )

    def value(self, params: ArrayLike) -> float:
        """J at `params`, float64 (n_classes, n_features + 1)."""
        w = check.params(params, self.shape)
        return self.backend.loss(w) / self.weight_sum + self._penalty(w)

    def value_and_grad(self, params: ArrayLike) -> tuple[float, Float64s]:
        """J and its gradient, float64 of the shape of `params`, in one pass over X.

        Raises
        ------
        InputValueError
            With l1 > 0, where J has no gradient at 0.
        """
        self._refuse_l1("gradient")
        w = check.params(params, self.shape)
        loss, grad = self.backend.loss_and_grad(w)
        grad /= self.weight_sum
        grad[:, :-1] += self.l2 * w[:, :-1]
        return loss / self.weight_sum + self._penalty(w), grad

    def hvp(self, params: ArrayLike, v: ArrayLike) -> Float64s:
        """The Hessian of J at `params` times `v`, float64 of the shape of `params`, in one pass over X."""
        self._refuse_l1("Hessian")
        w, direction = check.params(params, self.shape), check.params(v, self.shape, name="v")
        product = self.backend.hess_vec(w, direction) / self.weight_sum
        product[:, :-1] += self.l2 * direction[:, :-1]
        return product

    def gram(self, params: ArrayLike) -> Float64s:
        """The mean over the classes of the diagonal blocks of the Hessian of J, without its penalty.

            (1 / S) sum_i h_i mean_k a_ik (1 - a_ik) (x_i, 1) (x_i, 1)^T        (n_features + 1, n_features + 1)

        with h_i the weight of sample i. Together with the penalty it preconditions the Hessian.
        """
        return self.backend.gram(check.params(params, self.shape)) / self.weight_sum

    def curvatures(self, params: ArrayLike) -> Float64s:
        """The diagonal of the Hessian of J, without its penalty, of the shape of `params`."""
        return self.backend.curvatures(check.params(params, self.shape)) / self.weight_sum

    def blocks(self, params: ArrayLike) -> Float64s:
        """The diagonal blocks of the Hessian of J, without its penalty: (n_classes, n_features + 1, n_features + 1)."""
        return self.backend.class_grams(check.params(params, self.shape)) / self.weight_sum

    def hessian(self, params: ArrayLike) -> Float64s:
        """The Hessian of J, without its penalty: (n_classes, n_features + 1, n_classes, n_features + 1)."""
        return self.backend.hessian(check.params(params, self.shape)) / self.weight_sum

    def margins(self, params: ArrayLike) -> Float64s:
        """The least and the greatest z_y - max_{k != y} z_k of each class's samples, without offset: (2, n_classes).

        Over samples of positive weight; inf and -inf for classes without any, NaN where targets are probabilities.
        """
        return self.backend.margins(check.params(params, self.shape))

    def _penalty(self, w: Float64s) -> float:
        coef = w[:, :-1]
        # Without a penalty not even its sum is formed: it may overflow, and 0 * inf is NaN.
        ridge = 0.5 * self.l2 * float(np.vdot(coef, coef)) if self.l2 > 0 else 0.0
        return ridge + (self.l1 * float(np.abs(coef).sum()) if self.l1 > 0 else 0.0)

    def _refuse_l1(self, what: str) -> None:
        if self.l1 > 0:
            raise check.InputValueError(
                f"the objective has no {what} where a coefficient is 0, since l1 is {self.l1:g}; use value, or l1=0."
            )
