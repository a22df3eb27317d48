"""Inference: how far the coefficients of an unpenalised fit can be trusted.

Softmax leaves one class free, so coefficients are told relative to a reference class r: theta_k = w_k - w_r, k != r.
At the maximum of the log-likelihood l = -sum_i s_i L_i, with x_i = (features, 1) and p the number of parameters,

    H_kl = sum_i s_i a_ik ([k = l] - a_il) x_i x_i^T,  k, l != r          the information, -d2 l / d theta2
    cov  = H^-1                                                           "fisher"
    cov  = H^-1 (sum_i g_i g_i^T) H^-1,  g_ik = s_i (a_ik - y_ik) x_i     "sandwich"

Sources: A. Agresti, "Categorical Data Analysis" (2013), ch. 8; H. White, "Maximum likelihood estimation of misspecified
models", Econometrica 50 (1982), for the sandwich. Numbers and table are those of statsmodels' `MNLogit`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.linalg import cho_factor, cho_solve, eigh
from scipy.special import chdtrc, ndtr, ndtri

from nbsoftmax import validation
from nbsoftmax.backends.cuda.device import on_host
from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.functional import cross_entropy_and_grad, logsumexp, sigmoid, softmax
from nbsoftmax.kernels.kinds import PROBA
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.models.softmax import SoftmaxModel, checked_model
from nbsoftmax.objective import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import Problem
from nbsoftmax.validation import Float64s, Floats

COVARIANCES = ("fisher", "sandwich")
MOST_PARAMS = 10_000  # the covariance is then 0.8 GB, and a few such arrays exist at a time
BLOCK_BYTES = 2**21
MOST_STEPS = 12  # Newton's method doubles its digits; where it needs more, there is no maximum to go to
FURTHEST = 1.0  # standard errors between a model and the maximum that inference is about


@dataclass(frozen=True)
class ChiSquared:
    """A test: its statistic, degrees of freedom, and the probability of one as large if the hypothesis holds."""

    statistic: float
    df: int
    p_value: float


@dataclass(frozen=True, eq=False)
class ProbaInterval:
    """Probabilities and the ends of their confidence intervals, each (n_samples, n_classes)."""

    proba: Float64s
    low: Float64s
    high: Float64s


@dataclass(frozen=True, eq=False)
class Inference:
    """Coefficients relative to a reference class, with their uncertainty.

    Attributes
    ----------
    model : SoftmaxModel
        The maximum of the likelihood, with zeros for the reference class.
    reference : label
    classes : ndarray (n_classes - 1,)
        The other labels: the rows of `params`.
    names : tuple of str
        The columns of `params`: the features, then "const" where there is an intercept.
    params : ndarray (n_classes - 1, n_names)
    covariance : ndarray (n_params, n_params)
        Of `params` read row by row.
    cov : {"fisher", "sandwich"}
    log_likelihood, log_likelihood_null : float
        The latter with intercepts only; of a model without intercept, with equal probabilities.
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
        """Free parameters."""
        return int(self.params.size)

    @property
    def df_model(self) -> int:
        """Free parameters that are no intercepts."""
        return self.n_params - (len(self.classes) if self._has_intercept else 0)

    @property
    def df_resid(self) -> float:
        """n_samples - n_params."""
        return self.n_samples - self.n_params

    @property
    def standard_errors(self) -> Float64s:
        """Square roots of the variances, of the shape of `params`."""
        return np.sqrt(self.covariance.diagonal()).reshape(self.params.shape)

    @property
    def z(self) -> Float64s:
        """Params / standard_errors: standard normal where a coefficient is 0 and samples are many."""
        return np.asarray(self.params / self.standard_errors)

    @property
    def p_values(self) -> Float64s:
        """P(|Z| >= |z|) for Z standard normal."""
        return np.asarray(2 * ndtr(-np.abs(self.z)))

    @property
    def aic(self) -> float:
        """Akaike's criterion, 2 n_params - 2 log_likelihood."""
        return 2 * self.n_params - 2 * self.log_likelihood

    @property
    def bic(self) -> float:
        """Schwarz's criterion, log(n_samples) n_params - 2 log_likelihood."""
        return float(np.log(self.n_samples)) * self.n_params - 2 * self.log_likelihood

    @property
    def pseudo_r2(self) -> float:
        """McFadden's 1 - log_likelihood / log_likelihood_null."""
        return 1 - self.log_likelihood / self.log_likelihood_null

    @property
    def likelihood_ratio(self) -> ChiSquared:
        """Test that all coefficients but the intercepts are 0."""
        return _chi_squared(2 * (self.log_likelihood - self.log_likelihood_null), self.df_model)

    def likelihood_ratio_test(self, restricted: Inference) -> ChiSquared:
        """Test of a model with fewer features, trained on the same samples, within this one."""
        fewer = set(restricted.names) < set(self.names)
        if not fewer or restricted.n_samples != self.n_samples or len(restricted.classes) != len(self.classes):
            raise InputValueError(
                f"restricted has {restricted.n_samples:g} samples, {len(restricted.classes) + 1} classes and the "
                f"columns {list(restricted.names)}; expected {self.n_samples:g}, {len(self.classes) + 1} and fewer "
                f"columns of {list(self.names)}; fit both to the same samples."
            )
        return _chi_squared(2 * (self.log_likelihood - restricted.log_likelihood), self.n_params - restricted.n_params)

    def wald_test(self, features: str | int | Sequence[str | int]) -> ChiSquared:
        """Test that the coefficients of these features, names or column numbers, are 0 for all classes together."""
        several = features if isinstance(features, Sequence) and not isinstance(features, str) else [features]
        columns = [self._column(feature) for feature in several]
        if not columns or len(set(columns)) < len(columns):
            raise InputValueError(f"features is {plain(features)}, expected one or more, each once.")
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

        so that they stay between 0 and 1. They are about the probability of a class, not about the class drawn.

        Parameters
        ----------
        X : array_like or frame (n_samples, n_features)
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
        for rows, x in _blocks(X, self._has_intercept, n * max(n_names, n + 1)):
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
        """The table that statsmodels prints for `MNLogit`, without date and time."""
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
        # The constant comes first, where statsmodels' add_constant puts it.
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

    @property
    def _has_intercept(self) -> bool:
        return len(self.names) > self.model.n_features

    def _column(self, feature: str | int) -> int:
        if isinstance(feature, str) and self.names.count(feature) == 1:
            return self.names.index(feature)
        if isinstance(feature, (int, np.integer)) and 0 <= feature < len(self.names):
            return int(feature)
        raise InputValueError(f"there is no one column {plain(feature)}; the columns are {list(self.names)}.")


