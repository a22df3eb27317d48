"""The result of inference: coefficients relative to a reference class, with standard errors, tests and intervals.

Numbers and table are those of statsmodels' `MNLogit`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, counted, plain
from nbsoftmax.models.chi_squared import ChiSquared, chi_squared, wald
from nbsoftmax.models.column_effects import chosen_columns
from nbsoftmax.models.contrast import Contrast, contrast_of
from nbsoftmax.models.display import Displayed, Table
from nbsoftmax.models.effects import KINDS
from nbsoftmax.models.effects_result import MarginalEffects
from nbsoftmax.models.estimates import interval, statistics, two_sided, z_scores
from nbsoftmax.models.hypotheses import Coefficients
from nbsoftmax.models.inference_summary import lines_of, summary_text, table_of
from nbsoftmax.models.levels import columns_of
from nbsoftmax.models.marginal_effects import effects_at
from nbsoftmax.models.nested import refuse_firth, refuse_not_fewer, refuse_not_nested
from nbsoftmax.models.points import points_at
from nbsoftmax.models.proba_interval import ProbaInterval, proba_interval
from nbsoftmax.models.softmax import SoftmaxModel, params_of
from nbsoftmax.models.specification import classification_table, hausman, score_test
from nbsoftmax.models.to_frame import data_frame
from nbsoftmax.problem import Problem
from nbsoftmax.validation import Float64s


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
    cov : {"fisher", "sandwich", "HC1", "cluster"}
        "sandwich" is the "HC0" of `inference`.
    log_likelihood, log_likelihood_null : float
        The latter with intercepts only, or without intercept for equal probabilities; NaN with Firth's penalty.
    n_samples : float
        The sum of the weights.
    binary : ndarray (n_features,) of bool
        The features that are only 0 and 1.
    problem : Problem or None
        The data, for `marginal_effects`; left out when the result is pickled or copied.
    device : str
        Of the fit.
    firth : bool
        Whether the estimates are those of Firth's penalty, not of the maximum of the likelihood.
    class_weighted : bool
        Whether the fit has class weights, with which a ratio of likelihoods is not chi-squared.
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
    binary: NDArray[np.bool_]
    problem: Problem | None = None
    device: str = "cpu"
    firth: bool = False
    class_weighted: bool = False

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "problem": None}

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
        """Wald statistics, params / standard_errors: for many samples standard normal, if a coefficient is 0."""
        return z_scores(self.params, self.standard_errors)

    @property
    def p_values(self) -> Float64s:
        """Two-sided p-values: P(|Z| >= |z|) for Z standard normal."""
        return two_sided(self.z)

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
        """Likelihood-ratio test that all coefficients except the intercepts are 0; NaN with class weights or Firth."""
        if self.class_weighted:
            return chi_squared(np.nan, self.df_model)
        return chi_squared(2 * (self.log_likelihood - self.log_likelihood_null), self.df_model)

    def likelihood_ratio_test(self, restricted: Inference) -> ChiSquared:
        """Likelihood-ratio test of a nested model: one with fewer features, trained on the same samples.

        It holds for independent samples and a right model, also if `cov` is robust: then use `wald_test`.

        Raises
        ------
        InputValueError, InputTypeError
            If the models are not nested or were not fitted to the same samples, or a fit has class weights or Firth's
            penalty.
        """
        refuse_not_nested(self, restricted)
        return chi_squared(2 * (self.log_likelihood - restricted.log_likelihood), self.n_params - restricted.n_params)

    def wald_test(self, features: str | int | Sequence[str | int]) -> ChiSquared:
        """Wald test of the hypothesis that the coefficients of these features are 0 for all classes.

        Features are given by name or by column number. The name of a column of the table that was fitted stands for
        all features that are made from it alone, such as its levels, and a term of the formula, such as
        "region:sex", for all features that it makes: without "sex" in the formula, also for the levels of sex.

        Raises
        ------
        InputValueError, InputTypeError
            For no features, unknown ones, or one that is given twice.
        """
        columns = columns_of(features, self.names, self.model.encoding)
        chosen = np.arange(self.n_params).reshape(self.params.shape)[:, columns].ravel()
        return wald(np.eye(self.n_params)[chosen], np.zeros(chosen.size), self.params.ravel(), self.covariance)

    def test(self, hypothesis: str | Sequence[str] | ArrayLike, q: ArrayLike | None = None) -> ChiSquared:
        """Wald test of linear hypotheses about the coefficients.

        Parameters
        ----------
        hypothesis : str, sequence of str, or array_like (n_tests, n_params) or (n_params,)
            Text is one or more equations, separated by commas, between sums of coefficients and numbers:
            "x1[high] = x1[low]", "2 * x1[high] - x2[high] = 0.5". A coefficient is a name of `names`, and the label of
            a class in brackets, which is not needed if there are two classes. Names that contain other characters than
            letters, digits, "_" and ".", and labels that contain "]", are in quotes. Without "=", a sum is 0. The
            coefficients of the reference class are 0. An array R is the hypothesis R params.ravel() = q.
        q : float or array_like (n_tests,), optional
            For an array; default: 0.

        Returns
        -------
        ChiSquared

        Raises
        ------
        InputValueError
            If the text cannot be read or names no coefficient, and if hypotheses are linearly dependent.
        """
        coefficients = Coefficients(self.names, tuple(map(str, self.model.classes)), str(self.reference))
        R, right = coefficients.read(hypothesis, q)
        return wald(R, right, self.params.ravel(), self.covariance)

    def score_test(self, Z: Any) -> ChiSquared:
        """Score test (Rao) of features that the model leaves out: that their coefficients are 0 for all classes.

        It needs no fit with these features. `Z` is (n_samples,) or (n_samples, n_omitted), an array, frame or sparse
        matrix, with the rows of the fit. The statistic uses the information matrix, whatever `cov` is.

        Raises
        ------
        InputValueError, InputTypeError
            For another number of rows, collinear columns, a fit with Firth's penalty, and after pickling.
        """
        refuse_firth(self, "the score test")
        free = self.model.classes != self.reference
        return score_test(self._data(), self.device, Z, params_of(self.model), free, len(self.names))

    def iia_test(self, fewer: Inference) -> ChiSquared:
        """Hausman-McFadden test of the independence of irrelevant alternatives.

        `fewer` is the inference of a fit to the samples of some of the classes, with the same features and reference
        class. Under the hypothesis, both estimate the same coefficients. Both need cov="fisher".

        Where the difference of their covariances is not positive definite, a warning says that the statistic need not
        be chi-squared; if it is negative, there is no evidence against the hypothesis, and the p-value is 1.

        Raises
        ------
        InputValueError, InputTypeError
            If `fewer` is no such inference, or one of both has another `cov`.
        """
        refuse_not_fewer(self, fewer)
        labels = self.classes.tolist()
        rows = [labels.index(label) for label in fewer.classes.tolist()]
        index = np.arange(self.n_params).reshape(self.params.shape)[rows].ravel()
        covariance = self.covariance[np.ix_(index, index)]
        return hausman(self.params.ravel()[index], covariance, fewer.params.ravel(), fewer.covariance)

    def classification_table(self) -> Float64s:
        """Numbers of samples, or sums of their weights, by true class (rows) and most probable class (columns).

        Raises
        ------
        InputValueError
            If this object was pickled or copied, which leaves out the data.
        """
        return classification_table(self._data(), self.device, self.model.coef, self.model.intercept)

    def _data(self) -> Problem:
        if self.problem is None:
            raise InputValueError(
                "this result was pickled or copied, and does not contain the data; use nbsoftmax.inference for another."
            )
        return self.problem

    def contrast(self, a: Any, b: Any) -> Contrast:
        """The coefficients of class `a` relative to class `b`, with standard errors, tests and intervals.

        Raises
        ------
        InputValueError
            If `a` or `b` is not a class, or both are the same.
        """
        return contrast_of(self, a, b)

    def conf_int(self, level: float = 0.95) -> Float64s:
        """Confidence intervals (n_classes - 1, n_names, 2): params -+ quantile * standard_errors.

        Raises
        ------
        InputValueError, InputTypeError
            For a `level` that is not a number between 0 and 1.
        """
        return interval(self.params, self.standard_errors, level)

    def predict_interval(self, X: Any, *, level: float = 0.95, offset: ArrayLike | None = None) -> ProbaInterval:
        """Confidence intervals of the probabilities at `X`, by the delta method on the scale of log-odds.

            q_k = log(a_k / (1 - a_k)) = z_k - lse_{l != k} z_l,    dq_k = dz_k - sum_{l != k} a_l / (1 - a_k) dz_l

        On this scale the intervals stay between 0 and 1. They are intervals of the probability, not of the label.

        Parameters
        ----------
        X : array_like, frame or sparse matrix (n_samples, n_features)
        level : float in (0, 1)
        offset : array_like (n_samples, n_classes), optional

        Returns
        -------
        ProbaInterval

        Raises
        ------
        InputValueError, InputTypeError
            For an X or offset that does not suit the model, and a level that is not between 0 and 1.
        """
        X, params, classes = self.model._features(X), params_of(self.model)[:, : len(self.names)], self.model.classes
        added = validation.offset(offset, (X.shape[0], classes.size), X.dtype, classes)
        return proba_interval(X, added, params, classes != self.reference, self.covariance, level, classes)

    def marginal_effects(
        self,
        at: Any = "overall",
        *,
        kind: str = "dydx",
        dummies: bool = True,
        columns: bool | Sequence[str] = False,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> MarginalEffects:
        """Effects of the features on the probabilities of the classes, with standard errors by the delta method.

        They do not depend on the reference class. The rows are read once, block by block.

        Parameters
        ----------
        at : {"overall", "mean", "median"}, or array_like, frame or sparse matrix (n_points, n_features)
            "overall": the mean of the effects at the rows of the fit, with the weights of its samples, but without
            those of its classes. "mean" and "median": the effects at the mean or median of each feature, and at the
            mean of the offset. A table: the mean at its rows, without those that `missing="drop"` leaves out.
        kind : {"dydx", "eyex", "dyex", "eydx"}
            "dydx": the change of the probability for a change of the feature by 1. With "ey", the change of the
            logarithm of the probability; with "ex", the change for a change of the logarithm of the feature by 1.
        dummies : bool
            Whether the effect of a feature that is only 0 and 1 in the fit is the change from 0 to 1. With "ey", it is
            that of the logarithm of the probability; "ex" is as "dx". Of the levels of one column of a table, the
            others are 0 at both ends: the change is that from the reference level to this one.
        columns : bool or sequence of str
            For a model with a formula: True, or names, for the effects of columns of the table `at`, through all the
            features that are made from them, in place of the effects of features. (Of a column that is no feature by
            itself, the training says whether it is only 0 and 1.)
        sample_weight, offset : array_like (n_points,) and (n_points, n_classes), optional
            For a table: weights of its rows in the mean, and the offset of each.

        Returns
        -------
        MarginalEffects

        Raises
        ------
        InputValueError, InputTypeError
            For another `at`, `kind`, `dummies` or `columns`, for a table, weights or an offset that do not suit the
            model, and if `at` is not a table and this object was pickled or copied, which leaves out the data.
        """
        validation.choice("kind", kind, KINDS)
        dummies = validation.flag("dummies", dummies)
        chosen = chosen_columns(self.model, at, columns)
        points, at = points_at(self.model, self.problem, self.device, at, sample_weight, offset)
        return effects_at(self, points, at, chosen, kind, dummies=dummies)

    def to_frame(self, *, level: float = 0.95, exp: bool = False) -> Any:
        """A data frame with a row for each class and column: of pandas, or of polars if pandas is not installed.

        With `exp`, coefficients are relative risk ratios, as in `summary`.

        Raises
        ------
        InputValueError, InputTypeError
            For a `level` that is not a number between 0 and 1.
        ImportError
            If neither pandas nor polars is installed.
        """
        n, n_names = self.params.shape
        numbers = statistics(self.params, self.standard_errors, level, exp=exp)
        labels = np.repeat(self.classes, n_names)
        return data_frame(
            {"class": labels, "column": self.names * n, "rrr" if exp else "coef": numbers.pop("value")} | numbers
        )

    def summary(self, *, level: float = 0.95, exp: bool = False) -> str:
        """Table of results, in the layout of statsmodels' `MNLogit`, without date and time.

        With `exp`, coefficients are relative risk ratios exp(coef): the factors by which the odds of a class against
        the reference class change, if a feature grows by 1. Their standard errors are exp(coef) times those of coef,
        and the ends of the intervals are exp of theirs, as in Stata; z and P>|z| are those of coef.

        Raises
        ------
        InputValueError, InputTypeError
            For a `level` that is not a number between 0 and 1.
        """
        return summary_text(self, level, exp=exp)

    def __str__(self) -> str:
        return self.summary()

    def _title(self) -> str:
        n_classes, n_names = self.params.shape
        return f"{counted(n_classes, 'class')} relative to {plain(self.reference)}, {counted(n_names, 'column')}"

    def _lines(self) -> dict[str, str]:
        return lines_of(self)

    def _table(self) -> Table:
        return table_of(self)

    @property
    def _has_intercept(self) -> bool:
        return len(self.names) > self.model.n_features
