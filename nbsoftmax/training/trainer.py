"""The trainer: from data and options to a fitted model."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.encoding import AnyEncoding, TableOptions, checked_options
from nbsoftmax.errors import InputValueError, warn
from nbsoftmax.models.display import changed_options
from nbsoftmax.models.softmax import SoftmaxModel, trained_model
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.penalties import AnyPenalty, Penalty, penalty_of
from nbsoftmax.problem import AnyProblem, Problem, problem_of, refuse_on_device
from nbsoftmax.problem.fingerprint import fingerprint
from nbsoftmax.solvers.base import Solution
from nbsoftmax.solvers.stop_reason import PYTHON_TERMS
from nbsoftmax.solvers.table import Solver
from nbsoftmax.solvers.table import fingerprint as fingerprint_of_solver
from nbsoftmax.training.callbacks import ProgressBar
from nbsoftmax.training.checkpoint import Checkpoint
from nbsoftmax.training.context import Context
from nbsoftmax.training.convergence_warning import ConvergenceWarning, convergence_message
from nbsoftmax.training.hooks import Hooks, report_rows, rows_reported
from nbsoftmax.training.later_kernels import later_kernels
from nbsoftmax.training.metadata import PENALTY_OPTIONS, summary_of, training_metadata
from nbsoftmax.training.minimise import minimise, part_of
from nbsoftmax.training.monitor import FitMonitor
from nbsoftmax.training.objective import objective_of
from nbsoftmax.training.other_names import names_checked
from nbsoftmax.training.result import FitResult
from nbsoftmax.training.solver_choice import check_penalty, chosen_solver, device_of
from nbsoftmax.training.standardize import standardized
from nbsoftmax.training.start import initial_params
from nbsoftmax.training.stream import Stream, StreamOptions, learn_chunk, streaming_solver
from nbsoftmax.validation import Float64s


class Trainer:
    """Fits softmax regression.

        minimise (1 / S) sum_i s_i L(coef x_i + intercept, y_i) + l2/2 ||coef||^2 + l1 ||coef||_1

    with s the sample weights times the class weights and S their sum.

    Parameters
    ----------
    solver : {"auto", "newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton"}, or an object
        A name stands for the solver with its default options. The objects are `NewtonCG`, `Newton`, `LBFGS`,
        `GradientDescent`, `SGD` and `ProxNewton`, some with options: `Trainer(solver=nbs.SGD(batch_size=64))`. "auto"
        is "prox-newton" for l1 > 0, bounds or a penalty of your own, which no other solver minimises, "lbfgs" for
        partial labels and Firth's penalty, and otherwise "newton-cg", which chooses its preconditioner by cost: from
        the diagonal of the Hessian to the whole Hessian. "newton" computes the whole Hessian in every step, "lbfgs" one
        Gram matrix, and "gd" is gradient descent. "sgd" uses mini-batches: fast at first, slow to converge.
    l1, l2 : float
        Strengths of the penalties; scikit-learn's C is 1 / (l2 S), for two classes 2 / (l2 S), or 1 / (l1 S). With
        l1 > 0 some weights become exactly 0. With either penalty the gap is usually a proven bound.
    grouped : bool
        Whether l1 penalises the weights of a feature together, l1 sum_j ||coef[:, j]||_2 instead of l1 ||coef||_1, so
        that all weights of a feature become 0 together.
    penalty : Ridge, Lasso, ElasticNet, GroupLasso, "firth", or an object with methods `value` and `prox`, optional
        Replaces `l1`, `l2` and `grouped`: one of these penalties, or one of your own. "firth" is Jeffreys' prior (D.
        Firth, 1993): finite estimates also where classes are perfectly separable, for at most 1000 parameters.
    penalty_weight : array_like (n_features,), optional
        Weight of each feature in the penalty, at least 0; features of weight 0 are not penalised.
    bounds : (low, high), optional
        Bounds on the coefficients but not the intercept, each None, a number, (n_features,) or (n_classes, n_features):
        (0, None) for coefficients of at least 0. `grouped` is not supported.
    standardize : bool
        Whether the penalties act on the coefficients of standardized features, each divided by its standard deviation,
        with the weights of the fit. The coefficients are those of the features as they are, and X is not copied.
    fit_intercept : bool
    tol : float
        The fit has converged when the objective is within tol * |objective| of its minimum, or within eps log K, if
        that is more. (With all parameters 0 the objective of K classes is log K.)
    max_iter : int, optional
        Default: the solver's own, 10000 for "lbfgs" and "gd", 50 epochs for "sgd", 500 for the others. With 0 the fit
        ends where it starts.
    label_smoothing : float in [0, 1]
    class_weight : None, "balanced", dict of label to weight, or array in the order of the sorted labels
        "balanced" gives class k the weight n_samples / (n_classes * count_k), counts weighted by the sample weights.
    n_threads : int, optional
    device : {"cpu", "cuda", "auto"} or str
        As in `Objective`. The solver "sgd" runs only on the CPU, also with "auto".
    device_memory : int, optional
        As in `Objective`.
    dtype : {float32, float64}, optional
        X is converted to it. By default float32 and float64 are kept, float16 becomes float32, and everything else
        float64.
    callbacks : sequence of callables, or of objects with hooks
        Each is called with an `Iteration` after every iteration; returning True stops the fit. `nbs.callbacks` has
        `ProgressBar`, `JsonLines`, `EarlyStopping` and `ModelCheckpoint`, and describes the hooks.
    random_state : int, optional
        Seed of the order of the samples in "sgd", and of the samples that `validation_fraction` holds out.
        None is the seed 0, so that every fit is the same.
    verbose : bool
        Show the progress on stderr: the same as `nbs.callbacks.ProgressBar()` among the callbacks.
    max_seconds : float, optional
        The fit ends after the iteration in which this time is reached. A resumed fit gets the full time again.
    validation_fraction : float in (0, 0.9], optional
        Share of the samples, about the same of each class, that `fit` holds out as validation data, if no
        `validation_data` are given. They are drawn by `random_state`.
    table : TableOptions, or the encoding of a model, optional
        How columns of tables that are not numbers become features, and what happens to missing values. Sources of
        blocks take it where they are opened.

    Raises
    ------
    InputValueError, InputTypeError
        For invalid options.
    """

    warn_as: type[ConvergenceWarning] = ConvergenceWarning  # the estimators warn by a subclass of it
    # Advice in that warning; the estimators name their own parameters.
    advice: Mapping[str, str] = PYTHON_TERMS

    @names_checked
    def __init__(  # noqa: PLR0913  the options of the contract
        self,
        *,
        solver: str | Solver = "auto",
        l1: float = 0.0,
        l2: float = 0.0,
        grouped: bool = False,
        penalty: Penalty | str | None = None,
        penalty_weight: ArrayLike | None = None,
        bounds: tuple[ArrayLike | None, ArrayLike | None] | None = None,
        standardize: bool = False,
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
        table: TableOptions | AnyEncoding | None = None,
    ) -> None:
        self.solver = solver
        self.l1, self.l2, self.grouped, self.penalty = l1, l2, grouped, penalty
        self.penalty_weight, self.bounds = penalty_weight, bounds
        chosen = self._solver()
        check_penalty(chosen, self._penalty(), l1=l1, grouped=grouped, own=penalty is not None)
        self.standardize = validation.flag("standardize", standardize)
        self.fit_intercept = validation.flag("fit_intercept", fit_intercept)
        self.tol = validation.number("tol", tol, low=0.0, low_open=True)
        self.max_iter = None if max_iter is None else validation.count("max_iter", max_iter, low=0)
        self._stream: Stream | None = None
        self.label_smoothing = validation.number("label_smoothing", label_smoothing, low=0.0, high=1.0)
        self.class_weight = class_weight
        self.n_threads = validation.n_threads(n_threads)
        self.device = device_of(chosen, device)
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
        self.table = None if table is None else checked_options(table)

    def __repr__(self) -> str:
        """The options that are not default, `Trainer(l2=0.001, solver='lbfgs')` for example."""
        return changed_options(self)

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        init: Any = None,
        validation_data: Any = None,
        checkpoint: str | os.PathLike[str] | None = None,
        resume: bool = False,
    ) -> FitResult:
        """Fit to samples and labels.

        Parameters
        ----------
        X : array_like, frame, sparse matrix (n_samples, n_features), Dask collection, or a source of blocks of rows
            The column names of a pandas, polars or Arrow table become the feature names of the model. A table is read
            as float32 if all columns are float32 or float16, and otherwise as float64. Text, categories and dates are
            encoded as `table` says; the model then takes such tables. With `device`, X may be an array
            on that GPU, as in `Objective`; y and sample_weight on a GPU are copied. A sparse matrix or array of SciPy
            stays sparse; it is not supported on a GPU. A source, from `nbs.data`, has its own labels and weights: give
            it without `y`. The rows of a Dask Array, of one chunk of columns, or DataFrame stay on the workers of the
            current `dask.distributed.Client`; y, sample_weight and offset may be Dask collections too.
        y : array_like or column of a table
            Labels, (n_samples,): integers, whole floats, text, bytes or booleans; or probabilities (n_samples,
            n_classes), whose classes are 0..n_classes-1. Booleans (n_samples, n_classes) are partial labels: the
            possible classes. The loss of a sample is then -log of the sum of their probabilities. The classes of a
            table of boolean columns are the names of its columns.
        sample_weight : array_like (n_samples,), optional
        offset : array_like (n_samples, n_classes), or (n_samples,) for the second of two classes, optional
            Added to the logits, with fixed coefficient 1, in the dtype of X. Predictions take an offset of their own.
        init : FitResult, SoftmaxModel or array (n_classes, n_features + 1), optional
            Where to start; by default at 0. A convex fit starts at 0 too if the objective at `init` is more than 10
            times that at 0 and 10 log K, and its summary says so.
        validation_data : (X, y[, sample_weight[, offset]]), or a source of blocks of rows, optional
            X and y may be Dask collections if X of the fit is one.
            Its mean loss, without penalty, is recorded in the history.
        checkpoint : path, optional
            File for the state of the fit, from which `resume` continues. It is written atomically: every few seconds,
            at the end, after Ctrl-C, and before SIGTERM ends the process (in the main thread). If it cannot be written,
            there is a warning and the fit continues.
        resume : bool
            Continue from `checkpoint`, to the bits of an uninterrupted fit; without the file, start from the beginning.

        Returns
        -------
        FitResult
            After Ctrl-C that of the iterations so far, without an exception; its `interrupted` is then True.

        Warns
        -----
        ConvergenceWarning
            If the fit ended before it converged, unless a callback or Ctrl-C ended it.

        Raises
        ------
        InputValueError, InputTypeError
            For invalid input, including a checkpoint that is damaged or of another problem.
        ClusterError
            For Dask collections, if the cluster has no workers for a long time or loses its scheduler.
        """
        started = time.perf_counter()
        callbacks = [*self.callbacks, ProgressBar()] if self.verbose else [*self.callbacks]
        given = {"y": y, "sample_weight": sample_weight, "offset": offset, "validation_data": validation_data}
        problem = self._problem(X, **given, on_rows=partial(report_rows, callbacks))
        if checkpoint is not None:
            refuse_on_device(problem.on_device, "a checkpoint needs its rows")
        if validation.flag("resume", resume) and checkpoint is None:
            raise InputValueError("resume is True, but no checkpoint is given; name the file to resume from.")
        options = self._objective_options()
        if self.standardize:
            options = replace(options, penalty=standardized(options.penalty, problem, options.n_threads))
        objective = objective_of(problem, options)
        offset = problem.offset if isinstance(problem, Problem) and not problem.on_device else None
        start = initial_params(init, objective.shape, problem.classes, fit_intercept=self.fit_intercept, offset=offset)
        start[:, :-1] = options.penalty.feasible(start[:, :-1])
        objective.check_start(start)
        solver = chosen_solver(self.solver, options.penalty, convex=objective.convex)
        context = Context.of(solver.name, problem)
        hooks = Hooks(self, callbacks, context)
        monitor = self._monitor(started, objective, problem, hooks)
        if checkpoint is not None:
            known = self._fingerprint(solver, problem, start, options.penalty)
            monitor.save_to(Checkpoint(checkpoint, known), resume=resume)
        compiled = later_kernels(problem, options, solver)
        with monitor.saved_on_termination(), hooks.running(), rows_reported(problem, callbacks), compiled:
            of_solver: dict[str, Any] = {"tol": self.tol, "max_iter": self.max_iter, "seed": self._seed()}
            of_solver["part"] = part_of(solver, problem, options, start)
            solution = minimise(solver, objective, start, monitor, problem.classes, **of_solver)
            context.result = self._result(solver, solution, problem, monitor, started, options)
        if not solution.converged and not solution.stop_reason.requested:
            advice = solution.stop_reason.advise({**self.advice, "tol": f"tol (now {self.tol:g})"})
            warn(convergence_message(solution, advice), self.warn_as)
        return context.result

    def _problem(self, X: Any, **given: Any) -> AnyProblem:
        """The validated problem, with validation data where the options or the caller ask for some."""
        of_data = ("class_weight", "label_smoothing", "dtype", "device")
        given["table"] = self.table or TableOptions()
        problem = problem_of(X, **given, **{name: getattr(self, name) for name in of_data})
        if problem.held_out is None and self.validation_fraction is not None:
            problem = problem.split(self.validation_fraction, self.random_state)
        return problem

    def _penalty(self) -> AnyPenalty:
        beside: dict[str, Any] = {"grouped": self.grouped, "weight": self.penalty_weight, "bounds": self.bounds}
        return penalty_of(self.penalty, self.l1, self.l2, **beside)

    def _objective_options(self) -> ObjectiveOptions:
        return ObjectiveOptions(
            self._penalty(), self.fit_intercept, self.n_threads, self.device, device_memory=self.device_memory
        )

    def _solver(self) -> Solver:
        return chosen_solver(self.solver, self._penalty())

    def _monitor(self, started: float, objective: PenalizedLoss, problem: AnyProblem, hooks: Hooks) -> FitMonitor:
        held_out = None
        if problem.held_out is not None:
            held_out = PenalizedLoss(problem.held_out, ObjectiveOptions(n_threads=self.n_threads))
        max_seconds = np.inf if self.max_seconds is None else self.max_seconds
        return FitMonitor(started, objective, held_out, hooks, max_seconds=max_seconds)

    def _fingerprint(self, solver: Solver, problem: AnyProblem, start: Float64s, penalty: AnyPenalty) -> str:
        """Digest of all that decides the iterates of a fit."""
        options: tuple[Any, ...] = (*fingerprint_of_solver(solver), *penalty.fingerprint(), self.fit_intercept)
        if solver.requires.batches:
            options += (self._seed(), self.max_iter)  # the schedule depends on max_iter
        if self.device != "cpu":  # the sums of another device have other bits
            options += (self.device, self.device_memory)
        return fingerprint(*options, *problem.identity(), start)

    def _result(
        self,
        solver: Solver,
        solution: Solution,
        problem: AnyProblem,
        monitor: FitMonitor,
        started: float,
        options: ObjectiveOptions,
    ) -> FitResult:
        of_penalty = {name: getattr(self, name) for name in PENALTY_OPTIONS}
        model = trained_model(
            solution.params,
            problem.classes,
            problem.feature_names,
            training_metadata(solver, solution, problem, of_penalty, fit_intercept=self.fit_intercept),
            problem.encoding,
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
            summary=summary_of(solution, problem),
            problem=problem,
            objective_options=options,
        )

    def _seed(self) -> int:
        return self.random_state or 0

    def partial_fit(
        self,
        X: Any,
        y: Any,
        *,
        classes: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        init: Any = None,
    ) -> SoftmaxModel:
        """Continue with a chunk of a stream: one epoch of "sgd" on these samples, starting from the last call.

        The size of the chunks does not change the objective, in which l2 is added to the loss of every sample. The
        objective is not evaluated, and a stream does not converge; evaluate the model on samples that it has not yet
        learned from. Calls of `fit` do not change the stream. For the schedule, each call is an epoch.

        Parameters
        ----------
        X : array_like, frame or sparse matrix (n_samples, n_features)
            A frame with columns of text and other kinds, if `table` of the trainer is an encoding.
        y : array_like
            Labels (n_samples,), or probabilities (n_samples, n_classes).
        classes : array_like (n_classes,)
            All labels of the stream, in any order; required in the first call, unless `y` holds probabilities.
        sample_weight : array_like (n_samples,), optional
        offset : array_like (n_samples, n_classes), or (n_samples,) for the second of two classes, optional
            As in `fit`, of the samples of this chunk; the columns are in the order of the sorted classes.
        init : FitResult, SoftmaxModel or array (n_classes, n_features + 1), optional
            Where to start; only in the first call.

        Returns
        -------
        SoftmaxModel
            The model after all chunks so far.

        Raises
        ------
        InputValueError, InputTypeError
            For invalid input, including labels that are not in `classes` and features that differ from those of the
            previous chunks, and if the parameters diverge. The stream then remains as it was before the call.
        """
        solver = streaming_solver(self._solver(), self.class_weight, standardize=self.standardize)
        of_data = self.dtype, self.class_weight, self.label_smoothing, self.table
        options = StreamOptions(solver, self._seed(), *of_data, self._objective_options())
        self._stream = learn_chunk(self._stream, options, X, y, sample_weight, offset, classes=classes, init=init)
        return self._stream.model()
