"""The trainer: from data and options to a fitted model with an honest report."""

from __future__ import annotations

import inspect
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.backends.cuda.device import on_host
from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.objective import Objective
from nbsoftmax.solvers import gd, lbfgs, newton_cg, prox_newton, sgd
from nbsoftmax.solvers.base import Solution
from nbsoftmax.solvers.tools import preconditioners, separation
from nbsoftmax.training.callbacks import ProgressBar
from nbsoftmax.training.checkpoint import Checkpoint, fingerprint
from nbsoftmax.training.context import Context
from nbsoftmax.training.hooks import Hooks
from nbsoftmax.training.monitor import FitMonitor
from nbsoftmax.training.result import FitResult
from nbsoftmax.training.stream import Stream, classes_of
from nbsoftmax.validation import Float64s, is_on_device

SOLVERS = ("auto", "newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton")


class ConvergenceWarning(UserWarning):
    """The fit ended before the objective was within `tol` of its minimum; the message says what to do."""


class Trainer:
    """Fits softmax regression.

        minimise (1 / S) sum_i s_i L(coef x_i + intercept, y_i) + l2/2 ||coef||^2 + l1 ||coef||_1

    with s the sample weights times the class weights and S their sum. scikit-learn's C is 1 / (l2 S), or 1 / (l1 S).

    Parameters
    ----------
    solver : {"auto", "newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton"}
        "auto" takes "prox-newton" for l1 > 0, which only that one minimises, and else "newton-cg", which chooses its
        preconditioner by cost as the fit goes on: from the diagonal of the Hessian, where there are very many features,
        up to all of it. "newton" makes the whole Hessian for every step, "lbfgs" one Gram matrix, and "gd" is plain
        gradient descent, for reference. "sgd" takes mini-batches: fast initial progress, slow final convergence.
    l1, l2 : float
        Penalties. With l1 > 0 some weights become exactly 0. With either penalty the gap is a proven bound, by duality
        or strong convexity, when one is available.
    grouped : bool
        Whether l1 penalises the weights of a feature together, l1 sum_j ||coef[:, j]||_2 instead of l1 ||coef||_1, so
        that features leave the model as a whole.
    fit_intercept : bool
    tol : float
        The fit has converged when the objective is within tol * |objective| of its minimum, or within eps log K, if
        that is more. (With all parameters 0 the objective of K classes is log K.)
    max_iter : int, optional
        Default: the solver's own, 10000 for "lbfgs" and "gd", 50 epochs for "sgd", 500 for the others.
    learning_rate : float, optional
        Fixed step of "gd"; by default it backtracks. For "sgd" the rate that its schedule begins with; by default from
        the size of the data.
    batch_size : int, optional
        Samples in a mini-batch of "sgd"; default 32.
    label_smoothing : float in [0, 1]
    class_weight : None, "balanced", dict of label to weight, or array in the order of the sorted labels
        "balanced" gives class k the weight n_samples / (n_classes * count_k), counts weighted by the sample weights.
    n_threads : int, optional
    device : {"cpu", "cuda", "auto"} or str
        As in `Objective`. The solver "sgd" runs on the CPU alone, and there too with "auto".
    device_memory : int, optional
        As in `Objective`.
    dtype : {float32, float64}, optional
        Converts X; by default float32 and float64 stay, everything else becomes float64.
    callbacks : sequence of callables, or of objects with hooks
        Each is called with an `Iteration` after every iteration; returning True stops the fit. `nbs.callbacks` has
        `ProgressBar`, `JsonLines`, `EarlyStopping` and `ModelCheckpoint`, and describes the hooks.
    random_state : int, optional
        Seed of the order in which "sgd" takes the samples, and of the share that `validation_fraction` holds out.
        None is the seed 0, so that every fit is the same.
    verbose : bool
        Show the progress on stderr: short for `nbs.callbacks.ProgressBar()` among the callbacks.
    max_seconds : float, optional
        The fit ends after the iteration in which it has taken so long.
    validation_fraction : float in (0, 0.9], optional
        The share of the samples, about the same of each class, that `fit` holds out as validation data where it is
        given none. They are drawn by `random_state`.
    optimizer : {"nesterov", "momentum", "adam"}, optional
        How "sgd" makes a step of a gradient; as in PyTorch. Default "nesterov".
    momentum : float in [0, 1), optional
        Of these, the first moment's decay for "adam". Default 0.9.
    schedule : {"cosine", "constant", "step", "inverse"}, optional
        How the rate of "sgd" falls: along half a cosine to 0 at the last epoch, not at all, to a tenth at each third
        of the epochs, or as 1 / (1 + epochs / 10). Default "cosine" for `fit`, "constant" for `partial_fit`.
    average : bool
        Whether the result of "sgd" is the mean of its iterates, of which the later count more.

    Raises
    ------
    InputValueError, InputTypeError
        For options out of range, or of another solver.
    """

    warn_as: type[ConvergenceWarning] = ConvergenceWarning  # the estimators warn by a subclass of it
    to_penalise = "add l2 (1e-4, say)"  # advice in that warning; the estimators name their own parameter

    def __init__(
        self,
        *,
        solver: str = "auto",
        l1: float = 0.0,
        l2: float = 0.0,
        grouped: bool = False,
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int | None = None,
        learning_rate: float | None = None,
        batch_size: int | None = None,
        label_smoothing: float = 0.0,
        class_weight: str | Mapping[Any, float] | ArrayLike | None = None,
        n_threads: int | None = None,
        device: str = "cpu",
        device_memory: int | None = None,
        dtype: Any = None,
        callbacks: Sequence[Any] = (),
        random_state: int | None = None,
        verbose: bool = False,
        max_seconds: float | None = None,
        validation_fraction: float | None = None,
        optimizer: str | None = None,
        momentum: float | None = None,
        schedule: str | None = None,
        average: bool = False,
    ) -> None:
        self.solver = validation.choice("solver", solver, SOLVERS)
        self.l1 = validation.number("l1", l1, low=0.0)
        self.l2 = validation.number("l2", l2, low=0.0)
        self.grouped = validation.flag("grouped", grouped)
        if self.l1 > 0 and self.solver not in {"auto", "prox-newton"}:
            raise InputValueError(
                f'l1 is {self.l1:g}, which solver {self.solver!r} cannot minimise; use solver="prox-newton" or "auto".'
            )
        if self.l1 == 0 and (self.solver == "prox-newton" or self.grouped):
            given = "grouped is True" if self.grouped else 'solver is "prox-newton"'
            raise InputValueError(f"{given}, but l1 is 0; give l1 > 0, or leave it out.")
        self.fit_intercept = validation.flag("fit_intercept", fit_intercept)
        self.tol = validation.number("tol", tol, low=0.0, low_open=True)
        self.max_iter = None if max_iter is None else validation.count("max_iter", max_iter)
        if learning_rate is not None:
            validation.number("learning_rate", learning_rate, low=0.0, low_open=True)
            if self.solver not in {"gd", "sgd"}:
                raise InputValueError(
                    f'learning_rate is for solver="gd" and "sgd"; solver {self.solver!r} finds its own steps.'
                )
        self.learning_rate = learning_rate
        stochastic = {
            "batch_size": batch_size, "optimizer": optimizer, "momentum": momentum, "schedule": schedule,
            "average": average or None,
        }  # fmt: skip
        for name, option in stochastic.items():
            if option is not None and self.solver != "sgd":
                raise InputValueError(
                    f'{name} is {plain(option)}, but that is for solver="sgd", which works on mini-batches; '
                    f"leave it out for solver {self.solver!r}."
                )
        self.batch_size = None if batch_size is None else validation.count("batch_size", batch_size)
        self.optimizer = None if optimizer is None else validation.choice("optimizer", optimizer, tuple(sgd.KINDS))
        self.momentum = None if momentum is None else validation.number("momentum", momentum, low=0.0, high=1.0)
        if self.momentum == 1:
            raise InputValueError("momentum is 1, with which no step ever ends; give less, 0.9 for example.")
        self.schedule = None if schedule is None else validation.choice("schedule", schedule, sgd.SCHEDULES)
        self.average = validation.flag("average", average)
        self._stream: Stream | None = None
        self.label_smoothing = validation.number("label_smoothing", label_smoothing, low=0.0, high=1.0)
        self.class_weight = class_weight
        self.n_threads = validation.n_threads(n_threads)
        self.device = validation.device(device)
        if self.solver == "sgd":
            if self.device.startswith("cuda"):
                raise InputValueError(
                    f"device is {device!r}, but solver 'sgd' runs on the CPU; take solver 'newton-cg', or device 'cpu'."
                )
            self.device = "cpu"
        self.device_memory = None if device_memory is None else validation.count("device_memory", device_memory)
        self.dtype = None if dtype is None else validation.float_dtype(dtype)
        self.callbacks = validation.callables("callbacks", callbacks)
        self.random_state = None if random_state is None else validation.count("random_state", random_state, low=0)
        self.verbose = validation.flag("verbose", verbose)
        if max_seconds is not None:
            validation.number("max_seconds", max_seconds, low=0.0, low_open=True)
        self.max_seconds = max_seconds
        if validation_fraction is not None:
            validation.number("validation_fraction", validation_fraction, low=0.0, high=0.9, low_open=True)
        self.validation_fraction = validation_fraction

    def __repr__(self) -> str:
        """The options that are not default, `Trainer(l2=0.001, solver='lbfgs')` for example."""
        options = {name: option.default for name, option in inspect.signature(type(self)).parameters.items()}
        given = {name: getattr(self, name) for name in sorted(options)}
        # An array has no single truth value for `!=`; it is only possible for options whose default is None.
        shown = [
            f"{name}={plain(value)}"
            for name, value in given.items()
            if (value is not None if options[name] is None else value != options[name])
        ]
        return f"{type(self).__name__}({', '.join(shown)})"

    def fit(
        self,
        X: Any,
        y: Any,
        *,
        sample_weight: ArrayLike | None = None,
        init: Any = None,
        validation_data: tuple[Any, Any] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> FitResult:
        """Fit to samples and labels.

        Parameters
        ----------
        X : array_like or frame (n_samples, n_features)
            A pandas, polars or Arrow table gives the model its feature names; it is read as float32 if all columns are,
            and else as float64. With `device`, also an array on that GPU, as in `Objective`; y and sample_weight on a
            GPU are copied.
        y : array_like or column of a table
            Labels, (n_samples,): integers, strings or booleans; or probabilities (n_samples, n_classes), whose
            classes are 0..n_classes-1.
        sample_weight : array_like (n_samples,), optional
        init : FitResult, SoftmaxModel or array (n_classes, n_features + 1), optional
            Where to start; by default at 0.
        validation_data : (X, y), optional
            Its mean loss, without penalty, goes to the history.
        checkpoint : path, optional
            File for the state of the fit, from which `resume` goes on. It is written atomically: every few seconds, at
            the end, after Ctrl-C, and before SIGTERM ends the process (in the main thread). If that fails, a warning
            says so and the fit goes on.
        resume : bool
            Go on from `checkpoint`, if it exists: the result has the bits of a fit that was never interrupted.

        Returns
        -------
        FitResult

        Warns
        -----
        ConvergenceWarning
            If the fit ended for another reason than convergence, a callback or an interruption.

        Raises
        ------
        InputValueError, InputTypeError
            For input that cannot be used, among it a checkpoint that is damaged or of another problem; the message says
            what to do.
        """
        started = time.perf_counter()
        if isinstance(X, Samples):
            data = X
        else:
            data = samples(X, y, sample_weight, dtype=self.dtype, device=self.device)
            if validation_data is not None:
                held = _validation(validation_data, data.classes, data.names, data.X)
                data = data._replace(held_out=(*held, None))
        if data.held_out is None and self.validation_fraction is not None:
            data = data.split(self.validation_fraction, self.random_state)
        X, y, classes, names, sample_weight, held_out = data
        if checkpoint is not None and is_on_device(X):
            raise InputValueError("X is on a GPU: a checkpoint reads its rows; copy it to the host.")
        held_out_objective = None
        if held_out is not None:
            held_out_objective = Objective(
                *held_out[:2], n_classes=classes.size, sample_weight=held_out[2], n_threads=self.n_threads
            )
        by_class = class_weights(self.class_weight, y, classes, sample_weight)
        problem = partial(
            Objective,
            X,
            y,
            n_classes=classes.size,
            sample_weight=sample_weight,
            class_weight=by_class,
            l1=self.l1,
            l2=self.l2,
            grouped=self.grouped,
            fit_intercept=self.fit_intercept,
            label_smoothing=self.label_smoothing,
            n_threads=self.n_threads,
            device=self.device,
            device_memory=self.device_memory,
        )
        objective = problem()
        start = _start(init, objective.shape, classes)
        if not self.fit_intercept:
            start[:, -1] = 0.0
        solver = self.solver
        if solver == "auto":
            # Measured up to 6000 features (perf/FITS.md): the fastest, or not far from it.
            solver = "prox-newton" if self.l1 > 0 else "newton-cg"
        context = Context(solver, X.shape[0], X.shape[1], classes, names, 0 if held_out is None else len(held_out[1]))
        progress = [ProgressBar()] if self.verbose else []
        hooks = Hooks(self, [*self.callbacks, *progress], context)
        monitor = FitMonitor(
            started,
            objective,
            held_out_objective,
            hooks,
            max_seconds=np.inf if self.max_seconds is None else self.max_seconds,
        )
        if validation.flag("resume", resume) and checkpoint is None:
            raise InputValueError("resume is True, but there is no checkpoint; say which file to resume from.")
        if checkpoint is not None:
            options = (
                solver,
                self.l1,
                self.l2,
                self.grouped,
                self.fit_intercept,
                self.label_smoothing,
                self.learning_rate,
                by_class,
            )
            if solver == "sgd":
                options += (*self._stochastic("cosine").values(), self.max_iter)
            # The sums of another device have other bits.
            where = () if self.device == "cpu" else (self.device, self.device_memory)
            by_sample = None if sample_weight is None else np.asarray(sample_weight)
            monitor.save_to(
                Checkpoint(
                    checkpoint, fingerprint(*options, *where, *(held_out or ()), X, y, classes, by_sample, start)
                ),
                resume=resume,
            )
        with monitor.saved_on_termination(), hooks.running():
            with one_thread():  # the last bits of BLAS depend on the number of its threads
                try:
                    # Data of extreme scale overflow in a solver's inner products; its reason says what came of it.
                    with np.errstate(over="ignore", invalid="ignore"):
                        solution = self._solve(solver, objective, start, monitor)
                except KeyboardInterrupt:
                    solution = monitor.interrupted(start, self.tol)
                monitor.finish()
                solution = _without_separation(objective, monitor.with_best_params(solution, self.tol), classes)
            context.result = FitResult(
                model=SoftmaxModel(
                    solution.params[:, :-1],
                    solution.params[:, -1],
                    classes,
                    names,
                    self._training_metadata(solver, solution, objective),
                ),
                converged=solution.converged,
                reason=solution.reason,
                n_iter=solution.n_iter,
                objective=solution.objective,
                grad_norm=solution.grad_norm,
                gap=solution.gap,
                gap_kind=solution.gap_kind,
                seconds=time.perf_counter() - started,
                history=monitor.history(),
                solver=solver,
                summary=solution.account,
                problem=problem,
            )
        if not solution.converged and not monitor.stopped_on_request:
            warnings.warn(_advice(solution, self.tol, self.to_penalise), self.warn_as, stacklevel=2)
        return context.result

    def _training_metadata(self, solver: str, solution: Solution, objective: Objective) -> dict[str, Any]:
        """Training metadata stored with the model: only what is the same for two fits of the same data."""
        return {
            "solver": solver,
            "l1": self.l1,
            "l2": self.l2,
            "fit_intercept": self.fit_intercept,
            "label_smoothing": self.label_smoothing,
            "n_samples": objective.n_samples,
            "dtype": str(objective.dtype),
            "objective": solution.objective,
            "gap": solution.gap if np.isfinite(solution.gap) else None,
            "converged": solution.converged,
            "reason": solution.reason,
            "n_iter": solution.n_iter,
        }

    def _solve(self, solver: str, objective: Objective, start: Float64s, monitor: FitMonitor) -> Solution:
        options: Any = {"tol": self.tol, "max_iter": self.max_iter, "on_iteration": monitor, "memory": monitor.memory}
        if solver == "prox-newton":
            return prox_newton.solve(objective, start, **options)
        if solver == "gd":
            return gd.solve(objective, start, learning_rate=self.learning_rate, **options)
        if solver == "sgd":
            return sgd.solve(objective, start, options=self._stochastic("cosine"), **options)
        if solver == "lbfgs":
            return lbfgs.solve(objective, start, **options)
        kinds = ("hessian",) if solver == "newton" else preconditioners.KINDS
        return newton_cg.solve(objective, start, kinds=kinds, **options)

    def _stochastic(self, schedule: str) -> dict[str, Any]:
        """The options of "sgd", with what is taken where they were left out."""
        return {
            "learning_rate": self.learning_rate,
            "batch_size": self.batch_size or 32,
            "optimizer": self.optimizer or "nesterov",
            "momentum": 0.9 if self.momentum is None else self.momentum,
            "schedule": self.schedule or schedule,
            "average": self.average,
            "seed": self.random_state or 0,
        }

    def partial_fit(
        self,
        X: Any,
        y: Any,
        *,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        init: Any = None,
    ) -> SoftmaxModel:
        """Go on with a chunk of a stream: one epoch of "sgd" through these samples, from where the last call ended.

        The objective is that of all samples alike: l2 counts once for every sample, however they are cut into chunks.
        Nothing is evaluated, and nothing can converge; judge the model on samples that are still to come. A call to
        `fit` has no part in it. For the schedule a call counts as an epoch.

        Parameters
        ----------
        X : array_like or frame (n_samples, n_features)
        y : array_like
            Labels (n_samples,), or probabilities (n_samples, n_classes).
        classes : array_like (n_classes,)
            All labels that will ever come, in any order; needed in the first call, unless `y` are probabilities.
        sample_weight : array_like (n_samples,), optional
        init : FitResult, SoftmaxModel or array (n_classes, n_features + 1), optional
            Where the stream begins; only for the first call.

        Returns
        -------
        SoftmaxModel
            What has been learned so far.

        Raises
        ------
        InputValueError, InputTypeError
            For input that cannot be used; among it a label that is not in `classes`, other features than before, and
            samples with which the parameters grow without bound. What was learned before stays as it was.
        """
        if self.solver != "sgd":
            raise InputValueError(
                f'partial_fit is for solver="sgd", which takes samples as they come, but the solver is {self.solver!r}.'
            )
        options = self._stochastic("constant")
        if options["schedule"] not in {"constant", "inverse"}:
            raise InputValueError(
                f"schedule is {self.schedule!r}, which has an end, and a stream has none; "
                'give schedule="constant" or "inverse".'
            )
        if isinstance(self.class_weight, str):
            raise InputValueError(
                f"class_weight is {self.class_weight!r}, which needs all labels at once; give the weights themselves."
            )
        array, names = validation.frame(X)
        y = validation.target_array(y)
        stream = self._stream or Stream(classes_of(classes, y), names, options)
        validation.same_features(names, stream.names)
        again = None if self._stream is None or classes is None else classes_of(classes, y)
        if again is not None and not np.array_equal(again, stream.classes):
            raise InputValueError(
                f"classes are {again.tolist()[:10]}, but the stream began with {stream.classes.tolist()[:10]}; "
                "a new Trainer begins a new stream."
            )
        X = validation.design(array, dtype=self.dtype or stream.dtype, n_features=stream.n_features, names=names)
        codes = stream.codes(y, X.shape[0])
        if init is not None:
            if self._stream is not None:
                raise InputValueError("init is given, but the stream has begun; a new Trainer begins a new one.")
            start = _start(init, (stream.classes.size, X.shape[1] + 1), stream.classes)
            if not self.fit_intercept:
                start[:, -1] = 0.0
            stream.begin(start)
        objective = Objective(
            X,
            codes,
            n_classes=stream.classes.size,
            sample_weight=sample_weight,
            class_weight=class_weights(self.class_weight, codes, stream.classes, sample_weight),
            l2=self.l2,
            fit_intercept=self.fit_intercept,
            label_smoothing=self.label_smoothing,
            n_threads=self.n_threads,
            device=self.device,
        )
        with one_thread():
            stream.learn(objective)
        stream.dtype, stream.n_features = X.dtype, X.shape[1]
        self._stream = stream
        return stream.model()


class EncodedLabels(NamedTuple):
    """Labels that the caller has already encoded; messages and the model show the labels, not their indices."""

    codes: NDArray[np.integer[Any]]  # (n_samples,), indices of `classes`
    classes: NDArray[Any]  # (n_classes,), sorted


def targets(y: Any, n_samples: int | None = None) -> tuple[NDArray[Any], NDArray[Any]]:
    """Class indices and the labels they stand for; rows of probabilities stay, with classes 0, 1, ..."""
    if isinstance(y, EncodedLabels):
        return y.codes, y.classes
    array = validation.target_array(y)
    if array.ndim == 2 and array.shape[1] > 1:
        return array, np.arange(array.shape[1])
    codes, classes = validation.labels(array, n_samples=n_samples)
    if classes.size < 2:
        seen = f"only the class {plain(classes[0])}" if classes.size else "no label"
        raise InputValueError(f"y contains {seen}, expected at least two classes; there is nothing to tell apart.")
    return codes, classes


class Samples(NamedTuple):
    """Checked samples, targets and weights of a fit.

    `Trainer.fit` takes them in place of X. Several fits share them, so that an X that has to be converted is converted
    once, and not copied by every fit and kept by every result.
    """

    X: Any  # (n_samples, n_features), floats, maybe on a GPU
    y: NDArray[Any]  # class indices (n_samples,), or probabilities (n_samples, n_classes)
    classes: NDArray[Any]  # (n_classes,)
    names: tuple[str, ...] | None  # of the features
    sample_weight: Any  # (n_samples,) or None, as it was given
    held_out: tuple[NDArray[Any], NDArray[Any], Float64s | None] | None = None  # X, y and weights to validate with

    def split(self, fraction: float, seed: int | None) -> Samples:
        """Hold out this share of the samples of positive weight as validation data, drawn by `seed`."""
        validation.number("validation_fraction", fraction, low=0.0, high=0.9, low_open=True)
        seed = 0 if seed is None else validation.count("random_state", seed, low=0)
        if is_on_device(self.X):
            raise InputValueError("X is on a GPU: validation_fraction reads its rows; copy it to the host.")
        weight = validation.sample_weights(self.sample_weight, len(self.y))
        counts = weight > 0 if weight.size else np.ones(len(self.y), bool)
        out = np.zeros(len(self.y), bool)
        out[counts] = _held_out(self.y[counts], fraction, seed)
        kept = ~out
        return self._replace(
            X=self.X[kept],
            y=self.y[kept],
            sample_weight=weight[kept] if weight.size else None,
            held_out=(self.X[out], self.y[out], weight[out] if weight.size else None),
        )

    def scaled(self, mean: Float64s, scale: Float64s) -> Samples:
        """With (X - mean) / scale in place of X, also where it is held out; `mean` and `scale` are (n_features,)."""

        def of(X: Any) -> Any:
            return ((X - mean) / scale).astype(X.dtype)

        out = self.held_out
        return self._replace(X=of(self.X), held_out=None if out is None else (of(out[0]), *out[1:]))

    def weight_sum(self, class_weight: Any) -> float:
        """S, the sum of sample weights times class weights, by which scikit-learn's C differs from 1 / l2."""
        return validation.weighted_targets(
            self.y,
            len(self.y),
            self.classes.size,
            np.float64,
            sample_weight=self.sample_weight,
            class_weight=class_weights(class_weight, self.y, self.classes, self.sample_weight),
            label_smoothing=0.0,
            n_of="y",
        ).weight_sum


def samples(X: Any, y: Any, sample_weight: Any = None, *, dtype: Any = None, device: str = "cpu") -> Samples:
    """Check what is given to `Trainer.fit`; `dtype` and `device` are options of `Trainer`."""
    names: tuple[str, ...] | None = None
    if is_on_device(X):
        if dtype is not None:
            raise InputValueError("X is on a GPU, and used as it is; convert it there, and leave dtype out.")
    else:
        X, names = validation.samples(X, dtype=dtype if dtype is None else validation.float_dtype(dtype))
    if validation.device(device) != "cpu":
        y, sample_weight = on_host(device, y, sample_weight)
    codes, classes = targets(y, X.shape[0])
    if len(codes) != X.shape[0]:
        raise InputValueError(f"y has {len(codes)} entries, but X has {X.shape[0]} rows; give one target for each row.")
    return Samples(X, codes, classes, names, sample_weight)


def class_weights(
    given: str | Mapping[Any, float] | ArrayLike | None,
    y: NDArray[Any],
    classes: NDArray[Any],
    sample_weight: ArrayLike | None,
) -> ArrayLike | None:
    """Weights (n_classes,) in the order of the classes; None where none are given."""
    if given is None:
        return None
    given = validation.by_label(given, classes.size)
    if isinstance(given, str):
        validation.choice("class_weight", given, ("balanced",))
        weight, _ = validation.scaled(validation.sample_weights(sample_weight, len(y)))
        if not weight.size:
            weight = np.ones(len(y))
        counts = np.bincount(y, weight, classes.size) if y.ndim == 1 else np.einsum("i,ik->k", weight, y)
        share = np.where(counts > 0, counts, 1.0)  # a class without weight has no sample that counts
        return np.asarray(counts.sum() / (classes.size * share))
    if isinstance(given, Mapping):
        known = classes.tolist()
        by_label = dict.fromkeys(known, 1.0)
        for label, value in given.items():
            if label not in by_label:
                some = ", ".join(map(plain, known[:10]))
                raise InputValueError(f"class_weight names {plain(label)}, which is no label in y (labels: {some}).")
            by_label[label] = validation.number(f"class_weight[{plain(label)}]", value, low=0.0)
        return np.array(list(by_label.values()))
    return given


def _start(init: Any, shape: tuple[int, int], classes: NDArray[Any]) -> Float64s:
    if init is None:
        return np.zeros(shape)
    model = init.model if isinstance(init, FitResult) else init
    if isinstance(model, SoftmaxModel):
        if not np.array_equal(model.classes, classes):
            raise InputValueError(
                f"init has the classes {model.classes.tolist()[:10]}, but y has {classes.tolist()[:10]}; "
                "start from a model of the same classes, or leave init out."
            )
        model = np.column_stack([model.coef, model.intercept])
    return validation.params(model, shape, name="init").copy()


def _held_out(y: NDArray[Any], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which samples to hold out, (n_samples,): evenly along the classes, at random within each, of none the last."""
    order = np.random.default_rng(seed).permutation(len(y))
    codes = y if y.ndim == 1 else y.argmax(axis=1)
    order = order[np.argsort(codes[order], kind="stable")]
    counted = np.floor(fraction * np.arange(len(y) + 1))
    chosen = counted[1:] > counted[:-1]
    chosen[np.flatnonzero(np.diff(codes[order], append=-1))] = False
    if not chosen.any():
        raise InputValueError(
            f"validation_fraction {fraction:g} of {len(y)} samples holds out none; raise it, or give validation_data."
        )
    held_out = np.zeros(len(y), bool)
    held_out[order[chosen]] = True
    return held_out


def _validation(
    data: tuple[Any, Any], classes: NDArray[Any], names: tuple[str, ...] | None, X: NDArray[Any]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Checked samples and targets to validate with, as those of the fit."""
    if not isinstance(data, (tuple, list)) or len(data) != 2:
        raise InputTypeError(f"validation_data is a {type(data).__name__}, expected a pair (X, y).")
    array, given = validation.frame(data[0])
    validation.same_features(given, names)
    held_out = validation.design(array, name="validation X", dtype=X.dtype, n_features=X.shape[1], names=given)
    y = validation.target_array(data[1], name="validation y")
    if y.ndim == 2 and y.shape[1] > 1:
        return held_out, y
    return held_out, validation.codes_of(y, classes, n_samples=held_out.shape[0], name="validation y")


def _without_separation(objective: Objective, solution: Solution, classes: NDArray[Any]) -> Solution:
    """The solution; where it only looks like a minimum, with that as its reason."""
    if not solution.converged or solution.step is None or objective.separable_below == 0:
        return solution
    found = classes[separation.separated(objective, solution.params, solution.step)].tolist()
    if not found:
        return solution
    reason = f"{separation.REASON}; concerned: {', '.join(map(repr, found[:10]))}"
    return replace(solution, converged=False, reason=reason)


def _advice(solution: Solution, tol: float, to_penalise: str) -> str:
    if solution.reason.startswith(separation.REASON):
        todo = f"{to_penalise}, which makes the minimum finite and unique"
    elif "max_seconds" in solution.reason:
        todo = "raise max_seconds, or go on from a checkpoint with resume=True"
    elif "learning_rate" in solution.reason:
        todo = "a smaller learning_rate, or none, so that it backtracks"
    elif "max_iter" in solution.reason:
        todo = f"raise max_iter, scale the features, or {to_penalise}"
    else:
        todo = f"raise tol (now {tol:g}), centre and scale the features, or use float64 data"
    return (
        f"the fit has not converged: {solution.reason}; gap {solution.gap:.3g} at objective {solution.objective:.6g}. "
        f"What to do: {todo}."
    )
