"""Outputs of commands that cannot be written, or that would replace another file of the command."""

import os
import stat

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import run
from tests.files.written import a_model, data, full, linux, null_device


@pytest.fixture
def table(tmp_path):
    X, y = data()
    path = tmp_path / "d.csv"
    path.write_text("\n".join(["a,b,c", *(f"{r[0]},{r[1]},{k}" for r, k in zip(X, y, strict=True))]))
    return path


@pytest.fixture
def model(tmp_path):
    a_model(names=["a", "b"]).save(tmp_path / "model.npz")
    return tmp_path / "model.npz"


def fit(table, out, *options):
    return run("fit", table, "--target", "c", "--l2", 0.1, "--quiet", "--out", out, *options)


def test_the_model_of_a_fit_is_kept_where_out_cannot_be_written(table, tmp_path, capsys, monkeypatch):
    out, kept = tmp_path / "m.npz", tmp_path / "kept"
    out.write_bytes(b"old")
    kept.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(kept))
    whole = nbs.SoftmaxModel.save
    monkeypatch.setattr(nbs.SoftmaxModel, "save", lambda self, path: full() if path == out else whole(self, path))
    assert fit(table, out) == 1
    said, err = capsys.readouterr()
    (name,) = kept.iterdir()
    assert f"model: {name}" in said
    assert err == f"nbsoftmax: No space left on device; the model is saved in {name}\n"
    assert nbs.SoftmaxModel.load(name).n_classes == 2
    assert out.read_bytes() == b"old"


