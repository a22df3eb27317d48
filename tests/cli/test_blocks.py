"""`predict` and `evaluate` block by block: the same results as from all rows at once, and errors in later blocks."""

import json

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data import cut, dialect
from tests.cli.commands import SPECIES, refused, run

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def short_blocks(monkeypatch):
    """Blocks of 64 rows; text is parsed in pieces of 2 KB."""
    monkeypatch.setattr(cut, "MOST_ROWS", 64)
    monkeypatch.setattr(dialect, "BLOCK", 2048)


@pytest.fixture
def many(tmp_path):
    """Three hundred rows as CSV, Parquet and .npy; returns (folder, X, labels, weights)."""
    rng = np.random.default_rng(3)
    X, y, weight = rng.normal(size=(300, 2)), SPECIES[rng.integers(0, 3, 300)], rng.integers(0, 3, 300).astype(float)
    weight[:64] = 0.0  # the whole first block
    rows = zip(X.tolist(), y, weight.tolist(), strict=True)
    lines = ["length,width,species,w", *(f"{a!r},{b!r},{label},{s}" for (a, b), label, s in rows)]
    (tmp_path / "d.csv").write_text("\n".join(lines), encoding="utf-8")
    table = pa.table({"length": X[:, 0], "width": X[:, 1], "species": y, "w": weight})
    parquet.write_table(table, tmp_path / "d.parquet", row_group_size=50)
    for name, array in (("d", X), ("y", y), ("w", weight)):
        np.save(tmp_path / f"{name}.npy", array)
    return tmp_path, X, y, weight


@pytest.mark.parametrize("data", ["d.csv", "d.parquet", "d.npy"])
@pytest.mark.parametrize("what", [(), ("--proba",), ("--top-k", 2), ("--json",)])
def test_predictions_in_blocks_are_written_as_those_of_one_block(model, many, capsys, monkeypatch, data, what):
    path = many[0] / data
    assert run("predict", model, path, *what) == 0
    whole = capsys.readouterr().out
    monkeypatch.setattr(cut, "MOST_ROWS", 64)
    assert run("predict", model, path, *what) == 0
    assert capsys.readouterr().out == whole
    assert run("predict", model, path, *what, "--out", many[0] / "out") == 0
    assert (many[0] / "out").read_bytes().decode() == whole


@pytest.mark.usefixtures("short_blocks")
def test_predictions_are_written_as_parquet(model, many, capsys):
    folder, X, *_ = many
    loaded, out = nbs.SoftmaxModel.load(model), folder / "out.parquet"
    assert run("predict", model, folder / "d.csv", "--proba", "--out", out) == 0
    table = parquet.read_table(out)
    assert table.column_names == ["label", "proba_setosa", "proba_versicolor", "proba_virginica"]
    assert table["label"].to_pylist() == loaded.predict(X).tolist()
    assert np.array_equal(np.column_stack([table[name] for name in table.column_names[1:]]), loaded.predict_proba(X))
    assert run("predict", model, folder / "d.parquet", "--top-k", 2, "--out", out) == 0
    assert parquet.read_table(out)["label_2"].to_pylist() == loaded.top_k(X, 2)[0][:, 1].tolist()
    assert "--json writes text" in refused(capsys, "predict", model, folder / "d.csv", "--json", "--out", out)


