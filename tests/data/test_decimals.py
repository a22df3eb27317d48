"""Decimals of Arrow become the float64 numbers nearest to them, in tables in memory and in files."""

import decimal
import random

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import validation
from nbsoftmax.data import tables

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
    with tables.table_file(path) as file:
        assert np.array_equal(tables.read(file, tables.Request(target="y")).X[:, 0], NEAREST)
    (block,) = nbs.data.open(path, target="y").blocks()
    assert np.array_equal(block.X[:, 0], NEAREST)
