"""Fits whose steps near the minimum are smaller than the rounding errors of the objective."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.solvers.base import evaluate
from nbsoftmax.solvers.tools.convergence import is_rounding
from tests.solvers.problems import UnpackedNewton, UnpackedNewtonCG


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize(("n_classes", "mean"), [(2, 1000), (5, 10)])
def test_a_weak_l1_converges_whatever_the_means_and_scales_of_features(n_classes, mean, grouped):
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(61, 6)) * 10 ** rng.uniform(-2, 2, size=6) + mean
        result = nbs.Trainer(l1=1.3e-4, grouped=grouped).fit(X, np.arange(61) % n_classes)
        assert result.converged
        assert result.gap_kind == "duality"


def test_fits_that_end_at_the_minimum_have_converged_for_the_smallest_tol():
    for seed in range(60):
        rng = np.random.default_rng(seed)
        m = int(rng.integers(6, 20))
        X, n_classes, l2 = rng.integers(-4, 5, size=(m, 2)).astype(float), 2 + seed % 2, 10 ** rng.uniform(-1, 1)
        result = nbs.Trainer(l2=l2, tol=1e-16, solver="lbfgs", max_iter=300).fit(X, np.arange(m) % n_classes)
        assert result.converged
        assert result.grad_norm <= 1e-9


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs"])
@pytest.mark.parametrize("seed", range(3))
def test_float32_data_take_hardly_more_evaluations(solver, seed, monkeypatch):
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(400, 8)) * 10 ** rng.uniform(-1, 2, size=8)).astype(np.float32)
    y = (X / X.std(axis=0) @ rng.normal(size=(8, 5)) + rng.gumbel(size=(400, 5))).argmax(axis=1)
    chosen = {"newton-cg": UnpackedNewtonCG(), "newton": UnpackedNewton(), "lbfgs": solver}[solver]
    evaluate, counts = DenseBackend.loss_and_grad, []

    def counted(*arguments):
        counts[-1] += 1
        return evaluate(*arguments)

    monkeypatch.setattr(DenseBackend, "loss_and_grad", counted)
    monkeypatch.setattr(DenseBackend, "loss", lambda self, params: counted(self, params)[0])
    for dtype in (np.float32, np.float64):
        counts.append(0)
        assert nbs.Trainer(l2=1e-4, solver=chosen).fit(X.astype(dtype), y).converged
    assert counts[0] <= counts[1] + 10  # those in float64 at the end; it was once for each of up to 40 shorter steps


@pytest.mark.parametrize("n_features", [0, 3])
@pytest.mark.parametrize("options", [{"l1": 1e-3}, {"l1": 1e-3, "grouped": True}, {"l1": 1e-3, "bounds": (-99, 99)}])
def test_a_constant_feature_in_place_of_the_intercept(n_features, options):
    rng = np.random.default_rng(0)
    X = np.column_stack([np.ones(200), rng.normal(size=(200, n_features))])
    y = np.zeros(200, int)
    y[:10] = np.arange(10)  # the first quadratic model predicts a decrease of more than the objective
    result = nbs.Trainer(**options, fit_intercept=False).fit(X, y)
    assert result.converged
    weight = [0.0] + [1.0] * n_features
    free = nbs.Trainer(**options, fit_intercept=False, penalty_weight=weight).fit(X, y)
    if "bounds" not in options:
        expected = nbs.Trainer(**options).fit(X[:, 1:], y) if n_features else None
        frequencies = np.bincount(y) / 200
        minimum = expected.objective if expected else -(frequencies * np.log(frequencies)).sum()
        assert free.objective == pytest.approx(minimum, rel=3e-6)
    assert free.converged
    assert result.objective >= free.objective * (1 - 1e-6)


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs", "gd"])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_fit_that_starts_at_its_minimum_has_converged(solver, weighted):
    rng = np.random.default_rng(0)
    X = np.repeat(rng.normal(size=(5, 10)), 5, axis=0)  # each row once with each class
    weight = np.repeat(rng.random(5) + 0.1, 5) if weighted else None
    for n_features in (10, 4):
        result = nbs.Trainer(solver=solver).fit(X[:, :n_features], np.tile(np.arange(5), 5), sample_weight=weight)
        assert result.converged
        assert result.n_iter <= 1
        assert result.objective == pytest.approx(np.log(5), rel=1e-14)
        assert result.gap <= 1e-13


def test_targets_without_information_are_at_their_minimum():
    rng = np.random.default_rng(0)
    for n_classes, n_features in ((12, 35), (30, 20)):
        X, y = rng.normal(size=(60, n_features)), np.full((60, n_classes), 1 / n_classes)
        result = nbs.Trainer().fit(X, y, sample_weight=rng.random(60))
        assert result.converged
        assert not result.model.coef.any() or result.objective == pytest.approx(np.log(n_classes), rel=1e-13)


def standard_features(seed):
    """A generator, features around 0 with standard deviations of 1, and labels that depend on them."""
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(200, 4))
    return rng, Z, (Z @ rng.normal(size=(4, 3)) + rng.gumbel(size=(200, 3))).argmax(axis=1)


@pytest.mark.parametrize("options", [{}, {"grouped": True}, {"bounds": (0, None)}])
def test_features_whose_means_are_a_million_standard_deviations_end_with_a_small_gap(options):
    for seed in range(12):
        rng, Z, y = standard_features(seed)
        X = Z + rng.choice([-3e5, 3e5], size=4)
        best = nbs.Trainer(l1=2e-5, tol=1e-9, **options).fit(X - X.mean(axis=0), y)
        assert best.gap_kind == "duality"
        result = nbs.Trainer(l1=2e-5, **options).fit(X, y)
        assert result.converged
        assert result.objective <= (1 + 1e-6) * best.objective


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
@pytest.mark.parametrize("options", [{}, {"grouped": True}, {"bounds": (0, None)}])
def test_a_gap_that_rounding_errors_do_not_explain_is_not_small(options):
    for seed in range(12):
        rng, Z, y = standard_features(seed)
        X = Z + rng.choice([-1, 1], size=4) * 10.0 ** (5 + seed / 3)
        best = nbs.Trainer(l1=2e-4, tol=1e-9, **options).fit(X - X.mean(axis=0), y)
        result = nbs.Trainer(l1=2e-4, max_iter=1 + seed % 6, **options).fit(X, y)
        assert not result.converged or result.objective <= (1 + 1e-6) * best.objective
        assert result.gap >= result.objective - best.objective - 1e-9


def test_a_gradient_of_an_intercept_shows_without_a_pass_that_it_is_no_rounding_error(monkeypatch):
    X = np.random.default_rng(0).normal(size=(20, 3))
    balanced, unbalanced = np.arange(20) % 4, np.arange(20) // 6
    flat, steep = (nbs.Objective(0 * X, y, l2=0.1) for y in (balanced, unbalanced))
    assert is_rounding(flat, evaluate(flat, np.zeros((4, 4))))
    for fit_intercept in (False, True):
        objective = nbs.Objective(X, balanced, l2=0.1, fit_intercept=fit_intercept)
        assert not is_rounding(objective, evaluate(objective, np.zeros((4, 4))))
    monkeypatch.setattr(type(steep), "curvatures", None)
    assert not is_rounding(steep, evaluate(steep, np.zeros((4, 4))))
