"""Starts from which no solver finds its way, because all probabilities there are 0 or 1: the fit starts at 0."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.backends.packed import PackedRows
from nbsoftmax.solvers import table
from nbsoftmax.solvers.base import SolverState
from tests.solvers.problems import UNPACKED, problem

SOLVERS = table.SOLVERS | UNPACKED


def objective_of(name, **options):
    return problem(l1=0.0 if SOLVERS[name].requires.smooth else 1e-3, **options)


def huge(objective, scale):
    return scale * np.random.default_rng(1).normal(size=objective.shape)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("scale", [1e4, 1e8, 1e20, 1e100, 1e300])
def test_a_fit_from_a_huge_start_is_that_from_0_and_says_so(name, dtype, scale):
    objective = objective_of(name, dtype=dtype)
    with np.errstate(over="ignore", invalid="ignore"):  # as in `minimise`, which runs the solvers
        cold, far = (SOLVERS[name].solve(objective, huge(objective, s), tol=1e-6, max_iter=300) for s in (0.0, scale))
    assert far.params.tobytes() == cold.params.tobytes()
    assert (far.converged, far.n_iter, far.gap, far.gap_kind) == (True, cold.n_iter, cold.gap, cold.gap_kind)
    assert far.summary.startswith("started at 0 instead of the given parameters")
    assert far.summary.endswith(cold.summary)
    assert "started" not in cold.summary


@pytest.mark.parametrize("bounds", [(0, None), (2.0, 1e9), (None, -1.0)])
def test_within_bounds_a_fit_starts_at_the_nearest_point_to_0(bounds):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(200, 3)), rng.integers(3, size=200)
    trainer = nbs.Trainer(bounds=bounds, l2=0.1)
    cold, far = trainer.fit(X, y), trainer.fit(X, y, init=1e8 * rng.normal(size=(3, 4)))
    assert far.model.coef.tobytes() == cold.model.coef.tobytes()
    nearest = "0" if bounds[0] == 0 else "the feasible point nearest to 0"
    assert far.converged and far.summary.startswith(f"started at {nearest} instead")


@pytest.mark.parametrize("name", SOLVERS)
def test_a_start_that_is_not_far_above_0_is_kept_and_takes_no_other_evaluation(name, monkeypatch):
    objective = objective_of(name)
    start = huge(objective, 1.5)
    assert 1 < objective.value(start) / np.log(3) < 10
    solution = SOLVERS[name].solve(objective, start, tol=1e-6, max_iter=300)
    assert solution.converged and "started" not in solution.summary
    seen, before = [], []
    for backend in (type(objective.backend), PackedRows):  # solvers that use second derivatives pack small problems
        monkeypatch.setattr(backend, "loss_and_grad", counted(backend, seen))
    monkeypatch.setattr(PackedRows, "newton_step", counted_step(seen))
    SOLVERS[name].solve(objective, start, tol=1e-6, max_iter=1, on_iteration=lambda *_: before.extend(seen))
    assert before and all(params.any() for params in before)


def counted_step(calls):
    real = PackedRows.newton_step

    def newton_step(self, params, *args, **options):
        calls.append(params)
        return real(self, params, *args, **options)

    return newton_step


def counted(backend, calls):
    real = backend.loss_and_grad

    def loss_and_grad(self, params):
        calls.append(params)
        return real(self, params)

    return loss_and_grad


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
def test_where_an_offset_makes_the_objective_at_0_as_large_a_start_is_kept():
    rng = np.random.default_rng(0)
    X, y, init = rng.normal(size=(300, 3)), rng.integers(3, size=300), 1e3 * rng.normal(size=(3, 4))
    offset = -(X @ init[:, :-1].T + init[:, -1])  # which the start cancels
    assert nbs.Objective(X, y, offset=offset).value(np.zeros((3, 4))) > 100 * np.log(3)
    assert nbs.Trainer().fit(X, y, offset=offset, init=init).converged
    assert "started" not in nbs.Trainer(max_iter=1).fit(X, y, offset=offset, init=-0.5 * init).summary


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
def test_without_iterations_a_fit_ends_where_it_starts():
    rng = np.random.default_rng(0)
    X, y, init = rng.normal(size=(200, 3)), rng.integers(3, size=200), 1e8 * rng.normal(size=(3, 4))
    result = nbs.Trainer(max_iter=0).fit(X, y, init=init)
    assert np.array_equal(result.model.coef, init[:, :-1])
    assert not result.converged
    assert result.gap >= 1e6


@pytest.mark.parametrize("name", SOLVERS)
def test_a_resumed_run_remembers_that_it_started_at_0(name):
    objective, state, states = objective_of(name), SolverState(), []
    options = {"tol": 1e-6, "max_iter": 300}
    start = huge(objective, 1e8)
    whole = SOLVERS[name].solve(
        objective, start, state=state, on_iteration=lambda *_: states.append(state.snapshot), **options
    )
    saved = {key: np.asarray(value) for key, value in states[0]().items()}
    resumed = SOLVERS[name].solve(objective, start, state=SolverState(saved), **options)
    assert resumed.params.tobytes() == whole.params.tobytes()
    assert resumed.summary.startswith("started at 0")
