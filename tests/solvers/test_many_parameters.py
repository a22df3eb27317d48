"""Fits with so many parameters that conjugate gradients change their arrays in place."""

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from nbsoftmax.solvers.base import SolverState, evaluate
from nbsoftmax.solvers.lbfgs import LBFGS
from nbsoftmax.solvers.newton_cg import NewtonCG
from nbsoftmax.solvers.tools.cg_vectors import MANY, VectorsInPlace
from nbsoftmax.solvers.tools.damping import Damping
from nbsoftmax.solvers.tools.preconditioners import CACHED, FEWEST_PAIRS, MOST_PAIRS, Preconditioner, n_pairs

M, N, K = 400, 22_000, 3


def objective(*, l2=1e-3, n_threads=None, dtype=np.float64, fit_intercept=True):
    rng = np.random.default_rng(0)
    rows, columns = np.repeat(np.arange(M), 30), (N * rng.random(30 * M) ** 4).astype(int)
    X = sparse.csr_array((rng.uniform(0.1, 1, rows.size), (rows, columns)), shape=(M, N))
    y = np.argmax(X[:, :K].toarray() + 0.3 * rng.gumbel(size=(M, K)), axis=1)
    return nbs.Objective(X.astype(dtype), y, l2=l2, n_threads=n_threads, fit_intercept=fit_intercept)


def solve(made, tol=1e-8, **options):
    return NewtonCG().solve(made, np.zeros(made.shape), tol=tol, **options)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_fit_has_a_proven_gap_and_the_minimum_of_l_bfgs(dtype, fit_intercept):
    made = objective(dtype=dtype, fit_intercept=fit_intercept)
    assert np.prod(made.shape) >= MANY
    zero = np.zeros(made.shape)
    assert isinstance(Preconditioner(made, zero, "diagonal").vectors(made, evaluate(made, zero)), VectorsInPlace)
    solution = solve(made)
    assert solution.converged
    assert solution.gap_kind in ("duality", "strong-convexity") and solution.gap <= 1e-8 * solution.objective
    other = LBFGS().solve(made, np.zeros(made.shape), tol=1e-8)
    assert abs(other.objective - solution.objective) <= 2e-8 * solution.objective


def test_empty_columns_change_nothing_without_a_penalty_either():
    rng = np.random.default_rng(1)
    X, y = sparse.csr_array(sparse.random(1000, 20, density=0.3, random_state=rng)), rng.integers(0, K, 1000)
    few = nbs.Objective(X.toarray(), y)
    many = nbs.Objective(sparse.csr_array((X.data, X.indices, X.indptr), shape=(1000, N)), y)
    expected, found = solve(few), solve(many)
    assert found.converged and abs(found.objective - expected.objective) <= 2e-8 * expected.objective
    assert (found.params[:, 20:-1] == 0).all()


@pytest.mark.usefixtures("several_threads")
def test_one_thread_and_two_give_the_same_bits():
    one, two = (solve(objective(n_threads=n)) for n in (1, 2))
    np.testing.assert_array_equal(one.params, two.params)


def test_a_fit_resumes_with_the_same_bits():
    made, states, state = objective(), [], SolverState()
    whole = solve(made, state=state, on_iteration=lambda n, *_: states.append(state.snapshot()))
    resumed = solve(objective(), state=SolverState(states[2]))
    np.testing.assert_array_equal(resumed.params, whole.params)


def nearly_separable():
    return objective(l2=1e-6)


def test_newton_steps_far_from_the_minimum_are_damped():
    states, state = [], SolverState()
    damped = solve(nearly_separable(), state=state, on_iteration=lambda n, *_: states.append(state.snapshot()))
    deltas = [saved["damping"][0] for saved in states]
    assert deltas[0] > 1e-6
    assert deltas[-1] == 0
    assert damped.converged and damped.gap_kind == "duality"
    other = LBFGS().solve(nearly_separable(), np.zeros(objective().shape), tol=1e-8)
    assert abs(other.objective - damped.objective) <= 2e-8 * damped.objective
    for saved in states:  # a fit resumes with the same bits in all phases
        resumed = solve(nearly_separable(), state=SolverState(saved))
        np.testing.assert_array_equal(resumed.params, damped.params)


def test_a_warm_start_is_not_damped():
    made, seen, state = nearly_separable(), [], SolverState()
    start = solve(made, tol=1e-3).params
    NewtonCG().solve(made, start, tol=1e-8, state=state, on_iteration=lambda n, *_: seen.append(state.snapshot()))
    assert seen
    assert all(saved["damping"][0] == 0 for saved in seen)


def test_damping_follows_the_ratio_of_actual_and_predicted_decrease():
    damping = Damping(1.0, least=0.05)
    for gained, delta in ((0.9, 0.1), (0.5, 0.1), (0.1, 1.0), (-1.0, 10.0), (0.9, 1.0), (1.1, 0.1), (1.0, 0.0)):
        damping.update(1.0, gained)
        assert damping.delta == pytest.approx(delta)
    damping.update(1.0, 0.1)  # begins again
    assert damping.delta == 0.05
    damping.end()
    damping.update(1.0, 0.1)
    assert not damping.active


def test_a_fit_that_starts_at_its_minimum_ends_there():
    X = sparse.csr_array((np.ones(40), (np.arange(40), np.zeros(40, int))), shape=(40, N))
    for l2 in (0.0, 1e-8):
        balanced = solve(nbs.Objective(X, np.arange(40) % 4, l2=l2))
        assert balanced.converged
        assert balanced.n_iter <= 1
        assert balanced.objective == pytest.approx(np.log(4), rel=1e-12)


def test_pairs_are_kept_only_if_they_cost_less_than_they_save():
    rng = np.random.default_rng(0)
    assert n_pairs(objective()) == 0
    assert n_pairs(nbs.Objective(rng.normal(size=(50, 4)), np.arange(50) % 3)) == MOST_PAIRS
    rows = sparse.random_array((300, 5000), density=0.005, rng=rng, format="csr")  # 25 numbers for each sample
    few = nbs.Objective(rows, np.arange(300) % 3)
    assert np.prod(few.shape) < MANY and n_pairs(few) == 0
    assert n_pairs(nbs.Objective(rows[:, :100], np.arange(300) % 3)) == MOST_PAIRS
    rows = sparse.random_array((2000, 3000), density=0.02, rng=rng, format="csr")  # 60 numbers for each sample
    uncached = nbs.Objective(rows, np.arange(2000) % 3)
    assert CACHED < np.prod(uncached.shape) < MANY and n_pairs(uncached) == 0
    cached = nbs.Objective(rows[:, :2700], np.arange(2000) % 3)
    assert np.prod(cached.shape) <= CACHED and n_pairs(cached) >= FEWEST_PAIRS
    many = nbs.Objective(rng.normal(size=(3000, 330)), np.arange(3000) % 200)  # products with a dense X take longer
    assert np.prod(many.shape) >= MANY and n_pairs(many) == MOST_PAIRS
