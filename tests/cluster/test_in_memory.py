"""Dask collections given to models and estimators that work in memory."""

import dask
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

import nbsoftmax as nbs
from nbsoftmax.errors import InputTypeError, InputValueError

rng = np.random.default_rng(4)
TABLE = pd.DataFrame(rng.normal(size=(60, 3)), columns=list("uvw"))
Y = rng.permutation(np.arange(60) % 3)


def lazy(table):
    return dd.from_pandas(table, npartitions=2)


def models():
    return nbs.Trainer(l2=0.1).fit(TABLE, Y).model, nbs.SoftmaxRegression().fit(TABLE, Y)


@pytest.mark.parametrize("i", [0, 1])
def test_a_dask_dataframe_is_computed_with_the_names_of_its_columns(i):
    model = models()[i]
    np.testing.assert_array_equal(model.predict_proba(lazy(TABLE)), model.predict_proba(TABLE))
    assert model.score(lazy(TABLE), Y) == model.score(TABLE, Y)
    for method in ("predict", "predict_proba", "decision_function"):
        with pytest.raises(ValueError, match=r"another order|same order"):
            getattr(model, method)(lazy(TABLE[["w", "v", "u"]]))


@pytest.mark.filterwarnings("ignore:1 of 60 rows have missing values")
@pytest.mark.parametrize("missing", ["error", "drop"])
def test_a_dask_dataframe_with_text_is_encoded_as_the_table_is(missing):
    table = TABLE.assign(t=np.array(["a", "b"])[np.arange(60) // 2 % 2])
    if missing == "drop":
        table.loc[7, "u"] = np.nan
    options = nbs.TableOptions(drop_first=True, missing=missing)
    model = nbs.Trainer(table=options).fit(table, Y).model
    kept = table.dropna()
    for method in ("predict", "predict_proba", "decision_function"):
        np.testing.assert_array_equal(getattr(model, method)(lazy(kept)), getattr(model, method)(kept))
    assert model.score(lazy(kept), Y[kept.index]) == model.score(kept, Y[kept.index])
    expected, found = nbs.inference(model, table, Y), nbs.inference(model, lazy(table), Y)
    np.testing.assert_array_equal(found.covariance, expected.covariance)
    effects, of_lazy = expected.marginal_effects(table), found.marginal_effects(lazy(table))
    np.testing.assert_array_equal(of_lazy.effects, effects.effects)
    np.testing.assert_array_equal(model.encoding.encode(lazy(kept)).X, model.encoding.encode(kept).X)
    with pytest.raises(InputTypeError, match="X is an ndarray, expected a table"):
        model.encoding.encode(kept.to_numpy())


@pytest.mark.parametrize("make", [nbs.SoftmaxRegression, nbs.SoftmaxRegressionCV])
def test_a_fit_to_a_dask_dataframe_knows_the_names(make):
    fitted = make().fit(lazy(TABLE), Y)
    assert list(fitted.feature_names_in_) == list("uvw")
    with pytest.raises(ValueError, match="same order"):
        fitted.predict(TABLE[["w", "v", "u"]])


def test_inference_of_a_dask_dataframe_refuses_another_order():
    with pytest.raises(InputValueError, match="another order"):
        nbs.inference(nbs.Trainer().fit(TABLE, Y).model, lazy(TABLE[["w", "v", "u"]]), Y)


@pytest.mark.parametrize(
    "call",
    [
        lambda X: models()[0].predict(X),  # noqa: PLW0108  no fit while tests are collected
        lambda X: models()[1].predict(X),  # noqa: PLW0108
        lambda X: nbs.SoftmaxRegression().fit(X, Y),
        lambda X: nbs.inference(models()[0], X, Y),
    ],
)
def test_delayed_values_are_refused(call):
    with pytest.raises(InputTypeError, match=r"^X is a Delayed of Dask, expected"):
        call(dask.delayed(TABLE.to_numpy()))


def test_delayed_values_are_refused_on_a_cluster(client):
    for y in (Y, dask.delayed(Y)):
        with pytest.raises(InputTypeError, match=r"^X is a Delayed of Dask, expected"):
            nbs.Trainer().fit(dask.delayed(TABLE.to_numpy()), y)
    with pytest.raises(InputTypeError, match=r"^y is a Delayed of Dask, expected"):
        nbs.Trainer().fit(lazy(TABLE), dask.delayed(Y))


def test_delayed_labels_are_refused_by_name():
    with pytest.raises(InputTypeError, match=r"^y is a Delayed of Dask, expected"):
        nbs.SoftmaxRegression().fit(TABLE, dask.delayed(Y))
