"""`fit` of files that are read block by block: the model is that of all rows in memory."""

import json
import os

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.validation import size
from tests.cli.commands import SPECIES, refused, run

pa = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def parts(tmp_path):
    """Three files of one table in a folder; returns (folder, X, labels, weights)."""
    rng = np.random.default_rng(5)
    y = rng.integers(0, 3, 300)
    X = np.round(rng.normal(size=(300, 2)) + y[:, None], 3)
    weight = rng.integers(1, 4, 300).astype(float)
    (tmp_path / "train").mkdir()
    for i in range(3):
        rows = slice(100 * i, 100 * i + 100)
        table = {"id": np.arange(100), "length": X[rows, 0], "width": X[rows, 1]}
        table |= {"species": SPECIES[y[rows]], "w": weight[rows]}
        parquet.write_table(pa.table(table), tmp_path / "train" / f"{i}.parquet")
    return tmp_path / "train", X, SPECIES[y], weight


def saved(path, expected):
    model = nbs.SoftmaxModel.load(path)
    assert model.feature_names == ("length", "width")
    assert model.classes.tolist() == SPECIES.tolist()
    assert np.allclose(model.coef, expected.coef, atol=1e-6)
    return model


@pytest.mark.parametrize("given", ["folder", "pattern", "files"])
def test_several_files_are_fitted_as_one_table_in_memory(parts, tmp_path, capsys, given):
    folder, X, y, weight = parts
    files = sorted(folder.iterdir())
    data = {"folder": [folder], "pattern": [folder / "*.parquet"], "files": files}[given]
    out = tmp_path / "m.npz"
    options = "--target", "species", "--sample-weight", "w", "--drop", "id", "--C", 0.5, "--tol", 1e-12
    assert run("fit", *data, *options, "--out", out, "--quiet", "--class-weight", "balanced", "--json") == 0
    counts = np.array([weight[y == name].sum() for name in SPECIES])
    by_class = weight.sum() / (3 * counts)
    l2 = 1 / (0.5 * (weight * by_class[np.searchsorted(SPECIES, y)]).sum())
    expected = nbs.Trainer(l2=l2, tol=1e-12, class_weight="balanced").fit(X, y, sample_weight=weight)
    saved(out, expected.model)
    assert json.loads(capsys.readouterr().out)["objective"] == pytest.approx(expected.objective, rel=1e-12)


def test_text_is_streamed_as_it_is_written(flowers, tmp_path, capsys):
    path, X, y = flowers
    text = path.read_text(encoding="utf-8").replace(",", ";").replace(".", ",")
    data, out = tmp_path / "d.csv", tmp_path / "m.npz"
    data.write_text(text, encoding="utf-16")
    fit = "fit", data, "--target", "species", "--out", out, "--stream", "--l2", 0.01, "--tol", 1e-12
    assert run(*fit, "--cache", tmp_path / "copies", "--batch-rows", 20) == 0
    saved(out, nbs.Trainer(l2=0.01, tol=1e-12).fit(X, y).model)
    assert list((tmp_path / "copies").iterdir())
    assert "before the first iteration" in capsys.readouterr().err


def test_arrays_are_streamed_and_a_fit_is_resumed(flowers, tmp_path, capsys):
    _, X, y = flowers
    np.save(tmp_path / "X.npy", X)
    np.save(tmp_path / "y.npy", y)
    out, checkpoint = tmp_path / "m.npz", tmp_path / "c.npz"
    fit = "fit", tmp_path / "X.npy", "--labels", tmp_path / "y.npy", "--stream", "--out", out, "--l2", 0.01, "--quiet"
    assert run(*fit) == 0
    whole = nbs.SoftmaxModel.load(out)
    assert run(*fit, "--checkpoint", checkpoint, "--max-iter", 2) == 1
    assert run(*fit, "--checkpoint", checkpoint, "--resume") == 0
    assert np.array_equal(nbs.SoftmaxModel.load(out).coef, whole.coef)
    capsys.readouterr()


