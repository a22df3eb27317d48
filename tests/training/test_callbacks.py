"""Callbacks that are shipped, and the hooks that anybody's may have."""

import dataclasses
import io
import json

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.callbacks import Context, EarlyStopping, JsonLines, ModelCheckpoint, ProgressBar
from nbsoftmax.solvers.stop_reason import StopReason


def data(m=300):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(m, 5))
    return X, (X @ rng.normal(size=(5, 3)) + rng.gumbel(size=(m, 3))).argmax(axis=1)


class Recorder:
    def __init__(self):
        self.heard = []

    def setup(self, trainer, context):
        self.heard.append(("setup", trainer, context.solver, context.classes.tolist(), context.iteration))

    def on_fit_task_end(self, trainer, context):
        self.heard.append(("iteration", context.iteration.n_iter, context.iteration.objective))

    def teardown(self, trainer, context):
        self.heard.append(("teardown", context.result))


def test_hooks_hear_of_beginning_iterations_and_end():
    X, y = data()
    recorder = Recorder()
    trainer = nbs.Trainer(l2=0.01, callbacks=[recorder])
    result = trainer.fit(X, y)
    first, *iterations, last = recorder.heard
    assert first == ("setup", trainer, "newton-cg", [0, 1, 2], None)
    assert iterations == [("iteration", n, value) for n, value in enumerate(result.history["objective"], 1)]
    assert last == ("teardown", result)


def test_teardown_comes_also_when_a_fit_ends_in_an_error():
    X, y = data()
    recorder = Recorder()

    def fails(now):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        nbs.Trainer(callbacks=[recorder, fails]).fit(X, y)
    assert recorder.heard[-1] == ("teardown", None)


def test_a_hook_that_returns_true_stops_the_fit():
    class Stop:
        def on_fit_task_end(self, trainer, context):
            return context.iteration.n_iter == 2 or ""  # an empty reason is none

    X, y = data()
    result = nbs.Trainer(callbacks=[Stop()]).fit(X, y)
    assert (result.n_iter, result.stop_reason) == (2, StopReason.CALLBACK)


def test_what_is_no_callback_is_refused():
    for odd in (3, ProgressBar):  # the class instead of one of it
        with pytest.raises(nbs.InputTypeError, match="hooks"):
            nbs.Trainer(callbacks=[odd])


def test_json_lines_are_the_history_and_how_it_ended(tmp_path):
    X, y = data()
    file = tmp_path / "log.jsonl"
    trainer = nbs.Trainer(l2=0.01, callbacks=[JsonLines(file)])
    result = trainer.fit(X, y, validation_data=(X[:50], y[:50]))
    *iterations, end = [json.loads(line) for line in file.read_text().splitlines()]
    for name in ("objective", "grad_norm", "validation_loss"):
        assert [entry[name] for entry in iterations] == result.history[name].tolist()
    assert end["converged"] is True
    assert (end["n_iter"], end["solver"], end["gap"]) == (result.n_iter, "newton-cg", result.gap)
    trainer.fit(X, y)  # another fit adds to what is there
    assert len(file.read_text().splitlines()) == 2 * (result.n_iter + 1)


def test_a_number_that_is_not_finite_is_null_in_json(tmp_path):
    log = JsonLines(tmp_path / "log")
    context = Context("gd", 1, 1, np.array([0, 1]), None)
    context.iteration = nbs.Iteration(1, np.inf, np.nan, 0.5, None, np.empty((0, 0)))
    log.setup(None, context)
    log.on_fit_task_end(None, context)
    log.teardown(None, context)
    assert json.loads((tmp_path / "log").read_text()) == {
        "iteration": 1, "objective": None, "grad_norm": None, "seconds": 0.5, "validation_loss": None,
    }  # fmt: skip


def test_early_stopping_stops_after_iterations_without_a_new_minimum():
    losses = [3.0, 2.0, 2.5, 1.95, 1.9, 2.0]
    stopper = EarlyStopping(3, min_delta=0.1)
    for _ in range(2):  # a second fit begins anew
        context = Context("gd", 1, 1, np.array([0, 1]), None, n_validation_samples=1)
        stopper.setup(None, context)
        said = []
        for n, loss in enumerate(losses, 1):
            context.iteration = nbs.Iteration(n, 0.0, 0.0, 0.0, loss, np.empty((0, 0)))
            said.append(stopper.on_fit_task_end(None, context) is not None)
        # 1.95 is not 0.1 below 2; 1.9 is no less than 0.1 below either.
        assert said == [False, False, False, False, True, True]


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
def test_the_last_epoch_is_restored_where_an_earlier_one_nearby_has_the_lowest_objective():
    rng = np.random.default_rng(121)
    X = rng.normal(size=(300, 3))
    rng.normal(size=(3, 3)), rng.gumbel(size=(300, 3))
    weights = rng.normal(size=(3, 3))
    y, held_out = (X @ weights + rng.gumbel(size=(300, 3))).argmax(axis=1), rng.normal(size=(100, 3))
    labels = (held_out @ weights + rng.gumbel(size=(100, 3))).argmax(axis=1)
    max_iter = int(rng.integers(20, 40))
    solver = nbs.SGD(learning_rate=10 ** rng.uniform(-2.5, -1), average=False, schedule="constant")
    seen, options = [], {"l2": 1e-2, "max_iter": max_iter, "tol": 1e-14, "random_state": 121}
    keep = lambda now: seen.append(now.params.copy()) and None  # noqa: E731
    result = nbs.Trainer(solver=solver, callbacks=[EarlyStopping(100), keep], **options).fit(
        X, y, validation_data=(held_out, labels)
    )
    lowest = int(result.history["objective"].argmin())  # sgd returns this epoch
    assert result.history["validation_loss"].argmin() == len(seen) - 1 > lowest
    assert np.abs(seen[lowest] - seen[-1]).max() < 0.01 * np.abs(seen[-1]).max()
    assert np.array_equal(result.model.coef, seen[-1][:, :-1])


