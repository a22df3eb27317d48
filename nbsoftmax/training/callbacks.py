"""Callbacks for a trainer: progress, a log in JSON lines, early stopping, and saving the best model so far.

A callback is a function of an `Iteration`, which is called after every iteration, or an object with hooks. The hooks
are named as those of scikit-learn's callbacks. Only `on_fit_task_end` is required:

    setup(trainer, context)             before the first iteration
    on_fit_task_end(trainer, context)   after every iteration, which is `context.iteration`
    teardown(trainer, context)          at the end, also after an error; then `context.result` is None

    on_rows(n_rows, n_samples)          after every block of rows, if the fit reads them in blocks: the rows of this
                                        pass so far, and of all; None in the first pass, which is before `setup`

The fit stops if the function, or `on_fit_task_end`, returns True or a text, which becomes `FitResult.reason`.
Four more hooks are for callbacks that choose the model's parameters or have a state of their own:

    best_iteration(trainer, context)    returns the `Iteration` whose parameters the model gets, or None
    state_dict()                        returns the state as arrays or numbers by name, for `Trainer.fit(checkpoint=)`
    load_state_dict(state)              restores that state after `setup`, when a fit is resumed
    already_ended(n_iter)               then returns the `Stop` with which the callback had ended that fit, or None

`state_dict` is called after every iteration; later iterations must not change the arrays that it returned. An object
with a state serves one fit at a time: fits in several threads need an object each.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, counted
from nbsoftmax.files import WriteFailures, file_name
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.training.context import Context, Iteration


def _last(context: Context) -> Iteration:
    assert context.iteration is not None, "no iteration has ended"
    return context.iteration


class ProgressBar:
    """Shows the progress of a fit on stderr.

    On a terminal, with rich installed, one line is updated in place. Otherwise a line is printed at most every second.
    """

    def __init__(self) -> None:
        self._live: Any = None
        self._line, self._printed_at = "", -np.inf

    def __repr__(self) -> str:
        return "ProgressBar()"

    def on_rows(self, n_rows: int, n_samples: int | None) -> None:
        """Display how many rows of a pass have been read."""
        rows = f"{n_rows:,} rows read" if n_samples is None else f"{n_rows:,} of {n_samples:,} rows"
        self._show(f"{self._line or 'before the first iteration'}  {rows}")

    def setup(self, trainer: Any, context: Context) -> None:
        """Start the display."""
        self._live, self._line, self._printed_at = None, "", -np.inf
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
        self._live.add_task("before the first iteration")

    def on_fit_task_end(self, trainer: Any, context: Context) -> None:
        """Display an iteration."""
        now = _last(context)
        validation_loss = "" if now.validation_loss is None else f"validation loss {now.validation_loss:.6g}  "
        self._line = (
            f"iteration {now.n_iter:5d}  objective {now.objective:.8g}  gradient norm {now.grad_norm:.3g}  "
            f"{validation_loss}{now.seconds:.1f} s"
        )
        self._show(self._line)

    def teardown(self, trainer: Any, context: Context) -> None:
        """Remove the display."""
        self._line = ""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _show(self, line: str) -> None:
        if self._live is not None:
            self._live.update(self._live.task_ids[0], description=line)
        elif time.perf_counter() >= self._printed_at + 1:
            self._printed_at = time.perf_counter()
            with suppress(OSError):  # a closed pipe or a full disk must not end the fit
                print(line, file=sys.stderr, flush=True)


class JsonLines:
    """Appends a line of JSON to a file for each iteration, and one for the result.

        {"iteration": 3, "objective": 0.41, "grad_norm": 0.02, "seconds": 0.5, "validation_loss": null}
        {"converged": true, "reason": "converged", "n_iter": 9, "gap": 1e-9, "solver": "newton-cg", "seconds": 1.2}

    Each line is passed to the operating system when it is written, so a killed process loses none. Numbers that are not
    finite are null. If the file cannot be opened, the fit raises an error before it begins. If a line cannot be written
    later, it is left out, with one warning, and the fit continues.

    Parameters
    ----------
    path : str or path
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = file_name(path)
        self._file: Any = None
        self._failures = WriteFailures("log", self.path)

    def __repr__(self) -> str:
        return f"JsonLines({self.path!r})"

    def setup(self, trainer: Any, context: Context) -> None:
        """Open the file."""
        # Unbuffered: closing the file must not write a line again that did not fit on the disk.
        self._file = open(self.path, "ab", buffering=0)  # noqa: SIM115 - closed by teardown
        self._failures = WriteFailures("log", self.path)

    def on_fit_task_end(self, trainer: Any, context: Context) -> None:
        """Write an iteration."""
        now = _last(context)
        self._write({"iteration": now.n_iter} | _values(now, "objective", "grad_norm", "seconds", "validation_loss"))

    def teardown(self, trainer: Any, context: Context) -> None:
        """Write the result, and close the file."""
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
    """Append a whole line to an unbuffered file; if that fails, remove the part that was written."""
    written = 0
    try:
        while written < len(line):
            written += file.write(line[written:])
    except OSError:
        if written:
            with suppress(OSError):  # a pipe cannot be truncated
                os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - written)
        raise


