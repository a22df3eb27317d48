"""Random tables with columns of several kinds, the same in pandas, polars and Arrow."""

import datetime

import pandas as pd
import polars as pl
import pyarrow as pa
from hypothesis import strategies as st

LIBRARIES = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "arrow": pa.table}
# Texts that Arrow, polars and CSV hold unchanged, and that are neither numbers nor spellings of missing values.
LEVELS = st.text(
    st.characters(codec="utf-8", exclude_characters="\r\n\x00", exclude_categories=["Cs", "Cc", "Z"]),
    min_size=1,
    max_size=4,
).map(lambda text: f"L{text}")
NAMES = ["a", "ä b", "species[x]", "列", "o'k"]
VALUES = {
    "number": st.floats(-1e6, 1e6, allow_nan=False).map(lambda x: x + 0.0),
    "boolean": st.booleans(),
    "date": st.dates(datetime.date(1900, 1, 1), datetime.date(2100, 1, 1)),
    "text": LEVELS,
}


@st.composite
def columns(draw, *, missing=True, kinds=tuple(VALUES)):
    """Columns by name, lists of one length with at least one value each; None is missing."""
    n = draw(st.integers(3, 8))
    found = {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)):
        values = VALUES[draw(st.sampled_from(kinds))]
        column = draw(st.lists(st.none() | values if missing else values, min_size=n, max_size=n))
        column[draw(st.integers(0, n - 1))] = draw(values)
        found[name] = column
    return found


def in_every_library(given):
    """The same table in each library."""
    yield pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in given.items()})
    yield pl.DataFrame(given, strict=False)
    yield pa.table(given)


def dense(X):
    """The matrix of an encoding as an ordinary array."""
    return X.toarray() if hasattr(X, "toarray") else X
