"""Why a fit ended: each reason with its message and what to do about it."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

# What advice calls an option or a measure, in Python; the command line has names of its own.
PYTHON_TERMS = {
    "learning_rate": "learning_rate",
    "max_iter": "max_iter",
    "max_seconds": "max_seconds",
    "penalize": "add l2 (1e-4, say)",
    "resume": "go on from a checkpoint with resume=True",
    "scale": "scale the features",
    "tol": "tol",
    "float64": "use float64 data",
}


class StopReason(Enum):
    """Why a fit ended.

    Attributes
    ----------
    message : str
        Template of the text; its fields are filled in by `stop`.
    advice : str
        Template of what to do about it, with the fields of `PYTHON_TERMS`; "" where there is nothing to do.
    """

    CONVERGED = ("converged", "")
    STUCK = (
        "no step decreases the objective any more at float64 precision",
        "raise {tol}, centre and {scale}, or {float64}",
    )
    MAX_ITER = ("max_iter reached ({n_iter} {unit})", "raise {max_iter}, {scale}, or {penalize}")
    MAX_SECONDS = ("max_seconds reached ({seconds:.3g} s)", "raise {max_seconds}, or {resume}")
    DIVERGED = (
        "the objective grew without bound: learning_rate {learning_rate:g} is too large; halve it, or give none",
        "give a smaller {learning_rate}, or none for steps that suit the data",
    )
    SEPARABLE = (
        "samples are perfectly separable from other classes, so without a penalty there is no minimum; "
        "concerned: {classes}",
        "{penalize}, which makes the minimum finite and unique",
    )
    CALLBACK = ("stopped by a callback", "")
    EARLY_STOPPING = ("early stopping: {monitor} has not improved for {n_iter} iterations", "")
    INTERRUPTED = ("interrupted", "")

    def __init__(self, message: str, advice: str) -> None:
        self.message, self.advice = message, advice

    @property
    def requested(self) -> bool:
        """Whether the caller asked for this end: by a callback, early stopping or Ctrl-C."""
        return self in (StopReason.CALLBACK, StopReason.EARLY_STOPPING, StopReason.INTERRUPTED)

    def stop(self, **fields: Any) -> Stop:
        """The reason with its text, for the `fields` of its message."""
        return Stop(self, self.message.format(**fields))

    def advise(self, terms: Mapping[str, str] = PYTHON_TERMS) -> str:
        """What to do about it, with `terms` for the options."""
        return self.advice.format(**terms)


class Stop(NamedTuple):
    """A reason to stop and the text that explains it."""

    reason: StopReason
    text: str
