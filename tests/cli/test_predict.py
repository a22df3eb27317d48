"""The command `predict`: labels, probabilities and how they are written."""

import datetime
import io
import json
import sys
from decimal import Decimal

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from nbsoftmax.cli.prediction_files import output_of
from tests.cli.commands import refused, run


def test_predict_writes_labels_probabilities_and_the_most_probable(flowers, model, tmp_path, capsys):
    path, X, _ = flowers
    loaded = nbs.SoftmaxModel.load(model)
    assert run("predict", model, path) == 0
    assert capsys.readouterr().out.splitlines() == ["label", *loaded.predict(X)]
    assert run("predict", model, path, "--proba", "--out", tmp_path / "p.csv") == 0
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "label,proba_setosa,proba_versicolor,proba_virginica"
    assert np.array_equal([[float(f) for f in line.split(",")[1:]] for line in lines[1:]], loaded.predict_proba(X))
    assert run("predict", model, path, "--top-k", 2) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "label_1,proba_1,label_2,proba_2"
    labels, proba = loaded.top_k(X, 2)
    assert lines[1] == f"{labels[0, 0]},{proba[0, 0]},{labels[0, 1]},{proba[0, 1]}"


def test_more_labels_than_classes_are_refused_before_the_data_are_read(model, tmp_path, capsys):
    for k in (0, -1, 4, 10**12):
        said = refused(capsys, "predict", model, tmp_path / "none.csv", "--top-k", k)
        assert f"--top-k is {k}, expected 1 to 3" in said


def test_ids_of_any_type_are_written(tmp_path, capsys):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    nbs.SoftmaxModel([[1.0], [-1.0]], [0, 0], ["a", "b"], ["x"]).save(tmp_path / "m.npz")
    ids = {"day": [datetime.date(2026, 1, 2)], "cost": [Decimal("1.50")], "key": [b"k"]}
    parquet.write_table(pa.table({"x": [1.0], **ids}), tmp_path / "d.parquet")
    assert run("predict", tmp_path / "m.npz", tmp_path / "d.parquet", "--id", ",".join(ids), "--json") == 0
    said = json.loads(capsys.readouterr().out)
    assert said == {"day": "2026-01-02", "cost": "1.50", "key": "b'k'", "label": "a"}


@pytest.mark.parametrize(
    ("first", "then", "refuses"), [(None, "text", True), (1, 1.5, True), (1.5, 2.0, False), ("text", None, False)]
)
def test_ids_of_several_types_in_a_parquet_file(tmp_path, first, then, refuses):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out.parquet"

    def write():
        with output_of(out, ["key"], as_json=False) as output:
            output.begin()
            for value in (first, then):
                output.write([np.array([value], object)])
            output.end()

    if refuses:
        with pytest.raises(nbs.InputValueError, match="the column 'key' is"):
            write()
        assert not out.exists()
    else:
        write()
        assert parquet.read_table(out)["key"].to_pylist() == [first, then]


def test_labels_of_a_part_that_look_like_numbers_are_still_the_models(tmp_path, capsys):
    rng = np.random.default_rng(0)
    rows = [f"{x:.3f},{label}" for label in ("1", "2", "a") for x in rng.normal(size=10)]
    whole, part = tmp_path / "whole.csv", tmp_path / "part.csv"
    whole.write_text("\n".join(["x,y", *rows]), encoding="utf-8")
    part.write_text("\n".join(["x,y", *rows[:20]]), encoding="utf-8")
    assert run("fit", whole, "--target", "y", "--out", tmp_path / "m.npz", "--l2", 0.1, "--quiet") == 0
    assert run("evaluate", tmp_path / "m.npz", part, "--target", "y") == 0
    assert "samples:  20" in capsys.readouterr().out


