"""Fits of few samples of many features, over the span of the samples: only their time shows it."""

import pickle

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.callbacks import EarlyStopping
from nbsoftmax.penalized_loss import ObjectiveOptions
from nbsoftmax.problem import Problem
from nbsoftmax.training.row_span import RowSpan
from tests.training.killed import same

M, N, K = 60, 400, 3
RNG = np.random.default_rng(0)
X = RNG.normal(size=(M, N)) + RNG.normal(size=(M, 4)) @ RNG.normal(size=(4, N))
Y = (X[:, :K] * 2 + RNG.gumbel(size=(M, K))).argmax(axis=1)
WEIGHT = RNG.uniform(size=M) * (RNG.uniform(size=M) < 0.9)
PROBA = RNG.dirichlet(np.ones(K), M)
OFFSET = RNG.normal(size=(M, K))
# Options of the trainer, and arguments of `fit`.
FITS = {
    "default": ({"l2": 1e-2}, {}),
    "nearly separable": ({"l2": 1e-6}, {}),
    "no intercept": ({"l2": 1e-2, "fit_intercept": False}, {}),
    "by feature": ({"l2": 1e-2, "penalty_weight": np.geomspace(1e-2, 1e2, N)}, {}),
    "standardised": ({"l2": 1e-2, "standardize": True}, {}),
    "weights": ({"l2": 1e-2, "class_weight": "balanced"}, {"sample_weight": WEIGHT}),
    "offset": ({"l2": 1e-2}, {"offset": OFFSET}),
    "probabilities": ({"l2": 1e-2}, {"y": PROBA}),
    "smoothed": ({"l2": 1e-3, "label_smoothing": 0.1}, {}),
    "two classes": ({"l2": 1e-2}, {"y": Y > 0}),
    "many features": ({"l2": 1e-2}, {"X": np.hstack([X, -X, X / 3])}),
    "equal samples": ({"l2": 1e-2}, {"X": np.repeat(X[::3], 3, axis=0)}),
    "float32": ({"l2": 1e-2}, {"X": X.astype(np.float32)}),
    "float32 beside": ({"l2": 1e-2}, {"X": X.astype(np.float32), "y": PROBA, "offset": OFFSET}),
    "by columns": ({"l2": 1e-2}, {"X": np.asfortranarray(X)}),
    "large means": ({"l2": 1e-2}, {"X": X + 1e4}),
    "scales": ({"l2": 1e-2}, {"X": X * np.geomspace(1e-4, 1e4, N)}),
}


def fitted(name, *, cut=True, tol=1e-9, **options):
    """A fit, over the span of its samples or with a solver that never makes use of it."""
    of_trainer, of_fit = FITS[name]
    solver = "newton-cg" if cut else "lbfgs"
    trainer = nbs.Trainer(**of_trainer, **options, tol=tol, solver=solver, max_iter=100_000)
    return trainer.fit(**{"X": X, "y": Y} | of_fit)


@pytest.mark.parametrize("name", FITS)
def test_the_minimum_is_that_of_all_features(name):
    found, expected = fitted(name), fitted(name, cut=False)
    assert "coordinates of the span" in found.summary and "coordinates" not in expected.summary
    assert found.converged
    if name not in ("nearly separable", "large means", "scales"):  # whose bounds are rounding errors
        assert found.gap_kind == ("duality" if name != "no intercept" else "strong-convexity")
    n_classes, n = expected.model.coef.shape
    l2 = np.broadcast_to(FITS[name][0].get("penalty_weight", 1.0), n) * FITS[name][0]["l2"]
    # J - J* <= g is the promise of each, and J - J* >= sum_kj l2_j (W - W*)_kj^2 / 2.
    assert abs(found.objective - expected.objective) <= found.gap + expected.gap + 1e-15
    if name != "standardised":  # there the penalties of the features depend on their variances
        for model in (found.model, expected.model):
            assert model.coef.shape == (n_classes, n)
        distance = (l2 * (found.model.coef - expected.model.coef) ** 2).sum()
        assert distance <= 4 * (found.gap + expected.gap) + 1e-14 * found.objective


