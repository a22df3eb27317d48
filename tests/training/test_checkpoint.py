"""A fit that was killed and resumed ends with the bits of one that was not; a file that is not right is refused."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import warnings

import numba
import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.callbacks import EarlyStopping
from nbsoftmax.objective import PenalizedLoss
from nbsoftmax.training import checkpoint as checkpoints

OPTIONS = {
    "newton-cg": {"solver": "newton-cg", "l2": 1e-7, "tol": 1e-12},
    "newton": {"solver": "newton", "l2": 1e-7, "tol": 1e-12},
    "lbfgs": {"solver": "lbfgs", "l2": 1e-4, "tol": 1e-9},
    "gd": {"solver": "gd", "l2": 0.5, "tol": 1e-4},
    "sgd": {"solver": nbs.SGD(batch_size=100), "l2": 0.5, "tol": 1e-4, "max_iter": 200},
    "prox-newton": {"solver": "prox-newton", "l1": 1e-2, "l2": 1e-4, "tol": 1e-9},
    "grouped": {"solver": "prox-newton", "l1": 1e-2, "grouped": True, "tol": 1e-9},
}


def problem(dtype=np.float64, m=600):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(m, 12)) * 2.0 ** np.arange(-3, 3, 0.5)
    y = (X[:, :4] + 0.5 * rng.normal(size=(m, 4))).argmax(axis=1)
    return X.astype(dtype), y


@pytest.fixture(autouse=True)
def at_every_iteration(monkeypatch):
    monkeypatch.setattr(checkpoints, "SECONDS", 0.0)


class Killed(BaseException):
    """As sudden as a kill can be within one process."""


def kill_after(n):
    def callback(now):
        if now.n_iter == n:
            raise Killed

    return callback


def same(one, other):
    assert one.model.coef.tobytes() == other.model.coef.tobytes()
    assert one.model.intercept.tobytes() == other.model.intercept.tobytes()
    assert (one.objective, one.gap, one.n_iter, one.reason) == (other.objective, other.gap, other.n_iter, other.reason)
    for name in ("objective", "grad_norm", "validation_loss"):
        if name in one.history:
            assert one.history[name].tobytes() == other.history[name].tobytes()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("solver", OPTIONS)
def test_a_resumed_fit_gives_the_same_bits(solver, dtype, tmp_path):
    X, y = problem(dtype)
    options = OPTIONS[solver] | ({"tol": 1e-6} if dtype == np.float32 else {})
    data = {"validation_data": (X[:100], y[:100])}
    whole = nbs.Trainer(**options).fit(X, y, **data)
    assert whole.converged
    assert whole.n_iter > 2
    for n in sorted({1, 2, whole.n_iter // 2 + 1, whole.n_iter}):
        file = tmp_path / f"{n}.npz"
        with pytest.raises(Killed):
            nbs.Trainer(**options, callbacks=[kill_after(n)], n_threads=1).fit(X, y, checkpoint=file, **data)
        other = min(2, numba.config.NUMBA_NUM_THREADS)
        same(whole, nbs.Trainer(**options, n_threads=other).fit(X, y, checkpoint=file, resume=True, **data))


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs", "prox-newton"])
def test_a_fit_that_float32_products_do_not_suffice_resumes_to_the_same_bits(solver, tmp_path):
    X, y = problem(m=200)
    X, options = (X + 1e5).astype(np.float32), OPTIONS[solver] | {"tol": 1e-6}
    whole = nbs.Trainer(**options).fit(X, y)
    for n in range(1, whole.n_iter + 1, max(1, whole.n_iter // 3)):
        with pytest.raises(Killed):
            nbs.Trainer(**options, callbacks=[kill_after(n)]).fit(X, y, checkpoint=tmp_path / str(n))
        same(whole, nbs.Trainer(**options).fit(X, y, checkpoint=tmp_path / str(n), resume=True))


@pytest.mark.parametrize(
    "options",
    [{"solver": "lbfgs"}, {"solver": nbs.GradientDescent(0.2)}, {"solver": nbs.SGD(0.005)}],
    ids=["lbfgs", "gd", "sgd"],
)
def test_early_stopping_resumes_to_the_same_bits(options, tmp_path):
    rng = np.random.default_rng(3)
    X, held_out = rng.normal(size=(300, 40)), rng.normal(size=(500, 40))
    y, labels = ((Z[:, 0] + rng.normal(size=len(Z)) > 0).astype(int) for Z in (X, held_out))
    data = {"validation_data": (held_out, labels)}
    whole = nbs.Trainer(**options, callbacks=[EarlyStopping(4)]).fit(X, y, **data)
    best = whole.n_iter - 4
    assert whole.reason.endswith(f"; the model is that of iteration {best}")
    for n in {best - 1, best, best + 1, best + 2, whole.n_iter}:
        with pytest.raises(Killed):
            killed = nbs.Trainer(**options, callbacks=[EarlyStopping(4), kill_after(n)])
            killed.fit(X, y, checkpoint=tmp_path / str(n), **data)
        resumed = nbs.Trainer(**options, callbacks=[EarlyStopping(4)])
        same(whole, resumed.fit(X, y, checkpoint=tmp_path / str(n), resume=True, **data))


def test_a_fit_that_changes_its_preconditioner_resumes_to_the_same_bits(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(250, 60)) @ rng.normal(size=(60, 60))
    y = (X[:, :5] + rng.normal(size=(250, 5))).argmax(axis=1)
    whole = nbs.Trainer(l2=1e-8, tol=1e-9).fit(X, y)
    assert whole.summary.count("worth") > 1  # more than one kind was made
    for n in range(1, whole.n_iter, 3):
        with pytest.raises(Killed):
            nbs.Trainer(l2=1e-8, tol=1e-9, callbacks=[kill_after(n)]).fit(X, y, checkpoint=tmp_path / str(n))
        resumed = nbs.Trainer(l2=1e-8, tol=1e-9).fit(X, y, checkpoint=tmp_path / str(n), resume=True)
        same(whole, resumed)
        assert resumed.summary == whole.summary


def test_a_sparse_fit_that_changes_features_and_metric_resumes_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("nbsoftmax.solvers.tools.working_set.LEAST_NEW", 4)
    rng = np.random.default_rng(0)
    X = rng.normal(size=(250, 60)) @ rng.normal(size=(60, 60))
    y = (X[:, :5] + rng.normal(size=(250, 5))).argmax(axis=1)
    options = {"l1": 1e-3, "tol": 1e-9}
    whole = nbs.Trainer(**options).fit(X, y)
    assert whole.converged
    assert whole.n_iter > 5
    for n in range(1, whole.n_iter + 1):
        with pytest.raises(Killed):
            nbs.Trainer(**options, callbacks=[kill_after(n)]).fit(X, y, checkpoint=tmp_path / str(n))
        same(whole, nbs.Trainer(**options).fit(X, y, checkpoint=tmp_path / str(n), resume=True))


def test_a_fit_killed_again_and_again_arrives(tmp_path):
    X, y = problem()
    whole = nbs.Trainer(**OPTIONS["lbfgs"]).fit(X, y)
    for n in range(5, whole.n_iter, 7):
        with pytest.raises(Killed):
            nbs.Trainer(**OPTIONS["lbfgs"], callbacks=[kill_after(n)]).fit(X, y, checkpoint=tmp_path / "c", resume=True)
    same(whole, nbs.Trainer(**OPTIONS["lbfgs"]).fit(X, y, checkpoint=tmp_path / "c", resume=True))


def test_a_process_killed_at_any_moment_resumes_to_the_same_bits(tmp_path):
    script = """
        import sys, numpy as np, nbsoftmax as nbs
        from nbsoftmax.training import checkpoint
        checkpoint.SECONDS = 0.0
        rng = np.random.default_rng(0)
        X, y = rng.normal(size=(3000, 20)) * 2.0 ** np.arange(-5, 5, 0.5), rng.integers(0, 3, 3000)
        say = lambda now: print(now.n_iter, flush=True)
        trainer = nbs.Trainer(solver="gd", tol=1e-9, max_iter=400, callbacks=[say])
        import warnings
        warnings.simplefilter("ignore")
        result = trainer.fit(X, y, checkpoint=sys.argv[1], resume=True)
        print(result.model.coef.tobytes().hex())
    """

    def start(file):
        command = [sys.executable, "-c", textwrap.dedent(script), str(file)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)

    whole = start(tmp_path / "whole").communicate(timeout=300)[0].split()[-1]
    file, delays = tmp_path / "killed", np.random.default_rng(1).uniform(0.0, 0.05, 4)
    for delay in delays:
        process = start(file)
        for _ in range(2):  # at the second iteration the first one's state is on disk
            process.stdout.readline()
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert process.returncode != 0
    output = start(file).communicate(timeout=300)[0].split()
    assert int(output[0]) > len(delays)  # it did go on from where the others were
    assert output[-1] == whole


@pytest.mark.parametrize("solver", OPTIONS)
def test_a_fit_that_ctrl_c_ended_amid_an_iteration_resumes_to_the_same_bits(solver, tmp_path, monkeypatch):
    X, y = problem()
    data = {"validation_data": (X[:100], y[:100])}
    whole = nbs.Trainer(**OPTIONS[solver]).fit(X, y, **data)
    value, count = PenalizedLoss.value, iter(range(1_000_000))

    def interrupted(self, params):
        if self.n_samples == 100 and next(count) == 2:  # of the third iteration nothing but the step is known
            raise KeyboardInterrupt
        return value(self, params)

    with monkeypatch.context() as patch:
        patch.setattr(PenalizedLoss, "value", interrupted)
        stopped = nbs.Trainer(**OPTIONS[solver]).fit(X, y, checkpoint=tmp_path / "c", **data)
    assert stopped.interrupted
    assert len(stopped.history["objective"]) == 2
    same(whole, nbs.Trainer(**OPTIONS[solver]).fit(X, y, checkpoint=tmp_path / "c", resume=True, **data))


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


def test_without_a_file_resume_begins_anew(tmp_path):
    X, y = problem()
    same(nbs.Trainer(l2=0.1).fit(X, y), nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "none", resume=True))


def test_a_fit_that_met_its_limit_goes_on_with_a_larger_one(tmp_path):
    X, y = problem()
    whole = nbs.Trainer(**OPTIONS["lbfgs"]).fit(X, y)
    with pytest.warns(nbs.ConvergenceWarning, match="max_iter"):
        nbs.Trainer(**OPTIONS["lbfgs"], max_iter=7).fit(X, y, checkpoint=tmp_path / "c")
    more = nbs.Trainer(**OPTIONS["lbfgs"]).fit(X, y, checkpoint=tmp_path / "c", resume=True)
    same(whole, more)
    assert (np.diff(more.history["seconds"]) >= 0).all()


@pytest.mark.parametrize("damage", ["truncated", "a flipped byte", "empty", "another file"])
def test_a_damaged_checkpoint_is_refused_and_left(damage, tmp_path):
    X, y = problem()
    file = tmp_path / "c.npz"
    nbs.Trainer(l2=0.1).fit(X, y, checkpoint=file)
    content = bytearray(file.read_bytes())
    if damage == "a flipped byte":
        content[content.index(b"params.npy") + 400] ^= 16
    changed = {"truncated": bytes(content[: len(content) // 2]), "empty": b"", "another file": b"a,b\n1,2\n"}
    file.write_bytes(changed.get(damage, bytes(content)))
    before = file.read_bytes()
    with pytest.raises(nbs.InputValueError, match="checkpoint"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=file, resume=True)
    assert file.read_bytes() == before


def test_a_model_is_no_checkpoint(tmp_path):
    X, y = problem()
    nbs.Trainer(l2=0.1).fit(X, y).model.save(tmp_path / "m.npz")
    with pytest.raises(nbs.InputValueError, match="not a checkpoint"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "m.npz", resume=True)


def changes(arrays):
    """Each array of a checkpoint left out, of another shape, of another dtype, and with another value."""
    for name, array in arrays.items():
        yield {other: value for other, value in arrays.items() if other != name}
        yield arrays | {name: np.append(array, array.ravel()[:1]).reshape(-1, 1)}
        if array.dtype.kind in "iuf":
            yield arrays | {name: array.astype("f4")}
        if array.dtype.kind in "iuf" and array.size:
            yield arrays | {name: -1 - array}


@pytest.mark.parametrize("solver", OPTIONS)
def test_a_checkpoint_with_other_arrays_than_were_saved_is_refused_and_left(solver, tmp_path):
    X, y = problem(m=60)
    file, options = tmp_path / "c.npz", OPTIONS[solver] | {"max_iter": 3, "tol": 1e-3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        nbs.Trainer(**options).fit(X, y, checkpoint=file, validation_data=(X, y))
    with np.load(file) as opened:
        arrays = dict(opened)
    assert len(arrays) > 8
    for changed in changes(arrays):
        np.savez(file, **changed)
        before = file.read_bytes()
        with pytest.raises(nbs.InputValueError, match="checkpoint"):
            nbs.Trainer(**options).fit(X, y, checkpoint=file, validation_data=(X, y), resume=True)
        assert file.read_bytes() == before


def test_a_fit_that_had_ended_can_be_resumed_again_and_again(tmp_path):
    X, y = problem()
    whole = nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c")
    for _ in range(3):
        same(whole, nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c", resume=True))


@pytest.mark.parametrize("other", ["data", "labels", "weights", "penalty", "solver", "start", "held-out", "held-out y"])
def test_the_checkpoint_of_another_problem_is_refused(other, tmp_path):
    X, y = problem()
    options, given = {"l2": 0.1, "solver": "lbfgs"}, {"validation_data": (X[:20], y[:20])}
    nbs.Trainer(**options).fit(X, y, checkpoint=tmp_path / "c", **given)
    if other == "data":
        X = X.copy()
        X[-1, -1] += 1e-9
    elif other == "labels":
        y = np.where(np.arange(y.size) == 5, (y + 1) % 4, y)
    elif other == "weights":
        given["sample_weight"] = np.linspace(1, 2, y.size)
    elif other == "start":
        given["init"] = np.ones((4, 13))
    elif other == "held-out":
        given["validation_data"] = X[20:40], y[:20]
    elif other == "held-out y":
        given["validation_data"] = X[:20], y[20:40]
    options |= {"penalty": {"l2": 0.2}, "solver": {"solver": "gd"}}.get(other, {})
    with pytest.raises(nbs.InputValueError, match="other data"):
        nbs.Trainer(**options).fit(X, y, checkpoint=tmp_path / "c", resume=True, **given)


def test_a_checkpoint_that_cannot_be_written_is_one_warning_and_the_fit_goes_on(tmp_path, monkeypatch):
    X, y = problem()
    expected = nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c")
    before = (tmp_path / "c").read_bytes()

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.warns(RuntimeWarning, match="No space left") as seen:
        result = nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c")
    assert len(seen) == 1
    same(expected, result)
    assert (tmp_path / "c").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["c"]  # nothing half-written is left


def test_what_cannot_be_resumed_says_so(tmp_path):
    X, y = problem()
    with pytest.raises(nbs.InputValueError, match="which file"):
        nbs.Trainer().fit(X, y, resume=True)


@pytest.mark.parametrize("other", ["model", "text", "data"])
def test_a_file_that_is_no_checkpoint_is_not_written_over(tmp_path, other):
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    path = tmp_path / "m.npz"
    if other == "model":
        nbs.Trainer(l2=0.1).fit(X, y).model.save(path)
    elif other == "data":
        np.savez(path, X=X, y=y)
    else:
        path.write_text("a,b\n1,2\n")
    before = path.read_bytes()
    with pytest.raises(nbs.InputValueError, match=r"checkpoint is .*m\.npz, which exists and is not a checkpoint"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=path)
    assert path.read_bytes() == before


def test_a_checkpoint_of_an_earlier_fit_is_replaced_where_it_is_not_resumed(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    path = tmp_path / "fit.npz"
    nbs.Trainer(l2=0.1).fit(X, y, checkpoint=path)
    before = path.read_bytes()
    nbs.Trainer(l2=0.2).fit(X, y, checkpoint=path)
    assert path.read_bytes() != before
