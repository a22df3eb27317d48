"""`SoftmaxRegression` and `SoftmaxRegressionCV`: the trainer behind scikit-learn's interface, in its terms.

    minimise sum_i s_i L(x_i, y_i) + (1 - l1_ratio)/(2 C) ||coef_||^2 + l1_ratio/C ||coef_||_1

with s_i the sample weights times the class weights. Divided by S = sum_i s_i this is the trainer's objective with

    l2 = (1 - l1_ratio) / (C S),    l1 = l1_ratio / (C S)                    three classes or more

and l2 twice as large for two classes, which are one row of weights here: see `path`.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

try:
    import sklearn.exceptions
    from joblib import effective_n_jobs
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.model_selection import check_cv
    from sklearn.utils.metaestimators import available_if
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_array, check_is_fitted, check_X_y, validate_data
except ImportError as error:
    raise ImportError(
        'SoftmaxRegression needs scikit-learn 1.6.1 or newer; install it with: pip install "nbsoftmax[sklearn]"'
    ) from error

from nbsoftmax import validation
from nbsoftmax.errors import InputError, InputValueError, plain
from nbsoftmax.models.softmax import SoftmaxModel, one_row, two_rows
from nbsoftmax.problem import Problem, weights_of_classes
from nbsoftmax.selection.cross_validation import held_out, one_standard_error, summary
from nbsoftmax.selection.path import as_in_sklearn, penalties
from nbsoftmax.solvers.sgd import SGD
from nbsoftmax.solvers.table import Solver
from nbsoftmax.training.monitor import Iteration
from nbsoftmax.training.result import FitResult
from nbsoftmax.training.trainer import ConvergenceWarning, Trainer
from nbsoftmax.validation import Float64s, Floats

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 has no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:
        """Leave the method as it is."""
        return method


LABELS_ABSENT = object()  # for methods that take no y; y=None is an error of the caller


class EitherConvergenceWarning(ConvergenceWarning, sklearn.exceptions.ConvergenceWarning):
    """Ours and scikit-learn's, so that filters for either of them hold."""


