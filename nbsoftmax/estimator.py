"""`SoftmaxRegression`: the trainer behind scikit-learn's interface, in the terms of its `LogisticRegression`.

    minimise sum_i s_i L(x_i, y_i) + (1 - l1_ratio)/(2 C) ||coef_||^2 + l1_ratio/C ||coef_||_1

with s_i the sample weights times the class weights. Divided by S = sum_i s_i this is the trainer's objective with

    l2 = (1 - l1_ratio) / (C S),    l1 = l1_ratio / (C S)                    three classes or more

Two classes are one row of weights here, c = w_1 - w_0, and two in the trainer. The loss sees only c, and of all pairs
with this difference the penalty takes the cheapest. Its square is least at w_1 = -w_0 = c/2, its absolute value
wherever no |w_1j| + |w_0j| exceeds |c_j|, so there as well:

    l2/2 (||w_0||^2 + ||w_1||^2) + l1 (||w_0||_1 + ||w_1||_1) = l2/4 ||c||^2 + l1 ||c||_1

so that for two classes l2 is twice the above, and l1 the same.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import config
from numpy.typing import ArrayLike, NDArray

try:
    import sklearn.exceptions
    from joblib import effective_n_jobs
    from sklearn.base import BaseEstimator, ClassifierMixin
    from sklearn.utils import compute_class_weight
    from sklearn.utils.multiclass import check_classification_targets
    from sklearn.utils.validation import check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        'SoftmaxRegression needs scikit-learn 1.6.1 or newer; install it with: pip install "nbsoftmax[sklearn]"'
    ) from error

from nbsoftmax import check
from nbsoftmax.check import Float64s, Floats
from nbsoftmax.model import SoftmaxModel, one_row, two_rows
from nbsoftmax.trainer import ConvergenceWarning, Trainer
from nbsoftmax.watch import Iteration

try:
    from sklearn.callback import CallbackSupportMixin, with_callbacks
except ImportError:  # scikit-learn before 1.9 has no callbacks

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Nothing to support."""

    def with_callbacks(method: Any) -> Any:
        """Leave the method as it is."""
        return method


class EitherConvergenceWarning(ConvergenceWarning, sklearn.exceptions.ConvergenceWarning):
    """Ours and scikit-learn's, so that filters for either of them hold."""


