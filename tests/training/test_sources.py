"""Fits of sources of blocks: the minimum of the rows in memory, for every solver, after every interruption."""

import signal
import subprocess
import sys
import textwrap
import threading
import time
from types import SimpleNamespace

import numpy as np
import pyarrow.parquet as pq
import pytest
from scipy.sparse import csr_array

import nbsoftmax as nbs
from nbsoftmax.backends.base import SampleOrder
from nbsoftmax.kernels.sgd import State
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import Problem, problem_of
from nbsoftmax.solvers.table import SOLVERS
from nbsoftmax.training.hooks import rows_reported
from tests.data.rows import NAMES, M, N, W, X, Y, table, write
from tests.data.test_open_files import COLUMNS
from tests.training.killed import same

K = 3


def opened(path, **options):
    return nbs.data.open(path, **({"batch_rows": 300} | COLUMNS | options))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("rows") / "t.parquet")


@pytest.mark.parametrize("solver", [name for name in SOLVERS if name != "sgd"])
def test_a_fit_from_a_file_has_the_minimum_of_memory(solver, path):
    penalty = {"l1": 0.01} if solver == "prox-newton" else {"l2": 0.01}
    options = {"solver": solver, "tol": 1e-9, "class_weight": "balanced"} | penalty
    ours = nbs.Trainer(**options).fit(opened(path))
    theirs = nbs.Trainer(**options).fit(X, Y, sample_weight=W)
    assert ours.converged
    assert ours.objective == pytest.approx(theirs.objective, rel=2e-9)
    assert ours.model.feature_names == NAMES
    assert ours.model.classes.tolist() == ["ant", "bee", "cat"]


@pytest.mark.parametrize("options", [{"l1": 0.02}, {"l1": 0.02, "grouped": True}, {"l1": 0.01, "l2": 0.01}], ids=str)
def test_prox_newton_proves_its_gap_from_a_file(options, path):
    ours = nbs.Trainer(tol=1e-8, **options).fit(opened(path))
    theirs = nbs.Trainer(tol=1e-8, **options).fit(X, Y, sample_weight=W)
    assert ours.converged
    assert ours.gap_kind == theirs.gap_kind == "duality"
    np.testing.assert_array_equal(ours.model.coef == 0, theirs.model.coef == 0)
    assert ours.objective == pytest.approx(theirs.objective, rel=2e-8)


def test_the_bits_do_not_depend_on_the_reader(path, tmp_path):
    table_ = table()
    pq.write_table(table_, tmp_path / "large.parquet", row_group_size=1000)
    sources = [
        opened(path),
        opened(tmp_path / "large.parquet"),
        opened(write(tmp_path / "t.feather")),
        nbs.data.from_batches([(X[:17], Y[:17], W[:17]), (X[17:], Y[17:], W[17:])], batch_rows=300),
    ]
    for options in ({"l2": 0.01}, {"l2": 0.01, "solver": "sgd", "max_iter": 3, "tol": 1e-3}):
        found = {quiet(nbs.Trainer(**options), source).model.coef.tobytes() for source in sources[:2] + sources[3:]}
        assert len(found) == 1
    ours = nbs.Trainer(l2=0.01).fit(sources[2]).model.coef
    assert ours.tobytes() == nbs.Trainer(l2=0.01).fit(sources[0]).model.coef.tobytes()


