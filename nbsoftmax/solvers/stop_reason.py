"""The reasons why a fit ends, each with its message and with advice."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

# Names of options in the advice, for Python; the command line has its own.
PYTHON_TERMS = {
    "learning_rate": "learning_rate",
    "max_iter": "max_iter",
    "max_seconds": "max_seconds",
    "firth": 'use penalty="firth"',
    "penalize": "add or increase l2 (from 0, for example to 1e-4)",
    "resume": "continue from a checkpoint with resume=True",
    "scale": "scale the features",
    "tol": "tol",
    "float64": "use float64 data instead of float32",
}


class StopReason(Enum):
    """Why a fit ended.

    CONVERGED : the gap is within `tol`
    STUCK : no step decreases the objective by more than its rounding errors
    MAX_ITER, MAX_SECONDS : a limit was reached
    DIVERGED : the given learning rate is too large
    SEPARABLE : the objective has no minimum, because it has no penalty and the classes are separable
    CALLBACK, EARLY_STOPPING, INTERRUPTED : a callback, early stopping or Ctrl-C ended the fit

    Attributes
    ----------
    message : str
        Template of the text, whose fields `stop` fills in.
    advice : str
        Template of the advice, with the fields of `PYTHON_TERMS`; "" if there is nothing to do.
    """

    CONVERGED = ("converged", "")
    STUCK = (
        "no further step decreases the objective in {precision} precision",
        "increase {tol}, centre and {scale}, or {float64}",
    )
    MAX_ITER = ("max_iter reached ({n_iter} {unit})", "increase {max_iter}, {scale}, or {penalize}")
    MAX_SECONDS = ("max_seconds reached ({seconds:.3g} s)", "increase {max_seconds}, or {resume}")
    DIVERGED = (
        "the objective diverged because learning_rate {learning_rate:g} is too large",
        "reduce {learning_rate}, or omit it, so that it is chosen for the data",
    )
    SEPARABLE = (
        "classes are perfectly separable, so the objective has no minimum without a penalty "
        "(separable classes: {classes})",
        "{penalize}, so that a unique minimum exists, or {firth} for finite estimates with standard errors",
    )
    CALLBACK = ("stopped by a callback", "")
    EARLY_STOPPING = ("early stopping, because {monitor} has not improved for {waited}", "")
    INTERRUPTED = ("interrupted", "")

    def __init__(self, message: str, advice: str) -> None:
        self.message, self.advice = message, advice

    @property
    def requested(self) -> bool:
        """Whether the user stopped the fit: by a callback, early stopping or Ctrl-C."""
        return self in (StopReason.CALLBACK, StopReason.EARLY_STOPPING, StopReason.INTERRUPTED)

    def stop(self, **fields: Any) -> Stop:
        """The reason with its message, in which the `fields` are filled in."""
        return Stop(self, self.message.format(**fields))

    def advise(self, terms: Mapping[str, str] = PYTHON_TERMS) -> str:
        """The advice, with `terms` as the names of options."""
        return self.advice.format(**terms)


class Stop(NamedTuple):
    """A reason to stop and the text that explains it."""

    reason: StopReason
    text: str
