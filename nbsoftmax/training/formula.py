"""`fit_formula`: a fit of the model that a formula describes."""

from __future__ import annotations

from typing import Any

from numpy.typing import ArrayLike

from nbsoftmax.encoding import Formula, TableOptions, column_in, names_of
from nbsoftmax.errors import InputTypeError, InputValueError, a_type, plain
from nbsoftmax.training.result import FitResult
from nbsoftmax.training.trainer import Trainer
from nbsoftmax.validation import frames, refuse_records


def fit_formula(
    formula: str,
    frame: Any,
    *,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
    validation_data: Any = None,
    table: TableOptions | None = None,
    **trainer_options: Any,
) -> FitResult:
    """Fit the model that a formula describes to a table.

    The model of the result contains the formula, the levels of the columns and what functions such as `bs` have
    learned of the table: it takes tables with the columns of the formula. Its file holds no code, and reading it or
    predicting with it runs none.

    Parameters
    ----------
    formula : str
        `"species ~ bill_length_mm * island + bs(body_mass_g, 4)"`: the column of the classes, and terms in the grammar
        of formulaic and of R. A term is a column, or an expression of columns, numbers, `+ - * / **`, comparisons
        and the functions `I`, `C`, `bs`, `cr`, `cs`, `cc`, `poly`, `center`, `scale`, `standardize`, and those of one
        number, as `abs`, `exp`, `log` and `sqrt`. docs/formulas.md lists all. Other expressions are refused. The
        intercept is that of the model, without penalty; `~ 0 + ...` leaves it out. `.` stands for all other columns.
    frame : table of pandas, polars or Arrow
        In memory. Levels of text are sorted; the first one of a column has no feature of its own (treatment contrasts)
        where the intercept, or another term, makes it redundant.
    sample_weight : array_like (n_samples,), optional
    offset : array_like (n_samples, n_classes), or (n_samples,) for the second of two classes, optional
    validation_data : table, optional
        With the columns of the formula, and that of the classes. Its mean loss is recorded in the history.
    table : TableOptions, optional
        `missing="drop"` leaves out rows with missing values, and `missing="mean"` replaces missing numbers before the
        terms are computed; by default they are refused. `categorical` names columns of numbers that are levels.
    **trainer_options
        Those of `Trainer`, without `fit_intercept`, which the formula decides.

    Returns
    -------
    FitResult

    Raises
    ------
    InputValueError, InputTypeError
        For invalid input, such as a formula that is not allowed.
    ImportError
        If formulaic is not installed: pip install "nbsoftmax[formula]".
    """
    if "fit_intercept" in trainer_options:
        raise InputValueError("fit_intercept is decided by the formula; write ~ 0 + ... for a model without intercept.")
    if isinstance(frame, str) and not isinstance(formula, str):
        raise InputTypeError("formula and frame are in the wrong order; give the formula first, then the table.")
    refuse_records("frame", frame)
    if frames.library_of(frame) is None:
        raise InputTypeError(
            f"frame is {a_type(frame)}, expected a table of pandas, polars or Arrow in memory, because a "
            "formula learns from all rows at once; read the rows, or a sample of them, as a table."
        )
    found = Formula.of(formula, names_of(frame), table)
    y = column_in(frame, found.response)
    trainer = Trainer(table=found.learned(frame), fit_intercept=found.intercept, **trainer_options)
    if validation_data is not None:
        if frames.library_of(validation_data) is None or found.response not in names_of(validation_data):
            raise InputTypeError(
                f"validation_data is {a_type(validation_data)}, expected a table with the columns of the "
                f"formula and the column {plain(found.response)} of the classes."
            )
        validation_data = validation_data, column_in(validation_data, found.response)
    return trainer.fit(frame, y, sample_weight=sample_weight, offset=offset, validation_data=validation_data)
