"""Where commands save models, also when a fit is interrupted or the disk is full, and checks of output files."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from nbsoftmax.cli.several import files_beside, is_several
from nbsoftmax.errors import InputValueError

if TYPE_CHECKING:
    import argparse

    from nbsoftmax.models.softmax import SoftmaxModel
    from nbsoftmax.training.result import FitResult


def check_outputs(arguments: argparse.Namespace) -> None:
    """Raise an error before the work if an output cannot be written or would overwrite another file of the command."""
    from nbsoftmax.data.named_files import files_of
    from nbsoftmax.files import check_writable, is_regular

    def named(*options: str) -> list[Path]:
        paths = (getattr(arguments, name, None) for name in options)
        return [Path(path) for path in paths if path is not None and str(path) != "-"]

    inputs = named("model", "source", "config", "validation_data")
    for path in (*named("data"), *getattr(arguments, "more", []), *files_beside(arguments).values()):
        inputs += map(Path, files_of(path)) if is_several(path) else [path]
    seen = {os.path.realpath(path) for path in inputs}
    for path in named("out", "checkpoint", "log"):
        check_writable(path)
        if is_regular(path) and os.path.realpath(path) in seen:
            raise InputValueError(f"{path} is given twice and would be overwritten; choose another output file.")
        seen.add(os.path.realpath(path))
    if arguments.command == "fit" and os.path.realpath(_partial(arguments.out)) in seen:
        raise InputValueError(
            f"{_partial(arguments.out)} is where an interrupted fit saves its model; choose another file or --out."
        )


def save_model(result: FitResult, model: SoftmaxModel, out: Path, *, resumed: bool = False) -> tuple[str | None, int]:
    """Save the model of a fit; return the name of its file, and the exit code.

    The model of an interrupted fit is saved beside `out`, m.npz as m.partial.npz, since `out` may hold a better one.
    Once the fit was `resumed` and has ended, this file is removed. A model that cannot be written is saved in the
    folder for temporary files, so that it is not lost.
    """
    from nbsoftmax.files import is_regular, one_line

    target = _partial(out) if result.interrupted else out
    code = 130 if result.interrupted else 0
    try:
        if result.interrupted and not is_regular(out):
            raise OSError(f"interrupted, and nothing is written to {out}, which is not a regular file")
        model.save(target)
    except OSError as error:
        kept = _save_elsewhere(model)
        where = f"the model is saved in {kept}" if kept else "the model is lost, since no other folder can hold it"
        print(f"nbsoftmax: {one_line(error)}; {where}", file=sys.stderr)
        return kept, code or 1
    if resumed and not result.interrupted and is_regular(out):
        with suppress(OSError):  # there may be none
            _partial(out).unlink()
    if result.interrupted:
        unchanged = f"; {out} is unchanged" if out.exists() else ""
        print(f"nbsoftmax: interrupted; the current model is saved in {target}{unchanged}", file=sys.stderr)
    return str(target), code


def model_lines(saved: str | None) -> list[str]:
    """The line of a report that names the file of the model, if there is one."""
    return [] if saved is None else [f"model: {saved}"]


def _partial(out: Path) -> Path:
    """Return the file for the model of an interrupted fit."""
    return out.with_name(f"{out.stem}.partial{out.suffix}")


def _save_elsewhere(model: SoftmaxModel) -> str | None:
    """Save a model in the folder for temporary files or in the current one; return None if neither is possible."""
    import tempfile

    for folder in (None, "."):
        try:
            handle, name = tempfile.mkstemp(".npz", "nbsoftmax-", folder)
        except OSError:
            continue
        os.close(handle)
        try:
            model.save(name)
        except OSError:
            os.unlink(name)
        else:
            return name
    return None
