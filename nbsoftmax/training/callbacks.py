"""Callbacks to give to a trainer: progress on the terminal, a log of JSON lines, early stopping, the model so far.

A callback is a function of an `Iteration`, called after every iteration; or an object with hooks, named as those of
scikit-learn's callbacks, of which any may be missing but the second:

    setup(trainer, context)             before the first iteration
    on_fit_task_end(trainer, context)   after every iteration, which is `context.iteration`
    teardown(trainer, context)          at the end, whatever ended the fit; `context.result` is None where an error did

Where a function, or `on_fit_task_end`, returns True, the fit stops. What a fit needs to go on after a kill is kept by
`Trainer.fit(checkpoint=)`, not by a callback.
"""

from __future__ import annotations

import json
import os
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError
from nbsoftmax.files import WriteFailures, file_name
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.training.monitor import Iteration
from nbsoftmax.training.result import FitResult


@dataclass(eq=False)
class Context:
    """What hooks are told of a fit.

    Attributes
    ----------
    solver : str
    n_samples, n_features : int
    classes : ndarray (n_classes,)
    feature_names : tuple of str or None
    iteration : Iteration or None
        The last one; None before the first.
    result : FitResult or None
        None before the end, and where an error ended the fit.
    """

    solver: str
    n_samples: int
    n_features: int
    classes: NDArray[Any]
    feature_names: tuple[str, ...] | None
    iteration: Iteration | None = None
    result: FitResult | None = None

    @property
    def now(self) -> Iteration:
        """The last iteration, of which there must be one."""
        assert self.iteration is not None, "no iteration has ended"
        return self.iteration


class ProgressBar:
    """Shows a fit on stderr: a live line on a terminal where rich is installed, else a line now and then."""

    def __init__(self) -> None:
        self._live: Any = None
        self._shown = -np.inf

    def setup(self, trainer: Any, context: Context) -> None:
        """Begin the live line."""
        self._live, self._shown = None, -np.inf
        if not sys.stderr.isatty():
            return
        try:
            from rich.console import Console
            from rich.progress import Progress, SpinnerColumn, TextColumn
        except ModuleNotFoundError:
            return
        columns = SpinnerColumn(), TextColumn("{task.description}")
        self._live = Progress(*columns, console=Console(stderr=True), transient=True)
        self._live.start()
        self._live.add_task("compiling kernels")

    def on_fit_task_end(self, trainer: Any, context: Context) -> None:
        """Show an iteration."""
        now = context.now
        held_out = "" if now.validation_loss is None else f"validation loss {now.validation_loss:.6g}  "
        line = (
            f"iteration {now.n_iter:5d}  objective {now.objective:.8g}  gradient norm {now.grad_norm:.3g}  "
            f"{held_out}{now.seconds:.1f} s"
        )
        if self._live is not None:
            self._live.update(self._live.task_ids[0], description=line)
        elif now.seconds >= self._shown + 1:
            self._shown = now.seconds
            with suppress(OSError):  # nobody reads it any more
                print(line, file=sys.stderr, flush=True)

    def teardown(self, trainer: Any, context: Context) -> None:
        """Take the live line away."""
        if self._live is not None:
            self._live.stop()
            self._live = None


