"""Decision thresholds: the predicted class is the one with the largest probability divided by its threshold."""

import numpy as np
import pytest
import scipy.sparse
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import nbsoftmax as nbs
from nbsoftmax.errors import InputError
from tests.estimators.problems import problem


def a_model(n_classes, n_features=4, seed=0):
    rng = np.random.default_rng(seed)
    return nbs.SoftmaxModel(rng.normal(size=(n_classes, n_features)), rng.normal(size=n_classes), np.arange(n_classes))


def samples(n=40, n_features=4, seed=1):
    return np.random.default_rng(seed).normal(size=(n, n_features))


@st.composite
def thresholds(draw, n_classes):
    some = draw(st.lists(st.floats(1e-6, 1e6), min_size=n_classes, max_size=n_classes))
    if draw(st.booleans()):
        some[draw(st.integers(0, n_classes - 1))] = 0.0
    return np.array(some)


@given(st.data(), st.integers(2, 7), st.sampled_from([np.float64, np.float32]), st.booleans())
def test_the_class_with_the_largest_probability_by_threshold_is_predicted(data, n_classes, dtype, sparse):
    model, t = a_model(n_classes), data.draw(thresholds(n_classes))
    X = samples().astype(dtype)
    given_X = scipy.sparse.csr_array(X) if sparse else X
    with np.errstate(divide="ignore"):
        ratio = model.predict_proba(given_X).astype(np.float64) / t  # inf where t is 0
    chosen = np.take_along_axis(ratio, model.predict(given_X, thresholds=t)[:, None], axis=1)[:, 0]
    least = ratio.max(axis=1)
    # Both are rounded: logits of at most 30 here, minus logarithms of at most 28.
    assert ((chosen == least) | (chosen >= least * (1 - 512 * np.finfo(dtype).eps))).all()


@given(st.data(), st.integers(2, 6), st.booleans())
def test_top_k_is_in_that_order_with_the_probabilities_of_the_model(data, n_classes, with_offset):
    model, X, t = a_model(n_classes), samples(), data.draw(thresholds(n_classes))
    offset = samples(40, n_classes, seed=2) if with_offset else None
    proba = model.predict_proba(X, offset=offset)
    labels, found = model.top_k(X, n_classes, thresholds=t, offset=offset)
    assert np.array_equal(np.sort(labels, axis=1), np.tile(np.arange(n_classes), (40, 1)))
    assert np.array_equal(found, np.take_along_axis(proba, labels, axis=1))
    with np.errstate(divide="ignore"):
        ratio = np.take_along_axis(proba / t, labels, axis=1)
    assert (ratio[:, :-1] >= ratio[:, 1:] * (1 - 1e-12)).all()
    assert np.array_equal(labels[:, 0], model.predict(X, thresholds=t, offset=offset))


@pytest.mark.parametrize("t", [0.3, 1e-300, 1e300])
def test_equal_thresholds_change_nothing(t):
    model, X = a_model(5), np.round(samples(), 1)
    tied = nbs.SoftmaxModel(np.repeat(model.coef[:1], 5, axis=0), np.zeros(5), np.arange(5))
    for one in (model, tied):
        assert np.array_equal(one.predict(X, thresholds=np.full(5, t)), one.predict(X))


@pytest.mark.parametrize("t", [[1e300, 1e-20, 1.0], [1e300, 1e-15, 1.0], [1.7e308, 5e-324, 1e-300]])
def test_thresholds_whose_ratio_underflows_are_no_threshold_of_0(t):
    t = np.array(t)
    distance = np.log(t[0]) - np.log(t[1])
    at = distance * np.array([0.5, 0.99, 1.01, 1.5])  # the logit of class 0; that of class 1 is 0
    model = nbs.SoftmaxModel([[1.0], [0.0], [-1.0]], [0.0, 0.0, -2000.0], np.arange(3))
    assert model.predict(at[:, None], thresholds=t).tolist() == [1, 1, 0, 0]
    assert model.top_k(at[:, None], 1, thresholds=t)[0][:, 0].tolist() == [1, 1, 0, 0]