def test_validation_data_are_a_file_in_memory_and_streamed(parts, flowers, tmp_path, capsys):
    _, X, y, _ = parts
    path, X_new, y_new = flowers
    held = tmp_path / "held.parquet"
    parquet.write_table(pa.table({"length": X_new[:, 0], "width": X_new[:, 1], "species": y_new}), held)
    whole = tmp_path / "whole.csv"
    rows = (f"{a},{b},{label}" for (a, b), label in zip(X, y, strict=True))
    whole.write_text("\n".join(["length,width,species", *rows]), encoding="utf-8")
    expected = nbs.Trainer(l2=0.1).fit(X, y, validation_data=(X_new, y_new)).history["validation_loss"][-1]
    options = "--target", "species", "--out", tmp_path / "m.npz", "--l2", 0.1, "--quiet", "--json"
    for extra in (("--validation-data", held), ("--validation-data", path, "--stream")):
        assert run("fit", whole, *options, *extra) == 0
        found = json.loads(capsys.readouterr().out)["validation_loss"]
        assert found == pytest.approx(expected, rel=1e-5)
    assert "--validation-data FILE" in refused(capsys, "fit", whole, *options, "--stream", "--validation", 0.2)
    assert "give one" in refused(capsys, "fit", whole, *options, "--validation", 0.2, "--validation-data", held)


def test_a_large_file_is_streamed_without_being_asked_for(parts, tmp_path, capsys, monkeypatch):
    folder, *_ = parts
    data, out = folder / "0.parquet", tmp_path / "m.npz"
    fit = "fit", data, "--target", "species", "--drop", "id", "--out", out, "--l2", 0.1
    assert run(*fit) == 0
    assert "block by block" not in capsys.readouterr().err
    monkeypatch.setattr(size, "machine_memory", lambda: 1)
    assert run(*fit, "--max-iter", 50) == 0
    assert f"{data} takes more than half of the memory, so it is read block by block" in capsys.readouterr().err


def test_what_cannot_be_streamed_is_refused_in_one_line(parts, flowers, tmp_path, capsys):
    folder, X, y, _ = parts
    np.savez(tmp_path / "d.npz", X=X, y=y)
    options = "--target", "species", "--out", tmp_path / "m.npz", "--quiet"
    fit = "fit", folder
    assert "(did you mean 'species'?)" in refused(capsys, *fit, "--target", "Species", *options[2:])
    assert "name the column of labels with --target NAME" in refused(capsys, *fit, *options[2:])
    assert "has no column 'none' to drop" in refused(capsys, *fit, *options, "--drop", "none")
    assert "--device is 'cuda', but blocks" in refused(capsys, *fit, *options, "--drop", "id", "--device", "cuda")
    assert "there is no file" in refused(capsys, "fit", tmp_path / "*.arrow", *options)
    assert "cannot be read block by block (npz)" in refused(
        capsys, "fit", tmp_path / "d.npz", "--stream", "--out", tmp_path / "m.npz"
    )
    assert "can be read only once" in refused(capsys, "fit", "-", "--stream", *options)
    assert "--batch-rows is for data" in refused(capsys, "fit", flowers[0], *options, "--batch-rows", 10)
    given = "fit", folder / "0.parquet", folder / "1.parquet", "--target", "species", "--out", folder / "1.parquet"
    assert "is given twice" in refused(capsys, *given)


