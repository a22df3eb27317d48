"""Encodings: the same for all libraries, equal to scikit-learn's encoders, and unchanged by a file of JSON."""

import datetime
import json
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.compose import ColumnTransformer
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import OneHotEncoder

import nbsoftmax as nbs
from nbsoftmax.encoding import Learner, columns_of, encoding_for, encoding_of, learned
from tests.encoding.frames import columns, dense, in_every_library

ALL = nbs.TableOptions(missing="mean", indicators=True, dates="parts")


@given(columns(), st.booleans(), st.booleans())
def test_pandas_polars_and_arrow_give_the_same_encoding_and_matrix(table, indicators, drop_first):
    options = nbs.TableOptions(missing="mean", indicators=indicators, dates="parts", drop_first=drop_first)
    found = [(encoding := learned(frame, options), encoding.encode(frame)) for frame in in_every_library(table)]
    for encoding, encoded in found:
        assert encoding == found[0][0]
        assert not encoded.unknown
        assert np.array_equal(dense(encoded.X), dense(found[0][1].X))
    (encoding, encoded), *_ = found
    assert encoding_of(json.loads(json.dumps(encoding.to_dict()))) == encoding
    assert len(encoding.names) == dense(encoded.X).shape[1]
    reordered = {name: table[name] for name in reversed(table)} | {"another": [1] * len(next(iter(table.values())))}
    for frame in in_every_library(reordered):
        assert np.array_equal(dense(encoding.encode(frame).X), dense(encoded.X))


@given(columns(kinds=("number", "text")))
def test_levels_and_means_are_those_of_scikit_learn(table):
    frame = pd.DataFrame(table)
    texts = [name for name in table if any(isinstance(x, str) for x in table[name])]
    for name in texts:
        frame[name] = frame[name].astype(object).where(frame[name].notna(), None)
    encoders = [
        (name, OneHotEncoder(categories=[sorted({x for x in table[name] if x})], handle_unknown="ignore"), [name])
        if name in texts
        else (name, SimpleImputer(), [name])
        for name in table
    ]
    expected = ColumnTransformer(encoders, sparse_threshold=0).fit_transform(frame)
    encoding = learned(frame, nbs.TableOptions(missing="mean"))
    assert np.allclose(dense(encoding.encode(frame).X), expected.astype(float), rtol=1e-12, atol=1e-300)


@given(columns())
def test_rows_with_missing_values_are_dropped_or_the_first_one_is_named(table):
    with_none = np.array([any(x is None for x in row) for row in zip(*table.values(), strict=True)])
    for frame in in_every_library(table):
        if with_none.all():
            with pytest.raises(nbs.InputValueError, match="every row of X has a missing value"):
                learned(frame, nbs.TableOptions(missing="drop", dates="parts"))
            continue
        encoding = learned(frame, nbs.TableOptions(missing="drop", dates="parts"))
        encoded = encoding.encode(frame, drop=True)
        kept = np.ones(len(with_none), bool) if encoded.kept is None else encoded.kept
        assert np.array_equal(kept, ~with_none)
        assert encoded.X.shape[0] == kept.sum()
        if with_none.any():
            with pytest.raises(nbs.InputValueError, match="a missing value"):
                encoding.encode(frame)
            with pytest.raises(nbs.InputValueError, match="a missing value in column"):
                learned(frame, nbs.TableOptions(dates="parts"))


def test_the_features_of_each_kind_of_column():
    days = [datetime.date(2024, 5, 31), None, datetime.date(1969, 12, 1)]
    table = {
        "n": [1.0, 3.0, None],
        "flag": [True, False, True],
        "text": ["b", "a", None],
        "said": ["True", "false", "TRUE"],
        "born": days,
        "iso": ["2024-05-31", "1969-12-01T10:30", None],
    }
    for frame in in_every_library(table):
        encoding = learned(frame, ALL)
        assert encoding.names == (
            *("n", "missing(n)", "flag", "text[a]", "text[b]", "missing(text)", "said"),
            *("born[year]", "born[month]", "born[day]", "missing(born)"),
            *("iso[year]", "iso[month]", "iso[day]", "missing(iso)"),
        )
        expected = [
            [1, 0, 1, 0, 1, 0, 1, 2024, 5, 31, 0, 2024, 5, 31, 0],
            [3, 0, 0, 1, 0, 0, 0, 1996.5, 8.5, 16, 1, 1969, 12, 1, 0],
            [2, 1, 1, 0, 0, 1, 1, 1969, 12, 1, 0, 1996.5, 8.5, 16, 1],
        ]
        assert np.array_equal(encoding.encode(frame).X, expected)