def test_early_stopping_watches_what_it_is_told_to():
    X, y = data()
    result = nbs.Trainer(solver="gd", tol=1e-12, callbacks=[EarlyStopping(1, monitor="objective", min_delta=1e-3)]).fit(
        X, y
    )
    gains = -np.diff(result.history["objective"])
    assert result.stop_reason is StopReason.EARLY_STOPPING
    assert result.stop_reason is StopReason.EARLY_STOPPING
    assert "objective has not improved" in result.reason
    assert (gains[:-1] > 1e-3).all()
    assert gains[-1] <= 1e-3
    with pytest.raises(nbs.InputValueError, match="validation_data"):
        nbs.Trainer(callbacks=[EarlyStopping()]).fit(X, y)
    with pytest.raises(nbs.InputValueError, match="monitor"):
        EarlyStopping(monitor="accuracy")


def overfitting():
    """A fit whose validation loss rises again after some iterations."""
    rng = np.random.default_rng(3)
    X, held_out = rng.normal(size=(60, 40)), rng.normal(size=(500, 40))
    y, labels = ((Z[:, 0] + rng.normal(size=len(Z)) > 0).astype(int) for Z in (X, held_out))
    return {"X": X, "y": y, "validation_data": (held_out, labels)}


@pytest.mark.parametrize("restore_best", [True, False])
def test_early_stopping_restores_the_best_parameters_if_it_may(restore_best):
    fit, seen = overfitting(), []
    keep = lambda now: seen.append(now.params.copy()) and None  # noqa: E731
    stopper = EarlyStopping(3, restore_best=restore_best)
    result = nbs.Trainer(solver="lbfgs", l2=1e-6, callbacks=[keep, stopper]).fit(**fit)
    best = int(result.history["validation_loss"].argmin())
    assert best == result.n_iter - 4
    assert np.array_equal(result.model.coef, seen[best if restore_best else -1][:, :-1])
    assert "validation_loss has not improved for 3 iterations" in result.reason
    assert result.reason.endswith(f"; the model is that of iteration {best + 1}") == restore_best


def test_the_best_value_is_restored_though_it_is_no_improvement_by_min_delta():
    fit = overfitting()
    result = nbs.Trainer(solver="lbfgs", l2=1e-6, callbacks=[EarlyStopping(3, min_delta=0.01)]).fit(**fit)
    losses = result.history["validation_loss"]
    X, labels = fit["validation_data"]
    assert nbs.cross_entropy(result.model.decision_function(X), labels) == pytest.approx(losses.min(), rel=1e-12)


class Counter:
    """A callback with a state, that chooses the second iteration and stops the fit after the fifth."""

    def setup(self, trainer, context):
        self.count, self.chosen, self.loaded = 0, None, None

    def on_fit_task_end(self, trainer, context):
        self.count += 1
        if self.count == 2:
            self.chosen = dataclasses.replace(context.iteration, params=context.iteration.params.copy())
        return "five are enough" if self.count == 5 else None

    def best_iteration(self, trainer, context):
        return self.chosen

    def state_dict(self):
        return {"count": self.count}

    def load_state_dict(self, state):
        self.loaded = self.count = int(state["count"])


def test_a_callback_may_say_why_it_stops_and_choose_the_parameters():
    counter, seen = Counter(), []
    result = nbs.Trainer(solver="gd", callbacks=[lambda now: seen.append(now.params.copy()), counter]).fit(*data())
    assert result.n_iter == 5
    assert result.stop_reason is StopReason.CALLBACK
    assert result.reason == "five are enough; the model is that of iteration 2"
    assert np.array_equal(result.model.coef, seen[1][:, :-1])


