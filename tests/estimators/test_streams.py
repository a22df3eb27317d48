"""`partial_fit` of an estimator."""

import copy
import pickle

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.estimators.problems import NO_STREAM, objective, problem


def test_a_stream_comes_near_what_a_fit_reaches():
    X, y = problem(3, m=6000)
    whole = nbs.SoftmaxRegression().fit(X, y)
    stream = nbs.SoftmaxRegression()
    for start in range(0, 6000, 500):
        chunk = slice(start, start + 500)
        stream.partial_fit(X[chunk], y[chunk], classes=["cedar", "ash", "beech"])
    assert stream.classes_.tolist() == ["ash", "beech", "cedar"]
    # One pass of 6000 samples; measured 0.4% above.
    assert objective(stream, X, y) <= 1.02 * objective(whole, X, y)
    assert (stream.converged_, stream.gap_) == (False, np.inf)


def test_a_stream_begins_where_a_fit_ended_and_survives_pickling():
    X, y = problem(2)
    fitted = nbs.SoftmaxRegression().fit(X, y)
    before = fitted.coef_.copy()
    after = fitted.partial_fit(X[:64], y[:64]).coef_
    assert 0 < np.abs(after - before).max() < 0.5 * np.abs(before).max()
    again = pickle.loads(pickle.dumps(fitted))
    assert again.partial_fit(X[64:], y[64:]).coef_.tobytes() == fitted.partial_fit(X[64:], y[64:]).coef_.tobytes()
    assert np.allclose(fitted.fit(X, y).coef_, before)  # which begins anew


@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
def test_a_stream_and_its_copy_continue_independently(copied):
    X, y = problem(2)
    first, rest = slice(0, 64), slice(64, None)
    expected = (
        nbs.SoftmaxRegression().partial_fit(X[first], y[first], classes=np.unique(y)).partial_fit(X[rest], y[rest])
    )
    stream = nbs.SoftmaxRegression().partial_fit(X[first], y[first], classes=np.unique(y))
    again = copied(stream)
    for one in (again, stream):
        assert one.partial_fit(X[rest], y[rest]).coef_.tobytes() == expected.coef_.tobytes()


@pytest.mark.parametrize(
    ("options", "classes", "message"),
    [
        ({}, None, "classes is missing"),
        ({}, ["ash", "cedar"], "not in classes"),
    ],
)
def test_a_stream_refuses_what_it_cannot_learn(options, classes, message):
    X, y = problem(2)
    with pytest.raises(ValueError, match=message):
        nbs.SoftmaxRegression(**options).partial_fit(X, y, classes=classes)


@pytest.mark.parametrize(("options", "why"), NO_STREAM)
def test_partial_fit_is_no_method_where_it_would_refuse(options, why):
    estimator = nbs.SoftmaxRegression(**options)
    assert not hasattr(estimator, "partial_fit")
    with pytest.raises(AttributeError, match="partial_fit") as caught:
        _ = estimator.partial_fit
    assert why in str(caught.value.__cause__)


@pytest.mark.parametrize("changed", [{"class_weight": {"ash": 50.0}}, {"label_smoothing": 0.5}, {"C": 1e-3}])
def test_parameters_may_be_set_between_two_calls(changed):
    X, y = problem(3, m=300)
    labels = np.unique(y)
    before = {"class_weight": {"ash": 1.0}}
    constant, other = (nbs.SoftmaxRegression(**before).partial_fit(X, y, classes=labels) for _ in range(2))
    other.set_params(**changed)
    of_start = nbs.SoftmaxRegression(**before | changed)
    for _ in range(60):
        for one in (constant, other, of_start):
            one.partial_fit(X, y, classes=labels)

    def distance(one):
        return np.abs(one.predict_proba(X) - of_start.predict_proba(X)).max()

    assert distance(other) < 0.3 * distance(constant)


def test_the_intercept_may_not_change_between_two_calls():
    X, y = problem(3)
    stream = nbs.SoftmaxRegression().partial_fit(X, y, classes=np.unique(y))
    with pytest.raises(nbs.InputValueError, match="fit_intercept is False, but was True in the first call"):
        stream.set_params(fit_intercept=False).partial_fit(X, y)


@pytest.mark.parametrize(
    "classes", [np.array([1, 2, 3], object), [3, 2, 1], (1, 2, 3.0), np.array([1, 2, 3], np.int8)], ids=repr
)
def test_classes_are_read_as_labels_are(classes):
    X, _ = problem(3, m=60)
    y = np.arange(60) % 3 + 1
    stream = nbs.SoftmaxRegression().partial_fit(X, y, classes=classes)
    assert stream.classes_.tolist() == [1, 2, 3]
    assert stream.classes_.dtype.kind in "if"
    assert 0 <= stream.score(X, y) <= 1


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (np.array([0, 1, None], object), "None at row 2: a missing label"),
        ([0, 1, "2"], "labels of several kinds"),
        ([[0, 1], [2, 3]], r"classes has the shape \(2, 2\)"),
        ([1], "classes has 1 label, expected at least 2"),
    ],
)
def test_classes_that_are_no_labels_are_refused(classes, message):
    X, _ = problem(3, m=60)
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=message):
        nbs.SoftmaxRegression().partial_fit(X, np.arange(60) % 3, classes=classes)


def test_a_stream_that_an_earlier_version_has_pickled_goes_on():
    X, y = problem(3)
    stream = nbs.SoftmaxRegression().partial_fit(X, y, classes=np.unique(y))
    for name in ("_n_samples", "_weight"):
        del vars(stream._stream._stream)[name]
    again = pickle.loads(pickle.dumps(stream)).partial_fit(X, y)
    assert np.isfinite(again.coef_).all()
