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
        ("0.5,0.5", "shape (2,)"),
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
