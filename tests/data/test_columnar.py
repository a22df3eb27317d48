"""Parquet and Arrow files."""

import io
from decimal import Decimal

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data import source
from tests.data.files import read, written

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
feather = pytest.importorskip("pyarrow.feather")

TABLE = pa.table(
    {
        "a": pa.array([1.5, -2.0, 1e300]),
        "b": pa.array([1, 2**53 + 1, -3], pa.int64()),
        "y": pa.array(["p", "q", "p"]),
        "w": pa.array([0.5, 1, 2], pa.float32()),
    }
)
FORMATS = ["parquet", "parquet of rows", "arrow", "compressed arrow", "arrow stream"]


def content(table, kind, **options):
    """The bytes of a file."""
    file = io.BytesIO()
    if kind.startswith("parquet"):
        parquet.write_table(table, file, **({"row_group_size": 1} if "rows" in kind else {}), **options)
        return file.getvalue()
    new = pa.ipc.new_stream if kind == "arrow stream" else pa.ipc.new_file
    compression = "zstd" if kind == "compressed arrow" else None
    with new(file, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        for batch in table.to_batches(max_chunksize=2):
            writer.write_batch(batch)
    return file.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_columns_are_read_by_name(tmp_path, kind):
    path = written(tmp_path, content(TABLE, kind), "data.bin")
    table = read(path, target="y", weight="w")
    assert table.feature_names == ("a", "b")
    assert np.array_equal(table.X, [[1.5, 1], [-2, 2.0**53], [1e300, -3]])
    assert table.y.tolist() == ["p", "q", "p"]
    assert table.weight.tolist() == [0.5, 1, 2]
    table = read(path, features=["b", "a"])
    assert table.X[:, 1].tolist() == [1.5, -2, 1e300]
    assert read(path, target="y", drop=["w", "b"]).feature_names == ("a",)


@pytest.mark.parametrize("kind", FORMATS)
def test_float32_columns_stay_float32(tmp_path, kind):
    numbers = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    table = pa.table({name: numbers[:, j] for j, name in enumerate("abc")})
    X = read(written(tmp_path, content(table, kind))).X
    assert X.dtype == np.float32
    assert np.array_equal(X, numbers)
    half = pa.table({"a": pa.array(np.array([1.5, 2], np.float16)), "b": pa.array([1, 2], pa.float32())})
    if "arrow" in kind:
        assert read(written(tmp_path, content(half, kind))).X.tolist() == [[1.5, 1], [2, 2]]


def test_numbers_of_all_types_are_read(tmp_path):
    columns = {
        "int8": pa.array([-1, 2], pa.int8()),
        "uint64": pa.array([2**64 - 1, 0], pa.uint64()),
        "float32": pa.array([0.1, 2], pa.float32()),
        "decimal": pa.array([Decimal("123456789.123456789"), Decimal("-0.1")], pa.decimal128(30, 12)),
        "codes": pa.array([7.5, 8]).dictionary_encode(),
        "Sepal.Length": pa.array([1.25, 2]),
        "Sepal": pa.array([3.25, 4]),
    }
    table = pa.table(columns)
    expected = [[-1, 2.0**64, np.float32(0.1), 123456789.123456789, 7.5, 1.25, 3.25], [2, 0, 2, -0.1, 8, 2, 4]]
    for kind in ("parquet", "arrow stream"):
        path = written(tmp_path, content(table, kind))
        assert read(path).X.tolist() == expected
        assert read(path, features=["Sepal"]).X.tolist() == [[3.25], [4]]


def test_a_file_of_more_rows_than_a_batch_is_read(tmp_path):
    numbers = np.random.default_rng(0).normal(size=(300_000, 2))
    table = pa.table({"a": numbers[:, 0], "b": numbers[:, 1], "y": np.arange(300_000) % 7})
    for kind in ("parquet", "arrow", "arrow stream"):
        found = read(written(tmp_path, content(table, kind)), target="y")
        assert np.array_equal(found.X, numbers)
        assert np.array_equal(found.y, np.arange(300_000) % 7)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (pa.array(["01", "NA", " x"]), ["01", "NA", " x"]),
        (pa.array(["q", "p", "q"]).dictionary_encode(), ["q", "p", "q"]),
        (pa.array(["q", "p", "q"], pa.large_string()), ["q", "p", "q"]),
        (pa.array([3, 1, 3], pa.int8()), [3, 1, 3]),
        (pa.array([3, 1, 3], pa.uint64()), [3, 1, 3]),
        (pa.array([3, 1, 3]).dictionary_encode(), [3, 1, 3]),
        (pa.array([3.0, -1, 3]), [3, -1, 3]),
        (pa.array([Decimal(3), Decimal(1), Decimal(3)], pa.decimal128(9, 2)), [3, 1, 3]),
        (pa.array([True, False, True]), [True, False, True]),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
@pytest.mark.parametrize("kind", ["parquet", "arrow stream"])
def test_labels_of_all_types_are_read(tmp_path, labels, expected, kind):
    table = read(written(tmp_path, content(pa.table({"a": [1.0, 2, 3], "y": labels}), kind)), target="y")
    assert table.y.tolist() == expected
    if not isinstance(expected[0], (str, bool)):
        assert table.y.dtype == np.int64


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array([1, None, 3]), "row 1 (counted from 0) has no value in column 'b'; fill it in, drop the row"),
        (pa.array([1.5, None, 3]), "row 1 (counted from 0) has no value in column 'b'"),
        (pa.array([1.5, np.nan, 3]), "row 1 (counted from 0) has no value in column 'b'"),
        (pa.array([1.5, 2, -np.inf]), "row 2 (counted from 0) has -inf in column 'b', expected a finite number"),
        (pa.array([None, None, None]), "has no values in column 'b'; leave it out of the fit with --drop"),
        (pa.array([Decimal(1), None, Decimal(2)]), "row 1 (counted from 0) has no value in column 'b'"),
        (pa.array(["x", "y", "z"]), "has the type string in column 'b', expected numbers; encode it as 0/1 columns"),
        (pa.array(["x", "y", "z"]).dictionary_encode(), "has the type string in column 'b', expected numbers"),
        (pa.array([True, False, True]), "has the type bool in column 'b', expected numbers; convert it to 0 and 1"),
        (
            pa.array([1, 2, 3], pa.timestamp("us")),
            "has the type timestamp[us] in column 'b', expected numbers; turn it",
        ),
        (pa.array([1, 2, 3], pa.date32()), "has the type date32[day] in column 'b', expected numbers; turn it"),
        (pa.array([[1.0], [2.0], []]), "has the type list<"),
        (pa.array([{"x": 1}, {"x": 2}, {"x": 3}]), "has the type struct<x: int64> in column 'b', expected numbers"),
        (pa.array([b"x", b"y", b"z"]), "has the type binary in column 'b', expected numbers; convert it to numbers"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_columns_that_are_not_numbers_are_refused_by_name(tmp_path, column, said, kind):
    table = pa.table({"a": [1.0, 2, 3], "b": column, "y": [0, 1, 0]})
    path = written(tmp_path, content(table, kind), "data.bin")
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=r"data\.bin") as caught:
        read(path, target="y")
    assert said in str(caught.value)
    assert read(path, target="y", drop=["b"]).X.tolist() == [[1], [2], [3]]


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pa.array(["x", None, "z"]), "row 1 (counted from 0) has no value in column 'y'; fill it in or drop the row"),
        (pa.array([1, 2, None]), "row 2 (counted from 0) has no value in column 'y'"),
        (pa.array([1.0, np.nan, 2]), "row 1 (counted from 0) has no value in column 'y'"),
        (pa.array([1.0, 2.5, 2]), "row 1 (counted from 0) has 2.5 in column 'y': continuous values"),
        (pa.array([None, None, None]), "row 0 (counted from 0) has no value in column 'y'"),
        (pa.array([1, 2, 3], pa.timestamp("us")), "has the type timestamp[us] in column 'y', expected labels"),
        (pa.array([[1.0], [2.0], []]), "in column 'y', expected labels"),
    ],
    ids=lambda value: str(getattr(value, "type", "")),
)
def test_columns_that_are_not_labels_are_refused_by_name(tmp_path, column, said):
    path = written(tmp_path, content(pa.table({"a": [1.0, 2, 3], "y": column}), "parquet"))
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError)) as caught:
        read(path, target="y")
    assert said in str(caught.value)