def test_labels_with_a_fraction_are_taken_where_the_model_knows_them(tmp_path, capsys):
    nbs.SoftmaxModel([[1.0], [-1.0], [0.0]], [0, 0, 0], ["1.5", "2.5", "NA"], ["x"]).save(tmp_path / "m.npz")
    (tmp_path / "d.csv").write_text("x,version\n3,1.5\n-3,2.5\n0,NA\n")
    assert run("evaluate", tmp_path / "m.npz", tmp_path / "d.csv", "--target", "version", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == 3


def test_labels_that_standard_output_cannot_show(tmp_path, capsys, monkeypatch):
    terminal = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", terminal)
    model, data = tmp_path / "m.npz", tmp_path / "d.csv"
    nbs.SoftmaxModel([[1.0], [-1.0]], [0, 0], ["plain", "\u0142\u00f3d\u017a"], ["x"]).save(model)
    data.write_text("x,y\n2,plain\n-2,\u0142\u00f3d\u017a\n", encoding="utf-8")
    assert run("predict", model, data) == 2  # a table with other labels would be wrong
    assert terminal.buffer.getvalue() == b""
    assert "--out FILE" in capsys.readouterr().err
    assert run("predict", model, data, "--out", tmp_path / "labels.csv") == 0
    assert (tmp_path / "labels.csv").read_text(encoding="utf-8").split() == ["label", "plain", "\u0142\u00f3d\u017a"]
    for arguments in (("inspect", model), ("evaluate", model, data, "--target", "y")):
        assert run(*arguments) == 0
    assert "\\u0142\\xf3d\\u017a" in terminal.buffer.getvalue().decode()


def test_texts_that_standard_output_cannot_show_are_named(model, flowers, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    header, *rows = flowers[0].read_text(encoding="utf-8").splitlines()
    data = tmp_path / "d.csv"
    for name, texts, expected in (
        ("\u5b63", "ab", "is cp1252, which cannot encode '\\u5b63' in '\\u5b63'; write to"),
        ("id", "\u0142b", "is cp1252, which cannot encode '\\u0142' in a column of --id; "),
    ):
        lines = [f"{header},{name}", *(f"{row},{texts[i % 2]}" for i, row in enumerate(rows))]
        data.write_text("\n".join(lines), encoding="utf-8")
        assert run("predict", model, data, "--id", name) == 2
        assert expected in capsys.readouterr().err


@pytest.mark.parametrize("options", [[], ["--proba"], ["--top-k", 2], ["--id", "petal length"]])
@pytest.mark.parametrize("end", ["csv", "parquet"])
def test_files_without_rows_have_an_output_without_rows(flowers, model, tmp_path, capsys, options, end):
    pa, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    header, row, *_ = flowers[0].read_text().splitlines()
    options = [header.split(",")[0] if option == "petal length" else option for option in options]
    empty, full = tmp_path / f"empty.{end}", tmp_path / "full.csv"
    full.write_text(f"{header}\n{row}\n")
    if end == "csv":
        empty.write_text(f"{header}\n")
    else:
        parquet.write_table(pa.table({name: pa.array([], pa.float64()) for name in header.split(",")}), empty)
    assert run("predict", model, full, *options) == 0
    expected = capsys.readouterr().out.splitlines()[:1]
    assert run("predict", model, empty, *options) == 0
    assert capsys.readouterr().out.splitlines() == expected
    assert run("predict", model, empty, empty, *options, "--json") == 0
    assert capsys.readouterr().out == ""
    assert run("predict", model, full, *options, "--out", tmp_path / "full.parquet") == 0
    assert run("predict", model, empty, *options, "--out", tmp_path / "none.parquet") == 0
    found, other = (parquet.read_table(tmp_path / f"{name}.parquet") for name in ("none", "full"))
    assert (found.num_rows, found.column_names) == (0, other.column_names)
    n_ids = options.count("--id")
    assert found.schema.types[n_ids:] == other.schema.types[n_ids:]
    assert "expected at least one sample" in refused(capsys, "evaluate", model, empty, "--target", "species")


@pytest.mark.parametrize("options", [[], ["--proba"], ["--top-k", 2]])
@pytest.mark.parametrize("form", ["npy", "npz", "npz with labels", "sparse npz"])
def test_arrays_without_rows_have_an_output_without_rows(flowers, model, tmp_path, capsys, options, form):
    parquet = pytest.importorskip("pyarrow.parquet")
    _, X, y = flowers
    for name, n in (("none", 0), ("full", len(X))):
        path = tmp_path / f"{name}.{'npy' if form == 'npy' else 'npz'}"
        if form == "npy":
            np.save(path, X[:n])
        elif form == "sparse npz":
            sparse.save_npz(path, sparse.csr_array(X[:n]))
        else:
            np.savez(path, X=X[:n], **({"y": y[:n]} if "labels" in form else {}))
        assert run("predict", model, path, *options) == 0
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 1 + n
        assert run("predict", model, path, *options, "--out", tmp_path / f"{name}.parquet") == 0
        assert run("predict", model, path, path, *options, "--json") == 0
        assert len(capsys.readouterr().out.splitlines()) == 2 * n
    found, other = (parquet.read_schema(tmp_path / f"{name}.parquet") for name in ("none", "full"))
    assert (found.names, found.types) == (other.names, other.types)
    assert found.names == lines[0].split(",")


@pytest.mark.parametrize("shape", [(0, 3), (0, 0), (0,)])
def test_an_array_without_rows_needs_the_features_of_the_model(model, tmp_path, capsys, shape):
    np.save(tmp_path / "d.npy", np.empty(shape))
    assert "feature" in refused(capsys, "predict", model, tmp_path / "d.npy", "--out", tmp_path / "labels.csv")
    assert not (tmp_path / "labels.csv").exists()


def test_a_file_without_rows_needs_the_columns_of_the_model(model, tmp_path, capsys):
    (tmp_path / "d.csv").write_text("other\n")
    assert "column" in refused(capsys, "predict", model, tmp_path / "d.csv")


@pytest.mark.parametrize(
    ("name", "options"),
    [*((name, []) for name in ("p.npy", "p.csv.gz", "p.XLSX", "p.tsv", "p.json", "p.JSONL")), ("p.csv", ["--json"])],
)
def test_predictions_are_not_written_under_a_name_of_another_format(flowers, model, tmp_path, capsys, name, options):
    said = refused(capsys, "predict", model, flowers[0], "--out", tmp_path / name, *options)
    assert f"ends in {(tmp_path / name).suffix.lower()}" in said
    assert not (tmp_path / name).exists()
