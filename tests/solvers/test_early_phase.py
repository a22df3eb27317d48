"""The early phase of newton-cg: quasi-Newton steps from a start at 0."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data import digits
from nbsoftmax.solvers.base import SolverState
from nbsoftmax.solvers.lbfgs import LBFGS
from nbsoftmax.solvers.tools.early_phase import WINDOW, EarlyPhase
from tests.solvers.problems import UnpackedNewton, UnpackedNewtonCG


def problem(seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(500, 20)) * 10.0 ** rng.uniform(-3, 3, 20)
    y = (X[:, :4] / np.abs(X[:, :4]).max(axis=0) + 0.1 * rng.normal(size=(500, 4))).argmax(axis=1)
    return nbs.Objective(X, y, l2=1e-4)


def objectives(solver, objective, start):
    seen, states, state = [], [], SolverState()

    def watch(n, params, value, norm):
        seen.append(value)
        states.append(state.snapshot())

    solver.solve(objective, start, tol=1e-6, state=state, on_iteration=watch)
    return np.array(seen), states


def test_a_fit_from_0_takes_the_first_steps_of_l_bfgs():
    objective = problem()
    start = np.zeros(objective.shape)
    found, states = objectives(UnpackedNewtonCG(), objective, start)
    expected, _ = objectives(LBFGS(), objective, start)
    n = 2 * WINDOW  # before, no rate is known
    assert all(state["early"] for state in states[: n - 1])
    assert not states[-1]["early"]
    np.testing.assert_allclose(found[:n], expected[:n], rtol=1e-9)


@pytest.mark.parametrize("solver", [UnpackedNewtonCG(), UnpackedNewton()], ids=["newton-cg", "newton"])
def test_other_starts_and_newtons_method_have_no_early_phase(solver):
    objective = problem()
    start = np.zeros(objective.shape)
    if solver == UnpackedNewtonCG():
        start[0, 0] = 1e-3
    _, states = objectives(solver, objective, start)
    assert not any(state["early"] for state in states)


@pytest.mark.parametrize(
    ("ratio", "cost", "slow"), [(0.1, 10, False), (0.7, 10, False), (0.9, 10, True), (1.0, 0, True)]
)
def test_steps_are_slow_if_a_decade_takes_many_of_them(ratio, cost, slow):
    values = [1 + ratio**n if ratio < 1 else 2.0 - n / 64 for n in range(30)]
    early = EarlyPhase({"gram": 1, "blocks": cost}, active=True)
    assert early.slowness(values[: 2 * WINDOW], "gram") == 0  # not known yet
    expected = 2 * WINDOW + 1 if ratio == 1 else min(int(-1 / np.log10(ratio)), 2 * WINDOW + 1)
    assert early.slowness(values[: 2 * WINDOW + 1], "gram") == (expected if slow else 0)


def test_slowness_is_measured_since_the_preconditioner_was_made():
    slow, fast = [2.0 - n / 64 for n in range(10)], [1 + 0.1**n for n in range(2 * WINDOW + 2)]
    early = EarlyPhase({"gram": 1, "blocks": 10}, active=True, since=len(slow))
    assert early.slowness(slow + fast[: 2 * WINDOW], "blocks") == 0
    assert early.slowness(slow + fast, "blocks") == 0


def test_steps_that_leave_a_small_share_of_the_objective_are_not_slow():
    values = np.linspace(10.0, 1.0, 2 * WINDOW + 1)  # equal decreases, but the minimum is at least 0
    early = EarlyPhase({"gram": 1}, active=True)
    assert early.slowness(values.tolist(), "gram") == 0
    assert early.slowness((values + 100).tolist(), "gram") > 0


def test_slow_steps_continue_with_a_more_accurate_preconditioner():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 8))
    y = (3 * X[:, :6] + rng.normal(size=(2000, 6)) - np.arange(6)).argmax(axis=1)
    objective = nbs.Objective(X, y, l2=1e-6)
    _, states = objectives(UnpackedNewtonCG(), objective, np.zeros(objective.shape))
    better = [state for state in states if state["early"] and state["kind"] != "gram"]
    assert better
    assert better[-1]["early_since"] > 2 * WINDOW


def test_on_digits_the_work_is_less_than_that_of_newton_steps_alone(monkeypatch):
    X, y = digits.load()
    objective = nbs.Objective(X / 16.0, y, l2=1 / len(y))
    passes = []

    def counted(method):
        return lambda *args: passes.append(1) or method(*args)

    for name in ("loss_and_grad", "hess_vec"):
        monkeypatch.setattr(type(objective.backend), name, counted(getattr(type(objective.backend), name)))
    counts = []
    for start in (np.zeros(objective.shape), np.full(objective.shape, 1e-12) * np.arange(10)[:, None]):
        passes.clear()
        assert UnpackedNewtonCG().solve(objective, start, tol=1e-3).converged
        counts.append(len(passes))
    assert counts[0] < counts[1]
