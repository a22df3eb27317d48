"""`SoftmaxRegressionCV`, with the interface of scikit-learn's `LogisticRegressionCV`."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from sklearn.model_selection import check_cv

from nbsoftmax import validation
from nbsoftmax.data.blocks import refuse_source
from nbsoftmax.estimators.base import ADVICE, EitherConvergenceWarning, FittedClassifier
from nbsoftmax.estimators.bounds import bounds_of_classes
from nbsoftmax.selection.cross_validation import held_out, one_standard_error, summary
from nbsoftmax.selection.path import as_in_sklearn, penalties
from nbsoftmax.solvers.table import Solver
from nbsoftmax.training.convergence_warning import ConvergenceWarning
from nbsoftmax.training.trainer import Trainer


class SoftmaxRegressionCV(FittedClassifier):
    """`SoftmaxRegression` that chooses C, and l1_ratio, by cross-validation, as `LogisticRegressionCV` does.

    Folds share the data without copies. The path from the strongest to the weakest penalty ends early when the loss is
    clearly rising; the remaining scores are NaN.

    Parameters
    ----------
    Cs : int or array_like
        Inverse strengths; an integer is the number of values from 1e-4 to 1e4.
    l1_ratios : array_like, optional
        By default (0.0,).
    cv : int, splitter or iterable of (train, test), optional
        As in scikit-learn's `check_cv`; by default 5 stratified folds.
    scoring : {"neg_log_loss", "accuracy"}
        Score of the held-out samples; if several penalties are equally good, the smallest C is chosen.
    refit : {"best", "one-standard-error"}
        Which C the model has: the best, or the smallest within one standard error of the best log-loss.
    class_weight, fit_intercept, standardize, penalty_weight, bounds, label_smoothing, solver, tol, max_iter, n_jobs
        As for `SoftmaxRegression`, as are `device`, `random_state` and `verbose`; `random_state` is only for "sgd", and
        is that of every fit to a fold as well. Folds are shuffled only by a splitter given as `cv`, which has a
        `random_state` of its own.

    Attributes
    ----------
    C_, l1_ratio_ : float
        The chosen values.
    Cs_ : ndarray (n_Cs,)
    l1_ratios_ : ndarray (n_l1_ratios,)
    scores_ : ndarray (n_folds, n_l1_ratios, n_Cs)
        As `scoring` says; greater is better.
    coef_, intercept_, classes_, n_features_in_, feature_names_in_, n_iter_, converged_, gap_, history_
        Of the fit to all samples, as for `SoftmaxRegression`.
    """

    def __init__(  # noqa: PLR0913  scikit-learn takes options from the constructor
        self,
        Cs: int | ArrayLike = 10,
        *,
        l1_ratios: ArrayLike | None = None,
        cv: Any = None,
        scoring: str = "neg_log_loss",
        refit: str = "best",
        class_weight: Any = None,
        fit_intercept: bool = True,
        standardize: bool = False,
        penalty_weight: ArrayLike | None = None,
        bounds: Any = None,
        label_smoothing: float = 0.0,
        solver: str | Solver = "auto",
        tol: float = 1e-6,
        max_iter: int | None = None,
        n_jobs: int | None = None,
        device: str = "cpu",
        random_state: Any = None,
        verbose: int | bool = 0,
    ) -> None:
        self.Cs = Cs
        self.l1_ratios = l1_ratios
        self.cv = cv
        self.scoring = scoring
        self.refit = refit
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.standardize = standardize
        self.penalty_weight = penalty_weight
        self.bounds = bounds
        self.label_smoothing = label_smoothing
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> SoftmaxRegressionCV:
        """Choose the penalty and fit to samples (n_samples, n_features), labels (n_samples,) and weights (n_samples,).

        X may be an array, a frame, or a sparse matrix or array of SciPy, which stays sparse. An offset (n_samples,
        n_classes), or (n_samples,) for classes_[1] of two, is added to the logits.

        Warns
        -----
        ConvergenceWarning
            If the fit to all samples has not converged; for fits to folds there is no warning.

        Raises
        ------
        ValueError, TypeError
            For input or parameters that cannot be used.
        """
        validation.choice("scoring", self.scoring, ("neg_log_loss", "accuracy"))
        validation.choice("refit", self.refit, ("best", "one-standard-error"))
        refuse_source(X, "cross-validation", "use SoftmaxRegression, or nbsoftmax.fit_path")
        problem, classes = self._read_problem(X, y, sample_weight, offset)
        ratios = penalties("l1_ratios", 0.0 if self.l1_ratios is None else self.l1_ratios, low_open=False)
        folds = list(check_cv(self.cv, problem.y, classifier=True).split(problem.X, problem.y))
        options: dict[str, Any] = {
            "solver": self.solver, "fit_intercept": self.fit_intercept, "tol": self.tol, "max_iter": self.max_iter,
            "label_smoothing": self.label_smoothing, "n_threads": self._n_threads(), "random_state": self._seed(),
            "device": self.device, "standardize": self.standardize, "penalty_weight": self.penalty_weight,
            "bounds": bounds_of_classes(self.bounds, classes.size, problem.n_features),
        }  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = [held_out(problem, Cs=self.Cs, l1_ratio=ratio, folds=folds, **options) for ratio in ratios]
        self.Cs_, self.l1_ratios_ = found[0].Cs, ratios
        log_loss = np.stack([one.log_loss.T for one in found], axis=1)  # (n_folds, n_l1_ratios, n_Cs)
        accuracy = np.stack([one.accuracy.T for one in found], axis=1)
        self.scores_ = -log_loss if self.scoring == "neg_log_loss" else accuracy
        mean = self.scores_.mean(axis=0)
        by_strength = np.argsort(self.Cs_, kind="stable")
        i, j = np.unravel_index(np.nanargmax(mean[:, by_strength]), mean.shape)
        chosen = int(by_strength[j])
        if self.refit == "one-standard-error":
            chosen = one_standard_error(self.Cs_, *summary(log_loss[:, i].T))
        self.C_, self.l1_ratio_ = float(self.Cs_[chosen]), float(ratios[i])
        l1, l2 = as_in_sklearn(self.C_, problem.weight_sum, self.l1_ratio_, classes.size)
        fitter = Trainer(l1=float(l1), l2=float(l2), verbose=bool(self.verbose), **options)
        fitter.warn_as, fitter.advice = EitherConvergenceWarning, ADVICE
        result = fitter.fit(problem)
        self._set_fitted(result, classes)
        if result.interrupted:
            raise KeyboardInterrupt
        return self