@pytest.mark.parametrize("name", ["default", "scales", "large means", "float32"])
def test_the_bound_is_that_of_the_objective_itself(name):
    found = fitted(name, tol=1e-4)
    of_trainer, of_fit = FITS[name]
    objective = nbs.Objective(of_fit.get("X", X).astype(float), Y, l2=of_trainer["l2"])
    value, grad = objective.value_and_grad(params_of(found))
    assert found.objective == pytest.approx(value, rel=1e-13)
    assert found.grad_norm == pytest.approx(np.linalg.norm(grad), rel=1e-6, abs=1e-14)
    assert value - fitted(name, tol=1e-10).objective <= found.gap <= 1e-4 * value


def params_of(result):
    return np.column_stack([result.model.coef, result.model.intercept])


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_no_number_of_threads_changes_a_bit(threads):
    same(fitted("default", n_threads=threads), fitted("default"))


def test_it_serves_few_samples_and_a_ridge_penalty_of_every_feature():
    def span(rows, penalty, y=Y, **options):
        return RowSpan.of(Problem.from_labels(rows, y), ObjectiveOptions(penalty, **options))

    assert span(X, nbs.Ridge(0.1)).objective.n_features == M - 1  # the samples are centred
    assert span(X, nbs.Ridge(0.1), fit_intercept=False).objective.n_features == M
    assert span(np.repeat(X[:20], 3, axis=0), nbs.Ridge(0.1)).objective.n_features == 19
    unpenalised = np.ones(N)
    unpenalised[3] = 0
    for penalty in (nbs.Ridge(0.0), nbs.Ridge(0.1, unpenalised), nbs.Lasso(0.1), nbs.ElasticNet(0.1, 0.1)):
        assert span(X, penalty) is None
    assert span(X, nbs.Ridge(0.1), np.eye(K, dtype=bool)[Y] | np.eye(K, dtype=bool)[(Y + 1) % K]) is None
    assert span(X[:, :100], nbs.Ridge(0.1)) is None  # too few features
    assert span(np.ones((M, N)), nbs.Ridge(0.1)) is None  # no samples differ
    assert span(X * 1e200, nbs.Ridge(0.1)) is None  # the Gram matrix overflows
    assert span(X * 1e-200, nbs.Ridge(0.1)) is None


def test_problems_whose_whole_hessian_is_cheap_take_it_at_once():
    rng = np.random.default_rng(3)
    for m, n, in_span in ((60, 240, True), (10, 200, True), (20, 50, False)):
        rows, labels = rng.normal(size=(m, n)), np.arange(m) % 2
        assert ("coordinates" in nbs.Trainer(l2=0.1).fit(rows, labels).summary) == in_span


def test_a_fit_starts_from_given_parameters():
    first = fitted("default")
    again = nbs.Trainer(l2=1e-2, tol=1e-6).fit(X, Y, init=first.model)
    assert again.n_iter == 0 and again.converged
    outside = np.column_stack([RNG.normal(size=(K, N)), np.ones(K)])  # not a combination of samples
    span = RowSpan.of(Problem.from_labels(X, Y), ObjectiveOptions(nbs.Ridge(0.1)))
    start = span.start(outside)
    z = X @ outside[:, :-1].T + 1
    np.testing.assert_allclose(X @ span.whole(start)[:, :-1].T + span.whole(start)[:, -1], z, atol=1e-9)
    np.testing.assert_allclose(span.start(span.whole(start)), start, atol=1e-9)


def test_callbacks_and_validation_data_see_all_features():
    seen = []
    trainer = nbs.Trainer(l2=1e-2, callbacks=[lambda at: seen.append((at.objective, at.params.copy()))])
    result = trainer.fit(X, Y, validation_data=(X[:5], Y[:5]))
    objective = nbs.Objective(X, Y, l2=1e-2)
    assert len(seen) == result.n_iter > 2
    for value, params in seen:
        assert params.shape == (K, N + 1)
        assert value == pytest.approx(objective.value(params), rel=1e-12)
    proba = result.model.predict_proba(X[:5])
    assert result.history["validation_loss"][-1] == pytest.approx(-np.log(proba[np.arange(5), Y[:5]]).mean(), rel=1e-5)