def test_labels_that_the_model_knows_may_have_a_fraction(tmp_path):
    path = written(tmp_path, content(pa.table({"a": [1.0, 2], "y": [1.5, 2]}), "parquet"))
    assert read(path, target="y", labels={"1.5", "2.0"}).y.tolist() == [1.5, 2]


def test_the_index_of_pandas_is_no_feature(tmp_path):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"a": [1.0, 2, 3], "y": list("pqp")}, index=[7, 3, 4])
    frame.to_parquet(tmp_path / "d.parquet")
    assert read(tmp_path / "d.parquet", target="y").feature_names == ("a",)
    assert read(tmp_path / "d.parquet", features=["__index_level_0__"]).X.tolist() == [[7], [3], [4]]
    frame.to_csv(tmp_path / "d.csv")
    for path, index in ((tmp_path / "d.parquet", "__index_level_0__"), (tmp_path / "d.csv", "")):
        for options in ({}, {"table": nbs.TableOptions()}):
            source = nbs.data.open(path, target="y", **options)
            assert nbs.Trainer(l2=1.0).fit(source).model.feature_names == ("a",)
            source = nbs.data.open(path, target="y", features=["a", index], **options)
            assert nbs.Trainer(l2=1.0).fit(source).model.feature_names == ("a", index)
    batches = nbs.data.from_batches(lambda: [pa.Table.from_pandas(frame)], target="y")
    assert nbs.Trainer(l2=1.0).fit(batches).model.feature_names == ("a",)
    frame.rename_axis("id").to_parquet(tmp_path / "named.parquet")
    assert read(tmp_path / "named.parquet", target="y").feature_names == ("a",)
    assert read(tmp_path / "named.parquet", features=["id"]).X.tolist() == [[7], [3], [4]]


