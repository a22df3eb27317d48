"""Batches of rows of any length, cut into blocks of one length.

The length of a block depends on the number of features and the dtype alone, and so do the bits of a fit: not on the
batches in which the rows arrive. Rows that nobody can write to are used where they are; others are copied, since
whoever made a batch may fill the same array with the next one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.data.blocks import Block, ClassColumns, CodedLabels
from nbsoftmax.errors import InputTypeError, InputValueError, counted, listed
from nbsoftmax.validation import Float64s, Floats, is_sparse, joined_labels
from nbsoftmax.validation.arrays import float_dtype_of
from nbsoftmax.validation.packing import Columns

BLOCK_BYTES = 2**25  # of X in a block, at most
MOST_ROWS = 2**18  # in a block; their targets and weights need memory, too
SPARSE_ROWS = 2**15  # in a block of a sparse X, whose size is not known from its shape
NAMES = ("y", "sample_weight", "offset")  # of what batches have beside X
KINDS = dict.fromkeys("iuf", "numbers") | dict.fromkeys("UTO", "text")  # of arrays, by NumPy's letters


class Batch(NamedTuple):
    """Some rows as they arrive, with their targets."""

    X: Any  # (n, n_features): an array, a sparse matrix of SciPy, or Columns
    y: Any = None  # as in `Block`
    sample_weight: Float64s | None = None  # (n,)
    offset: Floats | None = None  # (n, n_classes)
    names: tuple[str, ...] | None = None  # of the features
    fixed: bool = False  # whether nobody will write to these arrays
    columns: ClassColumns = ClassColumns()  # of y and the offset
    file: str | None = None  # for messages


def rows_of_a_block(n_features: int, dtype: np.dtype[Any], *, sparse: bool = False) -> int:
    """The number of rows of a block."""
    if sparse:
        return SPARSE_ROWS
    n = BLOCK_BYTES // (dtype.itemsize * max(1, n_features))
    return max(1, min(MOST_ROWS, n // 64 * 64 or n))


def cut(batches: Iterator[Batch], *, batch_rows: int | None, dtype: np.dtype[Any] | None) -> Iterator[Block]:
    """Blocks of `batch_rows` rows, or as many as `rows_of_a_block` says; the last one may be shorter."""
    blocks = None
    for batch in batches:
        if batch.X.shape[0] == 0:
            continue
        blocks = blocks or _Blocks(batch, batch_rows, dtype)
        yield from blocks.add(batch)
    if blocks is not None and blocks.filled:
        yield blocks.take()


class _Blocks:
    """The block that is being filled."""

    def __init__(self, first: Batch, batch_rows: int | None, dtype: np.dtype[Any] | None) -> None:
        X = first.X
        self._given = None if dtype is not None else np.dtype(float_dtype_of("X", X.dtype))
        self._dtype = np.dtype(self._given if dtype is None else dtype)
        self._sparse, self._n_features, self._names = is_sparse(X), X.shape[1], first.names
        self._n = batch_rows or rows_of_a_block(X.shape[1], self._dtype, sparse=self._sparse)
        self.filled, self._columns = 0, first.columns
        self._first = first.file or "the first batch"
        self._forms = [_form(array) for array in first[1:4]]
        self._X: Any = None  # the rows so far: an array, or a list of sparse matrices
        self._beside: list[tuple[Any, ...]] = []  # pieces of y, weights and offsets

    def add(self, batch: Batch) -> Iterator[Block]:
        """The blocks that this batch fills."""
        self._check(batch)
        start, end = 0, batch.X.shape[0]
        while start < end:
            rows = slice(start, min(end, start + self._n - self.filled))
            n, start = rows.stop - rows.start, rows.stop
            beside = batch.y, batch.sample_weight, batch.offset
            self._beside.append(tuple(_rows_of(a, rows, batch.fixed) for a in beside))
            if not self.filled and _stays(batch.X, batch.fixed) and batch.X.dtype == self._dtype:
                self._X = batch.X[rows]  # copied only if another batch fills the block
            else:
                self._append(batch.X, rows)
            self.filled += n
            if self.filled == self._n:
                yield self.take()

    def take(self) -> Block:
        """The block as far as it is filled; the next one begins."""
        X = _stacked(self._X) if self._sparse else self._X[: self.filled]
        pieces = zip(NAMES, zip(*self._beside, strict=True), strict=True)
        y, weight, offset = (_joined(name, each) for name, each in pieces)
        block = Block(X, y, weight, offset, self._columns)
        self._X, self._beside, self.filled = None, [], 0
        return block

    def _append(self, X: Any, rows: slice) -> None:
        if self._sparse:
            self._X = [*(self._X or []), X[rows].astype(self._dtype)]
            return
        if self._X is None or len(self._X) < self._n:
            begun, self._X = self._X, np.empty((self._n, self._n_features), self._dtype)
            if begun is not None:  # rows of an earlier batch
                self._X[: self.filled] = begun
        out = self._X[self.filled : self.filled + rows.stop - rows.start]
        if isinstance(X, Columns):
            X.pack(out, rows.start)
        else:
            out[...] = X[rows]

    def _check(self, batch: Batch) -> None:
        """Refuse a batch whose form is not that of the first one."""
        X, n = batch.X, batch.X.shape[0]
        here, there = batch.file or "a batch", self._first
        if X.shape[1] != self._n_features or batch.names != self._names:
            raise InputValueError(
                f"{here} has {_features(X.shape[1], batch.names)}, but {there} had "
                f"{_features(self._n_features, self._names)}; give the same in all batches."
            )
        if is_sparse(X) != self._sparse:
            raise InputTypeError("some batches are sparse and some are not; give all in one form.")
        found = np.dtype(float_dtype_of("X", X.dtype))
        if self._given is not None and found != self._given:
            raise InputValueError(
                f"{here} has X of dtype {found}, but {there} had {self._given}; give the same dtype in all batches, or "
                "dtype to the Trainer (--dtype on the command line)."
            )
        self._columns = self._columns.joined(batch.columns)
        for name, array, first in zip(NAMES, batch[1:4], self._forms, strict=True):
            rows = n if array is None else _n_rows(array)
            if rows != n:
                raise InputValueError(
                    f"a batch has {counted(n, 'row')} of X, but {counted(rows, 'entry')} of {name}; give one for each."
                )
            form = _form(array)
            if form != first:
                error = InputTypeError if form.columns == first.columns else InputValueError
                raise error(
                    f"{here} has {form.described(name)}, but {there} had {first.described(name)}; give the same in all "
                    "batches."
                )


class _Form(NamedTuple):
    """The form of y, weights or an offset."""

    columns: tuple[int, ...] | None  # the shape of a row; None if there are none
    kind: str  # of the values

    def described(self, name: str) -> str:
        if self.columns is None:
            return f"no {name}"
        return f"{name} with {counted(self.columns[0], 'column')}" if self.columns else f"{name} of {self.kind}"


def _form(array: Any) -> _Form:
    if array is None:
        return _Form(None, "")
    values = array.labels if isinstance(array, CodedLabels) else array
    return _Form(values.shape[1:], KINDS.get(values.dtype.kind, f"dtype {values.dtype}"))


def _n_rows(array: Any) -> int:
    return len(array.codes if isinstance(array, CodedLabels) else array)


def _features(n: int, names: tuple[str, ...] | None) -> str:
    return counted(n, "feature") + ("" if names is None else f" ({listed(names, most=3)})")


def _stays(X: Any, fixed: bool) -> bool:
    """Whether X is an array that nobody writes to: neither to it nor, as with data frames, to what it is a view of."""
    owner: Any = X
    while isinstance(owner, np.ndarray) and not fixed:
        if owner.flags.writeable:
            return False
        owner = owner.base
    return isinstance(X, np.ndarray)


def _rows_of(array: Any, rows: slice, fixed: bool) -> Any:
    """Some rows of y, weights or an offset; copied if somebody might write to them."""
    if array is None:
        return None
    if isinstance(array, CodedLabels):
        return CodedLabels(array.codes[rows], array.labels)
    return array[rows] if _stays(array, fixed) else array[rows].copy()


def _stacked(pieces: list[Any]) -> Any:
    if len(pieces) == 1:
        return pieces[0]
    from scipy.sparse import vstack

    return vstack(pieces, format="csr")


def _joined(name: str, pieces: tuple[Any, ...]) -> Any:
    """The pieces of a block, which have one form, as one."""
    if pieces[0] is None:
        return None
    if all(isinstance(piece, CodedLabels) for piece in pieces):
        return _one_table(pieces)
    arrays = [piece.labels[piece.codes] if isinstance(piece, CodedLabels) else piece for piece in pieces]
    if len(arrays) == 1:
        return arrays[0]
    kinds = {array.dtype.kind for array in arrays}
    if kinds <= set("iuf"):
        return joined_labels(arrays, name=name)
    if len(kinds) > 1:  # of text: NumPy would turn objects into text
        arrays = [array.astype(object) for array in arrays]
    return np.concatenate(arrays)


def _one_table(pieces: tuple[CodedLabels, ...]) -> CodedLabels:
    """The labels of all pieces, with one table of those that occur."""
    if len(pieces) == 1 and np.bincount(pieces[0].codes, minlength=pieces[0].labels.size).all():
        return pieces[0]
    places: dict[Any, int] = {}
    codes = []
    for piece in pieces:
        occurs = np.flatnonzero(np.bincount(piece.codes, minlength=piece.labels.size))
        place = np.zeros(piece.labels.size, np.int32)
        for i in occurs.tolist():
            place[i] = places.setdefault(piece.labels[i], len(places))
        codes.append(place[piece.codes])
    labels: NDArray[Any] = np.empty(len(places), object)
    labels[:] = list(places)
    return CodedLabels(np.concatenate(codes), labels)