class JsonLines:
    """Appends a line of JSON to a file for each iteration, and one for how the fit ended.

        {"iteration": 3, "objective": 0.41, "grad_norm": 0.02, "seconds": 0.5, "validation_loss": null}
        {"converged": true, "reason": "converged", "n_iter": 9, "gap": 1e-9, "solver": "newton-cg", "seconds": 1.2}

    Each line is handed to the system as it is written, so that a killed process loses none. A number that is not finite
    is null. A file that cannot be opened ends the fit before it begins; a line that cannot be written later is left
    out, with one warning, and the fit goes on.

    Parameters
    ----------
    path : str or path
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = file_name(path)
        self._file: Any = None
        self._failures = WriteFailures("log", self.path)

    def setup(self, trainer: Any, context: Context) -> None:
        """Open the file."""
        # Unbuffered, so that a line which did not fit on the disk is not written again when the file is closed.
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - closed by teardown
        self._failures = WriteFailures("log", self.path)

    def on_fit_task_end(self, trainer: Any, context: Context) -> None:
        """Write an iteration."""
        now = context.now
        self._write({"iteration": now.n_iter} | _values(now, "objective", "grad_norm", "seconds", "validation_loss"))

    def teardown(self, trainer: Any, context: Context) -> None:
        """Write how the fit ended, and close the file."""
        if context.result is not None:
            names = ("converged", "reason", "n_iter", "objective", "gap", "gap_kind", "solver", "seconds")
            self._write(_values(context.result, *names))
        if self._file is not None:
            self._file.close()
            self._file = None

    def _write(self, values: dict[str, Any]) -> None:
        if self._file is None:
            return
        finite = {name: None if isinstance(v, float) and not np.isfinite(v) else v for name, v in values.items()}
        try:
            _append(self._file, f"{json.dumps(finite, allow_nan=False)}\n".encode())
        except OSError as error:
            self._failures.warn(error)


def _values(source: Any, *names: str) -> dict[str, Any]:
    return {name: getattr(source, name) for name in names}


def _append(file: Any, line: bytes) -> None:
    """Append a line to an unbuffered file, all of it or nothing."""
    written = 0
    try:
        while written < len(line):
            written += file.write(line[written:])
    except OSError:
        if written:
            with suppress(OSError):  # of a pipe
                os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - written)
        raise


class EarlyStopping:
    """Stops a fit when a number of its iterations has not fallen any more.

    `Trainer(early_stopping=)` does so for the validation loss and takes the model back to where it was least; this one
    watches any number, and leaves the model where the fit stopped.

    Parameters
    ----------
    patience : int
        Iterations without a new minimum.
    monitor : {"validation_loss", "objective", "grad_norm"}
    min_delta : float
        By how much a new minimum must be below the last, at least.
    """

    def __init__(self, patience: int = 5, *, monitor: str = "validation_loss", min_delta: float = 0.0) -> None:
        self.patience = validation.count("patience", patience)
        self.monitor = validation.choice("monitor", monitor, ("validation_loss", "objective", "grad_norm"))
        self.min_delta = validation.number("min_delta", min_delta, low=0.0)
        self._least, self._at = np.inf, 0

    def setup(self, trainer: Any, context: Context) -> None:
        """Forget the fit before."""
        self._least, self._at = np.inf, 0

    def on_fit_task_end(self, trainer: Any, context: Context) -> bool:
        """Whether to stop."""
        now = context.now
        value = getattr(now, self.monitor)
        if value is None:
            raise InputValueError("EarlyStopping watches the validation loss; give fit some validation_data.")
        if value < self._least - self.min_delta:
            self._least, self._at = value, now.n_iter
        return now.n_iter - self._at >= self.patience


class ModelCheckpoint:
    """Saves the model so far, for use while the fit goes on: that of the least validation loss, else of the objective.

    Parameters
    ----------
    path : str or path
        An .npz file, written atomically. If that fails, a warning says so and the fit goes on.
    seconds : float
        The least time between two writes. The fit's own model is written at the end.
    """

    def __init__(self, path: str | os.PathLike[str], *, seconds: float = 5.0) -> None:
        self.path, self.seconds = file_name(path), validation.number("seconds", seconds, low=0.0)
        self._failures = WriteFailures("model", self.path)
        self._least, self._written, self._best = np.inf, -np.inf, np.empty((0, 0))

    def setup(self, trainer: Any, context: Context) -> None:
        """Forget the fit before."""
        self._failures = WriteFailures("model", self.path)
        self._least, self._written, self._best = np.inf, -np.inf, np.empty((0, 0))

    def on_fit_task_end(self, trainer: Any, context: Context) -> None:
        """Write the best model, if it is new and time has passed."""
        now = context.now
        value = now.objective if now.validation_loss is None else now.validation_loss
        if value < self._least:
            self._least, self._best = value, now.params.copy()
        if self._best.size and time.perf_counter() - self._written >= self.seconds:
            coef, intercept = self._best[:, :-1], self._best[:, -1]
            self._save(SoftmaxModel(coef, intercept, context.classes, context.feature_names))
            self._written, self._best = time.perf_counter(), np.empty((0, 0))

    def teardown(self, trainer: Any, context: Context) -> None:
        """Write the result's model."""
        if context.result is not None:
            self._save(context.result.model)

    def _save(self, model: SoftmaxModel) -> None:
        try:
            model.save(self.path)
        except OSError as error:
            self._failures.warn(error)