def test_coefficients_of_iterations_are_computed_when_they_are_read(monkeypatch):
    calls, right = [], RowSpan.whole
    monkeypatch.setattr(RowSpan, "whole", lambda span, part: calls.append(1) or right(span, part))
    seen = []
    result = nbs.Trainer(l2=1e-2, callbacks=[lambda at: seen.append(repr(at))]).fit(X, Y)
    assert len(calls) == 1 and len(seen) == result.n_iter
    assert seen[0].startswith("Iteration(n_iter=1, objective=")

    def read(at):
        assert at.params is at.params
        assert not at.params.flags.writeable and not hasattr(at, "other")
        again = pickle.loads(pickle.dumps(at))
        assert again.n_iter == at.n_iter and np.array_equal(again.params, at.params)

    nbs.Trainer(l2=1e-2, callbacks=[read]).fit(X, Y)
    assert len(calls) == 2 + result.n_iter


def test_early_stopping_returns_the_best_model_of_all_features():
    stopping = EarlyStopping(1, min_delta=1.0)
    result = nbs.Trainer(l2=1e-4, callbacks=[stopping]).fit(X, Y, validation_data=(X, Y))
    assert result.stop_reason is nbs.StopReason.EARLY_STOPPING
    assert result.model.coef.shape == (K, N)


def test_limits_hold():
    with pytest.warns(nbs.ConvergenceWarning, match="max_iter"):
        result = nbs.Trainer(l2=1e-6, max_iter=3).fit(X, Y)
    assert result.n_iter == 3 and not result.converged and len(result.history["objective"]) == 3
    assert result.gap > 1e-6 * result.objective
    assert result.objective == pytest.approx(nbs.Objective(X, Y, l2=1e-6).value(params_of(result)), rel=1e-13)


def test_ctrl_c_keeps_the_best_iteration():
    def interrupt(at):
        if at.n_iter == 4:
            raise KeyboardInterrupt

    result = nbs.Trainer(l2=1e-6, callbacks=[interrupt]).fit(X, Y)
    assert result.interrupted and result.model.coef.shape == (K, N)
    assert result.objective == pytest.approx(nbs.Objective(X, Y, l2=1e-6).value(params_of(result)), rel=1e-13)


@pytest.mark.parametrize("name", ["default", "float32", "nearly separable"])
def test_a_fit_that_was_stopped_resumes_with_the_same_bits(tmp_path, name):
    of_trainer, of_fit = FITS[name]
    rows = of_fit.get("X", X)
    whole = nbs.Trainer(**of_trainer).fit(rows, Y)
    for n in range(1, whole.n_iter + 1):
        path = tmp_path / str(n)
        nbs.Trainer(**of_trainer, callbacks=[lambda at, n=n: at.n_iter == n]).fit(rows, Y, checkpoint=path)
        same(whole, nbs.Trainer(**of_trainer).fit(rows, Y, checkpoint=path, resume=True))


def test_without_a_bound_the_fit_goes_on_with_all_features(monkeypatch, tmp_path):
    # Coordinates that are wrong by more than the tolerance stand for rounding errors.
    right = RowSpan.whole
    monkeypatch.setattr(RowSpan, "whole", lambda span, part: right(span, part) * 1.01)
    whole = nbs.Trainer(l2=1e-2).fit(X, Y)
    assert whole.converged and "; then " in whole.summary
    assert whole.objective == pytest.approx(fitted("default").objective, rel=1e-6)
    for n in range(whole.n_iter - 3, whole.n_iter + 1):
        path = tmp_path / str(n)
        nbs.Trainer(l2=1e-2, callbacks=[lambda at, n=n: at.n_iter == n]).fit(X, Y, checkpoint=path)
        resumed = nbs.Trainer(l2=1e-2).fit(X, Y, checkpoint=path, resume=True)
        assert np.array_equal(resumed.model.coef, whole.model.coef)
        assert resumed.n_iter == whole.n_iter
