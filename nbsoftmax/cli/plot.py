"""`nbsoftmax plot`: draw a model, its predictions for labelled data, or the log of a fit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.offsets import add_offset, warn_without_offset
from nbsoftmax.cli.options import add_columns, add_labels, file
from nbsoftmax.cli.output import print_report
from nbsoftmax.cli.reading import as_classes, read_data, read_model, shown_warnings
from nbsoftmax.cli.saving import check_outputs
from nbsoftmax.cli.summary import add_column_effects, effects_of, inference_of
from nbsoftmax.errors import InputValueError

if TYPE_CHECKING:
    import argparse

WITH_DATA = ("reliability", "confusion", "decision", "effects")  # these need labelled data
WEIGHTED = ("reliability", "confusion", "effects")  # these count samples or average over them
DATA = (
    "labelled data, for reliability, confusion and decision; for effects, the data of a fit without penalty; "
    "optional for coefficients: each weight is multiplied by the standard deviation of its feature"
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `plot`."""
    add = command.add_argument
    add("kind", choices=["coefficients", "convergence", *WITH_DATA], help="what to draw")
    add("source", type=file, help="a model; for convergence, a log written by fit --log")
    add("data", type=Path, nargs="?", help=DATA)
    add_labels(command, "column or array of labels")
    add_columns(command)
    add(
        "--sample-weight",
        metavar="NAME",
        help="for reliability, confusion and effects (those of the fit): a column, array or .npy file of weights",
    )
    add_offset(command)
    add_column_effects(command)
    add("--image-shape", metavar="HxW", help="for coefficients, if the features are pixels: 8x8, for example")
    add(
        "--out",
        type=file,
        required=True,
        metavar="PICTURE",
        help="picture to write: .png, .svg, .pdf, .jpg, .webp and other formats of Matplotlib",
    )


def run(arguments: argparse.Namespace) -> int:
    """Draw one plot and save it as a picture."""
    from nbsoftmax import plots
    from nbsoftmax.plots.figure import require_matplotlib

    check_outputs(arguments)
    require_matplotlib()
    needs_data, given = arguments.kind in WITH_DATA, arguments.data is not None
    if needs_data != given and not (given and arguments.kind == "coefficients"):
        wanted = "needs labelled data" if needs_data else "takes no data"
        raise InputValueError(f"plot {arguments.kind} {wanted}; see nbsoftmax plot --help.")
    plots.picture_format(arguments.out)
    plots.save_picture(_display(arguments).figure_, arguments.out, dpi=150)
    print_report(arguments, [f"picture: {arguments.out}"], {"picture": str(arguments.out)})
    return 0


def _display(arguments: argparse.Namespace) -> Any:
    from nbsoftmax import plots

    if arguments.image_shape is not None and arguments.kind != "coefficients":
        raise InputValueError(f"--image-shape is for plot coefficients, not for plot {arguments.kind}; leave it out.")
    if arguments.column_effects and arguments.kind != "effects":
        raise InputValueError(f"--column-effects is for plot effects, not for plot {arguments.kind}; leave it out.")
    if arguments.sample_weight is not None and arguments.kind not in WEIGHTED:
        raise InputValueError(
            f"--sample-weight is for plot {', '.join(WEIGHTED)}, not for plot {arguments.kind}; leave it out."
        )
    if arguments.kind == "convergence":
        return plots.ConvergenceDisplay.from_log(arguments.source)
    model = read_model(arguments.source, arguments.data)
    if arguments.kind == "coefficients":
        shape = None if arguments.image_shape is None else _shape(arguments.image_shape)
        if arguments.offset:
            raise InputValueError("plot coefficients draws weights, which have no offset; leave --offset out.")
        labels = arguments.target is not None or arguments.labels is not None
        X = None if arguments.data is None else read_data(arguments, labels=labels, model=model).X
        return plots.CoefficientDisplay.from_estimator(model, X, image_shape=shape)
    if arguments.kind == "effects":
        with shown_warnings():
            effects = effects_of(arguments, *inference_of(arguments, model))
            return plots.MarginalEffectsDisplay.from_effects(effects)
    data = read_data(arguments, labels=True, model=model)
    labels = as_classes(data.y, model.classes)
    if arguments.kind == "decision":
        if data.offset is not None:
            raise InputValueError(
                "plot decision draws the predictions of a plane, whose points have no offset; leave --offset out."
            )
        return plots.DecisionDisplay.from_estimator(model, data.X, labels)
    warn_without_offset(arguments, model)
    display = plots.ReliabilityDisplay if arguments.kind == "reliability" else plots.ConfusionDisplay
    return display.from_estimator(model, data.X, labels, sample_weight=data.sample_weight, offset=data.offset)


def _shape(text: str) -> tuple[int, int]:
    height, _, width = text.lower().partition("x")
    if not (height.isdecimal() and width.isdecimal()):
        raise InputValueError(f"--image-shape is {text!r}, expected height x width, for example 8x8.")
    return int(height), int(width)