def test_text_files_with_other_headers_are_refused(tmp_path, capsys):
    rows = [f"{i / 7},{i % 5},{'pq'[i % 2]}" for i in range(30)]
    (tmp_path / "a.csv").write_text("\n".join(["length,width,kind", *rows]))
    (tmp_path / "b.csv").write_text("\n".join(["width,length,kind", *rows]))
    (tmp_path / "c.csv").write_text("\n".join(["", "length,width,kind", *rows]))
    options = "--target", "kind", "--out", tmp_path / "m.npz", "--quiet"
    for other in ("b.csv", "c.csv"):
        said = refused(capsys, "fit", tmp_path / "a.csv", tmp_path / other, *options)
        assert f"{other} has the columns" in said
        assert "give files with the same header, in the same order" in said
    np.save(tmp_path / "d.npy", np.zeros((3, 2)))
    said = refused(capsys, "fit", tmp_path / "a.csv", tmp_path / "d.npy", *options)
    assert f"d.npy is of the format npy, but {tmp_path / 'a.csv'} is text of columns; give files of one" in said
    parquet.write_table(pa.table({"length": [1.0], "width": [2.0], "kind": ["p"]}), tmp_path / "e.parquet")
    for one, other, what in (("e.parquet", "a.csv", "text of columns"), ("a.csv", "e.parquet", "a Parquet file")):
        said = refused(capsys, "fit", tmp_path / one, tmp_path / other, *options)
        assert f"{other} is {what}, but {tmp_path / one} is " in said
    (tmp_path / "b.csv").write_text("\n".join(["length,width,kind", *rows]))
    assert run("fit", tmp_path / "a.csv", tmp_path / "b.csv", *options) == 0


