"""Fits of float32 rows take about as many passes over the data as those of the same numbers in float64."""

import numpy as np
import pytest
from sklearn import datasets

import nbsoftmax as nbs
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import Problem
from nbsoftmax.solvers.tools.free_features import free_step
from tests.solvers.problems import UnpackedNewton, UnpackedNewtonCG


@pytest.fixture
def n_passes(monkeypatch):
    """A function that returns a fit, and how many sums over all rows it has computed."""
    count = 0.0

    def counted(method):
        def sums(self, *args, **options):
            nonlocal count
            count += self.n_samples  # rows are converted to float64 in blocks
            return method(self, *args, **options)

        return sums

    for name in ("loss", "loss_and_grad", "hess_vec", "gram", "curvatures", "class_grams", "hessian"):
        monkeypatch.setattr(DenseBackend, name, counted(getattr(DenseBackend, name)))

    def fit(X, y, **options):
        nonlocal count
        count = 0.0
        result = nbs.Trainer(**options).fit(X, y)
        return result, count / len(X)

    return fit


@pytest.mark.parametrize("standardized", [False, True])
@pytest.mark.parametrize("solver", ["newton-cg", "newton"])
def test_nearly_separable_classes(n_passes, standardized, solver):
    # Rounding errors of float32 products hide curvatures as small as l2: conjugate gradients find none.
    X, y = datasets.load_digits(return_X_y=True)
    X, y = X[:600], y[:600]
    if standardized:
        X = (X - X.mean(axis=0)) / np.maximum(X.std(axis=0), 1e-9)
    X = X.astype(np.float32)
    options = {"solver": solver, "l2": 1e-9, "tol": 1e-6}
    expected, n_expected = n_passes(X.astype(np.float64), y, **options)
    found, n_found = n_passes(X, y, **options)
    assert expected.converged
    assert found.converged
    assert n_found <= 3 * n_expected
    assert found.objective - expected.objective <= found.gap + 1e-15
    assert expected.objective - found.objective <= expected.gap + 1e-15


@pytest.mark.parametrize("name", ["iris", "wine"])
@pytest.mark.parametrize("l2", [1e-2, 1e-5])
@pytest.mark.parametrize("tol", [1e-7, 1e-9])
def test_bounds(n_passes, name, l2, tol):
    # Conjugate gradients on a face do not get below the rounding errors of float32 products.
    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    X = X.astype(np.float32)
    options = {"bounds": (0, None), "l2": l2, "tol": tol}
    expected, n_expected = n_passes(X.astype(np.float64), y, **options)
    found, n_found = n_passes(X, y, **options)
    assert found.converged
    assert found.gap_kind == expected.gap_kind == "duality"
    assert n_found <= 2.5 * n_expected
    assert found.objective == pytest.approx(expected.objective, rel=3 * tol, abs=1e-15)


def passes_to_the_same_minimum(n_passes, X, y, **options):
    """The numbers of passes of fits to X in float64 and in float32, which have the same minimum."""
    expected, n_expected = n_passes(X.astype(np.float64), y, l2=1e-4, **options)
    found, n_found = n_passes(X, y, l2=1e-4, **options)
    assert expected.converged
    assert found.converged
    assert found.objective == pytest.approx(expected.objective, rel=2e-6)
    return n_expected, n_found


@pytest.mark.parametrize(
    "options", [{"solver": UnpackedNewtonCG()}, {"solver": UnpackedNewton()}, {"bounds": (0, None)}]
)
@pytest.mark.parametrize("constant", [False, True])
def test_means_that_are_thousands_of_standard_deviations(n_passes, options, constant):
    # Rounding errors of float32 products are asymmetric: conjugate gradients took up to 10 times as many products.
    rng = np.random.default_rng(3)
    Z = rng.normal(size=(2000, 12))
    X = (Z + 10 ** rng.uniform(3, 4, size=12)).astype(np.float32)
    X[:, 0] = 1e5 if constant else X[:, 0]
    y = (Z @ rng.normal(size=(12, 5)) + rng.gumbel(size=(2000, 5))).argmax(axis=1)
    n_expected, n_found = passes_to_the_same_minimum(n_passes, X, y, **options)
    assert n_found <= 2 * n_expected + 20


