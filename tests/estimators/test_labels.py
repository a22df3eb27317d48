"""Labels and class weights, masked values, and labels in messages."""

import enum
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.metrics import accuracy_score
from sklearn.utils.multiclass import check_classification_targets

import nbsoftmax as nbs
from nbsoftmax.estimators.labels import agreement, encoded
from tests.estimators.problems import problem


def test_class_weights_are_by_label_and_texts_of_numbers_are_no_numbers():
    X, _ = problem(3, m=90)
    y = np.array(["01", "1", "2"])[np.arange(90) % 3]
    weights = {"01": 2.0, "1": 3.0, "2": 0.5}
    by_label = nbs.SoftmaxRegression(class_weight=weights, tol=1e-12).fit(X, y)
    by_sample = nbs.SoftmaxRegression(tol=1e-12).fit(X, y, [weights[label] for label in y])
    np.testing.assert_allclose(by_label.coef_, by_sample.coef_, atol=1e-6)  # tol bounds the square of the distance
    for estimator in (nbs.SoftmaxRegression, nbs.SoftmaxRegressionCV):
        with pytest.raises(nbs.InputValueError, match="class_weight names 1, which is no label in y"):
            estimator(class_weight={1: 5.0}).fit(X, y)


def test_messages_name_labels_rather_than_their_indices():
    X, y = problem(3, m=60)
    y = np.where(y == "cedar", "owl", y)
    folds = [(np.flatnonzero(y != "owl"), np.arange(9)), (np.arange(60), np.arange(9))]
    with pytest.raises(nbs.InputValueError, match="class 'owl' has 20 samples, but none in the training part"):
        nbs.cross_validate(X, y, folds=folds)
    apart = np.column_stack([X, y == "owl"])
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes: 'owl'"):
        nbs.SoftmaxRegression(C=np.inf).fit(apart, y)
    with pytest.warns(nbs.ConvergenceWarning, match="separable classes: 'owl'"):
        nbs.cross_validate(apart, y, Cs=[np.inf], folds=2)
    with pytest.raises(nbs.InputValueError, match=r"one class only \('owl'\)"):
        nbs.SoftmaxRegression().fit(X, ["owl"] * 60)
    with pytest.raises(nbs.InputValueError, match="y contains 'owl', which is not in classes"):
        nbs.SoftmaxRegression().partial_fit(X, y, classes=["ash", "beech"])


ESTIMATORS = {"SoftmaxRegression": nbs.SoftmaxRegression(), "SoftmaxRegressionCV": nbs.SoftmaxRegressionCV([1.0], cv=2)}


def masked(a):
    result = np.ma.array(a)
    result[3] = np.ma.masked
    return result


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.parametrize("what", ["X", "y", "sample_weight"])
def test_masked_values_are_refused(estimator, what):
    X, y = problem(3, m=30)
    given = {"X": X, "y": y, "sample_weight": np.ones(len(y))}
    hidden = {**given, what: masked(given[what])}
    estimator = clone(estimator)
    with pytest.raises(nbs.InputValueError, match=f"{what} is a masked array"):
        estimator.fit(**hidden)
    estimator.fit(**given)
    with pytest.raises(nbs.InputValueError, match=f"{what} is a masked array"):
        estimator.score(**hidden)
    if what == "X":
        with pytest.raises(nbs.InputValueError, match="X is a masked array"):
            estimator.predict(hidden["X"])
    elif hasattr(estimator, "partial_fit"):
        with pytest.raises(nbs.InputValueError, match=f"{what} is a masked array"):
            estimator.partial_fit(**hidden)


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_labels_in_an_array_of_objects_are_read_as_the_trainer_reads_them(estimator):
    X, y = problem(3, m=30)
    estimator = clone(estimator)
    missing = y.astype(object)
    missing[3] = None
    mixed = y.astype(object)
    mixed[3] = 5
    for labels, message in ((missing, "None at row 3: a missing label"), (mixed, "labels of several kinds")):
        with pytest.raises(nbs.InputError, match=message):
            estimator.fit(X, labels)
        with pytest.raises(nbs.InputError, match=message):
            clone(estimator).fit(X, y).score(X, labels)
    numbers = np.arange(30) % 3
    floats = np.array(numbers.astype(float).tolist(), object)
    assert np.array_equal(estimator.fit(X, floats).coef_, clone(estimator).fit(X, numbers).coef_)


@pytest.mark.skipif(not hasattr(np.dtypes, "StringDType"), reason="StringDType is NumPy 2's")
@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
def test_labels_of_any_length_are_read_as_text(estimator):
    X, y = problem(3, m=30)
    estimator = clone(estimator)
    of_any_length = y.astype(np.dtypes.StringDType())
    assert estimator.fit(X, of_any_length).classes_.tolist() == ["ash", "beech", "cedar"]
    assert estimator.score(X, of_any_length) == estimator.score(X, y)


