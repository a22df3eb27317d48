"""Fits of small problems, whose Newton steps are single calls of a kernel: the minimum of all other fits."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers.base import SolverState, never_stop
from nbsoftmax.solvers.newton_cg import NewtonCG
from tests.solvers.problems import UnpackedNewtonCG, unpacked

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 6)) * 2.0 ** np.arange(-3, 3)
Y = (X[:, :3] + RNG.normal(size=(120, 3))).argmax(axis=1)
WEIGHT = RNG.integers(0, 3, 120).astype(float)
COLLINEAR = np.column_stack([X, X[:, 0] - X[:, 3]])
CASES = {
    "ridge": {"l2": 1e-2},
    "a strong ridge": {"l2": 10.0},
    "no penalty": {},
    "no intercept": {"l2": 1e-3, "fit_intercept": False},
    "unpenalised features": {"penalty": nbs.Ridge(1e-2, weights=[1.0, 0.0, 2.0, 1.0, 0.0, 1.0])},
    "class weights": {"l2": 1e-3, "class_weight": "balanced"},
    "smoothed": {"l2": 1e-3, "label_smoothing": 0.1},
}


@pytest.mark.parametrize("sample_weight", [None, WEIGHT], ids=["unweighted", "weighted"])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_the_minimum_is_that_of_fits_by_hessian_vector_products(options, dtype, sample_weight):
    small, large = (
        nbs.Trainer(solver=solver, tol=1e-9, **options).fit(X.astype(dtype), Y, sample_weight=sample_weight)
        for solver in (NewtonCG(), UnpackedNewtonCG())
    )
    assert "whole Hessian" in small.summary
    assert "products" in large.summary
    assert small.converged
    assert large.converged
    assert abs(small.objective - large.objective) <= 1e-9 * large.objective
    assert small.gap_kind != "estimate" or large.gap_kind == "estimate"


def test_probabilities_as_targets():
    y = RNG.dirichlet(np.ones(4), 120)
    small, large = (
        nbs.Trainer(solver=solver, tol=1e-9, l2=1e-3).fit(X, y) for solver in (NewtonCG(), UnpackedNewtonCG())
    )
    assert small.converged
    assert abs(small.objective - large.objective) <= 1e-9 * large.objective


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
def test_a_start_far_away_leads_to_the_same_minimum():
    init = RNG.normal(size=(3, 7)) * 30
    near, far = (nbs.Trainer(l2=1e-2, tol=1e-9).fit(X, Y, init=start) for start in (None, init))
    assert far.converged
    assert abs(near.objective - far.objective) <= 1e-9 * near.objective


def test_conjugate_gradients_take_over_if_features_are_collinear():
    result = nbs.Trainer(tol=1e-9).fit(COLLINEAR, Y)
    assert "products" in result.summary
    assert result.converged
    assert abs(result.objective - nbs.Trainer(tol=1e-9).fit(X, Y).objective) <= 1e-9 * result.objective


@pytest.mark.parametrize("case", ["whole", "taken over"])
def test_a_run_resumed_after_any_iteration_ends_with_the_same_bits(case):
    objective, states = nbs.Objective(X if case == "whole" else COLLINEAR, Y, l2=1e-3 * (case == "whole")), []
    start, state = np.zeros(objective.shape), SolverState()
    whole = NewtonCG().solve(
        objective, start, tol=1e-9, state=state, on_iteration=lambda *_: states.append(state.snapshot)
    )
    assert len(states) == whole.n_iter > 3
    for snapshot in states:
        saved = {key: np.asarray(value) for key, value in snapshot().items()}
        resumed = NewtonCG().solve(objective, start, tol=1e-9, state=SolverState(saved), on_iteration=never_stop)
        assert resumed.params.tobytes() == whole.params.tobytes()
        assert (resumed.n_iter, resumed.gap, resumed.summary) == (whole.n_iter, whole.gap, whole.summary)


def test_the_number_of_threads_does_not_change_a_bit():
    one, two = (nbs.Trainer(l2=1e-3, n_threads=n).fit(X, Y) for n in (1, 2))
    assert one.model.coef.tobytes() == two.model.coef.tobytes()
    assert one.gap == two.gap


def test_a_certificate_is_a_bound():
    objective = nbs.Objective(X, Y, l2=1e-2)
    best = NewtonCG().solve(unpacked(objective), np.zeros(objective.shape), tol=1e-13).objective
    for tol in (1e-1, 1e-3, 1e-6):
        solution = NewtonCG().solve(objective, np.zeros(objective.shape), tol=tol)
        assert solution.gap_kind == "duality"
        assert solution.objective - best <= solution.gap <= tol * solution.objective