@pytest.mark.parametrize(
    ("scale", "options"),
    [
        (scale, options)
        for options in ({"solver": UnpackedNewtonCG()}, {"solver": "lbfgs"}, {"bounds": (0, None)}, {"l1": 1e-3})
        for scale in (1e-30, 1e-18, 1e18, 1e30)
        if not (scale == 1e30 and "l1" in options)  # rounding errors of its gradient are far more than l1: no proof
    ],
)
def test_features_whose_squares_leave_float32(n_passes, scale, options):
    rng = np.random.default_rng(0)
    Z = rng.normal(size=(3000, 12)) + 0.3
    X = (Z * np.where(np.arange(12) % 2, scale, 1.0)).astype(np.float32)
    y = (Z @ rng.normal(size=(12, 5)) + rng.gumbel(size=(3000, 5))).argmax(axis=1)
    n_expected, n_found = passes_to_the_same_minimum(n_passes, X, y, **options)
    assert n_found <= 1.5 * n_expected + 5


@pytest.mark.parametrize("scale", [1e-30, 1e-18])
def test_stochastic_steps_from_features_whose_squares_leave_float32(scale):
    rng = np.random.default_rng(0)
    X = (rng.normal(size=(200, 3)) * scale).astype(np.float32)
    options = {"solver": nbs.SGD(learning_rate=0.01), "max_iter": 3}
    with pytest.warns(nbs.ConvergenceWarning):
        expected = nbs.Trainer(**options).fit(X.astype(np.float64), np.arange(200) % 3)
    with pytest.warns(nbs.ConvergenceWarning):
        found = nbs.Trainer(**options).fit(X, np.arange(200) % 3)
    assert found.objective == pytest.approx(expected.objective, rel=1e-6)


def unpenalised_with_bounds(seed):
    """Features of several scales, far from 0, and bounds that hold some coefficients."""
    rng = np.random.default_rng(seed)
    n, d, n_classes = 200, 15, 3
    Z = rng.normal(size=(n, d))
    y = (Z @ rng.normal(size=(d, n_classes)) / 2 + rng.gumbel(size=(n, n_classes))).argmax(axis=1)
    X = (Z + 3 * rng.normal(size=d)) * 10.0 ** rng.uniform(-1, 1, size=d)
    return X.astype(np.float32), y


@pytest.mark.parametrize("bounds", [(0, None), (-0.5, 0.5)])
def test_bounds_without_a_penalty(n_passes, bounds):
    # The step along the free coefficients, which the gap needs, does not settle with float32 products.
    n_expected = n_found = 0.0
    for seed in range(6):
        X, y = unpenalised_with_bounds(seed)
        expected, n = n_passes(X.astype(np.float64), y, bounds=bounds)
        n_expected += n
        found, n = n_passes(X, y, bounds=bounds)
        n_found += n
        assert expected.converged
        assert found.converged
        assert found.objective == pytest.approx(expected.objective, rel=3e-6)
    assert n_found <= 2 * n_expected


def test_a_decrement_that_is_too_large_is_not_computed_to_its_end():
    X, y = unpenalised_with_bounds(0)
    objective = PenalizedLoss(Problem.from_labels(X.astype(np.float64), y), ObjectiveOptions())
    params = np.zeros(objective.shape)
    grad, free = objective.value_and_grad(params)[1], np.ones(15, bool)
    whole = free_step(objective, params, grad, free)[0]
    bound = free_step(objective, params, grad, free, most=whole / 100)[0]
    assert whole / 100 < bound < 0.99 * whole
    assert free_step(objective, params, grad, free, most=2 * whole)[0] == whole