@pytest.mark.parametrize("data", ["d.csv", "d.parquet", "d.npy"])
def test_scores_are_sums_over_blocks(model, many, capsys, monkeypatch, data):
    folder, X, y, weight = many
    monkeypatch.setattr(cut, "MOST_ROWS", 64)
    given = ("--labels", folder / "y.npy") if data == "d.npy" else ("--target", "species")
    loaded = nbs.SoftmaxModel.load(model)
    truth = np.searchsorted(SPECIES, y)
    losses = -loaded.predict_log_proba(X)[np.arange(300), truth]
    for weights, s in (((), np.ones(300)), (("--sample-weight", folder / "w.npy" if data == "d.npy" else "w"), weight)):
        assert run("evaluate", model, folder / data, *given, *weights, "--json") == 0
        found = json.loads(capsys.readouterr().out)
        assert found["samples"] == 300
        assert found["accuracy"] == pytest.approx(np.average(loaded.predict(X) == y, weights=s), rel=1e-14)
        assert found["log_loss"] == pytest.approx(np.average(losses, weights=s), rel=1e-12)
        counts = np.zeros((3, 3))
        np.add.at(counts, (truth, np.searchsorted(SPECIES, loaded.predict(X))), s)
        assert np.array_equal(found["confusion"], counts)


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("wrong", ["text", "", "inf"])
def test_an_error_in_a_later_block_names_its_line_and_what_was_written(model, many, capsys, wrong):
    folder, X, *_ = many
    lines = (folder / "d.csv").read_text(encoding="utf-8").splitlines()
    lines[281] = f"1,{wrong},setosa,1"
    (folder / "d.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "line 282" in refused(capsys, "predict", model, folder / "d.csv", "--out", folder / "out.csv")
    assert "line 282" in refused(capsys, "evaluate", model, folder / "d.csv", "--target", "species")
    assert not (folder / "out.csv").exists()
    assert not list(folder.glob(".nbsoftmax-*"))
    assert run("predict", model, folder / "d.csv") == 2
    out, err = capsys.readouterr()
    written = out.split()[1:]
    assert written == nbs.SoftmaxModel.load(model).predict(X).tolist()[: len(written)]
    assert "line 282" in err
    assert err.count("\n") == 1
    assert len(written) >= 64
    assert f"The first {len(written)} rows have been written" in err


@pytest.mark.usefixtures("short_blocks")
def test_labels_that_are_missing_in_a_later_block_are_refused_with_their_line(model, many, capsys):
    folder = many[0]
    lines = (folder / "d.csv").read_text(encoding="utf-8").splitlines()
    lines[200] = "1,2,,1"
    (folder / "d.csv").write_text("\n".join(lines), encoding="utf-8")
    assert "line 201 has no value in column 'species'" in refused(
        capsys, "evaluate", model, folder / "d.csv", "--target", "species"
    )
    table = parquet.read_table(folder / "d.parquet")
    species = table["species"].to_pylist()
    species[250] = None
    parquet.write_table(table.set_column(2, "species", pa.array(species)), folder / "d.parquet")
    assert "row 250 (counted from 0) has no value" in refused(
        capsys, "evaluate", model, folder / "d.parquet", "--target", "species"
    )


@pytest.mark.usefixtures("short_blocks")
def test_rows_that_must_be_read_again_are_written_once(model, many, capsys):
    folder, X, *_ = many
    expected = ["label", *nbs.SoftmaxModel.load(model).predict(X)]
    lines = (folder / "d.csv").read_text(encoding="utf-8").splitlines()
    lines[290] = "+" + lines[290].removeprefix("-")  # which pyarrow does not take
    (folder / "d.csv").write_text("\n".join(lines), encoding="utf-8")
    X[289, 0] = abs(X[289, 0])
    expected[290] = nbs.SoftmaxModel.load(model).predict(X[289:290])[0]
    for out in ((), ("--out", folder / "out.csv"), ("--out", folder / "out.parquet")):
        assert run("predict", model, folder / "d.csv", *out) == 0
    assert capsys.readouterr().out.split() == expected
    assert (folder / "out.csv").read_text().split() == expected
    assert parquet.read_table(folder / "out.parquet")["label"].to_pylist() == expected[1:]


@pytest.mark.usefixtures("short_blocks")
def test_a_number_that_is_missing_in_a_later_block_of_an_array_is_refused(model, many, capsys):
    folder, X, *_ = many
    X[130, 1] = np.nan
    np.save(folder / "d.npy", X)
    assert "in the rows from 128 on: X" in refused(
        capsys, "predict", model, folder / "d.npy", "--out", folder / "o.csv"
    )


@pytest.fixture
def parts(many):
    """The rows of `many` in a folder with files of 100, 0, 150 and 50 rows, CSV and Parquet; returns the folder."""
    folder = many[0] / "parts"
    folder.mkdir()
    header, *lines = (many[0] / "d.csv").read_text(encoding="utf-8").splitlines()
    table = parquet.read_table(many[0] / "d.parquet")
    (folder / "a.csv").write_text("\n".join([header, *lines[:100]]), encoding="utf-8")
    (folder / "b.csv").write_text(header + "\n", encoding="utf-8")
    parquet.write_table(table.slice(100, 150), folder / "c.parquet")
    (folder / "d.csv").write_text("\n".join([header, *lines[250:]]), encoding="utf-8")
    return folder


def named(folder, how):
    """The arguments that name the files of the folder."""
    return {"folder": [folder], "pattern": [folder / "*.*"], "files": sorted(folder.iterdir())}[how]


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("how", ["folder", "pattern", "files"])
def test_several_files_are_predicted_and_evaluated_as_one(model, many, parts, capsys, how):
    files = named(parts, how)
    for what in (("--id", "species", "--proba"), ("--top-k", 2), ("--json",)):
        assert run("predict", model, many[0] / "d.csv", *what) == 0
        whole = capsys.readouterr().out
        assert run("predict", model, *files, *what) == 0
        assert capsys.readouterr().out == whole
        assert run("predict", model, *files, *what, "--out", many[0] / "out") == 0
        assert (many[0] / "out").read_text(encoding="utf-8") == whole
    for name in ("whole", "several"):
        assert (
            run(
                "predict",
                model,
                *([many[0] / "d.csv"] if name == "whole" else files),
                "--out",
                many[0] / f"{name}.parquet",
            )
            == 0
        )
    assert parquet.read_table(many[0] / "several.parquet").equals(parquet.read_table(many[0] / "whole.parquet"))
    capsys.readouterr()
    for weights in ((), ("--sample-weight", "w")):
        found = []
        for data in ([many[0] / "d.csv"], files):
            assert run("evaluate", model, *data, "--target", "species", *weights, "--json") == 0
            found.append(json.loads(capsys.readouterr().out))
        assert found[1].pop("log_loss") == pytest.approx(found[0].pop("log_loss"), rel=1e-13)
        assert found[0] == found[1]


@pytest.mark.usefixtures("short_blocks")
@pytest.mark.parametrize("where", ["a.csv", "d.csv"])
def test_rows_of_one_of_several_files_that_must_be_read_again_are_written_once(model, parts, capsys, where):
    lines = (parts / where).read_text(encoding="utf-8").splitlines()
    lines[40] = "+" + lines[40].removeprefix("-")
    (parts / where).write_text("\n".join(lines), encoding="utf-8")
    expected = ["label"]
    for name in ("a.csv", "c.parquet", "d.csv"):
        assert run("predict", model, parts / name) == 0
        expected += capsys.readouterr().out.split()[1:]
    out = parts.parent / "o.csv"
    for options in ((), ("--out", out), ("--out", parts.parent / "o.parquet")):
        assert run("predict", model, parts, *options) == 0
    assert capsys.readouterr().out.split() == expected
    assert out.read_text(encoding="utf-8").split() == expected
    assert parquet.read_table(parts.parent / "o.parquet")["label"].to_pylist() == expected[1:]


def test_arrays_in_several_files_have_their_labels_and_weights_in_as_many(model, many, capsys):
    folder, X, y, weight = many
    for i, rows in enumerate((slice(0, 100), slice(100, 180), slice(180, 300))):
        for name, array in (("X", X), ("labels", y), ("weights", weight)):
            np.save(folder / f"{name}{i}.npy", array[rows])
    whole = "evaluate", model, folder / "d.npy", "--labels", folder / "y.npy", "--sample-weight", folder / "w.npy"
    assert run(*whole) == 0
    expected = capsys.readouterr().out
    beside = "--labels", folder / "labels*.npy", "--sample-weight", folder / "weights*.npy"
    assert run("evaluate", model, folder / "X*.npy", *beside) == 0
    assert capsys.readouterr().out == expected
    assert run("evaluate", model, *(folder / f"X{i}.npy" for i in range(3)), *beside) == 0
    assert capsys.readouterr().out == expected
    more = "evaluate", model, folder / "X0.npy", folder / "X1.npy", *beside
    assert "labels*.npy stands for 3 files, but there are 2 of features" in refused(capsys, *more)


@pytest.mark.parametrize("command", ["summary", "plot"])
def test_commands_that_read_one_file_say_so_of_a_folder_and_a_pattern(model, parts, tmp_path, capsys, command):
    for data in (parts, parts / "*.csv"):
        given = [model, data, "--target", "species"]
        if command == "plot":
            given = ["confusion", *given, "--out", tmp_path / "p.png"]
        assert "stands for several files, but this command reads one file" in refused(capsys, command, *given)


def test_mistakes_about_several_files_are_named(model, many, parts, capsys):
    given = "--target", "species"
    assert "there is no file" in refused(capsys, "predict", model, parts / "*.feather")
    assert "either" in refused(capsys, "predict", model, "-", parts / "a.csv")
    assert "would be overwritten" in refused(capsys, "predict", model, parts, "--out", parts / "c.parquet")
    assert "b.csv has a header, but no lines" in refused(capsys, "evaluate", model, parts / "b.csv", *given)
    assert "b.csv has a header, but no lines" in refused(
        capsys, "evaluate", model, parts / "b.csv", parts / "b.csv", *given
    )
    npy = many[0] / "d.npy"
    several = "evaluate", model, npy, npy, "--labels", many[0] / "y.npy"
    assert "y.npy stands for 1 file, but there are 2 of features" in refused(capsys, *several)
    (many[0] / "a.svm").write_text("0 1:0.5 2:1\n1 1:1 2:2\n", encoding="utf-8")
    svm = "evaluate", model, many[0] / "a.svm", many[0] / "a.svm", "--sample-weight", many[0] / "w.npy"
    assert "--sample-weight" in (said := refused(capsys, *svm)) and "w.npy stands for 1 file, but" in said
    (parts / "d.csv").write_text("length,width,species\n1,2,setosa\n1,x,setosa\n", encoding="utf-8")
    assert "d.csv line 3 has 'x' in column 'width'" in refused(capsys, "evaluate", model, parts, *given)
    assert run("predict", model, parts) == 2
    out, err = capsys.readouterr()
    assert len(out.split()) == 1 + 250 + err.count("first 251 rows") and "d.csv line 3" in err


def test_hidden_folders_are_no_data(model, many, parts, capsys):
    for name in (".ipynb_checkpoints", "_temporary", "_part=2"):
        (parts / name).mkdir()
        (parts / name / "a.csv").write_text((parts / "a.csv").read_text(encoding="utf-8"), encoding="utf-8")
    assert run("evaluate", model, parts, "--target", "species", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 400  # the 300, and the 100 of _part=2


IDS = {
    "nanoseconds": pa.array([1_000_000_123, 2], pa.timestamp("ns")),
    "durations": pa.array([3, 4], pa.duration("ns")),
    "large": pa.array([2**63 + 1, 5], pa.uint64()),
    "integers": pa.array([1, 2]),
    "text": pa.array(["007", "8"]),
    "booleans": pa.array([True, False]),
    "zones": pa.array([1, 2], pa.timestamp("us", "UTC")),
    "times": pa.array([1, 2], pa.timestamp("us")),
    "missing": pa.array([None, None], pa.int64()),
}


@pytest.mark.parametrize("first", IDS)
@pytest.mark.parametrize("second", IDS)
def test_columns_of_ids_keep_their_values_in_parquet_or_are_refused(model, tmp_path, capsys, first, second):
    files = tmp_path / "1.parquet", tmp_path / "2.parquet"
    for path, name in zip(files, (first, second), strict=True):
        parquet.write_table(pa.table({"length": [1.0, 2.0], "width": [0.5, 1.0], "id": IDS[name]}), path)
    out = tmp_path / "out.parquet"
    code = run("predict", model, *files, "--id", "id", "--out", out)
    error = capsys.readouterr().err
    if code == 0:
        found = parquet.read_table(out)["id"].to_pylist()
        assert found == [*IDS[first].to_pylist(), *IDS[second].to_pylist()]
    else:
        assert first != second
        assert "which a Parquet file cannot hold" in error
        assert error.count("\n") == 1
        assert not out.exists()