def test_declared_orders_are_kept_and_other_levels_are_sorted_numbers_by_value():
    frame = pd.DataFrame({"cyl": [10, 4, 6, 4], "size": list("SMLS")})
    frame["size"] = pd.Categorical(frame["size"], ["S", "M", "L", "XL"], ordered=True)
    options = nbs.TableOptions(categorical=["cyl"], drop_first=True)
    for table in (
        frame,
        pl.from_pandas(frame).cast({"size": pl.Enum(["S", "M", "L", "XL"])}),
        pa.Table.from_pandas(frame),
    ):
        encoding = learned(table, options)
        assert encoding.names == ("cyl[6]", "cyl[10]", "size[M]", "size[L]")
        assert np.array_equal(encoding.encode(table).X, [[0, 1, 0, 0], [0, 0, 1, 0], [1, 0, 0, 1], [0, 0, 0, 0]])


LETTERS = ["S", "M", "XL", "L"]


@pytest.mark.parametrize(
    ("table", "levels"),
    [
        (pd.DataFrame({"x": pd.Categorical([*"MLSM"], LETTERS)}), "SML"),
        (pd.DataFrame({"x": pd.Categorical([*"MLSM"], LETTERS, ordered=True)}), "SML"),
        (pd.DataFrame({"x": pd.Categorical([3, 1, 2], [3, 2, 1])}), "321"),
        (pd.DataFrame({"x": pd.Series([*"MLSM"]).astype("category")}), "LMS"),  # pandas sorts them
        (pd.DataFrame({"x": pd.Series([*"MLSM"])}), "LMS"),
        (pl.DataFrame({"x": pl.Series([*"MLSM"], dtype=pl.Enum(LETTERS))}), "SML"),
        (pl.DataFrame({"x": pl.Series([*"MLSM"], dtype=pl.Categorical)}), "LMS"),
        (pa.table({"x": pa.array([*"MLSM"]).dictionary_encode()}), "LMS"),
        (pa.table({"x": pa.DictionaryArray.from_arrays([1, 3, 0], LETTERS)}), "LMS"),
        (pa.table({"x": pa.DictionaryArray.from_arrays([1, 3, 0], LETTERS, ordered=True)}), "SML"),
    ],
)
def test_levels_have_the_order_that_their_column_declares(table, levels):
    assert learned(table, nbs.TableOptions()).names == tuple(f"x[{level}]" for level in levels)
    first_dropped = learned(table, nbs.TableOptions(drop_first=True))
    assert first_dropped.names == tuple(f"x[{level}]" for level in levels[1:])
    assert first_dropped.parts[0].reference == levels[0]
    assert learned(table, nbs.TableOptions(categorical=["x"])).names == tuple(f"x[{level}]" for level in levels)


def test_categories_that_are_all_truth_values_are_one_feature_unless_they_are_ordered():
    for categories in ([True, False], ["true", "false"]):
        truth = pd.Categorical(categories, categories)
        assert learned(pd.DataFrame({"x": truth}), nbs.TableOptions()).names == ("x",)
        assert len(learned(pd.DataFrame({"x": truth.as_ordered()}), nbs.TableOptions()).names) == 2


@pytest.mark.parametrize("values", [[4, 6], [4.0, 6.0], ["4", "6"], ["4.0", " 6"], pd.Categorical([4, 6])])
def test_a_level_is_found_however_a_table_writes_its_number(values):
    encoding = learned(pd.DataFrame({"cyl": ["4", "6", "8"]}), nbs.TableOptions())
    found = encoding.encode(pd.DataFrame({"cyl": values}))
    assert not found.unknown
    assert np.array_equal(found.X, [[1, 0, 0], [0, 1, 0]])


def test_many_levels_become_a_sparse_array_and_few_a_dense_one():
    many = pd.DataFrame({"word": [f"w{i}" for i in range(100_000)], "n": 1.0})
    with pytest.warns(UserWarning, match="'word' has 100000 levels in 100000 rows"):
        encoding = learned(many, nbs.TableOptions())
    X = encoding.encode(many).X
    assert X.format == "csr"
    assert X.shape == (100_000, 100_001)
    assert X.nnz == 200_000
    few = pd.DataFrame({"word": ["a", "b", "c"], "n": 1.0})
    assert isinstance(learned(few, nbs.TableOptions()).encode(few).X, np.ndarray)


