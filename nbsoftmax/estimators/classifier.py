"""`SoftmaxRegression`, with the interface of scikit-learn's `LogisticRegression`."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.metaestimators import available_if

from nbsoftmax import validation
from nbsoftmax.data.blocks import is_source, refuse_source
from nbsoftmax.errors import InputValueError, listed, plain
from nbsoftmax.estimators.base import ADVICE, EitherConvergenceWarning, FittedClassifier
from nbsoftmax.estimators.bounds import bounds_of_classes
from nbsoftmax.estimators.callback_tasks import CallbackSupportMixin, CallbackTasks, with_callbacks
from nbsoftmax.estimators.labels import encoded, sorted_labels
from nbsoftmax.estimators.namespaces import move_attributes, to_numpy
from nbsoftmax.estimators.other_names import names_checked
from nbsoftmax.models.sklearn_parameters import one_row
from nbsoftmax.models.thresholds import Thresholds, thresholds_of
from nbsoftmax.problem import Problem, weights_of_classes
from nbsoftmax.selection.path import as_in_sklearn
from nbsoftmax.solvers.sgd import SGD
from nbsoftmax.solvers.table import Solver
from nbsoftmax.training.stream import needs_all_samples
from nbsoftmax.training.trainer import Trainer
from nbsoftmax.validation import Float64s


def _can_partial_fit(estimator: SoftmaxRegression) -> bool:
    """Whether the parameters allow `partial_fit`; if not, an AttributeError says why."""
    if estimator.l1_ratio != 0:
        raise AttributeError(f"partial_fit has no l1 penalty, and l1_ratio is {estimator.l1_ratio!r}; set it to 0.")
    if estimator.bounds is not None:
        raise AttributeError("partial_fit cannot keep bounds; set bounds to None.")
    if estimator.firth:
        raise AttributeError("partial_fit has no Firth penalty, which needs all samples at once; set firth=False.")
    obstacle = needs_all_samples(estimator.class_weight, standardize=estimator.standardize)
    if obstacle is not None:
        raise AttributeError(obstacle)
    return True


class SoftmaxRegression(CallbackSupportMixin, FittedClassifier):
    """Softmax regression with the interface of scikit-learn's `LogisticRegression`, and its objective.

        minimise sum_i s_i L(x_i, y_i) + (1 - l1_ratio)/(2 C) ||coef_||^2 + l1_ratio/C ||coef_||_1

    Parameters
    ----------
    C : float
        Inverse strength of the penalty; `np.inf` for none.
    l1_ratio : float in [0, 1]
        Share of the l1 penalty, which makes coefficients exactly 0.
    class_weight : None, "balanced" or dict of label to weight
        "balanced" gives class k the weight n_samples / (n_classes * count_k), counts weighted by the sample weights.
    fit_intercept : bool
    standardize : bool
        Whether the penalty acts on the coefficients of standardized features; `coef_` is that of the features as they
        are. `partial_fit` does not support it.
    penalty_weight : array_like (n_features,), optional
        Weight of each feature in the penalty, as for `Trainer`; 0 leaves a feature unpenalised.
    bounds : (low, high), optional
        Bounds on `coef_`, each None, a number, (n_features,) or the shape of `coef_`: (0, None) for coefficients of at
        least 0. `partial_fit` does not support them.
    label_smoothing : float in [0, 1]
        This share of every target is spread evenly over the classes.
    firth : bool
        Whether the penalty is Firth's, as in `Trainer(penalty="firth")`, instead of that of C and l1_ratio, which then
        have no effect: for estimates where classes are perfectly separable, or samples are few.
    thresholds : dict of label to threshold, or array_like (n_classes,) in the order of the sorted labels, optional
        `predict` and `score` take the class k with the largest proba[k] / thresholds[k], as in `SoftmaxModel.predict`.
        Without effect on the fit, `predict_proba` and `decision_function`.
    solver, tol, max_iter
        As for `Trainer`: `solver` is a name or an object such as `nbsoftmax.SGD()`, `tol` is how far the objective may
        be above its minimum, relative to itself, and `max_iter=None` is the solver's own limit.
    warm_start : bool
        Whether `fit` starts from the last `coef_` and `intercept_` instead of 0.
    n_jobs : int, optional
        Number of threads, as in joblib; by default as many as Numba would use.
    device : {"cpu", "cuda", "auto"} or str
        As for `Trainer`, for `fit`; `partial_fit` runs on the CPU.
    random_state : int, RandomState, optional
        Seed of the order of the samples in the solver "sgd" and in `partial_fit`. None is the seed 0, so that every fit
        is the same; in scikit-learn, None gives another order for each fit.
    verbose : int or bool
        Whether to show the progress on stderr.

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
    model_ : SoftmaxModel
        To save the model (`model_.save`), or to export it (`model_.to_onnx`).
    """

    @names_checked
    def __init__(  # noqa: PLR0913  scikit-learn takes options from the constructor
        self,
        C: float = 1.0,
        *,
        l1_ratio: float = 0.0,
        class_weight: Any = None,
        fit_intercept: bool = True,
        standardize: bool = False,
        penalty_weight: ArrayLike | None = None,
        bounds: Any = None,
        label_smoothing: float = 0.0,
        firth: bool = False,
        thresholds: Thresholds = None,
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
        self.standardize = standardize
        self.penalty_weight = penalty_weight
        self.bounds = bounds
        self.label_smoothing = label_smoothing
        self.firth = firth
        self.thresholds = thresholds
        self.solver = solver
        self.tol = tol
        self.max_iter = max_iter
        self.warm_start = warm_start
        self.n_jobs = n_jobs
        self.device = device
        self.random_state = random_state
        self.verbose = verbose

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None
    ) -> SoftmaxRegression:
        """Fit to samples (n_samples, n_features), labels (n_samples,) and weights (n_samples,).

        An offset (n_samples, n_classes), or (n_samples,) for classes_[1] of two, is added to the logits. Labels that
        are booleans (n_samples, n_classes), or a table of boolean columns, are partial: the classes that are possible.

        X may be an array, a frame, or a sparse matrix or array of SciPy, which stays sparse; or a source of blocks of
        rows from `nbsoftmax.data`, which has its own labels, weights and offset: give it without y.

        Warns
        -----
        ConvergenceWarning
            If the fit has not converged; it is a warning of both `nbsoftmax` and `sklearn.exceptions`.

        Raises
        ------
        InputValueError, InputTypeError
            For a parameter of the estimator that is out of its range, of another type, or does not go together with the
            others or the data; for NaN or infinity in X, labels of one class only, and weights or an offset that
            are not one for each row.
        ValueError
            From scikit-learn: for an X that is not two-dimensional, is empty or holds text; for labels that are
            missing, continuous, or not one for each row.
        """
        read = self._read_source if is_source(X) else self._read_problem
        problem, classes = read(X, y, sample_weight, offset)
        l1, l2 = self._penalties(problem.weight_sum, classes.size)
        thresholds_of(self.thresholds, classes)  # wrong ones are refused before the fit
        start = self._start(problem.n_features, classes)
        tasks = None
        given = {"sample_weight": sample_weight, "offset": offset}
        metadata = {name: value for name, value in given.items() if value is not None} or None
        if hasattr(self, "_skl_callbacks") or hasattr(self, "_parent_callback_ctx"):
            refuse_source(X, "a callback of scikit-learn", "use Trainer(callbacks=...)")
            assert isinstance(problem, Problem)
            tasks = CallbackTasks(self, problem.X, y, metadata, start, classes)
        bounds = bounds_of_classes(self.bounds, classes.size, problem.n_features)
        fitter = self._trainer(l1, l2, bounds, () if tasks is None else (tasks,))
        result = fitter.fit(problem, init=start)
        self._set_fitted(result, classes)
        self._stream: Trainer | None = None
        self._seen = problem.weight_sum
        if tasks is not None:
            tasks.end()
        move_attributes(self, X)
        if result.interrupted:
            raise KeyboardInterrupt  # after setting the attributes; a search over many fits must end as well
        return self

    @available_if(_can_partial_fit)
    def partial_fit(
        self,
        X: Any,
        y: Any,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
    ) -> SoftmaxRegression:
        """Update the model with a chunk of a stream: one epoch of stochastic gradient descent, whatever `solver` is.

        The first call starts from the last `fit`, if there was one, or else from 0. C has the same meaning as in a fit
        to all samples so far. The distance from the minimum is not known: `gap_` is inf. Parameters other than
        `fit_intercept` and `random_state` may be set between two calls.

        Parameters
        ----------
        X : array_like, frame or sparse matrix (n_samples, n_features)
        y : array_like (n_samples,)
        classes : array_like (n_classes,)
            All labels of the stream; needed in the first call, unless there was a `fit`.
        sample_weight : array_like (n_samples,), optional
        offset : array_like (n_samples, n_classes), or (n_samples,) for classes_[1] of two, optional
            Added to the logits, as in `fit`.

        Raises
        ------
        AttributeError
            With bounds, firth=True or an l1_ratio above 0; and with standardize=True or "balanced" class weights, which
            need all samples at once.
        ValueError, TypeError
            For input or parameters that cannot be used.
        """
        fitted, given = hasattr(self, "coef_"), X
        X, y = to_numpy("X", X), to_numpy("y", y)
        sample_weight, offset = to_numpy("sample_weight", sample_weight), to_numpy("offset", offset)
        X, y, names = self._read(X, y, reset=not fitted)
        if names is not None:  # so that an error names the column; the trainer validates arrays
            X = validation.features(X, names=names)
        labels = self._labels_of_stream(classes)
        found, codes = encoded(y)
        unknown = ~np.isin(found, labels)[codes]
        if unknown.any():
            odd = plain(y[unknown][0])
            raise InputValueError(f"y contains {odd}, which is not in classes; leave such rows out.")
        codes = np.searchsorted(labels, found)[codes]
        weight = validation.sample_weights(sample_weight, codes.size)
        by_class = weights_of_classes(self.class_weight, codes, labels, weight)
        target = validation.targets(codes, codes.size, labels.size, X.dtype)
        chunk = validation.weigh(
            target, weight, validation.class_weights(by_class, labels.size), labels.size, X.dtype, label_smoothing=0.0
        )
        seen = getattr(self, "_seen", 0.0) + chunk.weight_sum
        begins = getattr(self, "_stream", None) is None
        start = np.column_stack(self._two_rows()) if begins and fitted else None
        trainer = self._trainer_of_stream(self._penalties(seen, labels.size)[1], by_class)
        indices = np.arange(labels.size)
        added = None if offset is None else validation.offset(offset, (codes.size, labels.size), X.dtype, labels)
        model = trainer.partial_fit(X, codes, classes=indices, sample_weight=sample_weight, offset=added, init=start)
        self._stream, self._seen, self.classes_ = trainer, seen, labels
        self.coef_, self.intercept_ = one_row(model.coef, model.intercept)
        self.n_iter_ = np.array([1], np.int32)
        self.converged_, self.gap_, self.history_ = False, np.inf, {}
        move_attributes(self, given)
        return self

    def _labels_of_stream(self, classes: ArrayLike | None) -> NDArray[Any]:
        """All labels of the stream, sorted."""
        given = None if classes is None else sorted_labels(classes)
        if not hasattr(self, "coef_"):
            if given is None:
                raise InputValueError("classes is missing; the first call of partial_fit needs all labels.")
            return given
        labels: NDArray[Any] = self.classes_
        if given is not None and not np.array_equal(given, labels):
            raise InputValueError(
                f"classes are [{listed(given)}], but those of the previous calls are [{listed(labels)}]; give the same "
                "ones, or none."
            )
        return labels

    def _trainer_of_stream(self, l2: float, class_weight: ArrayLike | None) -> Trainer:
        """The trainer of the stream, with the parameters that may be set between two chunks."""
        trainer: Trainer | None = copy(getattr(self, "_stream", None))  # a copy of the estimator has the same one
        if trainer is None:
            begun: dict[str, Any] = {"random_state": self._seed(), "n_threads": self._n_threads()}
            trainer = Trainer(solver=SGD(average=True), fit_intercept=self.fit_intercept, **begun)
        elif trainer.fit_intercept != self.fit_intercept:
            raise InputValueError(
                f"fit_intercept is {self.fit_intercept}, but was {trainer.fit_intercept} in the first call of "
                "partial_fit; set it back, or begin again with a clone."
            )
        trainer.l2, trainer.penalty_weight = l2, self.penalty_weight
        trainer.class_weight, trainer.label_smoothing = class_weight, self.label_smoothing
        trainer.n_threads = self._n_threads()
        return trainer

    def _trainer(self, l1: float, l2: float, bounds: Any, callbacks: tuple[Any, ...]) -> Trainer:
        """The trainer of a fit with these penalties, and bounds on the coefficients of all classes."""
        firth = validation.flag("firth", self.firth)
        trainer = Trainer(
            solver=self.solver,
            l1=0.0 if firth else l1,
            l2=0.0 if firth else l2,
            penalty="firth" if firth else None,
            fit_intercept=self.fit_intercept,
            standardize=self.standardize,
            penalty_weight=self.penalty_weight,
            bounds=bounds,
            tol=self.tol,
            max_iter=self.max_iter,
            label_smoothing=self.label_smoothing,
            n_threads=self._n_threads(),
            device=self.device,
            callbacks=callbacks,
            random_state=self._seed(),
            verbose=self._verbose(),
        )
        trainer.warn_as, trainer.advice = EitherConvergenceWarning, ADVICE
        return trainer

    # --- scikit-learn's terms in the trainer's --------------------------------------------------

    def _penalties(self, total: float, n_classes: int) -> tuple[float, float]:
        """(l1, l2) for weights that sum to `total`."""
        share = validation.number("l1_ratio", self.l1_ratio, low=0.0, high=1.0)
        C = validation.number("C", self.C, low=0.0, low_open=True, finite=False)
        if np.isinf(C) or total == 0:  # if the weights are all 0, the objective raises an error
            return 0.0, 0.0
        l1, l2 = as_in_sklearn(C, total, share, n_classes)
        return float(l1), float(l2)

    def _start(self, n_features: int, classes: NDArray[Any]) -> Float64s | None:
        if not (validation.flag("warm_start", self.warm_start) and hasattr(self, "coef_")):
            return None
        coef, intercept = self._two_rows()
        if coef.shape[1] != n_features or not np.array_equal(self.classes_, classes):
            raise InputValueError(
                f"warm_start=True, but the last fit was of {coef.shape[1]} features and the classes "
                f"[{listed(self.classes_)}], this one is of {n_features} and [{listed(classes)}]; "
                "set warm_start=False."
            )
        return np.column_stack([coef, intercept])
