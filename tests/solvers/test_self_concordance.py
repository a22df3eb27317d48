"""The bound on the gap from the Newton decrement, which needs no penalty but a small Hessian."""

import warnings

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.sparse import csr_array

import nbsoftmax as nbs
from nbsoftmax.backends.sharpness import inverse_of, reduced, reduced_from_proba
from nbsoftmax.penalties import curvature_of_columns
from nbsoftmax.solvers.base import evaluate
from nbsoftmax.solvers.tools.certificates import self_concordance_bound
from tests.solvers.problems import minimum

ROUNDING = 2e-15  # of an objective, relative: sums of a few hundred terms


def random_problem(seed, *, n_classes=3, m=150, n=4, **options):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-2, 2, n)
    y = (X / np.abs(X).max(axis=0) @ rng.normal(size=(n, n_classes)) + rng.normal(size=(m, n_classes))).argmax(axis=1)
    y[:n_classes] = np.arange(n_classes)
    return X, nbs.Objective(X, y, n_classes=n_classes, **options)


WEIGHTS = np.random.default_rng(9).choice([0.0, 1.0, 1e-3, 50.0], 150)
CASES = {
    "no penalty": {},
    "two classes": {"n_classes": 2},
    "no intercept": {"fit_intercept": False},
    "weights": {"sample_weight": WEIGHTS},
    "smoothed": {"label_smoothing": 0.1},
    "unpenalised features": {"penalty": nbs.Ridge(0.1, weights=[1.0, 0.0, 2.0, 0.0])},
    "few samples": {"m": 40, "n": 2},
}


@pytest.mark.parametrize(
    ("decrement", "q"), [(0.3, 1.0), (1e-3, 400.0), (0.1, 1e-3), (1e-9, 1e6), (1e-12, 3.0), (2.0, 0.2)]
)
def test_the_bound_is_the_minimum_of_the_lower_bound_along_a_direction(decrement, q):
    slope = np.sqrt(2 * decrement)  # at the length r = |d| in the norm of H, J falls by at least this function

    def lower(r):
        s = np.sqrt(q) * r
        return -slope * r + (s**2 / 2 - s**3 / 6 + s**4 / 24 if s < 1e-3 else np.expm1(-s) + s) / q

    least = minimize_scalar(lower, bounds=(0, 40 * slope), method="bounded", options={"xatol": 1e-12 * slope}).fun
    np.testing.assert_allclose(self_concordance_bound(decrement, q), -least, rtol=1e-6)


def test_there_is_no_bound_for_a_large_decrement_and_for_none():
    for decrement, q in ((0.5, 1.0), (1.0, 1e300), (1e-9, np.inf), (np.inf, 1.0), (np.nan, 1.0), (-1.0, 1.0)):
        assert self_concordance_bound(decrement, q) == np.inf
    assert self_concordance_bound(0.0, 1.0) == 0.0


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("case", CASES)
def test_it_is_above_the_gap_and_near_the_minimum_it_is_the_gap(case, seed):
    X, objective = random_problem(seed, **CASES[case])
    packed, best = objective.packed(), minimum(objective)
    rng = np.random.default_rng(seed)
    at, ratios = nbs.NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-15).params, []
    scale = np.append(np.abs(X).mean(axis=0), 1.0)
    for spread in (1.0, 0.3, 0.1, 1e-2, 1e-3):
        change = rng.normal(scale=spread, size=objective.shape) / scale
        params = at + change - change.mean(axis=0)  # fits change no sums over the classes
        params[:, -1] *= objective.fit_intercept
        found = packed.newton_step(params)
        bound = self_concordance_bound(found.decrement, packed.sharpness(params))
        gap = evaluate(objective, params).value - best
        assert gap <= bound + ROUNDING * abs(best)
        ratios.append(bound / gap)
    assert ratios[-1] < 1.1


@pytest.mark.parametrize("case", CASES)
def test_sharpness_is_above_what_any_direction_does_to_the_logits(case):
    X, objective = random_problem(3, **CASES[case])
    packed, rng = objective.packed(), np.random.default_rng(0)
    params = rng.normal(size=objective.shape) / np.append(np.abs(X).mean(axis=0), 1.0)
    params[:, -1] *= objective.fit_intercept
    q, ones = packed.sharpness(params), np.full((len(X), 1), float(objective.fit_intercept))
    X1 = np.hstack([X, ones])
    if "sample_weight" in CASES[case]:
        X1 = X1[WEIGHTS > 0]
    size = params.size
    H = np.stack([objective.hvp(params, v).ravel() for v in np.eye(size).reshape(size, *params.shape)])
    most, inverse = 0.0, np.linalg.pinv(H, rcond=1e-13)
    for x in X1:
        for k in range(len(params)):
            for m in range(k):
                row = np.zeros(params.shape)
                row[k], row[m] = x, -x
                most = max(most, row.ravel() @ inverse @ row.ravel())
    assert most <= q * (1 + 1e-9)
    assert q <= most * (1 + 1e-9 if len(params) == 2 else 4)


