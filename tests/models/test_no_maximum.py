"""Errors of inference where the likelihood has no maximum name the columns, and advise what can be done."""

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs


@pytest.mark.filterwarnings("ignore:the fit has not converged")
@pytest.mark.parametrize("tol", [1e-12, 1e-6])
def test_columns_that_separate_are_named_however_far_the_fit_went(tol):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=300), "g": rng.choice(list("uvw"), 300)})
    y = np.where(table.g == "w", 2, rng.integers(0, 3, 300))  # the level w has one class
    options = nbs.TableOptions(drop_first=True)
    with pytest.raises(nbs.InputValueError, match=r"mostly by the columns 'g\[w\]'"):
        nbs.Trainer(tol=tol, table=options).fit(table, y).inference()


@pytest.mark.filterwarnings("ignore:the fit has not converged")
@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="StringDType is NumPy 2's")
def test_a_separable_class_of_numpys_strings_is_named():
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(90, 1)), np.arange(90) % 3
    X[codes == 2] += 100
    y = np.array(list("abc"), np.dtypes.StringDType())[codes]
    with pytest.raises(nbs.InputValueError, match="of class 'c' are perfectly separable"):
        nbs.Trainer().fit(X, y).inference()


def test_an_empty_cell_of_an_interaction_has_advice_that_can_be_followed():
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"a": rng.choice(list("uv"), 300), "b": rng.choice(list("xyz"), 300)})
    table = table[(table.a != "v") | (table.b != "z")].assign(y=lambda kept: rng.choice(list("kl"), len(kept)))
    with pytest.raises(nbs.InputValueError, match=r"0 in every row; leave it out \(of a formula: make one column"):
        nbs.fit_formula("y ~ a * b", table, l2=0.0).inference()
    joined = table.assign(ab=table.a + table.b)
    assert nbs.fit_formula("y ~ ab", joined, l2=0.0).inference().df_model == 4


@pytest.mark.filterwarnings("ignore::nbsoftmax.ConvergenceWarning")
def test_a_column_whose_squares_overflow_is_named():
    X = np.random.default_rng(0).normal(size=(60, 2)) * [1, 1e170]
    result = nbs.Trainer().fit(X, np.arange(60) % 2)
    with pytest.raises(nbs.InputValueError, match="the squares of the column 'x1' exceed the range of float64"):
        result.inference()


@pytest.mark.parametrize("basis", ["cr(x, 4)", "cc(x, 4)"])
def test_bases_that_sum_to_1_beside_an_intercept_are_refused_with_the_option_that_centres_them(basis):
    rng = np.random.default_rng(0)
    table = pd.DataFrame({"x": rng.normal(size=100), "y": rng.integers(0, 3, 100)})
    with pytest.raises(nbs.InputValueError, match=r"terms out of the formula, or .* constraints='center'\."):
        nbs.fit_formula(f"y ~ {basis}", table).inference()
    centred = basis.replace("4)", "4, constraints='center')")
    assert np.isfinite(nbs.fit_formula(f"y ~ {centred}", table).inference().standard_errors).all()