# --- sgd ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["t.parquet", "t.arrow"])  # read in its order, and at any block
@pytest.mark.parametrize("optimizer", ["nesterov", "adam"])
def test_an_epoch_is_the_epoch_in_memory_in_the_order_of_the_blocks(name, optimizer, tmp_path):
    source = nbs.data.open(write(tmp_path / name), batch_rows=100, **COLUMNS)
    ours = PenalizedLoss(problem_of(source), ObjectiveOptions())
    theirs = PenalizedLoss(Problem.from_labels(X, Y, sample_weight=W), ObjectiveOptions())
    solver = nbs.SGD(batch_size=20, optimizer=optimizer)
    rates = np.full(50, 0.05)
    assert ours.n_steps(20) == theirs.n_steps(20) == 50
    rows, drawn = np.arange(M).reshape(10, 100), []

    class Recorder:
        """Finds out which rows a part has."""

        def permutation(self, n):
            order = rng.permutation(n)
            drawn.append(order)
            return order

        def integers(self, n):
            return rng.integers(n)

    rng = np.random.default_rng([7, 3])

    class Order(SampleOrder):
        def generator(self):
            return Recorder()

    state = solver.initial_state(np.zeros(ours.shape))
    loss = solver.epoch(ours, state, Order(7, 3), rates, n_before=0)
    blocks, orders = drawn[0], drawn[1:]
    if name == "t.parquet":  # the window of four blocks, by the same draws
        rng = np.random.default_rng([7, 3])
        rng.permutation(10)
        waiting, blocks = [], []
        for i in range(10):
            waiting.append(i)
            if len(waiting) == 4:
                blocks.append(waiting.pop(int(rng.integers(4))))
                rng.permutation(100)
        while waiting:
            blocks.append(waiting.pop(int(rng.integers(len(waiting)))))
            rng.permutation(100)
    assert sorted(blocks) == list(range(10))
    assert list(blocks) != list(range(10))
    order = np.concatenate([rows[i][samples] for i, samples in zip(blocks, orders, strict=True)])
    again = State(*(part.copy() for part in solver.initial_state(np.zeros(ours.shape))))
    expected = theirs.descend(
        again, order, 20, rates, kind={"nesterov": 1, "adam": 2}[optimizer], momentum=0.9, n_before=0
    )
    np.testing.assert_allclose(state.params, again.params, rtol=1e-4, atol=1e-6)
    assert loss == pytest.approx(expected, rel=1e-5)


def test_every_epoch_has_an_order_of_its_own_from_the_seed(path):
    def fit(seed, n=2):
        trainer = nbs.Trainer(solver=nbs.SGD(0.1), tol=1e-12, max_iter=n, random_state=seed)
        with pytest.warns(nbs.ConvergenceWarning):
            return trainer.fit(opened(path)).model.coef.tobytes()

    assert fit(1) == fit(1) != fit(2)


def test_sgd_comes_near_the_minimum_from_dense_and_sparse_blocks(path):
    options = {"solver": nbs.SGD(batch_size=16), "l2": 0.05, "tol": 2e-3, "max_iter": 60}
    least = nbs.Trainer(l2=0.05, tol=1e-9).fit(X, Y, sample_weight=W).objective
    sparse = csr_array(X)
    batches = [(sparse[:700], Y[:700], W[:700]), (sparse[700:], Y[700:], W[700:])]
    for source in (opened(path), nbs.data.from_batches(batches, batch_rows=300)):
        assert nbs.Trainer(**options).fit(source).objective < least * 1.002


# --- interruptions --------------------------------------------------------------------------------

KILLED = """
    import os, sys
    import nbsoftmax as nbs

    class Slow:
        feature_names = None

        def __init__(self, source):
            self.source, self.n = source, 0

        def blocks(self, dtype=None):
            for block in self.source.blocks(dtype):
                self.n += 1
                if self.n > 4 * 9 + 2:  # in the middle of a pass
                    print("now", flush=True)
                    sys.stdin.read()  # to be killed
                yield block

    import nbsoftmax.training.checkpoint as checkpoint
    checkpoint.SECONDS = 0.0
    source = nbs.data.open(sys.argv[1], target="label", weight="weight", batch_rows=300)
    nbs.Trainer({options}).fit(Slow(source), checkpoint=sys.argv[2])
"""


