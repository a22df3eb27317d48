"""Monitors a fit between two iterations: history, callbacks, limits and checkpoints."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache, partial
from typing import Any, NamedTuple

import numpy as np

from nbsoftmax.penalized_loss import PenalizedLoss
from nbsoftmax.solvers.base import Point, Solution, SolverState
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.solvers.tools import separation
from nbsoftmax.solvers.tools.certificates import allowed_gap
from nbsoftmax.solvers.tools.composite_gap import Evaluated, composite_gap
from nbsoftmax.solvers.tools.convergence import ConvergenceMonitor
from nbsoftmax.solvers.tools.duality import loss_alone
from nbsoftmax.training.checkpoint import Checkpoint
from nbsoftmax.training.context import Iteration
from nbsoftmax.training.hooks import Hooks
from nbsoftmax.training.signals import saved_on_termination
from nbsoftmax.validation import Float64s


class Numbers(NamedTuple):
    """The numbers of an iteration, for the history."""

    objective: float
    grad_norm: float
    seconds: float
    validation_loss: float | None


class FitMonitor:
    """Called by the solver after each iteration; returns the reason to stop, or None.

    Parameters
    ----------
    started : float
        When the fit began, by `time.perf_counter`.
    objective : PenalizedLoss
    validation : PenalizedLoss or None
        The loss of the validation data.
    hooks : Hooks
        The callbacks of the fit.
    max_seconds : float

    Attributes
    ----------
    state : SolverState
        From which the solver begins, and which it keeps up to date for checkpoints.
    whole : callable
        From parameters of the solver to those of `objective`, if the solver has a part or other coordinates of them.
    """

    def __init__(
        self,
        started: float,
        objective: PenalizedLoss,
        validation: PenalizedLoss | None,
        hooks: Hooks,
        *,
        max_seconds: float,
    ) -> None:
        self.started, self.objective, self.validation = started, objective, validation
        self.hooks, self.max_seconds = hooks, max_seconds
        self.state = SolverState(recorded=False)
        self.whole: Callable[[Float64s], Float64s] = unchanged
        self.iterations: list[Numbers] = []
        # The iteration with the lowest objective: its number, that objective, and the solver's own parameters.
        self.lowest: tuple[int, float, Float64s] | None = None
        self._interrupted, self._earlier_seconds = False, 0.0  # the latter of the runs before a resumption
        self._checkpoint: Checkpoint | None = None
        self._checkpoint_state: Callable[[], dict[str, Any]] | None = None  # after the last complete iteration

    def __call__(self, n_iter: int, params: Float64s, objective: float, grad_norm: float) -> Stop | None:
        """Record an iteration, call the callbacks, and save a checkpoint from time to time."""
        of_params = partial(self.whole, params)
        whole = of_params if self.whole is unchanged else cache(of_params)  # `cache` takes 8 us
        loss = None if self.validation is None else self.validation.value(whole())
        now = Numbers(objective, grad_norm, time.perf_counter() - self.started, loss)
        if self.lowest is None or objective < self.lowest[1]:
            self.lowest = n_iter, objective, params  # first, so that it is up to date whenever Ctrl-C comes
        self.iterations.append(now)
        stop = self._stop(n_iter, whole, now)
        if self._checkpoint is not None:
            known = self.lowest, self.hooks.state()
            # In one assignment, because Ctrl-C and SIGTERM, which save as well, may come at any time.
            self._checkpoint_state = partial(self._state_at, len(self.iterations), self.state.snapshot, *known)
            self._checkpoint.save(self._checkpoint_state, now=False)
        return stop

    def finish(self) -> None:
        """Save the state of the fit, so that it can be resumed, with a larger limit for example."""
        if self._checkpoint is not None and self._checkpoint_state is not None:
            self._checkpoint.save(self._checkpoint_state, now=True)
        # It refers to this object, and such a cycle would keep X until the garbage collector runs.
        self._checkpoint_state = None

    def saved_on_termination(self) -> AbstractContextManager[None]:
        """Within this context SIGTERM saves the state before the process ends, if there is a checkpoint."""
        return nullcontext() if self._checkpoint is None else saved_on_termination(self.finish)

    def resume_end(self) -> None:
        """Let the solver end at once if early stopping had ended the fit that is resumed."""
        if self.state.saved:
            self.state.stop = self.hooks.already_ended(len(self.iterations))

    def interrupt(self) -> None:
        """End the fit after this iteration, also if the KeyboardInterrupt of Ctrl-C is lost."""
        self._interrupted = True

    def go_on_with_whole(self, part: Float64s) -> Float64s:
        """`whole` of the solver's parameters; from now on it has those of `objective`."""
        params = self.whole(part)
        if self.lowest is not None:
            n_iter, value, lowest = self.lowest
            self.lowest = n_iter, value, params if lowest is part else self.whole(lowest)
        self.whole = unchanged
        return params

    def _stop(self, n_iter: int, whole: Callable[[], Float64s], now: Numbers) -> Stop | None:
        if self.hooks:
            stop = self.hooks.after_iteration(Iteration.later(whole, n_iter=n_iter, **now._asdict()))
            if stop is not None:
                return stop
        if self._interrupted:
            return StopReason.INTERRUPTED.stop()
        if now.objective < self.objective.no_errors_below and separation.separates(self.objective, whole):
            return StopReason.SEPARABLE.stop(classes="all")
        of_run = now.seconds - self._earlier_seconds
        if of_run >= self.max_seconds:
            return StopReason.MAX_SECONDS.stop(seconds=of_run)
        return None

    # --- the end of a fit --------------------------------------------------------------------------

    def with_best_params(self, solution: Solution, tol: float) -> Solution:
        """The solution, or that of the iteration that a callback chooses."""
        best = self.hooks.best_iteration()
        # Solvers whose objective may rise return an earlier iteration than the last one.
        if best is None or (best.n_iter == solution.n_iter and _same(best.params, solution.params)):
            return solution
        reason = solution.stop_reason if solution.stop_reason.requested else StopReason.EARLY_STOPPING
        stop = Stop(reason, f"{solution.reason}; the model is that of iteration {best.n_iter}")
        return self._solution_at(best.params, solution.n_iter, stop, tol)

    def interrupted(self, start: Float64s, tol: float) -> Solution:
        """The best point of the fit so far when Ctrl-C came."""
        # If the fit was resumed, all steps of this run may be worse than the start.
        better = self.lowest is not None and self.lowest[1] < self.objective.value(start)
        params = self.whole(self.lowest[2]) if self.lowest is not None and better else start
        return self._solution_at(params, len(self.iterations), StopReason.INTERRUPTED.stop(), tol, quick=True)

    def _solution_at(self, params: Float64s, n_iter: int, stop: Stop, tol: float, *, quick: bool = False) -> Solution:
        """A solution at other parameters than the solver's; its gap costs some products, unless `quick` and bounded."""
        objective = self.objective.in_float64()
        value, grad = objective.value_and_subgrad(params)
        if objective.penalty.is_smooth:
            gap, kind = ConvergenceMonitor(objective, tol).gap(0, Point(params, value, grad), quick=quick)
        else:
            smooth = objective.smooth_part()
            alone = loss_alone(objective, params, *smooth.value_and_grad(params))
            allowed = allowed_gap(value, tol, len(params))
            gap, kind = composite_gap(Evaluated(objective, smooth, params, *alone, allowed))
        return Solution(params, value, float(np.linalg.norm(grad)), gap, kind, n_iter, False, *stop)

    def history(self, n: int | None = None) -> dict[str, Float64s]:
        """The numbers of all iterations, or of the first `n`, by name."""
        names = Numbers._fields if self.validation is not None else Numbers._fields[:-1]
        columns = zip(*self.iterations[:n], strict=True) if self.iterations[:n] else [()] * len(Numbers._fields)
        return {name: np.array(column, np.float64) for name, column in zip(names, columns, strict=False)}

    # --- checkpoints ------------------------------------------------------------------------------

    def save_to(self, checkpoint: Checkpoint, *, resume: bool) -> None:
        """Save to a checkpoint from now on; with `resume`, first load the state that is in it."""
        if not resume:
            checkpoint.refuse_other_files()
        self._checkpoint, self.state.recorded = checkpoint, True
        arrays = checkpoint.load() if resume else None
        if arrays is None:
            return
        history = {name[8:]: arrays.pop(name) for name in list(arrays) if name.startswith("history_")}
        losses = history.get("validation_loss", np.full(len(history["objective"]), None))
        columns = history["objective"], history["grad_norm"], history["seconds"], losses
        self.iterations = [Numbers(*row) for row in zip(*(column.tolist() for column in columns), strict=True)]
        n_lowest = int(arrays.pop("lowest_n_iter"))
        self.lowest = n_lowest, self.iterations[n_lowest - 1].objective, arrays.pop("lowest_params")
        self.hooks.resume(arrays)
        self._earlier_seconds = self.iterations[-1].seconds
        self.started -= self._earlier_seconds
        self.state.saved = arrays

    def _state_at(
        self,
        n: int,
        snapshot: Callable[[], dict[str, Any]],
        lowest: tuple[int, float, Float64s],
        of_hooks: dict[str, Any],
    ) -> dict[str, Any]:
        """The state after iteration `n`, as arrays by name."""
        history = {f"history_{name}": column for name, column in self.history(n).items()}
        return snapshot() | history | of_hooks | {"lowest_n_iter": lowest[0], "lowest_params": lowest[2]}


def unchanged(params: Float64s) -> Float64s:
    """The parameters themselves."""
    return params


def _same(a: Float64s, b: Float64s) -> bool:
    """Whether two parameters are equal up to rounding and a shift of all classes."""
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    return bool(np.abs(a - b).max() <= 1e-9 * np.abs(b).max())
