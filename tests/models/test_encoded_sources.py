"""Predictions for sources of tables: every row has one, and the encoding is that of the training."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

import nbsoftmax as nbs

RNG = np.random.default_rng(0)
FRAME = pd.DataFrame({"a": RNG.normal(size=90), "b": RNG.normal(size=90), "g": RNG.choice(["u", "v"], 90)})
FRAME["y"] = np.where(FRAME.a + RNG.normal(size=90) > 0, "p", "q")
MISSING = FRAME.assign(b=FRAME.b.where(np.arange(90) != 40))
FORMATS = ["csv", "parquet", "batches"]


def source(frame, kind, folder, **options):
    """A source of the rows of a frame, in blocks of 25."""
    options = {"target": "y", "batch_rows": 25, **options}
    if kind == "batches":
        return nbs.data.from_batches([frame[:60], frame[60:]], **options)
    path = folder / f"{len(list(folder.iterdir()))}.{kind}"
    if kind == "csv":
        frame.to_csv(path, index=False)
    else:
        frame.to_parquet(path, index=False)
    return nbs.data.open(path, **options)


def fits(kind, folder, missing):
    """A model and an estimator."""
    rows = source(MISSING, kind, folder, table=nbs.TableOptions(missing=missing))
    return nbs.Trainer(l2=0.1).fit(rows).model, nbs.SoftmaxRegression().fit(rows)


@pytest.mark.filterwarnings("ignore:1 of 90 rows")
@pytest.mark.parametrize("kind", FORMATS)
def test_a_row_that_a_fit_leaves_out_is_refused_in_a_prediction(kind, tmp_path):
    for fitted in fits(kind, tmp_path, "drop"):
        encoding = getattr(fitted, "model_", fitted).encoding
        new = source(MISSING, kind, tmp_path, table=encoding)
        for method in (fitted.predict, fitted.predict_proba, fitted.decision_function):
            with pytest.raises(nbs.InputValueError, match=r"missing value.*'b'"):
                method(new)
        whole = source(FRAME, kind, tmp_path, table=encoding)
        expected = getattr(fitted, "model_", fitted).predict_proba(FRAME)
        np.testing.assert_array_equal(fitted.predict_proba(whole), expected)
        assert fitted.score(whole) == (fitted.predict(whole) == FRAME.y).mean()
        complete = MISSING.b.notna()
        assert fitted.score(new) == (fitted.predict(whole) == FRAME.y)[complete].mean()
    assert nbs.Trainer(l2=0.1).fit(new).n_iter > 0  # the source itself still leaves the row out


def test_the_row_of_a_missing_value_is_named_in_its_file(tmp_path):
    path = tmp_path / "t.csv"
    MISSING.to_csv(path, index=False)
    with pytest.warns(UserWarning, match="1 of 90 rows"):
        rows = nbs.data.open(path, target="y", table=nbs.TableOptions(missing="drop"), batch_rows=25)
    model = nbs.Trainer(l2=0.1).fit(rows).model
    with pytest.raises(nbs.InputValueError, match=r"t\.csv line 42 has a missing value in column 'b'"):
        model.predict(rows)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_source_with_an_encoding_of_its_own_is_refused(kind, tmp_path):
    shifted = MISSING.assign(b=MISSING.b + 50)
    for fitted in fits(kind, tmp_path, "mean"):
        model = getattr(fitted, "model_", fitted)
        own = source(shifted, kind, tmp_path, table=nbs.TableOptions(missing="mean"))
        for method in (fitted.predict, fitted.score):
            with pytest.raises(nbs.InputValueError, match=r"open it with table=model\.encoding"):
                method(own)
        theirs = source(shifted, kind, tmp_path, table=model.encoding)
        np.testing.assert_array_equal(fitted.predict_proba(theirs), model.predict_proba(shifted))


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_the_day_of_a_date_with_a_zone_is_that_of_its_zone(kind, tmp_path):
    days = pd.date_range("2020-01-01 22:00", periods=90, freq="37h", tz="America/New_York")
    frame = pd.DataFrame({"t": days, "y": FRAME.y})
    options = nbs.TableOptions(dates="parts")
    model = nbs.Trainer(l2=0.01, table=options).fit(frame[["t"]], frame.y).model
    expected = model.predict_proba(frame[["t"]])
    np.testing.assert_array_equal(model.predict_proba(source(frame, kind, tmp_path, table=model.encoding)), expected)
    own = nbs.Trainer(l2=0.01).fit(source(frame, kind, tmp_path, table=options)).model
    assert own.encoding.to_dict() == model.encoding.to_dict()


def test_an_array_in_the_place_of_a_table_is_answered_with_the_columns():
    model = nbs.Trainer(l2=0.1, table=nbs.TableOptions()).fit(FRAME[["a", "b", "g"]], FRAME.y).model
    with pytest.raises(nbs.InputValueError, match="give the same features, or a table with the columns 'a', 'b', 'g'"):
        model.predict(np.zeros((2, 3)))


def test_the_index_of_pandas_is_no_feature_of_files_and_batches(tmp_path):
    frame = FRAME.rename_axis("id").sample(frac=1.0, random_state=0)
    table = pa.Table.from_pandas(frame)
    parquet.write_table(table, tmp_path / "t.parquet")
    parquet.write_table(table.select(["a", "b", "y", "id"]), tmp_path / "numbers.parquet")
    for path, options in (("t.parquet", {"table": nbs.TableOptions()}), ("numbers.parquet", {})):
        for opened in (
            nbs.data.open(tmp_path / path, target="y", **options),
            nbs.data.from_batches(parquet.read_table(tmp_path / path), target="y", **options),
        ):
            names = nbs.Trainer(l2=0.1).fit(opened).model.feature_names
            assert names[:2] == ("a", "b")
            assert "id" not in names
    chosen = nbs.data.open(tmp_path / "t.parquet", target="y", features=["a", "id"])
    assert nbs.Trainer(l2=0.1).fit(chosen).model.feature_names == ("a", "id")
