"""What a model needs of an encoding, whatever its kind, and the error about a field that encodings share."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.encoding.reports import Unknown
from nbsoftmax.errors import InputValueError, plain


@dataclass(frozen=True, eq=False)
class Encoded:
    """The matrix of a table.

    Attributes
    ----------
    X : ndarray (n_kept, n_encoded) float64, or csr_array of it
    kept : ndarray (n_samples,) of bool, or None
        The rows that have no missing value, where the others are dropped; None if all are kept.
    unknown : dict
        For each column with levels that the encoding does not know, the number of rows and some of these levels.
    """

    X: Any
    kept: NDArray[np.bool_] | None = None
    unknown: Unknown = field(default_factory=dict)

    @property
    def n_dropped(self) -> int:
        """Number of rows that are dropped."""
        return 0 if self.kept is None else int((~self.kept).sum())


class AnyEncoding(Protocol):
    """From the columns of a table to the features of a model.

    Attributes
    ----------
    columns : tuple of str
        The columns that a table must have, in any order and beside others.
    names : tuple of str
        The names of the features, (n_encoded,).
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table must have."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the features."""
        ...

    def features_of(self, column: str) -> tuple[str, ...]:
        """The names of the features that are made from one column alone."""
        ...

    def levels_of(self, column: str) -> tuple[str, ...]:
        """The names of the features that are levels of a column, of which a row has at most one."""
        ...

    @property
    def sparse(self) -> bool:
        """Whether matrices are sparse."""
        ...

    @property
    def drops_rows(self) -> bool:
        """Whether rows with missing values are left out of fits."""
        ...

    @property
    def level_columns(self) -> tuple[str, ...]:
        """The columns whose values are levels alone, so that a file's digits are text and not numbers."""
        ...

    def encode(self, table: Any, *, drop: bool = False, dense: bool = False) -> Encoded:
        """The matrix of a table; with `drop`, rows with missing values are dropped if the encoding says so."""
        ...

    def to_dict(self) -> dict[str, Any]:
        """What JSON stores; "kind" says which class reads it."""
        ...

    def describe(self) -> list[str]:
        """A line for each column."""
        ...


class WrongFieldError(InputValueError):
    """A field of a table cannot be used.

    Attributes
    ----------
    column : str
    row : int
        Counted from 0.
    missing : bool
        Whether it has no value.
    has, advice : str
        The parts of the message about a file, whose lines have other numbers.
    """

    column, row, missing, has, advice = "", 0, False, "", ""

    @classmethod
    def at(cls, column: str, row: int, has: str, advice: str, *, missing: bool = False) -> WrongFieldError:
        """The error about a field."""
        error = cls(f"X has {has} in column {plain(column)} at row {row} (counted from 0); {advice}.")
        error.column, error.row, error.missing, error.has, error.advice = column, row, missing, has, advice
        return error

    def after(self, n: int) -> WrongFieldError:
        """The error with the number of the row among all rows, if the rows of the table come after n others."""
        return self.at(self.column, self.row + n, self.has, self.advice, missing=self.missing)

    def among(self, kept: NDArray[np.bool_] | None) -> WrongFieldError:
        """The error with the number of the row among all rows, if those are kept where `kept` is true; None: all."""
        row = self.row if kept is None else int(np.flatnonzero(kept)[self.row])
        return self.at(self.column, row, self.has, self.advice, missing=self.missing)