class SoftmaxRegression(CallbackSupportMixin, ClassifierMixin, BaseEstimator):
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
        As for `Trainer`: `tol` is how far the objective may be above its minimum, relative to itself; `max_iter=None`
        is the solver's own limit.
    warm_start : bool
        Whether `fit` starts from the last `coef_` and `intercept_` instead of 0.
    n_jobs : int, optional
        Threads, counted as joblib does; by default as many as Numba would use.
    random_state : int, RandomState, optional
        For solvers that draw at random; the present ones do not.
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

    def __init__(
        self,
        C: float = 1.0,
        *,
        l1_ratio: float = 0.0,
        class_weight: Any = None,
        fit_intercept: bool = True,
        label_smoothing: float = 0.0,
        solver: str = "auto",
        tol: float = 1e-6,
        max_iter: int | None = None,
        warm_start: bool = False,
        n_jobs: int | None = None,
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
        # Whether X is finite is checked below, in one pass over it.
        X, y = validate_data(self, X, y, dtype=[np.float64, np.float32], ensure_all_finite=False)
        check_classification_targets(y)
        classes, codes = np.unique(y, return_inverse=True)
        if classes.size < 2:
            raise check.InputValueError(f"y contains one class only ({classes[0]!r}), expected at least two classes.")
        weight = check.sample_weights(sample_weight, codes.size)
        by_class = self._class_weight(classes, codes, weight)
        total = float(np.bincount(codes, weight if weight.size else None, classes.size) @ by_class)
        l1, l2 = self._penalties(total, classes.size)
        start = self._start(X.shape[1], classes)
        tasks = None
        if hasattr(self, "_init_callback_context"):
            tasks = _Tasks(self, X, y, sample_weight, start, classes)
        fitter = Trainer(
            solver=self.solver,
            l1=l1,
            l2=l2,
            fit_intercept=self.fit_intercept,
            tol=self.tol,
            max_iter=self.max_iter,
            label_smoothing=self.label_smoothing,
            class_weight=None if self.class_weight is None else by_class,
            n_threads=self._n_threads(),
            callbacks=() if tasks is None else (tasks,),
            random_state=self._seed(),
            verbose=bool(self.verbose),
        )
        fitter.warn_as = EitherConvergenceWarning
        result = fitter.fit(X, codes, sample_weight=weight if weight.size else None, init=start)
        self.classes_ = classes
        self.coef_, self.intercept_ = one_row(result.model.coef, result.model.intercept)
        self.n_iter_ = np.array([result.n_iter], np.int32)
        self.converged_, self.gap_, self.history_ = result.converged, result.gap, result.history
        if tasks is not None:
            tasks.end()
        if result.reason == "interrupted":
            raise KeyboardInterrupt  # the trainer has kept what was reached; a search over many fits must end as well
        return self

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
        """Logarithms of the probabilities; finite also where a probability underflows."""
        model, X = self._ready(X)
        return model.predict_log_proba(X)

    def predict(self, X: Any) -> NDArray[Any]:
        """Most probable labels (n_samples,); of equal ones the first in `classes_`."""
        model, X = self._ready(X)
        labels: NDArray[Any] = self.classes_[model.predict(X)]
        return labels

    def _ready(self, X: Any) -> tuple[SoftmaxModel, Floats]:
        """The model, its classes counted from 0 since `classes_` may be of any kind, and X as it takes it."""
        check_is_fitted(self)
        X = validate_data(self, X, dtype=[np.float64, np.float32], ensure_all_finite=False, reset=False)
        coef, intercept = two_rows(self.coef_, self.intercept_)
        return SoftmaxModel(coef, intercept, np.arange(len(coef))), X

    # --- scikit-learn's terms in the trainer's --------------------------------------------------

    def _penalties(self, total: float, n_classes: int) -> tuple[float, float]:
        """(l1, l2) for weights that sum to `total`."""
        share = check.number("l1_ratio", self.l1_ratio, low=0.0, high=1.0)
        unpenalised = isinstance(self.C, (float, np.floating)) and np.isposinf(self.C)
        if unpenalised or total == 0:  # of the latter the objective says what is wrong
            return 0.0, 0.0
        strength = 1 / (check.number("C", self.C, low=0.0, low_open=True) * total)
        return share * strength, (1 - share) * strength * (2 if n_classes == 2 else 1)

    def _class_weight(self, classes: NDArray[Any], codes: NDArray[Any], weight: Float64s) -> Float64s:
        """Weights (n_classes,) in the order of the classes."""
        if isinstance(self.class_weight, str):
            check.choice("class_weight", self.class_weight, ("balanced",))
            # scikit-learn's function counts the weights of samples only in its later versions.
            counts = np.bincount(codes, weight if weight.size else None, classes.size)
            return np.asarray(counts.sum() / (classes.size * np.where(counts > 0, counts, 1.0)))
        return np.asarray(compute_class_weight(self.class_weight, classes=classes, y=classes), np.float64)

    def _start(self, n_features: int, classes: NDArray[Any]) -> Float64s | None:
        if not (self.warm_start and hasattr(self, "coef_")):
            return None
        coef, intercept = two_rows(self.coef_, self.intercept_)
        if coef.shape[1] != n_features or not np.array_equal(self.classes_, classes):
            raise check.InputValueError(
                f"warm_start=True, but the last fit was of {coef.shape[1]} features and the classes "
                f"{self.classes_.tolist()[:10]}, this one is of {n_features} and {classes.tolist()[:10]}; "
                "set warm_start=False."
            )
        return np.column_stack([coef, intercept])

    def _n_threads(self) -> int | None:
        # joblib's count takes into account that this process may itself be one of several workers.
        most = int(config.NUMBA_NUM_THREADS)  # type: ignore[attr-defined]
        return None if self.n_jobs is None else min(effective_n_jobs(self.n_jobs), most)

    def _seed(self) -> int | None:
        if isinstance(self.random_state, np.random.RandomState):
            return int(self.random_state.randint(2**31 - 1))
        return None if self.random_state is None else check.count("random_state", self.random_state, low=0)


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
