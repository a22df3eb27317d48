"""Objective and certified minimum of a problem, evaluated in NumPy."""

import warnings
from typing import Any

import numpy as np

import nbsoftmax as nbs


def cost(X: Any, y: Any, coef: Any, intercept: Any, l2: float, l1: float = 0.0) -> tuple[float, Any]:
    """Compute J and the probabilities (m, K) in float64; y has class indices."""
    z = X @ coef.T + intercept
    z -= z.max(axis=1, keepdims=True)
    at_label = z[np.arange(len(y)), y]
    a = np.exp(z, out=z)
    total = a.sum(axis=1, keepdims=True)
    value = np.mean(np.log(total[:, 0]) - at_label) + l2 / 2 * np.vdot(coef, coef) + l1 * np.abs(coef).sum()
    a /= total
    return float(value), a


def optimum(X: Any, y: Any, l2: float) -> tuple[float, float]:
    """Compute the minimum of J, and a relative bound for its distance to the true minimum.

    nbsoftmax finds the point; the bound is computed here, in NumPy. With g(coef) = min over the intercepts of J, which
    is l2-strongly convex,

        g - J* <= ||grad g||^2 / (2 l2),    grad g = dJ/dcoef where dJ/dintercept = 0

    Newton's method therefore first minimises over the intercepts, to rounding. The bound is at least eps of float64,
    the accuracy of J itself.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it does not converge to this tol; the bound below is what counts
        model = nbs.Trainer(solver="newton-cg", l2=l2, tol=1e-20).fit(X, y).model  # to the limit of float64
    coef, intercept = np.array(model.coef), np.array(model.intercept)
    one_hot = np.eye(len(intercept))[y]
    for _ in range(3):
        a = cost(X, y, coef, intercept, l2)[1]
        curvature = np.diag(a.mean(axis=0)) - a.T @ a / len(a)
        intercept -= np.linalg.lstsq(curvature, (a - one_hot).mean(axis=0), rcond=1e-12)[0]
    value, a = cost(X, y, coef, intercept, l2)
    gradient = (a - one_hot).T @ X / len(y) + l2 * coef
    bound = float(np.vdot(gradient, gradient)) / (2 * l2)
    return value, max(bound / value, float(np.finfo(float).eps))


def optimum_of_l1(X: Any, y: Any, l1: float) -> tuple[float, float]:
    """As `optimum` for an l1 penalty; the bound is the duality gap that nbsoftmax computes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = nbs.Trainer(l1=l1, tol=1e-12).fit(X, y)
    value, _ = cost(X, y, result.model.coef, result.model.intercept, 0.0, l1)
    return value, max(result.gap / value, float(np.finfo(float).eps))
