"""A fit reports to the callbacks of scikit-learn."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.estimators.problems import problem

HAS_CALLBACKS = hasattr(nbs.SoftmaxRegression, "set_callbacks")  # scikit-learn 1.9


@pytest.mark.skipif(not HAS_CALLBACKS, reason="scikit-learn before 1.9 has no callbacks")
class TestCallbacks:
    class Recorder:
        """Keeps what it hears, and asks to stop, or raises, after some iterations."""

        def __init__(self, stop_after=None, error=None):
            self.events, self.scores, self.stop_after, self.error = [], [], stop_after, error

        def setup(self, estimator, context):
            self.events.append("setup")

        def teardown(self, estimator, context):
            self.events.append("teardown")

        def on_fit_task_begin(self, estimator, context):
            self.events.append(f"begin {context.task_name}")

        def on_fit_task_end(self, estimator, context, *, X, y, fitted_estimator, metadata):
            self.events.append(f"end {context.task_name}")
            if fitted_estimator is not None:
                self.scores.append(fitted_estimator.score(X, y, **(metadata or {})))
            ended = self.events.count("end iteration")
            if ended == self.stop_after:
                if self.error is not None:
                    raise self.error
                return True
            return False

    @pytest.mark.parametrize("n_classes", [2, 3])
    @pytest.mark.parametrize("max_iter", [None, 50])
    def test_every_iteration_is_a_task_with_an_estimator_that_predicts(self, n_classes, max_iter):
        X, y = problem(n_classes)
        heard = self.Recorder()
        fitted = nbs.SoftmaxRegression(max_iter=max_iter).set_callbacks(heard)
        fitted.fit(X, y, sample_weight=np.ones(y.size))
        n = fitted.n_iter_[0]
        pairs = ["begin iteration", "end iteration"] * (n + 1)  # the last is the one that was not needed any more
        assert heard.events == ["setup", "begin fit", *pairs, "end fit", "teardown"]
        assert len(heard.scores) == n + 1
        assert heard.scores[-2:] == [fitted.score(X, y)] * 2

    @pytest.mark.filterwarnings("error::nbsoftmax.ConvergenceWarning")  # who asked to stop need not be told
    def test_a_callback_that_asks_to_stop_is_obeyed(self):
        X, y = problem(3)
        heard = self.Recorder(stop_after=2)
        fitted = nbs.SoftmaxRegression(solver="gd").set_callbacks(heard).fit(X, y)
        assert nbs.SoftmaxRegression(solver="gd").fit(X, y).n_iter_[0] > 2
        assert fitted.n_iter_[0] == 2
        assert heard.events[-2:] == ["end fit", "teardown"]

    @pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
    def test_a_fit_may_use_all_its_iterations_as_tasks(self):
        heard = self.Recorder()
        nbs.SoftmaxRegression(solver="gd", max_iter=3).set_callbacks(heard).fit(*problem(3))
        assert len(heard.scores) == 3 + 1

    def test_an_interruption_keeps_what_was_reached_and_goes_on(self):
        X, y = problem(3)
        interrupted = nbs.SoftmaxRegression(solver="gd").set_callbacks(self.Recorder(3, KeyboardInterrupt()))
        with pytest.raises(KeyboardInterrupt):
            interrupted.fit(X, y)
        assert not interrupted.converged_
        assert interrupted.score(X, y) > 1 / 3

    def test_an_error_of_a_callback_is_the_users_to_see(self):
        heard = self.Recorder(1, ZeroDivisionError())
        with pytest.raises(ZeroDivisionError):
            nbs.SoftmaxRegression().set_callbacks(heard).fit(*problem(3))
        assert heard.events[-1] == "teardown"

    def test_scikit_learns_monitor_sees_the_score_grow(self):
        from sklearn.callback import ScoringMonitor

        X, y = problem(3)
        monitor = ScoringMonitor(scoring="neg_log_loss")
        nbs.SoftmaxRegression(C=np.inf).set_callbacks(monitor).fit(X, y)
        scores = [row["neg_log_loss"] for row in monitor.get_logs().data if row["task_name"] == "iteration"]
        assert len(scores) > 1
        assert scores == sorted(scores)
