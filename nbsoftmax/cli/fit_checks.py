"""Options of `fit` that exclude or need each other: errors that name them, before the data are read."""

from __future__ import annotations

import argparse

from nbsoftmax.errors import InputValueError

# Options with which Firth's penalty, a correction of the likelihood of all rows, is not defined or not supported.
NOT_WITH_FIRTH = ("l1", "grouped", "unpenalised", "bounds", "class_weight", "label_smoothing")


def check_options(arguments: argparse.Namespace) -> None:
    """Raise an InputValueError for options that do not go together."""
    error = (
        _of_cache(arguments)
        or _of_held_out(arguments)
        or _of_firth(arguments)
        or _of_solver(arguments)
        or _of_others(arguments)
    )
    if error is not None:
        raise InputValueError(error)


def _of_cache(arguments: argparse.Namespace) -> str | None:
    if arguments.cache is None:
        return None
    existing = next((path for path in (arguments.cache, *arguments.cache.parents) if path.exists()), None)
    if existing is None or existing.is_dir():
        return None
    return f"--cache is the folder for a copy of the rows, but {existing} is a file; name a folder."


def _of_held_out(arguments: argparse.Namespace) -> str | None:
    if arguments.validation is not None and arguments.validation_data is not None:
        return "--validation and --validation-data are two sets of held-out samples; give one."
    if arguments.early_stopping is not None and arguments.validation is arguments.validation_data is None:
        return "--early-stopping needs held-out samples; add --validation FRACTION or --validation-data FILE."
    if arguments.validation_data is not None and arguments.labels is not None:
        return "--validation-data is for files with their own labels; leave out --labels."
    return None


def _of_firth(arguments: argparse.Namespace) -> str | None:
    if not arguments.firth:
        return None
    given = [name for name in NOT_WITH_FIRTH if getattr(arguments, name)]
    if given:
        return f"--firth cannot be used with --{given[0].replace('_', '-')}; leave one of them out."
    if arguments.solver not in {"auto", "lbfgs", "gd"}:
        return f"--firth is minimised by --solver auto, lbfgs or gd, not by {arguments.solver}."
    if arguments.device.startswith("cuda"):
        return f"--firth is computed by the CPU; leave --device {arguments.device} out."
    return None


def _of_solver(arguments: argparse.Namespace) -> str | None:
    name = arguments.solver
    if arguments.learning_rate is not None and name not in {"gd", "sgd"}:
        return f"--learning-rate is for --solver gd and sgd; solver {name!r} finds its own steps: leave it out."
    if arguments.batch_size is not None and name != "sgd":
        return f"--batch-size is for --solver sgd; leave it out for solver {name!r}."
    if name == "prox-newton" and not arguments.l1 and arguments.bounds is None:
        return "--solver prox-newton is for --l1 and --bounds; give one of them, or leave --solver out."
    if arguments.grouped and not arguments.l1:
        return "--grouped says how --l1 is applied, which is 0; give --l1, or leave --grouped out."
    return None


def _of_others(arguments: argparse.Namespace) -> str | None:
    if arguments.indicators and arguments.missing != "mean":
        return "--indicators is for --missing mean; add it, or leave --indicators out."
    if arguments.formula is not None and arguments.no_intercept:
        return "--formula decides about the intercept; write ~ 0 + ... in the place of --no-intercept."
    if arguments.resume and arguments.checkpoint is None:
        return "--resume needs the file of the interrupted fit; name it with --checkpoint FILE."
    if arguments.device_memory is not None and arguments.device == "cpu":
        return "--device-memory is for a GPU; add --device cuda, or leave it out."
    return None
