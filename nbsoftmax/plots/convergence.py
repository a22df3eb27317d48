"""The objective above its minimum, over the iterations or the seconds of fits."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, InputValueError, a_type, plain
from nbsoftmax.files import file_name
from nbsoftmax.plots.figure import add_legend, axes_or_new
from nbsoftmax.plots.names import display_names
from nbsoftmax.plots.notebook import NotebookDisplay
from nbsoftmax.plots.palette import styles
from nbsoftmax.training.result import FitResult
from nbsoftmax.validation import Float64s

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_MARKERS = 20  # about so many on a line, so that they do not hide it


class ConvergenceDisplay(NotebookDisplay):
    """The objective of fits above the lowest known value, over iterations or seconds.

    Parameters
    ----------
    histories : dict of name to history
        Each a mapping with arrays "objective" and "seconds", as `FitResult.history`.
    floor : float, optional
        The value that is subtracted from the objectives; by default just below the lowest of them.

    Attributes
    ----------
    lines_ : list of matplotlib lines
    ax_, figure_

    Raises
    ------
    InputValueError
        For no histories; without `floor`, if no objective is finite.
    """

    def __init__(self, histories: Mapping[str, Mapping[str, Float64s]], *, floor: float | None = None) -> None:
        self.histories = dict(histories)
        if not self.histories:
            raise InputValueError("histories is empty; give at least one fit.")
        self.floor = _below_all(self.histories.values()) if floor is None else floor

    @classmethod
    def from_result(
        cls, result: FitResult | Mapping[str, FitResult], *, over: str = "iterations", ax: Axes | None = None
    ) -> ConvergenceDisplay:
        """Draw one fit, or several by name. The floor is the lowest objective minus its gap, if the gap is known.

        Raises
        ------
        InputValueError, InputTypeError
            For a result that is not a FitResult or a dict of FitResults, a fit without iterations, and as `plot`.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        results = _by_name(result)
        for name, one in results.items():
            if one.n_iter == 0:
                raise InputValueError(f"the fit {name!r} made no iteration; there is nothing to draw.")
        best = min(results.values(), key=lambda one: one.objective)
        floor = best.objective - best.gap if np.isfinite(best.gap) and best.gap > 0 else None
        return cls({name: one.history for name, one in results.items()}, floor=floor).plot(over=over, ax=ax)

    @classmethod
    def from_log(
        cls, path: str | os.PathLike[str], *, over: str = "iterations", ax: Axes | None = None
    ) -> ConvergenceDisplay:
        """Draw every fit in a file written by `callbacks.JsonLines`.

        Raises
        ------
        InputValueError, InputTypeError
            For a path that is not the name of a file, a file that is not such a log or has no iterations, and as
            `plot`.
        OSError
            If the file cannot be read.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        with open(file_name(path), encoding="utf-8", errors="replace") as file:
            fits = _fits_in_log(file, os.fspath(path))
        if not fits:
            raise InputValueError(f"{path} has no iterations; give a file that fit --log has written.")
        names = [f"fit {n}" for n in range(1, len(fits) + 1)] if len(fits) > 1 else ["objective"]
        histories = {
            name: {key: np.array(values) for key, values in one.items()} for name, one in zip(names, fits, strict=True)
        }
        return cls(histories).plot(over=over, ax=ax)

    def plot(self, *, over: str = "iterations", ax: Axes | None = None) -> ConvergenceDisplay:
        """Draw over "iterations" or "seconds".

        Raises
        ------
        InputValueError, InputTypeError
            For another `over`, and an `ax` that is not axes of matplotlib.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        validation.choice("over", over, ("iterations", "seconds"))
        names = display_names(self.histories)
        self.ax_ = axes_or_new(ax, (6.4, 4.2), names)
        self.figure_ = self.ax_.figure
        from matplotlib.ticker import MaxNLocator

        self.lines_ = []
        for name, history, style in zip(names, self.histories.values(), styles(len(names)), strict=True):
            values = np.asarray(history["objective"])
            every = max(1, len(values) // MOST_MARKERS)
            x = np.arange(1, len(values) + 1) if over == "iterations" else history["seconds"]
            self.lines_ += self.ax_.semilogy(x, values - self.floor, label=name, markersize=4, markevery=every, **style)
        self.ax_.set(xlabel="iteration" if over == "iterations" else "seconds", ylabel="objective above the minimum")
        if over == "iterations":
            self.ax_.xaxis.set_major_locator(MaxNLocator(integer=True))
        self.ax_.set_title("Convergence")
        self.ax_.grid(alpha=0.3)
        if len(self.lines_) > 1:
            add_legend(self.ax_, self.lines_)
        return self


def _below_all(histories: Iterable[Mapping[str, Float64s]]) -> float:
    """One ULP below the lowest finite objective, so that this point can be drawn on a logarithmic axis."""
    objectives = np.concatenate([np.asarray(history["objective"], np.float64) for history in histories])
    least = float(np.min(objectives, where=np.isfinite(objectives), initial=np.inf))
    if np.isinf(least):
        raise InputValueError("no iteration has a finite objective; there is nothing to draw.")
    return least - float(np.spacing(abs(least)))


def _by_name(result: Any) -> dict[Any, FitResult]:
    """Check one or several fits."""
    if isinstance(result, FitResult):
        return {result.solver: result}
    if not isinstance(result, Mapping):
        raise InputTypeError(f"result is {a_type(result)}, expected a FitResult or a dict of name to FitResult.")
    if not result:
        raise InputValueError("result is an empty dict; give at least one fit.")
    for name, one in result.items():
        if not isinstance(one, FitResult):
            raise InputTypeError(f"result[{plain(name)}] is {a_type(one)}, expected a FitResult.")
    return dict(result)


def _fits_in_log(lines: Iterable[str], name: str | bytes) -> list[dict[str, list[float]]]:
    """Parse the lines of a log into one history for each fit; a new fit begins where the iteration does not grow."""
    fits: list[dict[str, list[float]]] = []
    for number, line in enumerate(lines, 1):
        try:
            entry = json.loads(line)
            if "iteration" not in entry:  # the last line of a fit
                continue
            if not fits or entry["iteration"] <= fits[-1]["iteration"][-1]:
                fits.append({"iteration": [], "objective": [], "seconds": []})
            for key, values in fits[-1].items():
                values.append(np.nan if entry[key] is None else float(entry[key]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            raise InputValueError(
                f"{name!s} line {number} is not a line of a fit's log; give a file that fit --log has written."
            ) from None
    return fits
