"""Batches of tables with any columns: the encoding and the fit of the whole table in memory."""

import warnings
from itertools import chain, pairwise

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from scipy.sparse import csr_array

import nbsoftmax as nbs
from tests.encoding.test_streams import FRAME, OPTIONS

CUTS = [0, 0, 1, 120, 120, 290, 300]  # the first batch is empty
X, Y = FRAME.drop(columns="species"), FRAME["species"]


def slices(frame):
    return [frame[low:high] for low, high in pairwise(CUTS)]


def tuples():
    yield from zip(slices(X), slices(Y), strict=True)


class DataIter:
    """As users of XGBoost write them."""

    def next(self, input_data):
        found = next(self.batches, None)
        if found is not None:
            input_data(data=found[0], label=found[1])
        return int(found is not None)

    def reset(self):
        self.batches = tuples()


ARROW = pa.Table.from_pandas(FRAME, preserve_index=False)
GIVEN = {
    "pandas": (slices(FRAME), {"target": "species"}),
    "polars": (slices(pl.from_pandas(FRAME)), {"target": "species"}),
    "tables of Arrow": (slices(ARROW), {"target": "species"}),
    "record batches": (lambda: iter(ARROW.to_batches(70)), {"target": "species"}),
    "a reader": (lambda: ARROW.to_reader(70), {"target": "species"}),
    "tuples": (tuples, {}),
    "a DataIter": (DataIter(), {}),
}


@pytest.mark.parametrize("of", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas, pa.RecordBatch.from_pandas])
def test_the_feature_names_of_a_data_iter_are_the_names_of_the_columns(of):
    names = [f"new_{name}" for name in X.columns]

    class Named(DataIter):
        feature_names = names

        def next(self, input_data):
            def given(data, label):
                input_data(data=of(data), label=label, feature_names=self.feature_names)

            return super().next(given)

    source = nbs.data.from_batches(Named(), table=OPTIONS["mean"])
    assert source.encoding.columns == tuple(names)
    renamed = X.set_axis(names, axis=1)
    model, expected = TRAINER.fit(source).model, fitted_in_memory(renamed, Y, OPTIONS["mean"])
    assert model.feature_names == expected.feature_names
    np.testing.assert_array_equal(model.predict(renamed), expected.predict(renamed))
    Named.feature_names = names[:-1]
    with pytest.raises(nbs.InputValueError, match=f"{len(names) - 1} feature_names, but data has {len(names)} columns"):
        nbs.data.from_batches(Named(), table=OPTIONS["mean"])


TRAINER = nbs.Trainer(l2=0.01, tol=1e-12)
# Both fits are within tol of the minimum of an objective whose curvature is at least l2.
BOUND = 2 * np.sqrt(2 * TRAINER.tol / TRAINER.l2)


def fitted(given, **options):
    return TRAINER.fit(nbs.data.from_batches(given, **options)).model


def fitted_in_memory(table, labels, options):
    return nbs.Trainer(l2=TRAINER.l2, tol=TRAINER.tol, table=options).fit(table, labels).model


@pytest.mark.parametrize("missing", OPTIONS)
@pytest.mark.parametrize("case", GIVEN)
@pytest.mark.filterwarnings("ignore:.*rows have missing values and are left out")
def test_batches_are_encoded_as_the_table_in_memory(case, missing, tmp_path):
    given, columns = GIVEN[case]
    expected = fitted_in_memory(X, Y, OPTIONS[missing])
    model = fitted(given, table=OPTIONS[missing], **columns)
    assert model.encoding == expected.encoding
    assert model.feature_names == expected.feature_names
    np.testing.assert_allclose(model.coef, expected.coef, rtol=0, atol=BOUND)
    np.testing.assert_array_equal(model.coef, fitted([FRAME], target="species", table=OPTIONS[missing]).coef)
    model.save(tmp_path / "model.npz")
    loaded = nbs.SoftmaxModel.load(tmp_path / "model.npz")
    whole = X[X.notna().all(axis=1)] if missing == "drop" else X
    np.testing.assert_array_equal(loaded.predict(whole), expected.predict(whole))
    again = nbs.data.from_batches(given, table=loaded.encoding, **columns)
    if missing == "drop":  # there would be no prediction for some rows
        with pytest.raises(nbs.InputValueError, match="missing value"):
            loaded.predict(again)
    else:
        np.testing.assert_array_equal(loaded.predict(again), loaded.predict(whole))


