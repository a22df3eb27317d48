"""The l1 solver: exact zeros at the true minimum, and a duality gap that is never below the truth."""

import warnings

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax.solvers.prox_newton import MOST_SMALL, ProxNewton
from nbsoftmax.solvers.stop_reason import StopReason
from nbsoftmax.solvers.tools import coupled_model
from nbsoftmax.solvers.tools.duality import duality_gap
from nbsoftmax.solvers.tools.quadratic_model import ModelMinimum
from nbsoftmax.solvers.tools.working_set import WorkingSet
from nbsoftmax.testing import Problem, problems
from tests import reference


@pytest.fixture(autouse=True, scope="module", params=[True, False], ids=["whole Hessian", "products"])
def whole(request):
    """Whether models of small problems are minimised with their whole Hessian."""
    with pytest.MonkeyPatch.context() as patch:
        if not request.param:
            patch.setattr(coupled_model, "MOST_NUMBERS", 0)
        yield request.param


def minimise(objective, *, tol=1e-9, start=None, **options):
    start = np.zeros(objective.shape) if start is None else start
    return ProxNewton().solve(objective, start, tol=tol, **options)


def data(m=120, N=12, K=3, seed=0, informative=3):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, N))
    return X, (X[:, :informative] @ rng.normal(size=(informative, K)) * 2 + rng.gumbel(size=(m, K))).argmax(axis=1)


def fista(J, shape, *, l1, grouped, steps=20_000):
    """The minimum by accelerated proximal gradient steps with restarts, in NumPy: nothing shared with the solver."""
    smooth = reference.Objective(J.X1[:, :-1], J.y, shape[0], l2=J.l2, fit_intercept=bool(J.X1[0, -1]), **J.target)
    t, divisor = reference.weighted_target(J.y, len(J.X1), shape[0], **J.target)
    bound = np.linalg.norm(J.X1.T * t.sum(axis=1) / divisor @ J.X1, 2) / 2 + J.l2 + 1e-12  # X may be 0
    w = ahead = np.zeros(shape)
    age, value = 1.0, np.inf

    def total(w):
        return smooth.value_and_grad(w)[0] + l1 * penalty_norms(w[:, :-1], grouped).sum()

    for _ in range(steps):
        new = ahead - smooth.value_and_grad(ahead)[1] / bound
        size = penalty_norms(new[:, :-1], grouped)
        with np.errstate(over="ignore"):  # of a size all but 0
            new[:, :-1] *= np.maximum(0, 1 - l1 / bound / np.where(size > 0, size, 1))
        if total(new) > value:
            ahead, age = w, 1.0
            if np.array_equal(ahead, new):
                break
            value = np.inf
            continue
        older = (1 + np.sqrt(1 + 4 * age**2)) / 2
        ahead, value = new + (age - 1) / older * (new - w), total(new)
        done = np.abs(new - w).max() <= 1e-13
        w, age = new, older
        if done:
            break
    return total(w)


def penalty_norms(coef, grouped):
    return np.linalg.norm(coef, axis=0, keepdims=True) if grouped else np.abs(coef)


def kkt_violation(J, params, *, l1, grouped):
    """Distance of 0 from the subdifferential, in NumPy, largest over the coordinates or groups."""
    smooth = reference.Objective(J.X1[:, :-1], J.y, len(params), l2=J.l2, fit_intercept=bool(J.X1[0, -1]), **J.target)
    _, grad = smooth.value_and_grad(params)
    coef, g, b = params[:, :-1], grad[:, :-1], grad[:, -1]
    size = penalty_norms(coef, grouped)
    used = np.broadcast_to(size > 0, coef.shape)
    at_used = np.abs(g + l1 * coef / np.where(size > 0, size, 1))[used].max(initial=0)
    at_zero = np.maximum(penalty_norms(g, grouped) - l1, 0)[size == 0].max(initial=0)
    return max(at_used, at_zero, np.abs(b).max())


