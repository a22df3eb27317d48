"""`nbsoftmax predict`: predict the labels of data with a model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.offsets import add_offset, warn_without_offset
from nbsoftmax.cli.options import add_columns, columns_named, file, file_or_stdout
from nbsoftmax.cli.output import check_encoding, stdout_encoding
from nbsoftmax.cli.prediction_files import output_of
from nbsoftmax.cli.reading import read_model
from nbsoftmax.cli.reading_blocks import read_in_blocks
from nbsoftmax.cli.saving import check_outputs
from nbsoftmax.cli.several import add_more
from nbsoftmax.cli.thresholds import add_thresholds, read_thresholds
from nbsoftmax.errors import InputError, InputValueError, NoRowsError

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.data.blocks import Block
    from nbsoftmax.models.softmax import SoftmaxModel


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `predict`."""
    add = command.add_argument
    add("model", type=file, help="model file written by fit or cv (.npz)")
    add("data", type=Path, help="as for fit; a CSV needs the model's columns, a .npz the array X; - for standard input")
    add_more(command, "more files; DATA may also be a folder, or a pattern such as 'test/*.parquet'")
    add_columns(command)
    add(
        "--id",
        action="append",
        default=[],
        metavar="NAMES",
        help="columns to copy to the output",
    )
    add_offset(command)
    add(
        "--out",
        type=file_or_stdout,
        metavar="FILE",
        help="file to write: CSV, JSON with --json, Parquet if it ends in .parquet (default, and -: standard output)",
    )
    add_thresholds(command)
    what = command.add_mutually_exclusive_group()
    what.add_argument("--proba", action="store_true", help="also write the probability of each class")
    what.add_argument("--top-k", type=int, metavar="K", help="the K most probable labels with their probabilities")


def run(arguments: argparse.Namespace) -> int:
    """Write the predicted labels as CSV, as a JSON object for each row, or as Parquet."""
    check_outputs(arguments)
    model = read_model(arguments.model, arguments.data)
    warn_without_offset(arguments, model)
    thresholds = read_thresholds(arguments, model)
    header = _header(arguments, model)
    if arguments.out is None and not arguments.json:
        check_encoding([*header, *map(str, model.classes.tolist())])
    written = before = 0  # rows of all files so far, and of those before the present one
    with output_of(arguments.out, header, as_json=arguments.json) as output:

        def write(blocks: Iterator[Block]) -> None:
            nonlocal written, before
            output.begin()
            n = before
            for block in blocks:
                ids = [] if block.y is None else list(block.y.T)
                output.write([*ids, *_columns(arguments, model, block, thresholds)])
                n += block.X.shape[0]
                written = max(n, written)
                del block  # while the next one is read
            output.keep()
            before = n

        try:
            try:
                read_in_blocks(arguments, model, write, labels=False, n_results=len(header))
            except NoRowsError:  # a table without rows: only the header is written
                output.begin()
                n_ids = len(columns_named(arguments.id, ()))
                output.write(_no_rows(header[n_ids:], n_ids, model))
            output.end()
        except UnicodeEncodeError as error:
            bad = f"{error.object[error.start : error.end]!a}"
            some = f"At least {written}" if written else "Some"
            raise InputValueError(
                f"standard output is {stdout_encoding()}, which cannot encode {bad} in a column of --id; write to "
                f"--out FILE, which is UTF-8, or set PYTHONIOENCODING=utf-8. ({some} rows have been written.)"
            ) from None
        except InputError as error:
            if arguments.out is not None or written == 0:
                raise
            raise type(error)(f"{error} (The first {written} rows have been written, the others have not.)") from None
    return 0


def _header(arguments: argparse.Namespace, model: SoftmaxModel) -> list[str]:
    """The names of the columns: those of --id, and those of the predictions."""
    predicted = ["label", *(f"proba_{label}" for label in model.classes.tolist() if arguments.proba)]
    if arguments.top_k is not None:
        if not 1 <= arguments.top_k <= model.n_classes:
            raise InputValueError(
                f"--top-k is {arguments.top_k}, expected 1 to {model.n_classes}, the number of classes."
            )
        predicted = [f"{what}_{k + 1}" for k in range(arguments.top_k) for what in ("label", "proba")]
    ids = columns_named(arguments.id, ())
    both = sorted(set(ids) & set(predicted))
    if both:
        raise InputValueError(f"--id names {both[0]!r}, which is a column of the predictions; rename it in the data.")
    return [*ids, *predicted]


def _no_rows(predicted: list[str], n_ids: int, model: SoftmaxModel) -> list[Any]:
    """The columns of an output without rows, of the types that they have with some; those of --id are not known."""
    import numpy as np

    columns = [np.empty(0) if name.startswith("proba_") else model.classes[:0] for name in predicted]
    return [*[np.empty(0, object)] * n_ids, *columns]


def _columns(arguments: argparse.Namespace, model: SoftmaxModel, block: Block, thresholds: Any) -> list[Any]:
    """The columns of some rows, arrays (n,)."""
    given = {"offset": block.offset, "thresholds": thresholds}
    if arguments.top_k is not None:
        labels, proba = model.top_k(block.X, arguments.top_k, **given)
        return [column for pair in zip(labels.T, proba.T, strict=True) for column in pair]
    if arguments.proba:
        proba = model.predict_proba(block.X, offset=block.offset)
        labels = model.classes[proba.argmax(axis=1)] if thresholds is None else model.predict(block.X, **given)
        return [labels, *proba.T]
    return [model.predict(block.X, **given)]