def test_levels_that_are_unknown_are_zeros_and_counted_once():
    model = fitted(slices(FRAME.replace({"island": {"Skye": "Dream"}})), target="species", table=OPTIONS["mean"])
    source = nbs.data.from_batches(slices(X), table=model.encoding)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = model.predict_proba(source)
    (message,) = [str(one.message) for one in caught if issubclass(one.category, nbs.UnknownLevelsWarning)]
    assert f"'island' in {(FRAME['island'] == 'Skye').sum()} rows ('Skye')" in message
    with pytest.warns(nbs.UnknownLevelsWarning):
        np.testing.assert_allclose(found, model.predict_proba(X), rtol=1e-12)


@pytest.mark.filterwarnings("ignore:.*rows have missing values and are left out")
@pytest.mark.parametrize("missing", OPTIONS)
def test_a_stream_applies_an_encoding_that_is_given(missing):
    encoding = nbs.data.from_batches(slices(FRAME), target="species", table=OPTIONS[missing]).encoding
    stream = nbs.Trainer(solver="sgd", l2=0.01, table=encoding, random_state=0)
    by_matrix = nbs.Trainer(solver="sgd", l2=0.01, random_state=0)
    for rows in (slice(0, 200), slice(200, 300)):
        found = encoding.encode(X[rows], drop=True)
        kept = np.ones(len(X[rows]), bool) if found.kept is None else found.kept
        model = stream.partial_fit(X[rows], Y[rows], classes=["a", "b", "c"])
        expected = by_matrix.partial_fit(found.X, Y[rows][kept], classes=["a", "b", "c"])
        np.testing.assert_array_equal(model.coef, expected.coef)
    assert model.encoding == encoding
    whole = X.dropna()
    np.testing.assert_array_equal(model.predict(whole), expected.predict(encoding.encode(whole).X))
    with pytest.raises(nbs.InputTypeError, match="give a table"):
        stream.partial_fit(found.X, Y[rows][kept])


def test_a_stream_does_not_learn_an_encoding_and_says_what_to_do():
    with pytest.raises(nbs.InputTypeError, match=r"column 'island'.*Trainer\(table=encoding\) applies one"):
        nbs.Trainer(solver="sgd").partial_fit(X[["island"]], Y, classes=["a", "b", "c"])
    for options in (OPTIONS["mean"], nbs.TableOptions(categorical=["mass"])):  # with which numbers are encoded too
        stream = nbs.Trainer(solver="sgd", table=options)
        with pytest.raises(
            nbs.InputValueError, match=r"table is TableOptions\(.*Trainer\(table=encoding\) applies one"
        ):
            stream.partial_fit(X[["mass"]], Y, classes=["a", "b", "c"])


def test_rows_that_are_all_dropped_are_refused():
    frame = pd.DataFrame({"x": [1.0, np.nan] * 6, "v": [None, "a"] * 6, "y": LABELS})
    with pytest.raises(nbs.InputValueError, match="every row of X has a missing value"):
        nbs.data.from_batches([frame], target="y", table=OPTIONS["drop"])


