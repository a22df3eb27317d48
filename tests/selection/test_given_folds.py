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


@pytest.mark.parametrize("form", ["numbers", "masks"])
def test_folds_are_those_of_the_table_where_rows_are_left_out(form):
    pd = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    table = pd.DataFrame(rng.normal(size=(120, 2)), columns=["a", "b"])
    y = (table["a"] + rng.logistic(size=120) > 0).to_numpy()
    table.loc[[0, 3, 50, 119], "b"] = np.nan
    complete = table["b"].notna().to_numpy()
    held_out = [np.arange(100) % 4 == k for k in range(4)]  # of the first 100 rows only
    held_out = [np.append(part, np.zeros(20, bool)) for part in held_out]
    part = np.flatnonzero if form == "numbers" else np.asarray
    with pytest.warns(UserWarning, match="4 of 120 rows"):
        found = nbs.cross_validate(
            table, y, Cs=[0.1, 1.0], folds=[(part(~out), part(out)) for out in held_out],
            table=nbs.TableOptions(missing="drop"),
        )  # fmt: skip
    same = [(~out[complete], out[complete]) for out in held_out]
    expected = nbs.cross_validate(table[complete], y[complete], Cs=[0.1, 1.0], folds=same)
    assert np.array_equal(found.log_loss, expected.log_loss)
    with pytest.warns(UserWarning), pytest.raises(nbs.InputValueError, match=r"indices in 0\.\.119"):
        nbs.cross_validate(
            table, y, folds=[([0], [120]), ([0], [1])], table=nbs.TableOptions(missing="drop")
        )  # fmt: skip