def inference(
    model: SoftmaxModel,
    X: Any,
    y: Any,
    *,
    sample_weight: ArrayLike | None = None,
    fit_intercept: bool = True,
    cov: str = "fisher",
    reference: Any = None,
    n_threads: int | None = None,
) -> Inference:
    """Inference for a model and the data that it was trained on; of a fresh fit, `FitResult.inference` knows them.

    The table is about the maximum of the likelihood: Newton steps lead there from the model, whose own distance
    depends on the `tol` of its fit.

    Parameters
    ----------
    model : SoftmaxModel
        Trained without penalty.
    X : array_like or frame (n_samples, n_features)
    y : array_like
        Labels (n_samples,); or shares of the classes (n_samples, n_classes), with the counts as weights.
    sample_weight : array_like (n_samples,), optional
        For "fisher", how often a sample was seen; for "sandwich", any weights that do not depend on the labels.
    fit_intercept : bool
        Whether the model was trained with an intercept.
    cov : {"fisher", "sandwich"}
        "fisher" trusts the model; "sandwich" also holds where the probabilities are no softmax of linear scores. It
        makes no correction for small samples.
    reference : label, optional
        Default: the first of `model.classes`.
    n_threads : int, optional

    Returns
    -------
    Inference

    Raises
    ------
    InputValueError
        If the model is more than a standard error from the maximum of the likelihood, as one trained with a penalty or
        on other data is; or if there is no single maximum: columns that are collinear, or classes that are told
        apart without error. The columns are named.
    """
    array = checked_model(model)._features(X)
    y = validation.target_array(y)
    if y.ndim != 2:
        y = validation.codes_of(y, model.classes, n_samples=array.shape[0])
    problem = Problem.from_indices(array, y, classes=model.classes, sample_weight=sample_weight)
    options = ObjectiveOptions(
        fit_intercept=validation.flag("fit_intercept", fit_intercept), n_threads=validation.n_threads(n_threads)
    )
    return at_maximum(model, problem, options, cov=cov, reference=reference)


