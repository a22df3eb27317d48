"""Fits whose start cannot be moved to 0 and where nearly all probabilities are 0 or 1: curvatures there are tiny."""

import numpy as np
import pytest

import nbsoftmax as nbs


@pytest.mark.parametrize("solver", ["newton", "newton-cg", "lbfgs"])
@pytest.mark.parametrize("l2", [0.0, 1e-3])
@pytest.mark.parametrize("seed", range(4))
def test_huge_offsets(solver, l2, seed):
    rng = np.random.default_rng(seed)
    X, y, offset = rng.normal(size=(60, 2)), rng.integers(0, 2, 60), 1000 * rng.normal(size=(60, 2))
    options = {"l2": l2, "label_smoothing": 0.1}
    found = nbs.Trainer(solver=solver, **options).fit(X, y, offset=offset)
    other = nbs.Trainer(solver="lbfgs", **options).fit(X, y, offset=offset, init=rng.normal(size=(2, 3)))
    assert found.converged
    assert found.objective <= other.objective * (1 + 2e-6)


@pytest.mark.parametrize("seed", range(8))
def test_bounds_that_exclude_0_of_features_with_large_values(seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(60, 4)) * [1, 1e3, 1e4, 1], rng.integers(0, 2, 60)
    low, high = np.full((2, 4), -np.inf), np.full((2, 4), np.inf)
    low[0], high[1] = 0.3, 0.1
    found = nbs.Trainer(l2=1e-3, bounds=(low, high)).fit(X, y)
    assert found.converged
    # Projected gradient steps of any length find no lower point.
    objective = nbs.Objective(X, y, l2=1e-3)
    params = np.column_stack([found.model.coef, found.model.intercept])
    value, grad = objective.value_and_grad(params)
    for length in 10.0 ** np.arange(-9, 6):
        trial = params - length * grad
        trial[:, :-1] = np.clip(trial[:, :-1], low, high)
        assert objective.value(trial) >= value - found.gap - 1e-12 * value


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
def test_an_end_whose_curvature_consists_of_rounding_errors_is_no_minimum():
    # The column is nearly constant beside its mean: the Newton decrement is 1e-15 at 3 times the minimum.
    rng = np.random.default_rng(1)
    X, offset = 1e3 + 2e-3 * rng.normal(size=(7, 1)), 5e4 * rng.normal(size=(7, 4))
    found, other = (
        nbs.Trainer(solver=solver, l2=1e-12).fit(X, [0, 1, 2, 3, 3, 3, 3], offset=offset)
        for solver in ("newton-cg", "newton")
    )
    assert not found.converged or found.objective <= other.objective * (1 + 2e-6)
