"""`missing="drop"`: labels, weights and offsets of dropped rows are not read; errors name the rows that were given."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import nbsoftmax as nbs
from nbsoftmax.encoding import Learner, columns_of, learned

M = 60
RNG = np.random.default_rng(0)
X = pd.DataFrame({"a": RNG.normal(size=M), "c": RNG.choice(["u", "v"], M)})
X.loc[[3, 7], "a"] = np.nan
KEPT = X["a"].notna().to_numpy()
LABELS = np.array(["x", "y", "z"], object)[RNG.integers(0, 3, M)]
OFFSET = RNG.normal(size=(M, 3))
DROP = nbs.TableOptions(missing="drop")
SOURCE = [(X, LABELS)]


@pytest.fixture(autouse=True)
def no_warning_of_dropped_rows():
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "2 of 60 rows have missing values")
        yield


def encoding():
    return nbs.data.from_batches([(X,)], table=DROP).encoding


def trainer(**options):
    return nbs.Trainer(l2=0.1, table=DROP, **options)


def in_memory(y, *beside):
    return trainer().fit(X, y, **dict(zip(("sample_weight", "offset"), beside, strict=False))).model


def validated(y, *beside):
    return trainer().fit(X, LABELS, validation_data=(X, y, *beside)).history["validation_loss"][-1]


def in_batches(y, *beside):
    return nbs.Trainer(l2=0.1).fit(nbs.data.from_batches([(X, y, *beside)], table=DROP)).model


def validated_of_batches(y, *beside):
    source = nbs.data.from_batches(SOURCE, table=DROP)
    return nbs.Trainer(l2=0.1).fit(source, validation_data=(X, y, *beside)).history["validation_loss"][-1]


def streamed(y, *beside):
    given = dict(zip(("sample_weight", "offset"), beside, strict=False))
    return nbs.Trainer(solver="sgd", table=encoding()).partial_fit(X, y, classes=["x", "y", "z"], **given)


def missing_at_3(values):
    return [None if i == 3 else value for i, value in enumerate(values)]


HOLED = missing_at_3(LABELS)
FORMS = {
    "list": HOLED,
    "objects": np.array(HOLED, object),
    "Series": pd.Series(HOLED, index=np.arange(M)[::-1]),
    "category": pd.Series(HOLED, dtype="category"),
    "pandas' strings": pd.Series(HOLED, dtype="string"),
    "pandas' array": pd.array(HOLED, dtype="string"),
    "a table": pd.DataFrame({"y": HOLED}),
    "polars": pl.Series(HOLED),
    "a table of polars": pl.DataFrame({"y": HOLED}),
    "Arrow": pa.array(HOLED),
    "chunks of Arrow": pa.chunked_array([HOLED[:5], HOLED[5:]]),
    "a table of Arrow": pa.table({"y": HOLED}),
}
FITS = [in_memory, validated, in_batches, validated_of_batches, streamed]


def same(a, b):
    a, b = (found.coef if isinstance(found, nbs.SoftmaxModel) else found for found in (a, b))
    np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("form", FORMS)
def test_labels_may_be_missing_in_rows_that_are_dropped(fit, form):
    same(fit(FORMS[form]), fit(LABELS))


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize("form", [np.array, pd.Series, pl.Series, pa.array])
def test_weights_and_offsets_may_be_missing_in_rows_that_are_dropped(fit, form):
    weight, holed = np.ones(M), OFFSET.copy()
    given = form([np.nan if value is None else value for value in missing_at_3(weight)])
    if form is pa.array:
        given = pa.array(missing_at_3(weight))
    if form is pd.Series:
        given = given.astype("Float64")
    holed[3] = np.nan
    same(fit(LABELS, given, holed), fit(LABELS, weight, OFFSET))


def changed(array, value):
    array = array.astype(object) if isinstance(value, (str, type(None))) else array.copy()
    array[9] = value
    return array


WEIGHT = np.ones(M)
WRONG = {
    "a missing label": ((changed(LABELS, None),), "None at row 9"),
    "a missing label of pandas": ((pd.Series(changed(LABELS, None), dtype="string"),), "missing value at row 9"),
    "a number among texts": ((changed(LABELS, 5.5),), "at row 9"),
    "a negative weight": ((LABELS, changed(WEIGHT, -1.0)), r"sample_weight\[9\] is -1"),
    "an infinite offset": ((LABELS, WEIGHT, changed(OFFSET, np.inf)), "inf at row 9, column 0"),
}


@pytest.mark.parametrize("fit", [in_memory, validated, validated_of_batches, streamed])
@pytest.mark.parametrize("case", WRONG)
def test_errors_name_rows_of_the_table_with_the_rows_that_are_dropped(fit, case):
    given, message = WRONG[case]
    with pytest.raises(nbs.InputError, match=message):
        fit(*given)


@pytest.mark.parametrize("table", [pd.DataFrame, pl.from_pandas, pa.Table.from_pandas])
def test_batches_of_tables_name_rows_among_all_rows(table):
    labels = pd.Series(changed(LABELS, None), dtype="string")
    whole = X.assign(y=labels, w=WEIGHT)
    batches = [table(whole[low:high].reset_index(drop=True)) for low, high in ((0, 5), (5, M))]
    source = nbs.data.from_batches(batches, target="y", weight="w", table=DROP)
    with pytest.raises(nbs.InputError, match="at row 9"):
        nbs.Trainer(l2=0.1).fit(source)
    source = nbs.data.from_batches([(X, LABELS, changed(WEIGHT, -1.0))], table=DROP)
    with pytest.raises(nbs.InputError, match=r"dropped rows are not counted\): sample_weight\[7\]"):
        nbs.Trainer(l2=0.1).fit(source)


def test_names_of_columns_count_also_where_rows_are_dropped():
    named = pd.DataFrame(OFFSET, columns=["x", "y", "z"])
    same(in_memory(LABELS, None, named), in_memory(LABELS, None, OFFSET))
    with pytest.raises(nbs.InputValueError, match="put the columns in this order"):
        in_memory(LABELS, None, named[["z", "x", "y"]])
    possible = pd.DataFrame({label: label == LABELS for label in ("x", "y", "z")})
    possible.iloc[5] = True
    assert in_memory(possible).classes.tolist() == ["x", "y", "z"]


@pytest.mark.parametrize("fit", FITS)
@pytest.mark.parametrize(
    ("y", "message"),
    [
        ([np.nan if i == 5 else value for i, value in enumerate(LABELS)], r"y contains nan at row [45].*: a missing"),
        ([1 if i == 5 else value for i, value in enumerate(LABELS)], r"labels of several kinds.*\(1 at row [45]\)"),
        ("x", "y is 'x', expected an array or a list"),
    ],
)
def test_bad_labels_in_a_list_are_refused_as_without_dropped_rows(fit, y, message):
    with pytest.raises((nbs.InputValueError, nbs.InputTypeError), match=message):
        fit(y)


@pytest.mark.parametrize("weight", [2.0, np.array(2.0)])
def test_one_number_for_all_rows_is_refused(weight):
    for given in ({"sample_weight": weight}, {"offset": weight}):
        with pytest.raises(nbs.InputValueError, match="has 1 entry, but X has 60 rows"):
            trainer().fit(X, LABELS, **given)
    with pytest.raises(nbs.InputValueError, match=r"offset has shape \(\), expected \(4, 2\)"):
        nbs.Trainer(l2=0.1).fit(np.eye(4), [0, 1, 0, 1], offset=weight)


def test_dropped_rows_decide_nothing():
    holed = pd.DataFrame({
        "g": ["a", "b", "c", "b", "c", "b"],
        "f": ["unknown", "True", "False", "True", "False", "True"],
        "d": ["soon", *["2024-01-01"] * 3, *["2024-01-02"] * 2],
        "i": [np.inf, 1, 2, 3, 4, 5],
        "x": [np.nan, 1, 2, 3, 4, 5],
    })  # fmt: skip
    options = nbs.TableOptions(missing="drop", drop_first=True, dates="parts")
    expected = learned(holed[1:], options)
    for parts in ([holed], [holed[:1], holed[1:]], [holed[:3], holed[3:]]):
        learner = Learner(options)
        for part in parts:
            learner.add(columns_of(part))
        assert learner.encoding() == expected
        assert learner.n_dropped == 1
    found = expected.encode(holed, drop=True)
    assert found.kept.tolist() == [False, True, True, True, True, True]
    assert np.array_equal(found.X, expected.encode(holed[1:]).X)
    wrong = holed.assign(i=[1, 1, 2, 3, np.inf, 5])
    for encode in (lambda: learned(wrong, options), lambda: expected.encode(wrong, drop=True)):
        with pytest.raises(nbs.InputValueError, match="inf in column 'i' at row 4"):
            encode()


def test_texts_that_are_nan_are_dropped_beside_missing_numbers():
    numbers = pd.DataFrame({"x": np.arange(8.0), "z": np.arange(8.0) ** 2})
    encoding = learned(numbers, DROP)
    texts = numbers.assign(x=[f"{x}" for x in numbers["x"]])
    texts.loc[3, "x"], texts.loc[5, "z"] = "nan", np.nan
    found = encoding.encode(texts, drop=True)
    assert np.flatnonzero(~found.kept).tolist() == [3, 5]
    np.testing.assert_array_equal(found.X, numbers.drop([3, 5]))