def at_maximum(
    model: SoftmaxModel, problem: Problem, options: ObjectiveOptions, *, cov: str, reference: Any
) -> Inference:
    """Inference for a model, and the problem and options that it was fitted with."""
    validation.choice("cov", cov, COVARIANCES)
    base = 0 if reference is None else _position(reference, model.classes)
    _refuse_what_is_no_likelihood(problem, options, cov)
    # The information matrix of float32 columns far from 0 has few digits, or none, from products in float32.
    objective = PenalizedLoss(problem, options).in_float64(hessian=True)
    n_names = model.n_features + objective.fit_intercept
    if (model.n_classes - 1) * n_names > MOST_PARAMS:
        raise InputValueError(
            f"the covariance of {(model.n_classes - 1) * n_names} parameters would not fit in memory; "
            f"expected at most {MOST_PARAMS}; use fewer features."
        )
    (X,) = on_host(options.device, problem.X)
    target = problem.target_in_float64()
    counts = _counts(target)
    if not counts.all():
        raise InputValueError(
            f"no sample of positive weight has the label {model.classes[counts.argmin()].item()!r}, so the likelihood "
            "has no maximum; leave the class out of the fit."
        )
    free = np.arange(model.n_classes) != base
    names = _names(model, objective.fit_intercept)
    with one_thread():  # the last bits of BLAS and LAPACK depend on the number of their threads
        params, inverse, log_likelihood = _maximum(model, objective, X, free, names, target.exponent)
        if cov == "sandwich":
            inverse = inverse @ _meat(X, target, params, free, objective.fit_intercept) @ inverse
        else:
            inverse = np.ldexp(inverse, -target.exponent)
    if objective.fit_intercept:
        null = float((counts * np.log(counts / counts.sum())).sum())
    else:
        null = -float(counts.sum() * np.log(model.n_classes))
    theta = params - params[base]
    return Inference(
        model=SoftmaxModel(theta[:, :-1], theta[:, -1], model.classes, model.feature_names),
        reference=model.classes[base].item(),
        classes=model.classes[free],
        names=names,
        params=theta[free, :n_names],
        covariance=(inverse + inverse.T) / 2,
        cov=cov,
        log_likelihood=validation.in_units(log_likelihood, target.exponent),
        log_likelihood_null=validation.in_units(null, target.exponent),
        n_samples=objective.weight_sum,
    )


def _refuse_what_is_no_likelihood(problem: Problem, options: ObjectiveOptions, cov: str) -> None:
    penalty = None if options.penalty.is_zero else f"the penalty {options.penalty}"
    if problem.label_smoothing:
        penalty = f"label_smoothing={problem.label_smoothing:g}"
    if penalty:
        raise InputValueError(
            f"the fit has {penalty}, which pulls its coefficients towards 0: standard errors and tests would say "
            "nothing about how far they are from the truth; fit without it for inference."
        )
    if problem.class_weight is not None and cov == "fisher":
        raise InputValueError(
            'the fit has class_weight, which "fisher" would take for samples that were never seen; '
            'use cov="sandwich", or fit without it.'
        )


