"""Ctrl-C: a fit returns the best parameters so far, and says so."""

import contextlib
import sys

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers.stop_reason import StopReason
from nbsoftmax.training.monitor import FitMonitor
from tests.training.problems import blobs, overlapping


def test_ctrl_c_returns_what_there_is_and_says_so():
    X, y = blobs()

    def interrupt(now):
        if now.n_iter == 4:
            raise KeyboardInterrupt

    result = nbs.Trainer(callbacks=[interrupt]).fit(X, y)
    params = np.column_stack([result.model.coef, result.model.intercept])
    assert not result.converged
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.n_iter == 4
    assert result.objective == nbs.Objective(X, y).value(params)
    # The steps of a fit of few samples sum in another order than `Objective`.
    assert result.objective == pytest.approx(result.history["objective"][-1], rel=1e-14)


def test_ctrl_c_between_any_two_lines_of_the_bookkeeping_loses_nothing(tmp_path):
    X, y = blobs()
    for line in range(100):
        with interrupted_at(FitMonitor.__call__, n_iter=4, line=line) as reached:
            result = nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "c")
        if not reached:
            break
        assert result.stop_reason is StopReason.INTERRUPTED
        assert result.objective < np.log(3)
    assert 5 < line < 99  # there were such lines, and all have had their turn


@contextlib.contextmanager
def interrupted_at(function, *, n_iter, line):
    """Ctrl-C before the given line of one iteration's call; yields a list that stays empty if it never came."""
    reached, lines = [], []

    def trace(frame, event, _):
        if frame.f_code is not function.__code__ or frame.f_locals.get("n_iter") != n_iter:
            return None
        if event == "line":
            lines.append(frame.f_lineno)
            if len(lines) == line + 1:
                reached.append(True)
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield reached
    finally:
        sys.settrace(before)


def test_ctrl_c_returns_the_best_point_of_a_fit_that_has_got_worse():
    X, y = blobs()

    def interrupt(now):
        if now.n_iter == 6:
            raise KeyboardInterrupt

    result = nbs.Trainer(solver=nbs.GradientDescent(12.0), l2=0.1, callbacks=[interrupt]).fit(2 * X, y)
    history = result.history["objective"]
    assert history.max() > history[0]  # such a rate does overshoot
    assert result.objective <= min(np.log(3), history.min())


def test_an_interrupted_fit_still_says_how_far_it_is():
    def interrupt(now):
        if now.n_iter == 3:
            raise KeyboardInterrupt

    result = nbs.Trainer(solver="lbfgs", l2=1e-3, callbacks=[interrupt]).fit(*overlapping(np.random.default_rng(0)))
    assert result.stop_reason is StopReason.INTERRUPTED
    assert 0 < result.gap < np.inf


def test_a_penalised_fit_ends_a_few_passes_after_ctrl_c_with_a_proven_bound():
    X, y = overlapping(np.random.default_rng(0))
    passes, at_interruption = [], []

    def batches():
        passes.append(1)
        yield X, y

    def interrupt(now):
        if now.n_iter == 2:
            at_interruption.append(len(passes))
            raise KeyboardInterrupt

    options = {"solver": "lbfgs", "l2": 1e-3, "tol": 1e-10}
    result = nbs.Trainer(**options, callbacks=[interrupt]).fit(nbs.data.from_batches(batches))
    assert len(passes) - at_interruption[0] <= 3  # an estimate would take about 20
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.gap_kind == "duality"
    assert result.gap >= result.objective - nbs.Trainer(**options).fit(X, y).objective > 0


@pytest.mark.filterwarnings("ignore:the fit has not converged")
def test_ctrl_c_after_a_resumption_returns_the_best_point_of_all_runs(tmp_path):
    X, y = overlapping(np.random.default_rng(0))
    rising = {"solver": nbs.SGD(learning_rate=0.005, schedule="constant", batch_size=8), "l2": 1e-3}
    objective = nbs.Trainer(**rising, max_iter=20).fit(X, y).history["objective"]
    lowest = np.minimum.accumulate(objective)
    n = 2 + int(np.flatnonzero((objective[1:-1] > objective[2:]) & (objective[2:] > lowest[1:-1]))[0])

    def interrupt(now):
        if now.n_iter == n + 1:  # better than the iteration before, which is the last one of the first run
            raise KeyboardInterrupt

    stopped = nbs.Trainer(**rising, max_iter=20, callbacks=[lambda now: now.n_iter == n])
    assert stopped.fit(X, y, checkpoint=tmp_path / "state").n_iter == n
    trainer = nbs.Trainer(**rising, max_iter=20, callbacks=[interrupt])
    result = trainer.fit(X, y, checkpoint=tmp_path / "state", resume=True)
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.objective == pytest.approx(lowest[n], rel=1e-12)
    assert lowest[n] < np.log(3)
