"""Fits to tables of any columns: equal to fits to the matrix; models that hold the encoding, in files and in ONNX."""

import warnings

import numpy as np
import onnxruntime
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.preprocessing import OneHotEncoder

import nbsoftmax as nbs
from nbsoftmax.encoding import learned

N = 120
RNG = np.random.default_rng(0)
FRAME = pd.DataFrame(
    {
        "mass": RNG.normal(size=N),
        "island": RNG.choice(["Biscoe", "Dream", "T[x]", "Åland"], N),
        "wild": RNG.random(N) < 0.5,
    }
)
Y = np.where(FRAME["mass"] + RNG.normal(size=N) > 0.5, "b", np.where(RNG.random(N) < 0.4, "a", "c"))
HOLED = FRAME.assign(
    mass=FRAME["mass"].where(RNG.random(N) < 0.9), island=FRAME["island"].where(RNG.random(N) < 0.9, None)
)
TABLES = {"pandas": FRAME, "polars": pl.from_pandas(FRAME), "arrow": pa.Table.from_pandas(FRAME)}


def trainer(**table):
    return nbs.Trainer(l2=0.01, table=nbs.TableOptions(**table))


@pytest.mark.parametrize("library", TABLES)
def test_a_fit_to_a_table_is_the_fit_to_the_design_matrix(library):
    encoder = ColumnTransformer([("c", OneHotEncoder(), ["island"])], remainder="passthrough", sparse_threshold=0)
    X = encoder.fit_transform(FRAME).astype(float)[:, [4, 0, 1, 2, 3, 5]]
    levels = [FRAME["island"] == x for x in sorted(set(FRAME["island"]))]
    assert np.array_equal(X, np.column_stack([FRAME["mass"], *levels, FRAME["wild"]]))
    model = nbs.Trainer(l2=0.01).fit(TABLES[library], Y).model
    expected = nbs.Trainer(l2=0.01).fit(X, Y).model
    assert np.array_equal(model.coef, expected.coef)
    assert model.feature_names == ("mass", "island[Biscoe]", "island[Dream]", "island[T[x]]", "island[Åland]", "wild")
    for table in TABLES.values():
        assert np.array_equal(model.predict_proba(table), expected.predict_proba(X))
    assert model.score(TABLES[library], Y) == expected.score(X, Y)
    assert np.array_equal(model.predict_proba(X), expected.predict_proba(X))  # the matrix itself is taken too


def test_a_table_of_numbers_gives_the_same_bits_and_file_as_an_array(tmp_path):
    numbers = FRAME[["mass", "wild"]]
    model = nbs.Trainer(l2=0.01).fit(numbers, Y).model
    assert model.encoding is None
    assert np.array_equal(model.coef, nbs.Trainer(l2=0.01).fit(numbers.to_numpy(float), Y).model.coef)
    model.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as file:
        assert "encoding" not in file
        assert str(file["format"]) == "nbsoftmax model 1"


@pytest.mark.parametrize("options", [{}, {"missing": "mean", "indicators": True}, {"drop_first": True}])
def test_a_saved_model_predicts_the_same_from_the_table(tmp_path, options):
    table = HOLED if options.get("missing") else FRAME
    model = trainer(**options).fit(table, Y).model
    model.save(tmp_path / "m.npz")
    again = nbs.SoftmaxModel.load(tmp_path / "m.npz")
    assert again.encoding == model.encoding
    assert np.array_equal(again.predict_proba(table), model.predict_proba(table))
    with np.load(tmp_path / "m.npz", allow_pickle=False) as file:
        assert str(file["format"]) == "nbsoftmax model 2"  # older versions refuse it


def test_unknown_levels_give_zeros_and_one_warning_that_counts_them():
    model = nbs.Trainer(l2=0.01).fit(FRAME, Y).model
    new = FRAME.assign(island=["Skye", "Mull", *FRAME["island"][2:]])
    with pytest.warns(nbs.UnknownLevelsWarning) as caught:
        proba = model.predict_proba(new)
    assert len(caught) == 1
    assert "'island' in 2 rows ('Mull', 'Skye')" in str(caught[0].message)
    X = learned(FRAME, nbs.TableOptions()).encode(FRAME).X
    X[:2, 1:5] = 0
    assert np.array_equal(proba, model.predict_proba(X))


def test_the_order_of_columns_does_not_matter_and_missing_ones_are_named():
    model = nbs.Trainer(l2=0.01).fit(FRAME, Y).model
    assert np.array_equal(model.predict(FRAME[["wild", "island", "mass"]].assign(z=0)), model.predict(FRAME))
    with pytest.raises(nbs.InputValueError, match="lacks the columns 'mass', 'wild'"):
        model.predict(FRAME[["island"]])


def test_missing_values_are_imputed_also_in_columns_that_had_none():
    model = trainer(missing="mean").fit(FRAME, Y).model
    new = FRAME.head(3).assign(mass=np.nan)
    filled = FRAME.head(3).assign(mass=model.encoding.of("mass").mean)
    assert np.array_equal(model.predict_proba(new), model.predict_proba(filled))
    assert model.encoding.of("mass").mean == pytest.approx(FRAME["mass"].mean(), rel=1e-14)


