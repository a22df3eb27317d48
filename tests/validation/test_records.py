"""A dict or a list of dicts in the place of a table: the advice in the error makes a table of exactly this input."""

import re

import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs

TABLE = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": [0, 1, 1, 0]})
MIXED = TABLE.assign(c=["u", "v", "v", "u"])
Y = [0, 0, 1, 1]
RECORD = {"a": 1.5, "b": 1, "c": "u"}
GIVEN = {
    "one record": RECORD,
    "one record of NumPy scalars": {"a": np.float64(1.5), "b": np.int64(1), "c": np.str_("u")},
    "a list of one record": [RECORD],
    "records": [RECORD, {**RECORD, "c": "v"}],
    "a tuple of records": (RECORD, RECORD),
    "columns": {"a": [1.5, 2.5], "b": [1, 0], "c": ["u", "v"]},
    "columns of arrays": {"a": np.array([1.5]), "b": pd.Series([1]), "c": np.array(["u"])},
}


def without_text(given):
    """The records or columns without those of text."""
    if isinstance(given, dict):
        return {name: values for name, values in given.items() if name != "c"}
    return type(given)(map(without_text, given))


def advised(call, name):
    """The table that the advice in an error makes."""
    with pytest.raises(nbs.InputTypeError, match=rf"^{name} is .*, expected a table; pd\.DataFrame\(") as caught:
        call()
    advice = re.search(r"; (pd\.DataFrame\(.*\)) makes", str(caught.value))[1]
    return lambda given: eval(advice, {"pd": pd, name: given})


@pytest.mark.parametrize("kind", GIVEN)
def test_the_advice_makes_a_table_that_a_model_predicts(kind):
    numbers = without_text(GIVEN[kind])
    models = [
        (nbs.Trainer(l2=1.0).fit(TABLE, Y).model, numbers),
        (nbs.Trainer(l2=1.0).fit(TABLE.to_numpy(), Y).model, numbers),
        (nbs.SoftmaxRegression().fit(TABLE, Y), numbers),
        (nbs.Trainer(l2=1.0).fit(MIXED, Y).model, GIVEN[kind]),
    ]
    n = 2 if kind in ("records", "a tuple of records", "columns") else 1
    for model, given in models:
        table = advised(lambda model=model, given=given: model.predict_proba(given), "X")
        assert model.predict_proba(table(given)).shape == (n, 2)


@pytest.mark.parametrize("kind", ["a list of one record", "records", "a tuple of records", "columns"])
def test_fits_give_the_same_advice(kind):
    given = GIVEN[kind]
    numbers = without_text(given)
    for fit in (nbs.Trainer(l2=1.0).fit, nbs.Trainer(solver="sgd").partial_fit, nbs.SoftmaxRegression().fit):
        assert len(advised(lambda fit=fit: fit(numbers, [0, 1]), "X")(numbers))
    assert len(advised(lambda: nbs.fit_formula("c ~ a", given), "frame")(given))
