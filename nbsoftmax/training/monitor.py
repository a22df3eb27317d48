"""What happens between two iterations of a fit: history, callbacks, limits, checkpoints. Solvers know nothing of it."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext, suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np

from nbsoftmax.objective import PenalizedLoss
from nbsoftmax.solvers.base import Point, Solution, SolverState
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.solvers.tools.convergence import ConvergenceMonitor
from nbsoftmax.training.checkpoint import Checkpoint, saved_on_termination
from nbsoftmax.validation import Float64s


@dataclass(frozen=True, eq=False)
class Iteration:
    """What callbacks see after each iteration: seconds since the fit began, and where it is."""

    iteration: int
    objective: float
    grad_norm: float
    seconds: float
    validation_loss: float | None
    params: Float64s


Callback = Callable[[Iteration], Any]
NO_PARAMS = np.empty((0, 0))  # of a history, which needs only the numbers


class Watch:
    """Called by the solver after each iteration; its answer, if any, is the reason to stop."""

    def __init__(
        self,
        started: float,
        objective: PenalizedLoss,
        validation: PenalizedLoss | None,
        *,
        callbacks: tuple[Callback, ...],
        verbose: bool,
        max_seconds: float,
        patience: int | None,
    ) -> None:
        self.started, self.objective, self.validation = started, objective, validation
        self.callbacks, self.verbose, self.max_seconds, self.patience = callbacks, verbose, max_seconds, patience
        self.state = SolverState()
        self.iterations: list[Iteration] = []
        self.lowest: Iteration | None = None  # of the objective
        self.fittest: Iteration | None = None  # of the validation loss
        self._checkpoint: Checkpoint | None = None
        self._state: Callable[[], dict[str, Any]] | None = None  # after the last iteration that is noted as a whole

    def __call__(self, iteration: int, params: Float64s, objective: float, grad_norm: float) -> Stop | None:
        """Take note of an iteration."""
        loss = None if self.validation is None else self.validation.value(params)
        view = params.view()
        view.flags.writeable = False  # callbacks look at the solver's own parameters
        now = Iteration(iteration, objective, grad_norm, time.perf_counter() - self.started, loss, view)
        if self.lowest is None or objective < self.lowest.objective:
            self.lowest = now  # first: whenever Ctrl-C comes, the best parameters are whole
        if loss is not None and (self.fittest is None or loss < _loss(self.fittest)):
            self.fittest = now
        self.iterations.append(replace(now, params=NO_PARAMS))
        known = ("lowest", self.lowest), ("fittest", self.fittest)
        # In one assignment: Ctrl-C and SIGTERM, which save as well, may come between any two.
        self._state = partial(self._state_at, len(self.iterations), self.state.snapshot, known)
        if self.verbose:
            extra = "" if loss is None else f"  validation {loss:.6g}"
            with suppress(OSError):  # nobody reads it any more
                print(
                    f"iteration {iteration:5d}  objective {objective:.10g}  gradient {grad_norm:.3g}{extra}  "
                    f"{now.seconds:.2f} s",
                    flush=True,
                )
        stop = self._stop(now)
        if self._checkpoint is not None:
            self._checkpoint.save(self._state, now=False)
        return stop

    def finish(self) -> None:
        """Save where the fit is, so that it can go on, with a larger limit for example."""
        if self._checkpoint is not None and self._state is not None:
            self._checkpoint.save(self._state, now=True)
        self._state = None  # it refers to this object: such a circle would keep X until the garbage collector runs

    def saved_on_termination(self) -> AbstractContextManager[None]:
        """Within this context SIGTERM saves where the fit is before the process ends, if there is a checkpoint."""
        return nullcontext() if self._checkpoint is None else saved_on_termination(self.finish)

    def _stop(self, now: Iteration) -> Stop | None:
        # Every callback hears of every iteration, also when an earlier one asks to stop.
        answers = [callback(now) for callback in self.callbacks]
        if any(isinstance(answer, (bool, np.bool_)) and answer for answer in answers):
            return StopReason.CALLBACK.stop()
        if now.objective < self.objective.separable_below:
            return StopReason.SEPARABLE.stop(classes="all")
        if self.patience is not None and self.fittest is not None:
            since = now.iteration - self.fittest.iteration
            if since >= self.patience:
                return StopReason.EARLY_STOPPING.stop(n_iter=since)
        if now.seconds >= self.max_seconds:
            return StopReason.MAX_SECONDS.stop(seconds=now.seconds)
        return None

    # --- what the fit ends with --------------------------------------------------------------------

    def best_of(self, solution: Solution, tol: float) -> Solution:
        """The solution, or with early stopping the parameters of the least validation loss."""
        if self.patience is None or self.fittest is None or self.fittest.iteration == solution.n_iter:
            return solution
        reason, text = solution.stop_reason, solution.reason
        if reason is not StopReason.EARLY_STOPPING:
            text += "; early stopping restored the parameters with the lowest validation loss"
        reason = reason if reason.requested else StopReason.EARLY_STOPPING
        return self._at(self.fittest.params, solution.n_iter, Stop(reason, text), tol)

    def interrupted(self, start: Float64s, tol: float) -> Solution:
        """The best point of the fit so far when Ctrl-C came."""
        # Without a checkpoint of where it was, every step so far may have made it worse than the start.
        better = self.lowest is not None and self.lowest.objective < self.objective.value(start)
        params = self.lowest.params if self.lowest is not None and better else start
        return self._at(params, len(self.iterations), StopReason.INTERRUPTED.stop(), tol)

    def _at(self, params: Float64s, n_iter: int, stop: Stop, tol: float) -> Solution:
        """A solution that is not the solver's own; its gap by no more than a few products."""
        objective = self.objective.in_float64()
        value, grad = objective.value_and_subgrad(params)
        gap, kind = np.inf, "estimate"
        if objective.penalty.is_smooth:
            gap, kind = ConvergenceMonitor(objective, tol).gap(0, Point(params, value, grad))
        return Solution(params, value, float(np.linalg.norm(grad)), gap, kind, n_iter, False, *stop)

    def history(self, n: int | None = None) -> dict[str, Float64s]:
        """Numbers of every iteration, or of the first `n`, by name."""
        names = ["objective", "grad_norm", "seconds"] + ["validation_loss"] * (self.validation is not None)
        return {name: np.array([getattr(i, name) for i in self.iterations[:n]], np.float64) for name in names}

    # --- checkpoints ------------------------------------------------------------------------------

    def keep(self, checkpoint: Checkpoint, *, resume: bool) -> None:
        """Save to a checkpoint from now on; to `resume`, take up first what is in it."""
        if not resume:
            checkpoint.refuse_other_files()
        self._checkpoint = checkpoint
        arrays = checkpoint.load() if resume else None
        if arrays is None:
            return
        history = {name[8:]: arrays.pop(name) for name in list(arrays) if name.startswith("history_")}
        losses = history.get("validation_loss", np.full(len(history["objective"]), None))
        for n, (value, norm, seconds, loss) in enumerate(
            zip(history["objective"], history["grad_norm"], history["seconds"], losses, strict=True), 1
        ):
            self.iterations.append(Iteration(n, float(value), float(norm), float(seconds), loss, NO_PARAMS))
        self.lowest = self._known(arrays, "lowest")
        self.fittest = self._known(arrays, "fittest")
        self.started -= self.iterations[-1].seconds
        self.state.saved = arrays

    def _known(self, arrays: dict[str, Any], name: str) -> Iteration | None:
        if f"{name}_at" not in arrays:
            return None
        params = arrays.pop(f"{name}_params")
        return replace(self.iterations[int(arrays.pop(f"{name}_at")) - 1], params=params)

    def _state_at(
        self, n: int, snapshot: Callable[[], dict[str, Any]], known: tuple[tuple[str, Iteration | None], ...]
    ) -> dict[str, Any]:
        state = snapshot() | {f"history_{name}": column for name, column in self.history(n).items()}
        for name, one in known:
            if one is not None:
                state |= {f"{name}_at": one.iteration, f"{name}_params": one.params}
        return state


def _loss(known: Iteration) -> float:
    return np.inf if known.validation_loss is None else known.validation_loss
