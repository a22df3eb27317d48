"""The command `demo`."""

import os
import sys

import nbsoftmax as nbs
from tests.cli.commands import in_a_process, run


def test_demo_reaches_its_accuracy_and_says_where_things_are(tmp_path, capsys):
    assert run("demo", "--out", tmp_path) == 0
    out = capsys.readouterr().out
    accuracy = float(next(line.split()[-1] for line in out.splitlines() if line.startswith("held-out accuracy")))
    assert accuracy >= 0.95
    assert "held-out log-loss: 0." in out
    assert nbs.SoftmaxModel.load(tmp_path / "digits-model.npz").n_classes == 10
    picture = tmp_path / "digits-model.png"
    assert picture.exists() == (f"picture: {picture}" in out)


def test_demo_without_matplotlib_says_how_to_get_the_picture(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    monkeypatch.setitem(sys.modules, "matplotlib.backends.backend_agg", None)
    assert run("demo", "--out", tmp_path) == 0
    assert 'pip install "nbsoftmax[plot]"' in capsys.readouterr().out


def test_the_demo_runs_in_a_real_process(tmp_path):
    done = in_a_process("demo", cwd=tmp_path, env=os.environ)
    assert done.returncode == 0
    assert "held-out accuracy: 0.9" in done.stdout
    assert (tmp_path / "digits-model.npz").exists()
