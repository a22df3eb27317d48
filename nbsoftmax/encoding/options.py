"""`TableOptions`: how the columns of a table become features."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from nbsoftmax import validation
from nbsoftmax.encoding.base import AnyEncoding
from nbsoftmax.errors import InputTypeError, InputValueError, listed, plain

MISSING = ("error", "mean", "drop")
DATES = ("error", "parts")


@dataclass(frozen=True)
class TableOptions:
    """How the columns of a table become features.

    Numbers and booleans are features as they are. Text and categories become one feature of 0 and 1 for each level,
    `island[Dream]` for example. Columns of text that contain only True and False are booleans, and those that contain
    only dates, such as 2024-05-31, are dates.

    Parameters
    ----------
    categorical : sequence of str
        Columns whose values are levels although they are numbers, such as codes.
    missing : {"error", "mean", "drop"}
        "error" refuses missing values; "mean" replaces a missing number by the mean of the training, and a missing
        level is 0 in all features of its column, like the reference level with `drop_first` and in formulas; "drop"
        leaves out rows with missing values in a fit, and refuses them in a prediction.
    indicators : bool
        With "mean", whether each column that has missing values in the training also becomes a feature
        `missing(age)`, which is 1 where the value is missing.
    dates : {"error", "parts"}
        "parts" makes three numbers of a date, `born[year]`, `born[month]` and `born[day]`.
    drop_first : bool
        Whether the first level of each variable has no feature of its own (treatment contrasts, R's default): the first
        of the categories of pandas, or of an Enum of polars, and otherwise the first of the sorted levels. A fit
        without penalty needs this for standard errors; with a penalty all levels are better.

    Raises
    ------
    InputValueError, InputTypeError
        For other values.
    """

    categorical: Sequence[str] = ()
    missing: str = "error"
    indicators: bool = False
    dates: str = "error"
    drop_first: bool = False

    def __post_init__(self) -> None:
        names = self.categorical
        given = () if isinstance(names, str) or not isinstance(names, Iterable) else tuple(names)
        if isinstance(names, str) or not isinstance(names, Iterable) or not all(isinstance(x, str) for x in given):
            raise InputTypeError(f"categorical is {plain(names)}, expected a list of names of columns.")
        object.__setattr__(self, "categorical", given)
        validation.choice("missing", self.missing, MISSING)
        validation.choice("dates", self.dates, DATES)
        validation.flag("indicators", self.indicators)
        validation.flag("drop_first", self.drop_first)
        if self.indicators and self.missing != "mean":
            raise InputValueError(
                f"indicators is True, but missing is {self.missing!r}; indicators need missing='mean' (--missing mean)."
            )

    def __repr__(self) -> str:
        """The options that are not default."""
        changed = [f for f in fields(self) if getattr(self, f.name) != f.default]
        return f"TableOptions({', '.join(f'{f.name}={getattr(self, f.name)!r}' for f in changed)})"

    def refuse_absent(self, columns: Collection[str]) -> None:
        """Raise an InputValueError if `categorical` names a column that a table with these columns does not have."""
        absent = next((name for name in self.categorical if name not in columns), None)
        if absent is not None:
            raise InputValueError(
                f"categorical names {plain(absent)}, but the columns of X are {listed(columns)}; give one of these.",
                parameter="categorical",
            )

    @property
    def always(self) -> bool:
        """Whether a table of numbers needs an encoding too."""
        return bool(self.categorical) or self.missing != "error"


def checked_options(value: Any) -> TableOptions | AnyEncoding:
    """Check that `value` is a TableOptions, or the encoding of a model."""
    if isinstance(value, TableOptions) or hasattr(value, "features_of"):
        return value  # type: ignore[no-any-return]
    raise InputTypeError(
        f"table is {plain(value)}, expected a TableOptions, such as TableOptions(missing='mean'), or the encoding of a "
        "model.",
        parameter="table",
    )
