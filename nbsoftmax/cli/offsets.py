"""The option --offset. A model knows whether it was fitted with an offset; commands that use it warn without one."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.output import warn

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.models.softmax import SoftmaxModel

OFFSET = "columns added to the logits, one for each of the sorted classes; for two, that of the second one is enough"


def add_offset(command: argparse.ArgumentParser) -> None:
    """Add the option to a command that reads data."""
    command.add_argument("--offset", action="append", default=[], metavar="NAMES", help=OFFSET)


def check_order(columns: Sequence[str], model: Any, y: Any = None) -> None:
    """Refuse columns named after the classes in another order; without a model, the classes are the sorted labels."""
    from nbsoftmax import validation

    if len(columns) > 1:
        validation.in_order_of_classes("offset", columns, validation.labels(y)[1] if model is None else model.classes)


def with_columns(model: SoftmaxModel, given: Sequence[str]) -> SoftmaxModel:
    """The model of a fit, which knows the values of --offset."""
    return replace(model, training={**(model.training or {}), "offset": list(given)}) if given else model


def warn_without_offset(arguments: argparse.Namespace, model: SoftmaxModel) -> None:
    """Warn if the model was fitted with an offset and the command has none: its logits then lack a term."""
    fitted = (model.training or {}).get("offset")
    if not fitted or arguments.offset:
        return
    if arguments.command == "convert":
        what, option = "the graph has none", "--offset"
    else:
        columns = fitted if isinstance(fitted, list) else ["NAMES"]
        what, option = "none is added here", " ".join(map(_option, columns))
    warn(f"the model was fitted with an offset, but {what}; {option} adds it.")


def _option(name: str) -> str:
    """The option with this value, as a shell takes it; one that begins with a dash is no option of its own."""
    return f"--offset{'=' if name.startswith('-') else ' '}{shlex.quote(name)}"