@pytest.mark.parametrize("estimator", ESTIMATORS.values(), ids=ESTIMATORS)
@pytest.mark.parametrize("dtype", [np.int8, np.int64, np.uint8, bool, float])
@pytest.mark.parametrize("form", ["objects", "a column of objects", "a column that may be missing"])
def test_labels_that_are_numbers_come_back_as_numbers_of_their_kind(estimator, dtype, form):
    X, _ = problem(2, m=30)
    y = (np.arange(30) % 2).astype(dtype)
    if form == "a column that may be missing":
        if dtype is float:
            pytest.skip("floats are labels only if they are whole numbers")
        given = pd.Series(y).convert_dtypes()
    else:
        given = y.astype(object) if form == "objects" else pd.Series(y, dtype=object)
    fitted = clone(estimator).fit(X, given)
    assert fitted.classes_.dtype.kind == np.dtype(dtype).kind.replace("u", fitted.classes_.dtype.kind)
    assert fitted.classes_.tolist() == [0, 1]
    assert fitted.score(X, given) == pytest.approx(clone(estimator).fit(X, y).score(X, y), rel=1e-12)


def test_messages_write_labels_plainly():
    X, y = problem(3, m=30)
    y = np.array([np.str_(label) for label in y], object)
    fitted = nbs.SoftmaxRegression(warm_start=True).fit(X, y)
    calls = (
        lambda: fitted.fit(X[y != "ash"], y[y != "ash"]),
        lambda: fitted.fit(X[y == "ash"], y[y == "ash"]),
        lambda: fitted.partial_fit(X, y, classes=np.array([np.str_("oak"), np.str_("yew")], object)),
        lambda: fitted.partial_fit(X, np.array([np.str_("oak")] * 30, object)),
    )
    for call in calls:
        with pytest.raises(nbs.InputValueError, match=r"'ash'|'oak'") as error:
            call()
        assert "str_" not in str(error.value)


class Tree(str, enum.Enum):  # noqa: UP042  (the text of a StrEnum is that of `str`)
    """Labels whose text is not that of `str`."""

    OAK = "oak"
    SPRUCE = "spruce"


CODES = np.arange(30) % 3
DATES = np.array(["2020-01-01", "2021-01-01", "2022-01-01"], "M8[ns]")[CODES]
MISSING = {
    "text in pandas": pd.Series([None, *np.array(list("abc"))[CODES[1:]]], dtype="string"),
    "objects in pandas": pd.Series([None, *np.array(list("abc"))[CODES[1:]]], dtype=object),
    "integers in pandas": pd.Series([None, *CODES[1:]], dtype="Int64"),
    "categories": pd.Series([None, *np.array(list("abc"))[CODES[1:]]], dtype="category"),
    "dates in pandas": pd.Series([pd.NaT, *DATES[1:]]),
    "dates": np.array([np.datetime64("NaT"), *DATES[1:]]),
    "durations": np.array([np.timedelta64("NaT"), *(DATES[1:] - DATES[0])]),
    "a list": [float("nan"), *np.array(list("abc"))[CODES[1:]].tolist()],
    "a list with None": [None, *CODES[1:].tolist()],
    "objects": np.array([None, *CODES[1:].tolist()], object),
}


@pytest.mark.parametrize("kind", MISSING)
def test_missing_labels_are_refused_by_row(kind):
    X, _ = problem(3, m=30)
    with pytest.raises(nbs.InputValueError, match=r"y (has|contains) .* at row 0.*; drop such rows"):
        nbs.SoftmaxRegression().fit(X, MISSING[kind])


def test_a_list_of_several_kinds_is_refused_and_members_of_an_enum_are_text():
    X, _ = problem(3, m=30)
    with pytest.raises(nbs.InputTypeError, match="labels of several kinds"):
        nbs.SoftmaxRegression().fit(X, ["a" if k else 0 for k in CODES])
    with pytest.raises(nbs.InputTypeError, match="labels of several kinds"):
        nbs.SoftmaxRegression().fit(X, np.array([True if k == 1 else int(k) for k in CODES], object))
    trees = [list(Tree)[k % 2] for k in CODES]
    assert nbs.SoftmaxRegression().fit(X, trees).classes_.tolist() == ["oak", "spruce"]
    mixed = np.array([1.0 if k == 1 else int(k) for k in CODES], object)
    assert nbs.SoftmaxRegression().fit(X, mixed).classes_.tolist() == [0, 1, 2]


@pytest.mark.parametrize("key", [np.datetime64("2020-01-01"), pd.Timestamp("2020-01-01")])
@pytest.mark.parametrize("unit", ["D", "ns"])
def test_dates_are_keys_of_weights_and_thresholds(key, unit):
    X, _ = problem(3, m=30)
    y = DATES.astype(f"M8[{unit}]")
    found = nbs.SoftmaxRegression(class_weight={key: 2.0}, thresholds={key: 1e-9}).fit(X, y)
    expected = nbs.SoftmaxRegression(class_weight={0: 2.0}).fit(X, CODES)
    assert np.array_equal(found.coef_, expected.coef_)
    assert (found.predict(X) == y[0]).all()
    with pytest.raises(nbs.InputValueError, match=r"names 'x', which is no label in y \(labels: '2020-01-01"):
        nbs.SoftmaxRegression(class_weight={"x": 2.0}).fit(X, y)


