"""`nbsoftmax fit`: train a model and save it."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli import streaming
from nbsoftmax.cli.fit_checks import check_options
from nbsoftmax.cli.fit_report import collect_warnings, fit_exit_code, fit_facts, fit_lines
from nbsoftmax.cli.offsets import with_columns
from nbsoftmax.cli.options import add_bounds, add_data, add_encoding, file
from nbsoftmax.cli.output import note, print_report, warn
from nbsoftmax.cli.reading import as_classes, has_intercept, read_data, with_numbering
from nbsoftmax.cli.saving import check_outputs, model_lines, save_model
from nbsoftmax.cli.unpenalised import add_option as add_unpenalised
from nbsoftmax.cli.unpenalised import weights_of
from nbsoftmax.errors import counted, listed
from nbsoftmax.solvers import NAMES

if TYPE_CHECKING:
    from nbsoftmax.encoding import AnyEncoding
    from nbsoftmax.problem import AnyProblem, Problem
    from nbsoftmax.training.trainer import Trainer
    from nbsoftmax.validation import Float64s


MANY_CLASSES = 20  # more, and more than one for every other sample, are probably no classes


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `fit`."""
    add_data(command)
    add_encoding(command)
    streaming.add_options(command)
    add = command.add_argument
    add("--out", type=file, required=True, metavar="MODEL", help="where to save the model (.npz)")
    _add_objective(command)
    _add_solver(command)
    add("--validation", type=float, metavar="FRACTION", help="hold out this share of the samples and report its loss")
    add("--validation-data", type=Path, metavar="FILE", help="report the loss of the samples of this file")
    add("--early-stopping", type=int, metavar="N", help="stop if the held-out loss has not improved for N iterations")
    add("--checkpoint", type=file, metavar="FILE", help="save the state of the fit here, so that it can be resumed")
    add("--resume", action="store_true", help="resume from --checkpoint; start from the beginning without that file")
    add("--log", type=file, metavar="FILE", help="append a line of JSON for each iteration")
    add("--threads", type=int, help="number of threads (default: as many as Numba would use)")
    add("--device", default="cpu", help='"cuda" for a GPU, "auto" for a GPU if there is one (default: cpu)')
    add(
        "--device-memory",
        type=int,
        metavar="BYTES",
        help="memory to use on the GPU, if the fit runs on one; a larger X is sent in parts",
    )
    add("--quiet", action="store_true", help="do not show progress")


def _add_objective(command: argparse.ArgumentParser) -> None:
    strength = command.add_mutually_exclusive_group()
    strength.add_argument("--l2", type=float, help="penalty l2/2 ||coef||^2 on the mean loss; 0 for none")
    strength.add_argument(
        "--C",
        type=float,
        help="scikit-learn's C: l2 = 1 / (C * n_samples), without held-out samples; for two classes twice that "
        "(default without --l2 and --l1: 1)",
    )
    strength.add_argument(
        "--firth",
        action="store_true",
        help="Firth's penalty (Jeffreys' prior): finite estimates for perfectly separable classes, in memory",
    )
    add = command.add_argument
    add("--l1", type=float, default=0.0, help="penalty l1 ||coef||_1, which sets weights to 0 (default: 0)")
    add("--grouped", action="store_true", help="apply l1 to the weights of each feature together: removes features")
    add(
        "--standardize",
        action="store_true",
        help="penalise coefficients of standardized features",
    )
    add_unpenalised(command)
    add_bounds(command)
    add("--no-intercept", action="store_true", help="leave out the intercepts")
    add("--label-smoothing", type=float, default=0.0, help="share of each target that is spread over all classes")
    add("--class-weight", choices=["balanced"], help="weights that make all classes equally frequent")
    add("--dtype", choices=["float32", "float64"], help="convert the features to it (default: keep theirs)")


