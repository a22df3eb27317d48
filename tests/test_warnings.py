"""Warnings name the line of the user's own code, not one of the package or of scikit-learn."""

import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.model_selection import KFold, cross_val_score

import nbsoftmax as nbs
from nbsoftmax.errors import warn

X = np.random.default_rng(0).normal(size=(60, 2))
Y = np.arange(60) % 3
TABLE = pd.DataFrame({"a": X[:, 0], "c": list("xyzzyx") * 10})
TABLE.loc[5, "a"] = np.nan


DROP = nbs.TableOptions(missing="drop")

CALLS = {
    "a fit that does not converge": lambda: nbs.Trainer(max_iter=1, tol=1e-12).fit(X, Y),
    "an estimator that does not converge": lambda: nbs.SoftmaxRegression(max_iter=1, tol=1e-12).fit(X, Y),
    "rows left out of a table": lambda: nbs.Trainer(l2=0.1, table=DROP).fit(TABLE, Y),
    "rows left out of a formula": lambda: nbs.fit_formula(
        "y ~ a + c", TABLE.assign(y=Y.astype(str)), table=DROP, l2=0.1
    ),
    "a penalty": lambda: nbs.inference(nbs.Trainer(l2=1e-12, tol=1e-12).fit(X, Y).model, X, Y),
    "unknown levels": lambda: nbs.Trainer(l2=0.1).fit(TABLE.fillna(0), Y).model.predict(TABLE.assign(a=1.0, c="w")),
    "many levels": lambda: nbs.Trainer(l2=0.1).fit(pd.DataFrame({"c": np.arange(60).astype(str)}), Y),
    "numbers as text": lambda: nbs.Trainer(l2=0.1).fit(pd.DataFrame({"c": ["1", "2,5"] * 30}), Y),
    "scikit-learn in between": lambda: cross_val_score(nbs.SoftmaxRegression(max_iter=1, tol=1e-12), X, Y, cv=2),
    "a class in no training part": lambda: nbs.SoftmaxRegressionCV(Cs=2, cv=KFold(3)).fit(X, np.arange(60) // 20),
}


@pytest.mark.filterwarnings("always")
@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS)
def test_the_line_is_the_caller_s(call):
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()
    assert found and {each.filename for each in found} == {__file__}


class Everything:
    def __contains__(self, name):
        return True


def test_without_a_caller_outside_the_package_the_outermost_line_is_named(monkeypatch):
    monkeypatch.setattr("nbsoftmax.errors.PASSED", Everything())
    with pytest.warns(RuntimeWarning, match="text") as found:
        warn("text", RuntimeWarning)
    assert found[0].filename != __file__
