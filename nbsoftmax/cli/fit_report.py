"""How commands report a fit: its summary, its warnings and the exit code."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.advice import TERMS
from nbsoftmax.cli.output import warn

if TYPE_CHECKING:
    from nbsoftmax.training.result import FitResult


@dataclass(frozen=True)
class Warned:
    """The warnings of a fit about files that were not written."""

    not_written: list[str] = field(default_factory=list)


@contextmanager
def collect_warnings() -> Iterator[Warned]:
    """Collect warnings about files not written; print all warnings on one line each, except about convergence."""
    import warnings

    from nbsoftmax.files import NotWrittenWarning
    from nbsoftmax.training.convergence_warning import ConvergenceWarning

    warned = Warned()

    def show(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
        if issubclass(category, ConvergenceWarning):
            return  # `fit_exit_code` reports it with the options of the command line
        if issubclass(category, NotWrittenWarning):
            warned.not_written.append(str(message))
        warn(str(message))

    with warnings.catch_warnings():
        warnings.simplefilter("always", ConvergenceWarning)
        warnings.simplefilter("always", NotWrittenWarning)
        warnings.showwarning = show
        yield warned


def fit_exit_code(result: FitResult, warned: Warned, more_advice: str = "") -> int:
    """Return 130 after Ctrl-C, 1 if the fit did not converge or a file was not written, and 0 otherwise."""
    if result.interrupted:
        return 130
    if not result.converged and not result.stop_reason.requested:
        from nbsoftmax.training.convergence_warning import convergence_message

        warn(convergence_message(result, result.stop_reason.advise(TERMS)) + more_advice)
        return 1
    return int(bool(warned.not_written))


def fit_lines(result: FitResult) -> list[str]:
    """Return the summary of a fit as lines of text."""
    from nbsoftmax.errors import counted

    if result.converged:
        state = "converged after"
    elif result.stop_reason.requested:
        state = f"stopped ({result.reason}) after"
    else:
        state = f"NOT converged: {result.reason}; stopped after"
    gap = "decrease by another step" if result.gap_kind == "stationary" else "gap to the minimum"
    return [
        f"{state} {counted(result.n_iter, 'iteration')} and {result.seconds:.2f} s ({result.solver})",
        f"objective {result.objective:.8g}, gradient norm {result.grad_norm:.3g}, "
        f"{gap} {result.gap:.3g} ({result.gap_kind})",
    ]


def fit_facts(result: FitResult) -> dict[str, Any]:
    """Return the summary of a fit for JSON."""
    names = (
        "converged",
        "reason",
        "n_iter",
        "objective",
        "grad_norm",
        "gap",
        "gap_kind",
        "seconds",
        "solver",
        "summary",
    )
    return {name: getattr(result, name) for name in names}
