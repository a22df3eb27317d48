"""A fit that was killed and resumed ends with the bits of one that was not."""

import signal
import subprocess
import sys
import textwrap
import time
from types import SimpleNamespace

import numba
import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.callbacks import EarlyStopping
from nbsoftmax.penalized_loss import PenalizedLoss
from nbsoftmax.solvers.stop_reason import StopReason
from nbsoftmax.training import monitor
from nbsoftmax.training import trainer as trainer_module
from tests.training.killed import OPTIONS, problem, same

pytestmark = pytest.mark.usefixtures("at_every_iteration")


class Killed(BaseException):
    """As sudden as a kill can be within one process."""


def kill_after(n):
    def callback(now):
        if now.n_iter == n:
            raise Killed

    return callback


@pytest.mark.usefixtures("several_threads")
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


@pytest.mark.parametrize("solver", ["newton-cg", "newton-cg, unpacked", "newton", "lbfgs", "prox-newton"])
def test_a_fit_that_float32_products_do_not_suffice_resumes_to_the_same_bits(solver, tmp_path):
    X, y = problem(m=200)
    X, options = (X + 1e5).astype(np.float32), OPTIONS[solver] | {"tol": 1e-6}
    whole = nbs.Trainer(**options).fit(X, y)
    for n in range(1, whole.n_iter + 1, max(1, whole.n_iter // 3)):
        with pytest.raises(Killed):
            nbs.Trainer(**options, callbacks=[kill_after(n)]).fit(X, y, checkpoint=tmp_path / str(n))
        same(whole, nbs.Trainer(**options).fit(X, y, checkpoint=tmp_path / str(n), resume=True))


@pytest.mark.parametrize("bounds", [(0, None), (-0.5, 0.5)])
@pytest.mark.parametrize("l2", [0.0, 1e-5])
def test_a_fit_with_bounds_whose_float32_products_are_rough_resumes_to_the_same_bits(bounds, l2, tmp_path):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(300, 8))
    y = (Z @ rng.normal(size=(8, 3)) + rng.gumbel(size=(300, 3))).argmax(axis=1)
    X = (Z + 10 ** rng.uniform(3, 4, size=8)).astype(np.float32)
    options = {"bounds": bounds, "l2": l2, "tol": 1e-7}
    whole = nbs.Trainer(**options).fit(X, y)
    assert whole.n_iter > 3  # places to resume from: 5 to 10, as the last bits of the CPU have it
    for n in range(1, whole.n_iter + 1):
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
        killed = nbs.Trainer(**options, callbacks=[EarlyStopping(4), kill_after(n)])
        with pytest.raises(Killed):
            killed.fit(X, y, checkpoint=tmp_path / str(n), **data)
        resumed = nbs.Trainer(**options, callbacks=[EarlyStopping(4)])
        same(whole, resumed.fit(X, y, checkpoint=tmp_path / str(n), resume=True, **data))


def test_a_fit_that_changes_its_preconditioner_resumes_to_the_same_bits(tmp_path):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(250, 70)) @ rng.normal(size=(70, 70))
    y = (X[:, :5] + rng.normal(size=(250, 5))).argmax(axis=1)
    whole = nbs.Trainer(l2=1e-8, tol=1e-9).fit(X, y)
    assert whole.summary.count("worth") > 1  # more than one kind was made
    for n in range(1, whole.n_iter, 3):
        with pytest.raises(Killed):
            nbs.Trainer(l2=1e-8, tol=1e-9, callbacks=[kill_after(n)]).fit(X, y, checkpoint=tmp_path / str(n))
        resumed = nbs.Trainer(l2=1e-8, tol=1e-9).fit(X, y, checkpoint=tmp_path / str(n), resume=True)
        same(whole, resumed)
        assert resumed.summary == whole.summary


@pytest.mark.parametrize("most_numbers", [0, 1000, 2**16], ids=["metrics", "metrics, then Hessians", "Hessians"])
def test_a_sparse_fit_that_changes_features_and_metric_resumes_to_the_same_bits(tmp_path, monkeypatch, most_numbers):
    monkeypatch.setattr("nbsoftmax.solvers.tools.working_set.LEAST_NEW", 4)
    monkeypatch.setattr("nbsoftmax.solvers.tools.coupled_model.MOST_NUMBERS", most_numbers)
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


def test_a_fit_that_had_ended_can_be_resumed_again_and_again(tmp_path):
    X, y = problem()
    whole = nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c")
    for _ in range(3):
        same(whole, nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c", resume=True))


def test_a_checkpoint_of_an_earlier_fit_is_replaced_where_it_is_not_resumed(tmp_path):
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30) % 3
    path = tmp_path / "fit.npz"
    nbs.Trainer(l2=0.1).fit(X, y, checkpoint=path)
    before = path.read_bytes()
    nbs.Trainer(l2=0.2).fit(X, y, checkpoint=path)
    assert path.read_bytes() != before


@pytest.mark.parametrize("restore_best", [False, True])
def test_a_fit_that_early_stopping_ended_ends_there_again(restore_best, tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(3000, 20)), rng.integers(0, 4, 3000)  # noise: the validation loss rises

    def trainer(patience):
        stop = EarlyStopping(patience, restore_best=restore_best)
        return nbs.Trainer(solver="gd", validation_fraction=0.3, tol=1e-12, callbacks=[stop])

    whole = trainer(3).fit(X, y)
    assert whole.stop_reason is StopReason.EARLY_STOPPING
    for _ in range(3):
        again = trainer(3).fit(X, y, checkpoint=tmp_path / "c", resume=True)
        same(whole, again)
        assert again.reason == whole.reason
    more = trainer(5).fit(X, y, checkpoint=tmp_path / "c", resume=True)  # a larger patience goes on
    assert more.n_iter > whole.n_iter


def test_each_run_has_its_own_limit_of_time(tmp_path, monkeypatch):
    X, y = problem()
    seconds = [0.0]
    clock = SimpleNamespace(perf_counter=lambda: seconds[0])
    for module in (trainer_module, monitor):
        monkeypatch.setattr(module, "time", clock)

    def slow(now):
        seconds[0] += 1.0

    trainer = nbs.Trainer(solver="gd", tol=1e-12, max_seconds=7.5, callbacks=[slow])
    with pytest.warns(nbs.ConvergenceWarning, match="max_seconds"):
        first = trainer.fit(X, y, checkpoint=tmp_path / "c")
    with pytest.warns(nbs.ConvergenceWarning, match="max_seconds"):
        second = trainer.fit(X, y, checkpoint=tmp_path / "c", resume=True)
    assert first.n_iter == 9  # before the first iteration no second has passed
    assert second.n_iter == 2 * first.n_iter
    assert (np.diff(second.history["seconds"]) >= 0).all()
