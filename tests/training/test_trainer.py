"""The trainer: its report, warnings, callbacks, starting points and class weights."""

import warnings

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers.stop_reason import StopReason
from tests.training.problems import blobs, overlapping


def test_the_report_is_true():
    X, y = blobs()
    result = nbs.Trainer(l2=0.01).fit(X, y)
    objective = nbs.Objective(X, y, l2=0.01)
    params = np.column_stack([result.model.coef, result.model.intercept])
    value, grad = objective.value_and_grad(params)
    rounded = 4 * np.finfo(float).eps  # other kernels add in another order; the gradient is a difference of sums
    assert result.objective == pytest.approx(value, rel=rounded)
    assert np.abs(result.grad_norm - np.linalg.norm(grad)) <= rounded
    assert result.converged
    assert result.gap <= 1e-6 * value
    history = result.history
    assert {len(entries) for entries in history.values()} == {result.n_iter}
    assert history["objective"][-1] == result.objective
    assert history["grad_norm"][-1] == result.grad_norm
    assert (np.diff(history["seconds"]) >= 0).all()
    assert history["seconds"][-1] <= result.seconds


def test_a_fit_that_starts_at_the_minimum_has_an_empty_history():
    X, y = blobs()
    best = nbs.Trainer(l2=0.01, tol=1e-10).fit(X, y).model
    result = nbs.Trainer(l2=0.01, tol=1e-3).fit(X, y, init=best)
    assert result.n_iter == 0
    assert {name: len(entries) for name, entries in result.history.items()} == dict.fromkeys(
        ["objective", "grad_norm", "seconds"], 0
    )


def test_not_converging_is_said_with_what_to_do():
    X, y = blobs()
    with pytest.warns(nbs.ConvergenceWarning, match="increase max_iter"):
        result = nbs.Trainer(max_iter=2).fit(X, y)
    assert not result.converged
    assert result.n_iter == 2
    with pytest.warns(nbs.ConvergenceWarning, match="reduce learning_rate"):
        result = nbs.Trainer(solver=nbs.GradientDescent(1e6)).fit(X * 100, y)
    assert np.isfinite(result.model.coef).all()


def test_no_warning_where_it_converged():
    X, y = blobs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert nbs.Trainer(l2=0.1).fit(X, y).converged
        assert nbs.Trainer(l2=0.1, solver="gd").fit(X, y).converged


def test_callbacks_see_every_iteration_and_can_stop():
    X, y = blobs()
    seen = []

    def watch(now):
        seen.append((now.n_iter, now.objective, now.params.shape))
        return now.n_iter == 2

    result = nbs.Trainer(callbacks=[watch]).fit(X, y)
    assert [n for n, *_ in seen] == [1, 2]
    assert seen[-1] == (2, result.objective, (3, 5))
    assert not result.converged
    assert result.stop_reason is StopReason.CALLBACK


def test_callbacks_cannot_change_the_parameters_and_may_answer_with_numpys_true():
    X, y = blobs()
    with pytest.raises(ValueError, match="read-only"):
        nbs.Trainer(callbacks=[lambda now: now.params.fill(7)]).fit(X, y)
    assert nbs.Trainer(callbacks=[lambda now: np.bool_(now.n_iter == 3)]).fit(X, y).n_iter == 3


@pytest.mark.parametrize("solver", ["newton-cg", "lbfgs", "gd"])
def test_data_of_extreme_scale_end_with_a_true_report(solver):
    X, y = blobs()
    for scale in (1e200, 1e-200):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", nbs.ConvergenceWarning)
            result = nbs.Trainer(solver=solver, max_iter=50).fit(X * scale, y)
        assert np.isfinite(result.model.coef).all()
        assert result.objective <= np.log(3) + 1e-12
        assert result.converged == (result.gap <= 1e-6 * result.objective)


def test_balanced_weights_work_with_probabilities_and_with_a_class_of_weight_zero():
    X, y = blobs()
    soft = np.eye(3)[y]
    hard = nbs.Trainer(l2=0.1, tol=1e-10, class_weight="balanced").fit(X, y)
    assert nbs.Trainer(l2=0.1, class_weight="balanced").fit(X, soft).converged
    without = nbs.Trainer(l2=0.1, class_weight="balanced").fit(X, y, sample_weight=(y != 2).astype(float))
    assert without.converged
    assert hard.converged


def test_a_warm_start_at_the_optimum_needs_no_work():
    X, y = blobs()
    cold = nbs.Trainer(l2=0.01, tol=1e-9).fit(X, y)
    for init in (cold, cold.model, np.column_stack([cold.model.coef, cold.model.intercept])):
        warm = nbs.Trainer(l2=0.01, tol=1e-8).fit(X, y, init=init)
        assert warm.converged
        assert warm.n_iter < cold.n_iter / 2
    with pytest.raises(nbs.InputValueError, match="same classes"):
        nbs.Trainer().fit(X, y + 1, init=cold)
    with pytest.raises(nbs.InputValueError, match="init has shape"):
        nbs.Trainer().fit(X, y, init=np.zeros((2, 2)))


def test_validation_loss_is_in_the_history():
    X, y = blobs(200)
    result = nbs.Trainer(l2=0.01).fit(X[:150], y[:150], validation_data=(X[150:], y[150:]))
    expected = nbs.cross_entropy(result.model.decision_function(X[150:]), y[150:])
    assert abs(result.history["validation_loss"][-1] - expected) <= 1e-12
    with pytest.raises(nbs.InputValueError, match="not trained on"):
        nbs.Trainer().fit(X[:150], y[:150], validation_data=(X[150:], y[150:] + 7))


def test_class_weights_by_label_by_order_and_balanced_agree():
    X, y = blobs()
    names = np.array(["a", "b", "c"])[y]
    counts = np.bincount(y)
    weights = len(y) / (3 * counts)
    fits = [
        nbs.Trainer(l2=0.01, tol=1e-10, class_weight=w).fit(X, names).objective
        for w in ("balanced", dict(zip("abc", weights, strict=True)), weights)
    ]
    assert np.ptp(fits) <= 1e-9
    with pytest.raises(nbs.InputValueError, match="'d', which is no label"):
        nbs.Trainer(class_weight={"d": 2.0}).fit(X, names)


def test_without_an_intercept_it_stays_zero():
    X, y = blobs()
    result = nbs.Trainer(l2=0.01, fit_intercept=False).fit(X, y, init=np.ones((3, 5)))
    assert (result.model.intercept == 0).all()
    assert result.gap_kind == "strong-convexity"


def test_max_seconds_ends_the_fit_and_is_named():
    X, y = overlapping(np.random.default_rng(0))
    with pytest.warns(nbs.ConvergenceWarning, match="max_seconds"):
        result = nbs.Trainer(solver="gd", tol=1e-15, max_seconds=1e-9).fit(X, y)
    assert result.n_iter == 1
    assert not result.converged
    assert np.isfinite(result.gap)