def test_dropped_rows_take_their_targets_weights_and_offsets_with_them():
    whole = HOLED.notna().all(axis=1).to_numpy()
    weight, offset = RNG.random(N), RNG.normal(size=(N, 3))
    given = {"sample_weight": weight, "offset": offset}
    with pytest.warns(UserWarning, match="19 of 120 rows"):
        model = trainer(missing="drop").fit(HOLED, pd.Series(Y), **given).model
    kept = {name: array[whole] for name, array in given.items()}
    assert np.array_equal(model.coef, trainer().fit(HOLED[whole], Y[whole], **kept).model.coef)
    with pytest.raises(nbs.InputValueError, match="a missing value in column"):
        model.predict(HOLED)
    with pytest.raises(nbs.InputValueError, match="every row of X has a missing value"):
        trainer(missing="drop").fit(pd.DataFrame({"a": [1.0, None], "b": [None, "x"]}), [0, 1])


def test_validation_data_folds_and_paths_use_the_encoding_of_the_fit():
    result = trainer().fit(FRAME, Y, validation_data=(FRAME[["wild", "mass", "island"]], Y))
    expected = -np.log(result.model.predict_proba(FRAME)[np.arange(N), np.searchsorted(result.model.classes, Y)]).mean()
    assert result.history["validation_loss"][-1] == pytest.approx(expected, rel=1e-9)
    cross_validated = nbs.cross_validate(FRAME, Y, Cs=[0.1, 1.0], folds=3)
    assert cross_validated.result.model.encoding.columns == ("mass", "island", "wild")
    path = nbs.fit_path(HOLED, Y, l2s=[0.1], table=nbs.TableOptions(missing="mean"))
    assert path.results[0].model.encoding.missing == "mean"


def test_inference_needs_the_first_levels_left_out_and_says_so():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        result = nbs.Trainer().fit(FRAME, Y)
        with pytest.raises(nbs.InputValueError, match=r"island\[Biscoe\].*collinear.*drop_first=True"):
            result.inference()
    table = nbs.Trainer(table=nbs.TableOptions(drop_first=True)).fit(FRAME, Y).inference()
    X = np.column_stack([FRAME["mass"], *(FRAME["island"] == x for x in ("Dream", "T[x]", "Åland")), FRAME["wild"]])
    expected = nbs.Trainer().fit(X, Y).inference()
    assert np.allclose(table.covariance, expected.covariance, rtol=1e-6)
    assert table.names[1] == "island[Dream]"
    table.marginal_effects(FRAME.head(5))


def test_calibrated_models_and_checkpoints_keep_the_encoding(tmp_path):
    from nbsoftmax.callbacks import ModelCheckpoint

    path = tmp_path / "best.npz"
    model = nbs.Trainer(l2=0.01, callbacks=[ModelCheckpoint(path)]).fit(FRAME, Y).model
    assert nbs.SoftmaxModel.load(path).encoding == model.encoding
    assert nbs.calibrate(model, FRAME, Y).encoding == model.encoding


def test_an_encoding_that_does_not_fit_its_model_is_refused():
    encoding = learned(FRAME, nbs.TableOptions())
    with pytest.raises(nbs.InputValueError, match="feature_names is"):
        nbs.SoftmaxModel(np.zeros((2, 6)), [0, 0], ["a", "b"], list("abcdef"), encoding=encoding)
    with pytest.raises(nbs.InputTypeError, match="table is 'mean', expected a TableOptions"):
        nbs.Trainer(table="mean")
    with pytest.raises(nbs.InputTypeError, match="is for tables of pandas, polars or Arrow, but X is an ndarray"):
        trainer(missing="mean").fit(np.eye(4), [0, 1, 0, 1])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{"missing": "mean", "indicators": True}, {"missing": "mean", "drop_first": True}])
def test_onnx_takes_the_columns_of_the_table(tmp_path, dtype, options):
    model = trainer(**options).fit(HOLED, Y).model
    model.to_onnx(tmp_path / "m.onnx", dtype=dtype)
    new = HOLED.assign(island=["Skye", *HOLED["island"][1:]])
    inputs = {
        "mass": new["mass"].to_numpy(dtype)[:, None],
        "island": new["island"].fillna("").to_numpy(object)[:, None],
        "wild": new["wild"].to_numpy(dtype)[:, None],
    }
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    label, proba = session.run(["label", "proba"], inputs)
    with pytest.warns(nbs.UnknownLevelsWarning):
        expected = model.predict_proba(new)
    # Logits are sums of about ten terms of about 1.
    assert np.abs(proba - expected).max() <= 64 * np.finfo(dtype).eps
    assert np.array_equal(np.asarray(label), model.classes[proba.argmax(axis=1)])


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"x": ["", "b", None, "b"], "y": list("abab")}, "'x' has the level \"\", which stands for a missing value"),
        ({"born": pd.to_datetime(["2020-01-01", "2020-02-03"] * 2), "x": list("abab")}, "'born' holds dates"),
        ({"logits": [1.0, 2.0, 3.0, 4.0], "x": list("abab")}, "'logits' has a name that the graph uses"),
    ],
)
def test_onnx_refuses_what_it_cannot_express(tmp_path, table, message):
    model = trainer(dates="parts", missing="mean").fit(pd.DataFrame(table), [0, 1, 1, 0]).model
    with pytest.raises(nbs.InputValueError, match=message):
        model.to_onnx(tmp_path / "m.onnx")
    assert not (tmp_path / "m.onnx").exists()