def _maximum(
    model: SoftmaxModel,
    objective: PenalizedLoss,
    X: Floats,
    free: NDArray[np.bool_],
    names: tuple[str, ...],
    exponent: int,
) -> tuple[Float64s, Float64s, float]:
    """Newton steps to the maximum: its parameters (K, N + 1), the inverse of the information, the log-likelihood.

    The last two are in the units of the weights, 2^exponent.
    """
    params = np.column_stack([model.coef, model.intercept])
    n, n_names = int(free.sum()), len(names)
    reach = np.ones(params.shape[1])
    reach[:-1] = np.abs(X).max(axis=0)
    scale_free = 8 * np.sqrt(np.finfo(objective.dtype).eps)

    def factor_here() -> _Factor:
        information = objective.backend.hessian(params)[free][:, :n_names][:, :, free][:, :, :, :n_names]
        return _factor(information.reshape(n * n_names, -1), objective, names)

    for step_number in range(MOST_STEPS):
        grad = objective.backend.loss_and_grad(params)[1]
        factor = factor_here()
        step = np.zeros_like(params)
        slope = grad[free, :n_names].ravel()
        solved = -cho_solve(factor.cholesky, slope * factor.scale) * factor.scale
        step[free, :n_names] = solved.reshape(n, n_names)
        distance = float(np.sqrt(validation.in_units(max(0.0, -slope @ solved), exponent)))
        if step_number == 0 and not distance <= FURTHEST:
            raise InputValueError(
                f"the model is {distance:.3g} standard errors from the maximum of the likelihood of these data: it was "
                "trained with a penalty, with other weights or on other data, or its fit has not converged; "
                "give what it was trained on, or fit again without penalty and with a smaller tol."
            )
        params += step
        moved = np.abs(step) * reach  # what each column adds to a logit, at most
        if moved.sum(axis=1).max() <= scale_free:
            return params, factor_here().inverse(), -objective.backend.loss(params)
    raise _separated(step, reach, model, names)


@dataclass(frozen=True, eq=False)
class _Factor:
    """A positive matrix, scaled to a diagonal of ones, as its Cholesky factor."""

    cholesky: Any
    scale: Float64s

    def inverse(self) -> Float64s:
        inverse: Float64s = cho_solve(self.cholesky, np.diag(self.scale)) * self.scale[:, None]
        return inverse


def _factor(information: Float64s, objective: PenalizedLoss, names: tuple[str, ...]) -> _Factor:
    diagonal = information.diagonal()
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    noise = 16 * len(scale) * float(np.finfo(objective.dtype).eps)
    try:
        cholesky = cho_factor(information * scale * scale[:, None], lower=True)
    except np.linalg.LinAlgError:
        cholesky = None
    if cholesky is not None and (cholesky[0].diagonal() ** 2).min() > noise:  # 1 - R^2 of a column on those before it
        return _Factor(cholesky, scale)
    _refuse_collinear(objective.backend.gram()[: len(names), : len(names)], noise, names, objective.dtype)
    raise InputValueError(
        "the information matrix is singular though no columns are collinear: some classes are told apart without "
        "error, and the likelihood has no maximum; leave out columns that give them away, or fit with l2 to predict."
    )


def _refuse_collinear(gram: Float64s, noise: float, names: tuple[str, ...], dtype: np.dtype[Any]) -> None:
    diagonal = gram.diagonal()
    if not diagonal.all():
        raise InputValueError(f"the column {names[diagonal.argmin()]!r} is 0 in every row; leave it out.")
    scale = 1 / np.sqrt(diagonal)
    values, vectors = eigh(gram * scale * scale[:, None], subset_by_index=(0, 0))
    if values[0] <= noise:
        share = np.abs(vectors[:, 0])
        concerned = [names[j] for j in np.flatnonzero(share > 1e-3 * share.max())]
        some = ", ".join(map(repr, concerned[:10])) + (" ..." if len(concerned) > 10 else "")
        hint = "; or give X in float64, which tells more of them apart" if dtype == np.float32 else ""
        raise InputValueError(
            f"the columns {some} are collinear: one is a sum of multiples of the others, so their coefficients are not "
            f"determined; leave one out{hint}."
        )


