"""Calls the hooks of the callbacks of one fit; `callbacks` describes them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from functools import partial
from typing import Any

import numpy as np

from nbsoftmax.errors import listed, warn
from nbsoftmax.problem import AnyProblem, ProblemInParts
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.training.context import Context, Iteration


class Hooks:
    """The callbacks of one fit.

    Parameters
    ----------
    trainer : Trainer
        Passed on to the hooks.
    callbacks : sequence of callables or of objects with hooks
    context : Context
    """

    def __init__(self, trainer: Any, callbacks: Sequence[Any], context: Context) -> None:
        self._trainer, self._callbacks, self._context = trainer, tuple(callbacks), context
        self._saved: dict[str, Any] = {}

    def __bool__(self) -> bool:
        """Whether there are any callbacks."""
        return bool(self._callbacks)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Call `setup` when this context begins, and `teardown` when it ends, also by an error."""
        with ExitStack() as ends:
            for prefix, callback in self._prefixed():
                if hasattr(callback, "teardown"):
                    ends.callback(callback.teardown, self._trainer, self._context)
                if hasattr(callback, "setup"):
                    callback.setup(self._trainer, self._context)
                saved = {n.removeprefix(prefix): array for n, array in self._saved.items() if n.startswith(prefix)}
                if saved and hasattr(callback, "load_state_dict"):
                    callback.load_state_dict(saved)
                    self._saved = {n: array for n, array in self._saved.items() if not n.startswith(prefix)}
            if self._saved:
                unknown = listed(list(self._saved))
                warn(
                    f"the checkpoint has the state of callbacks that this fit does not have ({unknown}); give the same "
                    "callbacks.",
                )
            yield

    def after_iteration(self, now: Iteration) -> Stop | None:
        """Call every callback; return the reason to stop of the first that asks for it."""
        self._context.iteration = now
        answers = [
            callback.on_fit_task_end(self._trainer, self._context)
            if hasattr(callback, "on_fit_task_end")
            else callback(now)
            for callback in self._callbacks
        ]
        for answer in answers:
            if isinstance(answer, Stop):
                return answer
            if isinstance(answer, str) and answer:
                return Stop(StopReason.CALLBACK, answer)
            if isinstance(answer, (bool, np.bool_)) and answer:
                return StopReason.CALLBACK.stop()
        return None

    def already_ended(self, n_iter: int) -> Stop | None:
        """The reason for which a fit that is resumed after `n_iter` iterations had ended; None if it goes on."""
        answers = (each.already_ended(n_iter) for each in self._callbacks if hasattr(each, "already_ended"))
        return next((answer for answer in answers if isinstance(answer, Stop)), None)

    def best_iteration(self) -> Iteration | None:
        """The iteration whose parameters the model gets; None for those that the solver returns."""
        for callback in self._callbacks:
            if hasattr(callback, "best_iteration"):
                best: Iteration | None = callback.best_iteration(self._trainer, self._context)
                if best is not None:
                    return best
        return None

    def state(self) -> dict[str, Any]:
        """The states of all callbacks, as arrays by name, for a checkpoint."""
        return {
            f"{prefix}{name}": value
            for prefix, callback in self._prefixed()
            if hasattr(callback, "state_dict")
            for name, value in callback.state_dict().items()
        }

    def resume(self, arrays: dict[str, Any]) -> None:
        """Take the states of the callbacks out of the arrays of a checkpoint; `running` restores them."""
        self._saved = {name: arrays.pop(name) for name in list(arrays) if name.startswith("callback_")}

    def _prefixed(self) -> Iterator[tuple[str, Any]]:
        """Each callback with the prefix of its arrays in a checkpoint: its type, and which of this type it is.

        Callbacks of other types, such as a progress bar, may come and go between a fit and its resumption.
        """
        seen: Counter[str] = Counter()
        for callback in self._callbacks:
            name = type(callback).__name__
            yield f"callback_{name}_{seen[name]}_", callback
            seen[name] += 1


def report_rows(callbacks: Sequence[Any], n_rows: int, n_samples: int | None) -> None:
    """Call the hook `on_rows` of all callbacks that have it."""
    for callback in callbacks:
        if hasattr(callback, "on_rows"):
            callback.on_rows(n_rows, n_samples)


@contextmanager
def rows_reported(problem: AnyProblem, callbacks: Sequence[Any]) -> Iterator[None]:
    """Within this context the rows that a problem in blocks reads are reported to the callbacks; passes are counted."""
    reading = problem.reading if isinstance(problem, ProblemInParts) else None
    with nullcontext() if reading is None else reading.reported(partial(report_rows, callbacks)):
        yield
