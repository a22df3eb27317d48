"""Standard input, standard output and pipes: data that can be read only once."""

import io
import json
import os
import sys
import threading
from contextlib import ExitStack

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.cli.commands import in_a_process, misused, refused, run


@pytest.mark.parametrize(
    "words",
    [
        ("fit", "d.csv", "--out", "m.npz", "--log", "-"),
        ("fit", "d.csv", "--out", "m.npz", "--checkpoint", "-"),
        ("predict", "-", "d.csv"),
        ("evaluate", "-", "d.csv"),
        ("inspect", "-"),
        ("convert", "-", "m.onnx"),
        ("plot", "coefficients", "-", "--out", "p.png"),
    ],
)
def test_a_dash_is_refused_where_only_a_file_can_be(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit, match="2"):
        run(*words)
    err = capsys.readouterr().err
    assert "- is standard input or output, but this must be a file; name one" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_closed_standard_streams_end_no_fit(flowers, tmp_path, monkeypatch, capsys):
    path, *_ = flowers
    out, labels = tmp_path / "m.npz", tmp_path / "labels.csv"
    for closed in (["stdout"], ["stderr"], ["stdout", "stderr"]):
        with monkeypatch.context() as patch:
            for name in closed:
                patch.setattr(sys, name, None)
            assert run("fit", path, "--target", "species", "--out", out, "--l2", 0.01) == 0
        assert nbs.SoftmaxModel.load(out).n_classes == 3
        out.unlink()
    run("fit", path, "--target", "species", "--out", out, "--l2", 0.01, "--quiet")
    monkeypatch.setattr(sys, "stdout", None)
    assert run("predict", out, path, "--out", labels) == 0
    assert labels.read_text(encoding="utf-8").count("\n") == 91
    monkeypatch.setattr(sys, "stdout", None)
    capsys.readouterr()
    assert run("predict", out, path) == 2
    assert capsys.readouterr().err == "nbsoftmax: standard output is closed; write to --out FILE.\n"


@pytest.mark.parametrize("words", [("-", "--labels", "-"), ("X.npy", "--labels", "-", "--sample-weight", "-")])
def test_standard_input_is_one_input(tmp_path, capsys, monkeypatch, words):
    monkeypatch.chdir(tmp_path)
    np.save("X.npy", np.zeros((4, 2)))
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((tmp_path / "X.npy").read_bytes())))
    assert "standard input holds one" in refused(capsys, "fit", *words, "--out", "m.npz")


@pytest.fixture
def piped(monkeypatch):
    """Makes standard input a pipe with a content."""
    with ExitStack() as pipes:

        def pipe(content):
            reading, writing = os.pipe()
            threading.Thread(target=_fill, args=(writing, content), daemon=True).start()
            monkeypatch.setattr(sys, "stdin", pipes.enter_context(open(reading, encoding="utf-8")))

        yield pipe


def _fill(target, content):
    """Write to a pipe, given by its descriptor or name, which waits until somebody reads."""
    with open(target, "wb") as file:
        file.write(content)


def test_every_row_of_a_pipe_is_labelled(model, piped, capsys):
    X = np.round(np.random.default_rng(1).normal(size=(3000, 2)), 3)  # many times the 8 KB that are read at once
    piped(("length,width\n" + "\n".join(f"{a},{b}" for a, b in X)).encode())
    assert run("predict", model, "-", "--out", "-") == 0
    assert capsys.readouterr().out.split() == ["label", *nbs.SoftmaxModel.load(model).predict(X)]


def test_fit_and_evaluate_read_a_pipe_once(flowers, model, piped, tmp_path, capsys):
    path, X, y = flowers
    piped(path.read_bytes())
    assert run("fit", "-", "--target", "species", "--out", tmp_path / "m.npz", "--l2", 0.01, "--quiet") == 0
    assert (tmp_path / "m.npz").read_bytes() == model.read_bytes()
    piped(path.read_bytes())
    capsys.readouterr()
    assert run("evaluate", model, "-", "--target", "species", "--json") == 0
    assert json.loads(capsys.readouterr().out)["accuracy"] == nbs.SoftmaxModel.load(model).score(X, y)


def test_arrays_come_through_a_pipe_too(flowers, model, piped, capsys):
    _, X, y = flowers
    expected = ["label", *nbs.SoftmaxModel.load(model).predict(X)]
    for write in (lambda file: np.save(file, X), lambda file: np.savez(file, X=X, y=y)):
        content = io.BytesIO()
        write(content)
        piped(content.getvalue())
        assert run("predict", model, "-") == 0
        assert capsys.readouterr().out.split() == expected


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="there are no named pipes here")
def test_a_named_pipe_is_read_once(flowers, model, tmp_path, capsys):
    path, X, _ = flowers
    os.mkfifo(tmp_path / "pipe")
    threading.Thread(target=_fill, args=(tmp_path / "pipe", path.read_bytes()), daemon=True).start()
    assert run("predict", model, tmp_path / "pipe") == 0
    assert capsys.readouterr().out.split() == ["label", *nbs.SoftmaxModel.load(model).predict(X)]


@pytest.mark.skipif(not os.path.exists("/dev/stdin"), reason="there is no such device here")
def test_the_device_of_standard_input_is_read_once(flowers, model):
    done = in_a_process("predict", model, "/dev/stdin", input=flowers[0].read_text())
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 91


def test_standard_input_that_is_closed_or_empty_is_refused(model, piped, capsys, monkeypatch):
    piped(b"")
    assert "standard input is empty" in refused(capsys, "predict", model, "-")
    monkeypatch.setattr(sys, "stdin", None)
    assert "standard input is closed" in refused(capsys, "predict", model, "-")
    monkeypatch.setattr(sys, "stdin", io.StringIO("text"))
    assert "standard input is replaced by this program" in refused(capsys, "predict", model, "-")


def test_a_reader_that_leaves_closes_no_stream_of_the_program(model, capsys, monkeypatch):
    class Left(io.StringIO):
        def flush(self):
            raise BrokenPipeError

    with monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", Left())
        assert run("inspect", model) == 1
    assert not sys.stderr.closed
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("command", ["fit", "cv", "plot", "convert"])
def test_what_is_no_text_is_not_written_to_standard_output(command, model, flowers, capsys):
    data = flowers[0], "--target", "species"
    words = {"fit": data, "cv": data, "plot": ("coefficients", model), "convert": (model,)}[command]
    assert "name one" in misused(capsys, command, *words, *(["--out"] if command != "convert" else []), "-")
