"""Problems that defeat solvers: every fit ends at the minimum, or says truly that there is none.

Minima and separability are judged by plain NumPy and by linear programming, on standardised columns.
"""

import warnings

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

import nbsoftmax as nbs
from nbsoftmax.solvers import driver
from nbsoftmax.solvers.stop_reason import StopReason
from tests import reference

TOL = 1e-6


def data(seed, m, N, K, kind):
    """Samples and labels, all K classes among them, and the weights of the samples."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, N))
    y = np.concatenate([np.arange(K), rng.integers(0, K, max(0, m - K))])[:m]
    weight = np.ones(m)
    if kind == "scales":
        X *= 10.0 ** rng.uniform(-9, 9, N)
    elif kind == "offsets":
        X += 10.0 ** rng.uniform(-3, 4, N)
    elif kind == "duplicates":
        X = np.column_stack([X, X[:, 0], 2 * X[:, -1] + 1, X.sum(axis=1)])
    elif kind == "constants":
        X = np.column_stack([X, np.zeros(m), np.full(m, 1e3)])
    elif kind == "signal":
        X[:, 0] += 3 * y
    elif kind == "imbalance":
        weight[y == 0] = 1 / 50_000
    return X, y, weight


def basis(X, fit_intercept):
    """An orthonormal basis of what the columns span, in which every scale and collinearity is gone."""
    scale = np.abs(X).max(axis=0)
    X = X / np.where(scale > 0, scale, 1)
    if fit_intercept:
        X = np.column_stack([X - X.mean(axis=0), np.ones(len(X))])
        norms = np.linalg.norm(X, axis=0)
        X = X / np.where(norms > 1e-12 * np.sqrt(len(X)), norms, np.inf)
    u, s, _ = np.linalg.svd(X, full_matrices=False)
    return u[:, s > 1e-10 * s.max()] * np.sqrt(len(X))


def separable(X, y, weight, fit_intercept):
    """Whether some direction raises the margin of a sample and lowers nobody's."""
    keep = weight > 0
    B, y, K = basis(X[keep], fit_intercept), y[keep], y.max() + 1
    rows = []
    for k in range(K):
        block = np.zeros((len(y), K, B.shape[1]))
        block[np.arange(len(y)), y] += B
        block[:, k] -= B
        rows.append(block[y != k].reshape(-1, K * B.shape[1]))
    margins = np.concatenate(rows)
    best = linprog(-margins.sum(axis=0), A_ub=-margins, b_ub=np.zeros(len(margins)), bounds=(-1, 1), method="highs")
    return -best.fun > 1e-6 * len(margins)


def excess(result, X, y, weight, l2, fit_intercept):
    """How far J is above its minimum, from below: half of g H^-1 g by dense algebra in well-scaled parameters."""
    J = reference.Objective(X, y, n_classes=y.max() + 1, sample_weight=weight, l2=l2, fit_intercept=fit_intercept)
    params = np.column_stack([result.model.coef, result.model.intercept])
    value, grad = J.value_and_grad(params)
    eye = np.eye(params.size).reshape(-1, *params.shape)
    hessian = np.stack([J.hvp(params, v).ravel() for v in eye])
    scale = 1 / np.sqrt(np.maximum(np.diag(hessian), 1e-300))
    scaled, slope = hessian * scale * scale[:, None], grad.ravel() * scale
    return value, slope @ np.linalg.lstsq(scaled, slope, rcond=1e-12)[0] / 2


KINDS = ["plain", "scales", "offsets", "duplicates", "constants", "signal", "imbalance"]


