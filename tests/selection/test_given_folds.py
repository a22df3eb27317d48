"""Folds that the user gives as row numbers or masks."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests import reference

RNG = np.random.default_rng(4)
X = RNG.normal(size=(150, 3))
Y = np.argmax(X + RNG.gumbel(size=(150, 3)), axis=1)
W = RNG.uniform(0.5, 2.0, 150)


def test_a_row_that_is_named_twice_counts_twice_in_the_fit_and_in_the_scores():
    train, test = RNG.integers(0, 100, 120), RNG.integers(100, 150, 40)
    assert np.unique(train).size < 120
    assert np.unique(test).size < 40
    found = nbs.cross_validate(X, Y, Cs=[1.0], folds=[(train, test)] * 2, sample_weight=W, tol=1e-10)
    model = nbs.fit_path(X[train], Y[train], Cs=[1.0], sample_weight=W[train], tol=1e-10).results[0].model
    losses, *_ = reference.cross_entropy(model.decision_function(X[test]), Y[test])
    right = model.predict(X[test]) == Y[test]
    assert found.log_loss[0, 0] == pytest.approx(np.average(losses, weights=W[test]), rel=1e-5)
    assert found.accuracy[0, 0] == pytest.approx(np.average(right, weights=W[test]), rel=1e-12)


def test_a_mask_is_the_numbers_of_its_rows():
    mask = np.arange(150) % 3 == 0
    by_mask = nbs.cross_validate(X, Y, Cs=[1.0], folds=[(~mask, mask), (mask, ~mask)])
    rows = [np.flatnonzero(part) for part in (~mask, mask)]
    assert np.array_equal(by_mask.log_loss, nbs.cross_validate(X, Y, Cs=[1.0], folds=[rows, rows[::-1]]).log_loss)


@pytest.mark.parametrize("part", [[-1, 0, 1], [0, 1, 150], [0.0, 1.0], np.ones(149, bool)], ids=str)
def test_rows_that_do_not_exist_are_refused(part):
    for pair, name in (((part, [0, 1]), "train"), ((np.arange(150), part), "test")):
        with pytest.raises(nbs.InputValueError, match=rf"the {name} part of a fold must be .* in 0\.\.149"):
            nbs.cross_validate(X, Y, Cs=[1.0], folds=[pair] * 2)
