"""SIGTERM saves the state of a fit before it ends the process."""

import os
import signal
import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.training import checkpoint as checkpoints
from tests.training.killed import OPTIONS, problem, same

pytestmark = pytest.mark.usefixtures("at_every_iteration")


class Terminated(BaseException):
    """What a program's own handler of SIGTERM may raise."""


@pytest.fixture
def own_handler():
    def handler(number, frame):
        raise Terminated

    before = signal.signal(signal.SIGTERM, handler)
    yield handler
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize("solver", OPTIONS)
def test_sigterm_saves_before_it_does_what_it_always_does(solver, own_handler, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", np.inf)  # nothing is saved unless it is asked for
    X, y = problem()
    whole = nbs.Trainer(**OPTIONS[solver]).fit(X, y)

    def terminate(now):
        if now.n_iter == 2:
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(Terminated):
        nbs.Trainer(**OPTIONS[solver], callbacks=[terminate]).fit(X, y, checkpoint=tmp_path / "c")
    assert signal.getsignal(signal.SIGTERM) is own_handler
    more = nbs.Trainer(**OPTIONS[solver]).fit(X, y, checkpoint=tmp_path / "c", resume=True)
    assert more.history["seconds"][1] < more.history["seconds"][2]
    same(whole, more)


def test_a_process_that_sigterm_ends_leaves_a_checkpoint(tmp_path):
    script = """
        import signal, sys, numpy as np, nbsoftmax as nbs
        X, y = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 3
        terminate = lambda now: now.n_iter == 2 and signal.raise_signal(signal.SIGTERM)
        nbs.Trainer(solver="gd", l2=0.1, callbacks=[terminate]).fit(X, y, checkpoint=sys.argv[1])
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
    with np.load(tmp_path / "c") as arrays:
        assert arrays["n_iter"] == 1  # the callbacks of the second have not all been called


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot remove a file that is open")
def test_sigterm_during_a_fit_with_a_checkpoint_leaves_no_unfinished_file(tmp_path):
    script = """
        import signal, sys, numpy as np, nbsoftmax as nbs
        from nbsoftmax.files import whole_file
        X, y = np.random.default_rng(0).normal(size=(100, 3)), np.arange(100) % 3
        with whole_file(sys.argv[1] + ".other"):
            terminate = lambda now: now.n_iter == 2 and signal.raise_signal(signal.SIGTERM)
            nbs.Trainer(solver="gd", l2=0.1, callbacks=[terminate]).fit(X, y, checkpoint=sys.argv[1])
    """
    command = [sys.executable, "-c", textwrap.dedent(script), str(tmp_path / "c")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert (done.returncode, done.stderr) == (-signal.SIGTERM, "")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_handlers_of_sigterm_are_touched_only_in_the_main_thread_and_for_a_checkpoint(own_handler, tmp_path):
    X, y = problem(m=60)
    seen = []
    trainer = nbs.Trainer(l2=0.1, callbacks=[lambda now: seen.append(signal.getsignal(signal.SIGTERM))])
    trainer.fit(X, y)
    thread = threading.Thread(target=trainer.fit, args=(X, y), kwargs={"checkpoint": tmp_path / "c"})
    thread.start()
    thread.join()
    assert set(seen) == {own_handler}
    trainer.fit(X, y, checkpoint=tmp_path / "c")
    assert seen[-1] is not own_handler
    with pytest.raises(nbs.InputValueError):
        trainer.fit(X, y[:-1], checkpoint=tmp_path / "c")
    assert signal.getsignal(signal.SIGTERM) is own_handler