@given(columns(missing=False, kinds=("number", "boolean")), st.integers(1, 40))
def test_a_sparse_array_and_a_dense_one_have_the_same_numbers(table, n_levels):
    n = len(next(iter(table.values())))
    frame = pd.DataFrame(table | {"code": [f"c{i % n_levels}" for i in range(n)], "id": [f"i{i}" for i in range(n)]})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        encoding = learned(frame, nbs.TableOptions())
    assert np.array_equal(dense(encoding.encode(frame).X), encoding.encode(frame, dense=True).X)


def test_a_table_of_numbers_has_no_encoding_unless_an_option_asks_for_one():
    frame = pd.DataFrame({"a": [1.0, 2.0], "b": [True, False]})
    for table in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
        assert encoding_for(table, nbs.TableOptions()) is None
        assert encoding_for(table, nbs.TableOptions(missing="mean")).names == ("a", "b")
    assert encoding_for(np.eye(2), nbs.TableOptions()) is None


REFUSED = {
    "durations": ({"t": pd.to_timedelta([1, 2], "D")}, {}, "timedelta.*'t'"),
    "several types": ({"t": pd.Series(["x", 1.5], dtype=object)}, {}, "several types float, str in column 't'"),
    "lists": ({"t": [[1], [2]]}, {}, "type list in column 't'"),
    "complex": ({"t": [1j, 2j]}, {}, "complex128 in column 't'"),
    "dates": ({"t": pd.to_datetime(["2020-01-01"] * 2)}, {}, "dates in column 't'.*--dates parts"),
    "dates as text": ({"t": ["2020-01-01", "2020-01-02"]}, {}, "dates in column 't'"),
    "infinity": ({"t": [1.0, np.inf], "x": ["a", "b"]}, {}, "inf in column 't' at row 1"),
    "no value": ({"t": [None, None], "x": ["a", "b"]}, {"missing": "mean"}, "no values in column 't'"),
    "no value, all rows dropped": ({"n": [1, 2], "t": [None, None]}, {"missing": "drop"}, "no values in column 't'"),
    "an unknown column": ({"t": ["a", "b"]}, {"categorical": ["u"]}, "categorical names 'u', but the columns.*'t'"),
    "one name twice": ({"t": ["a]", "b"], "t[b]": [1.0, 2.0]}, {}, r"two features.*'t\[b\]'; rename"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_encoded_is_refused_by_name(what):
    table, options, message = REFUSED[what]
    with pytest.raises(nbs.InputError, match=message):
        learned(pd.DataFrame(table), nbs.TableOptions(**options))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"missing": "zero"}, "missing is 'zero', expected"),
        ({"dates": "days"}, "dates is 'days', expected"),
        ({"categorical": "cyl"}, "categorical is 'cyl', expected a list"),
        ({"indicators": 1}, "indicators is 1, expected True or False"),
    ],
)
def test_options_are_checked(options, message):
    with pytest.raises(nbs.InputError, match=message):
        nbs.TableOptions(**options)


def test_values_of_another_kind_than_in_the_training_are_refused():
    encoding = learned(pd.DataFrame({"n": [1.0, 2.0], "t": ["a", "b"]}), nbs.TableOptions())
    with pytest.raises(nbs.InputValueError, match=r"'two' in column 'n' at row 1.*expected a number"):
        encoding.encode(pd.DataFrame({"n": ["1", "two"], "t": ["a", "b"]}))
    with pytest.raises(nbs.InputTypeError, match="dates in column 'n', expected a number"):
        encoding.encode(pd.DataFrame({"n": pd.to_datetime(["2020-01-01"] * 2), "t": ["a", "b"]}))
    with pytest.raises(nbs.InputValueError, match="lacks the columns 'n', 't' that the model was trained on"):
        encoding.encode(pd.DataFrame({"m": [1]}))


@pytest.mark.parametrize("values", [["01", "1", "10"], ["1.5", "2.5", "1.5"]])
def test_text_that_looks_like_numbers_stays_text_in_typed_tables(values):
    for frame in in_every_library({"zip": values}):
        assert learned(frame, nbs.TableOptions()).of("zip").levels == tuple(
            sorted(set(values), key=lambda text: (float(text), text))
        )


def test_a_column_without_rows_or_without_a_type_is_refused():
    with pytest.raises(nbs.InputValueError, match="X has no rows"):
        learned(pd.DataFrame({"a": ["x"]}).head(0), nbs.TableOptions())
    for frame in in_every_library({"a": [None, None], "b": ["x", "y"]}):
        with pytest.raises(nbs.InputValueError, match="no values in column 'a'"):
            learned(frame, nbs.TableOptions())


def test_whole_numbers_beyond_2_to_the_53_are_no_levels():
    frame = pd.DataFrame({"id": [2**60, 2**60 + 1]})
    with pytest.raises(nbs.InputTypeError, match=r"numbers of 2\^53 or more in column 'id'"):
        learned(frame, nbs.TableOptions(categorical=["id"]))