def test_the_state_of_a_callback_is_in_checkpoints(tmp_path):
    X, y = data()
    options = {"solver": "gd", "tol": 1e-12}
    nbs.Trainer(max_iter=3, callbacks=[Counter()], **options).fit(X, y, checkpoint=tmp_path / "c")
    counter = Counter()
    others = [lambda now: None, counter]  # another callback may come and go
    resumed = nbs.Trainer(callbacks=others, **options).fit(X, y, checkpoint=tmp_path / "c", resume=True)
    assert counter.loaded == 3
    assert resumed.n_iter == 5
    other = ProgressBar()  # a checkpoint with the state of a callback that is not there any more
    with pytest.warns(nbs.ConvergenceWarning), pytest.warns(UserWarning, match="'callback_Counter_0_count'"):
        nbs.Trainer(callbacks=[other], max_iter=8, **options).fit(X, y, checkpoint=tmp_path / "c", resume=True)


def test_the_model_so_far_is_on_disk_while_the_fit_goes_on(tmp_path):
    X, y = data()
    file = tmp_path / "model.npz"
    seen = []

    def look(now):
        saved = nbs.SoftmaxModel.load(file)
        seen.append(saved.coef.tobytes() == np.ascontiguousarray(now.params[:, :-1]).tobytes())

    labels = np.array(["a", "b", "c"])[y]
    result = nbs.Trainer(l2=0.01, callbacks=[ModelCheckpoint(file, seconds=0.0), look]).fit(X, labels)
    assert all(seen)
    saved = nbs.SoftmaxModel.load(file)
    assert saved.coef.tobytes() == result.model.coef.tobytes()
    assert saved.classes.tolist() == ["a", "b", "c"]


def test_the_model_on_disk_is_that_of_the_lowest_validation_loss_so_far(tmp_path):
    file, fitted, on_disk = tmp_path / "model.npz", [], []

    def look(now):
        fitted.append(now.params[:, :-1].tobytes())
        on_disk.append(np.ascontiguousarray(nbs.SoftmaxModel.load(file).coef).tobytes())

    callbacks = [ModelCheckpoint(file, seconds=0.0), look]
    losses = nbs.Trainer(solver="lbfgs", l2=1e-6, callbacks=callbacks).fit(**overfitting()).history["validation_loss"]
    best = [int(losses[: n + 1].argmin()) for n in range(len(losses))]
    assert best[-1] < len(losses) - 4  # it rises, while the objective falls
    assert on_disk == [fitted[n] for n in best]


@pytest.mark.parametrize("options", [{"callbacks": [ProgressBar()]}, {"verbose": True}], ids=["callback", "verbose"])
def test_progress_is_a_line_on_stderr_now_and_then_where_there_is_no_terminal(capsys, options):
    X, y = data()
    nbs.Trainer(**options).fit(X, y)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("iteration     1  objective ")


def test_progress_on_a_terminal_leaves_nothing_behind(monkeypatch):
    pytest.importorskip("rich")

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    X, y = data()
    bar = ProgressBar()
    nbs.Trainer(callbacks=[bar]).fit(X, y)
    assert bar._live is None
    assert "before the first iteration" in terminal.getvalue() or "iteration" in terminal.getvalue()


def test_a_share_of_each_class_is_held_out_and_not_trained_on():
    X, y = data(400)
    result = nbs.Trainer(l2=0.01, validation_fraction=0.25, random_state=3).fit(X, y)
    other = nbs.Trainer(l2=0.01, validation_fraction=0.25, random_state=4).fit(X, y)
    assert len(result.history["validation_loss"]) == result.n_iter
    assert result.model.coef.tobytes() != other.model.coef.tobytes()
    from nbsoftmax.problem import rows_to_hold_out

    out = rows_to_hold_out(y, 0.25, 3)
    share = np.bincount(y[out]) / np.bincount(y)
    assert abs(share - 0.25).max() <= 1 / np.bincount(y).min()
    kept = nbs.Trainer(l2=0.01).fit(X[~out], y[~out], validation_data=(X[out], y[out]))
    assert kept.model.coef.tobytes() == result.model.coef.tobytes()
    assert kept.history["validation_loss"].tobytes() == result.history["validation_loss"].tobytes()


def test_a_share_that_holds_out_nothing_is_refused():
    X, y = data(10)
    with pytest.raises(nbs.InputValueError, match="holds out none"):
        nbs.Trainer(validation_fraction=0.01).fit(X, y)
    with pytest.raises(nbs.InputValueError, match=r"validation_fraction is 0\.95"):
        nbs.Trainer(validation_fraction=0.95)


def test_early_stopping_of_another_value_does_not_go_on_from_the_state_of_a_checkpoint(tmp_path):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(90, 4)), rng.integers(0, 3, 90)

    def fit(monitor, *more, **options):
        callbacks = [nbs.callbacks.EarlyStopping(3, monitor=monitor, restore_best=False), *more]
        trainer = nbs.Trainer(
            solver=nbs.GradientDescent(0.1), validation_fraction=0.3, max_iter=12, callbacks=callbacks
        )
        return trainer.fit(X, y, **options)

    fit("grad_norm", lambda now: now.n_iter == 2, checkpoint=tmp_path / "fit")  # lower than the objective
    with pytest.warns(nbs.ConvergenceWarning, match="max_iter reached"):
        fit("objective", checkpoint=tmp_path / "fit", resume=True)
