"""The preconditioner for sparse data with a category of many levels."""

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from nbsoftmax.backends import sparse_levels
from nbsoftmax.backends.sparse_levels import frequent_beside_levels
from nbsoftmax.solvers.newton_cg import NewtonCG
from nbsoftmax.solvers.tools import preconditioners
from nbsoftmax.solvers.tools.preconditioners import Preconditioner, costs
from tests.solvers.problems import minimum

N_TOWNS, N_DISTRICTS = 90, 4


@pytest.fixture(autouse=True)
def few_features(monkeypatch):
    """Tests are as for thousands of levels: rows in several parts, and too many features for other kinds."""
    monkeypatch.setattr(sparse_levels, "ROWS", 170)
    monkeypatch.setattr(sparse_levels, "SIZES", (3, 8, 20))


def towns(n_samples=900, n_classes=4, *, dtype=np.float64):
    """Districts, their towns and a number; half of the towns are rare, some samples have none."""
    rng = np.random.default_rng(0)
    town = np.minimum(rng.zipf(1.2, n_samples), rng.integers(1, N_TOWNS + 1, n_samples)) - 1
    of_town, of_district = 0.5 * rng.normal(size=(N_TOWNS, n_classes)), 2 * rng.normal(size=(N_DISTRICTS, n_classes))
    district = np.arange(N_TOWNS) % N_DISTRICTS
    logits = of_town[town] + of_district[district[town]]
    y = (logits + rng.gumbel(size=logits.shape)).argmax(axis=1)
    beside = np.column_stack([np.eye(N_DISTRICTS)[district[town]], rng.normal(size=n_samples)])
    levels = np.eye(N_TOWNS)[town] * rng.uniform(0.5, 2, (n_samples, 1))
    levels[::50] = 0
    return sparse.csr_array(np.hstack([levels, beside]).astype(dtype)), y


def counts(X):
    return np.bincount(X.indices, minlength=X.shape[1])


def test_levels_are_features_of_which_no_row_has_two():
    X, _ = towns()
    found = frequent_beside_levels(X, counts(X))
    assert found.size == 8
    assert set(range(N_TOWNS, N_TOWNS + N_DISTRICTS + 1)) <= set(found)
    assert (np.diff(found) > 0).all()
    others = np.setdiff1d(np.arange(X.shape[1]), found)
    assert (np.count_nonzero(X[:, others].toarray(), axis=1) <= 1).all()


def test_two_categories_or_few_features_have_none():
    X, _ = towns()
    both = sparse.csr_array(sparse.hstack([X, X[::-1]]))
    assert frequent_beside_levels(both, counts(both)) is None
    few = X[:, -3:]
    assert frequent_beside_levels(few, counts(few)) is None


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("options", [{}, {"offset": True}, {"sample_weight": True}, {"dtype": np.float32}], ids=str)
@pytest.mark.parametrize("n_classes", [2, 4])
def test_it_is_the_inverse_of_the_blocks(n_classes, options, fit_intercept):
    X, y = towns(n_classes=n_classes, dtype=options.get("dtype", np.float64))
    rng = np.random.default_rng(1)
    given = {}
    if "offset" in options:
        given["offset"] = rng.normal(size=(X.shape[0], n_classes))
    if "sample_weight" in options:
        given["sample_weight"] = rng.uniform(size=X.shape[0]) * (rng.random(X.shape[0]) < 0.9)
    objective = nbs.Objective(X, y, l2=1e-3, fit_intercept=fit_intercept, **given)
    params = rng.normal(size=objective.shape)
    residual = rng.normal(size=objective.shape)
    if not fit_intercept:
        residual[:, -1] = 0
    expected, found = (Preconditioner(objective, params, kind)(residual) for kind in ("blocks", "levels"))
    # Condition numbers of some 1e3 multiply rounding errors and the repair of 1e-10 of the diagonal.
    tolerance = 1e-6 if X.dtype == np.float64 else 1e-3
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * np.abs(expected).max())


def test_it_takes_the_place_of_blocks_that_are_too_large(monkeypatch):
    objective = nbs.Objective(*towns())
    assert costs(objective)["levels"] == np.inf
    monkeypatch.setattr(preconditioners, "MOST_BYTES", 60_000)  # less than a Gram matrix takes
    assert costs(objective)["levels"] < np.inf
    assert costs(nbs.Objective(towns()[0].toarray(), towns()[1]))["levels"] == np.inf
    monkeypatch.setattr(preconditioners, "MOST_BYTES", 20_000)
    assert costs(objective)["levels"] == np.inf


def test_towns_in_districts_are_fitted_with_it(monkeypatch):
    objective = nbs.Objective(*towns(), l2=1e-6)
    reference = minimum(objective)
    monkeypatch.setattr(preconditioners, "MOST_BYTES", 60_000)  # less than a Gram matrix takes
    solution = NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-8)
    assert solution.converged
    assert "levels" in solution.summary
    assert solution.objective <= reference * (1 + 1e-8)


@pytest.mark.usefixtures("several_threads")
def test_the_bits_do_not_depend_on_the_number_of_threads():
    X, y = towns(20_000)
    params = np.random.default_rng(2).normal(size=(4, X.shape[1] + 1))
    one, other = (Preconditioner(nbs.Objective(X, y, l2=1e-3, n_threads=n), params, "levels")(params) for n in (1, 2))
    assert np.array_equal(one, other)
