"""Tables beside X of Dask: columns that are named after the classes have the order of the classes."""

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs
from nbsoftmax.dask import DaskSoftmaxRegression
from nbsoftmax.errors import InputValueError
from tests.data.test_class_columns import NAMED, OFFSET, ORDER, PROBA, TRAINER, M, N, X, Y

pytestmark = pytest.mark.usefixtures("client")
LAZY = da.from_array(X, chunks=((150, 0, 250), N))
TABLE = pd.DataFrame(X, columns=["x0", "x1", "x2"])
MIXED = TABLE.assign(kind=np.where(X[:, 1] > 0, "p", "q"))


def lazy(table):
    return dd.from_pandas(table, npartitions=3, sort=False)


def rows(frame, offset):
    """X, y and the offset as columns of one Dask DataFrame."""
    together = lazy(pd.concat([frame, offset], axis=1).assign(y=Y))
    return together[list(frame.columns)], together["y"], together[list(offset.columns)]


FORMS = {
    "DataFrames": lambda offset: rows(TABLE, offset),
    "DataFrames with text": lambda offset: rows(MIXED, offset),
    "an offset in memory": lambda offset: (LAZY, Y, offset),
    "an Array and a DataFrame": lambda offset: (lazy(TABLE).to_dask_array(lengths=True), Y, lazy(offset)),
}


@pytest.mark.parametrize("form", FORMS)
def test_an_offset_whose_columns_are_the_classes_has_their_order(form):
    X, y, named = FORMS[form](NAMED)
    turned = named[["b", "a", "c"]]
    estimator = DaskSoftmaxRegression().fit(X, y, offset=named)
    trainer = nbs.Trainer(l2=0.01, table=nbs.TableOptions()) if "text" in form else TRAINER
    assert trainer.fit(X, y, offset=named).problem.has_offset
    estimator.score(X, y, offset=named)
    for use in (
        lambda: DaskSoftmaxRegression().fit(X, y, offset=turned),
        lambda: trainer.fit(X, y, offset=turned),
        lambda: trainer.fit(X, y, offset=named, validation_data=(X, y, None, turned)),
        lambda: estimator.score(X, y, offset=turned),
        lambda: estimator.predict_proba(X, offset=turned),
        lambda: estimator.predict(X, offset=turned),
    ):
        with pytest.raises(InputValueError, match=ORDER):
            use()


def test_columns_of_other_names_have_the_order_in_which_they_come():
    expected = DaskSoftmaxRegression().fit(LAZY, Y, offset=OFFSET)
    others = NAMED.set_axis(["o1", "o2", "o3"], axis=1)
    for offset in (NAMED, others):
        np.testing.assert_array_equal(DaskSoftmaxRegression().fit(LAZY, Y, offset=offset).coef_, expected.coef_)
        proba = expected.predict_proba(LAZY, offset=offset).compute()
        np.testing.assert_array_equal(proba, expected.predict_proba(LAZY, offset=OFFSET).compute())


@pytest.mark.parametrize("in_memory", [False, True])
def test_probabilities_have_the_order_of_the_classes(in_memory):
    X, table = (LAZY, lambda y: y) if in_memory else (lazy(TABLE), lazy)
    assert TRAINER.fit(X, table(PROBA)).problem.n_samples == M
    with pytest.raises(InputValueError, match=f"y has the columns '1', '0', '2'.*{ORDER}"):
        TRAINER.fit(X, table(PROBA[[1, 0, 2]]))