KINDS = {
    "lasso": {},
    "elastic net": {"l2": 0.02},
    "grouped": {"grouped": True},
    "grouped elastic net": {"grouped": True, "l2": 0.02},
    "without intercept": {"fit_intercept": False},
    "smoothed": {"label_smoothing": 0.1},
    "class weights": {"class_weight": [1.0, 3.0, 0.5]},
    "smoothed, class weights": {"class_weight": [1.0, 3.0, 0.5], "label_smoothing": 0.2},
}


def both(X, y, *, l1, grouped=False, **options):
    """Our objective and the reference's."""
    K = y.shape[1] if np.ndim(y) == 2 else 3
    ours = nbs.Objective(X, y, n_classes=K, l1=l1, grouped=grouped, **options)
    return ours, reference.Objective(X, y, K, **options)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("l1", [0.03, 0.01])
def test_it_reaches_the_minimum_of_plain_proximal_gradient_steps(kind, l1):
    X, y = data()
    grouped = KINDS[kind].get("grouped", False)
    objective, truth = both(X, y, l1=l1, **KINDS[kind])
    solution = minimise(objective)
    best = fista(truth, objective.shape, l1=l1, grouped=grouped)
    assert solution.converged
    assert solution.gap_kind == "duality"
    # 1e-9: the solver's tol; 1e-12: where the reference's own steps end.
    assert -1e-12 <= solution.objective - best <= 1e-9 * best
    assert solution.objective - best <= solution.gap + 1e-12
    assert kkt_violation(truth, solution.params, l1=l1, grouped=grouped) <= 1e-5 * l1
    assert (solution.params[:, :-1] == 0).any() or (grouped and l1 < 0.03)


@pytest.mark.parametrize("K", [2, 7])
@pytest.mark.parametrize("grouped", [False, True])
def test_targets_may_be_probabilities_and_samples_weighted(K, grouped):
    X, _ = data()
    rng = np.random.default_rng(1)
    y = rng.dirichlet(np.full(K, 0.3), size=len(X))
    weight = rng.integers(0, 3, len(X)).astype(float)
    objective, truth = both(X, y, l1=0.03, grouped=grouped, sample_weight=weight, class_weight=rng.uniform(0.5, 2, K))
    solution = minimise(objective)
    assert solution.converged
    assert solution.gap_kind == "duality"
    assert solution.objective - fista(truth, objective.shape, l1=0.03, grouped=grouped) <= 1e-9 * solution.objective


@example(Problem(np.array([[2.3e-312]]), np.array([0]), 2, None), 1.0, 0.0, False, False, 0)  # overflow in a share
@given(problems(), st.floats(1e-4, 1), st.sampled_from([0.0, 0.1]), st.booleans(), st.booleans(), st.integers(0, 99))
def test_the_duality_gap_bounds_the_distance_to_the_minimum_at_any_point(problem, l1, l2, grouped, intercept, seed):
    K, options = problem.n_classes, {"sample_weight": problem.sample_weight, "fit_intercept": intercept, "l2": l2}
    objective = nbs.Objective(problem.X, problem.y, n_classes=K, l1=l1, grouped=grouped, **options)
    loss = nbs.Objective(problem.X, problem.y, n_classes=K, **options | {"l2": 0.0})
    truth = reference.Objective(problem.X, problem.y, K, **options)
    low = min(minimise(objective).objective, fista(truth, objective.shape, l1=l1, grouped=grouped, steps=300))
    rng = np.random.default_rng(seed)
    for scale in (0.0, 0.1, 3.0):
        params = scale * rng.normal(size=objective.shape) * rng.integers(0, 2, objective.shape)
        params[:, -1] *= intercept
        value = objective.value(params)
        gap, kind = duality_gap(objective, loss, params, *loss.value_and_grad(params))
        assert kind == "duality"
        assert value - low <= gap + 1e-12 * (1 + value)