@pytest.mark.parametrize(
    "options",
    ["l2=1e-3, solver='lbfgs', tol=1e-9", "l2=0.05, solver=nbs.SGD(0.05), tol=1e-6, max_iter=8", "l1=1e-2, tol=1e-9"],
)
def test_a_fit_killed_in_the_middle_of_a_pass_resumes_to_the_same_bits(options, path, tmp_path):
    trainer = eval(f"lambda: nbs.Trainer({options})", {"nbs": nbs})
    with np.errstate(all="ignore"):
        whole = quiet(trainer(), opened(path))
    script, state = textwrap.dedent(KILLED).replace("{options}", options), tmp_path / "state.npz"
    command = [sys.executable, "-c", script, str(path), str(state)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "now\n"
        time.sleep(0.2)  # the main thread waits for the block
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
    assert state.exists()
    resumed = quiet(trainer(), opened(path), checkpoint=state, resume=True)
    assert resumed.n_iter == whole.n_iter > 2
    same(whole, resumed)


def quiet(trainer, source, **options):
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        return trainer.fit(source, **options)


# --- callbacks ------------------------------------------------------------------------------------


def test_callbacks_hear_of_the_rows_of_every_pass(path):
    heard = []

    class Rows:
        def on_fit_task_end(self, trainer, context):
            heard.append("iteration")

        def on_rows(self, n_rows, n_samples):
            heard.append((n_rows, n_samples))

    result = nbs.Trainer(l2=0.01, callbacks=[Rows()]).fit(opened(path))
    passes = [each for each in heard if each != "iteration"]
    assert passes[:4] == [(300, None), (600, None), (900, None), (1000, None)]
    assert passes[4:] == [(300, M), (600, M), (900, M), (1000, M)] * (len(passes) // 4 - 1)
    assert heard.count("iteration") == result.n_iter
    assert f"{len(passes) // 4 - 1} passes over the rows besides the first" in result.summary


def test_the_progress_bar_shows_the_rows(path, capsys):
    bar = nbs.callbacks.ProgressBar()
    bar.on_rows(300, None)
    assert capsys.readouterr().err == "before the first iteration  300 rows read\n"
    nbs.Trainer(l2=0.01, verbose=True).fit(opened(path))
    assert "300 rows read" in capsys.readouterr().err


# --- models, estimators, paths --------------------------------------------------------------------


def test_a_model_predicts_for_a_source(path):
    model = nbs.Trainer(l2=0.01).fit(opened(path)).model
    frame = table().select(NAMES)
    source = nbs.data.open(path, features=list(NAMES), batch_rows=300)
    for method in ("predict", "predict_proba", "predict_log_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(model, method)(source), getattr(model, method)(frame))
    for ours, theirs in zip(model.top_k(source, 2), model.top_k(frame, 2), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    right = model.predict(frame) == Y
    assert model.score(opened(path)) == pytest.approx(np.average(right, weights=W))
    assert model.score(opened(path, weight=None, features=list(NAMES))) == right.mean()
    with pytest.raises(nbs.InputTypeError, match="the rows have no labels"):
        model.score(source)
    with pytest.raises(nbs.InputValueError, match="lacks 'f1'"):
        model.predict(nbs.data.open(path, features=["f0"]))
    offset = X[:, : model.n_classes] * 3
    np.testing.assert_array_equal(
        model.predict_proba(nbs.data.from_batches([(X, Y, W, offset)], batch_rows=300)),
        model.predict_proba(X, offset=offset),
    )
    with pytest.raises(nbs.InputTypeError, match="its own y, sample weights and offset; leave offset out"):
        model.predict(source, offset=offset)
    bad = X.copy()
    bad[700, 2] = np.inf
    with pytest.raises(nbs.InputValueError, match=r"begins at row 600: X contains inf at row 100"):
        model.predict(nbs.data.from_batches([(bad,)], batch_rows=300))


def test_validation_data_may_be_another_file(path):
    result = nbs.Trainer(l2=0.01).fit(opened(path), validation_data=opened(path, batch_rows=123))
    again = nbs.Trainer(l2=0.01).fit(opened(path), validation_data=(table().select(NAMES), Y))
    assert result.history["validation_loss"].size == again.history["validation_loss"].size == result.n_iter
    with pytest.raises(nbs.InputValueError, match="lacks 'f0'"):
        nbs.Trainer(l2=0.01).fit(opened(path), validation_data=opened(path, features=["f1", "f2"]))


@pytest.mark.parametrize("l1_ratio", [0.0, 0.5])
def test_an_estimator_has_the_c_of_scikit_learn_for_a_source(l1_ratio, path):
    options = {"C": 0.3, "l1_ratio": l1_ratio, "class_weight": "balanced", "tol": 1e-11}
    ours = nbs.SoftmaxRegression(**options).fit(opened(path))
    frame = table().select(NAMES).to_pandas()
    theirs = nbs.SoftmaxRegression(**options).fit(frame, Y, sample_weight=W)
    # Each is within sqrt(2 tol J / l2) of the minimum: 1.2e-4 with l1_ratio 0.5.
    np.testing.assert_allclose(ours.coef_, theirs.coef_, rtol=0, atol=2.5e-4)
    assert ours.feature_names_in_.tolist() == theirs.feature_names_in_.tolist() == list(NAMES)
    assert ours.n_features_in_ == N
    source = nbs.data.open(path, features=list(NAMES), batch_rows=300)
    np.testing.assert_array_equal(ours.predict(source), ours.predict(frame))
    np.testing.assert_array_equal(ours.predict_proba(source), ours.predict_proba(frame))
    assert ours.score(opened(path)) == pytest.approx(ours.score(frame, Y, W))


def test_paths_take_a_source(path):
    ours = nbs.fit_path(opened(path), Cs=[0.1, 1.0], l1_ratio=0.5, tol=1e-11)
    theirs = nbs.fit_path(X, Y, Cs=[0.1, 1.0], l1_ratio=0.5, sample_weight=W, tol=1e-11)
    np.testing.assert_allclose(ours.coefs, theirs.coefs, rtol=0, atol=4.5e-4)  # twice sqrt(2 tol J / l2) for C = 1
    with pytest.raises(nbs.InputTypeError, match="cross-validation needs all rows in memory"):
        nbs.SoftmaxRegressionCV().fit(opened(path))
    with pytest.raises(nbs.InputTypeError, match="give it alone"):
        nbs.SoftmaxRegression().fit(opened(path), Y)


def test_fits_of_one_problem_at_once_report_their_own_rows(path):
    problem = problem_of(opened(path))
    second, done = threading.Event(), threading.Event()
    rows = {"a": [], "b": []}

    class Rows:
        def __init__(self, name):
            self.name = name

        def on_rows(self, n_rows, n_samples):
            rows[self.name].append((threading.current_thread().name, n_rows))
            if self.name == "a" and not second.is_set():  # the other fit runs while this one is in its first pass
                second.set()
                done.wait(60)

    def fit(name):
        with rows_reported(problem, [Rows(name)]):
            parts = (SimpleNamespace(n_samples=len(block.X)) for block in problem.reading.source.blocks())
            for _ in problem.reading.parts(parts, problem.n_samples):
                pass
            passes[name] = problem.reading.summary()
        done.set()

    passes = {}
    first = threading.Thread(target=fit, args=["a"], name="a")
    first.start()
    assert second.wait(60)
    for _ in range(2):
        fit("b")
    first.join()
    assert {thread for thread, _ in rows["a"]} == {"a"}
    assert [n for _, n in rows["a"]] == [n for _, n in rows["b"]][: len(rows["a"])]
    assert len(rows["b"]) == 2 * len(rows["a"])
    assert passes["a"].startswith("1 pass")
    assert passes["b"].startswith("1 pass")