class _Fitted(ClassifierMixin, BaseEstimator):
    """What both estimators do once they are fitted, and how they read the parameters that both have."""

    @property
    def penalty(self) -> str | None:
        """Return "l1" where the l1 ratio is 1, else None: `SelectFromModel` chooses its threshold by it."""
        given = getattr(self, "l1_ratio", getattr(self, "l1_ratios", None))
        ratios = np.asarray(getattr(self, "l1_ratio_", given))
        return "l1" if ratios.dtype.kind in "iuf" and np.isclose(ratios, 1.0).all() else None

    @property
    def model_(self) -> SoftmaxModel:
        """The fitted model: to save, to export, to ask for the best k classes."""
        check_is_fitted(self)
        coef, intercept = two_rows(self.coef_, self.intercept_)
        return SoftmaxModel(coef, intercept, self.classes_, getattr(self, "feature_names_in_", None))

    def decision_function(self, X: Any) -> Floats:
        """Logits (n_samples, n_classes); for two classes their difference (n_samples,), positive for classes_[1]."""
        model, X = self._ready(X)
        logits = model.decision_function(X)
        return logits if model.n_classes > 2 else logits[:, 1] - logits[:, 0]

    def predict_proba(self, X: Any) -> Floats:
        """Probabilities (n_samples, n_classes), columns in the order of `classes_`, in the dtype of X."""
        model, X = self._ready(X)
        return model.predict_proba(X)

    def predict_log_proba(self, X: Any) -> Floats:
        """Logarithms of the probabilities; finite also where a probability underflows.

        For float32 X, values between -1.2e-7 (eps) and 0 are returned as 0, because scikit-learn's checks compare
        them with the logarithm of a probability that may be rounded to 1. `SoftmaxModel.predict_log_proba` keeps them.
        """
        model, X = self._ready(X)
        log_proba = model.predict_log_proba(X)
        if log_proba.dtype == np.float32:
            log_proba[log_proba > -np.finfo(np.float32).eps] = 0.0
        return log_proba

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable labels (n_samples,); of equal ones the first in `classes_`."""
        model, X = self._ready(X)
        labels: NDArray[Any] = self.classes_[model.predict(X)]
        return labels

    def _ready(self, X: Any) -> tuple[SoftmaxModel, Floats]:
        """The model, its classes counted from 0 since `classes_` may be of any kind, and X as it takes it."""
        check_is_fitted(self)
        X, _, names = self._read(X, reset=False)
        if names is not None:  # so that an error names the column; the model checks arrays
            X = validation.design(X, names=names)
        coef, intercept = two_rows(self.coef_, self.intercept_)
        return SoftmaxModel(coef, intercept, np.arange(len(coef))), X

    def _take(self, result: FitResult, classes: NDArray[Any]) -> None:
        """Set the fitted attributes."""
        self.classes_ = classes
        self.coef_, self.intercept_ = one_row(result.model.coef, result.model.intercept)
        self.n_iter_ = np.array([result.n_iter], np.int32)
        self.converged_, self.gap_, self.history_ = result.converged, result.gap, result.history

    def _given(self, X: Any, y: Any, sample_weight: ArrayLike | None) -> tuple[Problem, NDArray[Any]]:
        """The problem of a fit, and the sorted labels, which a model may not be able to store."""
        X, y, names = self._read(X, y, reset=True)
        classes, codes = np.unique(y, return_inverse=True)
        if classes.size < 2:
            raise InputValueError(f"y contains one class only ({plain(classes[0])}), expected at least two classes.")
        weight = validation.sample_weights(sample_weight, codes.size)
        problem = Problem.from_validated(
            validation.design(X, names=names),
            codes,
            _storable(classes),
            None,
            weight if weight.size else None,
            class_weight=weights_of_classes(self.class_weight, codes, classes, weight),
            label_smoothing=self.label_smoothing,
        )
        return problem, classes

    def _read(
        self, X: Any, y: Any = LABELS_ABSENT, *, reset: bool
    ) -> tuple[Floats, NDArray[Any], tuple[str, ...] | None]:
        """X, y if it is given, and the names of a table's columns, checked as scikit-learn does; X may have NaN."""
        # Whether an array is finite is checked later, in one pass over it.
        numbers: dict[str, Any] = {"dtype": [np.float64, np.float32], "ensure_all_finite": False}
        with_labels = y is not LABELS_ABSENT
        y = _readable(y)
        array, names = validation.frame(X)
        both = (y,) if with_labels else ()
        if names is None:
            read = validate_data(self, validation.as_array("X", X), *both, reset=reset, **numbers)
        else:  # scikit-learn reads dates as numbers
            validate_data(self, X, *both, reset=reset, skip_check_array=True)
            checks = check_X_y if with_labels else check_array
            read = checks(array, *both, estimator=self, **numbers)
        if not with_labels:
            return read, np.empty(0), names
        X, y = read[0], _sortable(read[1])
        check_classification_targets(y)
        return X, y, names

    def score(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> float:
        """Share of the samples whose label is predicted, by their weights."""
        if sample_weight is not None:
            sample_weight = validation.as_array("sample_weight", sample_weight)
        return float(super().score(X, _sortable(_readable(y)), sample_weight))

    def _n_threads(self) -> int | None:
        # joblib's count takes into account that this process may itself be one of several workers.
        from numba import config

        most = int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        return None if self.n_jobs is None else min(effective_n_jobs(self.n_jobs), most)

    def _seed(self) -> int | None:
        if isinstance(self.random_state, np.random.RandomState):
            return int(self.random_state.randint(2**31 - 1))
        return None if self.random_state is None else validation.count("random_state", self.random_state, low=0)


def _readable(y: Any) -> Any:
    """Labels without a mask, and text of NumPy's StringDType as objects: scikit-learn reads neither."""
    if not isinstance(y, np.ndarray):
        return y
    y = validation.as_array("y", y)
    return y.astype(object) if y.dtype.kind == "T" else y


def _sortable(y: Any) -> Any:
    """Labels in an array of objects, of which none is missing and all can be compared; floats as such."""
    if not isinstance(y, np.ndarray) or y.dtype.kind != "O":
        return y
    if all(isinstance(label, (float, np.floating)) for label in y):
        return y.astype(np.float64)
    try:
        sorted(set(y.tolist()))
    except TypeError:
        validation.labels(y)  # says what is missing, or which kinds there are
        raise
    return y


def _listed(labels: NDArray[Any]) -> str:
    return f"[{', '.join(map(plain, labels[:10]))}{', ...' if len(labels) > 10 else ''}]"


def _storable(classes: NDArray[Any]) -> NDArray[Any]:
    """Labels for the trainer; their indices if a model cannot store the labels themselves."""
    try:
        return validation.class_labels(classes)
    except InputError:
        return np.arange(classes.size)


def _can_partial_fit(estimator: SoftmaxRegression) -> bool:
    """Whether the parameters allow `partial_fit`; if not, an AttributeError says why."""
    if estimator.l1_ratio != 0:
        raise AttributeError(f"partial_fit has no l1 penalty, and l1_ratio is {estimator.l1_ratio!r}; set it to 0.")
    if isinstance(estimator.class_weight, str):
        raise AttributeError(
            f"class_weight is {estimator.class_weight!r}, which needs all labels at once; give the weights themselves."
        )
    return True


class SoftmaxRegression(CallbackSupportMixin, _Fitted):
    """Softmax regression with the interface of scikit-learn's `LogisticRegression`, and its objective.

        minimise sum_i s_i L(x_i, y_i) + (1 - l1_ratio)/(2 C) ||coef_||^2 + l1_ratio/C ||coef_||_1

    Parameters
    ----------
    C : float
        Inverse strength of the penalty; `np.inf` for none.
    l1_ratio : float in [0, 1]
        Share of the absolute values in the penalty, which make coefficients exactly 0.
    class_weight : None, "balanced" or dict of label to weight
        "balanced" gives class k the weight n_samples / (n_classes * count_k), counts weighted by the sample weights.
    fit_intercept : bool
    label_smoothing : float in [0, 1]
        This share of every target is spread evenly over the classes.
    solver, tol, max_iter
        As for `Trainer`: `solver` is a name or an object such as `nbsoftmax.SGD()`, `tol` is how far the objective may
        be above its minimum, relative to itself, and `max_iter=None` is the solver's own limit.
    warm_start : bool
        Whether `fit` starts from the last `coef_` and `intercept_` instead of 0.
    n_jobs : int, optional
        Threads, counted as joblib does; by default as many as Numba would use.
    device : {"cpu", "cuda", "auto"} or str
        As for `Trainer`: where `fit` makes its sums; `partial_fit` makes them on the CPU.
    random_state : int, RandomState, optional
        For the order in which the solver "sgd" and `partial_fit` take the samples. None is the seed 0, so that every
        fit is the same; in scikit-learn None draws another order for each fit.
    verbose : int or bool
        Whether to print a line for each iteration.

    Attributes
    ----------
    coef_ : ndarray (n_classes, n_features), or (1, n_features) for two classes; float64
    intercept_ : ndarray (n_classes,), or (1,) for two classes; float64
    classes_ : ndarray (n_classes,)
        The sorted labels.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Only if X was a frame with names.
    n_iter_ : ndarray of int (1,)
    converged_ : bool
        Whether `gap_` is at most tol times the objective.
    gap_ : float
        How far the objective, divided by sum_i s_i, is above its minimum: a bound or an estimate, as `FitResult` says.
    history_ : dict of str to ndarray
        "objective" (divided by sum_i s_i), "grad_norm" and "seconds": an entry an iteration.
    """

    def __init__(  # noqa: PLR0913  scikit-learn takes options from the constructor
        self,
        C: float = 1.0,
        *,
        l1_ratio: float = 0.0,
        class_weight: Any = None,
        fit_intercept: bool = True,
        label_smoothing: float = 0.0,
        solver: str | Solver = "auto",
        tol: float = 1e-6,
        max_iter: int | None = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
        device: str = "cpu",
        random_state: Any = None,
        verbose: int | bool = 0,
    ) -> None:
        self.C = C
        self.l1_ratio = l1_ratio
        self.class_weight = class_weight
        self.fit_intercept = fit_intercept
        self.label_smoothing = label_smoothing
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> SoftmaxRegression:
        """Fit to samples (n_samples, n_features), labels (n_samples,) and weights (n_samples,).

        Warns
        -----
        ConvergenceWarning
            Of both `nbsoftmax` and `sklearn.exceptions`, if the fit ended short of `tol`.

        Raises
        ------
        ValueError, TypeError
            For input or parameters that cannot be used.
        """
        problem, classes = self._given(X, y, sample_weight)
        l1, l2 = self._penalties(problem.weight_sum, classes.size)
        start = self._start(problem.n_features, classes)
        tasks = None
        if hasattr(self, "_init_callback_context"):
            tasks = _Tasks(self, problem.X, y, sample_weight, start, classes)
        fitter = Trainer(
            solver=self.solver,
            l1=l1,
            l2=l2,
            fit_intercept=self.fit_intercept,
            tol=self.tol,
            max_iter=self.max_iter,
            label_smoothing=self.label_smoothing,
            n_threads=self._n_threads(),
            device=self.device,
            callbacks=() if tasks is None else (tasks,),
            random_state=self._seed(),
            verbose=bool(self.verbose),
        )
        fitter.warn_as, fitter.to_penalise = EitherConvergenceWarning, "lower C"
        result = fitter.fit(problem, init=start)
        self._take(result, classes)
        self._stream: Trainer | None = None
        self._seen = problem.weight_sum
        if tasks is not None:
            tasks.end()
        if result.interrupted:
            raise KeyboardInterrupt  # the trainer has kept what was reached; a search over many fits must end as well
        return self

    @available_if(_can_partial_fit)
    def partial_fit(
        self, X: Any, y: Any, classes: ArrayLike | None = None, sample_weight: ArrayLike | None = None
    ) -> SoftmaxRegression:
        """Go on with a chunk of a stream, by an epoch of stochastic gradient descent, whatever `solver` is.

        Begins at the last `fit`, if there was one, else at 0. With S the weights of all samples so far, C means what it
        means for a fit to all of them. Nothing says how far the minimum is: `gap_` is inf.

        Parameters
        ----------
        X : array_like (n_samples, n_features)
        y : array_like (n_samples,)
        classes : array_like (n_classes,)
            All labels that will ever come; needed in the first call, unless there was a `fit`.
        sample_weight : array_like (n_samples,), optional

        Raises
        ------
        AttributeError
            With l1_ratio or "balanced" class weights, which need all samples at once.
        ValueError, TypeError
            For input or parameters that cannot be used.
        """
        fitted = hasattr(self, "coef_")
        X, y, names = self._read(X, y, reset=not fitted)
        X = validation.design(X, names=names)
        if fitted:
            labels = self.classes_
            if classes is not None and not np.array_equal(np.unique(classes), labels):
                raise InputValueError(
                    f"classes are {_listed(np.unique(classes))}, but those before are {_listed(labels)}; "
                    "give the same ones, or none."
                )
        elif classes is None:
            raise InputValueError("classes is missing; the first call of partial_fit needs all labels.")
        else:
            labels = np.unique(classes)
        unknown = ~np.isin(y, labels)
        if unknown.any():
            odd = plain(y[unknown][0])
            raise InputValueError(f"y contains {odd}, which is not in classes; leave such rows out.")
        codes = np.searchsorted(labels, y)
        weight = validation.sample_weights(sample_weight, codes.size)
        by_class = weights_of_classes(self.class_weight, codes, labels, weight)
        chunk = validation.weighted_targets(
            codes, codes.size, labels.size, X.dtype, sample_weight=sample_weight, class_weight=by_class,
            label_smoothing=0.0,
        )  # fmt: skip
        seen = getattr(self, "_seen", 0.0) + chunk.weight_sum
        trainer: Trainer | None = getattr(self, "_stream", None)
        start = None
        if trainer is None:
            trainer = Trainer(
                solver=SGD(average=True), fit_intercept=self.fit_intercept, label_smoothing=self.label_smoothing,
                class_weight=by_class, random_state=self._seed(),
                n_threads=self._n_threads(),
            )  # fmt: skip
            start = np.column_stack(two_rows(self.coef_, self.intercept_)) if fitted else None
        trainer.l2 = self._penalties(seen, labels.size)[1]
        indices = np.arange(labels.size)
        model = trainer.partial_fit(X, codes, classes=indices, sample_weight=sample_weight, init=start)
        self._stream, self._seen, self.classes_ = trainer, seen, labels
        self.coef_, self.intercept_ = one_row(model.coef, model.intercept)
        self.n_iter_ = np.array([1], np.int32)
        self.converged_, self.gap_, self.history_ = False, np.inf, {}
        return self

    # --- scikit-learn's terms in the trainer's --------------------------------------------------

    def _penalties(self, total: float, n_classes: int) -> tuple[float, float]:
        """(l1, l2) for weights that sum to `total`."""
        share = validation.number("l1_ratio", self.l1_ratio, low=0.0, high=1.0)
        unpenalised = isinstance(self.C, (float, np.floating)) and np.isposinf(self.C)
        if unpenalised or total == 0:  # of the latter the objective says what is wrong
            return 0.0, 0.0
        l1, l2 = as_in_sklearn(validation.number("C", self.C, low=0.0, low_open=True), total, share, n_classes)
        return float(l1), float(l2)

    def _start(self, n_features: int, classes: NDArray[Any]) -> Float64s | None:
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        coef, intercept = two_rows(self.coef_, self.intercept_)
        if coef.shape[1] != n_features or not np.array_equal(self.classes_, classes):
            raise InputValueError(
                f"warm_start=True, but the last fit was of {coef.shape[1]} features and the classes "
                f"{_listed(self.classes_)}, this one is of {n_features} and {_listed(classes)}; "
                "set warm_start=False."
            )
        return np.column_stack([coef, intercept])


class SoftmaxRegressionCV(_Fitted):
    """`SoftmaxRegression` that chooses C, and l1_ratio, by cross-validation, as `LogisticRegressionCV` does.

    Folds share the data: none is copied. Penalties that get hopeless on the way from the strongest to the weakest are
    left out, with NaN as their scores.

    Parameters
    ----------
    Cs : int or array_like
        Inverse strengths; a number stands for so many from 1e-4 to 1e4.
    l1_ratios : array_like, optional
        By default (0.0,).
    cv : int, splitter or iterable of (train, test), optional
        As scikit-learn's `check_cv` takes it; by default 5 stratified folds.
    scoring : {"neg_log_loss", "accuracy"}
        What is best of the held-out samples; of equal ones the smallest C.
    refit : {"best", "one-standard-error"}
        Which C the model has: the best, or the smallest within one standard error of the best log-loss.
    class_weight, fit_intercept, label_smoothing, solver, tol, max_iter, n_jobs, device, random_state, verbose
        As for `SoftmaxRegression`; `random_state` is only for "sgd", and is that of every fit to a fold as well. Folds
        are shuffled only by a splitter given as `cv`, which has a `random_state` of its own.

    Attributes
    ----------
    C_, l1_ratio_ : float
        The chosen ones.
    Cs_ : ndarray (n_Cs,)
    l1_ratios_ : ndarray (n_l1_ratios,)
    scores_ : ndarray (n_folds, n_l1_ratios, n_Cs)
        By `scoring`, the greater the better.
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
        self.label_smoothing = label_smoothing
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> SoftmaxRegressionCV:
        """Choose the penalty and fit to samples (n_samples, n_features), labels (n_samples,) and weights (n_samples,).

        Warns
        -----
        ConvergenceWarning
            If the fit to all samples ended short of `tol`; fits to folds do so silently.

        Raises
        ------
        ValueError, TypeError
            For input or parameters that cannot be used.
        """
        validation.choice("scoring", self.scoring, ("neg_log_loss", "accuracy"))
        validation.choice("refit", self.refit, ("best", "one-standard-error"))
        problem, classes = self._given(X, y, sample_weight)
        ratios = penalties("l1_ratios", 0.0 if self.l1_ratios is None else self.l1_ratios, low_open=False)
        folds = list(check_cv(self.cv, problem.y, classifier=True).split(problem.X, problem.y))
        options: dict[str, Any] = {
            "solver": self.solver, "fit_intercept": self.fit_intercept, "tol": self.tol, "max_iter": self.max_iter,
            "label_smoothing": self.label_smoothing, "n_threads": self._n_threads(), "random_state": self._seed(),
            "device": self.device,
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
        fitter.warn_as, fitter.to_penalise = EitherConvergenceWarning, "lower C"
        result = fitter.fit(problem)
        self._take(result, classes)
        if result.interrupted:
            raise KeyboardInterrupt
        return self


class _Tasks:
    """Tells scikit-learn's callbacks of a fit, and of a task for each iteration, as `LogisticRegression` does.

    An iteration begins where the one before ends, so the last task to begin ends without having been one.
    """

    def __init__(
        self,
        estimator: SoftmaxRegression,
        X: Floats,
        y: NDArray[Any],
        sample_weight: Any,
        start: Float64s | None,
        classes: NDArray[Any],
    ) -> None:
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        self.given = {"estimator": estimator, "X": X, "y": y, "metadata": metadata}
        self.classes = classes
        most = None if estimator.max_iter is None else estimator.max_iter + 1
        self.fit = estimator._init_callback_context(max_subtasks=most)
        self.fit.call_on_fit_task_begin(**self.given)
        self._begin(np.zeros((classes.size, X.shape[1] + 1)) if start is None else start)

    def __call__(self, now: Iteration) -> bool:
        """End the task of an iteration and begin the next; whether a callback asks to stop."""
        attributes = self._attributes(now.params)
        stop = bool(self.iteration.call_on_fit_task_end(**self.given, reconstruction_attributes=attributes))
        self._begin(now.params)
        return stop

    def end(self) -> None:
        """End the task that is left, and the fit's."""
        self.iteration.call_on_fit_task_end(estimator=self.given["estimator"])
        self.fit.call_on_fit_task_end(**self.given, reconstruction_attributes={})

    def _begin(self, params: Float64s) -> None:
        self.iteration = self.fit.subcontext(task_name="iteration")
        self.iteration.call_on_fit_task_begin(**self.given, reconstruction_attributes=self._attributes(params))

    def _attributes(self, params: Float64s) -> Callable[[], dict[str, Any]]:
        """What makes a fitted estimator of these parameters, for callbacks that ask for one."""

        def attributes() -> dict[str, Any]:
            coef, intercept = one_row(params[:, :-1].copy(), params[:, -1].copy())
            return {"coef_": coef, "intercept_": intercept, "classes_": self.classes}

        return attributes
