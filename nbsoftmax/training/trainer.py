"""The trainer: from data and options to a fitted model with an honest report."""

from __future__ import annotations

import inspect
import os
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.objective import ObjectiveOptions, PenalizedLoss
from nbsoftmax.penalties import AnyPenalty, Penalty, penalty_of
from nbsoftmax.problem import Problem
from nbsoftmax.solvers.base import Solution
from nbsoftmax.solvers.sgd import SGD
from nbsoftmax.solvers.stop_reason import PYTHON_TERMS, StopReason
from nbsoftmax.solvers.table import SOLVERS, Solver, solver_of
from nbsoftmax.solvers.tools import separation
from nbsoftmax.training.callbacks import ProgressBar
from nbsoftmax.training.checkpoint import Checkpoint, fingerprint
from nbsoftmax.training.context import Context
from nbsoftmax.training.hooks import Hooks
from nbsoftmax.training.monitor import FitMonitor
from nbsoftmax.training.result import FitResult
from nbsoftmax.training.stream import Stream, classes_of
from nbsoftmax.validation import Float64s


class ConvergenceWarning(UserWarning):
    """The fit ended before the objective was within `tol` of its minimum; the message says what to do."""


class Trainer:
    """Fits softmax regression.

        minimise (1 / S) sum_i s_i L(coef x_i + intercept, y_i) + l2/2 ||coef||^2 + l1 ||coef||_1

    with s the sample weights times the class weights and S their sum. scikit-learn's C is 1 / (l2 S), or 1 / (l1 S).

    Parameters
    ----------
    solver : {"auto", "newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton"}, or an object
        A name stands for the solver with its default options; the objects `NewtonCG`, `Newton`, `LBFGS`,
        `GradientDescent`, `SGD` and `ProxNewton` take options, as in `Trainer(solver=nbs.SGD(batch_size=64))`. "auto"
        takes "prox-newton" for l1 > 0 or a penalty of your own, which only that one minimises, and else "newton-cg",
        which chooses its preconditioner by cost as the fit goes on: from the diagonal of the Hessian, where there are
        very many features, up to all of it. "newton" makes the whole Hessian for every step, "lbfgs" one Gram matrix,
        and "gd" is plain gradient descent, for reference. "sgd" takes mini-batches: fast initial progress, slow final
        convergence.
    l1, l2 : float
        Penalties. With l1 > 0 some weights become exactly 0. With either penalty the gap is a proven bound, by duality
        or strong convexity, when one is available.
    grouped : bool
        Whether l1 penalises the weights of a feature together, l1 sum_j ||coef[:, j]||_2 instead of l1 ||coef||_1, so
        that features leave the model as a whole.
    penalty : Ridge, Lasso, ElasticNet, GroupLasso or an object with their methods `value` and `prox`, optional
        Instead of `l1`, `l2` and `grouped`: these with a weight for each feature, or a penalty of your own; see
        "Penalties" in the documentation.
    fit_intercept : bool
    tol : float
        The fit has converged when the objective is within tol * |objective| of its minimum, or within eps log K, if
        that is more. (With all parameters 0 the objective of K classes is log K.)
    max_iter : int, optional
        Default: the solver's own, 10000 for "lbfgs" and "gd", 50 epochs for "sgd", 500 for the others.
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
        solver: str | Solver = "auto",
        l1: float = 0.0,
        l2: float = 0.0,
        grouped: bool = False,
        penalty: Penalty | None = None,
        fit_intercept: bool = True,
        tol: float = 1e-6,
        max_iter: int | None = None,
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
    ) -> None:
        self.solver = solver
        self.l1, self.l2, self.grouped, self.penalty = l1, l2, grouped, penalty
        smooth = self._penalty().is_smooth  # this validates them
        needs, name = self._solver().requires, self._solver().name
        if not smooth and needs.smooth:
            given = f"l1 is {l1:g}" if penalty is None else f"penalty is {plain(self._penalty())}"
            raise InputValueError(
                f'{given}, which solver {name!r} cannot minimise; use solver="prox-newton" or "auto".'
            )
        if smooth and (not needs.smooth or self.grouped):
            given = "grouped is True" if self.grouped else f'solver is "{name}"'
            raise InputValueError(f"{given}, but l1 is 0; give l1 > 0, or leave it out.")
        self.fit_intercept = validation.flag("fit_intercept", fit_intercept)
        self.tol = validation.number("tol", tol, low=0.0, low_open=True)
        self.max_iter = None if max_iter is None else validation.count("max_iter", max_iter)
        self._stream: Stream | None = None
        self.label_smoothing = validation.number("label_smoothing", label_smoothing, low=0.0, high=1.0)
        self.class_weight = class_weight
        self.n_threads = validation.n_threads(n_threads)
        self.device = validation.device(device)
        if needs.cpu:
            if self.device.startswith("cuda"):
                raise InputValueError(
                    f"device is {device!r}, but solver {name!r} runs on the CPU; use solver 'newton-cg' or the device "
                    "'cpu'."
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
        y: Any = None,
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
        problem = self._problem(X, y, sample_weight, validation_data)
        if checkpoint is not None and problem.on_device:
            raise InputValueError("X is on a GPU: a checkpoint reads its rows; copy it to the host.")
        if validation.flag("resume", resume) and checkpoint is None:
            raise InputValueError("resume is True, but there is no checkpoint; say which file to resume from.")
        objective = PenalizedLoss(problem, self._objective_options())
        start = self._start(init, objective.shape, problem.classes)
        solver = self._solver()
        context = Context(
            solver.name,
            problem.n_samples,
            problem.n_features,
            problem.classes,
            problem.feature_names,
            n_validation_samples=0 if problem.held_out is None else problem.held_out.n_samples,
        )
        progress = [ProgressBar()] if self.verbose else []
        hooks = Hooks(self, [*self.callbacks, *progress], context)
        monitor = self._monitor(started, objective, problem, hooks)
        if checkpoint is not None:
            monitor.save_to(Checkpoint(checkpoint, self._fingerprint(solver, problem, start)), resume=resume)
        with monitor.saved_on_termination(), hooks.running():
            solution = self._minimise(solver, objective, start, monitor, problem.classes)
            context.result = self._result(solver, solution, problem, monitor, started)
        if not solution.converged and not solution.stop_reason.requested:
            terms = PYTHON_TERMS | {"tol": f"tol (now {self.tol:g})", "penalize": self.to_penalise}
            advice = solution.stop_reason.advise(terms)
            warnings.warn(convergence_message(solution, advice), self.warn_as, stacklevel=2)
        return context.result

    def _problem(self, X: Any, y: Any, sample_weight: Any, validation_data: Any) -> Problem:
        """The validated problem, with validation data where the options or the caller ask for some."""
        if isinstance(X, Problem):
            problem = X
        else:
            problem = Problem.from_labels(
                X,
                y,
                sample_weight=sample_weight,
                class_weight=self.class_weight,
                label_smoothing=self.label_smoothing,
                dtype=self.dtype,
                device=self.device,
            )
            if validation_data is not None:
                problem = problem.with_validation_data(validation_data)
        if problem.held_out is None and self.validation_fraction is not None:
            problem = problem.split(self.validation_fraction, self.random_state)
        return problem

    def _penalty(self) -> AnyPenalty:
        return penalty_of(self.penalty, self.l1, self.l2, grouped=self.grouped)

    def _objective_options(self) -> ObjectiveOptions:
        return ObjectiveOptions(
            penalty=self._penalty(),
            fit_intercept=self.fit_intercept,
            n_threads=self.n_threads,
            device=self.device,
            device_memory=self.device_memory,
        )

    def _start(self, init: Any, shape: tuple[int, int], classes: NDArray[Any]) -> Float64s:
        """The parameters to start from."""
        start = initial_params(init, shape, classes)
        if not self.fit_intercept:
            start[:, -1] = 0.0
        return start

    def _solver(self) -> Solver:
        """The solver that runs, also where "auto" leaves the choice to the trainer."""
        if isinstance(self.solver, str) and self.solver == "auto":
            # Measured up to 6000 features (perf/FITS.md): the fastest, or not far from it.
            return SOLVERS["newton-cg" if self._penalty().is_smooth else "prox-newton"]
        return solver_of(self.solver)

    def _monitor(self, started: float, objective: PenalizedLoss, problem: Problem, hooks: Hooks) -> FitMonitor:
        held_out = None
        if problem.held_out is not None:
            held_out = PenalizedLoss(problem.held_out, ObjectiveOptions(n_threads=self.n_threads))
        max_seconds = np.inf if self.max_seconds is None else self.max_seconds
        return FitMonitor(started, objective, held_out, hooks, max_seconds=max_seconds)

    def _fingerprint(self, solver: Solver, problem: Problem, start: Float64s) -> str:
        """Digest of all that decides the iterates of a fit."""
        options: tuple[Any, ...] = (
            solver,
            *self._penalty().fingerprint(),
            self.fit_intercept,
        )
        if solver.requires.batches:
            options += (self._seed(), self.max_iter)  # the schedule depends on max_iter
        if self.device != "cpu":  # the sums of another device have other bits
            options += (self.device, self.device_memory)
        held_out = problem.held_out
        data = () if held_out is None else (held_out.X, held_out.y, held_out.sample_weight)
        target = problem.target
        weights = target.weight, target.gain, target.floor
        return fingerprint(*options, *data, problem.X, problem.y, problem.classes, *weights, start)

    def _minimise(
        self, solver: Solver, objective: PenalizedLoss, start: Float64s, monitor: FitMonitor, classes: NDArray[Any]
    ) -> Solution:
        """Where the solver ends, or the best point so far after Ctrl-C."""
        with one_thread():  # the last bits of BLAS depend on the number of its threads
            try:
                # Data of extreme scale overflow in a solver's inner products; its reason says what came of it.
                with np.errstate(over="ignore", invalid="ignore"):
                    solution = solver.solve(
                        objective,
                        start,
                        tol=self.tol,
                        max_iter=self.max_iter,
                        on_iteration=monitor,
                        state=monitor.state,
                        random_state=self._seed(),
                    )
            except KeyboardInterrupt:
                solution = monitor.interrupted(start, self.tol)
            monitor.finish()
            return _without_separation(objective, monitor.with_best_params(solution, self.tol), classes)

    def _result(
        self, solver: Solver, solution: Solution, problem: Problem, monitor: FitMonitor, started: float
    ) -> FitResult:
        model = SoftmaxModel(
            solution.params[:, :-1],
            solution.params[:, -1],
            problem.classes,
            problem.feature_names,
            self._training_metadata(solver, solution, problem),
        )
        return FitResult(
            model=model,
            converged=solution.converged,
            stop_reason=solution.stop_reason,
            reason=solution.reason,
            n_iter=solution.n_iter,
            objective=solution.objective,
            grad_norm=solution.grad_norm,
            gap=solution.gap,
            gap_kind=solution.gap_kind,
            seconds=time.perf_counter() - started,
            history=monitor.history(),
            solver=solver.name,
            summary=solution.summary,
            problem=problem,
            objective_options=self._objective_options(),
        )

    def _training_metadata(self, solver: Solver, solution: Solution, problem: Problem) -> dict[str, Any]:
        """Training metadata stored with the model: only what is the same for two fits of the same data."""
        return {
            "solver": solver.name,
            **({"l1": self.l1, "l2": self.l2} if self.penalty is None else {"penalty": plain(self._penalty())}),
            "fit_intercept": self.fit_intercept,
            "label_smoothing": problem.label_smoothing,
            "n_samples": problem.n_samples,
            "dtype": str(problem.dtype),
            "objective": solution.objective,
            "gap": solution.gap if np.isfinite(solution.gap) else None,
            "converged": solution.converged,
            "reason": solution.reason,
            "n_iter": solution.n_iter,
        }

    def _seed(self) -> int:
        return self.random_state or 0

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
        solver = self._solver()
        if not isinstance(solver, SGD):
            raise InputValueError(
                f'partial_fit is for solver="sgd", which takes samples as they come, but the solver is {solver.name!r}.'
            )
        if solver.schedule not in {None, "constant", "inverse"}:
            raise InputValueError(
                f"schedule is {solver.schedule!r}, which has an end, and a stream has none; "
                'give schedule="constant" or "inverse".'
            )
        if isinstance(self.class_weight, str):
            raise InputValueError(
                f"class_weight is {self.class_weight!r}, which needs all labels at once; give the weights themselves."
            )
        array, names = validation.frame(X)
        y = validation.target_array(y)
        stream = self._stream or Stream(classes_of(classes, y), names, solver, self._seed())
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
            start = self._start(init, (stream.classes.size, X.shape[1] + 1), stream.classes)
            stream.begin(start)
        problem = Problem.from_validated(
            X,
            codes,
            stream.classes,
            names,
            validation.sample_weights(sample_weight, X.shape[0]),
            class_weight=self.class_weight,
            label_smoothing=self.label_smoothing,
        )
        objective = PenalizedLoss(problem, self._objective_options())
        with one_thread():
            stream.learn(objective)
        stream.dtype, stream.n_features = X.dtype, X.shape[1]
        self._stream = stream
        return stream.model()


def initial_params(init: Any, shape: tuple[int, int], classes: NDArray[Any]) -> Float64s:
    """A copy of the parameters of a model, of a result or of an array; 0 if there is none."""
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


def _without_separation(objective: PenalizedLoss, solution: Solution, classes: NDArray[Any]) -> Solution:
    """The solution; where it only looks like a minimum, with that as its reason."""
    if not solution.converged or solution.newton_step is None or objective.separable_below == 0:
        return solution
    found = classes[separation.separated(objective, solution.params, solution.newton_step)].tolist()
    if not found:
        return solution
    stop = StopReason.SEPARABLE.stop(classes=", ".join(map(repr, found[:10])))
    return replace(solution, converged=False, stop_reason=stop.reason, reason=stop.text)


def convergence_message(outcome: Solution | FitResult, advice: str) -> str:
    """The text of a ConvergenceWarning."""
    return (
        f"the fit has not converged: {outcome.reason}; gap {outcome.gap:.3g} at objective {outcome.objective:.6g}. "
        f"What to do: {advice}."
    )
