"""The gap of a solution: bounds above the distance from the minimum, and when a fit waits for one."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers import driver
from nbsoftmax.solvers.base import evaluate
from nbsoftmax.solvers.gd import GradientDescent
from nbsoftmax.solvers.newton_cg import NewtonCG
from nbsoftmax.solvers.stop_reason import StopReason
from nbsoftmax.solvers.tools.certificates import GapCertificate, bound_at_optimal_intercept, gap_bound, intercept_slack
from nbsoftmax.solvers.tools.convergence import ConvergenceMonitor
from tests.solvers.problems import SOLVERS, minimum, problem


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_bound_is_above_the_gap_and_near_the_minimum_it_is_close(fit_intercept):
    objective = problem(fit_intercept=fit_intercept)
    best = minimum(objective)
    rng = np.random.default_rng(1)
    at = NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-12).params
    for spread in (1.0, 0.1, 1e-3, 1e-5):
        for _ in range(10):
            params = at + rng.normal(scale=spread, size=objective.shape)
            point = evaluate(objective, params)
            found, kind = gap_bound(objective, point)
            assert kind == ("duality" if fit_intercept else "strong-convexity")
            assert point.value - best <= found
            parts = bound_at_optimal_intercept(objective, point.grad), intercept_slack(objective, point.grad)
            assert found <= 10 * sum(parts)
    assert found <= 1e-4 * best
    unpenalised = problem(l2=0.0, fit_intercept=fit_intercept)
    assert gap_bound(unpenalised, point) is None
    assert bound_at_optimal_intercept(unpenalised, point.grad) == np.inf


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"sample_weight": np.arange(1.0, 121)}])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_with_l2_a_fit_ends_with_a_proof(name, options, fit_intercept):
    # Where the bound comes within tol, the steps of gd still lower J by 500 eps or more, so no CPU's rounding decides.
    rng = np.random.default_rng(3)
    X = rng.normal(size=(120, 4)) + 1
    y = rng.integers(0, 3, 120)
    objective = nbs.Objective(X, y, l2=0.02, fit_intercept=fit_intercept, **options)
    solution = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-7)
    assert solution.converged
    assert solution.gap_kind == ("duality" if fit_intercept else "strong-convexity")
    assert solution.objective - minimum(objective) <= solution.gap <= 1e-7 * solution.objective


@pytest.mark.parametrize("name", ["gd", "newton-cg", "newton"])  # lbfgs ends with the intercept at its very optimum
def test_with_an_offset_the_intercept_has_no_proof_by_duality(name):
    rng = np.random.default_rng(3)
    objective = nbs.Objective(
        rng.normal(size=(120, 4)), rng.integers(0, 3, 120), l2=0.02, offset=rng.normal(size=(120, 3))
    )
    solution = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-7)
    assert solution.converged
    assert solution.gap_kind == "self-concordance"
    rounding = 4 * np.finfo(float).eps * solution.objective  # of the two objectives: the bound is that close
    assert solution.objective - minimum(objective) <= solution.gap + rounding
    assert solution.gap <= 1e-7 * solution.objective


@pytest.mark.parametrize("seed", range(40))
def test_a_start_where_all_probabilities_are_0_or_1_is_no_minimum(seed, monkeypatch):
    # Curvatures of 1e-300 there made steps that overflowed, and a fit that stood still said that it had converged.
    monkeypatch.setattr(driver, "FAR", np.inf)  # otherwise the fit starts at 0
    rng = np.random.default_rng(seed)
    objective = nbs.Objective(rng.normal(size=(5, 30)), np.array([0, 1, 2, 0, 1]), l2=4e-5)
    start = 10.0 ** rng.uniform(2, 4) * rng.normal(size=objective.shape)
    solution = NewtonCG().solve(objective, start, tol=1e-6)
    best = NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-9)
    assert best.converged
    assert solution.converged == (solution.objective <= best.objective * (1 + 1e-6))


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("scale", [1e16, 1e20, 1e50])
@pytest.mark.parametrize("max_iter", [0, 200])
def test_a_fit_that_ends_above_the_objective_at_0_has_not_converged(name, l2, scale, max_iter, monkeypatch):
    monkeypatch.setattr(driver, "FAR", np.inf)  # otherwise the fit starts at 0
    rng = np.random.default_rng(0)
    objective = nbs.Objective(rng.normal(size=(200, 3)), rng.integers(0, 3, 200), l2=l2)
    start = scale * np.random.default_rng(1).normal(size=objective.shape)
    with np.errstate(over="ignore", invalid="ignore"):  # as in `minimise`, which runs the solvers
        solution = SOLVERS[name](objective, start, tol=1e-6, max_iter=max_iter)
    at_zero = objective.value(np.zeros(objective.shape))
    above = solution.objective > at_zero * (1 + 1e-6)
    assert above or max_iter > 0  # the start is far above
    assert not (above and solution.converged)
    assert solution.gap >= (solution.objective - at_zero) * (1 - 1e-12)


@pytest.mark.parametrize("name", ["lbfgs", "gd"])
def test_a_fit_that_ends_while_it_waits_for_a_proof_has_converged(name, monkeypatch):
    monkeypatch.setattr(GapCertificate, "certify", lambda *_, **__: None)
    objective = problem()
    whole = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-5)
    assert whole.converged
    for n in range(whole.n_iter // 2 + 1, whole.n_iter + 1):
        options = {"tol": 1e-5, "max_iter": n}
        solution = SOLVERS[name](objective, np.zeros(objective.shape), **options)
        assert solution.converged
        assert solution.stop_reason is StopReason.CONVERGED


def test_an_estimate_that_a_later_decrease_refutes_is_not_reported():
    objective = problem()
    point = evaluate(objective, np.zeros(objective.shape))
    waits = {"certify_until": 5, "estimate": 1e-12, "estimated_at": point.value + 0.1}  # the decrease since then is 0.1
    gap, _ = ConvergenceMonitor(objective, 1e-6, waits).gap(0, point)
    assert gap > 0.5 * (point.value - minimum(objective))


def test_a_class_without_samples_has_no_proof_to_wait_for():
    objective = nbs.Objective(np.random.default_rng(0).normal(size=(60, 3)), np.arange(60) % 2, n_classes=3, l2=0.1)
    assert not GapCertificate(objective).possible
    assert GapCertificate(problem()).possible
    assert not GapCertificate(problem(l2=0.0)).possible


@pytest.mark.parametrize("seed", range(20))
def test_rounding_errors_do_not_bring_a_bound_below_the_gap(seed):
    # Near the minimum of an objective of 1e-5 and less, J - D is a difference of numbers 1e9 times as large.
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(12, 3))
    y = (X[:, 0] > 0).astype(int)
    X[:, 0] += np.where(y == 1, 1.0, -1.0)
    objective = nbs.Objective(X, y, l2=10.0 ** rng.uniform(-14, -8))
    fit = NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-13)
    params = fit.params.copy()
    params[:, -1] += 1e6  # a shift of all classes changes nothing
    point = evaluate(objective, params)
    found = gap_bound(objective, point)
    # The minimum is below what the fit reached by no more than its own float64 errors.
    assert found[0] >= point.value - fit.objective
    assert found[0] >= 16 * np.finfo(float).eps * point.value


@pytest.mark.parametrize("name", ["newton-cg", "newton", "lbfgs"])
def test_where_float64_has_no_proof_by_duality_there_is_one_by_the_newton_decrement(name):
    # The rounding errors of the first columns' gradients are 1e-7: divided by 2 l2 that is more than the objective.
    rng = np.random.default_rng(4)
    X = rng.normal(size=(200, 4)) * [1e9, 1e9, 1.0, 1.0]
    y = (rng.normal(size=(200, 3)) + X @ (rng.normal(size=(4, 3)) / [[1e9], [1e9], [1], [1]])).argmax(axis=1)
    objective = nbs.Objective(X, y, l2=1e-14)
    solution = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-6)
    assert solution.converged
    assert solution.gap_kind == "self-concordance"
    # With so small a penalty the minimum is that of the same columns at the scale of 1, without one.
    plain = nbs.Objective(X / [1e9, 1e9, 1.0, 1.0], y)
    assert abs(solution.objective / minimum(plain) - 1) <= 1e-6


class Rounded:
    """An objective whose values have few digits, as those of all have beside its gradient near the minimum."""

    def __init__(self, objective):
        self._objective = objective

    def __getattr__(self, name):
        return getattr(self._objective, name)

    def value_and_grad(self, params):
        value, grad = self._objective.value_and_grad(params)
        return round(value, 6), grad

    def in_float64(self):
        return self


def test_a_fit_ends_where_it_was_proven_though_earlier_values_were_as_small():
    objective = Rounded(problem(l2=0.02))
    solution = GradientDescent(0.5).solve(objective, np.zeros(objective.shape), tol=1e-4)
    assert solution.converged
    assert solution.gap_kind == "duality"
    known = gap_bound(objective, evaluate(objective, solution.params))
    assert known == (solution.gap, "duality")


def nearly_separable(n_features):
    """Classes that a sample of tiny weight keeps from being separable: the objective falls like exp for many steps."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, n_features))
    logits = X @ rng.normal(size=(n_features, 2))
    y = logits.argmax(axis=1)
    X, y = (a[np.abs(logits[:, 0] - logits[:, 1]) > 1] for a in (X, y))
    weight = np.append(np.ones(len(y)), 1e-9 * len(y))
    return nbs.Objective(np.vstack([X, X[:1]]), np.append(y, 1 - y[0]), sample_weight=weight)


@pytest.mark.parametrize("name", ["newton", "newton-cg"])
@pytest.mark.parametrize("n_features", [2, 80])
def test_an_estimate_includes_the_steps_after_the_next_one(name, n_features):
    # Each decrement is 1/e of the last one, and the gap twice the decrement.
    objective = nearly_separable(n_features)
    start = np.zeros(objective.shape)
    best = SOLVERS[name](objective, start, tol=1e-9).objective
    for max_iter in (3, 4, 6, 8):
        found = SOLVERS[name](objective, start, tol=1e-6, max_iter=max_iter)
        assert found.gap_kind == "estimate"
        assert 0.9 <= found.gap / (found.objective - best) <= 1.3
