"""`nbsoftmax inspect`: show what a model consists of, and how it was trained."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.options import file
from nbsoftmax.cli.output import format_number, print_report, without_controls
from nbsoftmax.cli.reading import read_model

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.models.softmax import SoftmaxModel

MOST_LISTED, MOST_COLUMNS = 10, 40  # classes and columns


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `inspect`."""
    command.add_argument("model", type=file, help="model file written by fit or cv (.npz)")
    command.add_argument("--top", type=int, default=5, metavar="N", help="weights to show for each class (default: 5)")


def run(arguments: argparse.Namespace) -> int:
    """Print sizes, classes, training and the largest weights of a model."""
    from nbsoftmax import validation

    model = read_model(arguments.model)
    largest = _largest_weights(model, validation.count("--top", arguments.top))
    unused = int((model.coef == 0).all(axis=0).sum())
    facts = {
        "n_classes": model.n_classes,
        "n_features": model.n_features,
        "classes": model.classes.tolist(),
        "feature_names": None if model.feature_names is None else list(model.feature_names),
        "encoding": None if model.encoding is None else model.encoding.to_dict(),
        "unused_features": unused,
        "intercept": model.intercept.tolist(),
        "largest_weights": largest,
        "training": model.training,
    }
    print_report(arguments, _lines(model, largest, unused), facts)
    return 0


def _largest_weights(model: SoftmaxModel, top: int) -> dict[str, list[dict[str, Any]]]:
    """Return the features and weights of each class, by decreasing magnitude of the weight."""
    import numpy as np

    from nbsoftmax.models.softmax import feature_names

    names = feature_names(model)
    return {
        str(label): [
            {"feature": names[j], "weight": float(row[j])}
            for j in np.argsort(-np.abs(row), kind="stable")[:top].tolist()
        ]
        for label, row in zip(model.classes.tolist(), model.coef, strict=True)
    }


def _lines(model: SoftmaxModel, largest: dict[str, list[dict[str, Any]]], unused: int) -> list[str]:
    classes = model.classes.tolist()
    more = len(classes) - MOST_LISTED
    listed = ", ".join(map(str, classes[:MOST_LISTED])) + (f" and {more} more" if more > 0 else "")
    lines = [
        f"classes:  {model.n_classes} ({listed})",
        f"features: {model.n_features}{'' if model.feature_names else ' (without names)'}, {unused} of them "
        "unused (all weights are 0)",
    ]
    if model.encoding is not None:
        described = model.encoding.describe()
        lines += ["", "columns of its tables", *(f"  {line}" for line in described[:MOST_COLUMNS])]
        more = len(described) - MOST_COLUMNS
        lines += [f"  and {more} more"] if more > 0 else []
    if model.training:
        lines += ["", "how it was trained"]
        width = max(map(len, model.training))
        lines += [f"  {name:{width}}  {format_number(value)}" for name, value in model.training.items()]
    labels = [without_controls(str(label)) for label in classes]
    width = max(5, *map(len, labels))
    lines += ["", f"{'class':>{width}}  intercept  largest weights"]
    for name, label, b in zip(labels, classes, model.intercept.tolist(), strict=True):
        weights = ", ".join(f"{w['feature']} {w['weight']:+.4g}" for w in largest[str(label)])
        lines.append(f"{name:>{width}}  {b:9.4g}  {weights}")
    return lines
