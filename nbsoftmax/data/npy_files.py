"""`.npy` files, mapped into memory."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data.compression import recognise
from nbsoftmax.data.cut import Batch
from nbsoftmax.data.named_files import expanded
from nbsoftmax.errors import InputError, InputTypeError, InputValueError, counted, plain
from nbsoftmax.files import one_line
from nbsoftmax.npz import NPY, ZIP
from nbsoftmax.validation import first_repeated
from nbsoftmax.validation.arrays import as_float64s, check_shape

COPIED = 2**14  # rows of columns that do not follow one another, which are copied at a time


class NpyFiles:
    """Files of X, (n_samples, n_features), one after the other.

    Parameters
    ----------
    paths : list of str
    target, weight, offset : path, list of paths, int or None
        Files of the same rows, or the number of a column of X.
    features : sequence of int or None
        Columns of X.
    """

    seekable = True

    def __init__(self, paths: list[str], *, target: Any, features: Any, weight: Any, offset: Any) -> None:
        n = _mapped(paths[0], dims=2).shape[1]
        given = {"target": target, "weight": weight, "offset": offset}
        self._beside = {name: _beside(name, value, paths, n) for name, value in given.items()}
        taken = {value for value in self._beside.values() if isinstance(value, int)}
        if features is not None:
            self._features: list[int] = [_column("features", j, n) for j in features]
        else:
            self._features = [j for j in range(n) if j not in taken]
        if not self._features or taken & set(self._features):
            raise InputValueError(
                "features is empty, or includes the target, weights or offset; give the numbers of other columns."
            )
        twice = first_repeated(self._features)
        if twice is not None:
            raise InputValueError(f"the column {twice} is given twice in features; give each column once.")
        # Columns that follow one another are a view of the mapped file, the others are copied.
        first, last = self._features[0], self._features[-1]
        together = self._features == list(range(first, last + 1))
        self._columns: Any = slice(first, last + 1) if together else self._features
        others = [file for value in self._beside.values() if isinstance(value, list) for file in value]
        self.paths, self._X, self._n_columns = [*paths, *others], paths, n
        self._maps: dict[str, NDArray[Any]] = {}  # which stay: a new map would have to look up every page again

    def key(self) -> tuple[Any, ...]:
        """What identifies the rows, besides the files."""
        return "npy", self._features, self._beside

    def batches(self, first_row: int = 0) -> Iterator[Batch]:
        """The rows of all files, from this one on."""
        for i, path in enumerate(self._X):
            X = self._map(path, dims=2)
            check_shape(path, X.shape, self._n_columns)
            start, first_row = first_row, max(0, first_row - X.shape[0])
            if start >= X.shape[0]:
                continue
            y, weight, offset = (self._rows(name, i, X) for name in self._beside)
            step = X.shape[0] if isinstance(self._columns, slice) else COPIED
            for low in range(start, X.shape[0], step):
                rows = slice(low, low + step)
                s = None if weight is None else as_float64s("the weight", weight[rows])
                yield Batch(X[rows, self._columns], _cut(y, rows), s, _cut(offset, rows), file=path)

    def located(self, error: InputError, first_row: int) -> InputError:
        """As `ArrowFiles.located`."""
        number = error.only_row()
        if number is None:
            return error
        row = first_row + number
        for path in self._X:
            n_rows = len(self._map(path, dims=2))
            if row < n_rows:
                return error.in_file(path, row)
            row -= n_rows
        return error

    def _map(self, path: str, *, dims: int | None = None) -> NDArray[Any]:
        if path not in self._maps:
            self._maps[path] = _mapped(path, dims=dims)
        return self._maps[path]

    def _rows(self, name: str, i: int, X: NDArray[Any]) -> NDArray[Any] | None:
        """The numbers beside the file i of X."""
        given = self._beside[name]
        if given is None:
            return None
        if isinstance(given, int):
            return X[:, given]
        array = self._map(given[i])
        if len(array) != len(X):
            raise InputValueError(f"{given[i]} has {counted(len(array), 'row')}, but {self._X[i]} has {len(X)}.")
        return array


def _cut(array: NDArray[Any] | None, rows: slice) -> NDArray[Any] | None:
    return None if array is None else array[rows]


def _mapped(path: str, *, dims: int | None = None) -> NDArray[Any]:
    _check_start(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except MemoryError:
        raise
    except Exception as error:  # for an odd header NumPy raises almost anything
        raise InputValueError(f"{path} is not a .npy file, or a damaged one ({one_line(error)}).") from None
    if not isinstance(array, np.ndarray):  # an .npz file
        array.close()
        raise InputValueError(f"{path} is an archive of arrays, expected a .npy file with one array.")
    if dims is not None and array.ndim != dims:
        raise InputValueError(f"{path} does not hold an array of {dims} dimensions, (n_samples, n_features).")
    if array.ndim == 0:
        raise InputValueError(f"{path} holds a single number, expected an array with one entry for each row.")
    return np.asarray(array)


def _check_start(path: str) -> None:
    """Refuse a file that does not begin like one of NumPy, which NumPy would take for a pickle."""
    try:
        with open(path, "rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise FileNotFoundError(f"there is no file {path!r}.") from None
    method = recognise(start)
    if method is not None:
        raise InputValueError(
            f"{path} is compressed by {method}, and only .npy files that are not compressed can be read block by "
            "block; decompress it."
        )
    if not start.startswith((NPY, ZIP)):
        raise InputValueError(f"{path} is not a NumPy file; expected a .npy file, as written by np.save.")


def _beside(name: str, given: Any, paths: Sequence[str], n_columns: int) -> list[str] | int | None:
    """Files of the same rows as X, or the number of a column of X."""
    if given is None:
        return None
    if isinstance(given, (int, np.integer)):
        return _column(name, given, n_columns)
    if isinstance(given, np.ndarray):
        raise InputTypeError(
            f"{name} is an array; save it by numpy.save and give the name of its file, or the number of a column of X."
        )
    files = expanded(given)
    if len(files) != len(paths):
        raise InputValueError(
            f"{name} has {counted(len(files), 'file')}, but X has {len(paths)}; give one for each file of X."
        )
    missing = next((each for each in files if not os.path.isfile(each)), None)
    if missing is not None:
        raise InputValueError(
            f"{name} is {plain(missing)}, and there is no such file; for .npy files give a file, or the number of a "
            "column."
        )
    return files


def _column(name: str, given: Any, n_columns: int) -> int:
    if not isinstance(given, (int, np.integer)) or isinstance(given, bool):
        raise InputTypeError(f"{name} is {plain(given)}, expected the number of a column of the .npy file.")
    if not -n_columns <= given < n_columns:
        raise InputValueError(f"{name} is {given}, but X has {counted(n_columns, 'column')}, numbered from 0.")
    return int(given) % n_columns
