"""`nbs.data.open`: every format gives the rows that were written, and bad files are named."""

import os

import numpy as np
import pyarrow as pa
import pytest

import nbsoftmax as nbs
from nbsoftmax.data.cut import rows_of_a_block
from tests.data.rows import NAMES, M, W, X, Y, lists, table, together, write

COLUMNS = {"target": "label", "weight": "weight"}
FILES = {
    "t.parquet": table, "t.feather": table, "t.arrow": table, "l.arrow": lists, "l.parquet": lists, "t.csv": table,
    "t.tsv": table, "t.csv.gz": table, "t.tsv.bz2": table,
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_rows_in_blocks_of_one_length(name, tmp_path):
    source = nbs.data.open(write(tmp_path / name, FILES[name]()), batch_rows=300, **COLUMNS)
    for _ in range(2):
        found, y, weight, rows = together(source)
        assert rows == [300, 300, 300, 100]
        # Text has as many digits as a float32 needs.
        assert found.dtype == (np.float64 if "sv" in name else np.float32)
        np.testing.assert_array_equal(found.astype(np.float32), X)
        np.testing.assert_array_equal(y.astype(str), Y)
        np.testing.assert_array_equal(weight, W)
        assert source.feature_names == (None if name.startswith("l") else NAMES)
    assert together(source, np.float64)[0].dtype == np.float64


def test_several_files_are_one_after_another_in_the_order_of_their_names(tmp_path):
    parts = [table().slice(0, 130), table().slice(130, 500), table().slice(630)]
    (tmp_path / "in").mkdir()
    paths = [write(tmp_path / "in" / f"{i}.parquet", part) for i, part in enumerate(parts)]
    (tmp_path / "in" / "_SUCCESS").write_text("")
    for given in (tmp_path / "in", str(tmp_path / "in" / "*.parquet"), paths):
        found, y, _, rows = together(nbs.data.open(given, batch_rows=400, **COLUMNS))
        np.testing.assert_array_equal(found, X)
        np.testing.assert_array_equal(y, Y)
        assert rows == [400, 400, 200]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.feather", "a.npy"])
@pytest.mark.parametrize("given", ["files", "folder", "pattern"])
def test_an_empty_file_and_a_pipe_among_others_are_refused_by_name(name, given, tmp_path):
    if name == "a.npy":
        np.save(tmp_path / name, X)
    else:
        write(tmp_path / name)
    odd = tmp_path / name.replace("a", "b", 1)
    paths = {"files": [tmp_path / name, odd], "folder": tmp_path, "pattern": str(tmp_path / "*")}
    odd.touch()
    with pytest.raises(nbs.InputValueError, match=r"/b\.\w+ is empty"):
        nbs.data.open(paths[given])
    odd.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(odd)
        with pytest.raises(nbs.InputValueError, match=r"/b\.\w+ is a pipe"):
            nbs.data.open(paths[given])


@pytest.mark.parametrize("name", ["x.npy", "t.arrow", "l.arrow"])
def test_any_block_can_be_read_alone(name, tmp_path):
    np.save(tmp_path / "x.npy", X)
    if name != "x.npy":
        write(tmp_path / name, FILES[name]())
    source = nbs.data.open(tmp_path / name, batch_rows=130, **({} if name == "x.npy" else COLUMNS))
    assert source.block(1) is None  # not before the first pass
    blocks = list(source.blocks())
    for i in (5, 0, 7, 3):
        np.testing.assert_array_equal(source.block(i).X, blocks[i].X)
        if name != "x.npy":
            np.testing.assert_array_equal(np.asarray(source.block(i).y), np.asarray(blocks[i].y))
    assert source.block(len(blocks)) is None


def test_the_rows_of_a_block_depend_on_the_shape_alone():
    f4, f8 = np.dtype(np.float32), np.dtype(np.float64)
    assert rows_of_a_block(100, f4) == 83_840
    assert rows_of_a_block(100, f8) == 41_920
    assert rows_of_a_block(1, f4) == 2**18
    assert rows_of_a_block(2**30, f8) == 1


def test_columns_are_chosen_by_name_and_in_the_given_order(tmp_path):
    path = write(tmp_path / "t.parquet")
    source = nbs.data.open(path, target="label", features=["f3", "f0"])
    np.testing.assert_array_equal(together(source)[0], X[:, [3, 0]])
    assert source.feature_names == ("f3", "f0")
    probabilities = nbs.data.open(path, target=["f1", "f2"], features="f0", offset=["f3", "f4"])
    (block,) = probabilities.blocks()
    np.testing.assert_array_equal(block.y, X[:, 1:3])
    np.testing.assert_array_equal(block.offset, X[:, 3:])


def test_integers_booleans_decimals_and_missing_numbers_are_numbers(tmp_path):
    columns = {
        "i": pa.array([1, None, 3]), "b": pa.array([True, False, True]),
        "d": pa.array(["1.5", "2.5", "3"]).cast(pa.float64()).cast(pa.decimal128(5, 2)), "y": ["a", "b", "a"],
    }  # fmt: skip
    source = nbs.data.open(write(tmp_path / "t.parquet", pa.table(columns)), target="y")
    np.testing.assert_array_equal(together(source)[0], [[1, 1, 1.5], [np.nan, 0, 2.5], [3, 1, 3]])
    with pytest.raises(nbs.InputValueError, match=r"missing value \(NaN\) in column 'i' at row 1"):
        nbs.Trainer().fit(source)


def test_a_column_of_text_that_begins_with_whole_numbers_may_go_on_with_others(tmp_path):
    text = "x,y\n" + "1,0\n2,1\n" * 300_000 + "2.5,1\n"
    (tmp_path / "t.csv").write_text(text)
    found, y, _, _ = together(nbs.data.open(tmp_path / "t.csv", target="y"))
    assert found[-1] == 2.5
    assert y.dtype == np.int64


def test_options_of_text_are_those_of_pyarrow(tmp_path):
    import pyarrow.csv as pc
    import pyarrow.dataset as ds

    (tmp_path / "t.txt").write_text("x;y\n1,5;a\n2,5;b\n")
    options = ds.CsvFileFormat(
        pc.ParseOptions(delimiter=";"),
        default_fragment_scan_options=ds.CsvFragmentScanOptions(convert_options=pc.ConvertOptions(decimal_point=",")),
    )
    found, y, _, _ = together(nbs.data.open(tmp_path / "t.txt", target="y", format=options))
    np.testing.assert_array_equal(found[:, 0], [1.5, 2.5])
    assert y.tolist() == ["a", "b"]


@pytest.mark.parametrize("missing", [True, False])
def test_spellings_of_missing_values_may_be_levels(tmp_path, missing):
    import pyarrow.csv as pc
    import pyarrow.dataset as ds

    (tmp_path / "t.csv").write_text("kind,y\np,a\nNA,b\nq, a\n NA ,b\n")
    convert = pc.ConvertOptions(strings_can_be_null=missing)
    options = ds.CsvFileFormat(default_fragment_scan_options=ds.CsvFragmentScanOptions(convert_options=convert))
    given = {"target": "y", "format": options, "table": nbs.TableOptions(missing="drop")}
    if missing:
        with pytest.warns(UserWarning, match="2 of 4 rows"):
            source = nbs.data.open(tmp_path / "t.csv", **given)
    else:
        source = nbs.data.open(tmp_path / "t.csv", **given)
    found, y, _, _ = together(source)
    assert source.encoding.names == (("kind[p]", "kind[q]") if missing else ("kind[NA]", "kind[p]", "kind[q]"))
    assert len(found) == len(y) == (2 if missing else 4)


@pytest.mark.parametrize("features", [["flag"], ["a", "flag"]])
def test_text_far_below_truth_values_is_named_with_its_line(tmp_path, features):
    rows = [f"{i},{'uv'[i % 2]},{i % 3 == 0}" for i in range(200_000)]  # more than the beginning, which shows the types
    rows[150_000] = "0,u, maybe"
    (tmp_path / "t.csv").write_text("\n".join(["a,y,flag", *rows]))
    source = nbs.data.open(tmp_path / "t.csv", target="y", features=features)
    with pytest.raises(nbs.InputValueError, match=r"t\.csv line 150002 has 'maybe' in column 'flag', whose first rows"):
        list(source.blocks())


def test_an_error_in_a_file_that_python_cannot_read_names_its_row(tmp_path):
    import pyarrow.csv as pc
    import pyarrow.dataset as ds

    (tmp_path / "t.csv").write_text("x,y\n1,a\\\nb\n2,b\n3,\n")  # the escaped end of a line is part of a label
    parse = pc.ParseOptions(escape_char="\\", newlines_in_values=True)
    with pytest.raises(nbs.InputValueError, match="row 2") as caught:
        list(nbs.data.open(tmp_path / "t.csv", target="y", format=ds.CsvFileFormat(parse)).blocks())
    assert "line" not in str(caught.value)


BAD_COLUMNS = {
    "text": (pa.array(["a", "b"]), "dtype string in column 'x'"),
    "dates": (pa.array([0, 1], pa.date32()), "date32.* in column 'x'"),
    "categories": (pa.array(["a", "b"]).dictionary_encode(), "dictionary.* in column 'x'"),
}


@pytest.mark.parametrize("case", BAD_COLUMNS)
def test_a_feature_that_is_no_number_is_named_at_once(case, tmp_path):
    column, message = BAD_COLUMNS[case]
    path = write(tmp_path / "t.parquet", pa.table({"x": column, "y": [0, 1]}))
    with pytest.raises(nbs.InputTypeError, match=message):
        nbs.data.open(path, target="y")


BAD = {
    "no such file": (["none.parquet"], {}, "no file"),
    "a pattern without files": (["*.parquet.none"], {}, "no file"),
    "an unknown ending": (["t.xls"], {}, "format of .*t.xls.* not known"),
    "several formats": (["t.parquet", "t.csv"], {}, "several formats"),
    "no such column": (["t.parquet"], {"target": "lable"}, "no column 'lable'; the columns are 'f0', 'f1'"),
    "one column twice": (["t.parquet"], {"target": "f0", "weight": "f0"}, "'f0' is given twice"),
    "not Parquet": (["text.parquet"], {}, "text.parquet cannot be read"),
    "a label with a fraction": (["mixed.csv"], {"target": "y"}, "mixed.csv at row 600000 .* has '1.5' in column 'y'"),
    "a missing label": (["missing.csv"], {"target": "y"}, "missing value in column 'y' at row 1"),
    "a missing weight": (["missing.csv"], {"target": "x", "features": "z", "weight": "x"}, "given twice"),
    "a number of a column for names": (["t.parquet"], {"target": 3}, "target is 3, expected the name"),
    "a name for numbers": (["x.npy"], {"target": "label"}, "target is 'label', and there is no such file"),
    "a column that x.npy lacks": (["x.npy"], {"target": 9}, "9, but X has 5 columns"),
    "labels of another length": (["x.npy"], {"target": "short.npy"}, "short.npy has 3 rows"),
    "one number": (["x.npy"], {"target": "one.npy"}, "one.npy holds a single number"),
    "an archive": (["x.npy"], {"target": "some.npz"}, "some.npz is an archive of arrays"),
    "a block of no rows": (["x.npy"], {"batch_rows": 0}, "batch_rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_files_and_arguments_are_named(case, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("t.parquet", "t.csv"):
        write(tmp_path / name)
    (tmp_path / "t.xls").write_text("no")
    (tmp_path / "text.parquet").write_text("no")
    (tmp_path / "mixed.csv").write_text("x,y\n" + "1,0\n2,1\n" * 300_000 + "2,1.5\n")
    (tmp_path / "missing.csv").write_text("x,z,y\n1,2,a\n2,3,\n")
    np.save("x.npy", X)
    np.save("short.npy", X[:3, 0])
    np.save("one.npy", 1)
    np.savez("some.npz", y=X[:, 0])
    names, options, message = BAD[case]
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError, FileNotFoundError), match=message):
        list(nbs.data.open(names if len(names) > 1 else names[0], **options).blocks())


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
def test_damage_within_a_file_is_an_error_that_names_it(ending, tmp_path):
    path = write(tmp_path / f"t.{ending}")
    content = path.read_bytes()
    n_refused = 0
    for at in range(4, len(content), max(1, len(content) // 200)):
        path.write_bytes(content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])
        try:
            list(nbs.data.open(path, **COLUMNS).blocks())
        except nbs.InputValueError as error:
            n_refused += f"t.{ending} cannot be read as a" in str(error)
    assert n_refused >= 3


@pytest.mark.parametrize("ending", ["parquet", "arrow"])
@pytest.mark.parametrize("options", [{}, {"table": nbs.TableOptions()}], ids=["numbers", "table"])
def test_a_file_with_a_column_of_another_kind_is_named(ending, options, tmp_path):
    write(tmp_path / f"0.{ending}")
    write(tmp_path / f"1.{ending}", table().set_column(2, NAMES[2], pa.array(["a", "b"] * (M // 2))))
    with pytest.raises(nbs.InputTypeError, match=rf"1\.{ending}: X has .* in column 'f2'"):
        list(nbs.data.open(tmp_path, **COLUMNS, **options).blocks())


def test_a_file_whose_columns_have_other_types_is_refused(tmp_path):
    write(tmp_path / "0.parquet")
    write(tmp_path / "1.parquet", table(X.astype(np.float64)))
    with pytest.raises(nbs.InputValueError, match=r"1\.parquet has X of dtype float64, but .*0\.parquet had float32"):
        list(nbs.data.open(tmp_path, **COLUMNS).blocks())
    assert len(list(nbs.data.open(tmp_path, **COLUMNS).blocks(np.float64))) == 1


def lists(width):
    return pa.FixedSizeListArray.from_arrays(pa.array(np.full(M * width, 0.5)), width)


# What a file has in the column "g" in the place of what the first one has, and the error.
OTHER_FORMS = {
    "lists of another length": (lists(3), lists(2), {"features": "g"}, "2 features, but .* had 3 features"),
    "numbers, not lists": (lists(3), pa.array(np.ones(M)), {"features": "g"}, "1 feature .* had 3 features"),
    "probabilities": (lists(3), lists(2), {"target": "g"}, "y with 2 columns, but .* had y with 3 columns"),
    "an offset": (lists(3), lists(2), {"offset": "g"}, "offset with 2 columns, but .* had offset with 3 columns"),
    "labels of text": (pa.array([0, 1] * (M // 2)), pa.array(["0", "1"] * (M // 2)), {"target": "g"}, "y of text, but"),
    "a weight of text": (pa.array(np.ones(M)), pa.array(["1"] * M), {"weight": "g"}, "the weight has dtype string"),
}


@pytest.mark.parametrize("batch_rows", [None, M])
@pytest.mark.parametrize("case", OTHER_FORMS)
def test_a_file_whose_lists_labels_or_weights_have_another_form_is_named(case, batch_rows, tmp_path):
    first, second, roles, message = OTHER_FORMS[case]
    for i, column in enumerate((first, second)):
        write(tmp_path / f"{i}.arrow", table().append_column("g", column))
    source = nbs.data.open(tmp_path, **{**COLUMNS, "features": list(NAMES), **roles}, batch_rows=batch_rows)
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=rf"1\.arrow.*{message}"):
        list(source.blocks())


@pytest.mark.parametrize("ending", ["arrow", "parquet"])
def test_a_column_that_a_later_file_has_twice_is_refused(ending, tmp_path):
    for i, others in enumerate((table(), table().append_column(NAMES[1], pa.array(np.ones(M))))):
        write(tmp_path / f"{i}.{ending}", others)
    with pytest.raises(nbs.InputValueError, match=rf"1\.{ending} has several columns named 'f1'"):
        list(nbs.data.open(tmp_path, **COLUMNS).blocks())


@pytest.mark.parametrize("ending", ["parquet", "arrow", "csv"])
def test_a_file_that_lacks_a_column_of_the_first_is_refused(ending, tmp_path):
    full = table()
    write(tmp_path / f"0.{ending}", full)
    write(tmp_path / f"1.{ending}", full.drop_columns([NAMES[1]]))
    for table_options in (None, nbs.TableOptions(missing="mean")):
        with pytest.raises(nbs.InputValueError, match=rf"1\.{ending} has no column"):
            list(nbs.data.open(tmp_path, **COLUMNS, table=table_options).blocks())


def test_without_pyarrow_the_error_names_the_extra(tmp_path, monkeypatch):
    path = write(tmp_path / "t.parquet")
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r"nbsoftmax\[data\]"):
        nbs.data.open(path)


@pytest.mark.parametrize("ending", ["csv", "parquet", "npy"])
def test_errors_about_a_row_of_a_later_file_name_the_file_and_the_row(tmp_path, ending):
    rng = np.random.default_rng(0)
    model = nbs.SoftmaxModel(rng.normal(size=(2, 2)), np.zeros(2), [0, 1])
    for i in range(3):
        rows = rng.normal(size=(5, 3))
        rows[:, 2] = np.arange(5) % 2
        if i == 1:
            rows[3, 1] = np.nan
        if ending == "npy":
            np.save(tmp_path / f"{i}.npy", rows)
        else:
            write(tmp_path / f"{i}.{ending}", pa.table(dict(zip("aby", rows.T, strict=True))))
    columns = {"features": [0, 1], "target": 2} if ending == "npy" else {"features": ["a", "b"], "target": "y"}
    source = nbs.data.open(tmp_path / f"*.{ending}", batch_rows=7, **columns)  # blocks that begin within files
    row = "line 5" if ending == "csv" else "row 3"
    for use in (model.predict, model.predict_proba, model.score, nbs.Trainer(l2=1.0).fit):
        with pytest.raises(nbs.InputValueError, match=rf"1\.{ending}.*{row}"):
            use(source)


def test_a_block_of_an_arrow_file_that_was_read_in_part_has_its_own_rows(tmp_path):
    path = tmp_path / "d.arrow"
    table = pa.table({"a": np.arange(4000.0), "y": np.arange(4000) % 3})
    with pa.ipc.new_file(path, table.schema) as file:
        for batch in table.to_batches(max_chunksize=500):
            file.write_batch(batch)
    source = nbs.data.open(path, target="y", batch_rows=1000)
    blocks = source.blocks()
    next(blocks)
    blocks.close()
    assert source.block(2).X[:, 0].tolist() == list(range(2000, 3000))
