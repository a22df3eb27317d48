"""`nbsoftmax convert`: export a model to ONNX."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbsoftmax.cli.offsets import warn_without_offset
from nbsoftmax.cli.options import file
from nbsoftmax.cli.output import print_report
from nbsoftmax.cli.reading import read_model
from nbsoftmax.cli.saving import check_outputs
from nbsoftmax.cli.thresholds import add_thresholds, read_thresholds
from nbsoftmax.errors import InputValueError

if TYPE_CHECKING:
    import argparse


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `convert`."""
    command.add_argument("model", type=file, help="model file written by fit or cv (.npz)")
    command.add_argument("out", type=file, metavar="OUT", help="ONNX file to write (.onnx)")
    command.add_argument(
        "--dtype", default="float32", choices=["float32", "float64"], help="of the features (default: float32)"
    )
    add_thresholds(command)
    command.add_argument(
        "--offset", action="store_true", help="give the graph a second input, offset, a column for each class"
    )


def run(arguments: argparse.Namespace) -> int:
    """Write a model as ONNX."""
    if arguments.out.suffix.lower() != ".onnx":
        raise InputValueError(f"{arguments.out} does not end in .onnx; give the name of an ONNX file.")
    check_outputs(arguments)
    model = read_model(arguments.model)
    warn_without_offset(arguments, model)
    thresholds = read_thresholds(arguments, model)
    model.to_onnx(arguments.out, dtype=arguments.dtype, thresholds=thresholds, offset=arguments.offset)
    print_report(arguments, [f"ONNX: {arguments.out}"], {"onnx": str(arguments.out)})
    return 0
