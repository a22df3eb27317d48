"""Features that a table's encoding makes from one column, such as the levels of a factor."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.encoding import AnyEncoding, FormulaEncoding
from nbsoftmax.errors import InputValueError, listed, plain


def numbers_of(feature: str | int, names: Sequence[str], encoding: AnyEncoding | None) -> list[int]:
    """Column numbers of a feature, given by name or number, or of all features of a column of the table, by its name.

    In a model with a formula, also of all features of a term, "region:sex" with its factors in any order, and with
    other spaces and quotes.

    Raises
    ------
    InputValueError
        If there is no such feature, or more than one.
    """
    if encoding is not None and feature in encoding.columns and encoding.features_of(str(feature)):
        return [names.index(name) for name in encoding.features_of(str(feature))]  # "age" and "I(age ** 2)"
    if isinstance(feature, str) and names.count(feature) == 1:
        return [names.index(feature)]
    is_number = isinstance(feature, (int, np.integer)) and not isinstance(feature, bool)
    if is_number and 0 <= int(feature) < len(names):
        return [int(feature)]
    terms = encoding.terms if isinstance(encoding, FormulaEncoding) else {}
    if isinstance(feature, str):
        for factors in (_factors, _loosely):
            for term, made in terms.items():
                if factors(feature) == factors(term):
                    return [names.index(name) for name in made]
    known = f"the columns are {list(names)}"
    if encoding is not None:
        known += f", and those of the table {listed(encoding.columns)}"
    if terms:
        known += f", and the terms of the formula {listed(terms)}"
    raise InputValueError(f"{plain(feature)} is not the name or number of one column; {known}.")


def _factors(term: str) -> list[str]:
    return sorted(factor.strip() for factor in term.replace("`", "").split(":"))


def _loosely(term: str) -> list[str]:
    return _factors("".join(term.split()).replace('"', "'"))


def columns_of(
    features: str | int | Sequence[str | int], names: Sequence[str], encoding: AnyEncoding | None
) -> list[int]:
    """Column numbers of one or several features, each given as for `numbers_of`.

    Raises
    ------
    InputValueError
        For no features, unknown ones, or one that is given twice.
    """
    one = isinstance(features, str) or np.ndim(features) == 0
    several: list[Any] = [features] if one else list(features)  # type: ignore[arg-type]
    columns = list(dict.fromkeys(j for feature in several for j in numbers_of(feature, names, encoding)))
    if not columns or len(set(map(str, several))) < len(several):
        raise InputValueError(f"features is {plain(features)}, expected one or more features without repetition.")
    return columns


def other_levels(
    binary: NDArray[np.bool_], names: Sequence[str], encoding: AnyEncoding | None
) -> list[NDArray[np.intp]]:
    """For each feature of 0 and 1, the numbers of the other ones that are levels of the same column of the table."""
    number = {name: j for j, name in enumerate(names)}
    group_of: dict[int, list[int]] = {}
    if encoding is not None:
        for column in encoding.columns:
            levels = [j for name in encoding.levels_of(column) if binary[j := number[name]]]
            group_of |= {j: levels for j in levels}
    return [np.array([k for k in group_of.get(j, ()) if k != j], np.intp) for j in np.flatnonzero(binary).tolist()]
