"""The result of inference: coefficients relative to a reference class, with standard errors, tests and intervals.

Numbers and table are those of statsmodels' `MNLogit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import chdtrc, ndtr, ndtri

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, listed, plain
from nbsoftmax.functional import logsumexp, sigmoid, softmax
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.models.display import MOST_LISTED, Displayed, Table, counted
from nbsoftmax.models.likelihood import blocks
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.validation import Float64s


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


@dataclass(frozen=True, eq=False, repr=False)
class ProbaInterval(Displayed):
    """Probabilities and the ends of their confidence intervals.

    Attributes
    ----------
    proba : ndarray (n_samples, n_classes)
    low, high : ndarray (n_samples, n_classes)
        Lower and upper ends of the intervals.
    """

    proba: Float64s
    low: Float64s
    high: Float64s

    def _title(self) -> str:
        n_samples, n_classes = self.proba.shape
        return f"{counted(n_samples, 'sample')}, {counted(n_classes, 'class')}"

    def _lines(self) -> dict[str, str]:
        width = self.high - self.low
        if width.size == 0:
            return {}
        return {"width": f"mean {width.mean():.4g}, largest {width.max():.4g}"}


@dataclass(frozen=True, eq=False, repr=False)
class Inference(Displayed):
    """Coefficients relative to a reference class, with standard errors, tests and confidence intervals.

    Attributes
    ----------
    model : SoftmaxModel
        Model at the maximum of the likelihood, with zeros for the reference class.
    reference : label
    classes : ndarray (n_classes - 1,)
        The other labels: the rows of `params`.
    names : tuple of str
        The columns of `params`: the features, then "const" where there is an intercept.
    params : ndarray (n_classes - 1, n_names)
    covariance : ndarray (n_params, n_params)
        Covariance of `params.ravel()`.
    cov : {"fisher", "sandwich"}
    log_likelihood, log_likelihood_null : float
        The latter for a model with intercepts only, or without intercept for equal probabilities.
    n_samples : float
        The sum of the weights.
    """

    model: SoftmaxModel
    reference: Any
    classes: NDArray[Any]
    names: tuple[str, ...]
    params: Float64s
    covariance: Float64s
    cov: str
    log_likelihood: float
    log_likelihood_null: float
    n_samples: float

    @property
    def n_params(self) -> int:
        """Number of free parameters."""
        return int(self.params.size)

    @property
    def df_model(self) -> int:
        """Number of free parameters without the intercepts."""
        return self.n_params - (len(self.classes) if self._has_intercept else 0)

    @property
    def df_resid(self) -> float:
        """n_samples - n_params."""
        return self.n_samples - self.n_params

    @property
    def standard_errors(self) -> Float64s:
        """Standard errors, with the shape of `params`."""
        return np.sqrt(self.covariance.diagonal()).reshape(self.params.shape)

    @property
    def z(self) -> Float64s:
        """Params / standard_errors: for many samples, standard normal under the hypothesis that a coefficient is 0."""
        return np.asarray(self.params / self.standard_errors)

    @property
    def p_values(self) -> Float64s:
        """Two-sided p-values: P(|Z| >= |z|) for Z standard normal."""
        return np.asarray(2 * ndtr(-np.abs(self.z)))

    @property
    def aic(self) -> float:
        """Akaike information criterion, 2 n_params - 2 log_likelihood."""
        return 2 * self.n_params - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Bayesian information criterion, log(n_samples) n_params - 2 log_likelihood."""
        return float(np.log(self.n_samples)) * self.n_params - 2 * self.log_likelihood

    @property
    def pseudo_r2(self) -> float:
        """McFadden's pseudo R-squared, 1 - log_likelihood / log_likelihood_null."""
        return 1 - self.log_likelihood / self.log_likelihood_null

    @property
    def likelihood_ratio(self) -> ChiSquared:
        """Likelihood-ratio test of the hypothesis that all coefficients except the intercepts are 0."""
        return _chi_squared(2 * (self.log_likelihood - self.log_likelihood_null), self.df_model)

    def likelihood_ratio_test(self, restricted: Inference) -> ChiSquared:
        """Likelihood-ratio test of a nested model: one with fewer features, trained on the same samples."""
        fewer = set(restricted.names) < set(self.names)
        if not fewer or restricted.n_samples != self.n_samples or len(restricted.classes) != len(self.classes):
            raise InputValueError(
                f"restricted has {restricted.n_samples:g} samples, {len(restricted.classes) + 1} classes and the "
                f"columns {list(restricted.names)}; expected {self.n_samples:g}, {len(self.classes) + 1} and fewer "
                f"columns of {list(self.names)}; fit both to the same samples."
            )
        return _chi_squared(2 * (self.log_likelihood - restricted.log_likelihood), self.n_params - restricted.n_params)

    def wald_test(self, features: str | int | Sequence[str | int]) -> ChiSquared:
        """Wald test of the hypothesis that the coefficients of these features are 0 for all classes.

        Features are given by name or by column number.
        """
        several = features if isinstance(features, Sequence) and not isinstance(features, str) else [features]
        columns = [self._column(feature) for feature in several]
        if not columns or len(set(columns)) < len(columns):
            raise InputValueError(f"features is {plain(features)}, expected one or more features without repetition.")
        chosen = np.arange(self.n_params).reshape(self.params.shape)[:, columns].ravel()
        theta = self.params.ravel()[chosen]
        with one_thread():
            solved = np.linalg.solve(self.covariance[np.ix_(chosen, chosen)], theta)
            return _chi_squared(float(theta @ solved), theta.size)

    def conf_int(self, level: float = 0.95) -> Float64s:
        """Confidence intervals (n_classes - 1, n_names, 2): params -+ quantile * standard_errors."""
        reach = _quantile(level) * self.standard_errors
        return np.stack([self.params - reach, self.params + reach], axis=-1)

    def predict_interval(self, X: Any, *, level: float = 0.95) -> ProbaInterval:
        """Confidence intervals of the probabilities at `X`, by the delta method on the scale of log-odds.

            q_k = log(a_k / (1 - a_k)) = z_k - lse_{l != k} z_l,    dq_k = dz_k - sum_{l != k} a_l / (1 - a_k) dz_l

        On this scale the intervals stay between 0 and 1. They are intervals of the probability, not of the label.

        Parameters
        ----------
        X : array_like, frame or sparse matrix (n_samples, n_features)
        level : float in (0, 1)

        Returns
        -------
        ProbaInterval
        """
        quantile = _quantile(level)
        X = self.model._features(X)
        n, n_names = self.params.shape
        free = self.model.classes != self.reference
        covariance = self.covariance.reshape(n, n_names, n * n_names)
        log_odds, errors = np.empty((2, X.shape[0], n + 1))
        for rows, x in blocks(X, self._has_intercept, n * max(n_names, n + 1)):
            logits = np.zeros((len(x), n + 1))
            variance = np.empty((len(x), n, n))  # of the free logits
            with one_thread():
                logits[:, free] = x @ self.params.T
                for k in range(n):
                    variance[:, k] = np.einsum("ilp,ip->il", (x @ covariance[k]).reshape(len(x), n, n_names), x)
            # Row k of each sample: the other logits.
            others = logits[:, None, :] + np.where(np.eye(n + 1, dtype=bool), -np.inf, 0.0)
            others = others.reshape(-1, n + 1)
            slope = np.eye(n + 1) - softmax(others).reshape(len(x), n + 1, n + 1)
            slope = slope[:, :, free]  # (rows, K, K - 1)
            log_odds[rows] = logits - logsumexp(others).reshape(logits.shape)
            with one_thread():
                squares = np.einsum("ikl,ilm,ikm->ik", slope, variance, slope, optimize=True)
            errors[rows] = np.sqrt(np.maximum(squares, 0.0))
        reach = quantile * errors
        return ProbaInterval(
            *(np.asarray(sigmoid(q), np.float64) for q in (log_odds, log_odds - reach, log_odds + reach))
        )

    def summary(self, *, level: float = 0.95) -> str:
        """Table of results, in the layout of statsmodels' `MNLogit`, without date and time."""
        interval = self.conf_int(level)
        model = [
            ("Model:", "SoftmaxModel"),
            ("Reference:", str(self.reference)),
            ("Covariance:", self.cov),
            ("AIC:", f"{self.aic:.6g}"),
            ("BIC:", f"{self.bic:.6g}"),
            ("Df Model:", f"{self.df_model}"),
        ]
        fit = [
            ("No. Observations:", f"{self.n_samples:.10g}"),
            ("Df Residuals:", f"{self.df_resid:.10g}"),
            ("Pseudo R-squ.:", f"{self.pseudo_r2:.4g}"),
            ("Log-Likelihood:", f"{self.log_likelihood:.5g}"),
            ("LL-Null:", f"{self.log_likelihood_null:.5g}"),
            ("LLR p-value:", f"{self.likelihood_ratio.p_value:.4g}"),
        ]
        # The constant is the first row, as after statsmodels' add_constant.
        order = np.roll(np.arange(len(self.names)), 1 if self._has_intercept else 0).tolist()
        stub = max(10, *(len(f"y={label}") for label in self.classes), *map(len, self.names))
        width = stub + 68
        ends = f"[{(1 - level) / 2:.6g}", f"{(1 + level) / 2:.6g}]"
        columns = (self.params, self.standard_errors, self.z, self.p_values, interval[..., 0], interval[..., 1])
        lines = ["Softmax Regression Results".center(width), "=" * width]
        half = width // 2 - 1
        lines += [
            f"{a:<{half - len(b)}}{b}  {c:<{width - half - 2 - len(d)}}{d}"
            for (a, b), (c, d) in zip(model, fit, strict=True)
        ]
        for k, label in enumerate(self.classes):
            lines.append(("-" if k else "=") * width)
            lines.append(
                f"{f'y={label}':>{stub}}{'coef':>11}{'std err':>11}{'z':>11}{'P>|z|':>11}{ends[0]:>12}{ends[1]:>12}"
            )
            lines.append("-" * width)
            for j in order:
                coef, error, z, p, low, high = (float(column[k, j]) for column in columns)
                lines.append(
                    f"{self.names[j]:<{stub}}{_decimals(coef, 4):>11}{_decimals(error, 3):>11}{_decimals(z, 3):>11}"
                    f"{p:>11.3f}{_decimals(low, 3):>12}{_decimals(high, 3):>12}"
                )
        return "\n".join([*lines, "=" * width])

    def __str__(self) -> str:
        return self.summary()

    def _title(self) -> str:
        n_classes, n_names = self.params.shape
        return f"{counted(n_classes, 'class')} relative to {plain(self.reference)}, {counted(n_names, 'column')}"

    def _lines(self) -> dict[str, str]:
        return {
            "columns": listed(self.names, most=MOST_LISTED),
            "covariance": f"{self.cov}, {self.n_samples:.10g} samples",
            "likelihood": f"log-likelihood {self.log_likelihood:.6g}, pseudo R-squared {self.pseudo_r2:.4g}",
            "criteria": f"AIC {self.aic:.6g}, BIC {self.bic:.6g}",
        }

    def _table(self) -> Table:
        numbers = np.stack([self.params, self.standard_errors, self.z, self.p_values], axis=-1)
        return Table(
            ("class", "column", "coef", "std err", "z", "P>|z|"),
            [
                (plain(label), plain(name), *(f"{number:.4g}" for number in numbers[k, j]))
                for k, label in enumerate(self.classes.tolist())
                for j, name in enumerate(self.names)
            ],
        )

    @property
    def _has_intercept(self) -> bool:
        return len(self.names) > self.model.n_features

    def _column(self, feature: str | int) -> int:
        if isinstance(feature, str) and self.names.count(feature) == 1:
            return self.names.index(feature)
        if isinstance(feature, (int, np.integer)) and 0 <= feature < len(self.names):
            return int(feature)
        raise InputValueError(
            f"{plain(feature)} is not the name or number of one column; the columns are {list(self.names)}."
        )


def _chi_squared(statistic: float, df: int) -> ChiSquared:
    return ChiSquared(statistic, df, float(chdtrc(df, max(statistic, 0.0))))


def _quantile(level: float) -> float:
    if validation.number("level", level, low=0.0, high=1.0, low_open=True) == 1:
        raise InputValueError("level is 1, which makes the interval unbounded; give less, for example 0.95.")
    return float(ndtri((1 + level) / 2))


def _decimals(number: float, n: int) -> str:
    """Format with `n` decimals, or `n` significant digits for very small and large numbers, as statsmodels does."""
    return f"{number:.{n}f}" if 1e-4 <= abs(number) < 1e4 else f"{number:.{n}g}"
