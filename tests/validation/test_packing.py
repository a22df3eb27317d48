"""Columns become the rows of one matrix, whatever their number and length, and on all threads."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from nbsoftmax import TableOptions, Trainer
from nbsoftmax.encoding.learning import learned
from nbsoftmax.validation import frame
from nbsoftmax.validation.packing import GROUP, STEP, Columns, pack

pytestmark = pytest.mark.usefixtures("several_threads")
LENGTHS = [0, 1, 100, STEP - 1, STEP, STEP + 1, 5 * STEP + 3]


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("n_features", [1, 2, GROUP - 1, GROUP, GROUP + 1, 3 * GROUP + 2])
def test_the_rows_are_those_of_the_columns(n, n_features):
    columns = np.random.default_rng(0).integers(-9, 9, (n_features, n + 7)).astype(np.int8)
    out = np.full((n, n_features), np.nan)
    pack(enumerate(column[:n] for column in columns), out)
    assert np.array_equal(out, columns[:, :n].T)
    single = np.full((n, n_features), np.nan, np.float32)
    Columns(list(columns), single.dtype).pack(single, 7)
    assert np.array_equal(single, columns[:, 7:].T)


def test_an_error_of_any_block_of_rows_is_raised():
    columns = [np.zeros(4 * STEP, object) for _ in range(3)]
    columns[1][3 * STEP + 5] = "text"
    with pytest.raises(ValueError, match="text"):
        pack(enumerate(columns), np.empty((4 * STEP, 3)))


def test_tables_of_arrow_and_nullable_tables_of_pandas():
    X = np.random.default_rng(0).integers(-9, 9, (2 * STEP + 9, GROUP + 3))
    missing = X == 9
    names = [f"x{j}" for j in range(X.shape[1])]
    expected = np.where(missing, np.nan, X)
    for dtype in (pa.int64(), pa.float64(), pa.float32()):
        columns = [pa.array(x, dtype, mask=gaps) for x, gaps in zip(X.T, missing.T, strict=True)]
        array, found = frame(pa.table(columns, names))
        assert np.array_equal(array, expected, equal_nan=True)
        assert list(found) == names
    array, _ = frame(pd.DataFrame(X, columns=names, dtype="Int64").mask(missing))
    assert np.array_equal(array, expected, equal_nan=True)


@pytest.mark.parametrize("dtype", ["category", object, "str"])
def test_levels_of_every_row_have_their_column(dtype):
    rng = np.random.default_rng(0)
    text = np.array(["a", "b", "c", "d"])[rng.integers(0, 4, 3 * STEP + 1)]
    table = pd.DataFrame({"x": rng.normal(size=text.size), "text": pd.Series(text, dtype=dtype)})
    encoding = learned(table, TableOptions(missing="drop"))
    expected = np.column_stack([table["x"], text[:, None] == ["a", "b", "c", "d"]])
    assert np.array_equal(encoding.encode(table).X, expected)
    table.loc[STEP + 5, "text"] = None
    found = encoding.encode(table, drop=True)
    assert np.array_equal(np.flatnonzero(~found.kept), [STEP + 5])
    assert np.array_equal(found.X, np.delete(expected, STEP + 5, axis=0))


@pytest.mark.parametrize("first", ["v", None, 1.5])
def test_a_column_of_objects_with_text_in_any_row_is_encoded_or_refused(first):
    table = pd.DataFrame({"x": np.arange(6.0), "text": np.array([first, "u", "v", "v", "u", "u"], object)})
    if first == 1.5:
        with pytest.raises(TypeError, match="column 'text'"):
            learned(table, TableOptions(missing="drop"))
    else:
        assert learned(table, TableOptions(missing="drop")).names == ("x", "text[u]", "text[v]")
        assert Trainer(l2=0.1).fit(table[1:], [0, 1, 1, 0, 0]).model.feature_names == ("x", "text[u]", "text[v]")
