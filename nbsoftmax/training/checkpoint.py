"""Checkpoints: one file with the state of a fit, from which it can be resumed.

A solver is a deterministic function of its objective and its state, and every sum over rows has the same bits for every
number of threads. A fit that was killed and resumed therefore ends with the same bits as an uninterrupted one. The file
also holds a fingerprint of the data and options, so that it is refused for another problem, and a digest of its own
arrays, so that it is refused after it was changed.
"""

from __future__ import annotations

import os
import time
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError
from nbsoftmax.files import WriteFailures, file_name, is_regular, one_line
from nbsoftmax.npz import read_npz, write_npz
from nbsoftmax.problem.fingerprint import fingerprint

FORMAT = "nbsoftmax checkpoint 8"
SECONDS = 5.0  # minimum time between two checkpoints, so the most that a kill can cost


class Checkpoint:
    """A checkpoint file.

    Parameters
    ----------
    path : str or path
    fingerprint : str
        Fingerprint of the problem, from the function of this name.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: str) -> None:
        self.path, self.fingerprint = file_name(path), fingerprint
        self._written = time.perf_counter()
        self._failures = WriteFailures("checkpoint", self.path)

    def load(self) -> dict[str, Any] | None:
        """Return the arrays of the last `save`, or None if there is no file.

        Raises
        ------
        InputValueError
            If the file is damaged, is not a checkpoint, or belongs to another problem.
        """
        if not os.path.exists(self.path):
            return None
        try:
            with open(self.path, "rb") as opened:
                arrays = read_npz(opened)
        except Exception as error:  # a flipped bit makes zipfile and NumPy raise almost anything
            raise InputValueError(
                f"{self.path} is not a checkpoint, or a damaged one ({one_line(error)}); remove it to start "
                "from the beginning."
            ) from None
        if str(arrays.pop("format", "")) != FORMAT:
            raise InputValueError(f"{self.path} is not a checkpoint of this version ({FORMAT!r}); give another file.")
        if str(arrays.pop("digest", "")) != _digest(arrays):
            raise InputValueError(
                f"{self.path} is a damaged checkpoint: its arrays differ from those that were saved; remove it to "
                "start from the beginning."
            )
        if str(arrays.pop("fingerprint")) != self.fingerprint:
            raise InputValueError(
                f"{self.path} is the checkpoint of a fit with other data, validation data, weights, penalties or "
                "solver options (for solver 'sgd' also another max_iter or random_state); give the same ones, or "
                "another file."
            )
        return arrays

    def refuse_other_files(self) -> None:
        """Refuse to overwrite a file that is not a checkpoint, for example a model."""
        if not os.path.exists(self.path) or not is_regular(self.path) or os.path.getsize(self.path) == 0:
            return
        try:
            with zipfile.ZipFile(self.path) as archive:
                ours = {"format.npy", "fingerprint.npy"} <= set(archive.namelist())
        except (OSError, zipfile.BadZipFile):
            ours = False
        if not ours:
            raise InputValueError(
                f"checkpoint is {self.path}, which exists and is not a checkpoint; give another file, or "
                "remove this one.",
                parameter="checkpoint",
            )

    def save(self, state: Callable[[], dict[str, Any]], *, now: bool) -> None:
        """Write the state if enough time has passed, or if `now`. If writing fails, warn once and continue the fit."""
        if not now and time.perf_counter() - self._written < SECONDS:
            return
        arrays = {name: np.asarray(value) for name, value in state().items()}
        arrays["fingerprint"] = np.asarray(self.fingerprint)
        try:
            write_npz(self.path, arrays | {"format": np.str_(FORMAT), "digest": np.str_(_digest(arrays))})
        except OSError as error:
            self._failures.warn(error)
        self._written = time.perf_counter()


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    """Digest of the names, dtypes, shapes and values of all arrays."""
    return fingerprint(*(part for name in sorted(arrays) for part in (name, arrays[name])))
