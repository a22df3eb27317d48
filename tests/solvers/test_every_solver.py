"""What every solver in the table must do, whatever objectives it is for."""

import numpy as np
import pytest

from nbsoftmax.solvers import table
from nbsoftmax.solvers.base import SolverState, never_stop
from nbsoftmax.solvers.stop_reason import StopReason
from tests.solvers.problems import UNPACKED, problem

SOLVERS = table.SOLVERS | UNPACKED


def problem_of(name, **options):
    """A problem that the solver can minimise, with so many features that preconditioners outlast an iteration."""
    return problem(n_features=30, l1=0.0 if SOLVERS[name].requires.smooth else 1e-3, **options)


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_a_solution_says_of_its_point_is_true(name, dtype):
    objective = problem_of(name, dtype=dtype)
    solution = SOLVERS[name].solve(objective, np.zeros(objective.shape), tol=1e-6, max_iter=300)
    value, grad = objective.in_float64().value_and_subgrad(solution.params)
    rounded = 4 * np.finfo(float).eps  # loss and penalty may be added in another order
    assert solution.objective == pytest.approx(value, rel=rounded)
    assert np.abs(solution.grad_norm - np.linalg.norm(grad)) <= rounded
    assert solution.converged == (solution.gap <= 1e-6 * solution.objective)


@pytest.mark.parametrize("name", SOLVERS)
def test_a_run_resumed_from_a_state_ends_with_the_bits_of_one_that_was_not_interrupted(name):
    objective, states = problem_of(name), []
    start, options = np.zeros(objective.shape), {"tol": 1e-9, "max_iter": 20}
    state = SolverState()
    whole = SOLVERS[name].solve(
        objective, start, state=state, on_iteration=lambda *_: states.append(state.snapshot), **options
    )
    assert len(states) == whole.n_iter > 2
    saved = {key: np.asarray(value) for key, value in states[1]().items()}
    resumed = SOLVERS[name].solve(objective, start, state=SolverState(saved), on_iteration=never_stop, **options)
    assert resumed.params.tobytes() == whole.params.tobytes()
    assert (resumed.n_iter, resumed.gap, resumed.reason) == (whole.n_iter, whole.gap, whole.reason)


@pytest.mark.parametrize("name", SOLVERS)
def test_max_iter_is_obeyed_and_named(name):
    objective = problem_of(name)
    solution = SOLVERS[name].solve(objective, np.zeros(objective.shape), tol=1e-12, max_iter=3)
    assert solution.n_iter == 3
    assert not solution.converged
    assert solution.stop_reason is StopReason.MAX_ITER


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_stops_when_asked(name):
    def stop_at_4(n_iter, *_):
        return StopReason.CALLBACK.stop() if n_iter == 4 else None

    objective = problem_of(name)
    solution = SOLVERS[name].solve(objective, np.zeros(objective.shape), tol=1e-12, on_iteration=stop_at_4)
    assert solution.n_iter == 4
    assert solution.stop_reason is StopReason.CALLBACK
