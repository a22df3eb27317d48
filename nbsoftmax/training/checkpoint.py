"""Checkpoints: what a fit needs to go on where it was, in one file.

A solver is a deterministic function of its objective and its state, and every sum over rows has the same bits for every
number of threads; so a fit that was killed and resumed ends with the bits of one that was not. The file also holds a
fingerprint of data and options, so that it is not used for another problem, and a digest of its own arrays, so that a
changed file is not used at all.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError
from nbsoftmax.files import WriteFailures, file_name, is_regular, one_line, read_npz, write_npz

FORMAT = "nbsoftmax checkpoint 4"
SECONDS = 5.0  # between two checkpoints: what a kill may cost
BLOCK = 1 << 22  # elements hashed at a time


class Checkpoint:
    """One file, and when it was last written.

    Parameters
    ----------
    path : str or path
    fingerprint : str
        Of the problem, by `fingerprint`.
    """

    def __init__(self, path: str | os.PathLike[str], fingerprint: str) -> None:
        self.path, self.fingerprint = file_name(path), fingerprint
        self._written = time.perf_counter()
        self._failures = WriteFailures("checkpoint", self.path)

    def load(self) -> dict[str, Any] | None:
        """The arrays of the last `save`; None if there is no file.

        Raises
        ------
        InputValueError
            If the file is damaged, no checkpoint, or of another problem.
        """
        if not os.path.exists(self.path):
            return None
        try:
            with open(self.path, "rb") as opened:
                arrays = read_npz(opened)
        except Exception as error:  # a flipped bit makes zipfile and NumPy raise almost anything
            raise InputValueError(
                f"{self.path} is no checkpoint, or a damaged one ({one_line(error)}); remove it to start anew."
            ) from None
        if str(arrays.pop("format", "")) != FORMAT:
            raise InputValueError(f"{self.path} is no checkpoint of this version ({FORMAT!r}); give another file.")
        if str(arrays.pop("digest", "")) != _digest(arrays):
            raise InputValueError(
                f"{self.path} is a damaged checkpoint: it holds other arrays than were saved; remove it to start anew."
            )
        if str(arrays.pop("fingerprint")) != self.fingerprint:
            raise InputValueError(
                f"{self.path} is the checkpoint of other data, validation data, weights, penalties or solver; give the "
                "same ones, or another file."
            )
        return arrays

    def refuse_other_files(self) -> None:
        """Refuse to write over a file that is no checkpoint, such as a model whose name was given by mistake."""
        if not os.path.exists(self.path) or not is_regular(self.path) or os.path.getsize(self.path) == 0:
            return
        try:
            with zipfile.ZipFile(self.path) as archive:
                ours = {"format.npy", "fingerprint.npy"} <= set(archive.namelist())
        except (OSError, zipfile.BadZipFile):
            ours = False
        if not ours:
            raise InputValueError(
                f"checkpoint is {self.path}, which exists and is no checkpoint; give another file, or remove this one."
            )

    def save(self, state: Callable[[], dict[str, Any]], *, now: bool) -> None:
        """Write the state if it is time, or `now`. Where that fails there is one warning, and the fit goes on."""
        if not now and time.perf_counter() - self._written < SECONDS:
            return
        arrays = {name: np.asarray(value) for name, value in state().items()}
        arrays["fingerprint"] = np.asarray(self.fingerprint)
        try:
            write_npz(self.path, arrays | {"format": np.str_(FORMAT), "digest": np.str_(_digest(arrays))})
        except OSError as error:
            self._failures.warn(error)
        self._written = time.perf_counter()


def fingerprint(*parts: Any) -> str:
    """A digest of arrays (values, dtype, shape; not their layout) and of what else prints as itself."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, np.ndarray):
            digest.update(f"{part.dtype.str}{part.shape}\0".encode())
            for rows in _blocks(np.atleast_1d(part)):
                digest.update(
                    np.ascontiguousarray(rows).data if rows.dtype.kind in "biuf" else repr(rows.tolist()).encode()
                )
        else:
            digest.update(f"{part!r}\0".encode())
    return digest.hexdigest()


def _digest(arrays: dict[str, NDArray[Any]]) -> str:
    """Fingerprint of the names, dtypes, shapes and values of all arrays."""
    return fingerprint(*(part for name in sorted(arrays) for part in (name, arrays[name])))


@contextmanager
def saved_on_termination(save: Callable[[], None]) -> Iterator[None]:
    """Within this context SIGTERM saves first; then it does what it would have done, as a rule end the process.

    Outside the main thread, where Python has no signal handlers, and where SIGTERM is ignored nothing is changed.
    """
    previous = signal.getsignal(signal.SIGTERM)
    main = threading.current_thread() is threading.main_thread()
    if not main or previous is None or previous == signal.SIG_IGN:  # None: a handler that Python cannot put back
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        try:
            save()
        finally:
            if callable(previous):
                previous(number, frame)
            else:
                signal.signal(number, signal.SIG_DFL)
                signal.raise_signal(number)

    signal.signal(signal.SIGTERM, handler)
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGTERM) is handler:
            signal.signal(signal.SIGTERM, previous)


def _blocks(array: NDArray[Any]) -> list[NDArray[Any]]:
    rows = max(1, BLOCK // max(1, array[:1].size))
    return [array[start : start + rows] for start in range(0, len(array), rows)]
