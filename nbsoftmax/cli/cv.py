"""`nbsoftmax cv`: choose the strength of the penalty by cross-validation."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.fit_report import collect_warnings, fit_exit_code, fit_facts, fit_lines
from nbsoftmax.cli.offsets import with_columns
from nbsoftmax.cli.options import add_bounds, add_data, add_encoding, file
from nbsoftmax.cli.output import print_report, warn
from nbsoftmax.cli.reading import Data, has_intercept, read_data, with_numbering
from nbsoftmax.cli.saving import check_outputs, model_lines, save_model
from nbsoftmax.cli.several import is_several
from nbsoftmax.cli.streaming import opened_source, refuse_formula, with_whole_labels
from nbsoftmax.cli.unpenalised import add_option as add_unpenalised
from nbsoftmax.cli.unpenalised import penalty_weight

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.selection.cross_validation import CVResult


DESCRIPTION = (
    "Compare values of C, the inverse strength of the penalty, by the log-loss of held-out folds, and fit a model to "
    "all samples with the best one."
)


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `cv`, and its description."""
    command.description = DESCRIPTION
    add_data(command)
    add_encoding(command)
    add = command.add_argument
    add(
        "--Cs",
        type=float,
        nargs="+",
        metavar="C",
        help="values of C to compare (default: 10 from 1e-4 to 1e4, or, with --l1-ratio, from where the first feature "
        "gets a coefficient)",
    )
    add("--folds", type=int, default=5, help="number of folds, stratified for one file (default: 5)")
    add("--l1-ratio", type=float, default=0.0, help="share of the l1 penalty, from 0 to 1 (default: 0)")
    add("--standardize", action="store_true", help="penalise coefficients of standardized features")
    add_unpenalised(command)
    add_bounds(command)
    add("--class-weight", choices=["balanced"], help="weights that make all classes equally frequent")
    add("--device", default="cpu", help="as for fit")
    add(
        "--one-standard-error",
        action="store_true",
        help="choose the smallest C whose loss is within one standard error of the best",
    )
    add("--seed", type=int, default=0, help="random seed of the folds (default: 0)")
    add("--out", type=file, metavar="MODEL", help="where to save the model fitted to all samples (.npz)")


def run(arguments: argparse.Namespace) -> int:
    """Choose the strength of the penalty."""
    from nbsoftmax.selection.cross_validation import cross_validate

    check_outputs(arguments)
    if is_several(arguments.data):
        refuse_formula(arguments)
        source = opened_source(arguments, [arguments.data])
        data = Data(source, encoding=source.encoding)
    else:
        data = read_data(arguments, labels=True)
    with collect_warnings() as warned:  # includes the folds' fits; the last warning is that of the final fit
        found = cross_validate(
            data.X,
            data.y,
            Cs=10 if arguments.Cs is None else arguments.Cs,
            l1_ratio=arguments.l1_ratio,
            standardize=arguments.standardize,
            penalty_weight=penalty_weight(arguments, data.X, data.feature_names, data.encoding),
            bounds=arguments.bounds,
            sample_weight=data.sample_weight,
            offset=data.offset,
            folds=arguments.folds,
            refit="one-standard-error" if arguments.one_standard_error else "best",
            random_state=arguments.seed,
            class_weight=arguments.class_weight,
            device=arguments.device,
            fit_intercept=has_intercept(data.encoding),
        )
    lines = [*_table(found), *fit_lines(found.result)]
    facts: dict[str, Any] = {
        "Cs": found.Cs.tolist(),
        "log_loss": found.log_loss.tolist(),
        "accuracy": found.accuracy.tolist(),
        "n_features": found.n_features.tolist(),
        "best": found.best,
        "one_standard_error": found.one_standard_error,
    }
    facts |= fit_facts(found.result)
    code = 0
    if arguments.out is not None:
        model = found.result.model
        if data.feature_names is not None:
            model = replace(model, feature_names=data.feature_names, encoding=data.encoding)
        model = with_whole_labels(with_numbering(with_columns(model, arguments.offset), data.zero_based))
        saved, code = save_model(found.result, model, arguments.out)
        lines += model_lines(saved)
        facts["model"] = saved
    print_report(arguments, lines, facts)
    _warn_of_last_c(found)
    chosen = found.Cs[found.one_standard_error if arguments.one_standard_error else found.best]
    return code or fit_exit_code(found.result, warned, f" Use nbsoftmax fit with --C {chosen:g} for that.")


def _warn_of_last_c(found: CVResult) -> None:
    """Warn if the best C is the smallest or largest of several: the log-loss may be less beyond it."""
    best = found.Cs[found.best]
    if found.Cs.min() == found.Cs.max():
        return
    if best == found.Cs.max():
        warn("the best C is the largest of those compared; try larger ones with --Cs.")
    elif best == found.Cs.min() and found.n_features[found.best].any():  # without features, a smaller C changes nothing
        warn("the best C is the smallest of those compared; try smaller ones with --Cs.")


def _table(found: CVResult) -> list[str]:
    """Return the losses and accuracies as lines of a table, by increasing C."""
    import numpy as np

    from nbsoftmax.selection.cross_validation import summary

    mean, error = summary(found.log_loss)
    few = found.leaves_out_features
    lines = [f"{'C':>10}   log-loss  std. error   accuracy{'   features' * few}"]
    marked = {found.best: ["best"]}
    marked.setdefault(found.one_standard_error, []).append("one standard error")
    for i in np.argsort(found.Cs, kind="stable").tolist():
        numbers = f"{mean[i]:10.4f} {error[i]:11.4f} {found.accuracy[i].mean():10.4f}"
        numbers += f" {found.n_features[i].mean():10.1f}" * few
        line = f"{'(skipped: loss already rising)':>33}" if np.isnan(mean[i]) else numbers
        lines.append(f"{found.Cs[i]:10.4g} {line}  {', '.join(marked.get(i, []))}".rstrip())
    return lines
