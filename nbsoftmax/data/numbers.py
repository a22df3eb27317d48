"""Columns of Arrow batches as arrays."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.validation.arrow_tables import floats_of
from nbsoftmax.validation.packing import pack

BLOCK = 2**23  # numbers in a block: more than 32 MB, which the C library gives back to the system when they are freed


@dataclass(frozen=True, eq=False)
class Collected:
    """The columns of all batches."""

    X: NDArray[Any]  # (n_samples, n_features) float32 if the type of all features is float32 or float16, or float64
    beside: NDArray[np.float64]  # (n_samples, n_beside), the columns that are no features
    labels: Any  # pyarrow.ChunkedArray (n_samples,), or None
    # Row, column and value of the first number that is null (NaN), NaN or infinite: the rest has not been read.
    not_finite: tuple[int, str, float] | None = None


def collect(
    batches: Iterable[Any], n_rows: int, features: Sequence[str], beside: Sequence[str], labels: str | None
) -> Collected:
    """Copy columns of batches into arrays; besides these, little memory is needed if there are at most `n_rows` rows.

    Parameters
    ----------
    batches : iterable of pyarrow.RecordBatch
    n_rows : int
        Number of rows as far as it is known, better too large than too small.
    features : sequence of str
        Columns of numbers.
    beside : sequence of str
        Columns of numbers that are no features.
    labels : str or None
        Column of any type.
    """
    import pyarrow as pa

    columns = [*features, *beside]
    blocks: _Blocks | None = None
    label_chunks: list[Any] = []
    for batch in batches:
        numbers = batch.select(columns)
        if blocks is None:
            blocks = _Blocks(n_rows, len(features), common_dtype(numbers.schema.types[: len(features)]), len(beside))
        if labels is not None:
            label_chunks.append(batch.column(labels))
        array = array_of(numbers)
        wrong = first_not_finite(array)
        if wrong is not None:
            row, j = wrong
            place = (blocks.n_samples + row, columns[j], float(array[row, j]))
            return Collected(*blocks.joined(), None, place)
        blocks.append(array)
    assert blocks is not None, "no batch"
    return Collected(*blocks.joined(), pa.chunked_array(label_chunks) if label_chunks else None)


class _Blocks:
    """Blocks of rows, which are joined at the end; one block is enough if the number of rows was known."""

    def __init__(self, n_rows: int, n_features: int, dtype: type[np.floating[Any]], n_beside: int) -> None:
        self.n_features, self.dtype, self.n_beside = n_features, dtype, n_beside
        self.n_samples = self.free = 0
        self.next_size = max(n_rows, 1)
        self.blocks: list[tuple[NDArray[Any], NDArray[np.float64]]] = []

    def append(self, rows: NDArray[Any]) -> None:
        """Append rows; their last columns are those beside the features."""
        while len(rows):
            if self.free == 0:
                self.free, self.next_size = self.next_size, max(1, BLOCK // self.n_features)
                beside = np.empty((self.free, self.n_beside))
                self.blocks.append((np.empty((self.free, self.n_features), self.dtype), beside))
            X, beside = self.blocks[-1]
            start = len(X) - self.free
            n = min(len(rows), self.free)
            X[start : start + n] = rows[:n, : self.n_features]
            beside[start : start + n] = rows[:n, self.n_features :]
            self.free, self.n_samples, rows = self.free - n, self.n_samples + n, rows[n:]

    def joined(self) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the features and the other columns; the memory of each block is given back once it has been copied."""
        blocks, self.blocks = self.blocks[::-1], []
        if len(blocks) == 1:
            ((X, beside),) = blocks
            X.resize((self.n_samples, self.n_features), refcheck=False)  # without a copy
            beside.resize((self.n_samples, self.n_beside), refcheck=False)
            return X, beside
        X = np.empty((self.n_samples, self.n_features), self.dtype)
        beside = np.empty((self.n_samples, self.n_beside))
        start = 0
        while blocks:
            block, of_block = blocks.pop()
            stop = min(start + len(block), self.n_samples)
            X[start:stop] = block[: stop - start]
            beside[start:stop] = of_block[: stop - start]
            start = stop
        return X, beside


def first_not_finite(array: NDArray[Any]) -> tuple[int, int] | None:
    """Row and column of the first number that is NaN or infinite."""
    if np.isfinite(array).all():
        return None
    row = int(np.isfinite(array).all(axis=1).argmin())
    return row, int(np.isfinite(array[row]).argmin())


def common_dtype(types: Sequence[Any]) -> type[np.floating[Any]]:
    """float32 if all types are float32 or float16, and float64 otherwise."""
    import pyarrow as pa

    single = all(pa.types.is_float32(type_) or pa.types.is_float16(type_) for type_ in set(types))
    return np.float32 if single else np.float64


def array_of(numbers: Any) -> NDArray[Any]:
    """A batch as an array (n_rows, n_columns); nulls are NaN."""
    import pyarrow as pa

    if set(numbers.schema.types) in ({pa.float64()}, {pa.float32()}):
        return np.asarray(numbers.to_tensor(null_to_nan=True, row_major=True).to_numpy())
    array = np.empty((len(numbers), numbers.num_columns), common_dtype(numbers.schema.types))
    pack(enumerate(map(floats_of, numbers.columns)), array)
    return array
