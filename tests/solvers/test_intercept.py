"""Steps over the intercepts alone, and the certificates that they make possible."""

import numpy as np
import pytest
import scipy.sparse as sp

import nbsoftmax as nbs
from nbsoftmax.solvers.base import SolverState, evaluate, never_stop
from nbsoftmax.solvers.tools.certificates import WARY, GapCertificate, gap_bound, intercept_slack
from nbsoftmax.solvers.tools.intercept import InterceptCurvature
from tests.solvers.problems import UnpackedNewtonCG, minimum


def data(m=300, n=6, k=4, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, n)) + 1
    return X, (X[:, :k] + rng.normal(size=(m, k))).argmax(axis=1), rng


@pytest.mark.parametrize(
    "options", [{}, {"sample_weight": True}, {"label_smoothing": 0.2}, {"class_weight": [1, 2, 0.5, 3]}]
)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_the_curvature_over_intercepts_is_that_of_the_hessian(options, dtype, form):
    X, y, rng = data(m=5000)
    if "sample_weight" in options:
        options = {"sample_weight": rng.integers(0, 3, len(y)).astype(float)}
    objective = nbs.Objective(form(X.astype(dtype)), y, l2=0.1, **options)
    params = rng.normal(size=objective.shape)
    assert objective.intercept_curvature(params) is None  # before a product has kept the probabilities there
    objective.hvp(params, params)
    found = objective.intercept_curvature(params)
    eps = np.finfo(dtype).eps
    np.testing.assert_allclose(found, objective.hessian(params)[:, -1, :, -1], rtol=0, atol=64 * eps)
    assert objective.intercept_curvature(params + 1e-9) is None


def test_after_a_step_over_the_intercepts_their_gradient_is_of_second_order():
    X, y, _ = data()
    objective = nbs.Objective(X, y, l2=0.1)
    at = UnpackedNewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-12).params
    before, after = [], []
    for size in (1e-2, 1e-3):
        params = at.copy()
        params[:, -1] += size * np.array([1.0, -1.0, 2.0, -2.0])
        objective.hvp(params, params)
        grad = objective.value_and_grad(params)[1]
        params[:, -1] += InterceptCurvature.at(objective, params).step(grad[:, -1])
        before.append(intercept_slack(objective, grad))
        after.append(intercept_slack(objective, objective.value_and_grad(params)[1]))
    assert before[0] / before[1] == pytest.approx(10, rel=0.1)
    assert after[0] / after[1] == pytest.approx(100, rel=0.2)


@pytest.mark.parametrize("scale", [0.0, 1e-320, np.inf, np.nan])
def test_where_there_is_no_curvature_there_is_no_step(scale):
    assert InterceptCurvature(np.diag([scale] * 3)).step(np.array([1.0, -2.0, 1.0])) is None
    assert InterceptCurvature().step(np.ones(3)) is None


def problems():
    for C in (0.01, 1.0, 1e4):
        for scale in (1e-6, 1.0, 1e6):
            for kind in ("labels", "weights", "soft"):
                yield pytest.param(C, scale, kind, id=f"{kind}-C{C:g}-columns{scale:g}")


@pytest.mark.parametrize(("C", "scale", "kind"), list(problems()))
def test_every_certificate_is_above_the_gap(C, scale, kind):
    X, y, rng = data(m=80, n=3, k=3, seed=int(C) % 7)
    X = X * [1.0, scale, 1 / scale]
    weight = rng.uniform(0, 2, len(y)) if kind == "weights" else None
    target = rng.dirichlet(np.ones(3), len(y)) if kind == "soft" else y
    objective = nbs.Objective(X, target, l2=1 / (C * len(y)), sample_weight=weight)
    solution = UnpackedNewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-6)
    assert solution.converged
    best = min(minimum(objective), objective.value(solution.params))
    assert solution.objective - best <= solution.gap
    assert solution.gap <= 1e-6 * solution.objective


def test_a_fit_resumed_from_any_state_ends_with_the_same_bits():
    X, y, _ = data(m=2000, n=12, k=4)
    objective, states, state = nbs.Objective(X, y, l2=1e-4), [], SolverState()
    start, options = np.zeros(objective.shape), {"tol": 1e-7}
    whole = UnpackedNewtonCG().solve(
        objective, start, state=state, on_iteration=lambda *_: states.append(state.snapshot), **options
    )
    assert whole.gap_kind == "duality"
    for snapshot in states:
        saved = {key: np.asarray(value) for key, value in snapshot().items()}
        fresh = nbs.Objective(X, y, l2=1e-4)  # without probabilities from earlier products
        resumed = UnpackedNewtonCG().solve(fresh, start, state=SolverState(saved), on_iteration=never_stop, **options)
        assert resumed.params.tobytes() == whole.params.tobytes()
        assert (resumed.n_iter, resumed.gap) == (whole.n_iter, whole.gap)


@pytest.mark.parametrize("form", [np.asarray, sp.csr_array])
def test_steps_over_the_intercepts_save_products_for_the_proof(monkeypatch, form):
    def fit():
        passes = []
        monkeypatch.setattr(type(objective.backend), "hess_vec", lambda *args: passes.append(1) or hess_vec(*args))
        solution = UnpackedNewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-6)
        assert solution.gap_kind == "duality"
        assert gap_bound(objective, evaluate(objective, solution.params))[0] <= 1e-6 * solution.objective
        return len(passes)

    X, y, _ = data(m=4000, n=12, k=4)
    objective = nbs.Objective(form(X), y, l2=1 / 4000)
    hess_vec = type(objective.backend).hess_vec
    fewer = fit()
    monkeypatch.setattr(InterceptCurvature, "at", classmethod(lambda *_: InterceptCurvature()))
    assert fewer < fit()


def test_a_certificate_that_would_probably_fail_is_not_tried_if_there_is_another_way():
    X, y, _ = data()
    objective = nbs.Objective(X, y, l2=0.1)
    params = UnpackedNewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-14).params.copy()
    params[:, -1] += [1e-6, -1e-6, 2e-6, -2e-6]
    point = evaluate(objective, params)
    bound, slack = gap_bound(objective, point)[0], intercept_slack(objective, point.grad)
    assert slack / 2 < bound < WARY * slack / 2
    for allowed, wary in ((2 * bound, False), (2 * WARY * slack, True)):
        assert GapCertificate(objective, looseness=0.5).certify(point, allowed, wary=wary) == (bound, "duality")
    assert GapCertificate(objective, looseness=0.5).certify(point, 2 * bound, wary=True) is None
