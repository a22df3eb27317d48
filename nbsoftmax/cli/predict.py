"""`nbsoftmax predict`: predict the labels of data with a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.options import add_columns, file, file_or_stdout
from nbsoftmax.cli.output import check_encoding, output_file, to_json
from nbsoftmax.cli.reading import read_data, read_model
from nbsoftmax.cli.saving import check_outputs

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.models.softmax import SoftmaxModel


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `predict`."""
    add = command.add_argument
    add("model", type=file)
    add("data", type=Path, help="as for fit; a CSV needs the model's columns, a .npz the array X; - for standard input")
    add_columns(command)
    add("--out", type=file_or_stdout, metavar="FILE", help="CSV to write (default, and -: standard output)")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--proba", action="store_true", help="also write the probability of each class")
    what.add_argument("--top-k", type=int, metavar="K", help="the K most probable labels with their probabilities")


def run(arguments: argparse.Namespace) -> int:
    """Write the predicted labels as CSV, or as a JSON object for each row."""
    import csv

    check_outputs(arguments)
    model = read_model(arguments.model, arguments.data)
    X = read_data(arguments, labels=False, model=model).X
    header, rows = _table(arguments, model, X)
    if arguments.out is None and not arguments.json:
        check_encoding(["".join(header), *map(str, model.classes.tolist())])
    with output_file(arguments.out) as file:
        if arguments.json:
            for row in rows:
                print(to_json(dict(zip(header, row, strict=True))), file=file)
        else:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(header)
            writer.writerows(rows)
    return 0


def _table(arguments: argparse.Namespace, model: SoftmaxModel, X: Any) -> tuple[list[str], Iterator[list[Any]]]:
    """Return the names of the columns, and the rows."""
    if arguments.top_k is not None:
        labels, proba = model.top_k(X, arguments.top_k)
        header = [f"{what}_{k + 1}" for k in range(arguments.top_k) for what in ("label", "proba")]
        return header, (
            [cell for pair in zip(label.tolist(), p.tolist(), strict=True) for cell in pair]
            for label, p in zip(labels, proba, strict=True)
        )
    if arguments.proba:
        proba = model.predict_proba(X)
        best = model.classes[proba.argmax(axis=1)].tolist()
        header = ["label", *(f"proba_{label}" for label in model.classes.tolist())]
        return header, ([label, *p.tolist()] for label, p in zip(best, proba, strict=True))
    return ["label"], ([label] for label in model.predict(X).tolist())
