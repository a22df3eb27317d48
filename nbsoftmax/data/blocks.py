"""Blocks of rows: what a source of data yields that does not have to fit in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple, Protocol, TypeGuard, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputError, InputTypeError, InputValueError, listed
from nbsoftmax.validation import Float64s, Floats, is_delayed


class CodedLabels(NamedTuple):
    """The labels `labels[codes]`, each text once. Every label of the table occurs."""

    codes: NDArray[Any]  # (n,), integers
    labels: NDArray[Any]  # (n_labels,), distinct, in any order

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        """The labels, (n,)."""
        labels: NDArray[Any] = self.labels[self.codes]
        return labels if dtype is None else labels.astype(dtype)


class ClassColumns(NamedTuple):
    """The names of the columns of probabilities and of an offset that are tables; None for those without names."""

    y: tuple[str, ...] | None = None
    offset: tuple[str, ...] | None = None

    def joined(self, later: ClassColumns) -> ClassColumns:
        """Those of these rows and later ones, which must agree where both have names."""
        for name, ours, theirs in zip(self._fields, self, later, strict=True):
            if ours is not None and theirs is not None and ours != theirs:
                raise InputValueError(
                    f"{name} has the columns {listed(theirs)} in some rows, but {listed(ours)} in earlier ones; give "
                    "the same columns in the same order for all rows."
                )
        return ClassColumns(self.y or later.y, self.offset or later.offset)


class Block(NamedTuple):
    """Some consecutive rows with their targets, which nobody changes."""

    X: Any  # (n, n_features), float32 or float64; or a sparse matrix of SciPy
    y: Any = None  # labels (n,), as an array or as CodedLabels; probabilities (n, n_classes); None if there are none
    sample_weight: Float64s | None = None  # (n,)
    offset: Floats | None = None  # (n, n_classes)
    columns: ClassColumns = ClassColumns()  # of y and the offset


@runtime_checkable
class RowBlocks(Protocol):
    """Rows in blocks, which can be read any number of times: always the same blocks in the same order.

    Attributes
    ----------
    feature_names : tuple of str or None
        Known at the latest when the first block is read.
    """

    @property
    def feature_names(self) -> tuple[str, ...] | None:
        """The names of the columns of X."""
        ...

    def blocks(self, dtype: np.dtype[Any] | None = None) -> Iterator[Block]:
        """All rows from the first one, X in this dtype; by default float32 and float64 stay as they are."""
        ...


@runtime_checkable
class AnyBlock(Protocol):
    """A source that can begin to read at any block."""

    def block(self, i: int, dtype: np.dtype[Any] | None = None) -> Block | None:
        """The block number i of `blocks`; None if blocks can only be read one after the other."""
        ...


def is_source(X: Any) -> TypeGuard[RowBlocks]:
    """Whether X is a source of blocks of rows. (`isinstance` would ask for `feature_names`.)"""
    return type(X) is not np.ndarray and not is_delayed(X) and callable(getattr(X, "blocks", None))


def refuse_source(X: Any, what: str, instead: str) -> None:
    """Refuse a source of blocks of rows where `what` needs all rows in memory."""
    if is_source(X):
        raise InputTypeError(f"X is a source of blocks of rows, but {what} needs all rows in memory; {instead}.")


@contextmanager
def located_in(source: RowBlocks, first_row: int) -> Iterator[None]:
    """Name the file and its row, or else the block, in errors about the rows of a source from `first_row` on."""
    try:
        yield
    except InputError as error:
        located = getattr(source, "located", None)
        in_file = None if located is None else located(error, first_row)
        if in_file is not None:
            raise in_file from None
        encoding = getattr(source, "encoding", None)
        drops = encoding is not None and encoding.drops_rows
        how = " (dropped rows are not counted)" if drops else ""
        raise type(error)(f"in the block of rows that begins at row {first_row}{how}: {error}") from None