@pytest.mark.parametrize("n_classes", [3, 70, 1100])  # tiles, rows, panels of classes
@pytest.mark.parametrize("n_features", [4, 130])
def test_the_class_of_threshold_0_is_always_predicted(n_classes, n_features):
    model, X, t = a_model(n_classes, n_features), samples(70, n_features), np.ones(n_classes)
    t[2] = 0
    for dtype in (np.float32, np.float64):
        for given_X in (X.astype(dtype), scipy.sparse.csr_array(X.astype(dtype))):
            assert (model.predict(given_X, thresholds=t) == 2).all()
            labels, proba = model.top_k(given_X, 2, thresholds=t)
            assert (labels[:, 0] == 2).all()
            assert np.array_equal(proba[:, 0], model.predict_proba(given_X)[:, 2])


def test_of_two_classes_one_threshold_is_that_of_its_probability():
    model, X = a_model(2), samples(400)
    model = nbs.SoftmaxModel(model.coef, model.intercept, ["no", "yes"])
    proba = model.predict_proba(X)[:, 1]
    assert np.array_equal(model.predict(X, thresholds={"yes": 0.3}) == "yes", proba > 0.3)
    assert np.array_equal(model.predict(X, thresholds={"no": 0.9}) == "yes", proba > 0.1)


def test_classes_that_a_mapping_does_not_name_have_the_threshold_1():
    model, X = a_model(4), samples()
    expected = model.predict(X, thresholds=[1, 0.25, 1, 0.5])
    assert np.array_equal(model.predict(X, thresholds={3: 0.5, 1: 0.25}), expected)
    assert not np.array_equal(model.predict(X), expected)


def test_score_and_blocks_of_rows_use_the_thresholds():
    model, X = a_model(3), samples(500)
    y = model.predict(X)
    t = [0.2, 1, 0.4]
    expected = model.predict(X, thresholds=t)
    assert model.score(X, y, thresholds=t) == np.mean(y == expected) < 1
    source = nbs.data.from_batches([(X, y)], batch_rows=64)
    assert np.array_equal(model.predict(source, thresholds=t), expected)
    assert np.isclose(model.score(source, thresholds=t), np.mean(y == expected), rtol=1e-15)
    assert np.array_equal(model.top_k(source, 2, thresholds=t)[1], model.top_k(X, 2, thresholds=t)[1])


@pytest.mark.parametrize("n_classes", [2, 3])
def test_estimators_predict_and_score_by_their_thresholds(n_classes):
    X, y = problem(n_classes)
    usual = nbs.SoftmaxRegression().fit(X, y)
    given_t = {"beech": 0.1} | ({"ash": 0.6} if n_classes == 3 else {})
    fitted = clone(nbs.SoftmaxRegression(thresholds=given_t)).fit(X, y)
    assert np.array_equal(fitted.predict_proba(X), usual.predict_proba(X))
    predicted = fitted.predict(X)
    assert np.array_equal(predicted, usual.model_.predict(X, thresholds=given_t))
    assert (predicted != usual.predict(X)).any()
    assert fitted.score(X, y) == np.mean(predicted == y)
    pipe = make_pipeline(StandardScaler(), nbs.SoftmaxRegression(thresholds=given_t)).fit(X, y)
    assert (pipe.predict(X) == "beech").sum() > (usual.predict(X) == "beech").sum()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ([0.5, 0.5], r"shape \(2,\), expected \(3,\)"),
        ([0, 0, 1], "the thresholds of 2 classes are 0"),
        ([1, -1, 1], "the threshold of class 1 is -1"),
        ([1, np.nan, 1], "the threshold of class 1 is nan"),
        ([1, np.inf, 1], "the threshold of class 1 is inf"),
        ({5: 0.5}, "names 5, which is no class"),
        ({1: "a"}, r"thresholds\[1\] is 'a'"),
        (0.5, "thresholds is 0.5, expected 3 numbers"),
        ("balanced", "thresholds is 'balanced'"),
        ([[1, 1, 1]], "shape"),
    ],
)
def test_thresholds_that_cannot_be_used_are_refused(given, said):
    with pytest.raises(InputError, match=said):
        a_model(3).predict(samples(), thresholds=given)


def test_of_two_classes_a_single_threshold_of_1_is_refused():
    with pytest.raises(InputError, match="less than 1"):
        a_model(2).predict(samples(), thresholds={1: 1.0})
