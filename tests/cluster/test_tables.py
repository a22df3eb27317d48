"""Dask DataFrames with columns of any kind: the encoding and the fit of the table in memory."""

import pickle
import warnings

import dask
import dask.array as da
import dask.dataframe as dd
import distributed
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

import nbsoftmax as nbs
from nbsoftmax.dask import DaskSoftmaxRegression
from tests.encoding.test_batches import BOUND, ODD, TRAINER, N
from tests.encoding.test_streams import FRAME, OPTIONS

pytestmark = pytest.mark.usefixtures("client")
COLUMNS = ["mass", "island", "born"]
X, Y = FRAME[COLUMNS], FRAME["species"]
WEIGHT = np.random.default_rng(3).uniform(0.5, 2.0, len(FRAME))
MEAN = OPTIONS["mean"]


def lazy(table=FRAME, n=4):
    return dd.from_pandas(table, npartitions=n, sort=False)


def of_parts(parts):
    """A DataFrame with these partitions. With pandas 2, Dask would turn columns of objects into text."""
    with dask.config.set({"dataframe.convert-string": False}):
        return dd.from_delayed([dask.delayed(part) for part in parts], meta=parts[0][:0], verify_meta=False)


def trainer(options):
    return nbs.Trainer(l2=TRAINER.l2, tol=TRAINER.tol, table=options)


@pytest.mark.parametrize("missing", OPTIONS)
@pytest.mark.filterwarnings("ignore:.*rows have missing values and are left out")
def test_a_fit_is_that_of_the_table_in_memory(missing, tmp_path):
    frame = lazy(FRAME.assign(weight=WEIGHT))
    result = trainer(OPTIONS[missing]).fit(frame[COLUMNS], frame["species"], sample_weight=frame["weight"])
    expected = trainer(OPTIONS[missing]).fit(X, Y, sample_weight=WEIGHT)
    assert result.model.encoding == expected.model.encoding
    assert result.problem.n_samples == expected.problem.n_samples
    assert result.model.feature_names == expected.model.feature_names
    np.testing.assert_allclose(result.model.coef, expected.model.coef, rtol=0, atol=BOUND)
    result.model.save(tmp_path / "model.npz")
    whole = X[X.notna().all(axis=1)] if missing == "drop" else X
    loaded = nbs.SoftmaxModel.load(tmp_path / "model.npz")
    np.testing.assert_array_equal(loaded.predict(whole), expected.model.predict(whole))


def test_the_bits_do_not_depend_on_the_number_of_workers(cluster):
    bits, frame, options = set(), lazy(n=7), {"n_workers": 1, "threads_per_worker": 2, "dashboard_address": ":0"}
    with distributed.LocalCluster(processes=False, **options) as one:
        for workers in (cluster, one):
            with distributed.Client(workers):
                model = nbs.Trainer(l2=0.01, table=MEAN).fit(frame[COLUMNS], frame["species"]).model
            bits.add((model.coef.tobytes(), str(model.encoding.to_dict())))
    assert len(bits) == 1


@pytest.mark.parametrize("case", ODD)
def test_partitions_of_other_types_are_right(case):
    parts, whole = ODD[case]
    frame = of_parts([pd.DataFrame({"v": part, "n": N[:6], "y": ["a", "b"] * 3}) for part in parts])
    options = nbs.TableOptions(missing="mean", indicators=True, dates="parts")
    expected = trainer(options).fit(pd.DataFrame({"v": whole, "n": N}), ["a", "b"] * 6).model
    model = trainer(options).fit(frame[["v", "n"]], frame["y"]).model
    assert model.encoding == expected.encoding
    np.testing.assert_allclose(model.coef, expected.coef, rtol=0, atol=BOUND)


def test_partitions_may_be_empty_before_and_after_rows_are_dropped():
    parts = [FRAME[:0], FRAME[:100], FRAME[100:150].assign(mass=np.nan), FRAME[150:]]
    frame = of_parts(parts)
    with pytest.warns(UserWarning, match="of 300 rows have missing values and are left out"):
        result = trainer(OPTIONS["drop"]).fit(frame[COLUMNS], frame["species"])
    kept = pd.concat(parts).dropna()
    assert result.problem.n_samples == len(kept)
    expected = trainer(OPTIONS["drop"]).fit(kept[COLUMNS], kept["species"]).model
    np.testing.assert_allclose(result.model.coef, expected.coef, rtol=0, atol=BOUND)


def test_many_levels_make_sparse_blocks():
    code = pd.Series(np.arange(300) % 60).map(lambda i: f"c{i:02}")
    frame = lazy(FRAME[["species"]].assign(code=code))
    model = nbs.Trainer(l2=0.01, tol=TRAINER.tol).fit(frame[["code"]], frame["species"]).model
    expected = nbs.Trainer(l2=0.01, tol=TRAINER.tol).fit(pd.DataFrame({"code": code}), Y).model
    assert model.encoding.sparse
    np.testing.assert_allclose(model.coef, expected.coef, rtol=0, atol=BOUND)


def messages(caught):
    return [str(one.message) for one in caught if issubclass(one.category, nbs.UnknownLevelsWarning)]


def test_validation_data_and_a_given_encoding_count_unknown_levels_once():
    known = FRAME.replace({"island": {"Skye": "Dream"}})
    n = int((FRAME["island"] == "Skye").sum())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        pair = lazy()[COLUMNS], lazy()["species"]
        result = trainer(MEAN).fit(lazy(known)[COLUMNS], lazy(known)["species"], validation_data=pair)
    (message,) = messages(caught)
    assert f"'island' in {n} rows ('Skye')" in message
    with pytest.warns(nbs.UnknownLevelsWarning):
        expected = trainer(MEAN).fit(known[COLUMNS], known["species"], validation_data=(X, Y))
    losses = [found.history["validation_loss"][-1] for found in (result, expected)]
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    with pytest.warns(nbs.UnknownLevelsWarning, match=f"in {n} rows"):
        again = trainer(result.model.encoding).fit(*pair)
    assert again.model.encoding is result.model.encoding


METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


@pytest.fixture(scope="module")
def fitted(cluster):
    with distributed.Client(cluster) as client:
        return DaskSoftmaxRegression(client, table=MEAN).fit(lazy()[COLUMNS], lazy()["species"])


@pytest.mark.parametrize("method", METHODS)
def test_predictions_of_tables_are_lazy_and_those_of_the_table_in_memory(fitted, method):
    found = getattr(fitted, method)(lazy()[["born", "species", "island", "mass"]])
    assert dask.is_dask_collection(found)
    computed = found.compute()
    np.testing.assert_array_equal(np.asarray(computed), getattr(fitted, method)(X))
    assert computed.index.equals(X.index)


def test_the_estimator_contains_the_encoding(fitted):
    expected = nbs.Trainer(table=MEAN).fit(X, Y).model.encoding
    assert fitted.encoding_ == fitted.model_.encoding == expected
    assert fitted.feature_names_in_.tolist() == COLUMNS
    assert fitted.n_features_in_ == 3
    assert fitted.coef_.shape == (3, len(expected.names))
    np.testing.assert_array_equal(fitted.model_.predict(X), fitted.predict(X))
    matrix = pd.DataFrame(expected.encode(X).X, columns=expected.names)
    np.testing.assert_array_equal(fitted.to_local().predict(matrix), fitted.predict(X))
    np.testing.assert_array_equal(fitted.to_local().model_.predict(X), fitted.predict(X))
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(fitted)).predict(X), fitted.predict(X))
    source = nbs.data.from_batches([X[:100], X[100:]], table=fitted.encoding_)
    np.testing.assert_array_equal(fitted.predict(source), fitted.predict(X))
    assert clone(fitted).table == MEAN
    assert fitted.score(lazy()[COLUMNS], lazy()["species"]) == pytest.approx(np.mean(fitted.predict(X) == Y))
    numbers = (
        clone(fitted)
        .set_params(client=None, table=None)
        .fit(lazy(pd.DataFrame({"n": N})), lazy(pd.Series(["a", "b"] * 6)))
    )
    assert numbers.encoding_ is None
    assert numbers.feature_names_in_.tolist() == ["n"]


def test_unknown_levels_of_lazy_predictions_are_zeros(fitted):
    other = X[:5].assign(island="Fair Isle")
    with dask.config.set(scheduler="synchronous"), pytest.warns(nbs.UnknownLevelsWarning, match="'Fair Isle'"):
        found = fitted.predict_proba(lazy(other, 1)).compute(scheduler="synchronous")
    with pytest.warns(nbs.UnknownLevelsWarning, match="in 5 rows"):
        np.testing.assert_array_equal(found, fitted.predict_proba(other))


def with_values(**columns):
    return lazy(FRAME.assign(**columns))


BAD = {
    "a missing value": (lambda: lazy()[["island"]], {}, r"in partition 0 .*a missing value in column 'island' at row"),
    "dates": (lambda: lazy()[["born"]], {}, "dates in column 'born'"),
    "only missing values": (lambda: with_values(mass=np.nan)[["mass"]], {"table": MEAN}, "no values in column 'mass'"),
    "infinity": (lambda: with_values(mass=np.inf)[["mass", "island"]], {"table": MEAN}, "in partition 0 .*inf in"),
    "durations": (lambda: with_values(mass=pd.Timedelta(1, "s"))[["mass"]], {}, "timedelta64.* in column 'mass'"),
    "two types": (
        lambda: of_parts([pd.DataFrame({"v": ["x"] * 150}), pd.DataFrame({"v": [1] * 150})]),
        {},
        "in partition 1 .*a category and a number in column 'v'",
    ),
    "nothing left": (
        lambda: lazy(pd.DataFrame({"x": [1.0, np.nan] * 150, "v": [None, "a"] * 150})),
        {"table": OPTIONS["drop"]},
        "every row of X has a missing value",
    ),
    "options for an array": (
        lambda: da.from_array(np.ones((300, 2)), chunks=(75, 2)),
        {"table": MEAN},
        "X is an Array; give a Dask DataFrame",
    ),
    "an unknown option": (lambda: lazy()[["born"]], {"table": nbs.TableOptions(categorical=["no"])}, "names 'no'"),
}


def test_other_inputs_are_checked_before_the_encoding_reads_all_rows():
    read = []
    table = lazy().map_partitions(lambda part: [read.append(len(part)), part][1], meta=FRAME)
    with dask.config.set(scheduler="threads"), pytest.raises(nbs.InputValueError, match="y is in memory"):
        nbs.Trainer().fit(table[COLUMNS], np.zeros(5))
    assert not read


@pytest.mark.parametrize("case", BAD)
def test_bad_tables_are_refused_with_advice(case):
    table, options, message = BAD[case]
    X_ = table()
    y = of_parts([Y[:150], Y[150:]]) if X_.npartitions == 2 else lazy()["species"]
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=message):
        nbs.Trainer(**options).fit(X_, y)


def test_predictions_refuse_other_tables_with_advice(fitted):
    with pytest.raises(nbs.InputValueError, match="lacks the column 'born'"):
        fitted.predict(lazy()[["mass", "island"]])
    with pytest.raises(nbs.InputTypeError, match="such a DataFrame"):
        fitted.predict(da.ones((4, 3), chunks=(2, 3)))
    with pytest.raises(nbs.InputTypeError, match="encode"):
        fitted.predict(np.ones((4, 3)))
