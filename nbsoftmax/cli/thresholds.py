"""The option `--thresholds` of `predict`, `evaluate` and `convert`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsoftmax.errors import InputValueError, listed, plain

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.models.softmax import SoftmaxModel


def add_thresholds(command: argparse.ArgumentParser) -> None:
    """Add the option."""
    command.add_argument(
        "--thresholds",
        metavar="LIST",
        help="predict the class with the largest probability / threshold: 'setosa=0.2,virginica=0.5' (others: 1; "
        "of two classes: 1 minus it), or numbers in the order of the classes",
    )


def read_thresholds(arguments: argparse.Namespace, model: SoftmaxModel) -> Any:
    """Thresholds (n_classes,) in the order of the classes of the model; None if there are none."""
    from nbsoftmax.models.thresholds import thresholds_of

    if arguments.thresholds is None:
        return None
    return thresholds_of(_parsed(arguments.thresholds, model.classes.tolist()), model.classes)


def _parsed(text: str, classes: list[Any]) -> Any:
    """A dict of label to threshold, or a list of numbers if no field has an equals sign."""
    import csv

    from nbsoftmax.validation import by_text

    fields = next(csv.reader([text], skipinitialspace=True), [])
    if not any("=" in field for field in fields):
        return [_number(field, field) for field in fields]
    labels = by_text(classes)
    found: dict[Any, float] = {}
    for field in fields:
        name, _, value = field.rpartition("=")
        name = name.strip()
        if name not in labels:
            raise InputValueError(
                f"--thresholds has the field {plain(field)}, expected LABEL=NUMBER with one of the classes "
                f"[{listed(classes)}]; put a label that contains a comma in quotes, as in CSV."
            )
        if labels[name] in found:
            raise InputValueError(f"--thresholds names the class {plain(name)} twice; give one threshold for it.")
        found[labels[name]] = _number(value, field)
    return found


def _number(text: str, field: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise InputValueError(
            f"--thresholds has the field {plain(field)}, expected a number or LABEL=NUMBER, such as 0.2 or yes=0.2."
        ) from None
