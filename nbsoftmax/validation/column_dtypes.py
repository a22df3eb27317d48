"""The common dtype of the columns of a table, and what to do with those that are not numeric."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nbsoftmax.errors import InputTypeError, plain

# Advice for a column that is not numeric, by a word in the name of its dtype.
ENCODERS = "OneHotEncoder, get_dummies, nbs.TableOptions"
CATEGORIES = f"encode its categories as numbers, for example one 0/1 column for each ({ENCODERS})"
TIMES = "turn it into numbers, for example days since a fixed date"
TEXT = f"encode it as 0/1 columns ({ENCODERS}), or convert it with astype(float) if it holds numbers"
ADVICE = {
    "categor": CATEGORIES, "enum": CATEGORIES, "dictionary": CATEGORIES,
    "date": TIMES, "time": TIMES, "duration": TIMES, "period": TIMES,
    "str": TEXT, "object": TEXT,
}  # fmt: skip
BESIDE = ("weight", "sample_weight", "offset")  # for which columns are not encoded


def common_dtype(
    name: str,
    names: Sequence[str],
    dtypes: Sequence[Any],
    is_number: Callable[[Any], bool],
    is_single: Callable[[Any], bool],
) -> np.dtype[Any]:
    """The common dtype of all columns; the first column that is not numeric is refused."""
    odd = {dtype for dtype in set(dtypes) if not is_number(dtype)}
    if odd:
        wrong, dtype = next((n, d) for n, d in zip(names, dtypes, strict=True) if d in odd)
        shown = str(dtype)
        advice = advice_for(shown) or "convert it to numbers, or drop it"
        if name.removeprefix("the ") in BESIDE:
            advice = "name a column of numbers, or convert it with astype(float) if it holds numbers"
        raise InputTypeError(
            f"{name} has dtype {plain_dtype(shown)} in column {plain(wrong)}, expected numbers; {advice}."
        )
    return np.dtype(np.float32 if dtypes and all(map(is_single, set(dtypes))) else np.float64)


def advice_for(dtype: str) -> str | None:
    """What to do with a column that is not numeric, by the name of its dtype."""
    return next((advice for word, advice in ADVICE.items() if word in dtype.lower()), None)


def plain_dtype(text: str) -> str:
    """The name of a dtype, shortened: the name of a categorical dtype lists all categories."""
    return text if len(text) <= 40 else f"{text[:36]} ..."
