"""Mean cross-entropy of a linear model and its gradient, as one function."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.backends.in_memory import in_memory
from nbsoftmax.kernels.overloads import callable_from_numba
from nbsoftmax.problem import Problem
from nbsoftmax.validation import Float64s


def loss_and_grad(
    X: Any,
    y: ArrayLike,
    coef: ArrayLike,
    intercept: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
) -> tuple[float, Float64s, Float64s]:
    """Mean cross-entropy of a linear model, and its gradient with respect to the weights and the intercepts.

        J        = (1 / S) sum_i s_i L(W x_i + b, y_i)
        dJ/dw_kj = (1 / S) sum_i s_i (a_ik - y_ik) x_ij       dJ/db_k = (1 / S) sum_i s_i (a_ik - y_ik)

    with the loss L and the divisor S of `cross_entropy`, and a_i = softmax(W x_i + b). X is read once, and the logits
    are not stored. The numbers are those of `Objective.value_and_grad`, which validates X and y only once and is
    faster for repeated evaluations. It can also be called in functions that Numba compiles: see "Use from Numba
    code" in the documentation.

    Parameters
    ----------
    X : array_like or sparse matrix (n_samples, n_features)
        Finite. float32 and float64 arrays are used without a copy. In compiled functions an array.
    y : array_like
        Class indices, integers (n_samples,) in 0..n_classes-1; or probabilities, (n_samples, n_classes).
    coef : array_like (n_classes, n_features)
    intercept : array_like (n_classes,)
    sample_weight, class_weight, label_smoothing
        As in `cross_entropy`.

    Returns
    -------
    loss : float
    dcoef : ndarray (n_classes, n_features), float64
    dintercept : ndarray (n_classes,), float64

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, values that are not finite numbers, and input that `cross_entropy` rejects.

    Examples
    --------
    >>> loss, dcoef, dintercept = loss_and_grad([[1.0]], [2], [[2.0], [3.0], [5.0]], [1.0, 1.0, 1.0])
    >>> dintercept.round(4)  # prediction minus target: [0.0420, 0.1142, 0.8438] - [0, 0, 1]
    array([ 0.042 ,  0.1142, -0.1562])
    """
    b = validation.as_floats("intercept", intercept)
    b = validation.finite("intercept", b, (b.size,), meaning="one intercept for each class")
    problem = Problem.from_indices(
        X, y, n_classes=b.size, sample_weight=sample_weight, class_weight=class_weight, label_smoothing=label_smoothing
    )
    W = validation.finite("coef", coef, (b.size, problem.n_features), meaning="(n_classes, n_features)")
    backend = in_memory(problem.X, problem.target, offset=problem.offset, fit_intercept=True, n_threads=None)
    loss, gradient = backend.loss_and_grad(np.column_stack([W, b]))
    gradient /= backend.weight_sum
    return loss / backend.weight_sum, gradient[:, :-1].copy(), gradient[:, -1].copy()


callable_from_numba("linear", loss_and_grad)
