"""`partial_fit` of an estimator."""

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
