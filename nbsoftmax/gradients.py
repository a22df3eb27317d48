"""The gradients of linear, logistic and softmax regression side by side, in plain NumPy.

    prediction        cost J (mean over the samples)          dJ/dw, dJ/db: the mean of
    x.w + b           (prediction - y)^2                      2 (prediction - y) x,    2 (prediction - y)
    sigmoid(x.w + b)  binary cross-entropy                      (prediction - y) x,      (prediction - y)
    softmax(W x + b)  cross-entropy                             (prediction - y) x^T,    (prediction - y)

All three have the form `(prediction - target) x`; only the squared error has the factor 2. The functions illustrate the
mathematics, which docs/mathematics.md derives, and serve as a reference in tests. They store all predictions and always
compute in float64. Training uses the fused kernels of `nbsoftmax.objective` instead.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.functional import sigmoid, softmax
from nbsoftmax.kernels.overloads import python_only
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.validation import Float64s, Floats


def linear_gradient(X: ArrayLike, y: ArrayLike, coef: ArrayLike, intercept: float) -> tuple[Float64s, float]:
    """Gradient of the mean squared error of linear regression.

        J       = (1/m) sum_i (x_i.w + b - y_i)^2
        dJ/dw_j = (1/m) sum_i 2 (x_i.w + b - y_i) x_ij        dJ/db = (1/m) sum_i 2 (x_i.w + b - y_i)

    Parameters
    ----------
    X : array_like (n_samples, n_features)
    y : array_like (n_samples,)
        Any finite numbers.
    coef : array_like (n_features,)
    intercept : float

    Returns
    -------
    dcoef : ndarray (n_features,), float64
    dintercept : float

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, values that are not finite numbers, and zero samples.

    Examples
    --------
    >>> linear_gradient([[1.0]], [2.0], [2.0], 1.0)  # prediction 3, error 1
    (array([2.]), 2.0)
    """
    x, w, b = _one_output(X, coef, intercept)
    target = validation.finite("y", y, x.shape[:1], meaning="one number for each row of X")
    dcoef, dintercept = _mean_of_products(2 * (_product(x, w) + b - target), x)
    return dcoef, float(dintercept)


def logistic_gradient(X: ArrayLike, y: ArrayLike, coef: ArrayLike, intercept: float) -> tuple[Float64s, float]:
    """Gradient of the mean binary cross-entropy of logistic regression.

        J       = -(1/m) sum_i (y_i log a_i + (1 - y_i) log(1 - a_i)),    a_i = sigmoid(x_i.w + b)
        dJ/dw_j = (1/m) sum_i (a_i - y_i) x_ij                            dJ/db = (1/m) sum_i (a_i - y_i)

    Parameters
    ----------
    X : array_like (n_samples, n_features)
    y : array_like (n_samples,)
        Classes 0 and 1 (integers or booleans), or probabilities of class 1 (floats).
    coef : array_like (n_features,)
    intercept : float

    Returns
    -------
    dcoef : ndarray (n_features,), float64
    dintercept : float

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, values that are not finite numbers, targets outside 0 to 1, and zero samples.

    Examples
    --------
    >>> dcoef, dintercept = logistic_gradient([[1.0]], [1], [2.0], 1.0)  # prediction sigmoid(3) = 0.9526
    >>> round(dintercept, 4)
    -0.0474
    """
    x, w, b = _one_output(X, coef, intercept)
    z = _product(x, w) + b
    validation.finite("y", y, z.shape, meaning="one class or probability for each row of X")
    target = validation.binary_targets(y, z, sample_weight=None, class_weight=None, ignore_index=None).y
    dcoef, dintercept = _mean_of_products(sigmoid(z) - target, x)
    return dcoef, float(dintercept)


def softmax_gradient(X: ArrayLike, y: ArrayLike, coef: ArrayLike, intercept: ArrayLike) -> tuple[Float64s, Float64s]:
    """Gradient of the mean cross-entropy of softmax regression.

        J        = -(1/m) sum_i sum_k y_ik log a_ik,    a_i = softmax(W x_i + b)
        dJ/dw_kj = (1/m) sum_i (a_ik - y_ik) x_ij       dJ/db_k = (1/m) sum_i (a_ik - y_ik)

    Parameters
    ----------
    X : array_like (n_samples, n_features)
    y : array_like
        Class indices, integers (n_samples,) in 0..n_classes-1; or probabilities, (n_samples, n_classes).
    coef : array_like (n_classes, n_features)
    intercept : array_like (n_classes,)

    Returns
    -------
    dcoef : ndarray (n_classes, n_features), float64
    dintercept : ndarray (n_classes,), float64

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, values that are not finite numbers, labels out of range, rows that are not
        probability distributions, and zero samples.

    Examples
    --------
    >>> dcoef, dintercept = softmax_gradient([[1.0]], [2], [[2.0], [3.0], [5.0]], [1.0, 1.0, 1.0])
    >>> dintercept.round(4)  # prediction minus target: [0.0420, 0.1142, 0.8438] - [0, 0, 1]
    array([ 0.042 ,  0.1142, -0.1562])
    """
    x = validation.some_samples(validation.design(X, dtype=np.float64))
    b = validation.as_floats("intercept", intercept)
    b = validation.finite("intercept", b, (b.size,), meaning="one intercept for each class")
    W = validation.finite("coef", coef, (b.size, x.shape[1]), meaning="(n_classes, n_features)")
    validation.logits(b, name="intercept", min_classes=2)
    a = softmax(_product(x, W.T) + b)  # (n_samples, n_classes)
    target = validation.targets(y, x.shape[0], b.size, np.float64, n_of="X")
    y_rows = target.proba if target.soft else np.eye(b.size)[target.labels]  # (n_samples, n_classes)
    dcoef, dintercept = _mean_of_products(a - y_rows, x)
    return dcoef, dintercept


def _one_output(X: ArrayLike, coef: ArrayLike, intercept: float) -> tuple[Floats, Float64s, float]:
    """Check X, the coefficients and the intercept of a model with one output."""
    x = validation.some_samples(validation.design(X, dtype=np.float64))
    w = validation.finite("coef", coef, x.shape[1:], meaning="one weight for each feature")
    b = validation.finite("intercept", np.atleast_1d(intercept), (1,), meaning="one number")
    return x, w, float(b[0])


def _mean_of_products(error: Floats, x: Floats) -> tuple[Float64s, Float64s]:
    """Return mean_i error_i x_i and mean_i error_i, for errors (m,) or (m, n_classes)."""
    return np.asarray(_product(error.T, x) / x.shape[0], np.float64), np.asarray(error.mean(axis=0), np.float64)


def _product(a: Floats, b: Floats) -> Floats:
    """Matrix product on one thread, because the last bits of BLAS depend on the number of threads."""
    with one_thread():
        return np.asarray(a @ b)


python_only(
    "compiled code has loss_and_grad, the fused kernel of softmax regression",
    linear_gradient,
    logistic_gradient,
    softmax_gradient,
)