def _add_solver(command: argparse.ArgumentParser) -> None:
    add = command.add_argument
    add("--solver", default="auto", choices=("auto", *NAMES), help="default: auto, which chooses by the penalty")
    add("--tol", type=float, default=1e-6, help="relative distance to the minimum (default: 1e-6)")
    add("--max-iter", type=int, help="limit of iterations, or of epochs of sgd (default: the solver's own)")
    add("--max-seconds", type=float, help="end after the iteration in which this time is reached")
    add("--learning-rate", type=float, help="fixed step size of --solver gd; initial step size of sgd")
    add("--batch-size", type=int, help="samples in a mini-batch of --solver sgd (default: 32)")
    add(
        "--seed",
        type=int,
        help="random seed of the held-out share, and of the sample order of --solver sgd (default: 0)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Train a model and save it."""
    check_outputs(arguments)
    check_options(arguments)
    callbacks = _callbacks(arguments)
    problem: AnyProblem
    zero_based = None
    if streaming.is_streamed(arguments):
        problem = streaming.streamed_problem(arguments, callbacks)
    else:
        problem, zero_based = _problem(arguments)
    _warn_of_many_classes(problem)
    l2 = _l2(arguments, problem)
    weights = weights_of(arguments.unpenalised, problem.feature_names, problem.n_features, problem.encoding)
    trainer = _trainer(arguments, l2, weights, callbacks)
    trainer.fit_intercept &= has_intercept(problem.encoding)
    if arguments.resume and not arguments.checkpoint.exists() and not arguments.quiet:
        note(f"{arguments.checkpoint} does not exist, so the fit starts from the beginning.")
    with collect_warnings() as warned:
        result = trainer.fit(problem, checkpoint=arguments.checkpoint, resume=arguments.resume)
    model = streaming.with_whole_labels(with_numbering(with_columns(result.model, arguments.offset), zero_based))
    saved, code = save_model(result, model, arguments.out, resumed=arguments.resume)
    lines, facts = fit_lines(result), fit_facts(result) | {"l1": arguments.l1, "l2": l2}
    encoding = result.model.encoding
    if encoding is not None:
        n, made = len(encoding.columns), len(encoding.names)
        lines.append(f"{counted(n, 'column')} became {counted(made, 'feature')}")
    lines += _hint_of_levels(arguments, l2, encoding)
    if _is_default(arguments):
        lines.append(f"penalty: C = 1 (l2 = {l2:.4g}), the default; --C sets another, --l2 0 none")
    if "validation_loss" in result.history and result.n_iter > 0:
        losses = result.history["validation_loss"]
        facts["validation_loss"] = float(losses.min() if arguments.early_stopping else losses[-1])
        lines.append(f"held-out log-loss: {facts['validation_loss']:.4f}")
    print_report(arguments, [*lines, *model_lines(saved)], facts | {"model": saved})
    return code or fit_exit_code(result, warned)


def _problem(arguments: argparse.Namespace) -> tuple[Problem, bool | None]:
    """Read the samples, and hold out a share of them; C and the scaling depend on the remaining samples only.

    Also returns whether the features of an svmlight file are numbered from 0.
    """
    from nbsoftmax.problem import Problem

    data = read_data(arguments, labels=True)
    problem = Problem.from_labels(
        data.X,
        data.y,
        sample_weight=data.sample_weight,
        offset=data.offset,
        class_weight=arguments.class_weight,
        label_smoothing=arguments.label_smoothing,
        dtype=arguments.dtype,
    )
    problem = replace(problem, feature_names=data.feature_names, encoding=data.encoding)
    if arguments.validation is not None:
        problem = problem.split(arguments.validation, arguments.seed)
    if arguments.validation_data is not None:
        problem = problem.with_validation_data(_validation_data(arguments, problem, data.zero_based))
    return problem, data.zero_based


def _validation_data(arguments: argparse.Namespace, problem: Problem, zero_based: bool | None) -> tuple[Any, ...]:
    """Read the samples of --validation-data, which must have the same features."""
    given = argparse.Namespace(**{**vars(arguments), "data": arguments.validation_data})
    data = read_data(given, labels=True, model=problem, zero_based=zero_based)
    return data.X, as_classes(data.y, problem.classes), data.sample_weight, data.offset


def _warn_of_many_classes(problem: AnyProblem) -> None:
    """Warn if the labels are probably identifiers or the numbers of a regression."""
    n = problem.n_classes
    if n > max(MANY_CLASSES, problem.n_samples // 2):
        warn(
            f"{problem.n_samples} samples have {n} classes; if these are identifiers or measured numbers, name another "
            "--target."
        )


def _hint_of_levels(arguments: argparse.Namespace, l2: float, encoding: AnyEncoding | None) -> list[str]:
    """A line for a fit whose coefficients are not determined: without a penalty, and with a feature for each level."""
    from nbsoftmax.encoding.columns import CategoryColumn, Encoding

    if l2 or arguments.l1 or arguments.firth or arguments.no_intercept or not isinstance(encoding, Encoding):
        return []
    full = [part.name for part in encoding.parts if isinstance(part, CategoryColumn) and part.reference is None]
    if not full:
        return []
    text = f"the features of {listed(full)} and the intercept are collinear; for summary, fit with --drop-first"
    return [f"levels: {text}"]


def _l2(arguments: argparse.Namespace, problem: AnyProblem) -> float:
    """Return --l2, or what --C means for this problem; C is 1 by default, as in the estimators."""
    from nbsoftmax import validation
    from nbsoftmax.selection.path import as_in_sklearn

    if arguments.C is None and not _is_default(arguments):
        return float(arguments.l2 or 0.0)
    C = 1.0 if arguments.C is None else validation.number("--C", arguments.C, low=0.0, low_open=True)
    return float(as_in_sklearn(C, problem.weight_sum, 0.0, problem.n_classes)[1])


def _is_default(arguments: argparse.Namespace) -> bool:
    """Whether no option sets a penalty."""
    return arguments.C is None and arguments.l2 is None and not arguments.l1 and not arguments.firth


def _callbacks(arguments: argparse.Namespace) -> list[Any]:
    from nbsoftmax import validation
    from nbsoftmax.training.callbacks import EarlyStopping, JsonLines, ProgressBar

    callbacks: list[Any] = [] if arguments.quiet else [ProgressBar()]
    if arguments.log is not None:
        callbacks.append(JsonLines(arguments.log))
    if arguments.early_stopping is not None:
        callbacks.append(EarlyStopping(validation.count("--early-stopping", arguments.early_stopping)))
    return callbacks


def _trainer(arguments: argparse.Namespace, l2: float, weights: Float64s | None, callbacks: list[Any]) -> Trainer:
    from nbsoftmax.training.trainer import Trainer

    return Trainer(  # the problem has the options of the data
        solver=_solver(arguments.solver, arguments.learning_rate, arguments.batch_size),
        l1=arguments.l1,
        l2=l2,
        penalty_weight=weights,
        bounds=arguments.bounds,
        penalty="firth" if arguments.firth else None,
        standardize=arguments.standardize,
        grouped=arguments.grouped,
        tol=arguments.tol,
        max_iter=arguments.max_iter,
        max_seconds=arguments.max_seconds,
        random_state=arguments.seed,
        fit_intercept=not arguments.no_intercept,
        n_threads=arguments.threads,
        device=arguments.device,
        device_memory=arguments.device_memory,
        callbacks=callbacks,
    )


def _solver(name: str, learning_rate: float | None, batch_size: int | None) -> Any:
    """Return the solver of --solver with its options."""
    from nbsoftmax.solvers.gd import GradientDescent
    from nbsoftmax.solvers.sgd import SGD

    if name == "gd":
        return GradientDescent(learning_rate)
    if name == "sgd":
        return SGD(learning_rate) if batch_size is None else SGD(learning_rate, batch_size)
    return name