@pytest.mark.parametrize("kind", KINDS)
def test_the_certificate_holds_at_every_iteration(kind):
    X, y = data()
    objective, _ = both(X, y, l1=0.01, **KINDS[kind])
    best = minimise(objective, tol=1e-11).objective
    gaps = []
    for n in range(1, 8):
        solution = minimise(objective, tol=1e-11, max_iter=n)
        assert solution.objective - best <= solution.gap + 1e-13
        assert solution.converged == (solution.gap <= 1e-11 * solution.objective)
        gaps.append(solution.gap)
    assert gaps[-1] < 1e-3 * gaps[0]


def test_with_an_offset_a_point_whose_intercept_is_not_at_its_own_optimum_has_only_an_estimate():
    X, y = data()
    objective = nbs.Objective(X, y, l1=0.01, offset=np.random.default_rng(0).normal(size=(len(X), 3)))
    early = minimise(objective, max_iter=1)
    assert early.gap_kind == "estimate"
    late = minimise(objective, tol=1e-7)
    assert late.objective <= minimise(objective, tol=1e-9, max_iter=100).objective + 1e-6 * late.objective


def test_above_the_largest_gradient_all_weights_are_0_and_the_intercept_knows_the_classes():
    X, y = data()
    counts = np.bincount(y)
    pull = reference.Objective(X, y, 3).value_and_grad(np.column_stack([np.zeros((3, 12)), np.log(counts)]))[1]
    largest = np.abs(pull[:, :-1]).max()
    above = minimise(nbs.Objective(X, y, l1=1.0001 * largest), tol=1e-12)
    assert (above.params[:, :-1] == 0).all()
    assert np.abs(nbs.softmax(above.params[None, :, -1])[0] - counts / len(y)).max() <= 1e-6
    below = minimise(nbs.Objective(X, y, l1=0.99 * largest))
    assert 0 < (below.params[:, :-1] != 0).sum() <= 3


def test_grouped_features_vanish_as_a_whole():
    X, y = data()
    coef = minimise(nbs.Objective(X, y, l1=0.05, grouped=True)).params[:, :-1]
    used = (coef != 0).sum(axis=0)
    assert set(used.tolist()) == {0, 3}
    single = minimise(nbs.Objective(X, y, l1=0.05)).params[:, :-1]
    assert ((single != 0).sum(axis=0) % 3 != 0).any()


@pytest.mark.parametrize("grouped", [False, True])
def test_constant_and_duplicate_columns_and_columns_far_from_0_change_nothing(grouped):
    X, y = data()
    plain = minimise(nbs.Objective(X, y, l1=0.02, grouped=grouped))
    wide = np.column_stack([X + 1e3 * np.arange(12), np.ones(120), np.zeros(120), np.full(120, 1e4), X[:, 0]])
    if grouped:
        wide = wide[:, :-1]  # two halves of a group cost as much as the whole only where they are parallel
    # 1e-7: at features of 1e4 the intercept's sums, and with them the certificate, lose four digits.
    solution = minimise(nbs.Objective(wide, y, l1=0.02, grouped=grouped), tol=1e-7)
    assert solution.converged
    assert abs(solution.objective - plain.objective) <= 1e-7 * plain.objective
    assert (solution.params[:, 12:15] == 0).all()


def test_more_features_than_samples():
    X, y = data(m=60, N=400)
    objective, truth = both(X, y, l1=0.05)
    solution = minimise(objective)
    assert solution.converged
    assert (solution.params[:, :-1] != 0).any(axis=0).sum() <= 60
    assert kkt_violation(truth, solution.params, l1=0.05, grouped=False) <= 1e-5 * 0.05


def test_many_classes():
    X, y = data(m=400, N=20, K=100, informative=8)
    solution = minimise(nbs.Objective(X, y, n_classes=100, l1=0.005), tol=1e-6)
    truth = reference.Objective(X, y, 100)
    assert solution.converged
    used = np.unique(y)  # the intercept of a class without samples has no optimum
    assert kkt_violation(truth, solution.params, l1=0.005, grouped=False) <= 1e-3 * 0.005
    assert (solution.params[np.setdiff1d(np.arange(100), used), :-1] == 0).all()