@pytest.mark.parametrize(
    "stored",
    [{"kind": "formula"}, {"kind": "columns", "missing": "mean", "columns": [{"kind": "number", "name": 1}]}, {}],
)
def test_a_file_with_an_encoding_that_is_not_known_is_refused_in_one_line(tmp_path, stored):
    frame = pd.DataFrame({"a": ["x", "y"]})
    nbs.Trainer(l2=1.0).fit(frame, [0, 1]).model.save(tmp_path / "m.npz")
    with np.load(tmp_path / "m.npz") as file:
        arrays = dict(file)
    np.savez(tmp_path / "m.npz", **arrays | {"encoding": np.asarray(json.dumps(stored))})
    with pytest.raises(nbs.InputValueError, match="is not a model, or a damaged one"):
        nbs.SoftmaxModel.load(tmp_path / "m.npz")


TRUTH = {
    "text": {"f": ["True", "False", "True"]},
    "booleans": {"f": [True, False, True]},
    "categories": {"f": pd.Categorical([True, False, True])},
    "pandas' booleans": {"f": pd.array([True, False, True], "boolean")},
    "objects": {"f": np.array([True, False, True], object)},
    "integers": {"f": [1, 0, 1]},
    "floats": {"f": [1.0, 0.0, 1.0]},
}
DAYS = {
    "text": {"f": ["2024-01-01", "2024-01-02", "2024-01-01"]},
    "dates": {"f": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01"])},
    "categories": {"f": pd.Categorical(pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01"]))},
    "text with a time": {"f": ["2024-01-01 00:00:00", "2024-01-02 00:00:00", "2024-01-01 00:00:00"]},
}


@pytest.mark.parametrize("tables", [TRUTH, DAYS], ids=["truth values", "days"])
def test_levels_match_whatever_the_type_of_the_column(tables):
    options = nbs.TableOptions(categorical=["f"])
    for of_fit in tables.values():
        encoding = learned(pd.DataFrame(of_fit), options)
        for name, values in tables.items():
            found = encoding.encode(pd.DataFrame(values))
            assert not found.unknown, (of_fit, name)
            assert found.X.argmax(axis=1).tolist() in ([1, 0, 1], [0, 1, 0])


def test_batches_may_have_truth_values_of_other_types():
    parts = [pd.DataFrame(TRUTH[name]) for name in ("booleans", "integers", "text")]
    for order in (parts, parts[::-1], parts[1:] + parts[:1]):
        learner = Learner(nbs.TableOptions(categorical=["f"]))
        for part in order:
            learner.add(columns_of(part))
        assert learner.encoding().names == ("f[False]", "f[True]")
    model = nbs.fit_formula(
        "y ~ C(f, Treatment(1))", pd.DataFrame({"f": [True, False] * 20, "y": list("abba") * 10}), l2=0.1
    )
    assert model.model.feature_names == ("C(f, Treatment(1))[T.False]",)


def test_models_whose_levels_of_truth_values_are_0_and_1_match():
    old = learned(pd.DataFrame({"f": ["1", "0"]}), nbs.TableOptions(categorical=["f"]))
    assert old.encode(pd.DataFrame(TRUTH["booleans"])).X.tolist() == [[0, 1], [1, 0], [0, 1]]


@pytest.mark.parametrize("names", [5, None, "age", [1]])
def test_categorical_must_be_names(names):
    with pytest.raises(nbs.InputTypeError, match=r"categorical is .*, expected a list of names"):
        nbs.TableOptions(categorical=names)


def test_categorical_may_be_a_generator():
    assert nbs.TableOptions(categorical=(name for name in "ab")).categorical == ("a", "b")


def test_what_no_column_can_hold_is_refused():
    for values, message in (([10**400, 1], "more than 308 digits"), (["\ud800", "b"], "not valid Unicode")):
        with pytest.raises(nbs.InputValueError, match=message):
            nbs.Trainer(l2=1.0).fit(pd.DataFrame({"k": pd.Series(values, dtype=object)}), [0, 1])
    with pytest.raises(nbs.InputValueError, match="not valid Unicode"):
        nbs.Trainer(l2=1.0).fit(
            pd.DataFrame({"k": pd.Categorical.from_codes([0, 1], pd.Index(["\ud800", "b"], dtype=object))}), [0, 1]
        )
    with pytest.raises(nbs.InputValueError, match="l2 is inf, expected a finite number"):
        nbs.Trainer(l2=10**400)
