"""`nbsoftmax demo`: train on the UCI hand-written digits."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbsoftmax.cli.evaluate import scores_of
from nbsoftmax.cli.fit_report import collect_warnings, fit_exit_code, fit_facts, fit_lines
from nbsoftmax.cli.output import print_report
from nbsoftmax.cli.saving import save_model

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.training.result import FitResult

SEED = 0
HELD_OUT = 0.25
L2 = 1e-4


def add_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `demo`."""
    command.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder for the model and the picture (default: .)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Train on the digits, report the held-out accuracy, and save the model and a picture."""
    from nbsoftmax.data.blocks import Block
    from nbsoftmax.files import check_writable
    from nbsoftmax.training.callbacks import ProgressBar
    from nbsoftmax.training.trainer import Trainer

    X, y, held_out, train = _digits()  # the labels are those of the model, 0 to 9
    arguments.out.mkdir(parents=True, exist_ok=True)
    model_file, picture = arguments.out / "digits-model.npz", arguments.out / "digits-model.png"
    check_writable(model_file)
    if not arguments.json:
        print(
            f"UCI hand-written digits: {len(train)} samples to train on, {len(held_out)} held out; the first run "
            "compiles kernels."
        )
    with collect_warnings() as warned:
        result = Trainer(l2=L2, callbacks=[ProgressBar()]).fit(X[train], y[train])
    found = scores_of(result.model, [Block(X[held_out], y[held_out])])
    saved, code = save_model(result, result.model, model_file)
    drawn, why_not = (False, "") if code else _draw(result, picture)
    lines = [
        *fit_lines(result),
        f"held-out accuracy: {found.accuracy:.4f}",
        f"held-out log-loss: {found.log_loss:.4f}",
        *([] if saved is None else [f"model:   {saved}"]),
        f"picture: {picture if drawn else 'none' + why_not}",
    ]
    facts = fit_facts(result) | {
        "accuracy": found.accuracy,
        "log_loss": found.log_loss,
        "model": saved,
        "picture": str(picture) if drawn else None,
    }
    print_report(arguments, lines, facts)
    return code or fit_exit_code(result, warned)


def _digits() -> tuple[Any, Any, Any, Any]:
    """Return X and y of the digits, and the positions of the samples that are held out and of those to train on."""
    import numpy as np

    from nbsoftmax.data import digits

    X, y = digits.load()
    X /= 16  # pixels from 0 to 1
    order = np.random.default_rng(SEED).permutation(len(y))
    held_out, train = np.split(order, [round(HELD_OUT * len(y))])
    return X, y, held_out, train


def _draw(result: FitResult, picture: Path) -> tuple[bool, str]:
    """Save the picture; return whether it was drawn, and if not, why."""
    from nbsoftmax.plots import save_digits_picture

    try:
        save_digits_picture(result, picture)
    except ModuleNotFoundError as error:
        if error.name != "matplotlib":
            raise
        return False, ', matplotlib is not installed (pip install "nbsoftmax[plot]")'
    return True, ""