def test_samples_of_float32_are_certified_in_float64():
    X, y = data()
    narrow = minimise(nbs.Objective(X.astype(np.float32), y, l1=0.01), tol=1e-8)
    wide = minimise(nbs.Objective(X.astype(np.float32).astype(float), y, l1=0.01), tol=1e-8)
    assert narrow.converged
    assert np.abs(narrow.params - wide.params).max() <= 1e-4
    # The objective itself is a sum of float32 products.
    assert abs(narrow.objective - wide.objective) <= 4 * np.finfo(np.float32).eps


def test_a_sample_of_weight_0_does_not_count_nor_does_a_class_of_none_else():
    X, y = data()
    weight = (y != 2).astype(float)
    with_them = minimise(nbs.Objective(X, y, l1=0.01, sample_weight=weight))
    without = minimise(nbs.Objective(X[y != 2], y[y != 2], l1=0.01))
    assert with_them.converged
    assert abs(with_them.objective - without.objective) <= 1e-8 * without.objective
    assert (with_them.params[2, :-1] == 0).all()


def test_a_warm_start_at_the_minimum_needs_no_step_and_one_nearby_few():
    X, y = data()
    cold = minimise(nbs.Objective(X, y, l1=0.01))
    again = minimise(nbs.Objective(X, y, l1=0.01), start=cold.params, tol=1e-8)
    assert again.n_iter == 0
    assert again.converged
    assert np.array_equal(again.params, cold.params)
    near = minimise(nbs.Objective(X, y, l1=0.0101), start=cold.params)
    assert near.converged
    assert near.n_iter < cold.n_iter


def test_what_it_says_of_its_point_is_true():
    X, y = data()
    objective = nbs.Objective(X, y, l1=0.01, l2=0.01)
    solution = minimise(objective, tol=1e-6)
    value, subgrad = objective.value_and_subgrad(solution.params)
    rounded = 4 * np.finfo(float).eps  # loss and penalties may be added in another order
    assert solution.objective == pytest.approx(value, rel=rounded)
    assert objective.value(solution.params) == pytest.approx(value, rel=rounded)
    assert solution.grad_norm == pytest.approx(np.linalg.norm(subgrad), rel=rounded)


@pytest.mark.parametrize("grouped", [False, True])
def test_the_least_subgradient_is_the_slope_of_steepest_descent(grouped):
    X, y = data()
    objective = nbs.Objective(X, y, l1=0.05, grouped=grouped)
    params = np.random.default_rng(3).normal(size=objective.shape)
    params[:, ::2] = 0
    value, subgrad = objective.value_and_subgrad(params)
    slope = (objective.value(params - 1e-7 * subgrad) - value) / 1e-7
    assert abs(slope + np.vdot(subgrad, subgrad)) <= 1e-5
    assert nbs.Objective(X, y).value_and_subgrad(params)[0] == nbs.Objective(X, y).value_and_grad(params)[0]


def test_max_iter_and_a_wish_to_stop_are_obeyed_and_named():
    X, y = data()
    objective = nbs.Objective(X, y, l1=0.001)
    solution = minimise(objective, max_iter=2)
    assert (solution.n_iter, solution.converged) == (2, False)
    assert solution.stop_reason is StopReason.MAX_ITER
    solution = minimise(objective, on_iteration=lambda n, *_: StopReason.CALLBACK.stop() if n == 3 else None)
    assert (solution.n_iter, solution.stop_reason) == (3, StopReason.CALLBACK)


def test_an_impossible_tolerance_ends_without_claiming_convergence():
    X, y = data()
    solution = minimise(nbs.Objective(X, y, l1=0.01), tol=1e-300)
    assert not solution.converged or solution.gap == 0
    assert solution.gap <= 1e-9
    # Within ten steps the gradient is 1e-16. Rounding errors decide how many follow, but no more than MOST_SMALL.
    assert solution.n_iter < MOST_SMALL + 20


