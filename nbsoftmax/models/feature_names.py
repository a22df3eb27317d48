"""The names of the features of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nbsoftmax.encoding import AnyEncoding
from nbsoftmax.errors import InputTypeError, InputValueError, counted, listed, plain
from nbsoftmax.validation import first_repeated


def checked_names(given: Any, n_features: int, encoding: AnyEncoding | None) -> tuple[str, ...] | None:
    """Check the names that a model is given: distinct, one for each feature, and those that its encoding makes.

    Raises
    ------
    InputTypeError, InputValueError
        For other names.
    """
    if isinstance(given, (str, bytes, Mapping)):
        raise InputTypeError(f"feature_names is {plain(given)}, expected a list of names, one for each feature.")
    names = None if given is None else tuple(map(str, given))
    if encoding is not None and names != encoding.names:
        raise InputValueError(f"feature_names is {plain(names)}, but the encoding makes {plain(encoding.names)}.")
    if names is None:
        return None
    if len(names) != n_features:
        raise InputValueError(
            f"feature_names has {counted(len(names), 'name')}, but coef has {counted(n_features, 'column')}; give "
            "one name a column."
        )
    twice = first_repeated(names)
    if twice is not None:
        raise InputValueError(f"feature_names has {plain(twice)} twice; give each feature a name of its own.")
    return names


def other_features(
    given: int, trained: int, names: tuple[str, ...] | None, encoding: AnyEncoding | None
) -> InputValueError:
    """The error for an X whose number of features is not that of the training."""
    first = "" if names is None else f" (first: {names[0]!r})"
    table = "" if encoding is None else f", or a table with the columns {listed(encoding.columns)}"
    return InputValueError(
        f"X has {counted(given, 'feature')}, but the model was trained on {trained}{first}; give the same "
        f"features{table}."
    )
