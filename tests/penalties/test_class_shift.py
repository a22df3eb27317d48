"""The same shift of all classes with the least penalty, and fits that need it."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

import nbsoftmax as nbs
from nbsoftmax.penalties.bounded import bounded
from nbsoftmax.penalties.class_shift import least_at
from nbsoftmax.solvers.tools.quadratic_model import QuadraticModel


def value(penalty, column, m):
    return penalty.value(column[:, None] - m)


@pytest.mark.parametrize("n_classes", [2, 3, 4, 7])
@pytest.mark.parametrize("make", [
    lambda w: nbs.Lasso(0.7, w),
    lambda w: nbs.ElasticNet(0.7, 0.5, w),
    lambda w: nbs.ElasticNet(0.01, 2.0, w),
    lambda w: nbs.Ridge(0.3, w),
    lambda w: nbs.GroupLasso(0.7, 0.0, w),
    lambda w: nbs.GroupLasso(0.7, 0.4, w),
])  # fmt: skip
def test_no_other_shift_has_a_smaller_penalty(make, n_classes):
    rng = np.random.default_rng(n_classes)
    coef = rng.normal(size=(n_classes, 200)) + rng.normal(size=200)
    coef[rng.uniform(size=coef.shape) < 0.3] = 0.0
    shift = least_at(make(None), coef)
    for j in range(200):
        alone, column = make(None), coef[:, j]
        best = minimize_scalar(lambda m, column=column, alone=alone: value(alone, column, m), bracket=(-1, 1))
        assert value(alone, column, shift[j]) <= best.fun * (1 + 1e-12)
    weighted = make(rng.uniform(size=200))  # the same for each feature by its own strengths
    least = np.array([value(weighted.restricted(np.array([j])), coef[:, j], 0.0) for j in range(200)])
    shift = least_at(weighted, coef)
    moved = np.array([value(weighted.restricted(np.array([j])), coef[:, j], shift[j]) for j in range(200)])
    assert (moved <= least * (1 + 1e-12)).all()


@pytest.mark.parametrize("bounds", [(0, None), (None, 0.3), (-0.5, 0.7), (0.1, 0.2)])
def test_no_other_shift_within_bounds_has_a_smaller_penalty(bounds):
    rng = np.random.default_rng(0)
    penalty = bounded(nbs.ElasticNet(0.3, 0.5), bounds)
    coef = penalty.feasible(rng.normal(size=(4, 100)) / 3 + rng.normal(size=100) / 3)
    shift = least_at(penalty, coef)
    low, high = (coef - penalty.high).max(axis=0), (coef - penalty.low).min(axis=0)
    assert ((low <= shift) & (shift <= high)).all()
    for j in range(100):
        ends = max(low[j], -3.0), min(high[j], 3.0)
        least = min(value(penalty.base, coef[:, j], m) for m in np.linspace(*ends, 2001))
        assert value(penalty.base, coef[:, j], shift[j]) <= least * (1 + 1e-12)


def test_where_several_shifts_are_least_that_of_the_fewest_changes_is_taken():
    coef = np.array([[0.0, 1.0, -3.0, 0.0], [5.0, 5.0, -1.0, 0.0]])
    np.testing.assert_array_equal(least_at(nbs.Lasso(1.0), coef), [0.0, 1.0, -1.0, 0.0])
    unpenalised = nbs.Lasso(1.0, [0.0, 1.0, 1.0, 0.0])
    np.testing.assert_array_equal(least_at(unpenalised, coef), [0.0, 1.0, -1.0, 0.0])


def test_many_features_are_sorted_in_parts(monkeypatch):
    coef = np.random.default_rng(0).normal(1.0, 1.0, (5, 1000))
    whole = least_at(nbs.ElasticNet(1.0, 1.0), coef)
    monkeypatch.setattr("nbsoftmax.penalties.class_shift.SORTED", 100)
    np.testing.assert_array_equal(least_at(nbs.ElasticNet(1.0, 1.0), coef), whole)
    assert np.count_nonzero(whole) > 500


@pytest.mark.parametrize("options", [
    {"l1": 1e-5, "grouped": True},
    {"l1": 1e-5, "l2": 1e-9, "grouped": True},
    {"l1": 1e-5},
    {"l1": 1e-5, "l2": 1e-9},
], ids=repr)  # fmt: skip
def test_features_of_different_scales_take_no_more_steps(options, monkeypatch):
    monkeypatch.setattr("nbsoftmax.solvers.tools.coupled_model.MOST_NUMBERS", 0)
    models, minimise = [], QuadraticModel.minimise
    monkeypatch.setattr(QuadraticModel, "minimise", lambda self, *given: models.append(self) or minimise(self, *given))
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 50)) * 10.0 ** (2 * rng.uniform(-1, 1, 50))
    coef = rng.normal(size=(50, 5)) / X.std(axis=0)[:, None] / np.sqrt(50) * 2
    result = nbs.Trainer(**options).fit(X, (X @ coef + rng.gumbel(size=(2000, 5))).argmax(axis=1))
    assert result.converged
    assert 0 < sum(model.n_products for model in models) < 60  # 100 to 40,000
    if options.get("grouped"):
        np.testing.assert_allclose(result.model.coef.sum(axis=0), 0.0, atol=1e-12 * np.abs(result.model.coef).max())


@pytest.mark.parametrize(("options", "most_iter"), [
    ({"l2": 1e-3, "bounds": (-0.5, 0.7)}, 12),  # 17, with 36 times as many products
    ({"l1": 1e-3, "bounds": (0, None)}, 30),  # 49
    ({"l1": 1e-3, "l2": 1e-4, "bounds": (0, None)}, 15),  # 29
    ({"l1": 1e-4, "l2": 1e-4, "bounds": (-0.5, 0.7)}, 15),  # 149
], ids=repr)  # fmt: skip
def test_nor_with_bounds(options, most_iter):
    rng = np.random.default_rng(0)
    scale = 10.0 ** rng.uniform(-6, 6, 60)
    X = rng.normal(size=(200, 60)) * scale
    y = (X / scale @ rng.normal(size=(60, 5)) + rng.gumbel(size=(200, 5))).argmax(axis=1)
    result = nbs.Trainer(**options).fit(X, y)
    assert result.gap_kind == "duality"
    assert result.converged
    assert result.n_iter <= most_iter
    if "l1" not in options:
        assert int(result.summary.split()[0]) < 200
