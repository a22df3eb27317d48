"""`nbsoftmax summary`: coefficients or marginal effects of a model without penalty, with standard errors and tests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.offsets import add_offset, warn_without_offset
from nbsoftmax.cli.options import add_columns, add_labels, file
from nbsoftmax.cli.output import print_report
from nbsoftmax.cli.reading import as_classes, read_data, read_model, shown_warnings
from nbsoftmax.errors import InputValueError, listed, plain

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.cli.reading import Data
    from nbsoftmax.models.effects_result import MarginalEffects
    from nbsoftmax.models.inference_result import Inference
    from nbsoftmax.models.softmax import SoftmaxModel

COVARIANCES = ("fisher", "HC0", "HC1")  # those that need no groups


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `summary`."""
    add = command.add_argument
    add("model", type=file, help="model file written by fit --l2 0, for columns of text with --drop-first (.npz)")
    add("data", type=Path, help="the data of the fit")
    add_labels(command, "column or array of labels")
    add("--sample-weight", metavar="NAME", help="the weights of the fit: a column, array or .npy file")
    add_columns(command)
    add_offset(command)
    add(
        "--cov",
        choices=COVARIANCES,
        help="standard errors: fisher, where a weight of 2 is a row that occurs twice; HC0 and HC1 are robust "
        "(default: fisher)",
    )
    add(
        "--cluster",
        metavar="NAME",
        help="column of groups whose rows depend on each other: cluster-robust standard errors; not with --cov",
    )
    add("--reference", metavar="LABEL", help="class to which the coefficients are relative (default: the first one)")
    add("--level", type=float, default=0.95, help="level of the confidence intervals (default: 0.95)")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--exp", action="store_true", help="relative risk ratios, exp of the coefficients")
    what.add_argument("--effects", action="store_true", help="average marginal effects on the probabilities")
    add_column_effects(what)


def add_column_effects(command: Any) -> None:
    """Add the option of the effects of columns."""
    command.add_argument(
        "--column-effects",
        action="store_true",
        help="average marginal effects of the columns of a formula, through all features that are made from them",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table."""
    from nbsoftmax.models.estimates import quantile
    from nbsoftmax.models.inference_result import Inference

    quantile(arguments.level)  # refuses other levels before anything is read
    model = read_model(arguments.model, arguments.data)
    reference = None if arguments.reference is None else _label(arguments.reference, model)
    with shown_warnings():
        result, data = inference_of(arguments, model, reference=reference)
        wants_effects = arguments.effects or arguments.column_effects
        shown = effects_of(arguments, result, data) if wants_effects else result
    options = {"exp": True} if arguments.exp else {}
    facts: dict[str, Any] = {
        "samples": int(result.n_samples) if result.n_samples % 1 == 0 else result.n_samples,
        "log_likelihood": result.log_likelihood,
        "pseudo_r2": result.pseudo_r2,
        "aic": result.aic,
        "bic": result.bic,
        "covariance": result.cov,
    }
    if isinstance(shown, Inference):
        facts["reference"] = result.reference
    facts["table"] = _rows(shown, arguments.level, exp=arguments.exp)
    print_report(arguments, shown.summary(level=arguments.level, **options).splitlines(), facts)
    return 0


def inference_of(
    arguments: argparse.Namespace, model: SoftmaxModel, *, reference: Any = None
) -> tuple[Inference, Data]:
    """Inference for a model and the data that the arguments name, and these data."""
    from nbsoftmax.models.inference import inference

    warn_without_offset(arguments, model)
    cluster, cov = getattr(arguments, "cluster", None), getattr(arguments, "cov", None)
    if cluster is not None and cov is not None:
        raise InputValueError(f"--cluster and --cov {cov} are two kinds of standard errors; give one of them.")
    data = read_data(arguments, labels=True, model=model)
    given = {"sample_weight": data.sample_weight, "offset": data.offset, "groups": data.groups, "reference": reference}
    cov = cov or ("fisher" if cluster is None else "cluster")
    return inference(model, data.X, as_classes(data.y, model.classes), cov=cov, **given), data


def effects_of(arguments: argparse.Namespace, result: Inference, data: Data) -> MarginalEffects:
    """The average marginal effects of features, or with --column-effects those of the columns of the data."""
    from nbsoftmax.encoding import FormulaEncoding

    if not arguments.column_effects:
        return result.marginal_effects()
    if not isinstance(result.model.encoding, FormulaEncoding):
        raise InputValueError("--column-effects is for models of fit --formula; give --effects for those of features.")
    return result.marginal_effects(data.columns, columns=True, sample_weight=data.sample_weight, offset=data.offset)


def _label(text: str, model: SoftmaxModel) -> Any:
    """The class with this text."""
    from nbsoftmax.validation import by_text

    labels = model.classes.tolist()
    known = by_text(labels)
    if text in known:
        return known[text]
    raise InputValueError(f"--reference is {plain(text)}, which is not a class; expected one of [{listed(labels)}].")


def _rows(shown: Inference | MarginalEffects, level: float, *, exp: bool) -> list[dict[str, Any]]:
    """The lines of the table, with a field for each number."""
    from nbsoftmax.models.estimates import statistics
    from nbsoftmax.models.inference_result import Inference

    if isinstance(shown, Inference):
        values, errors, names = shown.params, shown.standard_errors, shown.names
    else:
        values, errors, names = shown.effects.T, shown.std_errors.T, shown.feature_names
    numbers = statistics(values, errors, level, exp=exp)
    return [
        {"class": label, "column": name} | {what: float(array[k, j]) for what, array in numbers.items()}
        for k, label in enumerate(shown.classes.tolist())
        for j, name in enumerate(names)
    ]
