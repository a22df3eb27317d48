"""`inference` of a model takes from its metadata how it was fitted, and rows of weight 0 have no effect on it."""

import numpy as np
import pytest

import nbsoftmax as nbs


def problem(n=1500, seed=1):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 2))
    return X, (X @ np.array([[0, 0], [0.5, -0.3], [-0.4, 0.6]]).T + rng.gumbel(size=(n, 3))).argmax(1)


@pytest.mark.parametrize("intercept", [True, False])
def test_models_of_estimators_know_whether_they_have_intercepts(intercept):
    X, y = problem()
    model = nbs.SoftmaxRegression(C=np.inf, fit_intercept=intercept).fit(X, y).model_
    found, expected = nbs.inference(model, X, y), nbs.Trainer(fit_intercept=intercept).fit(X, y).inference()
    assert found.names == expected.names == (("x0", "x1", "const") if intercept else ("x0", "x1"))
    np.testing.assert_allclose(found.params, expected.params, atol=1e-8)


def test_the_inference_of_a_firth_fit_is_that_of_its_result():
    X, y = problem(60)
    result = nbs.Trainer(penalty="firth").fit(X, y)
    found, expected = nbs.inference(result.model, X, y), result.inference()
    assert found.firth
    np.testing.assert_array_equal(found.params, expected.params)
    np.testing.assert_array_equal(found.covariance, expected.covariance)


def test_the_offset_of_a_fit_must_be_given_again():
    X, y = problem()
    offset = np.random.default_rng(0).normal(size=(len(y), 3)) * 0.01
    result = nbs.Trainer().fit(X, y, offset=offset)
    with pytest.raises(nbs.InputValueError, match="fitted with offset; give that of the fit"):
        nbs.inference(result.model, X, y)
    found = nbs.inference(result.model, X, y, offset=offset)
    np.testing.assert_allclose(found.params, result.inference().params, atol=1e-9)
    weighted = nbs.Trainer().fit(X, y, sample_weight=np.linspace(1, 2, len(y)))
    with pytest.raises(nbs.InputValueError, match="fitted with sample_weight; give that of the fit"):
        nbs.inference(weighted.model, X, y)
    estimator = nbs.SoftmaxRegression(C=np.inf).fit(X, y, sample_weight=np.linspace(1, 2, len(y)))
    with pytest.raises(nbs.InputValueError, match="fitted with sample_weight; give that of the fit"):
        nbs.inference(estimator.model_, X, y)
    estimator.fit(X, y, offset=offset)
    with pytest.raises(nbs.InputValueError, match="fitted with offset; give that of the fit"):
        nbs.inference(estimator.model_, X, y)
    assert nbs.inference(nbs.SoftmaxRegression(firth=True).fit(X, y).model_, X, y).firth
    assert not {"offset", "sample_weight"} & set(nbs.Trainer().fit(X, y).model.training)


@pytest.mark.parametrize("odd", [1e12, -9.0])
def test_rows_of_weight_0_have_no_effect_on_inference_and_effects(odd):
    X, y = problem(400)
    X[:, 1] = np.random.default_rng(2).integers(0, 2, len(y))
    weight = np.ones(len(y))
    weight[0], X[0, 1] = 0.0, odd
    found = nbs.Trainer(tol=1e-12).fit(X, y, sample_weight=weight).inference()
    expected = nbs.Trainer(tol=1e-12).fit(X[1:], y[1:]).inference()
    np.testing.assert_allclose(found.params, expected.params, rtol=1e-6)
    np.testing.assert_allclose(found.standard_errors, expected.standard_errors, rtol=1e-6)
    assert found.binary.tolist() == expected.binary.tolist() == [False, True]
    effects = found.marginal_effects().effects
    np.testing.assert_allclose(effects, expected.marginal_effects().effects, rtol=0, atol=1e-9)


@pytest.mark.parametrize("scale", [1e-8, 1e-3, 1e6, 1e8])
def test_the_iia_test_does_not_depend_on_units(scale):
    X, y = problem()
    few = y != 2

    def statistic(X):
        whole = nbs.Trainer(tol=1e-12).fit(X, y).inference()
        return whole.iia_test(nbs.Trainer(tol=1e-12).fit(X[few], y[few]).inference()).statistic

    assert statistic(X * [1, scale]) == pytest.approx(statistic(X), rel=1e-5)


def test_columns_and_not_their_names_decide_what_is_nested():
    X, y = problem()
    other = np.random.default_rng(3).normal(size=(len(y), 1))
    full = nbs.Trainer().fit(X, y).inference()
    for Z in (other, X[:, :1] * X[:, 1:]):
        restricted = nbs.Trainer().fit(Z, y).inference()
        assert set(restricted.names) < set(full.names)
        with pytest.raises(nbs.InputValueError, match="fewer columns of"):
            full.likelihood_ratio_test(restricted)
    for Z in (X[:, :1], X[:, 1:], X[:, :1] - X[:, 1:]):
        found = full.likelihood_ratio_test(nbs.Trainer().fit(Z, y).inference())
        assert found.statistic > 0
        assert found.df == 2


def test_the_reason_why_a_model_is_not_nested_is_named():
    X, y = problem()
    full, weight = nbs.Trainer().fit(X, y).inference(), np.linspace(1, 2, len(y))
    small = nbs.Trainer().fit(X[:, :1], y)
    with pytest.raises(nbs.InputTypeError, match=r"restricted is a FitResult, expected an Inference; give result.inf"):
        full.likelihood_ratio_test(small)
    reasons = {
        "another sample_weight": nbs.Trainer().fit(X[:, :1], y, sample_weight=weight),
        "another y": nbs.Trainer().fit(X[:, :1], (y + 1) % 3),
        "to 1490 rows, expected 1500; .* missing value": nbs.Trainer().fit(X[10:, :1], y[10:]),
        "the classes": nbs.Trainer().fit(X[:, :1], y + 1),
        "with the same values": nbs.Trainer().fit(X[::-1, :1], y),
    }
    for reason, other in reasons.items():
        with pytest.raises(nbs.InputValueError, match=reason):
            full.likelihood_ratio_test(other.inference())


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"l2": 1e-4}, "a penalty; these are the estimates without it"),
        ({"l1": 1e-4}, "a penalty; these are the estimates without it"),
        ({"label_smoothing": 0.01}, "label smoothing; these are the estimates without it"),
        ({"bounds": (-1, 1)}, "bounds; these are the estimates without them"),
    ],
)
def test_a_model_with_a_small_penalty_gives_the_estimates_without_it_and_says_so(options, what):
    X, y = problem()
    model = nbs.Trainer(**options).fit(X, y).model
    with pytest.warns(UserWarning, match=f"the model was fitted with {what}, those of maximum likelihood"):
        found = nbs.inference(model, X, y)
    np.testing.assert_allclose(found.params, nbs.Trainer().fit(X, y).inference().params, atol=1e-8)
