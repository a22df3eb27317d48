"""The parser of the command line: its commands, each with the options that its own file adds.

Nothing heavy is imported here, nor at the top of a command's file: --help and wrong options are answered at once.
"""

from __future__ import annotations

import argparse
import re
from typing import Any, NoReturn

from nbsoftmax import __version__
from nbsoftmax.cli import bench, convert, cv, demo, evaluate, fit, inspect, plot, predict, summary, warmup
from nbsoftmax.cli.options import ENCODING

# Words that are numbers and not options; argparse itself does not know -1e-3 and -inf.
NEGATIVE = re.compile(r"-(?:inf|(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)$", re.IGNORECASE)
DESCRIPTION = "Softmax regression: train, predict, evaluate, inspect, export."
EPILOG = (
    "Every command takes --json, for output to be read by programs, and --config FILE: a TOML file with a table for "
    "each command, such as [fit] with l2 = 1e-3, which options on the command line override. Exit codes: 0 done, 2 "
    "wrong input, 130 interrupted (a fit saves its current model as MODEL.partial.npz), 143 ended by SIGTERM, 1 any "
    "other failure, including a fit that has not converged (its model is written)."
)
# Name, help, and functions of each command.
COMMANDS = (
    ("demo", "train on the UCI hand-written digits and report the accuracy", demo.add_options, demo.run),
    ("fit", "train a model and save it", fit.add_options, fit.run),
    ("cv", "choose the strength of the penalty by cross-validation", cv.add_options, cv.run),
    ("predict", "predict the labels of data with a model", predict.add_options, predict.run),
    ("evaluate", "accuracy, log-loss and confusion matrix on labelled data", evaluate.add_options, evaluate.run),
    ("inspect", "show a model: sizes, classes, training, largest weights", inspect.add_options, inspect.run),
    ("summary", "coefficients with standard errors, or marginal effects", summary.add_options, summary.run),
    ("plot", "draw a model, its predictions for labelled data, or the log of a fit", plot.add_options, plot.run),
    ("convert", "export a model to ONNX", convert.add_options, convert.run),
    ("bench", "measure the speed of this machine on random data", bench.add_options, bench.run),
    ("warmup", "compile all kernels in advance, for container images", warmup.add_options, warmup.run),
)


class Parser(argparse.ArgumentParser):
    """A parser with messages of one line, and without abbreviations, since `with_config` looks for whole options."""

    def __init__(self, prog: str | None = None, **options: Any) -> None:
        super().__init__(prog, allow_abbrev=False, **options)
        self._negative_number_matcher = NEGATIVE
        self.commands: dict[str, Parser] = {}

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments; the error about unknown ones belongs to their command."""
        known, rest = self.parse_known_args(args, namespace)
        if rest:
            columns = hasattr(known, "drop") and not any(word.startswith("-") for word in rest)
            advice = "; several columns are one argument, with commas between them: a,b" if columns else ""
            advice = advice or self._of_others(rest[0].partition("=")[0])
            self._refuse(f"{self.prog} {known.command}", f"unrecognized arguments: {' '.join(rest)}{advice}")
        return known

    def _of_others(self, option: str) -> str:
        """Advice about an option that only other commands have."""
        owners = [name for name, command in self.commands.items() if option in command._option_string_actions]
        if not owners:
            return ""
        learned = option.removeprefix("--").replace("-", "_") in (*ENCODING, "categorical", "features")
        return f"; {option} is for {', '.join(owners)}{', and the model keeps it' if learned else ''}"

    def error(self, message: str) -> NoReturn:
        """Print one line and exit with 2."""
        self._refuse(self.prog, message)

    def _refuse(self, prog: str, message: str) -> NoReturn:
        self.exit(2, f"{prog}: {message}; see {prog} --help\n")


def build_parser() -> tuple[Parser, dict[str, Parser]]:
    """Return the parser, and the parsers of the commands by name."""
    parser = Parser("nbsoftmax", description=DESCRIPTION, epilog=EPILOG)
    parser.add_argument("--version", action="version", version=f"%(prog)s {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, what, add_options, run in COMMANDS:
        command = commands.add_parser(name, help=what)
        add_options(command)
        command.add_argument("--json", action="store_true", help="print JSON")
        command.add_argument("--config", metavar="FILE", help="TOML file with options")
        command.set_defaults(run=run)
    parser.commands = dict(commands.choices)
    return parser, parser.commands
