"""`nbsoftmax predict`: predict the labels of data with a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.options import add_columns, file, file_or_stdout
from nbsoftmax.cli.output import check_encoding
from nbsoftmax.cli.prediction_files import output_of
from nbsoftmax.cli.reading import read_model
from nbsoftmax.cli.reading_blocks import read_in_blocks
from nbsoftmax.cli.saving import check_outputs
from nbsoftmax.errors import InputError

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.data.blocks import Block
    from nbsoftmax.models.softmax import SoftmaxModel


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `predict`."""
    add = command.add_argument
    add("model", type=file, help="model file written by fit or cv (.npz)")
    add("data", type=Path, help="as for fit; a CSV needs the model's columns, a .npz the array X; - for standard input")
    add_columns(command)
    add(
        "--out",
        type=file_or_stdout,
        metavar="FILE",
        help="CSV to write, or Parquet if it ends in .parquet (default, and -: CSV on standard output)",
    )
    what = command.add_mutually_exclusive_group()
    what.add_argument("--proba", action="store_true", help="also write the probability of each class")
    what.add_argument("--top-k", type=int, metavar="K", help="the K most probable labels with their probabilities")


def run(arguments: argparse.Namespace) -> int:
    """Write the predicted labels as CSV, as a JSON object for each row, or as Parquet."""
    check_outputs(arguments)
    model = read_model(arguments.model, arguments.data)
    header = _header(arguments, model)
    if arguments.out is None and not arguments.json:
        check_encoding(["".join(header), *map(str, model.classes.tolist())])
    written = 0
    with output_of(arguments.out, header, as_json=arguments.json) as output:

        def write(blocks: Iterator[Block]) -> None:
            nonlocal written
            output.begin()
            n = 0
            for block in blocks:
                output.write(_columns(arguments, model, block.X))
                n += block.X.shape[0]
                written = max(n, written)
                del block  # while the next one is read
            output.end()

        try:
            read_in_blocks(arguments, model, write, labels=False, n_results=len(header))
        except InputError as error:
            if arguments.out is not None or written == 0:
                raise
            raise type(error)(f"{error} (The first {written} rows have been written, the others have not.)") from None
    return 0


def _header(arguments: argparse.Namespace, model: SoftmaxModel) -> list[str]:
    """The names of the columns."""
    if arguments.top_k is not None:
        return [f"{what}_{k + 1}" for k in range(arguments.top_k) for what in ("label", "proba")]
    return ["label", *(f"proba_{label}" for label in model.classes.tolist() if arguments.proba)]


def _columns(arguments: argparse.Namespace, model: SoftmaxModel, X: Any) -> list[Any]:
    """The columns of some rows, arrays (n,)."""
    if arguments.top_k is not None:
        labels, proba = model.top_k(X, arguments.top_k)
        return [column for pair in zip(labels.T, proba.T, strict=True) for column in pair]
    if arguments.proba:
        proba = model.predict_proba(X)
        return [model.classes[proba.argmax(axis=1)], *proba.T]
    return [model.predict(X)]