@pytest.mark.parametrize("kind", FORMATS)
def test_columns_that_are_missing_or_named_twice_are_refused(tmp_path, kind):
    path = written(tmp_path, content(TABLE, kind))
    with pytest.raises(nbs.InputValueError, match="has no column 'z'; its columns are 'a', 'b', 'y', 'w'"):
        read(path, target="z")
    with pytest.raises(nbs.InputValueError, match="has no rows"):
        read(written(tmp_path, content(TABLE.slice(0, 0), kind)), target="y")
    twice = pa.Table.from_arrays([TABLE["a"], TABLE["a"]], ["a", "a"])
    with pytest.raises(nbs.InputValueError, match="two columns named 'a'; rename one"):
        read(written(tmp_path, content(twice, kind)))


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_is_one_line(tmp_path, kind):
    table = pa.table({"a": np.random.default_rng(0).normal(size=3000), "y": ["p", "q", "r"] * 1000})
    good = content(table, kind)
    rng = np.random.default_rng(1)
    damaged = [good[:n] for n in (12, 100, len(good) // 2, len(good) - 9, len(good) - 1)]
    for _ in range(40):
        flipped = bytearray(good)
        flipped[rng.integers(8, len(good))] ^= 1 << rng.integers(8)
        damaged.append(bytes(flipped))
    refused = 0
    for broken in damaged:
        try:
            read(written(tmp_path, broken, "data.bin"), target="y")
        except MemoryError:  # a size was damaged
            refused += 1
        except (nbs.InputValueError, nbs.InputTypeError) as error:
            assert "data.bin" in str(error)
            assert "\n" not in str(error)
            refused += 1
    assert refused >= 4


@pytest.mark.parametrize(
    ("start", "said"), [(b"PARE", "encrypted Parquet"), (b"FEA1", "Feather file of version 1"), (b"ORC", "an ORC file")]
)
def test_files_of_other_formats_are_named(tmp_path, start, said):
    path = written(tmp_path, start + bytes(100))
    with pytest.raises(nbs.InputValueError, match=said), source.opened(path) as data:
        source.kind(data)


@pytest.mark.parametrize("kind", ["parquet", "arrow", "csv"])
@pytest.mark.parametrize("encoded", [False, True])
def test_labels_that_end_in_nul_are_refused(tmp_path, kind, encoded):
    labels = pa.array(["a", "a\0", "b"])
    columns = pa.table({"x": [1.0, 2.0, 3.0], "y": labels.dictionary_encode() if encoded else labels})
    path = tmp_path / f"d.{kind}"
    if kind == "parquet":
        parquet.write_table(columns, path)
    elif kind == "arrow":
        feather.write_feather(columns, path)
    else:  # a NUL in the first lines is refused for itself
        path.write_text("x,y\n" + "1,b\n" * 200_000 + "1,a\n1,a\0\n", encoding="utf-8")
    with pytest.raises(
        nbs.InputValueError, match=r"(row 1|line 200003).* has the label 'a\\x00' in column 'y', which ends"
    ):
        read(path, target="y")


@pytest.mark.parametrize("value_type", [pa.float64(), pa.int64()])
@pytest.mark.parametrize("options", [None, nbs.TableOptions(), nbs.TableOptions(missing="mean")])
def test_dictionaries_of_numbers_are_numbers_in_memory_and_in_batches(tmp_path, value_type, options):
    numbers = pa.array([5, 3, 3, 7], value_type)
    column = numbers.dictionary_encode()
    columns = pa.table({"x": column, "y": ["a", "b", "a", "b"]})
    path = tmp_path / "d.arrow"
    feather.write_feather(columns, path)
    assert read(path, target="y").X.tolist() == [[5], [3], [3], [7]]
    for rows in (
        nbs.data.open(path, target="y", table=options),
        nbs.data.from_batches(columns, target="y", table=options),
        nbs.data.from_batches(lambda: iter([(columns.select(["x"]), columns["y"])]), table=options),
    ):
        (block,) = rows.blocks()
        assert block.X.tolist() == [[5], [3], [3], [7]]
