"""Solvers on their own: they reach the minimum, and say truly when they do not."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers.base import SolverState, evaluate, never_stop
from nbsoftmax.solvers.driver import Driver
from nbsoftmax.solvers.gd import GradientDescent
from nbsoftmax.solvers.lbfgs import LBFGS
from nbsoftmax.solvers.newton_cg import NewtonCG, NewtonSteps
from nbsoftmax.solvers.stop_reason import StopReason
from nbsoftmax.solvers.table import SOLVERS as TABLE
from nbsoftmax.solvers.tools import preconditioners
from nbsoftmax.solvers.tools.certificates import (
    GapCertificate,
    approximate_gap_bound,
    gap_bound,
    within_tolerance,
)
from nbsoftmax.solvers.tools.convergence import newton_decrement
from nbsoftmax.solvers.tools.preconditioners import KINDS, Preconditioner, costs


def problem(*, l1=0.0, l2=0.1, fit_intercept=True, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(120, 5))
    y = (X @ rng.normal(size=(5, 3)) + rng.normal(size=(120, 3))).argmax(axis=1)
    return nbs.Objective(X.astype(dtype), y, n_classes=3, l1=l1, l2=l2, fit_intercept=fit_intercept)


def problem_of(name, **options):
    """A problem that the solver can minimise."""
    return problem(l1=0.0 if TABLE[name].requires.smooth else 1e-3, **options)


def minimum(objective):
    """The minimum by plain Newton steps with a dense Hessian from products: nothing in common with the solvers."""
    params = np.zeros(objective.shape)
    for _ in range(50):
        _, grad = objective.value_and_grad(params)
        eye = np.eye(params.size).reshape(-1, *objective.shape)
        hessian = np.stack([objective.hvp(params, v).ravel() for v in eye])
        params = params - np.linalg.lstsq(hessian, grad.ravel(), rcond=1e-12)[0].reshape(objective.shape)
    return objective.value(params)


# The solvers that reach the minimum of a smooth objective; tests of all solvers are parametrised by TABLE itself.
SOLVERS = {
    name: solver.solve for name, solver in TABLE.items() if solver.requires.smooth and not solver.requires.batches
}


@pytest.mark.parametrize("name", SOLVERS)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_converged_means_within_tol_of_the_minimum(name, fit_intercept):
    objective = problem(fit_intercept=fit_intercept)
    best = minimum(objective)
    solution = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-8)
    assert solution.converged
    assert solution.stop_reason is StopReason.CONVERGED
    assert solution.objective - best <= 1e-8 * best


@pytest.mark.parametrize("name", TABLE)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_what_a_solution_says_of_its_point_is_true(name, dtype):
    objective = problem_of(name, dtype=dtype).in_float64()
    solution = TABLE[name].solve(problem_of(name, dtype=dtype), np.zeros(objective.shape), tol=1e-6, max_iter=300)
    value, grad = objective.value_and_subgrad(solution.params)
    rounded = 4 * np.finfo(float).eps  # loss and penalty may be added in another order
    assert solution.objective == pytest.approx(value, rel=rounded)
    assert solution.grad_norm == pytest.approx(np.linalg.norm(grad), rel=1e-9)
    assert solution.converged == (solution.gap <= 1e-6 * solution.objective)


@pytest.mark.parametrize("name", TABLE)
def test_a_run_resumed_from_a_state_ends_with_the_bits_of_one_that_was_not_interrupted(name):
    objective, start, states = problem_of(name), np.zeros((3, 6)), []
    state = SolverState()
    options = {"tol": 1e-9, "max_iter": 20}
    whole = TABLE[name].solve(
        objective, start, state=state, on_iteration=lambda *_: states.append(state.snapshot), **options
    )
    assert len(states) == whole.n_iter > 2
    saved = {key: np.asarray(value) for key, value in states[1]().items()}
    resumed = TABLE[name].solve(objective, start, state=SolverState(saved), on_iteration=never_stop, **options)
    assert resumed.params.tobytes() == whole.params.tobytes()
    assert (resumed.n_iter, resumed.gap, resumed.reason) == (whole.n_iter, whole.gap, whole.reason)


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
            assert found <= 10 * approximate_gap_bound(objective, point.grad)
    assert found <= 1e-4 * best
    assert gap_bound(problem(l2=0.0, fit_intercept=fit_intercept), point) is None
    assert approximate_gap_bound(problem(l2=0.0, fit_intercept=fit_intercept), point.grad) == np.inf


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
def test_with_an_offset_the_intercept_has_no_proof(name):
    rng = np.random.default_rng(3)
    objective = nbs.Objective(
        rng.normal(size=(120, 4)), rng.integers(0, 3, 120), l2=0.02, offset=rng.normal(size=(120, 3))
    )
    solution = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-7)
    assert solution.converged
    assert solution.gap_kind == "estimate"
    assert solution.objective - minimum(objective) <= 1e-7 * solution.objective


@pytest.mark.parametrize("seed", range(40))
def test_a_start_where_all_probabilities_are_0_or_1_is_no_minimum(seed):
    # Curvatures of 1e-300 there made steps that overflowed, and a fit that stood still said that it had converged.
    rng = np.random.default_rng(seed)
    objective = nbs.Objective(rng.normal(size=(5, 30)), np.array([0, 1, 2, 0, 1]), l2=4e-5)
    start = 10.0 ** rng.uniform(2, 4) * rng.normal(size=objective.shape)
    solution = NewtonCG().solve(objective, start, tol=1e-6)
    best = NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-9)
    assert best.converged
    assert solution.converged == (solution.objective <= best.objective * (1 + 1e-6))


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
def test_where_float64_has_no_proof_a_fit_ends_with_the_estimate(name):
    # The rounding errors of the first columns' gradients are 1e-7: divided by 2 l2 that is more than the objective.
    rng = np.random.default_rng(4)
    X = rng.normal(size=(200, 4)) * [1e9, 1e9, 1.0, 1.0]
    y = (rng.normal(size=(200, 3)) + X @ (rng.normal(size=(4, 3)) / [[1e9], [1e9], [1], [1]])).argmax(axis=1)
    objective = nbs.Objective(X, y, l2=1e-14)
    solution = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-6)
    assert solution.converged
    assert solution.gap_kind == "estimate"
    # With so small a penalty the minimum is that of the same columns at the scale of 1, without one.
    plain = nbs.Objective(X / [1e9, 1e9, 1.0, 1.0], y)
    assert abs(solution.objective / minimum(plain) - 1) <= 1e-6


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


@pytest.mark.parametrize("kind", KINDS)
def test_what_products_have_shown_corrects_a_preconditioner_as_l_bfgs_does(kind):
    rng = np.random.default_rng(5)
    objective = problem()
    params = rng.normal(size=objective.shape)

    def centred(v):
        return v - v.mean(axis=0)

    plain, corrected = (Preconditioner(objective, params, kind) for _ in range(2))
    pairs = []
    for _ in range(3):  # of other points, so that they are not conjugate
        step = centred(rng.normal(size=objective.shape))
        pairs.append((step, objective.hvp(params + 0.1 * rng.normal(size=objective.shape), step)))
        corrected.record(*pairs[-1])
    residual = centred(rng.normal(size=objective.shape))
    assert (corrected(residual) == plain(residual)).all()  # not before it has learnt
    corrected.update()
    # J. Nocedal, "Updating quasi-Newton matrices with limited storage", 1980: the two loops, written out.
    expected, factors = residual, []
    for step, product in reversed(pairs):
        factors.append(np.vdot(step, expected) / np.vdot(step, product))
        expected = expected - factors[-1] * product
    expected = plain(expected)
    for (step, product), factor in zip(pairs, reversed(factors), strict=True):
        expected = expected + (factor - np.vdot(product, expected) / np.vdot(step, product)) * step
    np.testing.assert_allclose(corrected(residual), expected, rtol=1e-10, atol=1e-12)
    step, product = pairs[-1]
    np.testing.assert_allclose(corrected(product), step, rtol=1e-9, atol=1e-11)  # the last pair holds as it is


def test_a_preconditioner_keeps_the_last_pairs_alone_and_none_of_parameters_that_are_too_many(monkeypatch):
    objective = problem()
    preconditioner = Preconditioner(objective, np.zeros(objective.shape), "gram")
    steps = np.random.default_rng(0).normal(size=(preconditioners.MOST_PAIRS + 3, *objective.shape))
    for step in steps:
        preconditioner.record(step, objective.hvp(np.zeros(objective.shape), step))
        preconditioner.update()
    kept = preconditioner.memory.pairs[0]
    assert len(kept) == preconditioners.MOST_PAIRS
    last = steps[-1].ravel()
    assert abs(kept[-1] @ last / np.linalg.norm(kept[-1]) / np.linalg.norm(last) - 1) <= 1e-12
    monkeypatch.setattr(preconditioners, "PAIRS_BYTES", 16 * steps[0].size - 1)
    preconditioner = Preconditioner(objective, np.zeros(objective.shape), "gram")
    preconditioner.record(step, objective.hvp(np.zeros(objective.shape), step))
    preconditioner.update()
    assert len(preconditioner.memory) == 0


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


@pytest.mark.parametrize("name", TABLE)
def test_max_iter_is_obeyed_and_named(name):
    objective = problem_of(name)
    solution = TABLE[name].solve(objective, np.zeros(objective.shape), tol=1e-12, max_iter=3)
    assert solution.n_iter == 3
    assert not solution.converged
    assert solution.stop_reason is StopReason.MAX_ITER


@pytest.mark.parametrize("name", TABLE)
def test_a_solver_stops_when_asked(name):
    def stop_at_4(n_iter, *_):
        return StopReason.CALLBACK.stop() if n_iter == 4 else None

    objective = problem_of(name)
    solution = TABLE[name].solve(objective, np.zeros(objective.shape), tol=1e-12, on_iteration=stop_at_4)
    assert solution.n_iter == 4
    assert solution.stop_reason is StopReason.CALLBACK


@pytest.mark.parametrize("name", SOLVERS)
def test_starting_at_the_minimum_stays_there(name):
    objective = problem()
    first = SOLVERS[name](objective, np.zeros(objective.shape), tol=1e-10)
    again = SOLVERS[name](objective, first.params, tol=1e-9)
    assert again.converged
    assert again.n_iter <= 2
    assert again.objective <= first.objective


def test_an_impossible_tolerance_ends_at_float_precision_without_claiming_convergence():
    objective = problem()
    solution = LBFGS().solve(objective, np.zeros(objective.shape), tol=1e-300, max_iter=2000)
    assert not solution.converged or solution.gap <= np.finfo(float).eps * np.log(3)
    assert solution.objective - minimum(objective) <= 1e-13 * solution.objective


def test_convergence_has_one_meaning():
    assert within_tolerance(1e-7, 1.0, 1e-6, 3)
    assert not within_tolerance(1e-5, 1.0, 1e-6, 3)
    assert within_tolerance(4e-17, 1e-28, 1e-6, 2)  # the objective at 0 is log K, and eps log K nothing beside it
    assert within_tolerance(2e-16, 0.0, 1e-6, 3)
    assert not within_tolerance(2e-16, 0.0, 1e-6, 2)


@pytest.mark.parametrize("solver", ["gd", "lbfgs", "newton-cg", "newton"])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_fit_whose_minimum_is_as_good_as_0_converges(solver, fit_intercept):
    # No sample is in doubt, and l2 of 1e-30 still has a minimum, of some 1e-28: float64 knows gaps to about 1e-17.
    X = np.linspace(-1, 1, 20)[:, None] * [3.0, 1.0]
    result = nbs.Trainer(solver=solver, l2=1e-30, fit_intercept=fit_intercept).fit(X, X[:, 0] > 0)
    assert result.converged
    assert result.gap <= np.finfo(float).eps * np.log(2)
    assert result.objective <= 1e-15


def test_newtons_method_makes_one_hessian_a_step_and_takes_the_textbooks_steps():
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
    solution = SOLVERS["newton"](J, np.zeros(J.shape), tol=1e-12, on_iteration=lambda *now: seen.append(now[2]))
    # Conjugate gradients with M = H, repaired by 1e-10 of its diagonal, take one product or two.
    np.testing.assert_allclose(seen[:5], expected, rtol=1e-6)
    assert f"{solution.n_iter + 1} hessian" in solution.summary


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
    assert solution.n_iter <= 20


# --- preconditioners ----------------------------------------------------------------------------------


def dense_hessian(objective, params):
    eye = np.eye(params.size).reshape(-1, *objective.shape)
    return np.stack([objective.hvp(params, v).ravel() for v in eye])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("l2", [0.0, 0.1])
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_a_preconditioner_is_the_inverse_of_its_part_of_the_hessian(kind, l2, fit_intercept):
    objective = problem(l2=l2, fit_intercept=fit_intercept)
    params = np.random.default_rng(3).normal(size=objective.shape)
    (k, d), hessian = objective.shape, dense_hessian(objective, params)
    blocks = [hessian[i * d : (i + 1) * d, i * d : (i + 1) * d] for i in range(k)]
    if kind == "diagonal":
        part = np.diag(np.diag(hessian))
    elif kind == "gram":
        part = np.kron(np.eye(k), sum(blocks) / k)
    elif kind == "blocks":
        part = np.zeros_like(hessian)
        for i, block in enumerate(blocks):
            part[i * d : (i + 1) * d, i * d : (i + 1) * d] = block
    else:
        part = hessian
    residual = np.random.default_rng(4).normal(size=objective.shape)
    residual -= residual.mean(axis=0)
    if not fit_intercept:
        residual[:, -1] = 0
    # The pseudo-inverse leaves out what nothing depends on: the intercept that is not fitted, shifts of all classes.
    expected = (np.linalg.pinv(part, rcond=1e-12) @ residual.ravel()).reshape(k, d)
    expected -= expected.mean(axis=0)
    found = Preconditioner(objective, params, kind)(residual)
    # The diagonal is raised by a share of 1e-10, which the condition number of the rest, some tens, multiplies.
    assert np.abs(found - expected).max() <= 1e-8 * np.abs(expected).max()


@pytest.mark.parametrize("kind", KINDS)
def test_every_preconditioner_leads_to_the_minimum(kind):
    objective = problem(l2=1e-4)
    start = np.zeros(objective.shape)
    driver = Driver(objective, start, tol=1e-10, max_iter=500, on_iteration=never_stop, state=None, uses_hessian=True)
    solution = driver.minimize(NewtonSteps(driver, (kind,)))
    assert solution.converged
    assert solution.objective - minimum(objective) <= 1e-10 * solution.objective
    assert kind in solution.summary


def test_what_does_not_fit_in_memory_is_never_chosen():
    X = np.random.default_rng(0).normal(size=(30, 3000))
    objective = nbs.Objective(X, np.arange(30) % 3, l2=0.1)
    known = costs(objective)
    assert known["gram"] == known["blocks"] == known["hessian"] == np.inf
    assert NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-6).converged
    with pytest.raises(nbs.InputValueError, match="newton-cg"):
        nbs.Trainer(solver="newton", l2=0.1).fit(X, np.arange(30) % 3)


def test_nearly_separable_data_end_with_the_whole_hessian():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(400, 30))
    y = (X[:, :3] + 0.02 * rng.normal(size=(400, 3))).argmax(axis=1)
    objective = nbs.Objective(X, y, l2=1e-9)
    solution = NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-6)
    assert solution.converged
    assert "hessian" in solution.summary
    assert solution.objective <= minimum(objective) * (1 + 1e-6)


def test_the_minimum_lies_where_coefficients_sum_to_zero_wherever_the_start_is():
    objective = problem()
    start = np.random.default_rng(5).normal(size=objective.shape)
    solution = NewtonCG().solve(objective, start, tol=1e-10)
    assert np.abs(solution.params[:, :-1].sum(axis=0)).max() <= 1e-12
    assert solution.objective - minimum(objective) <= 1e-10 * solution.objective


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
