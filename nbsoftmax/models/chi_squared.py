"""Chi-squared tests, and the Wald test of linear hypotheses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.special import chdtrc

from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.validation import Float64s

SINGULAR = 1e-12  # the smallest eigenvalue of a correlation matrix whose inverse has correct digits


@dataclass(frozen=True)
class ChiSquared:
    """Result of a chi-squared test.

    Attributes
    ----------
    statistic : float
    df : int
        Degrees of freedom.
    p_value : float
        Probability of a statistic at least as large under the null hypothesis.
    """

    statistic: float
    df: int
    p_value: float


def chi_squared(statistic: float, df: int) -> ChiSquared:
    """The test whose statistic has this chi-squared distribution under the null hypothesis."""
    return ChiSquared(statistic, df, float(chdtrc(df, max(statistic, 0.0))))


def quadratic_form(v: Float64s, matrix: Float64s) -> float | None:
    """v^T matrix^-1 v for a positive semidefinite matrix; None if it is singular to rounding errors."""
    scale = np.sqrt(np.where(matrix.diagonal() > 0, matrix.diagonal(), 1.0))
    values, vectors = np.linalg.eigh(matrix / scale / scale[:, None])
    along = vectors.T @ (v / scale)
    return None if values[0] <= SINGULAR else float((along**2 / values).sum())


def wald(R: Float64s, q: Float64s, params: Float64s, covariance: Float64s) -> ChiSquared:
    """Test of R params = q, (n_tests, n_params) and (n_tests,): (R params - q)^T (R cov R^T)^-1 (R params - q)."""
    with one_thread():
        statistic = quadratic_form(R @ params - q, R @ covariance @ R.T)
    if statistic is None:
        raise InputValueError(
            "the hypotheses are linearly dependent, or one contains no coefficient, or there are not more groups than "
            "hypotheses; leave some out."
        )
    return chi_squared(statistic, len(R))
