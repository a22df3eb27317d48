"""`.npy` and `.npz` files of features and labels; pickled objects are never loaded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data.source import Path, Source, opened
from nbsoftmax.errors import InputValueError
from nbsoftmax.npz import NPY, ZIP, check_sizes


def read_npy(path: Path | Source) -> NDArray[Any]:
    """Read the array of a `.npy` file."""
    with loaded(path) as (name, content):
        return _one_array(name, content)


def map_npy(path: Path) -> NDArray[Any]:
    """The array of a `.npy` file, mapped into memory."""

    def mapped(file: IO[bytes]) -> Any:
        return np.load(path, mmap_mode="r", allow_pickle=False)

    with loaded(path, mapped) as (name, content):
        return np.asarray(_one_array(name, content))


def _one_array(name: str, content: Any) -> NDArray[Any]:
    """The content of a file, which must be one array."""
    if not isinstance(content, np.ndarray):
        raise InputValueError(f"{name} holds several arrays; expected one array, as written by np.save.")
    return content


def read_npz(
    path: Path | Source, *, target: str | None, weight: str | None = None
) -> tuple[NDArray[Any], NDArray[Any] | None, NDArray[Any] | None]:
    """Read the array X of a `.npz` file, and the arrays named `target` and `weight` if they are given."""
    with loaded(path) as (source, arrays):
        if isinstance(arrays, np.ndarray):
            raise InputValueError(f"{source} holds a single array; expected X and labels, as written by np.savez.")
        members = arrays.zip.namelist()
        for name in ("X", target, weight):
            if name is not None and name in members:  # NumPy would take it for the array, or return its bytes
                raise InputValueError(
                    f"{source} has a member {name!r}, not {name + '.npy'!r}; save the arrays by np.savez."
                )
            if name is not None and name not in arrays.files:
                model = " (it is a model; data are expected)" if {"format", "coef"} <= set(arrays.files) else ""
                raise InputValueError(
                    f"{source} has no array {name!r}; it has {', '.join(map(repr, arrays.files))}{model}."
                )
        return (
            arrays["X"],
            None if target is None else arrays[target],
            None if weight is None else arrays[weight],
        )


def _load(file: IO[bytes]) -> Any:
    return np.load(file, allow_pickle=False)


@contextmanager
def loaded(path: Path | Source, load: Callable[[IO[bytes]], Any] = _load) -> Iterator[tuple[str, Any]]:
    """The name of a `.npy` or `.npz` file, and what `load` makes of it once its sizes are checked."""
    with opened(path) as source:
        if not source.file.read(8).startswith((NPY, ZIP)):  # np.load would try to unpickle it
            raise InputValueError(f"{source.name} is not a NumPy file; expected a file written by np.save or np.savez.")
        source.file.seek(0)
        try:
            check_sizes(source.file)
            yield source.name, load(source.file)
        except InputValueError:
            raise
        except Exception as error:  # with a flipped bit, zipfile and NumPy raise almost any exception
            raise InputValueError(
                f"{source.name} is a damaged NumPy file, or contains pickled objects ({error}); save it again."
            ) from None
