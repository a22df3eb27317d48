"""`.npy` and `.npz` files of features and labels, never unpickled."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.check import InputValueError
from nbsoftmax.files import check_sizes

Path = str | os.PathLike[str]


def read_npy(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file."""
    with _opened(path) as array:
        if not isinstance(array, np.ndarray):
            raise InputValueError(f"{path} holds several arrays; expected one, as np.save writes it.")
        return array


def read_npz(path: Path, *, target: str | None) -> tuple[NDArray[Any], NDArray[Any] | None]:
    """Array X of a `.npz` file, and the array named `target` where one is asked for."""
    with _opened(path) as arrays:
        if isinstance(arrays, np.ndarray):
            raise InputValueError(f"{path} holds a single array; expected X and labels, as np.savez writes them.")
        for name in ["X"] if target is None else ["X", target]:
            if name not in arrays.files:
                raise InputValueError(f"{path} has no array {name!r}; it has {', '.join(map(repr, arrays.files))}.")
        return arrays["X"], None if target is None else arrays[target]


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    with open(path, "rb") as file:
        try:
            check_sizes(file)
            yield np.load(file, allow_pickle=False)
        except InputValueError:
            raise
        except Exception as error:  # a flipped bit makes zipfile and NumPy raise almost anything
            raise InputValueError(
                f"{path} is no NumPy file, a damaged one, or holds pickled objects ({error}); save it again."
            ) from None
