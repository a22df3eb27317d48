"""The command `inspect`."""

import json

import numpy as np

import nbsoftmax as nbs
from tests.cli.commands import run


def test_inspect_says_what_is_in_a_model(model, tmp_path, capsys):
    assert run("inspect", model) == 0
    out = capsys.readouterr().out
    for word in (
        "classes:  3 (setosa, versicolor, virginica)",
        "features: 2, 0 of them",
        "newton-cg",
        "length",
        "0.01",
    ):
        assert word in out
    assert run("inspect", model, "--json", "--top", 1) == 0
    facts = json.loads(capsys.readouterr().out)
    loaded = nbs.SoftmaxModel.load(model)
    assert facts["training"]["n_samples"] == 90
    j = int(np.abs(loaded.coef[0]).argmax())
    assert facts["largest_weights"]["setosa"] == [{"feature": ("length", "width")[j], "weight": loaded.coef[0, j]}]
    nbs.SoftmaxModel([[1.0], [2.0]], [0, 0], [0, 1]).save(tmp_path / "bare.npz")
    assert run("inspect", tmp_path / "bare.npz") == 0
    assert "how it was trained" not in capsys.readouterr().out


def test_inspect_shows_a_model_whose_training_metadata_are_empty(tmp_path, capsys):
    nbs.SoftmaxModel([[1.0], [2.0]], [0, 0], [0, 1], training={}).save(tmp_path / "bare.npz")
    assert run("inspect", tmp_path / "bare.npz") == 0
    assert "how it was trained" not in capsys.readouterr().out
