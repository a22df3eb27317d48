"""The command line: `nbsoftmax demo | fit | cv | predict | evaluate | inspect | plot | convert | bench`.

Exit codes: 0 done; 2 the input is wrong (one line on stderr); 130 interrupted (a fit that has begun saves what it has
beside --out, as m.partial.npz); 1 anything else, such as a full disk, or a fit that has not converged (its model is
written). This module reads options, `commands` does what they say; nothing heavy is imported before that.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, NoReturn

from nbsoftmax import __version__
from nbsoftmax.cli.config import OptionsError, with_config
from nbsoftmax.errors import InputError

SOLVERS = ("auto", "newton-cg", "newton", "lbfgs", "gd", "sgd", "prox-newton")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; return the exit code."""
    stdout_is_closed = sys.stdout is None
    with _no_closed_streams():
        return _run(argv, stdout_is_closed)


def _run(argv: Sequence[str] | None, stdout_is_closed: bool) -> int:
    parser, by_name = _parser()
    given = sys.argv[1:] if argv is None else list(argv)
    if not given:
        parser.print_help()
        return 0
    try:
        arguments = parser.parse_args(with_config(by_name, given))
    except OptionsError as error:
        print(f"nbsoftmax: {error}", file=sys.stderr)
        return 2
    if stdout_is_closed and arguments.command == "predict" and arguments.out is None:
        print("nbsoftmax: standard output is closed; write to --out FILE.", file=sys.stderr)
        return 2
    try:
        from nbsoftmax import validation  # noqa: F401  raises an error where Numba's settings cannot work
        from nbsoftmax.cli import commands
        from nbsoftmax.files import one_line
    except ImportError as error:
        print(f"nbsoftmax: {error}", file=sys.stderr)
        return 2
    try:
        code: int = getattr(commands, arguments.command)(arguments)
        sys.stdout.flush()
    except InputError as error:
        said = _by_option(one_line(error, longest=2000), by_name[arguments.command])
        print(f"nbsoftmax: {said}", file=sys.stderr)
        return 2
    except (
        FileExistsError,
        FileNotFoundError,
        IsADirectoryError,
        NotADirectoryError,
        PermissionError,
    ) as error:
        print(f"nbsoftmax: {one_line(error, longest=2000)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:  # outside a fit: there is nothing to save
        print("nbsoftmax: interrupted", file=sys.stderr)
        return 130
    except MemoryError as error:
        print(f"nbsoftmax: there is not enough memory ({error or 'none is left'})", file=sys.stderr)
        return 1
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        sys.stderr.close()
        return 1
    except OSError as error:  # a full disk, for example
        print(f"nbsoftmax: {one_line(error, longest=2000)}", file=sys.stderr)
        _give_up_full_output()
        return 1
    return code


@contextmanager
def _no_closed_streams() -> Iterator[None]:
    """Let a process that was started without standard output or error write to nowhere, rather than fail."""
    with (
        open(os.devnull, "w", encoding="utf-8") as nowhere,
        redirect_stdout(sys.stdout or nowhere),
        redirect_stderr(sys.stderr or nowhere),
    ):
        yield


def _give_up_full_output() -> None:
    """If standard output cannot be written, drop the rest of it; Python would print another error at exit."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


# Options whose names are not those of the parameters that they set.
RENAMED = {"n_threads": "threads", "validation_fraction": "validation", "random_state": "seed"}


def _by_option(message: str, command: argparse.ArgumentParser) -> str:
    """A message that begins with a parameter, such as "max_iter is 0", with the option of the command instead."""
    name, separator, rest = message.partition(" is ")
    option = f"--{RENAMED.get(name, name).replace('_', '-')}"
    return f"{option}{separator}{rest}" if separator and option in command._option_string_actions else message


class _Parser(argparse.ArgumentParser):
    """A parser with messages of one line, and without abbreviations, since `with_config` looks for whole options."""

    def __init__(self, prog: str | None = None, **options: Any) -> None:
        super().__init__(prog, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _parser() -> tuple[argparse.ArgumentParser, dict[str, argparse.ArgumentParser]]:
    """The parser, and those of the commands by name."""
    parser = _Parser(
        "nbsoftmax",
        description="Softmax regression: train, predict, evaluate, inspect, export.",
        epilog="Every command takes --json, for output to be read by programs, and --config FILE: a TOML file with a "
        "table for each command, such as [fit] with l2 = 1e-3, which options on the command line override. Exit "
        "codes: 0 done, 2 wrong input, 130 interrupted (a fit saves its current model as MODEL.partial.npz), 1 any "
        "other failure, including a fit that has not converged (its model is written).",
    )
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    demo = commands.add_parser("demo", help="train on the UCI hand-written digits and show what came out")
    demo.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder for model and picture (default: .)"
    )

    fit = commands.add_parser("fit", help="train a model and save it")
    _add_data(fit)
    fit.add_argument("--out", type=_file, required=True, metavar="MODEL", help="where to save the model (.npz)")
    fit.add_argument("--solver", default="auto", choices=SOLVERS)
    strength = fit.add_mutually_exclusive_group()
    strength.add_argument("--l2", type=float, default=0.0, help="penalty l2/2 ||coef||^2 on the mean loss (default: 0)")
    strength.add_argument(
        "--C", type=float, help="scikit-learn's: l2 = 1 / (C * n_samples), of the fit; for two classes twice that"
    )
    fit.add_argument("--l1", type=float, default=0.0, help="penalty l1 ||coef||_1, which makes zeros (default: 0)")
    fit.add_argument("--grouped", action="store_true", help="l1 on each feature's weights together: whole features go")
    fit.add_argument("--standardize", action="store_true", help="fit scaled features; the model takes them as they are")
    fit.add_argument("--tol", type=float, default=1e-6, help="relative distance to the minimum (default: 1e-6)")
    fit.add_argument("--max-iter", type=int)
    fit.add_argument("--max-seconds", type=float)
    fit.add_argument("--validation", type=float, metavar="FRACTION", help="hold out this share, and report its loss")
    fit.add_argument("--early-stopping", type=int, metavar="N", help="end N iterations after its least loss")
    fit.add_argument("--checkpoint", type=_file, metavar="FILE", help="where to keep what the fit needs to go on")
    fit.add_argument("--resume", action="store_true", help="go on from --checkpoint, if it is there")
    fit.add_argument("--log", type=_file, metavar="FILE", help="append a line of JSON for each iteration")
    fit.add_argument("--learning-rate", type=float, help="fixed step, for --solver gd; the first, for sgd")
    fit.add_argument("--batch-size", type=int, help="samples in a mini-batch, for --solver sgd (default: 32)")
    fit.add_argument("--seed", type=int, help="of the held-out share, and the order of samples for --solver sgd")
    fit.add_argument("--no-intercept", action="store_true")
    fit.add_argument("--label-smoothing", type=float, default=0.0)
    fit.add_argument("--class-weight", choices=["balanced"])
    fit.add_argument("--dtype", choices=["float32", "float64"])
    fit.add_argument("--threads", type=int)
    fit.add_argument("--device", default="cpu", help='"cuda" for a GPU, "auto" for one where there is one')
    fit.add_argument("--device-memory", type=int, metavar="BYTES", help="to use of a GPU; less sends X in parts")
    fit.add_argument("--quiet", action="store_true", help="no progress")

    cv = commands.add_parser("cv", help="choose the strength of the penalty by cross-validation")
    _add_data(cv)
    cv.add_argument("--Cs", type=float, nargs="+", metavar="C", help="(default: 10 from 1e-4 to 1e4)")
    cv.add_argument("--folds", type=int, default=5, help="stratified (default: 5)")
    cv.add_argument("--l1-ratio", type=float, default=0.0)
    cv.add_argument("--class-weight", choices=["balanced"])
    cv.add_argument("--device", default="cpu", help="as for fit")
    cv.add_argument("--one-standard-error", action="store_true", help="save the smallest C that is as good as the best")
    cv.add_argument("--seed", type=int, default=0)
    cv.add_argument("--out", type=_file, metavar="MODEL", help="where to save the model fitted to all samples (.npz)")

    predict = commands.add_parser("predict", help="predict the labels of data with a model")
    predict.add_argument("model", type=_file)
    predict.add_argument(
        "data", type=Path, help="CSV with the model's columns, .npy, or .npz with an array X; - for standard input"
    )
    _add_drop(predict)
    predict.add_argument(
        "--out", type=_file_or_stdout, metavar="FILE", help="CSV to write (default, and -: standard output)"
    )
    what = predict.add_mutually_exclusive_group()
    what.add_argument("--proba", action="store_true", help="a probability for each class beside the label")
    what.add_argument("--top-k", type=int, metavar="K", help="the K most probable labels with their probabilities")

    evaluate = commands.add_parser("evaluate", help="accuracy, log-loss and confusion matrix on labelled data")
    evaluate.add_argument("model", type=_file)
    _add_data(evaluate)

    inspect = commands.add_parser("inspect", help="show a model: sizes, classes, largest weights, how it was trained")
    inspect.add_argument("model", type=_file)
    inspect.add_argument("--top", type=int, default=5, metavar="N", help="weights to show for each class (default: 5)")

    plot = commands.add_parser("plot", help="draw a model, how good it is on data, or the log of a fit")
    plot.add_argument("kind", choices=["coefficients", "convergence", "reliability", "confusion", "decision"])
    plot.add_argument("source", type=_file, help="a model; of convergence, what fit --log has written")
    plot.add_argument("data", type=Path, nargs="?", help="labelled data, of reliability, confusion and decision")
    plot.add_argument("--target", metavar="NAME", help="column or array of labels")
    plot.add_argument("--labels", type=Path, metavar="FILE", help=".npy of labels, for .npy data")
    _add_drop(plot)
    plot.add_argument("--image-shape", metavar="HxW", help="of coefficients: the features are pixels, 8x8 for example")
    plot.add_argument("--out", type=_file, required=True, metavar="PICTURE", help=".png, .svg or .pdf to write")

    convert = commands.add_parser("convert", help="export a model to ONNX")
    convert.add_argument("model", type=_file)
    convert.add_argument("out", type=_file, metavar="OUT", help="ONNX file to write (.onnx)")
    convert.add_argument("--dtype", default="float32", choices=["float32", "float64"])

    bench = commands.add_parser("bench", help="measure the speed of this machine on random data")
    bench.add_argument("--samples", type=int, default=100_000)
    bench.add_argument("--features", type=int, default=100)
    bench.add_argument("--classes", type=int, default=10)
    bench.add_argument("--dtype", default="float64", choices=["float32", "float64"])
    bench.add_argument("--threads", type=int)
    bench.add_argument("--device", default="cpu", help="of the loss and its gradient, as for fit")
    for command in commands.choices.values():
        command.add_argument("--json", action="store_true", help="print JSON")
        command.add_argument("--config", metavar="FILE", help="TOML file with options")
    return parser, dict(commands.choices)


def _add_data(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "data",
        type=Path,
        help="CSV with a header; .npz with arrays X and y; or .npy of features; - for standard input",
    )
    command.add_argument(
        "--target", metavar="NAME", help="column of labels (CSV), or array of labels (.npz; default: y)"
    )
    command.add_argument("--labels", type=Path, metavar="FILE", help=".npy of labels, for .npy data")
    command.add_argument(
        "--sample-weight", metavar="NAME", help="column (CSV) or array (.npz) of weights; FILE.npy for .npy"
    )
    _add_drop(command)


def _add_drop(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--drop", action="append", default=[], metavar="NAME", help="column (CSV) to leave out; may be repeated"
    )


def _file(text: str) -> Path:
    """A file that cannot be standard input or output."""
    if text == "-":
        raise argparse.ArgumentTypeError("- is standard input or output, but this must be a file; name one")
    return Path(text)


def _file_or_stdout(text: str) -> Path | None:
    return None if text == "-" else Path(text)
