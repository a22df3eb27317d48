"""Accents as one character (NFC) or as two (NFD), in levels and in names of columns."""

import unicodedata

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs
from nbsoftmax.cli import main

SCHOOLS = ["\u00e9cole", "lyc\u00e9e", "universit\u00e9"]
AGE = "\u00e2ge"


def decomposed(text):
    return unicodedata.normalize("NFD", text)


@pytest.fixture
def table():
    rng = np.random.default_rng(0)
    columns = {AGE: rng.normal(size=90), "school": rng.choice(SCHOOLS, 90), "y": rng.choice(list("abc"), 90)}
    return pd.DataFrame(columns)


@pytest.mark.parametrize("change", [decomposed, str])
def test_levels_are_found_in_either_encoding(table, change):
    X, y = table[["school", AGE]], table["y"]
    model = nbs.Trainer(l2=0.1).fit(X.assign(school=X["school"].map(change)), y).model
    other = X.assign(school=X["school"].map(decomposed if change is str else str))
    given = X.assign(school=X["school"].map(change))
    np.testing.assert_array_equal(model.predict_proba(other), model.predict_proba(given))


def test_levels_that_differ_in_the_training_stay_apart(table):
    school = table["school"].where(np.arange(90) % 2 == 0, table["school"].map(decomposed))
    model = nbs.Trainer(l2=0.1).fit(table[[AGE]].assign(school=school), table["y"]).model
    assert len(model.feature_names) == 7


def test_the_error_says_that_names_of_columns_differ_in_their_encoding(table, tmp_path, capsys):
    text = "only in how accents are encoded"
    other = table.rename(columns=decomposed)
    model = nbs.Trainer(l2=0.1).fit(table[[AGE, "school"]], table["y"]).model
    with pytest.raises(nbs.InputValueError, match=text):
        model.predict(other)
    numbers = nbs.Trainer(l2=0.1).fit(table[[AGE]], table["y"]).model
    with pytest.raises(nbs.InputValueError, match=text):
        numbers.predict(other[[decomposed(AGE)]])
    with pytest.raises(nbs.InputValueError, match="lacks the column 'school'") as error:
        model.predict(table[[AGE]])
    assert text not in str(error.value)
    other.to_csv(tmp_path / "other.csv", index=False)
    data, out = str(tmp_path / "other.csv"), str(tmp_path / "m.npz")
    pytest.importorskip("pyarrow")
    assert main(["fit", data, "--target", "y", "--drop", AGE, "--out", out]) == 2
    assert text in capsys.readouterr().err


def test_formulas_say_that_names_and_reference_levels_differ_in_their_encoding(table):
    pytest.importorskip("formulaic")
    text = "only in how accents are encoded"
    with pytest.raises(nbs.InputValueError, match=text):
        nbs.fit_formula(f"y ~ {AGE}", table.rename(columns=decomposed))
    with pytest.raises(nbs.InputValueError, match=text):
        nbs.fit_formula(f"y ~ C(school, Treatment({decomposed(SCHOOLS[1])!r}))", table)
