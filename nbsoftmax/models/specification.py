"""Tests of whether the model is right: of omitted features, and of the independence of irrelevant alternatives.

Omitted features: with the score g and the information matrix H of the parameters of all features, in the model or
not, at the maximum of the model, Rao's statistic is g^T H^-1 g.

Irrelevant alternatives: J. Hausman and D. McFadden, "Specification tests for the multinomial logit model", Econometrica
52 (1984), compare the coefficients of a fit without some classes, theta_s, with those of the full fit, theta_f:

    (theta_s - theta_f)^T (cov_s - cov_f)^-1 (theta_s - theta_f)
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.backends.cuda.device import on_host
from nbsoftmax.backends.row_blocks import blocks
from nbsoftmax.errors import InputValueError, warn
from nbsoftmax.functional import softmax
from nbsoftmax.kernels.predict import BEST
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.models.chi_squared import ChiSquared, chi_squared, quadratic_form
from nbsoftmax.models.predictions import predictions
from nbsoftmax.models.robust import KEPT_ROWS
from nbsoftmax.problem import Problem
from nbsoftmax.validation import Float64s


def score_test(
    problem: Problem, device: str, Z: Any, params: Float64s, free: NDArray[np.bool_], n_names: int
) -> ChiSquared:
    """Rao's test that the coefficients of the columns of Z (n_samples, n_omitted) are 0 for all classes.

    `params` (n_classes, n_features + 1) are those of the maximum, of which the first `n_names` columns are free.
    """
    array, names = validation.frame(Z.to_frame() if validation.is_series(Z) else Z, name="Z")
    if not validation.is_sparse(array):
        array = validation.as_array("Z", array)
        array = array[:, None] if array.ndim == 1 else array
    Z = validation.features(array, name="Z", names=names)
    if Z.shape[0] != problem.n_samples or Z.shape[1] == 0:
        hint = ""
        if problem.encoding is not None and problem.encoding.drops_rows:
            hint = "; the fit leaves out rows with missing values: give the others, " + KEPT_ROWS.format("Z")
        raise InputValueError(
            f"Z has the shape {Z.shape}; expected one row for each of the {problem.n_samples} samples of the fit, and "
            f"at least one column{hint}."
        )
    if problem.class_weight is not None:
        raise InputValueError("the score test is not defined for a fit with class_weight; fit without it.")
    (X,) = on_host(device, problem.X)
    weight, exponent = validation.scaled(problem.sample_weight)
    size = np.abs(Z).max(axis=0)  # the unit of a column has no effect, but its squares may overflow, or be 0
    size = np.asarray(size.toarray().ravel() if validation.is_sparse(Z) else size, np.float64)
    size[size == 0] = 1.0
    y = problem.y if problem.y.ndim == 2 else None
    n, n_all = int(free.sum()), n_names + Z.shape[1]
    score, information = np.zeros((n, n_all)), np.zeros((n, n_all, n, n_all))
    with one_thread():
        for rows, x in blocks(X, n_names > X.shape[1], n * n_all):
            z = Z[rows]
            both = np.column_stack([x, (z.toarray() if validation.is_sparse(z) else z) / size])
            logits = x @ params[:, :n_names].T
            if problem.offset.size:
                logits += problem.offset[rows]
            a = np.asarray(softmax(logits), np.float64)[:, free]
            target = (np.eye(n + 1)[problem.y[rows]] if y is None else y[rows])[:, free]
            s = weight[rows, None] if weight.size else np.ones((len(x), 1))
            score += (s * (target - a)).T @ both
            for k in range(n):
                for other in range(k, n):
                    curvature = s[:, 0] * a[:, k] * ((k == other) - a[:, other])
                    information[k, :, other] += both.T @ (curvature[:, None] * both)
                    information[other, :, k] = information[k, :, other].T
        score[:, :n_names] = 0.0  # it is the maximum for these
        statistic = quadratic_form(score.ravel(), information.reshape(n * n_all, -1))
    if statistic is None:
        raise InputValueError("the columns of Z are collinear with each other or with those of X; leave some out.")
    return chi_squared(validation.in_units(statistic, exponent), n * Z.shape[1])


def hausman(theta: Float64s, covariance: Float64s, fewer: Float64s, covariance_of_fewer: Float64s) -> ChiSquared:
    """The test that a fit without some classes estimates the same coefficients.

    The difference of the covariances is positive definite for many samples alone. The statistic may be negative, which
    Hausman and McFadden take as no evidence against the model: the p-value is then 1.
    """
    with one_thread():
        change = fewer - theta
        within = covariance_of_fewer - covariance
        scale = np.sqrt(covariance_of_fewer.diagonal())
        change, within = change / scale, within / scale / scale[:, None]  # so that the units have no effect
        if np.linalg.eigvalsh(within)[0] <= 0:
            warn(
                "the difference of the covariances is not positive definite, so the statistic need not be chi-squared; "
                "the test needs more samples.",
            )
        return chi_squared(float(change @ np.linalg.lstsq(within, change, rcond=None)[0]), theta.size)


def classification_table(problem: Problem, device: str, coef: Float64s, intercept: Float64s) -> Float64s:
    """Weights of the samples by true class (rows) and most probable class (columns), (n_classes, n_classes)."""
    (X,) = on_host(device, problem.X)
    offset = problem.offset if problem.offset.size else None
    best = predictions(coef, intercept, X, BEST, offset=offset)[1][:, 0]
    table = np.zeros((len(coef), len(coef)))
    weight = problem.weights_or_ones()
    for k in range(len(coef)):
        share = problem.y[:, k] if problem.y.ndim == 2 else problem.y == k
        table[k] = np.bincount(best, weight * share, minlength=len(coef))
    return table