def test_the_trainer_takes_it_for_l1_and_refuses_what_cannot():
    X, y = data()
    result = nbs.Trainer(l1=0.02).fit(X, np.array(["a", "b", "c"])[y])
    assert result.solver == "prox-newton"
    assert result.converged
    assert result.gap_kind == "duality"
    assert (result.model.coef == 0).any()
    named = nbs.Trainer(solver="prox-newton", l1=0.02).fit(X, y)
    assert np.array_equal(named.model.coef, result.model.coef)
    again = nbs.Trainer(l1=0.02, tol=1e-5).fit(X, y, init=named)
    assert again.n_iter == 0
    grouped = nbs.Trainer(l1=0.05, grouped=True).fit(X, y).model.coef
    assert set((grouped != 0).sum(axis=0).tolist()) == {0, 3}
    for solver in ("gd", "lbfgs", "newton-cg"):
        with pytest.raises(nbs.InputValueError, match="use the solver 'prox-newton'"):
            nbs.Trainer(solver=solver, l1=0.1)
    with pytest.raises(nbs.InputValueError, match="'prox-newton', but there is no l1 penalty; give one"):
        nbs.Trainer(solver="prox-newton")
    with pytest.raises(nbs.InputValueError, match="grouped is True, but there is no l1 penalty"):
        nbs.Trainer(grouped=True)
    with pytest.raises(nbs.InputTypeError, match="grouped is 'yes'"):
        nbs.Trainer(l1=0.1, grouped="yes")


def test_ctrl_c_with_l1_returns_the_best_point_so_far():
    X, y = data()

    def interrupt(now):
        if now.n_iter == 2:
            raise KeyboardInterrupt

    result = nbs.Trainer(l1=0.01, callbacks=[interrupt]).fit(X, y)
    assert result.stop_reason is StopReason.INTERRUPTED
    assert result.objective == result.history["objective"][-1]


@pytest.mark.parametrize("scale", [1e-200, 1e-8, 1e8, 1e200])
def test_data_of_extreme_scale_end_with_a_true_report(scale):
    X, y = data()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        result = nbs.Trainer(l1=0.01, max_iter=50).fit(X * scale, y)
    assert np.isfinite(result.model.coef).all()
    assert result.objective <= np.log(3) + 1e-12
    assert result.converged == (result.gap <= 1e-6 * result.objective)


def test_a_model_without_a_decrease_is_damped(monkeypatch):
    # With all probabilities near 0 or 1 the minimum of a model may be so far away that its decrease is lost.
    minimum, damped = WorkingSet.minimise, []

    def lost(self, params, grad, *, delta, **limits):
        damped.append(delta > 0)
        return minimum(self, params, grad, delta=delta, **limits) if any(damped) else ModelMinimum(params, 0, 0, True)

    monkeypatch.setattr(WorkingSet, "minimise", lost)
    X, y = data()
    result = nbs.Trainer(l1=0.01).fit(X, y)
    assert damped[:2] == [False, True]
    assert result.converged


def test_the_minimum_on_real_data_is_certified(shared_data):
    X, y = shared_data("dna")
    result = nbs.Trainer(l1=1 / len(y)).fit(X, y)
    assert result.converged
    assert result.gap_kind == "duality"
    assert 0.3 < (result.model.coef == 0).mean() < 0.7


@pytest.mark.parametrize("K", [2, 3])
def test_a_single_feature_that_takes_part_is_fitted(K):
    # A column of one feature is contiguous however it is laid out: once it was changed in place of a copy.
    rng = np.random.default_rng(0)
    y = np.arange(300) % K
    X = np.column_stack([y + rng.normal(size=300), 1e-3 * rng.normal(size=(300, 3))])
    result = nbs.Trainer(l1=0.02, tol=1e-10).fit(X, y)
    assert result.converged
    assert (result.model.coef[:, 1:] == 0).all()
    assert result.objective < np.log(K) - 1e-3