def test_labels_may_be_a_series_of_dask():
    dd = pytest.importorskip("dask.dataframe")
    X, y = problem(3, m=30)
    lazy = dd.from_pandas(pd.Series(y), npartitions=2)
    assert np.array_equal(nbs.SoftmaxRegression().fit(X, lazy).coef_, nbs.SoftmaxRegression().fit(X, y).coef_)


def test_dates_may_be_in_a_list():
    X, _ = problem(3, m=30)
    expected = nbs.SoftmaxRegression().fit(X, DATES)
    dates = list(DATES)
    assert np.array_equal(nbs.SoftmaxRegression().fit(X, dates).coef_, expected.coef_)
    stream = nbs.SoftmaxRegression().partial_fit(X, DATES, classes=dates[:3])
    assert np.array_equal(stream.classes_, expected.classes_)


@pytest.mark.parametrize("kind", ["int64", "int8", "uint16", "texts", "objects", "booleans", "floats"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_score_is_the_accuracy_of_scikit_learn(kind, weighted):
    rng = np.random.default_rng(0)
    X, codes = rng.normal(size=(200, 3)), rng.integers(0, 2, 200)
    names = np.array(["no", "yes"])
    by_kind = {
        "texts": names[codes],
        "objects": names.astype(object)[codes],
        "booleans": codes == 1,
        "floats": codes.astype(float),
    }
    y = by_kind[kind] if kind in by_kind else codes.astype(kind)
    weight = rng.uniform(size=200) if weighted else None
    model = nbs.SoftmaxRegression().fit(X, y)
    expected = accuracy_score(y, model.predict(X), sample_weight=weight)
    assert model.score(X, y, weight) == pytest.approx(expected, rel=1e-14)
    same = [y.tolist(), pd.Series(y)] + ([pd.Series(y, dtype="category")] if y.dtype.kind in "UO" else [])
    for form in same:
        assert model.score(X, form, weight) == pytest.approx(expected, rel=1e-14)
    other = np.concatenate([y[:-1], np.array(["perhaps"] if y.dtype.kind in "UO" else [7]).astype(y.dtype)])
    if kind != "booleans":  # a label that the fit has not seen is wrong
        assert model.score(X, other, weight) == pytest.approx(
            accuracy_score(other, model.predict(X), sample_weight=weight)
        )


def test_labels_are_encoded_as_by_numpy_and_checked_as_by_scikit_learn():
    rng = np.random.default_rng(0)
    names = np.array(["no", "", "Yes", "yes", "\u00e9t\u00e9", "no "])[rng.integers(0, 6, 100)]
    numbers = rng.integers(-5, 5, 100)
    for y in (
        names,
        names.astype(object),
        numbers,
        numbers.astype(np.int8),
        numbers > 0,
        numbers * 1.0,
        numbers + 2**60,
    ):
        classes, codes = encoded(y)
        expected = np.unique(y)
        assert classes.dtype == expected.dtype
        assert classes.tolist() == expected.tolist()
        assert (classes[codes] == y).all()
    for y in (rng.uniform(size=30), np.array([b"a", b"b"] * 20, object), np.array([2.5, 1.0] * 20)):
        with pytest.raises((ValueError, TypeError)) as theirs:
            check_classification_targets(y)
        with pytest.raises(type(theirs.value), match=re.escape(str(theirs.value))):
            encoded(y)
    for y in (np.arange(30), np.arange(30).astype(str)):
        with pytest.warns(UserWarning, match="greater than 50%"):
            encoded(y)


def test_labels_of_another_kind_than_the_predictions_are_compared_by_scikit_learn():
    predicted = np.array(["no", "yes"])
    assert agreement(["no", "no"], predicted).tolist() == [True, False]
    assert agreement(np.array(["no", "no"], object), predicted).tolist() == [True, False]
    assert agreement(np.array([1, 2]), np.array([1, 3], np.uint8)).tolist() == [True, False]
    others = (["no", 1], ["no", None], [1, 2], np.array([1.0, 2.0]), [["no"], ["no"]], ["no"], [], None, "no", 3)
    for y in others:
        assert agreement(y, predicted) is None
    for y in ([True, False], np.array([1.0, 2.0]), np.array([2**64, 1], object)):
        assert agreement(y, np.array([1, 2])) is None
    assert agreement([1.0, np.nan], np.array([1.0, 2.0])) is None
    assert agreement([np.inf, 1.0], np.array([1.0, 2.0])) is None
    assert agreement([0.5, 1.0], np.array([1.0, 2.0])) is None
