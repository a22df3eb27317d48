"""The option `penalty_weight`: the weights of the penalty objects, in all that fits models."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize
from scipy.sparse import csr_array

import nbsoftmax as nbs
from tests import reference
from tests.penalties.kinds import data, params_of
from tests.problem.test_in_parts import Source

WEIGHT = np.array([1.0, 0.0, 3.0, 1.0, 0.0, 1.0, 0.3, 1.0])
PENALTIES = {
    "ridge": ({"l2": 0.05}, nbs.Ridge(0.05, WEIGHT)),
    "lasso": ({"l1": 0.03}, nbs.Lasso(0.03, WEIGHT)),
    "elastic net": ({"l1": 0.03, "l2": 0.05}, nbs.ElasticNet(0.03, 0.05, WEIGHT)),
    "group lasso": ({"l1": 0.05, "l2": 0.02, "grouped": True}, nbs.GroupLasso(0.05, 0.02, WEIGHT)),
}


@pytest.mark.parametrize("kind", PENALTIES)
def test_the_option_is_the_weight_of_the_penalty_objects(kind):
    X, y = data()
    options, penalty = PENALTIES[kind]
    option, by_object = nbs.Trainer(**options, penalty_weight=WEIGHT), nbs.Trainer(penalty=penalty)
    assert np.array_equal(option.fit(X, y).model.coef, by_object.fit(X, y).model.coef)
    params = np.random.default_rng(0).normal(size=(3, 9))
    ours = nbs.Objective(X, y, **options, penalty_weight=WEIGHT.tolist())
    assert ours.value(params) == nbs.Objective(X, y, penalty=penalty).value(params)


@given(st.lists(st.sampled_from([0.0, 0.0, 0.2, 1.0, 5.0]), min_size=4, max_size=4), st.integers(0, 99))
def test_a_ridge_fit_with_any_weights_is_the_minimum_that_scipy_finds(weights, seed):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(90, 4)), np.arange(90) % 3  # far from separable, so that there is a minimum
    loss = reference.Objective(X, y, 3)

    def cost(flat):
        params = flat.reshape(3, 5)
        value, grad = loss.value_and_grad(params)
        coef = params[:, :-1]
        grad[:, :-1] += 0.1 * np.array(weights) * coef
        return value + 0.05 * (weights * coef**2).sum(), grad.ravel()

    ours = nbs.Trainer(l2=0.1, penalty_weight=weights, tol=1e-10).fit(X, y)
    assert ours.converged
    found = minimize(cost, np.zeros(15), jac=True, method="BFGS", options={"gtol": 1e-9, "maxiter": 5000})
    assert ours.objective == pytest.approx(found.fun, rel=1e-8)


@pytest.mark.parametrize("kind", PENALTIES)
def test_sparse_rows_float32_blocks_and_standardized_features_have_the_same_minimum(kind):
    X, y = data(m=300)
    X = X * (np.abs(X) > 0.5) * np.geomspace(0.5, 2, 8)
    X = X.astype(np.float32).astype(np.float64)
    trainer = nbs.Trainer(**PENALTIES[kind][0], penalty_weight=WEIGHT, tol=1e-9, standardize=True)
    whole = trainer.fit(X, y)
    for rows in ((csr_array(X), y), (X.astype(np.float32), y), (Source(X=X, y=y, n=80),)):
        assert trainer.fit(*rows).objective == pytest.approx(whole.objective, rel=1e-8)
    scaled = nbs.Trainer(**PENALTIES[kind][0], penalty_weight=WEIGHT, tol=1e-9).fit(X / X.std(axis=0), y)
    assert whole.objective == pytest.approx(scaled.objective, rel=1e-8)


def test_paths_and_cross_validation_take_it():
    X, y = data()
    for l1_ratio, grouped in ((0.0, False), (0.5, False), (0.5, True)):
        options = {"penalty_weight": WEIGHT, "grouped": grouped, "tol": 1e-8}
        path = nbs.fit_path(X, y, l2s=[0.05, 0.5], l1_ratio=l1_ratio, **options)
        single = nbs.Trainer(l1=0.05 * l1_ratio, l2=0.05 * (1 - l1_ratio), **options).fit(X, y)
        assert path.results[0].objective == pytest.approx(single.objective, rel=1e-7)
    chosen = nbs.cross_validate(X, y, Cs=[0.01, 0.1], folds=3, penalty_weight=np.zeros(8))
    assert chosen.log_loss[0] == pytest.approx(chosen.log_loss[1], rel=1e-4)  # nothing is penalised
    assert chosen.result.objective_options.penalty.is_zero


def test_estimators_keep_it_as_given():
    pytest.importorskip("sklearn")
    from sklearn.base import clone

    X, y = data()
    fitted = nbs.SoftmaxRegression(C=0.1, penalty_weight=WEIGHT, tol=1e-10).fit(X, y)
    assert fitted.get_params()["penalty_weight"] is WEIGHT
    expected = nbs.Trainer(l2=10 / len(y), penalty_weight=WEIGHT, tol=1e-10).fit(X, y)
    # Each is within sqrt(2 tol J / (0.3 l2)) = 9e-5 of the minimum; the loss alone is steeper in columns of weight 0.
    np.testing.assert_allclose(fitted.coef_, expected.model.coef, rtol=0, atol=2e-4)
    np.testing.assert_array_equal(clone(fitted).fit(X, y).coef_, fitted.coef_)
    search = nbs.SoftmaxRegressionCV(Cs=[0.1], cv=3, penalty_weight=WEIGHT, tol=1e-10).fit(X, y)
    np.testing.assert_allclose(search.coef_, fitted.coef_, rtol=0, atol=2e-4)
    options = ({"C": 0.01, "penalty_weight": np.zeros(8)}, {"C": np.inf}, {"C": 0.01})
    free, none, full = (nbs.SoftmaxRegression(**o).partial_fit(X, y, classes=[0, 1, 2]).coef_ for o in options)
    np.testing.assert_array_equal(free, none)
    assert not np.array_equal(free, full)


@pytest.mark.parametrize("weights", [[-1.0] * 8, [np.nan] * 8, [np.inf] * 8, np.ones((3, 8)), ["a"], 3.0])
def test_what_are_no_weights_is_refused(weights):
    for make in (nbs.Trainer, lambda **o: nbs.Objective(*data(), **o)):
        with pytest.raises(nbs.InputValueError, match=r"^penalty_weight is .*, expected .*\.$"):
            make(l2=0.1, penalty_weight=weights)


def test_weights_that_do_not_fit_are_refused():
    with pytest.raises(nbs.InputValueError, match="weights of 2 features, but X has 8"):
        nbs.Trainer(l2=0.1, penalty_weight=[1.0, 0.0]).fit(*data())
    with pytest.raises(nbs.InputValueError, match="both penalty and penalty_weight are given"):
        nbs.Trainer(penalty=nbs.Ridge(0.1), penalty_weight=WEIGHT)
    with pytest.raises(nbs.InputValueError, match=r"solver is .prox-newton., but all weights of the penalty are 0"):
        nbs.Trainer(l1=0.1, penalty_weight=np.zeros(8), solver="prox-newton")


def test_all_weights_0_are_no_penalty():
    X, y = data()
    free = nbs.Trainer(tol=1e-10).fit(X, y)
    for options in ({"l2": 1.0}, {"l1": 1.0}, {"l1": 1.0, "grouped": True}):
        result = nbs.Trainer(**options, penalty_weight=np.zeros(8), tol=1e-10).fit(X, y)
        assert result.objective == pytest.approx(free.objective, rel=1e-9)
        result.inference()  # it is the maximum of the likelihood


def test_a_checkpoint_and_the_model_know_the_weights(tmp_path):
    X, y = data()
    result = nbs.Trainer(l2=0.1, penalty_weight=WEIGHT).fit(X, y, checkpoint=tmp_path / "state")
    with pytest.raises(nbs.InputValueError, match="other data"):
        nbs.Trainer(l2=0.1).fit(X, y, checkpoint=tmp_path / "state", resume=True)
    assert "3." in result.model.training["penalty_weight"]
    assert "penalty_weight=" in repr(nbs.Trainer(l2=0.1, penalty_weight=WEIGHT))
    assert np.isfinite(nbs.Objective(X, y, l2=0.1, penalty_weight=WEIGHT).value(params_of(result)))


@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("penalty", [{"l2": 1.0}, {"l1": 0.1}, {"l1": 0.1, "grouped": True}])
def test_weights_of_another_number_of_features_are_refused(penalty, standardize):
    X, y = np.random.default_rng(0).normal(size=(12, 3)), np.arange(12) % 3
    with pytest.raises(nbs.InputValueError, match="weights of 2 features, but X has 3"):
        nbs.Trainer(**penalty, standardize=standardize, penalty_weight=[1, 2]).fit(X, y)


@pytest.mark.parametrize("penalty", [nbs.Ridge(1.0, [0, 1, 1]), nbs.ElasticNet(1.0, 1.0, [0, 1, 1])])
def test_a_free_coefficient_may_be_so_large_that_its_square_is_infinite(penalty):
    X, y = np.random.default_rng(0).normal(size=(9, 3)), np.arange(9) % 3
    params = np.zeros((3, 4))
    params[0, 0] = 1e155
    assert nbs.Objective(X, y, penalty=penalty).value(params) == nbs.Objective(X, y).value(params)