def _separated(step: Float64s, reach: Float64s, model: SoftmaxModel, names: tuple[str, ...]) -> InputValueError:
    moved = np.abs(step - np.median(step, axis=0)) * reach
    k = int(moved.sum(axis=1).argmax())
    share = moved[k, : model.n_features]
    columns = [names[j] for j in np.argsort(-share)[:5] if share[j] > 0.1 * share.max()]
    return InputValueError(
        f"samples of class {model.classes[k].item()!r} are perfectly separable from the others, mostly by the columns "
        f"{', '.join(map(repr, columns))}: the likelihood has no maximum, and their coefficients no standard errors; "
        "leave those columns out, or fit with l2 to predict."
    )


def _meat(
    X: Floats, target: validation.WeightedTargets, params: Float64s, free: NDArray[np.bool_], fit_intercept: bool
) -> Float64s:
    """sum_i g_i g_i^T over the free classes, block by block."""
    n, n_names = int(free.sum()), X.shape[1] + fit_intercept
    total = np.zeros((n * n_names, n * n_names))
    y = target.proba if target.kind == PROBA else target.labels
    for rows, x in _blocks(X, fit_intercept, n * n_names):
        logits = x @ params[:, :n_names].T
        slopes = cross_entropy_and_grad(logits, y[rows], class_weight=target.gain, reduction="sum")[1]
        if target.weight.size:
            slopes *= target.weight[rows, None]
        scores = (slopes[:, free, None] * x[:, None, :]).reshape(len(x), -1)
        total += scores.T @ scores
    return total


def _blocks(X: Floats, fit_intercept: bool, row_size: int) -> Iterator[tuple[slice, Float64s]]:
    """Blocks of (X, 1) in float64, such that `row_size` numbers for each row take BLOCK_BYTES."""
    size = max(16, BLOCK_BYTES // (8 * row_size))
    for start in range(0, X.shape[0], size):
        x = X[start : start + size].astype(np.float64)
        yield slice(start, start + len(x)), np.column_stack([x, np.ones(len(x))]) if fit_intercept else x


def _counts(target: validation.WeightedTargets) -> Float64s:
    """The weight of each class, (K,)."""
    if target.kind == PROBA:
        shares = np.einsum("i,ik->k", target.weight, target.proba) if target.weight.size else target.proba.sum(axis=0)
        return np.asarray(shares * target.gain)
    weight = target.weight if target.weight.size else None
    return np.bincount(target.labels, weight, target.gain.size) * target.gain


def _names(model: SoftmaxModel, fit_intercept: bool) -> tuple[str, ...]:
    names = model.feature_names or tuple(f"x{j + 1}" for j in range(model.n_features))
    return (*names, "const") if fit_intercept else names


def _position(reference: Any, classes: NDArray[Any]) -> int:
    labels: list[Any] = classes.tolist()
    if np.ndim(reference) or reference not in labels:
        raise InputValueError(f"reference is {plain(reference)}, expected one of {labels[:10]}.")
    return labels.index(reference)


def _chi_squared(statistic: float, df: int) -> ChiSquared:
    return ChiSquared(statistic, df, float(chdtrc(df, max(statistic, 0.0))))


def _quantile(level: float) -> float:
    if validation.number("level", level, low=0.0, high=1.0, low_open=True) == 1:
        raise InputValueError("level is 1, expected less, for example 0.95; that interval is everything.")
    return float(ndtri((1 + level) / 2))


def _decimals(number: float, n: int) -> str:
    """Fixed decimals, or significant digits for numbers that those would not show: statsmodels' rule."""
    return f"{number:.{n}f}" if 1e-4 <= abs(number) < 1e4 else f"{number:.{n}g}"