N = np.tile(np.arange(6.0), 2)
LABELS = np.array(["a", "b"] * 6)
# Batches whose columns have other types than the column of the whole table, and the whole table.
ODD = {
    "a level only in the last batch": ([["x", "y"] * 3, ["x", "y", "z"] * 2], ["x", "y"] * 3 + ["x", "y", "z"] * 2),
    "numbers that are all missing in a batch": ([[None] * 6, N[:6]], [None] * 6 + N[:6].tolist()),
    "texts that are all missing in a batch": ([["x", "y"] * 3, [None] * 6], ["x", "y"] * 3 + [None] * 6),
    "dates that are all missing in a batch": (
        [pd.date_range("2024-01-01", periods=6), [None] * 6],
        [*pd.date_range("2024-01-01", periods=6), *[None] * 6],
    ),
    "whole numbers that become floats": ([[1, 2, 3] * 2, [1, None, 3] * 2], [1, 2, 3] * 2 + [1, None, 3] * 2),
    "booleans with missing values": (
        [[True, False] * 3, [True, None, False] * 2],
        [True, False] * 3 + [True, None, False] * 2,
    ),
    "categories that differ": (
        [pd.Categorical(["c", "b"] * 3), pd.Categorical(["a", "c"] * 3)],
        ["c", "b"] * 3 + ["a", "c"] * 3,
    ),
    "text and categories": ([pd.Categorical(["c", "b"] * 3), ["a", "c"] * 3], ["c", "b"] * 3 + ["a", "c"] * 3),
}


@pytest.mark.parametrize("case", ODD)
def test_batches_of_other_types_are_right(case):
    parts, whole = ODD[case]
    frames = [pd.DataFrame({"v": part, "n": N[:6], "y": LABELS[:6]}) for part in parts]
    table = pd.DataFrame({"v": whole, "n": N})
    options = nbs.TableOptions(missing="mean", indicators=True, dates="parts")
    expected = fitted_in_memory(table, LABELS, options)
    for given in (frames, [pa.Table.from_pandas(frame, preserve_index=False) for frame in frames]):
        model = fitted(given, target="y", table=options)
        assert model.encoding == expected.encoding
        np.testing.assert_allclose(model.coef, expected.coef, rtol=0, atol=BOUND)


def test_codes_are_levels_whether_a_batch_has_missing_ones_or_not():
    frames = [pd.DataFrame({"v": v, "y": ["a", "b", "a"]}) for v in ([1, 2, 10], [2, None, 10], [None] * 3)]
    options = nbs.TableOptions(missing="mean", categorical=["v"])
    assert fitted(frames, target="y", table=options).feature_names == ("v[1]", "v[2]", "v[10]")


def test_dictionaries_of_arrow_may_differ():
    texts = [["x", "y", "x"], ["z", "x", None], ["w", "z", "z"]]
    parts = [pa.table({"v": pa.array(text).dictionary_encode(), "y": ["a", "b", "a"]}) for text in texts]
    options = nbs.TableOptions(missing="mean")
    expected = fitted([pd.DataFrame({"v": [*chain(*texts)], "y": ["a", "b", "a"] * 3})], target="y", table=options)
    for given in (parts, pa.concat_tables(parts)):
        model = fitted(given, target="y", table=options)
        assert model.encoding == expected.encoding
        np.testing.assert_array_equal(model.coef, expected.coef)


def test_batches_of_numbers_need_no_encoding():
    frames = [pd.DataFrame({"n": N[:6].astype(np.float32), "y": LABELS[:6]})]
    source = nbs.data.from_batches(frames, target="y", table=nbs.TableOptions())
    assert source.encoding is None
    assert next(source.blocks()).X.dtype == np.float32
    assert nbs.data.from_batches([(N[:, None], LABELS)], table=nbs.TableOptions()).encoding is None


def test_labels_and_weights_of_tuples_are_those_of_the_rows_that_are_kept():
    table = pd.DataFrame({"v": ["x", None, "z", "x"]})
    given = [(table, [0, 1, 2, 3], [1.0, 2.0, 3.0, 4.0], np.arange(8.0).reshape(4, 2))]
    with pytest.warns(UserWarning, match="1 of 4 rows have missing values"):
        source = nbs.data.from_batches(given, table=nbs.TableOptions(missing="drop"))
    (block,) = source.blocks()
    assert block.y.tolist() == [0, 2, 3]
    assert block.sample_weight.tolist() == [1, 3, 4]
    assert block.offset[:, 0].tolist() == [0, 4, 6]


