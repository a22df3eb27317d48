"""Decimals of Arrow become the float64 numbers nearest to them, in tables in memory and in files."""

import decimal
import random
import sys

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import validation
from nbsoftmax.data import tables
from tests.data.files import table_file

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")

DRAW = random.Random(0)
DECIMALS = [decimal.Decimal(DRAW.randrange(-(10**17), 10**17)).scaleb(-9) for _ in range(500)]
NEAREST = np.array([float(number) for number in DECIMALS])
TABLE = pa.table({"x": pa.array(DECIMALS, pa.decimal128(20, 9)), "y": ["a", "b"] * 250})


@pytest.fixture
def path(tmp_path):
    parquet.write_table(TABLE, tmp_path / "x.parquet")
    return tmp_path / "x.parquet"


def test_arrow_s_own_conversion_is_not_exact_for_these():
    assert (TABLE["x"].cast(pa.float64()).to_numpy() != NEAREST).any()


def test_tables_and_columns_in_memory():
    assert np.array_equal(validation.frame(TABLE.select(["x"]))[0][:, 0], NEAREST)
    assert np.array_equal(validation.as_float64s("sample_weight", TABLE["x"]), NEAREST)


def test_files_in_memory_and_in_blocks(path):
    with table_file(path) as file:
        assert np.array_equal(tables.read(file, tables.Request(target="y")).X[:, 0], NEAREST)
    (block,) = nbs.data.open(path, target="y").blocks()
    assert np.array_equal(block.X[:, 0], NEAREST)


LARGE = [2**53, 2**53 + 1, 2**53, -(2**53) - 1] * 5  # two of them are one float


def test_whole_decimals_as_labels_are_integers(tmp_path):
    column = pa.array(list(map(decimal.Decimal, LARGE)), pa.decimal128(30, 2))
    rows = pa.table({"x": np.arange(20.0), "y": column})
    parquet.write_table(rows, tmp_path / "x.parquet")
    with table_file(tmp_path / "x.parquet") as file:
        found = [tables.read(file, tables.Request(target="y")).y]
    found += [block.y for block in nbs.data.open(tmp_path / "x.parquet", target="y").blocks()]
    found += [block.y for block in nbs.data.from_batches(rows, target="y").blocks()]
    found += [validation.target_array(column), validation.target_array(rows["y"])]
    found.append(nbs.Trainer(l2=1.0, standardize=True).fit(rows.select(["x"]), column).model.classes[[1, 2, 1, 0] * 5])
    for y in found:
        assert np.asarray(y).tolist() == LARGE


def columns_of(values):
    """A column of decimals of polars, Arrow and pandas, and an array and an index of pandas."""
    polars, pandas = pytest.importorskip("polars"), pytest.importorskip("pandas")
    numbers = [None if value is None else decimal.Decimal(value) for value in values]
    of_pandas = pandas.Series(numbers, dtype=pandas.ArrowDtype(pa.decimal128(38, 2)))
    arrow = pa.array(numbers, pa.decimal128(38, 2))
    of_polars = polars.Series(numbers, dtype=polars.Decimal(38, 2))
    return of_polars, arrow, of_pandas, of_pandas.array, pandas.Index(of_pandas)


def test_polars_and_pandas_decimals_as_labels_are_integers():
    for column in columns_of(LARGE):
        assert validation.target_array(column).tolist() == LARGE


def test_polars_decimals_are_labels_without_pyarrow(monkeypatch):
    polars = pytest.importorskip("polars")
    column = polars.Series(list(map(decimal.Decimal, LARGE)), dtype=polars.Decimal(30, 2))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert validation.target_array(column).tolist() == LARGE


def test_decimals_with_a_fraction_stay_numbers_and_missing_ones_are_named():
    for column in columns_of(["0.5", "1", "1.25"]):
        assert validation.target_array(column).tolist() == [0.5, 1.0, 1.25]
    for column in columns_of(["1", None, "2"]):
        with pytest.raises(nbs.InputValueError, match="row 1"):
            validation.labels(column)


def test_estimators_take_whole_decimals_as_labels_and_refuse_others():
    pytest.importorskip("sklearn")
    X = np.eye(4, 2)
    for column in columns_of(["3", "5", "3", "5"]):
        assert nbs.SoftmaxRegression().fit(X, column).predict(X).tolist()[:2] == [3, 5]
    for column in columns_of(["3", "5.5", "3", "5"]):
        with pytest.raises(nbs.InputValueError, match=r"5\.5"):
            nbs.SoftmaxRegression().fit(X, column)


@pytest.mark.parametrize("values", [["0.5", str(2**53 + 1)], [str(2**63), "1"], ["9" * 30]])
def test_decimals_that_neither_integers_nor_floats_hold_are_refused_as_labels(tmp_path, values):
    column = pa.array(list(map(decimal.Decimal, values)), pa.decimal128(38, 2))
    rows = pa.table({"x": np.arange(float(len(values))), "y": column})
    parquet.write_table(rows, tmp_path / "x.parquet")
    with pytest.raises(nbs.InputValueError, match=r"y has the label '.*convert the labels to text"):
        validation.target_array(column)
    for same in columns_of(values):
        with pytest.raises(nbs.InputValueError, match=r"y has the label '.*convert the labels to text"):
            validation.target_array(same)
    with (
        pytest.raises(nbs.InputValueError, match=r"column 'y' of .*x\.parquet has the label"),
        table_file(tmp_path / "x.parquet") as file,
    ):
        tables.read(file, tables.Request(target="y"))
    with pytest.raises(nbs.InputValueError, match="the target 'y' has the label"):
        list(nbs.data.open(tmp_path / "x.parquet", target="y").blocks())
