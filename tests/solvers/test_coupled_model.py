"""Models of small problems from their whole Hessian: the same minima as by products, and when products are used."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers.prox_newton import MOST_ESTIMATES
from nbsoftmax.solvers.tools import coupled_model
from nbsoftmax.solvers.tools.coupled_model import coupled_minimum
from nbsoftmax.solvers.tools.quadratic_model import QuadraticModel


@pytest.fixture
def models(monkeypatch):
    """Models that have been minimised by products."""
    made, minimise = [], QuadraticModel.minimise
    monkeypatch.setattr(QuadraticModel, "minimise", lambda self, *given: made.append(self) or minimise(self, *given))
    return made


def data(m=150, n=8, n_classes=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, n)) @ rng.normal(size=(n, n))
    coef = rng.normal(size=(n, n_classes)) * (rng.random((n, n_classes)) < 0.5)
    return X, (X @ coef + 2 * rng.gumbel(size=(m, n_classes))).argmax(axis=1)


OPTIONS = {
    "lasso": {"l1": 0.01},
    "elastic net": {"l1": 0.01, "l2": 0.02},
    "a tiny l1": {"l1": 1e-6},
    "without intercept": {"l1": 0.01, "fit_intercept": False},
    "standardized": {"l1": 0.01, "standardize": True},
    "bounds": {"l1": 0.003, "bounds": (-0.2, 0.3)},
    "nonnegative": {"l1": 1e-4, "l2": 1e-3, "bounds": (0, None)},
    "unpenalised features": {"penalty": nbs.ElasticNet(0.01, 0.01, weights=[0, 1, 1, 2, 0, 1, 1, 1])},
    "smoothing": {"l1": 0.01, "label_smoothing": 0.1},
}


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("n_classes", [2, 3, 5])
@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
def test_it_has_the_minimum_of_fits_by_products(options, n_classes, dtype, models, monkeypatch):
    X, y = data(n_classes=n_classes)
    X, weight = X.astype(dtype), np.linspace(0.0, 2.0, len(y))
    offset = np.sin(np.arange(len(y) * n_classes)).reshape(-1, n_classes)

    def fit():
        return nbs.Trainer(**options, tol=1e-10).fit(X, y, sample_weight=weight, offset=offset)

    whole = fit()
    assert not models
    monkeypatch.setattr(coupled_model, "MOST_NUMBERS", 0)
    by_products = fit()
    assert models
    assert whole.converged
    assert by_products.converged
    difference = abs(whole.objective - by_products.objective)
    assert difference <= max(whole.gap, by_products.gap) + 1e-14
    assert whole.n_iter <= by_products.n_iter + MOST_ESTIMATES  # which may end at rounding errors before


def test_the_minimum_of_a_damped_model_has_no_slope():
    X, y = data()
    objective, rng = nbs.Objective(X + 3.0, y, l1=0.01, l2=0.1), np.random.default_rng(0)
    params, part = rng.normal(size=objective.shape), objective.smooth_part()
    grad, damping, means = part.value_and_grad(params)[1], rng.uniform(size=9), X.mean(axis=0) + 3.0
    found = coupled_minimum(part, objective.penalty, params, grad, damping, lambda: (means, np.ones(8)))
    step = found.params - params
    along = damping[-1] * (step[:, -1] + step[:, :-1] @ means)
    slope = grad + part.hvp(params, step)
    slope += np.column_stack([damping[:-1] * step[:, :-1] + along[:, None] * means, along])
    slope[:, :-1] = objective.penalty.least_subgradient(found.params[:, :-1], slope[:, :-1])
    assert np.abs(slope).max() < 1e-9
    assert found.decrease > 0
    assert found.settled


def test_a_model_with_too_few_sweeps_is_minimised_by_products(monkeypatch, models):
    X, y = data()
    objective = nbs.Objective(X, y, l1=0.01)
    part, params = objective.smooth_part(), np.zeros(objective.shape)
    given = part, objective.penalty, params, part.value_and_grad(params)[1], np.zeros(9), part.moments
    assert coupled_minimum(*given).settled
    monkeypatch.setattr(coupled_model, "MOST_SWEEPS", 2)
    assert coupled_minimum(*given) is None
    assert nbs.Trainer(l1=0.01).fit(X, y).converged
    assert models


def test_no_model_is_minimised_from_differences_that_are_rounding_errors(models):
    X, y = data()
    X[:, 0] = 1e6 + 10 * X[:, 0]  # its variance is 1e-10 of its mean square
    result = nbs.Trainer(l1=0.01).fit(X, y)
    assert models
    assert result.converged


def test_constant_columns_and_classes_without_samples(models):
    X, y = data()
    X[:, 0], X[:, 1] = 5.0, 0.0
    result = nbs.Trainer(l1=0.001, tol=1e-10).fit(X, np.eye(5)[2 * y])
    assert not models
    assert result.converged
    assert (result.model.coef[:, :2] == 0).all()
    without = nbs.Trainer(l1=0.001, tol=1e-10).fit(X, np.eye(3)[y])
    assert abs(result.objective - without.objective) <= 2e-10 * without.objective


@pytest.mark.parametrize("most_numbers", [0, 2**16], ids=["products", "whole Hessian"])
@pytest.mark.parametrize("options", [{"l1": 0.01}, {"l1": 0.01, "grouped": True}, {"l1": 0.001, "bounds": (0, None)}])
def test_intercepts_sum_to_0(options, most_numbers, monkeypatch):
    monkeypatch.setattr(coupled_model, "MOST_NUMBERS", most_numbers)
    X, y = data()
    intercept = nbs.Trainer(**options).fit(X + 3.0, y).model.intercept
    assert abs(intercept.sum()) <= 1e-12 * np.abs(intercept).max()


def test_larger_problems_use_products(models):
    X, y = data(n=130, n_classes=2)
    assert nbs.Trainer(l1=0.001).fit(X, y).converged
    assert models