TEXT = pd.DataFrame({"v": ["x", "z"], "y": ["a", "b"]})
OPTION = nbs.TableOptions()
BAD = {
    "no batches": ([], {}, "the batches have no rows"),
    "only empty batches": ([TEXT[:0]], {}, "the batches have no rows"),
    "a column of another type": ([TEXT, TEXT.assign(v=[1, 2])], {}, "a category and a number in column 'v'"),
    "another column": ([TEXT, TEXT.rename(columns={"v": "w"})], {}, "columns 'w', but batches before had 'v'"),
    "a missing value": ([TEXT, TEXT.assign(v=["x", None])], {}, "a missing value in column 'v' at row 3 "),
    "only missing values": ([TEXT.assign(v=None)], {}, "no values in column 'v'"),
    "missing values in one batch": ([TEXT, TEXT.assign(v=None)], {}, "a missing value in column 'v' at row 2 "),
    "lists": ([TEXT.assign(v=[[1], [2]])], {}, "type list in column 'v'"),
    "an array after a table": ([(TEXT[["v"]], [0, 1]), (N[:2, None], [0, 1])], {"target": None}, "a batch is an nd"),
    "options for arrays": (
        [(N[:, None], LABELS)],
        {"target": None, "table": nbs.TableOptions(missing="mean")},
        "a batch is an ndarray",
    ),
    "an encoding of arrays": (
        [(N[:, None], LABELS)],
        {"target": None, "table": nbs.Trainer(l2=1).fit(TEXT[["v"]], TEXT["y"]).model.encoding},
        "X of a batch is an ndarray",
    ),
    "not options": ([TEXT], {"table": {"missing": "mean"}}, "expected a TableOptions"),
    "labels of another length": (
        [(pd.DataFrame({"v": ["x", None]}), [0])],
        {"target": None, "table": nbs.TableOptions(missing="drop")},
        "y has 1 entry, but X has 2 rows",
    ),
}


@pytest.mark.parametrize("case", BAD)
@pytest.mark.filterwarnings("ignore:.*rows have missing values and are left out")
def test_bad_batches_are_named(case):
    given, options, message = BAD[case]
    with pytest.raises((nbs.InputTypeError, nbs.InputValueError), match=message):
        list(nbs.data.from_batches(given, **{"target": "y", "table": OPTION, **options}).blocks())


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (["0", "True", "1", "False"], ["c"]),
        (["True", "0.0", "1.0", "true"], ["c"]),
        ([0, True, 1, False], ["c"]),
        (["True", "0", "2", "1"], ["c[0]", "c[1]", "c[2]", "c[True]"]),
        (["0", "1", "0", "1"], ["c[0]", "c[1]"]),
    ],
)
@pytest.mark.parametrize("n", [1, 3, 8])
def test_truth_values_beside_numbers_are_one_thing_in_memory_in_batches_and_in_files(tmp_path, values, names, n):
    frame = pd.DataFrame({"c": pd.Series(values * 5, dtype=object), "y": ["p", "q", "q", "p", "q"] * 4})
    table, options = frame[["c"]], nbs.TableOptions()
    memory = nbs.Trainer(l2=0.1, table=options).fit(table, frame["y"]).model
    batches = [frame[low : low + n] for low in range(0, len(frame), n)]
    source = nbs.data.from_batches(lambda: iter(batches), target="y", table=options)
    expected, block = memory.encoding.encode(table, dense=True).X, next(iter(source.blocks()))
    assert memory.feature_names == tuple(names) == source.feature_names
    assert np.array_equal(csr_array(block.X).toarray(), expected)
    if names == ["c"]:
        frame.to_csv(tmp_path / "t.csv", index=False)
        text = nbs.data.open(tmp_path / "t.csv", target="y", table=nbs.TableOptions(indicators=False))
        assert np.array_equal(next(iter(text.blocks())).X, expected)


def test_levels_0_and_1_stay_if_only_one_batch_has_truth_values_alone():
    batches = [pd.DataFrame({"c": values, "y": ["p", "q"]}) for values in (["0", "1"], ["True", "False"], ["x", "0"])]
    source = nbs.data.from_batches(lambda: iter(batches), target="y", table=nbs.TableOptions())
    assert source.encoding.names == tuple(f"c[{level}]" for level in ["0", "1", "False", "True", "x"])
