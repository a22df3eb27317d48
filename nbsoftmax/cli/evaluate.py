"""`nbsoftmax evaluate`: accuracy, log-loss and confusion matrix of a model on labelled data."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.options import add_data, file
from nbsoftmax.cli.output import format_number, print_report
from nbsoftmax.cli.reading import as_classes, read_data, read_model
from nbsoftmax.errors import InputValueError

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.models.softmax import SoftmaxModel


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate`."""
    command.add_argument("model", type=file)
    add_data(command)


def run(arguments: argparse.Namespace) -> int:
    """Print the scores of a model on labelled data."""
    model = read_model(arguments.model, arguments.data)
    X, y, _, weight = read_data(arguments, labels=True, model=model)
    report = scores(model, X, as_classes(y, model.classes), weight)
    confusion = report["confusion"]
    lines = [
        f"samples:  {len(y)}{'' if weight is None else ' (the results are weighted)'}",
        f"accuracy: {report['accuracy']:.4f}",
        f"log-loss: {report['log_loss']:.4f}",
        *_tables([str(label) for label in model.classes.tolist()], confusion),
    ]
    facts = {"samples": len(y), **report, "confusion": confusion.tolist(), "classes": model.classes.tolist()}
    print_report(arguments, lines, facts)
    return 0


def scores(model: SoftmaxModel, X: Any, y: Any, weight: Any = None) -> dict[str, Any]:
    """Compute the accuracy, the log-loss and the confusion matrix of a model on labelled samples."""
    from nbsoftmax import validation
    from nbsoftmax.functional import cross_entropy
    from nbsoftmax.models.scores import accuracy, confusion

    truth = validation.codes_of(y, model.classes, n_samples=validation.some_samples(X).shape[0])
    logits = model.decision_function(X)
    predicted = logits.argmax(axis=1)
    log_loss = cross_entropy(logits, truth, sample_weight=weight)  # validates the weights
    if weight is not None and float(weight.max()) > 1e300 / len(weight):
        raise InputValueError(
            f"the largest weight is {float(weight.max()):g}, too large to add up {len(weight)}; divide all by it."
        )
    return {
        "accuracy": accuracy(predicted == truth, weight),
        "log_loss": log_loss,
        "confusion": confusion(truth, predicted, model.n_classes, weight),
    }


def _tables(names: list[str], confusion: Any) -> list[str]:
    """Return precision and recall of each class, and the confusion matrix, as lines."""
    width = max(9, *map(len, names))
    lines = [f"\n{'class':>{width}}  precision     recall    samples"]
    for k, name in enumerate(names):
        right, predicted, actual = confusion[k, k], confusion[:, k].sum(), confusion[k].sum()
        shares = [f"{right / n:10.4f}" if n else f"{'-':>10}" for n in (predicted, actual)]
        lines.append(f"{name:>{width}} {shares[0]} {shares[1]} {format_number(actual):>10}")
    cell = max(4, *map(len, names), *(len(format_number(n)) for n in confusion.flat)) + 1
    lines.append("\nconfusion matrix (rows: true, columns: predicted)")
    lines.append(" " * width + "".join(f"{name:>{cell}}" for name in names))
    for k, name in enumerate(names):
        lines.append(f"{name:>{width}}" + "".join(f"{format_number(n):>{cell}}" for n in confusion[k]))
    return lines
