"""Penalties: their mathematics, their weights, and fits with them, also with a penalty of the user's own."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize, minimize_scalar

import nbsoftmax as nbs
from nbsoftmax.penalties import as_penalty
from nbsoftmax.solvers.tools.convergence import without_shift
from nbsoftmax.solvers.tools.duality import duality_gap
from nbsoftmax.solvers.tools.preconditioners import Preconditioner
from tests import reference

WEIGHTS = np.array([1.0, 0.0, 2.0, 0.5])
KINDS = {
    "ridge": lambda weights: nbs.Ridge(0.7, weights),
    "lasso": lambda weights: nbs.Lasso(0.6, weights),
    "elastic net": lambda weights: nbs.ElasticNet(0.6, 0.3, weights),
    "group lasso": lambda weights: nbs.GroupLasso(0.6, weights=weights),
    "group elastic net": lambda weights: nbs.GroupLasso(0.6, 0.3, weights),
}
kinds = st.sampled_from(sorted(KINDS))
weightings = st.sampled_from([None, WEIGHTS])
arrays = hnp.arrays(np.float64, (3, 4), elements=st.integers(-30, 30).map(lambda n: n / 8))


class OwnLasso:
    """The lasso with the methods that are required, written as a user would."""

    def __init__(self, l1):
        self.l1 = l1

    def value(self, coef):
        return self.l1 * np.abs(coef).sum()

    def prox(self, coef, step):
        return np.sign(coef) * np.maximum(np.abs(coef) - step * self.l1, 0)


class CertifiedLasso(OwnLasso):
    def conjugate(self, slope):
        return 0.0 if np.abs(slope).max() <= self.l1 else np.inf


class Box:
    """Weights between 0 and 1: an indicator function, which is no norm."""

    def value(self, coef):
        return 0.0 if ((coef >= 0) & (coef <= 1)).all() else np.inf

    def prox(self, coef, step):
        return np.clip(coef, 0.0, 1.0)


def by_definition(kind, coef, weights):
    """R(coef), written once more from the definition."""
    p, w = KINDS[kind](weights), np.ones(4) if weights is None else weights
    columns = [np.linalg.norm(c) if kind.startswith("group") else np.abs(c).sum() for c in coef.T]
    return sum(w[j] * (p.l1 * columns[j] + p.l2 / 2 * (coef[:, j] ** 2).sum()) for j in range(4))


def data(m=150, N=8, K=3, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, N))
    return X, (X[:, :3] @ rng.normal(size=(3, K)) * 2 + rng.gumbel(size=(m, K))).argmax(axis=1)


def params_of(result):
    return np.column_stack([result.model.coef, result.model.intercept])


# --- the mathematics --------------------------------------------------------------------------------


@given(kinds, arrays, weightings)
def test_the_value_is_the_definition(kind, coef, weights):
    assert KINDS[kind](weights).value(coef) == pytest.approx(by_definition(kind, coef, weights), rel=1e-14, abs=1e-300)


@given(kinds, arrays, arrays, weightings, st.sampled_from([0.01, 0.5, 4.0]))
def test_the_prox_is_the_minimum_of_its_definition(kind, coef, other, weights, step):
    penalty = KINDS[kind](weights)
    best = penalty.prox(coef, step)

    def cost(v):
        return ((v - coef) ** 2).sum() / 2 + step * by_definition(kind, v, weights)

    # Strong convexity: only at the minimum does every other point cost this much more.
    for v in (other, coef, best + 1e-3 * other, np.zeros_like(coef)):
        assert cost(v) - cost(best) >= ((v - best) ** 2).sum() / 2 - 1e-12 * (1 + cost(v))


@pytest.mark.parametrize("kind", KINDS)
def test_the_prox_is_what_a_numerical_minimiser_finds(kind):
    coef, step = np.random.default_rng(0).normal(size=(3, 4)), 0.4
    best = KINDS[kind](WEIGHTS).prox(coef, step)
    for j in range(4):
        # Along the column itself, in which the minimum lies, and for the others coefficient by coefficient.
        directions = [coef[:, j]] if kind.startswith("group") else np.diag(coef[:, j])

        def cost(t, column, j=j):
            v = np.zeros((3, 4))
            v[:, j] = t * column
            return ((v[:, j] - column) ** 2).sum() / 2 + step * by_definition(kind, v, WEIGHTS)

        found = sum(
            minimize_scalar(cost, args=(column,), bounds=(0, 1), method="bounded", options={"xatol": 1e-9}).x * column
            for column in directions
        )
        # 1e-4: the minimiser stops 1e-5 from an end of the interval, which is where 0 is.
        assert np.abs(best[:, j] - found).max() <= 1e-4


@given(kinds, arrays, arrays, weightings)
def test_the_conjugate_obeys_the_inequality_of_fenchel_and_young(kind, coef, slope, weights):
    penalty = KINDS[kind](weights)
    assert penalty.value(coef) + penalty.conjugate(slope) >= (coef * slope).sum() - 1e-12


@given(kinds, arrays, weightings)
def test_the_conjugate_attains_that_bound_at_a_subgradient(kind, point, weights):
    penalty = KINDS[kind](weights)
    coef = penalty.prox(point, 1.0)
    slope = (1 - 1e-12) * (point - coef)  # a subgradient at coef; the factor keeps rounding errors within a constraint
    total = penalty.value(coef) + penalty.conjugate(slope)
    assert total == pytest.approx((coef * slope).sum(), rel=1e-10, abs=1e-10)


@given(kinds, arrays, arrays, weightings, st.floats(0, 5))
def test_the_dual_is_the_best_scale_of_a_slope(kind, coef, slope, weights, entropy):
    penalty = KINDS[kind](weights)
    best = penalty.dual(entropy, slope)
    low, high, values = 0.0, 1.0, []
    for _ in range(3):  # grids around the best scale so far
        scales = np.linspace(low, high, 101)
        values = np.array([t * entropy - penalty.conjugate(t * slope) for t in scales])
        at = scales[values.argmax()]
        low, high = max(0.0, at - scales[1] + scales[0]), min(1.0, at + scales[1] - scales[0])
    # In a concave function the grid misses less than the slope at 0 times one of its cells.
    assert -1e-12 <= best - values.max() <= entropy * (scales[1] - scales[0]) + 1e-12


@given(kinds, arrays, arrays, weightings)
def test_the_gradient_is_that_of_the_smooth_part(kind, coef, direction, weights):
    penalty = KINDS[kind](weights).smooth_part()
    change = penalty.value(coef + direction) - penalty.value(coef - direction)  # exact for a quadratic
    assert change == pytest.approx(2 * (penalty.gradient(coef) * direction).sum(), abs=1e-10)
    curvature = (np.broadcast_to(penalty.curvature, 4) * direction**2).sum()
    second = penalty.value(coef + direction) + penalty.value(coef - direction) - 2 * penalty.value(coef)
    assert second == pytest.approx(curvature, abs=1e-9)


@given(kinds, arrays, arrays, weightings)
def test_the_change_of_the_l1_term_is_a_difference(kind, before, after, weights):
    penalty = KINDS[kind](weights)
    difference = penalty.nonsmooth_value(after) - penalty.nonsmooth_value(before)
    assert penalty.nonsmooth_change(before, after) == pytest.approx(difference, abs=1e-12)


@given(kinds, arrays, weightings, st.integers(0, 99))
def test_a_penalty_of_only_some_features_is_the_penalty_of_the_others_at_zero(kind, coef, weights, seed):
    penalty = KINDS[kind](weights)
    features = np.sort(np.random.default_rng(seed).choice(4, 2, replace=False))
    coef[:, np.setdiff1d(np.arange(4), features)] = 0
    assert penalty.restricted(features).value(coef[:, features]) == pytest.approx(penalty.value(coef), rel=1e-14)


# --- weights ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "power"),
    [
        (lambda w: nbs.Ridge(0.05, w), 0.5),
        (lambda w: nbs.Lasso(0.02, w), 1.0),
        (lambda w: nbs.GroupLasso(0.03, weights=w), 1.0),
    ],
)
def test_a_weight_is_a_scale_of_the_column(make, power):
    X, y = data()
    weights = np.linspace(0.5, 2, 8)
    weighted = nbs.Trainer(penalty=make(weights), tol=1e-10).fit(X, y)
    scaled = nbs.Trainer(penalty=make(None), tol=1e-10).fit(X / weights**power, y)
    assert weighted.gap_kind == scaled.gap_kind == "duality"
    assert weighted.objective == pytest.approx(scaled.objective, rel=1e-9)
    assert np.abs(weighted.model.coef * weights**power - scaled.model.coef).max() <= 1e-3


def test_weights_of_one_change_no_bit():
    X, y = data()
    for options, penalty in (
        ({"l2": 0.1}, nbs.Ridge(0.1, np.ones(8))),
        ({"l1": 0.02}, nbs.Lasso(0.02, np.ones(8))),
        ({"l1": 0.02, "l2": 0.1}, nbs.ElasticNet(0.02, 0.1, np.ones(8))),
        ({"l1": 0.02, "grouped": True}, nbs.GroupLasso(0.02)),
    ):
        plain, weighted = nbs.Trainer(**options).fit(X, y), nbs.Trainer(penalty=penalty).fit(X, y)
        assert np.array_equal(plain.model.coef, weighted.model.coef)
        assert plain.objective == weighted.objective


def weighted_minimum(X, y, penalty):
    """The minimum of ridge or lasso with weights by SciPy: W = P - Q with P, Q >= 0 makes it smooth."""
    N, w, shape = X.shape[1], penalty.weights, (3, X.shape[1] + 1)
    loss = reference.Objective(X, y, 3)

    def cost(flat):
        positive, negative = flat.reshape(2, *shape)
        params = positive - negative
        value, grad = loss.value_and_grad(params)
        coef = params[:, :-1]
        value += penalty.l1 * (w * (positive + negative)[:, :-1]).sum() + penalty.l2 / 2 * (w * coef**2).sum()
        grad[:, :-1] += penalty.l2 * w * coef
        l1 = np.append(penalty.l1 * w, 0.0)
        return value, np.stack([grad + l1, -grad + l1]).ravel()

    options = {"maxiter": 20_000, "maxfun": 50_000, "ftol": 1e-15, "gtol": 1e-9}
    bounds = [(0, None)] * (6 * (N + 1))
    return minimize(cost, np.zeros(6 * (N + 1)), jac=True, bounds=bounds, method="L-BFGS-B", options=options).fun


UNPENALISED = np.array([1.0, 0.0, 3.0, 1.0, 0.0, 1.0, 0.3, 1.0])


@pytest.mark.parametrize(
    "penalty", [nbs.Ridge(0.05, UNPENALISED), nbs.Lasso(0.03, UNPENALISED), nbs.ElasticNet(0.03, 0.05, UNPENALISED)]
)
def test_the_minimum_with_unpenalised_features_is_that_of_another_formulation(penalty):
    X, y = data()
    result = nbs.Trainer(penalty=penalty, tol=1e-9).fit(X, y)
    assert result.converged
    # 1e-7: as far as SciPy's solver comes.
    assert result.objective == pytest.approx(weighted_minimum(X, y, penalty), rel=1e-7)
    J = nbs.Objective(X, y, penalty=penalty)
    value, subgradient = J.value_and_subgrad(params_of(result))
    assert value == pytest.approx(result.objective, rel=1e-14)
    assert np.abs(subgradient).max() <= 1e-5


def test_a_group_of_weight_0_is_never_zero_and_has_no_gradient_at_the_minimum():
    X, y = data()
    penalty = nbs.GroupLasso(0.3, weights=UNPENALISED)
    result = nbs.Trainer(penalty=penalty, tol=1e-10).fit(X, y)
    used = (result.model.coef != 0).any(axis=0)
    assert used[[1, 4]].all()
    assert not used.all()
    grad = nbs.Objective(X, y).value_and_grad(params_of(result))[1]
    assert np.abs(grad[:, [1, 4]]).max() <= 1e-6


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("make", [nbs.Ridge, nbs.Lasso, nbs.GroupLasso])
@pytest.mark.parametrize("solver", ["auto", "lbfgs", "gd", "newton"])
def test_with_unpenalised_features_the_gap_is_an_estimate_and_near_the_truth(make, fit_intercept, solver):
    if make is not nbs.Ridge and solver != "auto":
        pytest.skip("for smooth penalties")
    X, y = data()
    common = {"penalty": make(0.05, weights=UNPENALISED), "fit_intercept": fit_intercept}
    best = nbs.Trainer(**common, tol=1e-10).fit(X, y).objective
    result = nbs.Trainer(**common, solver=solver, tol=1e-5, max_iter=2000).fit(X, y)
    assert result.converged
    assert result.gap_kind == "estimate"
    assert result.objective - best <= 1e-5 * best
    early = nbs.Trainer(**common, solver=solver, tol=1e-9, max_iter=1).fit
    with pytest.warns(nbs.ConvergenceWarning):
        result = early(X, y)
    if result.gap_kind == "estimate":
        assert result.gap >= 0.5 * (result.objective - best)
    else:  # 0 is a bound of any objective with a penalty
        assert (result.gap_kind, result.gap) == ("duality", result.objective)


@given(st.integers(0, 999), st.sampled_from([None, np.array([0.5, 2.0, 1.0, 0.1])]), st.booleans())
def test_bounds_hold_at_random_points(seed, weights, fit_intercept):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    y[:3] = range(3)
    for penalty in (nbs.Ridge(0.3, weights), nbs.ElasticNet(0.05, 0.2, weights), nbs.GroupLasso(0.1, 0.0, weights)):
        J = nbs.Objective(X, y, penalty=penalty, fit_intercept=fit_intercept)
        best = nbs.Trainer(penalty=penalty, tol=1e-9, fit_intercept=fit_intercept).fit(X, y).objective
        loss = nbs.Objective(X, y, fit_intercept=fit_intercept)
        params = rng.normal(size=J.shape) * rng.choice([0.0, 0.1, 2.0])
        params[:, -1] *= fit_intercept
        gap, kind = duality_gap(J, loss, params, *loss.value_and_grad(params))
        assert kind == "duality"
        assert J.value(params) - best <= gap + 1e-9
        if penalty.is_smooth and not fit_intercept:
            value, grad = J.value_and_grad(params)
            assert value - best <= J.penalty.bound(grad[:, :-1]) + 1e-9


def test_the_bound_by_strong_convexity_is_inf_where_an_unpenalised_feature_has_a_gradient():
    gradient = np.ones((3, 4))
    assert nbs.Ridge(1.0, WEIGHTS).bound(gradient) == np.inf
    gradient[:, 1] = 0
    assert nbs.Ridge(1.0, WEIGHTS).bound(gradient) == 3 / 2 + 3 / 4 + 3 / 1


def test_only_unpenalised_columns_are_constant_along_shifts_of_all_classes():
    X, y = data()
    v = np.random.default_rng(0).normal(size=(3, 9))
    centred = v - v.mean(axis=0)
    for penalty, free in (
        (nbs.Ridge(0.1), [8]),
        (nbs.Ridge(0.1, UNPENALISED), [1, 4, 8]),
        (nbs.Ridge(0.0), range(9)),
    ):
        expected = v.copy()
        expected[:, free] = centred[:, free]
        assert np.allclose(without_shift(nbs.Objective(X, y, penalty=penalty), v), expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("kind", ["diagonal", "gram", "blocks", "hessian"])
def test_preconditioners_know_the_weights(kind):
    X, y = data()
    objective = nbs.Objective(X, y, penalty=nbs.Ridge(5.0, UNPENALISED))
    params = np.random.default_rng(0).normal(size=(3, 9)) / 9
    direction = np.random.default_rng(1).normal(size=(3, 9))
    direction -= direction.mean(axis=0)
    grad = objective.hvp(params, direction)
    found = Preconditioner(objective, params, kind)(grad)
    other = Preconditioner(nbs.Objective(X, y, l2=5.0), params, kind)(grad)
    # The whole Hessian solves the equation but for a shift, the others more or less.
    distance, others = (np.linalg.norm(v - direction) / np.linalg.norm(direction) for v in (found, other))
    assert distance <= {"diagonal": 0.7, "gram": 0.5, "blocks": 0.5, "hessian": 1e-8}[kind]
    assert distance < others / 2


@pytest.mark.parametrize("make", [nbs.Lasso, lambda l1, w: nbs.GroupLasso(l1, l1, w)])
def test_unpenalised_features_beside_a_class_without_samples_do_not_keep_a_fit_from_converging(make):
    X, y = data()
    soft = np.eye(4)[y]  # nothing of class 3
    assert y.max() == 2
    result = nbs.Trainer(penalty=make(0.05, np.arange(8) % 2)).fit(X, soft)
    expected = nbs.Trainer(penalty=make(0.05, np.arange(8) % 2)).fit(X, y)
    assert result.converged
    assert result.objective == pytest.approx(expected.objective, rel=2e-6)


def test_no_penalty_at_all_may_have_no_minimum():
    X, _ = data()
    y = (X[:, 0] > 0).astype(int)
    with pytest.warns(nbs.ConvergenceWarning, match="no minimum"):
        nbs.Trainer(penalty=nbs.Ridge(1.0, np.zeros(8))).fit(X, y)
    assert nbs.Objective(X, y, penalty=nbs.Ridge(1.0, np.zeros(8))).separable_below > 0
    assert nbs.Objective(X, y, penalty=nbs.Ridge(1.0, UNPENALISED)).separable_below == 0


def test_stochastic_steps_know_the_weights():
    X, y = data(m=600)
    penalty = nbs.Ridge(0.3, UNPENALISED)
    best = nbs.Trainer(penalty=penalty).fit(X, y)
    rough = nbs.Trainer(penalty=penalty, solver=nbs.SGD(average=True), random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        result = rough.fit(X, y)
    other = nbs.Objective(X, y, penalty=penalty).value(params_of(nbs.Trainer(l2=0.3).fit(X, y)))
    assert result.objective - best.objective <= 0.05 * (other - best.objective)


def test_a_path_takes_weights():
    X, y = data()
    path = nbs.fit_path(X, y, l2s=[0.05, 0.5], l1_ratio=0.5, penalty_weights=UNPENALISED)
    for strength, result in zip([0.05, 0.5], path.results, strict=True):
        single = nbs.Trainer(penalty=nbs.ElasticNet(strength / 2, strength / 2, UNPENALISED)).fit(X, y)
        assert result.objective == pytest.approx(single.objective, rel=2e-6)
    with pytest.raises(nbs.InputTypeError, match=r"penalty=Ridge.*give l2s"):
        nbs.fit_path(X, y, l2s=[0.1], penalty=nbs.Ridge(0.1))


# --- a penalty of the user's own --------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [OwnLasso, CertifiedLasso])
def test_a_penalty_of_ones_own_reaches_the_minimum(make, dtype):
    X, y = data()
    X = X.astype(dtype)
    best = nbs.Trainer(l1=0.03, tol=1e-12).fit(X, y)
    result = nbs.Trainer(penalty=make(0.03), tol=1e-7).fit(X, y)
    assert result.solver == "prox-newton"
    assert result.converged
    assert result.gap_kind == ("duality" if make is CertifiedLasso else "estimate")
    assert -1e-12 <= result.objective - best.objective <= result.gap + 1e-12
    assert np.array_equal(result.model.coef == 0, best.model.coef == 0)


def test_a_constraint_is_a_penalty():
    X, y = data()
    result = nbs.Trainer(penalty=Box(), tol=1e-9).fit(X, y)
    shape = (3, 9)
    loss = reference.Objective(X, y, 3)

    def cost(flat):
        value, grad = loss.value_and_grad(flat.reshape(shape))
        return value, grad.ravel()

    bounds = ([(0, 1)] * 8 + [(None, None)]) * 3
    found = minimize(cost, np.zeros(27), jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-15})
    assert result.converged
    assert (result.model.coef.min(), result.model.coef.max()) == (0.0, 1.0)
    assert result.objective == pytest.approx(found.fun, rel=1e-8)


def test_the_estimate_without_a_conjugate_is_near_the_truth_at_every_iteration():
    X, y = data()
    best = nbs.Trainer(l1=0.01, tol=1e-12).fit(X, y).objective
    objective = nbs.Objective(X, y, penalty=OwnLasso(0.01))
    for n in range(1, 5):
        start = np.zeros(objective.shape)
        solution = nbs.ProxNewton().solve(objective, start, tol=1e-12, max_iter=n)
        assert solution.gap_kind == "estimate"
        assert solution.objective - best <= solution.gap + 1e-13


def test_the_gradient_of_a_penalty_of_ones_own_is_the_proximal_gradient_mapping():
    X, y = data()
    objective = nbs.Objective(X, y, penalty=OwnLasso(0.05))
    params = np.random.default_rng(0).normal(size=objective.shape)
    grad = nbs.Objective(X, y).value_and_grad(params)[1]
    value, mapping = objective.value_and_subgrad(params)
    assert value == objective.value(params)
    coef = params[:, :-1]
    assert np.array_equal(mapping[:, :-1], coef - OwnLasso(0.05).prox(coef - grad[:, :-1], 1.0))
    assert np.array_equal(mapping[:, -1], grad[:, -1])
    result = nbs.Trainer(penalty=OwnLasso(0.05), tol=1e-10).fit(X, y)
    assert result.grad_norm == pytest.approx(np.linalg.norm(objective.value_and_subgrad(params_of(result))[1]))
    assert 0 < result.grad_norm <= 1e-4


def test_columns_of_different_scale_only_take_longer():
    X, y = data()
    scale = np.geomspace(0.1, 10, 8)
    # The user's penalty of the scaled problem is the weighted lasso of the plain one.
    best = nbs.Trainer(penalty=nbs.Lasso(0.02, 1 / scale), tol=1e-10).fit(X, y)
    result = nbs.Trainer(penalty=OwnLasso(0.02), tol=1e-7).fit(X * scale, y)
    assert result.converged
    assert result.objective - best.objective <= 1e-7 * best.objective


def test_a_fit_with_a_penalty_of_ones_own_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path):
    X, y = data()
    whole = nbs.Trainer(penalty=OwnLasso(0.01), tol=1e-10).fit(X, y)
    stop = nbs.Trainer(penalty=OwnLasso(0.01), tol=1e-10, callbacks=[lambda now: now.n_iter == 2])
    stop.fit(X, y, checkpoint=tmp_path / "fit")
    result = nbs.Trainer(penalty=OwnLasso(0.01), tol=1e-10).fit(X, y, checkpoint=tmp_path / "fit", resume=True)
    assert np.array_equal(result.model.coef, whole.model.coef)
    with pytest.raises(nbs.InputValueError, match="checkpoint of a fit with other"):
        nbs.Trainer(penalty=OwnLasso(0.02)).fit(X, y, checkpoint=tmp_path / "fit", resume=True)


def test_the_dual_of_a_conjugate_alone_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    own, ours = as_penalty(CertifiedLasso(0.5)), nbs.Lasso(0.5)
    for scale in (0.1, 1.0, 10.0):
        slope = scale * rng.normal(size=(3, 4))
        assert own.dual(0.7, slope) == pytest.approx(ours.dual(0.7, slope), rel=1e-12)
    assert as_penalty(OwnLasso(0.5)).dual(0.7, slope) == -np.inf


# --- what is refused -------------------------------------------------------------------------------


@pytest.mark.parametrize("where", [nbs.Trainer, lambda **o: nbs.Objective(*data(), **o)])
def test_a_penalty_is_given_once(where):
    for options in ({"l1": 0.1}, {"l2": 0.1}, {"grouped": True}):
        with pytest.raises(nbs.InputValueError, match=f"both penalty and {next(iter(options))} are given"):
            where(penalty=nbs.Ridge(0.1), **options)


@pytest.mark.parametrize("penalty", [0.1, "l2", nbs.Ridge, object()])
def test_what_is_no_penalty_is_refused(penalty):
    with pytest.raises(nbs.InputTypeError, match=r"expected nbs\.Ridge"):
        nbs.Trainer(penalty=penalty)


@pytest.mark.parametrize("weights", [[-1.0, 1.0], [np.nan, 1.0], [[1.0]], ["a"], 3.0])
def test_weights_that_are_none_are_refused(weights):
    with pytest.raises(nbs.InputValueError, match="weights are"):
        nbs.Ridge(0.1, weights)
    with pytest.raises(nbs.InputValueError, match="l2 is -1"):
        nbs.Ridge(-1.0)


def test_weights_of_another_number_of_features_are_refused():
    X, y = data()
    with pytest.raises(nbs.InputValueError, match="weights of 2 features, but X has 8"):
        nbs.Trainer(penalty=nbs.Ridge(0.1, [1, 1])).fit(X, y)


def test_solvers_and_derivatives_that_a_penalty_does_not_allow_are_refused():
    X, y = data()
    for penalty in (nbs.Lasso(0.1), OwnLasso(0.1)):
        with pytest.raises(nbs.InputValueError, match="which solver 'lbfgs' cannot minimise"):
            nbs.Trainer(penalty=penalty, solver="lbfgs")
        with pytest.raises(nbs.InputValueError, match="no gradient everywhere"):
            nbs.Objective(X, y, penalty=penalty).value_and_grad(np.zeros((3, 9)))
    with pytest.raises(nbs.InputValueError, match="give l1 > 0"):
        nbs.Trainer(penalty=nbs.Ridge(0.1), solver="prox-newton")


@pytest.mark.parametrize(
    ("method", "returned", "error"),
    [
        ("value", -1.0, nbs.InputValueError),
        ("value", np.nan, nbs.InputValueError),
        ("value", None, nbs.InputTypeError),
        ("value", np.ones(3), nbs.InputTypeError),
        ("value", "1", nbs.InputTypeError),
        ("prox", np.ones(8), nbs.InputValueError),
        ("prox", np.full((3, 8), np.nan), nbs.InputValueError),
        ("prox", np.ones((3, 8), complex), nbs.InputValueError),
        ("prox", None, nbs.InputValueError),
        ("conjugate", np.nan, nbs.InputValueError),
        ("conjugate", np.ones((3, 8)), nbs.InputTypeError),
    ],
)
def test_a_method_of_a_penalty_that_returns_what_it_must_not_is_named(method, returned, error):
    own = type("Wrong", (CertifiedLasso,), {method: lambda self, *arguments: returned})
    with pytest.raises(error, match=f"^{method} of the penalty Wrong returned .*; it must .*[.]$"):
        nbs.Trainer(penalty=own(0.1)).fit(*data())


def test_methods_of_a_penalty_may_change_their_arrays():
    class InPlace(OwnLasso):
        def value(self, coef):
            coef[:] = super().value(coef)
            return coef[0, 0]

        def prox(self, coef, step):
            coef[:] = super().prox(coef, step)
            return coef

    X, y = data()
    result, expected = (nbs.Trainer(penalty=own(0.05)).fit(X, y) for own in (InPlace, OwnLasso))
    assert np.array_equal(result.model.coef, expected.model.coef)


def test_a_fit_whose_objective_is_infinite_has_not_converged():
    class Impossible(OwnLasso):
        def value(self, coef):
            return np.inf

    with pytest.warns(nbs.ConvergenceWarning):
        result = nbs.Trainer(penalty=Impossible(0.1)).fit(*data())
    assert not result.converged


def test_a_constraint_that_0_violates_is_met():
    class SumsToOne:
        def value(self, coef):
            return 0.0 if np.allclose(coef.sum(axis=0), 1.0, rtol=0, atol=1e-9) else np.inf

        def prox(self, coef, step):
            return coef - (coef.sum(axis=0) - 1.0) / len(coef)

    X, y = data()
    result = nbs.Trainer(penalty=SumsToOne(), tol=1e-8).fit(X, y)
    free = nbs.Trainer(tol=1e-10).fit(X, y)  # a shift of all classes changes no probability
    assert result.converged
    assert np.allclose(result.model.coef.sum(axis=0), 1.0)
    assert result.objective == pytest.approx(free.objective, rel=1e-7)


def test_a_penalty_prints_as_it_was_made():
    assert repr(nbs.Ridge(0)) == "Ridge(l2=0)"
    assert repr(nbs.Lasso(0.1)) == "Lasso(l1=0.1)"
    assert repr(nbs.ElasticNet(0.1, 0.2, [1, 0])) == "ElasticNet(l1=0.1, l2=0.2, weights=[1.0, 0.0])"