@pytest.mark.parametrize("C", [1e-6, 1.0, 1e6, np.inf])
@pytest.mark.parametrize("K", [4, 10])
def test_more_classes_than_samples_are_fitted_to_the_minimum(K, C):
    rng = np.random.default_rng(K)
    X, q = rng.normal(size=(3, 4)), rng.dirichlet(np.ones(K), 3)  # labels of 3 samples name 3 classes at most
    l2 = 0.0 if np.isinf(C) else 1 / (3 * C)
    result = nbs.Trainer(l2=l2, tol=TOL).fit(X, q)
    assert result.converged
    J = reference.Objective(X, q, n_classes=K, l2=l2)
    params = np.column_stack([result.model.coef, result.model.intercept])
    value, grad = J.value_and_grad(params)
    eye = np.eye(params.size).reshape(-1, *params.shape)
    hessian = np.stack([J.hvp(params, v).ravel() for v in eye])
    above = grad.ravel() @ np.linalg.lstsq(hessian, grad.ravel(), rcond=1e-12)[0] / 2
    assert result.objective == pytest.approx(value, rel=1e-9)
    assert above <= 2 * TOL * value


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**16),
    m=st.integers(2, 120),
    N=st.integers(1, 6),
    K=st.integers(2, 6),
    kind=st.sampled_from(KINDS),
    C=st.sampled_from([1e-6, 1e-3, 1.0, 1e3, 1e6, np.inf]),
    fit_intercept=st.booleans(),
)
@example(seed=0, m=5, N=3, K=5, kind="plain", C=1.0, fit_intercept=True)  # one sample for each class
@example(seed=0, m=4, N=6, K=4, kind="plain", C=np.inf, fit_intercept=True)  # more parameters than samples
@example(seed=1, m=100, N=4, K=3, kind="scales", C=np.inf, fit_intercept=True)
@example(seed=6, m=4, N=5, K=4, kind="scales", C=1e6, fit_intercept=True)  # an objective of 1e-16
@example(seed=2, m=59, N=1, K=2, kind="constants", C=np.inf, fit_intercept=True)  # an all but collinear pair
@example(seed=49321, m=11, N=1, K=6, kind="plain", C=np.inf, fit_intercept=True)  # only pairs of classes come apart
@example(seed=0, m=20, N=5, K=6, kind="offsets", C=np.inf, fit_intercept=True)
@example(seed=1, m=100, N=4, K=3, kind="imbalance", C=np.inf, fit_intercept=True)
def test_a_fit_ends_at_the_minimum_or_says_that_there_is_none(seed, m, N, K, kind, C, fit_intercept):
    K = min(K, m)
    X, y, weight = data(seed, m, N, K, kind)
    l2 = 0.0 if np.isinf(C) else 1 / (C * weight.sum())
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        result = nbs.Trainer(l2=l2, tol=TOL, fit_intercept=fit_intercept).fit(X, y, sample_weight=weight)
    assert result.converged == (not seen)
    if l2 == 0 and separable(X, y, weight, fit_intercept):
        # Samples of weight 1/50000 may still be far from where they run to when all that they add is within TOL.
        assert result.stop_reason is StopReason.SEPARABLE or (kind == "imbalance" and result.converged)
        return
    value, above = excess(result, X, y, weight, l2, fit_intercept)
    # The reference adds up m K terms in its own order; coefficients of 1e9 on columns of 1e-9 cost digits on the way.
    assert result.objective == pytest.approx(value, rel=1e-9)
    # Losses near 0 are exp(-z) with z above 20, whose rounding, and that of the Hessian, changes J by more than TOL:
    # there a fit may end short of it, if it says so.
    assert result.converged or value < 1e-9
    assert above <= 2 * TOL * max(value, 1e-9) or (not result.converged and above <= 1e-9)


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs", "gd", "prox-newton"])
@pytest.mark.parametrize("scale", [1.0, 1e80])
@pytest.mark.parametrize("start", [1e3, 1e120])
def test_a_fit_where_squares_overflow_ends_with_a_result(solver, scale, start, monkeypatch):
    monkeypatch.setattr(driver, "FAR", np.inf)  # otherwise the fit starts at 0
    rng = np.random.default_rng(0)
    X, y, init = scale * rng.normal(size=(60, 3)), rng.integers(3, size=60), start * rng.normal(size=(3, 4))
    penalty = {"l1": 1e-4} if solver == "prox-newton" else {"l2": 1e-4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        result = nbs.Trainer(solver=solver, max_iter=20, **penalty).fit(X, y, init=init)
    assert np.isfinite(result.model.coef).all()


def is_at_minimum(result, reference):
    return result.objective <= (1 + 2 * TOL) * reference.objective


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
@pytest.mark.parametrize("scale", [1e-20, 1e-45, 1e-60, 1e-165, 1e-300, 1e60, 1e160, 1e170, 1e300])
@pytest.mark.parametrize("n_scaled", [1, 2])
@pytest.mark.parametrize(
    "options",
    [
        *({"solver": name} for name in ["newton-cg", "newton", "lbfgs", "gd"]),
        {"bounds": (0, None)},
        {"l1": 0.01, "penalty_weight": [0.0, 0.0, 1.0]},
    ],
)
def test_features_whose_squares_are_rounding_errors_or_overflow_do_not_count_as_fitted(scale, n_scaled, options):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 3))
    y = (X @ rng.normal(size=(3, 3)) + rng.gumbel(size=(200, 3))).argmax(axis=1)
    best = nbs.Trainer(**options | ({"solver": "auto"} if "solver" in options else {})).fit(X, y)
    scaled = X * np.where(np.arange(3) < n_scaled, scale, 1.0)
    result = nbs.Trainer(max_iter=300, **options).fit(scaled, y)
    assert is_at_minimum(result, best) or not result.converged


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
@pytest.mark.parametrize("options", [{"dtype": "float32"}, {"penalty": "firth"}, {"partial": True}])
def test_features_of_1e_30_in_float32_and_of_1e_60_in_objectives_that_are_not_convex_do_not_count_as_fitted(options):
    rng = np.random.default_rng(0)
    m, N = (3000, 40) if "dtype" in options else (300, 4)  # smaller float32 data are converted to float64
    X = rng.normal(size=(m, N))
    y = (X[:, :3] + rng.gumbel(size=(m, 3))).argmax(axis=1)
    options = dict(options)
    target = (np.eye(3)[y] + (rng.random((m, 3)) < 0.2) > 0) if options.pop("partial", False) else y
    best = nbs.Trainer(**options).fit(X, target)
    tiny = X * (1e-30 if "dtype" in options else 1e-60)
    result = nbs.Trainer(**options).fit(tiny, target)
    assert is_at_minimum(result, best) or not result.converged
