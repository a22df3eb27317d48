"""Fits with `missing="drop"` say how many rows they leave out, and statistics leave out the same rows."""

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import nbsoftmax as nbs

M = 200
RNG = np.random.default_rng(0)
X = pd.DataFrame({"a": RNG.normal(size=M), "b": RNG.normal(size=M), "g": RNG.choice(list("uvw"), M)})
Y = np.where(X["a"] + RNG.normal(size=M) > 0, "high", np.where(RNG.normal(size=M) > 0, "low", "mid"))
X.loc[:6, "a"] = np.nan
X.loc[20:22, "g"] = None
KEPT = X.notna().all(axis=1).to_numpy()
LEFT_OUT = "10 of 200 rows have missing values and are left out"
WEIGHT = RNG.integers(1, 4, M).astype(float)
GROUPS = np.arange(M) // 5
DROP = nbs.TableOptions(missing="drop", drop_first=True)
TABLES = [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas]


@pytest.fixture(scope="module")
def model():
    return nbs.Trainer(table=DROP).fit(X[KEPT], Y[KEPT], sample_weight=WEIGHT[KEPT]).model


def same(one, other):
    names = ("effects", "std_errors") if hasattr(one, "effects") else ("params", "standard_errors")
    for name in names:
        np.testing.assert_allclose(getattr(one, name), getattr(other, name), rtol=1e-12)


@pytest.mark.parametrize("table", TABLES)
def test_a_fit_says_how_many_rows_it_leaves_out(table):
    with pytest.warns(UserWarning, match=LEFT_OUT) as caught:
        nbs.Trainer(table=DROP).fit(table(X), Y)
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "fit",
    [
        lambda: nbs.fit_path(X, Y, Cs=[1.0, 10.0], table=DROP),
        lambda: nbs.cross_validate(X, Y, Cs=[1.0, 10.0], folds=3, table=DROP),
        lambda: nbs.fit_formula("y ~ a + b + C(g)", X.assign(y=Y), table=nbs.TableOptions(missing="drop")),
    ],
    ids=["path", "cross-validation", "formula"],
)
def test_several_fits_say_it_once(fit):
    with pytest.warns(UserWarning, match=LEFT_OUT) as caught:
        fit()
    assert len(caught) == 1


def test_nothing_is_said_of_complete_rows(model):
    nbs.Trainer(table=DROP).fit(X[KEPT], Y[KEPT])  # warnings are errors here
    nbs.inference(model, X[KEPT], Y[KEPT], sample_weight=WEIGHT[KEPT])


@pytest.mark.parametrize("table", TABLES)
def test_inference_leaves_out_the_rows_that_the_fit_left_out(model, table):
    with pytest.warns(UserWarning, match=LEFT_OUT):
        found = nbs.inference(model, table(X), Y, sample_weight=WEIGHT, cov="cluster", groups=GROUPS)
    apart = nbs.inference(model, X[KEPT], Y[KEPT], sample_weight=WEIGHT[KEPT], cov="cluster", groups=GROUPS[KEPT])
    same(found, apart)


def test_a_model_of_a_file_leaves_them_out_too(model, tmp_path):
    model.save(tmp_path / "model.npz")
    with pytest.warns(UserWarning, match=LEFT_OUT):
        found = nbs.inference(nbs.SoftmaxModel.load(tmp_path / "model.npz"), X, Y, sample_weight=WEIGHT)
    same(found, nbs.inference(model, X[KEPT], Y[KEPT], sample_weight=WEIGHT[KEPT]))


@pytest.mark.parametrize("table", TABLES)
def test_so_do_marginal_effects_at_the_rows_of_a_table(model, table):
    inference = nbs.inference(model, X[KEPT], Y[KEPT], sample_weight=WEIGHT[KEPT])
    with pytest.warns(UserWarning, match=LEFT_OUT):
        found = inference.marginal_effects(table(X), sample_weight=WEIGHT)
    same(found, inference.marginal_effects(X[KEPT], sample_weight=WEIGHT[KEPT]))


def test_and_effects_of_columns_of_a_formula():
    data = X.assign(y=Y)
    result = nbs.fit_formula("y ~ a * b + C(g)", data[KEPT], table=nbs.TableOptions(missing="drop"))
    with pytest.warns(UserWarning, match=LEFT_OUT):
        found = result.marginal_effects(data, columns=True)
    same(found, result.marginal_effects(data[KEPT], columns=True))


def test_a_model_that_refuses_missing_values_still_does():
    model = nbs.Trainer(table=nbs.TableOptions(drop_first=True)).fit(X[KEPT], Y[KEPT]).model
    with pytest.raises(nbs.InputValueError, match="a missing value in column 'a' at row 0"):
        nbs.inference(model, X, Y)


def test_predictions_refuse_them(model):
    with pytest.raises(nbs.InputValueError, match="drop the row"):
        model.predict(X)


def test_arrays_beside_the_table_have_its_number_of_rows(model):
    with pytest.raises(nbs.InputValueError, match="groups has 190 entries, but X has 200 rows"):
        nbs.inference(model, X, Y, cov="cluster", groups=GROUPS[KEPT])


def test_a_column_without_values_is_named():
    with pytest.raises(nbs.InputValueError, match="X has no values in column 'a'; leave the column out"):
        nbs.Trainer(table=DROP).fit(X.assign(a=np.nan), Y)
    holes = pd.DataFrame({"a": [1.0, np.nan], "b": [np.nan, 1.0]})
    with pytest.raises(nbs.InputValueError, match="every row of X has a missing value"):
        nbs.Trainer(table=DROP).fit(holes, ["u", "v"])


def test_inference_with_no_complete_row_says_so(model):
    with pytest.raises(nbs.InputValueError, match="every row of X has a missing value"):
        nbs.inference(model, X[:7], Y[:7])


@pytest.mark.filterwarnings(f"ignore:{LEFT_OUT}")
def test_errors_name_rows_of_the_table_that_was_given(model):
    labels = Y.astype(object)
    labels[30] = None
    with pytest.raises(nbs.InputValueError, match="None at row 30"):
        nbs.inference(model, X, labels)
    inference = nbs.inference(model, X[KEPT], Y[KEPT], sample_weight=WEIGHT[KEPT])
    with pytest.raises(nbs.InputValueError, match=r"sample_weight\[30\] is -1"):
        inference.marginal_effects(X, sample_weight=np.where(np.arange(M) == 30, -1.0, 1.0))


def test_errors_about_a_table_at_which_effects_are_evaluated_name_it(model):
    found, table = nbs.inference(model, X[KEPT], Y[KEPT], sample_weight=WEIGHT[KEPT]), X[KEPT]
    texts = table.assign(a="x")
    twice = pd.concat([table, table["a"]], axis=1)
    wrong = [
        (texts, "^at has 'x' in column 'a' at row 0 "),
        (table[["a", "b"]], "^at lacks the column 'g'"),
        (twice, "^at has several columns named 'a'"),
        (table.assign(a=1j), "^at has dtype complex128 in column 'a'"),
    ]
    for other, message in wrong:
        with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=message):
            found.marginal_effects(other)