@pytest.mark.parametrize("solver", ["newton-cg", "newton"])
@pytest.mark.parametrize("tol", [1e-1, 1e-3, 1e-6, 1e-10])
@pytest.mark.parametrize("case", CASES)
def test_small_fits_without_a_penalty_end_with_a_proof(case, tol, solver):
    options = {k: v for k, v in CASES[case].items() if k not in {"n_classes", "m", "n", "sample_weight"}}
    sizes = {k: v for k, v in CASES[case].items() if k in {"n_classes", "m", "n"}}
    X, objective = random_problem(1, **CASES[case])
    y = random_labels(1, **sizes)
    fit = nbs.Trainer(tol=tol, solver=solver, **options).fit(X, y, sample_weight=CASES[case].get("sample_weight"))
    assert fit.converged
    assert fit.gap_kind == "self-concordance"
    assert fit.gap <= tol * fit.objective
    assert fit.objective - minimum(objective) <= fit.gap + ROUNDING * fit.objective


def random_labels(seed, **sizes):
    return np.asarray(random_problem(seed, **sizes)[1]._problem.target.labels)


def test_separable_classes_have_no_proof():
    X = np.random.default_rng(0).normal(size=(60, 2))
    y = np.digitize(X[:, 0], [-0.5, 0.5])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        fit = nbs.Trainer().fit(X, y)
    assert not fit.converged
    assert fit.gap_kind != "self-concordance"


def test_a_singular_hessian_has_no_inverse():
    matrix, used = np.diag([1.0, 4.0, 1.0, 4.0]), np.array([True, True])
    np.testing.assert_allclose(inverse_of(matrix, used), np.linalg.inv(matrix))
    matrix[0, 0] = 0.0
    assert inverse_of(matrix, used) is None
    matrix[2, 2] = 0.0  # a feature that is always 0
    np.testing.assert_allclose(inverse_of(matrix, np.array([False, True])), np.diag([0.0, 0.25, 0.0, 0.25]))
    assert inverse_of(np.ones((2, 2)), used) is None
    assert inverse_of(np.array([[1.0, 1 - 1e-12], [1 - 1e-12, 1.0]]), used) is None


@pytest.mark.parametrize("case", CASES)
def test_both_ways_to_the_reduced_hessian_agree(case):
    X, objective = random_problem(2, **CASES[case])
    params = np.random.default_rng(0).normal(size=objective.shape) / np.append(np.abs(X).mean(axis=0), 1.0)
    params[:, -1] *= objective.fit_intercept
    l2s = curvature_of_columns(objective.penalty, params.shape[1])
    X1 = np.column_stack([X, np.full(len(X), float(objective.fit_intercept))])
    weight = WEIGHTS if "sample_weight" in CASES[case] else np.ones(len(X))
    matrix = reduced(objective.hessian(params), l2s)
    again = reduced_from_proba(X1.T, weight / weight.sum(), nbs.softmax(X1 @ params.T).T, l2s)
    size = np.sqrt(np.diag(matrix))
    np.testing.assert_allclose(again, matrix, rtol=0, atol=1e-12 * np.outer(size, size).max(initial=0.0) + 1e-300)
    centred = params - params.mean(axis=0)
    decrement, q = objective.concordance(centred, objective.value_and_grad(centred)[1])
    found = objective.packed().newton_step(centred)
    np.testing.assert_allclose(decrement, found.decrement, rtol=1e-9)
    np.testing.assert_allclose(q, objective.packed().sharpness(centred), rtol=1e-9)


@pytest.mark.parametrize("solver", ["newton-cg", "newton", "lbfgs"])
@pytest.mark.parametrize("kind", ["dense", "sparse", "float32", "an offset", "an offset and l2"])
def test_larger_fits_without_another_bound_end_with_a_proof(kind, solver):
    rng = np.random.default_rng(5)
    m = 6000 if kind == "sparse" or "offset" in kind else 25_000  # too many for steps with the whole Hessian
    X, y = rng.normal(size=(m, 12)) * (rng.random((m, 12)) < 0.5), rng.integers(0, 4, m)
    y[X[:, 0] > 1] = 2
    offset = rng.normal(size=(m, 4)) if "offset" in kind else None
    rows = {"sparse": csr_array, "float32": np.float32}.get(kind, np.asarray)(X)
    l2 = 1e-3 if "l2" in kind else 0.0
    fit = nbs.Trainer(solver=solver, l2=l2, tol=1e-4).fit(rows, y, offset=offset)
    assert "whole Hessian" not in fit.summary
    assert fit.converged
    assert fit.gap_kind == "self-concordance" or ("l2" in kind and fit.gap_kind == "duality")
    X = np.asarray(X.astype(rows.dtype), np.float64)
    best = minimum(nbs.Objective(X, y, n_classes=4, l2=l2, offset=offset))
    assert fit.objective - best <= fit.gap + ROUNDING * best <= 1e-4 * fit.objective + ROUNDING * best


def test_a_hessian_of_many_parameters_is_not_inverted():
    rng = np.random.default_rng(5)
    X, y = rng.normal(size=(6000, 40)), rng.integers(0, 4, 6000)
    objective = nbs.Objective(X, y, n_classes=4)
    assert objective.concordance(np.zeros(objective.shape), np.zeros(objective.shape)) == (np.inf, np.inf)
    assert nbs.Trainer().fit(X, y).gap_kind == "estimate"
