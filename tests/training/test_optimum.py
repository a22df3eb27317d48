"""The optimum is that of scikit-learn."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.data import digits


def standardised(X):
    X = X.astype(np.float64)
    scale = X.std(axis=0)
    return (X - X.mean(axis=0)) / np.where(scale > 0, scale, 1)


def test_on_digits_the_optimum_is_that_of_scikit_learn():
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = digits.load()
    X = X / 16
    agree_with(linear_model, X, y, C=1.0)


@pytest.mark.parametrize("name", ["satellite", "letterrecognition"])
def test_on_real_data_the_optimum_is_that_of_scikit_learn(name, shared_data):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = shared_data(name)
    agree_with(linear_model, standardised(X), y, C=1.0)


def agree_with(linear_model, X, y, *, C):
    l2 = 1 / (C * len(y))
    result = nbs.Trainer(l2=l2).fit(X, y)
    assert result.converged
    theirs = linear_model.LogisticRegression(C=C, tol=1e-8, max_iter=5000).fit(X, y)
    objective = nbs.Objective(X, y, l2=l2)
    best = objective.value(np.column_stack([theirs.coef_, theirs.intercept_]))
    assert abs(result.objective - best) <= 1e-6 * best
