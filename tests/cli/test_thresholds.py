"""The option --thresholds of `predict` and `evaluate`."""

import json

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import refused, run


@pytest.mark.parametrize("text", ["virginica=0.2, setosa=0.5", "0.5,1,0.2"])
def test_labels_are_predicted_and_scored_by_the_thresholds(flowers, model, capsys, text):
    path, X, y = flowers
    loaded = nbs.SoftmaxModel.load(model)
    t = [0.5, 1, 0.2]
    expected = loaded.predict(X, thresholds=t)
    assert (expected != loaded.predict(X)).any()
    assert run("predict", model, path, "--thresholds", text) == 0
    assert capsys.readouterr().out.splitlines() == ["label", *expected]
    assert run("predict", model, path, "--proba", "--thresholds", text) == 0
    rows = [line.split(",") for line in capsys.readouterr().out.splitlines()[1:]]
    assert [row[0] for row in rows] == list(expected)
    assert np.array_equal([[float(f) for f in row[1:]] for row in rows], loaded.predict_proba(X))
    assert run("predict", model, path, "--top-k", 1, "--thresholds", text) == 0
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines()[1:]] == list(expected)
    assert run("evaluate", model, path, "--target", "species", "--thresholds", text, "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == loaded.score(X, y, thresholds=t)


def test_labels_with_commas_and_equals_signs(tmp_path, capsys):
    nbs.SoftmaxModel([[1.0], [-1.0]], [0, 0], ["a=1,b", "c"], ["x"]).save(tmp_path / "m.npz")
    (tmp_path / "d.csv").write_text("x\n0.1\n-0.1\n-3\n")
    assert run("predict", tmp_path / "m.npz", tmp_path / "d.csv", "--thresholds", '"a=1,b=0.2"') == 0
    assert capsys.readouterr().out.splitlines() == ["label", '"a=1,b"', '"a=1,b"', "c"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("0.5,0.5", "--thresholds has shape (2,)"),
        ("rose=0.5", "rose=0.5"),
        ("setosa=x", "setosa=x"),
        ("setosa=0.1,setosa=0.2", "twice"),
        ("setosa=0,virginica=0", "only one class"),
        ("setosa=0.1,0.5", "LABEL=NUMBER"),
        ("", "shape (0,)"),
        ("setosa=nan", "setosa"),
    ],
)
def test_thresholds_that_cannot_be_used_are_refused(flowers, model, capsys, text, said):
    assert said in refused(capsys, "predict", model, flowers[0], "--thresholds", text)


def test_classes_of_truth_values_are_named_as_the_file_has_them(tmp_path, capsys):
    path, model = tmp_path / "d.csv", tmp_path / "m.npz"
    x, y = np.round(np.random.default_rng(0).normal(size=(60, 1)), 3), np.arange(60) % 3 == 0
    nbs.Trainer().fit(x, y).model.save(model)
    path.write_text(
        "x,y\n" + "".join(f"{value},{str(label).lower()}\n" for value, label in zip(x[:, 0], y, strict=True))
    )
    for text in ("true", "True"):
        assert run("evaluate", model, path, "--target", "y", "--thresholds", f"{text}=0.1") == 0
        assert run("summary", model, path, "--target", "y", "--reference", text) == 0


@pytest.mark.parametrize("order", [(0, 1, 0), (0, 0, 1), (1, 0, 0)])
def test_files_without_rows_may_be_anywhere_among_several(flowers, model, tmp_path, capsys, order):
    path, X, _ = flowers
    empty = tmp_path / "empty.csv"
    empty.write_text("length,width,species\n")
    assert run("evaluate", model, *((empty, path)[i] for i in order), "--target", "species", "--json") == 0
    assert json.loads(capsys.readouterr().out)["samples"] == len(X)
    assert "no lines below it" in refused(capsys, "evaluate", model, empty, empty, "--target", "species")
