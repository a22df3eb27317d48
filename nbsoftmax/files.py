"""Files that are whole or not there: written under a temporary name, synchronised, and renamed."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np


@contextmanager
def whole_file(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` when it is complete and on disk; on an error nothing changes."""
    target = Path(path)
    handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())  # mkstemp's files are private; these are ordinary files
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write_npz(path: str | os.PathLike[str], arrays: dict[str, Any]) -> None:
    """Write arrays to `path`, a `.npz` file without pickles."""
    with whole_file(path) as file:
        np.savez(file, **arrays)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
