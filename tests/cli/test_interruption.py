"""Ctrl-C: what is saved, and the exit code."""

import json
import os
import signal

import pytest

import nbsoftmax as nbs
from nbsoftmax.data import tables
from nbsoftmax.selection import cross_validation
from nbsoftmax.training import callbacks
from tests import processes
from tests.cli.commands import run


@pytest.mark.parametrize("existing", [True, False])
def test_ctrl_c_saves_what_there_is_beside_the_model(flowers, tmp_path, capsys, monkeypatch, existing):
    path = tmp_path / "m.npz"
    if existing:
        path.write_bytes(b"a good model")
    monkeypatch.setattr(callbacks, "ProgressBar", CtrlCAtTheThird)
    assert run("fit", flowers[0], "--target", "species", "--out", path, "--json") == 130
    out, err = capsys.readouterr()
    said = json.loads(out)
    assert (said["reason"], said["model"]) == ("interrupted", str(tmp_path / "m.partial.npz"))
    assert err.count("\n") == 1
    assert "m.partial.npz" in err
    assert ("is unchanged" in err) == existing
    assert nbs.SoftmaxModel.load(said["model"]).n_classes == 3
    assert (path.read_bytes() == b"a good model") if existing else not path.exists()


@pytest.mark.parametrize("resume", [True, False])
def test_a_fit_that_is_resumed_and_ends_removes_the_model_of_the_interrupted_one(
    flowers, tmp_path, monkeypatch, resume
):
    path, partial, checkpoint = tmp_path / "m.npz", tmp_path / "m.partial.npz", tmp_path / "state.npz"
    fit = "fit", flowers[0], "--target", "species", "--out", path, "--checkpoint", checkpoint
    with monkeypatch.context() as patch:
        patch.setattr(callbacks, "ProgressBar", CtrlCAtTheThird)
        assert run(*fit) == 130
    assert partial.exists()
    assert run(*fit, *["--resume"] * resume) == 0
    assert path.exists()
    assert partial.exists() != resume  # of a new fit: it may be another one


def test_an_interrupted_search_exits_with_130_and_overwrites_nothing(flowers, tmp_path, capsys, monkeypatch):
    path, *_ = flowers
    out = tmp_path / "m.npz"
    out.write_bytes(b"a good model")
    search = "cv", path, "--target", "species", "--Cs", 1, "--folds", 2, "--out", out

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(cross_validation, "cross_validate", interrupted)
    assert run(*search) == 130
    assert out.read_bytes() == b"a good model"


def test_ctrl_c_outside_a_fit_and_during_the_demo_is_130(flowers, tmp_path, capsys, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(tables, "read", interrupt)
        assert run("fit", flowers[0], "--target", "species", "--out", tmp_path / "m.npz") == 130
    assert capsys.readouterr().err == "nbsoftmax: interrupted\n"
    monkeypatch.setattr(callbacks, "ProgressBar", CtrlCAtTheThird)
    assert run("demo", "--out", tmp_path) == 130
    assert [path.name for path in tmp_path.glob("digits*")] == ["digits-model.partial.npz"]


@pytest.mark.skipif(os.name != "posix", reason="Windows ends a process without calling its handlers")
@pytest.mark.parametrize("existing", [True, False])
def test_sigterm_leaves_no_unfinished_output(model, flowers, tmp_path, existing):
    out = tmp_path / "predicted.csv"
    if existing:
        out.write_text("old")
    before = set(tmp_path.iterdir())
    script = """
        import os, signal, sys
        from nbsoftmax import SoftmaxModel, cli

        def terminated(*_, **__):
            assert any(name.startswith(".nbsoftmax-") for name in os.listdir(os.path.dirname(sys.argv[1])))
            signal.raise_signal(signal.SIGTERM)

        SoftmaxModel.predict = terminated
        cli.main(["predict", *sys.argv[1:]])
    """
    done = processes.run(script, str(model), str(flowers[0]), "--out", str(out))
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")  # 143 in a shell
    assert set(tmp_path.iterdir()) == before
    assert not existing or out.read_text() == "old"


@pytest.mark.skipif(os.name != "posix", reason="Windows has other signals")
def test_a_program_keeps_its_handler_of_sigterm_when_it_runs_a_command(model, capsys):
    def own(*_):
        pass

    before = signal.getsignal(signal.SIGTERM)
    assert run("inspect", model) == 0
    assert signal.getsignal(signal.SIGTERM) == before
    signal.signal(signal.SIGTERM, own)
    try:
        assert run("inspect", model) == 0
        assert signal.getsignal(signal.SIGTERM) is own
    finally:
        signal.signal(signal.SIGTERM, before)


class CtrlCAtTheThird:
    """A callback during whose third call Ctrl-C is pressed."""

    def on_fit_task_end(self, trainer, context):
        if context.iteration.n_iter == 3:
            raise KeyboardInterrupt
