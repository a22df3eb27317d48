"""y with any number of ones in a row: the errors name what fits it, which works."""

import re

import numpy as np
import pandas as pd
import pytest
from sklearn.multioutput import MultiOutputClassifier

import nbsoftmax as nbs

X = np.random.default_rng(0).normal(size=(12, 2))
Y = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 0]] * 3)
FORMS = {
    "integers": Y,
    "8 bits": Y.astype(np.int8),
    "floats": Y.astype(float),
    "a list": Y.tolist(),
    "a table": pd.DataFrame(Y, columns=list("abc")),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("model", [nbs.Trainer(l2=1.0), nbs.SoftmaxRegression(), nbs.SoftmaxRegressionCV(Cs=[1.0])])
def test_the_error_names_what_fits_several_labels(model, form):
    with pytest.raises(nbs.InputValueError, match=re.escape("MultiOutputClassifier(nbs.SoftmaxRegression())")):
        model.fit(X, FORMS[form])


def test_what_the_error_names_fits_one_model_for_each_column():
    fitted = MultiOutputClassifier(nbs.SoftmaxRegression()).fit(X, Y)
    for column, estimator in zip(Y.T, fitted.estimators_, strict=True):
        assert np.array_equal(estimator.coef_, nbs.SoftmaxRegression().fit(X, column).coef_)


def test_rows_of_counts_are_advised_to_be_divided():
    with pytest.raises(nbs.InputValueError, match="divide each row by its sum"):
        nbs.Trainer(l2=1.0).fit(X, Y + 1)
