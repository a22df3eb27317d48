"""Weights of features: scales and unpenalised features."""

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize

import nbsoftmax as nbs
from nbsoftmax.solvers.tools.convergence import without_shift
from nbsoftmax.solvers.tools.duality import duality_gap
from nbsoftmax.solvers.tools.preconditioners import Preconditioner
from tests import reference
from tests.penalties.kinds import WEIGHTS, data, params_of


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
def test_with_unpenalised_features_the_gap_is_near_the_truth(make, fit_intercept, solver):
    if make is not nbs.Ridge and solver != "auto":
        pytest.skip("for smooth penalties")
    X, y = data()
    common = {"penalty": make(0.05, weights=UNPENALISED), "fit_intercept": fit_intercept}
    best = nbs.Trainer(**common, tol=1e-10).fit(X, y).objective
    result = nbs.Trainer(**common, solver=solver, tol=1e-5, max_iter=2000).fit(X, y)
    assert result.converged
    assert result.gap_kind == ("self-concordance" if make is nbs.Ridge else "estimate")
    assert result.objective - best <= 1e-5 * best
    early = nbs.Trainer(**common, solver=solver, tol=1e-9, max_iter=1).fit
    with pytest.warns(nbs.ConvergenceWarning):
        result = early(X, y)
    if result.gap_kind == "self-concordance":
        assert result.gap >= result.objective - best
    elif result.gap_kind == "estimate":
        assert result.gap >= 0.5 * (result.objective - best)
    else:  # 0 is a bound of any objective with a penalty
        assert (result.gap_kind, result.gap) == ("duality", result.objective)


@pytest.mark.parametrize("kind", [{}, {"grouped": True}, {"bounds": (-0.5, None)}])
@pytest.mark.parametrize("seed", [15, 22, 35])
def test_the_gap_knows_what_steps_of_unpenalised_coefficients_change_in_the_others(seed, kind):
    # Features of very different scales: steps of unpenalised coefficients whose own decrease of J is far below tol
    # change the gradient of the others, of which the dual is a steep function where the penalty is weak.
    rng = np.random.default_rng(seed)
    n_samples, n_classes = int(rng.integers(20, 60)), int(rng.integers(2, 5))
    X = rng.normal(size=(n_samples, 12)) * 10.0 ** rng.uniform(-2, 2, size=12)
    y = rng.permutation(np.arange(n_samples) % n_classes)
    options = {
        "l1": 3e-5,
        "l2": 0.002 if seed % 2 == 0 else 0.015,
        "penalty_weight": np.arange(12) % 2.0,
        **kind,
    }
    found = nbs.Trainer(tol=1e-7, **options).fit(X, y)
    closer = nbs.Trainer(tol=1e-13, max_iter=2000, **options).fit(X, y)
    assert found.converged
    assert found.objective - closer.objective <= found.gap + 1e-14  # rounding errors of two objectives near 1


@given(st.integers(0, 999), st.sampled_from([None, np.array([0.5, 2.0, 1.0, 0.1])]), st.booleans())
def test_bounds_hold_at_random_points(seed, weights, fit_intercept):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(20, 4)), rng.integers(0, 3, 20)
    y[:3] = range(3)
    for penalty in (nbs.Ridge(0.3, weights), nbs.ElasticNet(0.05, 0.2, weights), nbs.GroupLasso(0.1, 0.0, weights)):
        J = nbs.Objective(X, y, penalty=penalty, fit_intercept=fit_intercept)
        # 1e-8: a group lasso without l2 (seed 129) ends at a gap of 1.3e-9, with no step left in float64.
        best = nbs.Trainer(penalty=penalty, tol=1e-8, fit_intercept=fit_intercept).fit(X, y).objective
        loss = nbs.Objective(X, y, fit_intercept=fit_intercept)
        params = rng.normal(size=J.shape) * rng.choice([0.0, 0.1, 2.0])
        params[:, -1] *= fit_intercept
        gap, kind = duality_gap(J, loss, params, *loss.value_and_grad(params))
        assert kind == "duality"
        assert J.value(params) - best <= gap + 1e-8
        if penalty.is_smooth and not fit_intercept:
            value, grad = J.value_and_grad(params)
            assert value - best <= J.penalty.bound(grad[:, :-1]) + 1e-8


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
    path = nbs.fit_path(X, y, l2s=[0.05, 0.5], l1_ratio=0.5, penalty_weight=UNPENALISED)
    for strength, result in zip([0.05, 0.5], path.results, strict=True):
        single = nbs.Trainer(penalty=nbs.ElasticNet(strength / 2, strength / 2, UNPENALISED)).fit(X, y)
        assert result.objective == pytest.approx(single.objective, rel=2e-6)
    with pytest.raises(nbs.InputTypeError, match=r"penalty=Ridge.*give l2s"):
        nbs.fit_path(X, y, l2s=[0.1], penalty=nbs.Ridge(0.1))