def test_a_model_that_nothing_can_hold_is_said_to_be_lost(table, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    before = sorted(os.listdir(tmp_path))
    monkeypatch.setattr(nbs.SoftmaxModel, "save", full)
    for command in ("fit", "cv"):
        options = ("--l2", 0.1, "--quiet") if command == "fit" else ("--Cs", 1, "--folds", 2)
        assert run(command, table, "--target", "c", "--out", tmp_path / "m.npz", *options) == 1
        out, err = capsys.readouterr()
        assert "the model is lost" in err
        assert "converged after" in out
        assert "model:" not in out
    assert sorted(os.listdir(tmp_path)) == before


def test_a_full_disk_is_one_line_and_exit_1_and_old_files_stay(table, model, tmp_path, capsys, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("matplotlib")
    outs = {name: tmp_path / name for name in ("p.csv", "p.png", "m.onnx")}
    for out in outs.values():
        out.write_bytes(b"old")
    monkeypatch.setattr(os, "fsync", full)
    for arguments in (
        ("predict", model, table, "--out", outs["p.csv"]),
        ("plot", "coefficients", model, "--out", outs["p.png"]),
        ("convert", model, outs["m.onnx"]),
    ):
        assert run(*arguments) == 1
        out, err = capsys.readouterr()
        assert out == ""
        assert err == f"nbsoftmax: {arguments[-1]}: No space left on device\n"
    assert {out.read_bytes() for out in outs.values()} == {b"old"}


@linux
def test_a_log_that_cannot_be_written_costs_no_model(table, tmp_path, capsys):
    out = tmp_path / "m.npz"
    assert fit(table, out, "--log", "/dev/full") == 1
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "log /dev/full could not be written" in err
    assert nbs.SoftmaxModel.load(out).n_classes == 2


@linux
def test_an_interrupted_fit_leaves_devices_alone(table, tmp_path, capsys, monkeypatch):
    null = null_device(tmp_path)
    from nbsoftmax.training import callbacks

    class Interrupts:
        def on_fit_task_end(self, trainer, context):
            raise KeyboardInterrupt

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr(callbacks, "ProgressBar", Interrupts)
    assert run("fit", table, "--target", "c", "--out", null) == 130
    assert stat.S_ISCHR(os.stat(null).st_mode)
    assert not os.path.exists(f"{null}.partial")
    (kept,) = tmp_path.glob("nbsoftmax-*.npz")
    assert str(kept) in capsys.readouterr().err


def test_an_output_is_no_other_file_of_the_command(table, model, tmp_path, capsys):
    before = table.read_bytes(), model.read_bytes()
    labelled = "fit", table, "--target", "c", "--quiet"
    for arguments in (
        (*labelled, "--out", table),
        (*labelled, "--out", tmp_path / "m.npz", "--checkpoint", tmp_path / "m.npz"),
        (*labelled, "--out", tmp_path / "m.npz", "--log", table),
        ("predict", model, table, "--out", table),
        ("predict", model, table, "--out", model),
        ("cv", table, "--target", "c", "--out", tmp_path / "." / "d.csv"),
    ):
        assert run(*arguments) == 2
        assert "given twice" in capsys.readouterr().err
    assert (table.read_bytes(), model.read_bytes()) == before


def test_an_output_is_no_file_of_weights_or_options(table, tmp_path, capsys):
    rng = np.random.default_rng(0)
    for name, array in {"X": rng.normal(size=(20, 2)), "y": rng.integers(0, 2, 20), "w": rng.random(20)}.items():
        np.save(tmp_path / f"{name}.npy", array)
    run_toml, weights = tmp_path / "run.toml", tmp_path / "w.npy"
    run_toml.write_text("[fit]\nl2 = 1.0\n", encoding="utf-8")
    before = run_toml.read_bytes(), weights.read_bytes()
    arrays = tmp_path / "X.npy", "--labels", tmp_path / "y.npy", "--sample-weight", weights, "--out", weights
    for arguments in (
        ("fit", *arrays),
        ("cv", *arrays),
        ("fit", table, "--target", "c", "--config", run_toml, "--out", run_toml),
        ("fit", table, "--target", "c", "--config", run_toml, "--out", tmp_path / "m.npz", "--log", run_toml),
    ):
        assert run(*arguments) == 2
        assert "given twice" in capsys.readouterr().err
    assert (run_toml.read_bytes(), weights.read_bytes()) == before


@pytest.mark.parametrize("option", ["data", "--checkpoint", "--log"])
def test_an_interrupted_fit_would_overwrite_no_other_file_of_the_command(table, tmp_path, capsys, monkeypatch, option):
    monkeypatch.setattr(nbs.Trainer, "fit", lambda *_, **__: pytest.fail("the fit began"))
    partial = tmp_path / "m.partial.npz"
    if option == "data":
        partial.write_bytes(table.read_bytes())
    words = [partial] if option == "data" else [table, option, partial]
    assert run("fit", *words, "--target", "c", "--out", tmp_path / "m.npz") == 2
    assert f"{partial} is where an interrupted fit saves its model" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--out", "--checkpoint", "--log"])
def test_an_output_that_cannot_be_written_is_refused_before_the_work(table, tmp_path, capsys, monkeypatch, option):
    monkeypatch.setattr(nbs.Trainer, "fit", lambda *_, **__: pytest.fail("the fit began"))
    for name, said in (("no/x", "the folder of"), ("", "is a folder")):
        outputs = {"--out": tmp_path / "m.npz"} | {option: tmp_path / name}
        words = [word for output in outputs.items() for word in output]
        assert run("fit", table, "--target", "c", *words) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert said in err


def test_a_nul_in_an_argument_or_an_option_of_a_file_is_one_line(table, tmp_path, capsys):
    config = tmp_path / "c.toml"
    config.write_text('[fit]\nout = "a\\u0000b"\n')
    for arguments in (
        ("fit", table, "--target", "c", "--out", "a\0b"),
        ("fit", table, "--target", "c", "--config", config),
        ("fit", table, "--config", "a\0b"),
        ("evaluate", "a\0b", table),
    ):
        assert run(*arguments) == 2
        err = capsys.readouterr().err
        assert err.count("\n") == 1
        assert "NUL" in err