def test_cv_of_a_folder_leaves_a_column_of_text_without_penalty(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("a.csv", "b.csv"):
        rows = [f"{x:.3f},{rng.choice(['n', 's'])},{rng.choice(['p', 'q'])}" for x in rng.normal(size=60)]
        (tmp_path / name).write_text("\n".join(["length,island,kind", *rows]))
    assert (
        run("cv", tmp_path / "*.csv", "--target", "kind", "--unpenalised", "island", "--Cs", 1, 10, "--folds", 3) == 0
    )


def test_cv_of_a_folder_is_that_of_its_source(parts, tmp_path, capsys):
    folder = parts[0]
    options = "--target", "species", "--Cs", 0.1, 10, "--folds", 3
    assert run("cv", folder, *options, "--json", "--out", tmp_path / "m.npz") == 0
    said = json.loads(capsys.readouterr().out)
    found = nbs.cross_validate(
        nbs.data.open(folder, target="species", features=["length", "width", "w"]), Cs=[0.1, 10], folds=3
    )
    np.testing.assert_allclose(said["log_loss"], found.log_loss, rtol=1e-9)
    saved = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    assert saved.feature_names == found.result.model.feature_names is not None


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("command", ["fit", "cv"])
def test_the_first_of_several_files_may_have_no_rows(kind, command, tmp_path):
    csv = pytest.importorskip("pyarrow.csv")
    rng = np.random.default_rng(0)
    table = pa.table({"x": rng.normal(size=60), "g": ["u", "v", "w"] * 20, "y": ["a", "b"] * 30})
    (tmp_path / "data").mkdir()
    for i, part in enumerate((table[:0], table[:0], table[:30], table[30:40], table[:0], table[40:])):
        path = tmp_path / "data" / f"{i}.{kind}"
        parquet.write_table(part, path) if kind == "parquet" else csv.write_csv(part, path)
    assert run(command, tmp_path / "data", "--target", "y", "--out", tmp_path / "m.npz") == 0
    assert nbs.SoftmaxModel.load(tmp_path / "m.npz").classes.tolist() == ["a", "b"]
    source = nbs.data.open(tmp_path / "data", target="y", table=nbs.TableOptions())
    assert np.concatenate([np.asarray(block.y) for block in source.blocks()]).tolist() == ["a", "b"] * 30


def test_files_without_any_row_are_refused(tmp_path, capsys):
    for i in range(2):
        (tmp_path / f"{i}.csv").write_text("x,y\n")
    assert "has a header, but no lines below it" in refused(
        capsys, "fit", tmp_path / "0.csv", tmp_path / "1.csv", "--target", "y", "--out", tmp_path / "m.npz"
    )


def test_text_files_of_other_forms_and_a_useless_cache_are_refused(tmp_path, capsys):
    (tmp_path / "0.csv").write_text("x,z,y\n1,2,a\n2,3,b\n")
    (tmp_path / "1.csv").write_text("x;z;y\n1;2;a\n2;3;b\n")
    out = "--out", tmp_path / "m.npz"
    other = refused(capsys, "fit", tmp_path / "0.csv", tmp_path / "1.csv", "--target", "y", *out)
    assert "has the separator ';', but" in other
    np.save(tmp_path / "X.npy", np.eye(4))
    np.save(tmp_path / "y.npy", [0, 1, 0, 1])
    given = "fit", tmp_path / "X.npy", "--labels", tmp_path / "y.npy", "--stream", "--cache", tmp_path / "c", *out
    assert "--cache is for files that must be decoded" in refused(capsys, *given)
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        given = "fit", tmp_path / "X.npy", "--labels", tmp_path / "y.npy", "--stream", "--cache", folder, *out
        assert f"--cache is the folder for a copy of the rows, but {tmp_path / 'file'} is a file" in refused(
            capsys, *given
        )


@pytest.mark.parametrize("kind", ["parquet", "csv"])
@pytest.mark.parametrize("command", ["fit", "cv", "predict", "evaluate"])
def test_an_empty_file_and_a_pipe_among_others_are_refused_by_name(parts, tmp_path, capsys, command, kind):
    from pyarrow import csv

    table = parquet.read_table(next(parts[0].iterdir()))
    (tmp_path / "in").mkdir()
    first, odd = tmp_path / "in" / f"a.{kind}", tmp_path / "in" / f"b.{kind}"
    (csv.write_csv if kind == "csv" else parquet.write_table)(table, first)
    options = "--target", "species", "--out", tmp_path / "m.npz"
    assert run("fit", first, *options, "--quiet") == 0
    capsys.readouterr()
    given = {
        "fit": ("fit", tmp_path / "in", *options),
        "cv": ("cv", tmp_path / "in", *options),
        "predict": ("predict", tmp_path / "m.npz", first, odd),
        "evaluate": ("evaluate", tmp_path / "m.npz", tmp_path / "in", "--target", "species"),
    }[command]
    odd.touch()
    assert f"{odd} is empty (0 bytes)" in refused(capsys, *given)
    odd.unlink()
    if hasattr(os, "mkfifo"):
        os.mkfifo(odd)
        assert f"{odd} is a pipe" in refused(capsys, *given)


@pytest.mark.parametrize("command", ["fit", "cv"])
def test_labels_that_are_whole_floats_become_integers(command, tmp_path):
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    for i in range(2):
        table = pa.table({"x": rng.normal(size=60), "y": np.tile([0.0, 1.0, 7.0], 20)})
        parquet.write_table(table, tmp_path / "data" / f"{i}.parquet")
    assert run(command, tmp_path / "data", "--target", "y", "--out", tmp_path / "m.npz") == 0
    classes = nbs.SoftmaxModel.load(tmp_path / "m.npz").classes
    assert classes.tolist() == [0, 1, 7]
    assert classes.dtype == np.int64


@pytest.mark.parametrize("first", ["", "0.5", "true", "2024-05-01"])
def test_a_text_in_a_column_without_text_before_is_refused_by_its_column(tmp_path, capsys, monkeypatch, first):
    from nbsoftmax.data import dialect

    monkeypatch.setattr(dialect, "BLOCK", 2048)
    data, out = tmp_path / "d.csv", tmp_path / "m.npz"
    lines = [f"{i},{first},{'ab'[i % 2]}" for i in range(500)]
    data.write_text("\n".join(["x,note,y", *lines, "1,late,a", ""]), encoding="utf-8")
    given = "fit", data, "--target", "y", "--stream", "--out", out, "--missing", "mean", "--dates", "parts"
    error = refused(capsys, *given, "--quiet", "--features", "x,note")
    assert "d.csv line 502 has 'late' in column 'note', whose first rows have no text" in error
    assert run(*given, "--quiet", "--features", "x,note", "--categorical", "note") == 0
    assert "note[late]" in nbs.SoftmaxModel.load(out).feature_names