class EarlyStopping:
    """Stops a fit when a monitored value has not improved for some iterations.

    Parameters
    ----------
    patience : int
        Number of iterations without improvement after which the fit stops.
    monitor : {"validation_loss", "objective", "grad_norm"}
        The validation loss needs `validation_data` or `validation_fraction`.
    min_delta : float
        A value is an improvement if it is lower than the last improvement by more than this.
    restore_best : bool
        Whether the model gets the parameters with the lowest monitored value instead of the last ones. With the
        validation loss this holds for every reason to stop; with the other values, only if this callback stopped the
        fit.
    """

    def __init__(
        self,
        patience: int = 5,
        *,
        monitor: str = "validation_loss",
        min_delta: float = 0.0,
        restore_best: bool = True,
    ) -> None:
        self.patience = validation.count("patience", patience)
        self.monitor = validation.choice("monitor", monitor, ("validation_loss", "objective", "grad_norm"))
        self.min_delta = validation.number("min_delta", min_delta, low=0.0)
        self.restore_best = validation.flag("restore_best", restore_best)
        self._best: Iteration | None = None
        self._lowest = self._improved_to = np.inf
        self._improved_at, self._stopped = 0, False

    def __repr__(self) -> str:
        options = f"monitor={self.monitor!r}, min_delta={self.min_delta:g}, restore_best={self.restore_best}"
        return f"EarlyStopping({self.patience}, {options})"

    def setup(self, trainer: Any, context: Context) -> None:
        """Discard the state of the previous fit."""
        if self.monitor == "validation_loss" and context.n_validation_samples == 0:
            raise InputValueError(
                "EarlyStopping monitors the validation loss, but there is no validation data; give validation_data to "
                "fit, or set validation_fraction."
            )
        self._best = None
        self._lowest = self._improved_to = np.inf
        self._improved_at, self._stopped = 0, False

    def on_fit_task_end(self, trainer: Any, context: Context) -> Stop | None:
        """Compare the monitored value with the previous ones; return the reason to stop, if there is one."""
        now = _last(context)
        value = getattr(now, self.monitor)
        if value < self._lowest:
            self._lowest = value
            self._best = replace(now, params=now.params.copy()) if self.restore_best else None
        if value < self._improved_to - self.min_delta:
            self._improved_to, self._improved_at = value, now.n_iter
        return self._stop_after(now.n_iter)

    def already_ended(self, n_iter: int) -> Stop | None:
        """The reason to stop after `n_iter` iterations of a fit that is resumed; None without a state of that fit."""
        return self._stop_after(n_iter) if np.isfinite(self._improved_to) else None

    def _stop_after(self, n_iter: int) -> Stop | None:
        waited = n_iter - self._improved_at
        self._stopped = waited >= self.patience
        return (
            StopReason.EARLY_STOPPING.stop(monitor=self.monitor, waited=counted(waited, "iteration"))
            if self._stopped
            else None
        )

    def best_iteration(self, trainer: Any, context: Context) -> Iteration | None:
        """The iteration with the lowest value, if its parameters are to be restored."""
        return self._best if self._stopped or self.monitor == "validation_loss" else None

    def state_dict(self) -> dict[str, Any]:
        """The last improvement, and the best iteration if it is to be restored."""
        state: dict[str, Any] = {"monitor": self.monitor} | {name: getattr(self, f"_{name}") for name in _STATE}
        if self._best is not None:
            best = {name: getattr(self._best, name) for name in (*_NUMBERS, "params")}
            state |= {f"best_{name}": np.nan if value is None else value for name, value in best.items()}
        return state

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a state that `state_dict` returned, if it is of the same monitored value."""
        if str(state["monitor"]) != self.monitor:
            return
        for name, kind in _STATE.items():
            setattr(self, f"_{name}", kind(state[name]))
        if "best_params" not in state:
            return
        numbers: dict[str, Any] = {name: float(state[f"best_{name}"]) for name in _NUMBERS}
        if np.isnan(numbers["validation_loss"]):
            numbers["validation_loss"] = None
        numbers["n_iter"] = int(numbers["n_iter"])
        self._best = Iteration(**numbers, params=np.asarray(state["best_params"]))


_STATE = {"lowest": float, "improved_to": float, "improved_at": int}  # attributes of `EarlyStopping`
_NUMBERS = ("n_iter", "objective", "grad_norm", "seconds", "validation_loss")  # attributes of `Iteration`


class ModelCheckpoint:
    """Saves the best model so far while the fit continues: that of the lowest validation loss, or else objective.

    To resume a fit after a kill, use `Trainer.fit(checkpoint=)`.

    Parameters
    ----------
    path : str or path
        An .npz file, written atomically. If that fails, there is one warning and the fit continues.
    seconds : float
        Minimum time between two writes. The model of the result is written at the end.
    """

    def __init__(self, path: str | os.PathLike[str], *, seconds: float = 5.0) -> None:
        self.path, self.seconds = file_name(path), validation.number("seconds", seconds, low=0.0)
        self._failures = WriteFailures("model", self.path)
        self._lowest, self._written_at, self._unsaved = np.inf, -np.inf, np.empty((0, 0))

    def __repr__(self) -> str:
        return f"ModelCheckpoint({self.path!r}, seconds={self.seconds:g})"

    def setup(self, trainer: Any, context: Context) -> None:
        """Discard the state of the previous fit."""
        self._failures = WriteFailures("model", self.path)
        self._lowest, self._written_at, self._unsaved = np.inf, -np.inf, np.empty((0, 0))

    def on_fit_task_end(self, trainer: Any, context: Context) -> None:
        """Write the best model if it is new and the minimum time has passed."""
        now = _last(context)
        value = now.objective if now.validation_loss is None else now.validation_loss
        if value < self._lowest:
            self._lowest, self._unsaved = value, now.params.copy()
        if self._unsaved.size and time.perf_counter() - self._written_at >= self.seconds:
            coef, intercept = self._unsaved[:, :-1], self._unsaved[:, -1]
            self._save(SoftmaxModel(coef, intercept, context.classes, context.feature_names, encoding=context.encoding))
            self._written_at, self._unsaved = time.perf_counter(), np.empty((0, 0))

    def teardown(self, trainer: Any, context: Context) -> None:
        """Write the model of the result."""
        if context.result is not None:
            self._save(context.result.model)

    def _save(self, model: SoftmaxModel) -> None:
        try:
            model.save(self.path)
        except OSError as error:
            self._failures.warn(error)
