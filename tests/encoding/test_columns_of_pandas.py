"""Columns of pandas tables: the same under labels of any kind, and read in few calls."""

import cProfile
import pstats

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs
from nbsoftmax.encoding import columns_of

COLUMNS = {
    "float32": pd.array([0.1, 2.0, np.nan], "float32"),
    "int64": pd.array([1, -2, 3], "int64"),
    "bool": np.array([True, False, True]),
    "Int64": pd.array([1, None, 2**40], "Int64"),
    "boolean": pd.array([True, None, False], "boolean"),
    "objects": np.array([True, None, False], object),
    "text": ["b", None, "a"],
    "objects of text": np.array(["b", None, "a"], object),
    "category": pd.Categorical(["v", None, "u"], ["v", "w", "u"]),
    "ordered": pd.Categorical(["v", "u", "u"], ["w", "v", "u"], ordered=True),
    "date": pd.to_datetime(["2024-05-31", None, "1969-12-01"]),
    "sparse": pd.arrays.SparseArray([0.0, 1.5, 0.0]),
    "arrow": pd.array([1, None, 3], "int64[pyarrow]"),
}
n = len(COLUMNS)
LABELS = {
    "text": list(COLUMNS),
    "numbers": list(range(n, 0, -1)),
    "numbers and text that look alike": [1, 2.5, True, *"abcdefghij"],  # 1 == True: not unique for pandas
    "missing values": pd.Index([np.nan, None, *range(n - 2)], dtype=object),
    "tuples": [(j, "") for j in range(n)],
    "several levels": pd.MultiIndex.from_tuples([(j % 3, str(j)) for j in range(n)]),
    "dates": pd.date_range("2024-05-31", periods=n, freq="D"),
    "categories": pd.CategoricalIndex([f"c{j}" for j in range(n)]),
    "intervals": pd.IntervalIndex.from_breaks(range(n + 1)),
}


def facts(column):
    return (column.kind, column.values.dtype, column.levels, column.ordered, column.strict, column.truth)


@pytest.mark.parametrize("kind", LABELS)
def test_a_column_is_the_same_under_a_label_of_any_kind(kind):
    table = pd.DataFrame(COLUMNS)
    alone = [next(columns_of(table.iloc[:, j : j + 1])) for j in range(n)]
    table.columns = LABELS[kind]
    names = tuple(map(str, table.columns))
    for column, expected, name in zip(columns_of(table), alone, names, strict=True):
        assert column.name == name
        assert facts(column) == facts(expected)
        assert np.array_equal(column.values, expected.values, equal_nan=column.kind != "category")
    last = next(columns_of(table, names[-1:]))
    assert np.array_equal(last.values, alone[-1].values, equal_nan=True)


def test_columns_are_found_beside_others_that_share_a_name():
    table = pd.DataFrame([[1.0, 2.0, "x", 3.0]], columns=["a", "b", "c", "b"])
    assert [column.values.tolist() for column in columns_of(table, ["c", "a"])] == [[0], [1.0]]
    with pytest.raises(nbs.InputValueError, match="X has several columns named 'b'"):
        next(columns_of(table, ["a", "b"]))


@pytest.mark.parametrize("dtype", ["float64", "int64", "bool", "category"])
def test_a_column_adds_few_calls_to_the_prediction_of_one_row(dtype):
    assert (calls(30, dtype) - calls(10, dtype)) / 20 < 200


def calls(n_columns, dtype):
    """The number of calls in a prediction of one row of a table with a column of text and others of one dtype."""
    values = np.random.default_rng(0).integers(0, 2, (20, n_columns))
    table = pd.DataFrame(values).astype(dtype).assign(text=["a", "b"] * 10)
    model = nbs.Trainer(l2=1.0).fit(table, values[:, 0]).model
    model.predict(table[:1])
    with cProfile.Profile() as profile:
        model.predict(table[:1])
    return pstats.Stats(profile).total_calls
