"""Solvers on their own: they reach the minimum, and say truly when they do not."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers.base import evaluate
from nbsoftmax.solvers.gd import GradientDescent
from nbsoftmax.solvers.lbfgs import LBFGS
from nbsoftmax.solvers.newton_cg import NewtonCG
from nbsoftmax.solvers.stop_reason import StopReason
from nbsoftmax.solvers.tools.certificates import allowed_gap
from nbsoftmax.solvers.tools.convergence import newton_decrement
from tests.solvers.problems import SOLVERS, minimum, problem


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_converged_means_within_tol_of_the_minimum(name, fit_intercept):
    objective = problem(fit_intercept=fit_intercept)
    best = minimum(objective)
    solution = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-8)
    assert solution.converged
    assert solution.stop_reason is StopReason.CONVERGED
    assert solution.objective - best <= 1e-8 * best


def test_the_newton_decrement_is_that_of_the_dense_hessian():
    objective = problem()
    params = np.random.default_rng(2).normal(size=objective.shape)
    point = evaluate(objective, params)
    grad = point.grad
    eye = np.eye(params.size).reshape(-1, *objective.shape)
    hessian = np.stack([objective.hvp(params, v).ravel() for v in eye])
    expected = grad.ravel() @ np.linalg.lstsq(hessian, grad.ravel(), rcond=1e-12)[0] / 2
    found, settled = newton_decrement(objective, point, max_products=500)
    assert settled
    assert abs(found - expected) <= 1e-9 * expected
    partial, settled = newton_decrement(objective, point, max_products=2)
    assert not settled
    assert partial < expected
    early, settled = newton_decrement(objective, point, max_products=500, enough=expected / 100)
    assert not settled
    assert expected / 100 < early < expected


@pytest.mark.parametrize("name", SOLVERS)
def test_a_direction_of_small_curvature_is_no_convergence(name):
    # Far from 0 every feature almost equals the intercept: the memory of a quasi-Newton method sees only that,
    # and a fit that looks finished after 7 steps is 0.7% above its minimum.
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 5)) + 1000
    objective = nbs.Objective(X, rng.integers(0, 3, 400), n_classes=3, l2=1e-3)
    best = minimum(objective)
    solution = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-6, max_iter=200 if name == "gd" else 3000)
    assert solution.converged == (name != "gd")
    # The estimate is that of a quadratic, so it is asked for its order of magnitude where the fit is far away.
    assert solution.objective - best <= (1e-6 * best if solution.converged else 3 * solution.gap)


def test_gd_with_a_fixed_rate_is_the_plain_update():
    objective = problem()
    params = np.zeros(objective.shape)
    for _ in range(7):
        params = params - 0.3 * objective.value_and_grad(params)[1]
    solution = GradientDescent(0.3).solve(objective, np.zeros(objective.shape), tol=1e-12, max_iter=7)
    assert np.array_equal(solution.params, params)
    assert solution.n_iter == 7
    assert not solution.converged


def test_too_large_a_learning_rate_is_named_and_the_best_point_returned():
    objective = problem()
    start = np.zeros(objective.shape)
    solution = GradientDescent(1e4).solve(objective, start, tol=1e-6)
    assert not solution.converged
    assert solution.stop_reason is StopReason.DIVERGED
    assert "learning_rate" in solution.reason
    assert np.isfinite(solution.params).all()
    assert solution.objective <= objective.value(start)


@pytest.mark.parametrize("name", SOLVERS)
def test_starting_at_the_minimum_stays_there(name):
    objective = problem()
    first = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-10)
    again = SOLVERS[name](objective, first.params, tol=1e-9)
    assert again.converged
    assert again.n_iter <= 2
    # A step that changes nothing but rounding errors of the sum may be accepted: 16 eps, as `NOISE` says.
    assert again.objective <= first.objective * (1 + 16 * np.finfo(float).eps)


def test_an_impossible_tolerance_ends_at_float_precision_without_claiming_convergence():
    objective = problem()
    solution = LBFGS().solve(objective, np.zeros(objective.shape), tol=1e-300, max_iter=2000)
    assert not solution.converged or solution.gap <= np.finfo(float).eps * np.log(3)
    assert solution.objective - minimum(objective) <= 1e-13 * solution.objective


def test_convergence_has_one_meaning():
    assert allowed_gap(1.0, 1e-6, 3) >= 1e-7
    assert allowed_gap(1.0, 1e-6, 3) < 1e-5
    assert allowed_gap(1e-28, 1e-6, 2) >= 4e-17  # the objective at 0 is log K, and eps log K nothing beside it
    assert allowed_gap(0.0, 1e-6, 3) >= 2e-16
    assert allowed_gap(0.0, 1e-6, 2) < 2e-16


@pytest.mark.parametrize("solver", ["gd", "lbfgs", "newton-cg", "newton"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_fit_whose_minimum_is_as_good_as_0_converges(solver, fit_intercept):
    # No sample is in doubt, and l2 of 1e-30 still has a minimum, of some 1e-28: float64 knows gaps to about 1e-17.
    X = np.linspace(-1, 1, 20)[:, None] * [3.0, 1.0]
    result = nbs.Trainer(solver=solver, l2=1e-30, fit_intercept=fit_intercept).fit(X, X[:, 0] > 0)
    assert result.converged
    assert result.gap <= np.finfo(float).eps * np.log(2)
    assert result.objective <= 1e-15


@pytest.mark.parametrize("name", ["newton", "newton, unpacked"])
def test_newtons_method_makes_one_hessian_a_step_and_takes_the_textbooks_steps(name):
    rng = np.random.default_rng(3)
    X = rng.normal(size=(150, 4))
    J = nbs.Objective(X, (X[:, :3] + 0.3 * rng.normal(size=(150, 3))).argmax(axis=1), l2=1e-3)
    penalty = np.tile([1e-3] * 4 + [0.0], 3)
    params, expected = np.zeros(J.shape), []
    for _ in range(5):
        grad = J.value_and_grad(params)[1].ravel()
        hessian = J.hessian(params).reshape(params.size, -1) + np.diag(penalty)
        params = params - np.linalg.lstsq(hessian, grad, rcond=1e-12)[0].reshape(params.shape)
        expected.append(J.value(params))
    seen = []
    solution = SOLVERS[name](J, np.zeros(J.shape), tol=1e-12, on_iteration=lambda *now: seen.append(now[2]))
    # Conjugate gradients with M = H, repaired by 1e-10 of its diagonal, take one product or two.
    np.testing.assert_allclose(seen[:5], expected, rtol=1e-6)
    made = f"{solution.n_iter} steps with the whole Hessian" if name == "newton" else f"{solution.n_iter + 1} hessian"
    assert made in solution.summary


@pytest.mark.parametrize("l2", [0.0, 0.1])
def test_the_decrement_does_not_see_shifts_that_leave_softmax_as_it_is(l2):
    objective = problem(l2=l2)
    params = np.random.default_rng(2).normal(size=objective.shape)
    point = evaluate(objective, params)
    shifted = point.grad.copy()
    shifted[:, -1] += np.linalg.norm(point.grad)  # the same for every class: nothing depends on it
    plain, _ = newton_decrement(objective, point, max_products=100)
    moved, settled = newton_decrement(objective, point._replace(grad=shifted), max_products=100)
    assert settled
    assert abs(moved - plain) <= 1e-9 * plain


def test_newton_cg_needs_no_scaling_and_bears_collinear_and_constant_columns():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 6)) * 10.0 ** np.arange(-9, 9, 3) + 10.0 ** np.arange(-9, 9, 3)
    X = np.column_stack([X, X[:, 2], X[:, 3] - X[:, 4], np.zeros(500), np.ones(500)])
    y = rng.integers(0, 3, 500)
    # The same problem in well-scaled features that span the same space; without a penalty the minimum is theirs.
    plain = nbs.Objective((X[:, :6] - X[:, :6].mean(axis=0)) / X[:, :6].std(axis=0), y, n_classes=3)
    best = minimum(plain)
    objective = nbs.Objective(X, y, n_classes=3)
    solution = NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-9)
    assert solution.converged
    assert solution.n_iter <= 20
    assert solution.objective - best <= 1e-9 * best


def test_newton_cg_reaches_the_minimum_of_raw_data(shared_data):
    X, y = shared_data("satellite")
    y = np.unique(y, return_inverse=True)[1]
    objective = nbs.Objective(X.astype(float), y, l2=1 / len(X))
    solution = NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-6)
    tighter = NewtonCG().solve(objective, solution.params, tol=1e-11)
    assert solution.converged
    assert tighter.converged
    assert solution.objective - tighter.objective <= 1e-6 * tighter.objective
    assert solution.n_iter <= 30  # most are quasi-Newton steps of one pass


def test_the_minimum_lies_where_coefficients_sum_to_zero_wherever_the_start_is():
    objective = problem()
    start = np.random.default_rng(5).normal(size=objective.shape)
    solution = NewtonCG().solve(objective, start, tol=1e-10)
    assert np.abs(solution.params[:, :-1].sum(axis=0)).max() <= 1e-12
    assert solution.objective - minimum(objective) <= 1e-10 * solution.objective
