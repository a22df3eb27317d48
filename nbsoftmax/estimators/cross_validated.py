"""`SoftmaxRegressionCV`, with the interface of scikit-learn's `LogisticRegressionCV`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import sklearn
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import check_cv
from sklearn.utils.metadata_routing import UNUSED, MetadataRouter, MethodMapping, process_routing
from sklearn.utils.validation import _check_method_params, check_is_fitted

from nbsoftmax import validation
from nbsoftmax.data.blocks import refuse_source
from nbsoftmax.errors import InputValueError, listed, plain, warn
from nbsoftmax.estimators.base import ADVICE, EitherConvergenceWarning, FittedClassifier
from nbsoftmax.estimators.bounds import bounds_of_classes
from nbsoftmax.estimators.labels import readable, sortable
from nbsoftmax.estimators.namespaces import check_namespace, move_attributes, to_numpy
from nbsoftmax.estimators.other_names import names_checked
from nbsoftmax.estimators.scoring import OfRows, Rows, ScoredModel, score_of, scorer_of, with_classes
from nbsoftmax.estimators.training_part import TrainingPart
from nbsoftmax.models.sklearn_parameters import one_row
from nbsoftmax.models.thresholds import Thresholds, thresholds_of
from nbsoftmax.problem import Problem
from nbsoftmax.selection.cross_validation import fold_indices, one_standard_error, refuse_no_held_out, summary
from nbsoftmax.selection.grid import checked_grid, grid_of
from nbsoftmax.selection.path import as_in_sklearn
from nbsoftmax.solvers.table import Solver
from nbsoftmax.training.trainer import Trainer
from nbsoftmax.validation import Float64s


class SoftmaxRegressionCV(FittedClassifier):
    """`SoftmaxRegression` that chooses C, and l1_ratio, by cross-validation, as `LogisticRegressionCV` does.

    Folds share the data without copies of their training parts.

    Parameters
    ----------
    Cs : int or array_like
        Inverse strengths; an integer is the number of values from 1e-4 to 1e4.
    l1_ratios : array_like, optional
        By default (0.0,).
    cv : int, splitter or iterable of (train, test), optional
        As in scikit-learn's `check_cv`; by default 5 stratified folds. If the training part of a fold lacks a class, a
        warning names it, and its probability is 0 there: coefficients 0, intercept -inf.
    scoring : str, callable (estimator, X, y) -> float, or None
        The name of a scorer of scikit-learn, or a scorer; None is the accuracy. It scores the held-out samples, and
        `score`. If several penalties are equally good, the smallest C is chosen, and of its l1 ratios the first. The
        positive class of a binary metric is `classes_[1]`.
    refit : bool, or "one-standard-error"
        True, or "best": fit to all samples with the best mean score. "one-standard-error": with the smallest C whose
        mean score is within one standard error of the best. False: the model has the means, over the folds, of the
        coefficients with the best score of each fold; `C_` and `l1_ratio_` are means too.
    class_weight
        As for `SoftmaxRegression`; "balanced" weights are those of all samples, in every fold.
    thresholds
        As for `SoftmaxRegression`: for `predict`, and for scorers that call it, in folds and in `score`. Without effect
        on the fits, and on scorers of probabilities such as the default.
    fit_intercept, standardize, penalty_weight, bounds, label_smoothing, solver, tol, max_iter, n_jobs, device
        As for `SoftmaxRegression`, as are `random_state` and `verbose`; `random_state` is only for "sgd", and is that
        of every fit to a fold as well. Folds are shuffled only by a splitter given as `cv`, which has a `random_state`
        of its own.

    Attributes
    ----------
    C_, l1_ratio_ : float
        The chosen values.
    Cs_ : ndarray (n_Cs,)
    l1_ratios_ : ndarray (n_l1_ratios,)
    scores_ : ndarray (n_folds, n_l1_ratios, n_Cs)
        As `scoring` says; greater is better.
    coefs_paths_ : ndarray (n_folds, n_l1_ratios, n_Cs, n_classes, n_features + 1)
        The coefficients of all fits to folds, the intercept last; without intercepts (..., n_features). For two classes
        1 takes the place of n_classes.
    n_iter_ : ndarray of int (n_folds, n_l1_ratios, n_Cs)
        Of these fits.
    coef_, intercept_, classes_, n_features_in_, feature_names_in_, converged_, gap_, history_
        Of the fit to all samples, as for `SoftmaxRegression`. With refit=False there is none: `converged_` is False,
        `gap_` inf, and `history_` empty.
    """

    __metadata_request__score: ClassVar = {"sample_weight": UNUSED}  # for the scorer, which has a request of its own

    @names_checked
    def __init__(  # noqa: PLR0913  scikit-learn takes options from the constructor
        self,
        Cs: int | ArrayLike = 10,
        *,
        l1_ratios: ArrayLike | None = None,
        cv: Any = None,
        scoring: Any = "neg_log_loss",
        refit: bool | str = True,
        class_weight: Any = None,
        fit_intercept: bool = True,
        standardize: bool = False,
        penalty_weight: ArrayLike | None = None,
        bounds: Any = None,
        label_smoothing: float = 0.0,
        thresholds: Thresholds = None,
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
        self.thresholds = thresholds
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        **params: Any,
    ) -> SoftmaxRegressionCV:
        """Choose the penalty and fit to samples (n_samples, n_features), labels (n_samples,) and weights (n_samples,).

        X may be an array, a frame, or a sparse matrix or array of SciPy, which stays sparse. An offset (n_samples,
        n_classes), or (n_samples,) for classes_[1] of two, is added to the logits, also of the held-out samples.

        Other parameters, such as `groups`, go to the splitter and the scorer that request them: see scikit-learn's
        metadata routing. The sample weights go to the scorer if it requests them, or always without metadata routing.

        Warns
        -----
        ConvergenceWarning
            If the fit to all samples has not converged; for fits to folds there is no warning.
        UserWarning
            If a class has no sample in the training part of a fold, or if scores are NaN.

        Raises
        ------
        InputValueError, InputTypeError
            For a parameter of the estimator that is out of its range, of another type, or does not go together with the
            others, the data or the folds; for NaN or infinity in X, labels of one class only, and weights or an offset
            that are not one for each row.
        ValueError
            From scikit-learn: for an X that is not two-dimensional, is empty or holds text; for labels that are
            missing, continuous, or not one for each row; and for a `cv` or `scoring` that it does not know.
        """
        if not isinstance(self.refit, (bool, np.bool_)):
            validation.choice("refit", self.refit, ("best", "one-standard-error"))
        self._refuse_params(params, "fit")
        refuse_source(X, "cross-validation", "use SoftmaxRegression, or nbsoftmax.fit_path")
        problem, classes = self._read_problem(X, y, sample_weight, offset)
        if problem.y.ndim != 1:
            raise InputValueError(
                "y holds partial labels, but cross-validation needs one label for each row; use SoftmaxRegression."
            )
        thresholds_of(self.thresholds, classes)  # wrong ones are refused before all the fits
        verbose = self._verbose()
        weight = problem.sample_weight if problem.sample_weight.size else None
        to_splitter, to_scorer = self._routed("fit", {"sample_weight": weight, **params})
        labels = classes[problem.y]
        splitter = check_cv(self.cv, labels, classifier=True)
        folds = [
            (fold_indices(train, labels.size, "train"), fold_indices(test, labels.size, "test"))
            for train, test in splitter.split(problem.X, labels, **to_splitter)
        ]
        least = 2 if self.refit == "one-standard-error" else 1
        if len(folds) < least:
            raise InputValueError(
                f"cv gives {len(folds)} folds, expected at least {least}; give a splitter with more folds, or a number."
            )
        self.Cs_ = grid_of(self.Cs)
        ratios = 0.0 if self.l1_ratios is None else self.l1_ratios
        self.l1_ratios_ = checked_grid("l1_ratios", ratios, low_open=False, high=1.0)
        coef, intercept = self._fit_folds(problem, [train for train, _ in folds])
        scorer = with_classes(scorer_of(self.scoring), classes, held_out=True)
        self.scores_ = np.empty(self.n_iter_.shape)
        for f, (_, test) in enumerate(folds):
            refuse_no_held_out(problem.weights_or_ones()[test])
            X_test: Any = None  # that of the last fold can be freed
            X_test = Rows(problem.X, test) if isinstance(scorer, OfRows) else problem.X[test]
            y_test = labels[test]
            its = _check_method_params(problem.X, to_scorer, indices=test)
            shift = problem.offset[test] if problem.offset.size else None
            for i, j in np.ndindex(self.scores_.shape[1:]):
                model = ScoredModel(float(self.Cs_[j]), l1_ratio=float(self.l1_ratios_[i]), thresholds=self.thresholds)
                model.set_model(coef[f, i, j], intercept[f, i, j], classes, shift)
                self.scores_[f, i, j] = score_of(scorer, model, X_test, y_test, its)
        _check_scores(self.scores_)
        if self.refit:
            self._refit(problem, classes, verbose=verbose)
        else:
            self._average(coef, intercept, classes)
        move_attributes(self, X)
        return self

    def _options(self, problem: Problem) -> dict[str, Any]:
        """The options of the trainer of every fit, other than the penalty."""
        return {
            "solver": self.solver, "fit_intercept": self.fit_intercept, "tol": self.tol, "max_iter": self.max_iter,
            "label_smoothing": self.label_smoothing, "n_threads": self._n_threads(), "random_state": self._seed(),
            "device": self.device, "standardize": self.standardize, "penalty_weight": self.penalty_weight,
            "bounds": bounds_of_classes(self.bounds, problem.n_classes, problem.n_features),
        }  # fmt: skip

    def _fit_folds(self, problem: Problem, trains: list[NDArray[np.int64]]) -> tuple[Float64s, Float64s]:
        """Set `coefs_paths_` and `n_iter_`; return the coefficients (n_folds, n_l1_ratios, n_Cs, ...), intercepts."""
        options = self._options(problem)
        parts = [TrainingPart(problem, train, options) for train in trains]
        lacking = np.array([part.absent for part in parts])
        if lacking.any():
            text = (
                f"classes [{listed(problem.classes[lacking.any(axis=0)])}] have no sample in the training part of "
                f"{lacking.any(axis=1).sum()} of {len(parts)} folds"
            )
            if not self.refit:
                raise InputValueError(f"{text}, and refit=False averages the coefficients; give other folds.")
            warn(f"{text}, where their probability is 0.")
        found = [[part.path(self.Cs_, float(ratio)) for ratio in self.l1_ratios_] for part in parts]
        rows = [[[one_row(*pair) for pair in zip(*path[:2], strict=True)] for path in fold] for fold in found]
        coef = np.array([[[w for w, _ in path] for path in fold] for fold in rows])
        intercept = np.array([[[b for _, b in path] for path in fold] for fold in rows])
        self.n_iter_ = np.array([[path[2] for path in fold] for fold in found])
        self.coefs_paths_ = np.concatenate([coef, intercept[..., None]], axis=-1) if self.fit_intercept else coef
        return coef, intercept

    def _average(self, coef: Float64s, intercept: Float64s, classes: NDArray[Any]) -> None:
        """Set the means of the best fit of each fold."""
        best = [(f, *_best(scores, self.Cs_)) for f, scores in enumerate(self.scores_)]
        self.classes_ = classes
        self.coef_ = np.mean([coef[at] for at in best], axis=0)
        self.intercept_ = np.mean([intercept[at] for at in best], axis=0)
        self.C_ = float(np.mean([self.Cs_[j] for _, _, j in best]))
        self.l1_ratio_ = float(np.mean([self.l1_ratios_[i] for _, i, _ in best]))
        self.converged_, self.gap_, self.history_ = False, np.inf, {}

    def _refit(self, problem: Problem, classes: NDArray[Any], *, verbose: bool) -> None:
        """Fit to all samples with the best mean score."""
        i, chosen = _best(self.scores_.mean(axis=0), self.Cs_)
        if self.refit == "one-standard-error":
            chosen = one_standard_error(self.Cs_, *summary(-self.scores_[:, i].T))
        self.C_, self.l1_ratio_ = float(self.Cs_[chosen]), float(self.l1_ratios_[i])
        l1, l2 = as_in_sklearn(self.C_, problem.weight_sum, self.l1_ratio_, classes.size)
        fitter = Trainer(l1=float(l1), l2=float(l2), verbose=verbose, **self._options(problem))
        fitter.warn_as, fitter.advice = EitherConvergenceWarning, ADVICE
        of_folds = self.n_iter_
        result = fitter.fit(problem)
        self._set_fitted(result, classes)
        self.n_iter_ = of_folds
        if result.interrupted:
            raise KeyboardInterrupt

    def score(
        self,
        X: Any,
        y: Any = None,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        **params: Any,
    ) -> float:
        """Score by the scorer of `scoring`; greater is better.

        Sample weights and other parameters go to the scorer as in `fit`.
        """
        self._refuse_params(params, "score")
        check_is_fitted(self)
        refuse_source(X, "a scorer", "predict the blocks, and use sklearn.metrics")
        check_namespace(self, X, "score")
        given, X, y = X, to_numpy("X", X), to_numpy("y", y)
        if sample_weight is not None:
            sample_weight = validation.as_array("sample_weight", to_numpy("sample_weight", sample_weight))
        _, to_scorer = self._routed("score", {"sample_weight": sample_weight, **params})
        scorer = with_classes(scorer_of(self.scoring), self.classes_, held_out=False)
        model: FittedClassifier = self
        if offset is not None or X is not given:
            coef, intercept = to_numpy("coef_", self.coef_), to_numpy("intercept_", self.intercept_)
            model = ScoredModel(self.C_, thresholds=self.thresholds)
            model.set_model(coef, intercept, self.classes_, to_numpy("offset", offset))
            if hasattr(self, "feature_names_in_"):
                model.feature_names_in_ = self.feature_names_in_
        return score_of(scorer, model, X, sortable(readable(y)), to_scorer)

    def get_metadata_routing(self) -> MetadataRouter:
        """Route parameters of `fit` to the splitter and the scorer, and those of `score` to the scorer."""
        to_scorer = MethodMapping().add(caller="fit", callee="score").add(caller="score", callee="score")
        router = MetadataRouter(owner=self).add_self_request(self)
        router.add(splitter=self.cv, method_mapping=MethodMapping().add(caller="fit", callee="split"))
        return router.add(scorer=scorer_of(self.scoring), method_mapping=to_scorer)

    def _routed(self, method: str, params: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """What goes to the splitter, and to the scorer."""
        params = {name: value for name, value in params.items() if value is not None}
        if not _routing():
            return {}, params
        routed = process_routing(self, method, **params)
        return (routed.splitter.split if method == "fit" else {}), routed.scorer.score

    def _refuse_params(self, params: dict[str, Any], method: str) -> None:
        if params and not _routing():
            raise InputValueError(
                f"{method} got {plain(next(iter(params)))}, which is only supported if enable_metadata_routing=True; "
                "call sklearn.set_config(enable_metadata_routing=True), and request it where it should go."
            )


def _routing() -> bool:
    return bool(sklearn.get_config()["enable_metadata_routing"])


def _check_scores(scores: Float64s) -> None:
    """Refuse scores without a number to choose by; warn of NaN, which is never chosen."""
    missing = np.isnan(scores)
    with np.errstate(invalid="ignore"):  # the mean of inf and -inf is NaN
        if np.isnan(scores.mean(axis=0)).all():
            raise InputValueError("for every penalty the mean score is NaN; give another scoring, or other folds.")
    if missing.any():
        text = f"{missing.sum()} of {scores.size} scores are NaN; their penalties are not chosen."
        warn(text)


def _best(scores: Float64s, Cs: Float64s) -> tuple[int, int]:
    """Indices (l1_ratio, C) of the greatest of scores (n_l1_ratios, n_Cs), of equal ones the smallest C."""
    by_strength = np.argsort(Cs, kind="stable")
    j, i = np.unravel_index(np.nanargmax(scores[:, by_strength].T), scores.T.shape)
    return int(i), int(by_strength[j])
