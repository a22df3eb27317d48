"""The kernels that a fit in memory calls after its first one: helper processes compile them meanwhile."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

import numpy as np

from nbsoftmax.backends.targets import part_of
from nbsoftmax.kernels.predict import PROBA
from nbsoftmax.kernels.runtime.ahead import Launch, expected, recorded
from nbsoftmax.kernels.runtime.threads import default_threads
from nbsoftmax.models.predictions import predictions
from nbsoftmax.penalized_loss import ObjectiveOptions
from nbsoftmax.problem import AnyProblem, Problem
from nbsoftmax.solvers.table import Solver
from nbsoftmax.solvers.tools.coupled_model import minimise, of_small_problem
from nbsoftmax.solvers.tools.working_set import LEAST_NEW

# Larger models are not tried out: even for one row, their arrays take time.
MOST_FEATURES, MOST_PARAMETERS = 2000, 10**6


def later_kernels(problem: AnyProblem, options: ObjectiveOptions, solver: Solver) -> AbstractContextManager[None]:
    """The context of a fit; see `expected`."""
    if not isinstance(problem, Problem) or problem.on_device or options.device != "cpu":
        return nullcontext()
    if problem.n_features * problem.n_classes > MOST_PARAMETERS:
        return nullcontext()
    n_threads = default_threads() if options.n_threads is None else options.n_threads
    context: AbstractContextManager[None] = expected(
        lambda first: _launches(first, problem, options, solver), n_threads
    )
    return context


def _launches(first: str, problem: Problem, options: ObjectiveOptions, solver: Solver) -> list[Launch]:
    """What a fit calls, and predictions, recorded for one row; `first` is the name of the kernel in use."""
    part = slice(0, 1)
    offset = problem.offset[part] if problem.offset.size else problem.offset
    few = replace(problem, X=problem.X[part], target=part_of(problem.target, part), offset=offset)
    params = np.zeros((problem.n_classes, problem.n_features + 1))
    coef, intercept = params[:, :-1], params[:, -1]
    launches: list[Launch]
    with recorded() as launches:
        if first == "newton_step":  # which is all that a small fit calls
            predictions(coef, intercept, few.X, PROBA)
            return launches
        backend: Any = few.backend(fit_intercept=options.fit_intercept, n_threads=1)
        curved = solver.name in {"newton-cg", "prox-newton"}
        if problem.is_sparse:
            backend.hess_vec(params, params)
            launches.reverse()  # the last one takes longest to compile
        elif curved and problem.n_features <= MOST_FEATURES:
            backend.gram(params)
        if problem.dtype == np.float32:
            backend.in_float64().loss_and_grad(params)
        coupled = _models_from_hessians(problem, options, solver)
        predictions(coef, intercept, few.X, PROBA)
        if curved and not coupled:
            backend.hess_vec(params, params)
    return launches


def _models_from_hessians(problem: Problem, options: ObjectiveOptions, solver: Solver) -> bool:
    """Record the kernel for small models of proximal Newton if it is used; whether it is for all models."""
    if solver.name != "prox-newton" or problem.is_sparse:
        return False
    small = of_small_problem(options.penalty, problem.n_classes, min(problem.n_features, LEAST_NEW))
    if small is not None:
        minimise(small, 1, np.zeros((1, 1)), np.zeros(1), np.zeros(1), damped=False)
    return of_small_problem(options.penalty, problem.n_classes, problem.n_features) is not None
