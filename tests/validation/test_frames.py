"""Tables, columns and labels of every kind, at every function that takes them: the same model, or one clear line."""

import warnings
from decimal import Decimal

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax import validation

pd = pytest.importorskip("pandas")

AGE, FLAG = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0], [True, False, True, False, False, True]
DENSE = np.column_stack([AGE, FLAG]).astype(float)
Y = [0, 1, 0, 1, 0, 1]
MODEL = nbs.SoftmaxModel([[0.5, -1.0], [-0.5, 1.0]], [0.25, 0.0], [0, 1], ["age", "flag"])


def arrow(kind):
    """A dtype of pandas that holds Arrow's values; `kind` is called with pyarrow."""
    return pd.ArrowDtype(kind(pytest.importorskip("pyarrow")))


def table(**columns):
    """A pandas frame of columns (values, dtype)."""
    return pd.DataFrame({name: pd.Series(values, dtype=dtype) for name, (values, dtype) in columns.items()})


def of_polars(**columns):
    return pytest.importorskip("polars").DataFrame(columns)


def of_arrow(**columns):
    return pytest.importorskip("pyarrow").table(columns)


def decimals(values):
    return [Decimal(str(v)) for v in values]


GOOD = {
    "bool beside float": lambda: table(age=(AGE, "float64"), flag=(FLAG, "bool")),
    "bool beside int": lambda: table(age=(AGE, "int64"), flag=(FLAG, "bool")),
    "Int64 beside Float64": lambda: table(age=(AGE, "Float64"), flag=(FLAG, "Int64")),
    "boolean beside uint8": lambda: table(age=(AGE, "uint8"), flag=(FLAG, "boolean")),
    "float32 beside int8": lambda: table(age=(AGE, "float32"), flag=(FLAG, "int8")),
    "pandas' sparse columns": lambda: table(age=(AGE, "float64"), flag=(np.array(FLAG, float), "Sparse[float64]")),
    "Arrow beside NumPy": lambda: table(age=(AGE, arrow(lambda pa: pa.float64())), flag=(FLAG, "bool")),
    "Arrow's booleans": lambda: table(
        age=(AGE, arrow(lambda pa: pa.int16())), flag=(FLAG, arrow(lambda pa: pa.bool_()))
    ),
    "Arrow's decimals": lambda: table(
        age=(decimals(AGE), arrow(lambda pa: pa.decimal128(5, 2))), flag=(FLAG, "boolean")
    ),
    "polars": lambda: of_polars(age=AGE, flag=FLAG),
    "polars' decimals": lambda: of_polars(age=decimals(AGE), flag=FLAG),
    "Arrow": lambda: of_arrow(age=AGE, flag=FLAG),
    "Arrow, decimals": lambda: of_arrow(age=decimals(AGE), flag=FLAG),
    "numbers as objects": lambda: table(age=(AGE, object), flag=(FLAG, object)),
    "Arrow, a batch": lambda: of_arrow(age=AGE, flag=FLAG).to_batches()[0],
}
SINGLE = {
    "float32": lambda: table(age=(AGE, "float32"), flag=(FLAG, "float32")),
    "float16 beside float32": lambda: table(age=(AGE, "float16"), flag=(FLAG, "float32")),
    "Float32 beside float32": lambda: table(age=(AGE, "Float32"), flag=(FLAG, "float32")),
    "Arrow's float beside half": lambda: table(
        age=(AGE, arrow(lambda pa: pa.float32())), flag=(np.array(FLAG, np.float16), arrow(lambda pa: pa.float16()))
    ),
    "polars": lambda: of_polars(age=AGE, flag=np.array(FLAG, float)).cast(pytest.importorskip("polars").Float32),
    "Arrow": lambda: of_arrow(age=np.array(AGE, np.float32), flag=np.array(FLAG, np.float16)),
}
LETTERS = list("xyxyxy")
MISSING = [True, None, True, False, False, True]
BAD = {
    "Int64": (
        lambda: table(age=(AGE, "float64"), flag=([1, None, 1, 0, 0, 1], "Int64")),
        "missing value.*'flag'.*row 1",
    ),
    "Float32": (lambda: table(age=(AGE, "Float32"), flag=(MISSING, "Float32")), "missing value.*'flag'.*row 1"),
    "boolean": (lambda: table(age=(AGE, "float64"), flag=(MISSING, "boolean")), "missing value.*'flag'.*row 1"),
    "objects": (
        lambda: table(age=(AGE, "float64"), flag=(MISSING, object)),
        "missing value.*'flag'.*row 1|'flag'.*missing value.*row 1",
    ),
    "NaN": (lambda: table(age=(AGE, "float64"), flag=(MISSING, "float64")), "missing value.*'flag'.*row 1"),
    "two columns of a name": (
        lambda: pd.DataFrame(DENSE, columns=["age", "age"]),
        "several columns named 'age'; give each a name",
    ),
    "two columns of a name, of Arrow": (
        lambda: pytest.importorskip("pyarrow").Table.from_arrays([AGE, AGE], names=["age", "age"]),
        "several columns named 'age'; give each a name",
    ),
    "inf": (lambda: table(age=([np.inf, *AGE[1:]], "float64"), flag=(FLAG, "bool")), "inf in column 'age' at row 0"),
    "Arrow NA": (
        lambda: table(age=(AGE, "float64"), flag=(MISSING, arrow(lambda pa: pa.bool_()))),
        "missing value.*'flag'.*row 1",
    ),
    "polars null": (lambda: of_polars(age=AGE, flag=MISSING), "missing value.*'flag'.*row 1"),
    "Arrow null": (lambda: of_arrow(age=AGE, flag=MISSING), "missing value.*'flag'.*row 1"),
    "categories": (lambda: table(age=(AGE, "float64"), flag=(LETTERS, "category")), "'flag'.*get_dummies"),
    "categories that are numbers": (lambda: table(age=(AGE, "float64"), flag=(Y, "category")), "'flag'.*get_dummies"),
    "dates": (lambda: table(age=(AGE, "float64"), flag=(["2020-01-01"] * 6, "datetime64[ns]")), "'flag'.*days since"),
    "durations": (lambda: table(age=(AGE, "float64"), flag=(Y, "timedelta64[ns]")), "'flag'.*days since"),
    "text": (lambda: table(age=(AGE, "float64"), flag=(LETTERS, "str")), "'flag'.*astype"),
    "text as objects": (lambda: table(age=(AGE, "float64"), flag=(LETTERS, object)), "'flag'.*astype"),
    "complex": (lambda: table(age=(AGE, "float64"), flag=(Y, "complex128")), "complex128 in column 'flag'"),
    "polars text": (lambda: of_polars(age=AGE, flag=LETTERS), "String in column 'flag'"),
    "polars categories": (
        lambda: of_polars(age=AGE, flag=LETTERS).cast({"flag": pytest.importorskip("polars").Categorical}),
        "'flag'.*get_dummies",
    ),
    "Arrow text": (lambda: of_arrow(age=AGE, flag=LETTERS), "string in column 'flag'"),
    "Arrow dictionary": (
        lambda: of_arrow(age=AGE, flag=pytest.importorskip("pyarrow").array(LETTERS).dictionary_encode()),
        "'flag'.*get_dummies",
    ),
    "polars, lazy": (lambda: of_polars(age=AGE, flag=FLAG).lazy(), r"LazyFrame.*X.collect\(\)"),
    "other names": (lambda: table(age=(AGE, "float64"), sex=(FLAG, "bool")), "lacks 'flag'"),
}


def trainer():
    return nbs.Trainer(l2=1.0)


TAKES_X = {
    "fit": lambda X: trainer().fit(X, Y).model.coef,
    "validation_data": lambda X: trainer().fit(DENSE, Y, validation_data=(X, Y)).history["validation_loss"],
    "partial_fit": lambda X: nbs.Trainer(l2=1.0, solver="sgd").partial_fit(X, Y, classes=[0, 1]).coef,
    "fit_path": lambda X: nbs.fit_path(X, Y, l2s=[1.0]).coefs,
    "cross_validate": lambda X: nbs.cross_validate(X, Y, Cs=[1.0], folds=2).log_loss,
    "decision_function": MODEL.decision_function,
    "predict": MODEL.predict,
    "predict_proba": MODEL.predict_proba,
    "top_k": lambda X: MODEL.top_k(X, 2)[1],
    "score": lambda X: MODEL.score(X, Y),
    "calibrate": lambda X: nbs.calibrate(MODEL, X, [1, 0, 1, 0, 0, 0]).coef,
    "inference": lambda X: nbs.inference(MODEL, X, Y),
    "an estimator": lambda X: nbs.SoftmaxRegression().fit(X, Y).coef_,
    "an estimator's stream": lambda X: nbs.SoftmaxRegression().partial_fit(X, Y, classes=[0, 1]).coef_,
    "an estimator's prediction": lambda X: nbs.SoftmaxRegression().fit(GOOD["bool beside float"](), Y).predict_proba(X),
    "an estimator that searches": lambda X: nbs.SoftmaxRegressionCV([1.0], cv=2).fit(X, Y).scores_,
}


@pytest.mark.parametrize("kind", GOOD)
def test_columns_of_several_kinds_of_numbers_become_float64(kind):
    array, names = validation.samples(GOOD[kind]())
    assert names == ("age", "flag")
    assert array.dtype == np.float64
    assert np.array_equal(array, DENSE)


@pytest.mark.parametrize("kind", SINGLE)
def test_columns_of_at_most_32_bits_stay_float32(kind):
    array, _ = validation.samples(SINGLE[kind]())
    assert array.dtype == np.float32
    assert np.array_equal(array, DENSE)


@pytest.mark.parametrize("function", [*TAKES_X, "Objective", "cross_entropy"])
def test_every_function_takes_a_table_as_it_takes_its_numbers(function):
    def call(X):
        if function == "Objective":
            return nbs.Objective(X, Y).value_and_grad(np.ones((2, 3)))[1]
        if function == "cross_entropy":
            return nbs.cross_entropy(X, Y)
        if function == "an estimator's prediction" and X is DENSE:  # of a fit to a table
            X = table(age=(AGE, "float64"), flag=(FLAG, "float64"))
        if function == "inference":  # only of a maximum
            return nbs.inference(nbs.Trainer().fit(DENSE, Y).model, X, Y).params
        return TAKES_X[function](X)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", nbs.ConvergenceWarning)
        assert np.array_equal(call(GOOD["bool beside float"]()), call(DENSE))


@pytest.mark.parametrize("kind", BAD)
def test_a_column_without_numbers_or_with_a_missing_one_is_named(kind):
    make, message = BAD[kind]
    with pytest.raises(nbs.InputError, match=message):
        MODEL.predict(make())


ENCODES = ("fit", "fit_path", "cross_validate")  # these take categories, see tests/encoding


@pytest.mark.parametrize("function", TAKES_X)
@pytest.mark.parametrize("kind", ["boolean", "categories", "durations", "objects", "two columns of a name"])
def test_every_function_names_the_column(function, kind):
    make, message = BAD[kind]
    if function in ENCODES and kind == "categories":
        assert np.isfinite(TAKES_X[function](make())).all()
        return
    with pytest.raises(nbs.InputError, match=message):
        TAKES_X[function](make())


@pytest.mark.parametrize("kind", ["dates", "times of Arrow", "polars, lazy"])
def test_an_estimator_reads_no_number_into_what_is_none(kind):
    pl, pa = pytest.importorskip("polars"), pytest.importorskip("pyarrow")
    X, message = {
        "dates": (of_polars(age=AGE, flag=Y).cast({"flag": pl.Date}), "Date in column 'flag'.*days since"),
        "times of Arrow": (of_arrow(age=AGE, flag=pa.array(Y, pa.timestamp("s"))), "timestamp.*'flag'.*days since"),
        "polars, lazy": BAD["polars, lazy"],
    }[kind]
    with pytest.raises(nbs.InputError, match=message):
        nbs.SoftmaxRegression().fit(X() if callable(X) else X, Y)


@pytest.mark.filterwarnings("ignore:X does not have valid feature names")
def test_an_estimator_keeps_the_names_of_a_table():
    fitted = nbs.SoftmaxRegression().fit(GOOD["bool beside float"](), Y)
    assert fitted.feature_names_in_.tolist() == ["age", "flag"]
    with pytest.raises(ValueError, match="feature names"):
        fitted.predict(table(flag=(FLAG, "bool"), age=(AGE, "float64")))


def test_one_dtype_is_not_copied():
    values = np.arange(12.0).reshape(6, 2)
    frame = pd.DataFrame(values)
    assert np.shares_memory(validation.samples(frame)[0], frame.to_numpy())


# --- labels ---

LABELS = ["b", "a", "b"]
COLUMNS = {
    "Series of text": (lambda: pd.Series(LABELS), ["a", "b"]),
    "Series of objects": (lambda: pd.Series(LABELS, dtype=object), ["a", "b"]),
    "Series of categories": (lambda: pd.Series(LABELS, dtype="category"), ["a", "b"]),
    "Categorical": (lambda: pd.Categorical(LABELS), ["a", "b"]),
    "Categorical of integers": (lambda: pd.Categorical([7, 5, 7]), [5, 7]),
    "Index": (lambda: pd.Index(LABELS), ["a", "b"]),
    "string": (lambda: pd.Series(LABELS, dtype="string"), ["a", "b"]),
    "Int64": (lambda: pd.Series([7, 5, 7], dtype="Int64"), [5, 7]),
    "boolean": (lambda: pd.array([True, False, True], dtype="boolean"), [False, True]),
    "a frame of one column": (lambda: pd.DataFrame({"y": LABELS}), ["a", "b"]),
    "Arrow in pandas": (lambda: pd.Series([7, 5, 7], dtype=arrow(lambda pa: pa.int64())), [5, 7]),
    "Arrow's text in pandas": (lambda: pd.Series(LABELS, dtype=arrow(lambda pa: pa.string())), ["a", "b"]),
    "polars": (lambda: of_polars(y=LABELS)["y"], ["a", "b"]),
    "polars, a frame": (lambda: of_polars(y=LABELS), ["a", "b"]),
    "polars booleans": (lambda: of_polars(y=[True, False, True])["y"], [False, True]),
    "Arrow": (lambda: of_arrow(y=LABELS)["y"], ["a", "b"]),
    "Arrow, encoded": (lambda: pytest.importorskip("pyarrow").array(LABELS).dictionary_encode(), ["a", "b"]),
    "Arrow, one chunk": (lambda: pytest.importorskip("pyarrow").array([7, 5, 7]), [5, 7]),
}
WITH_MISSING = {
    "None in a list": lambda: ["a", None, "b"],
    "None among integers": lambda: [1, None, 2],
    "NaN in a list": lambda: ["a", np.nan, "b"],
    "NaN among floats": lambda: [1.0, np.nan, 2.0],
    "NaN in an array": lambda: np.array([1.0, np.nan, 2.0]),
    "NaN among objects": lambda: np.array([1.0, np.nan, 2], object),
    "NA among objects": lambda: np.array([1, pd.NA, 2], object),
    "NaT among objects": lambda: np.array(["a", pd.NaT, "b"], object),
    "text": lambda: pd.Series(["a", None, "b"]),
    "string": lambda: pd.Series(["a", None, "b"], dtype="string"),
    "categories": lambda: pd.Series(["a", None, "b"], dtype="category"),
    "Int64": lambda: pd.Series([1, None, 2], dtype="Int64"),
    "boolean": lambda: pd.array([True, None, False], dtype="boolean"),
    "integers that became floats": lambda: pd.Series([1, None, 2]),
    "Arrow in pandas": lambda: pd.Series([1, None, 2], dtype=arrow(lambda pa: pa.int64())),
    "polars": lambda: of_polars(y=["a", None, "b"])["y"],
    "Arrow": lambda: of_arrow(y=[1, None, 2])["y"],
    "masked": lambda: np.ma.array([1, 2, 3], mask=[False, True, False]),
}


@pytest.mark.parametrize("kind", COLUMNS)
def test_labels_come_in_columns_of_any_kind(kind):
    make, classes = COLUMNS[kind]
    codes, found = validation.labels(make(), n_samples=3)
    assert codes.dtype == np.int32
    assert codes.tolist() == [1, 0, 1]
    assert found.tolist() == classes
    assert found.dtype.kind in "biU"  # what a model's file can hold


@pytest.mark.parametrize("kind", WITH_MISSING)
def test_a_missing_label_is_refused_by_its_row(kind):
    with pytest.raises(nbs.InputValueError, match=r"row 1|first at \(1,\)"):
        validation.labels(WITH_MISSING[kind]())


def given_y(y):
    """Six labels that begin with these."""
    return [*y, *[0] * (6 - len(y))]


TAKES_Y = {
    "fit": lambda y: trainer().fit(DENSE, y),
    "validation_data": lambda y: trainer().fit(DENSE, Y, validation_data=(DENSE, y)),
    "partial_fit": lambda y: nbs.Trainer(l2=1.0, solver="sgd").partial_fit(DENSE, y, classes=[0, 1]),
    "fit_path": lambda y: nbs.fit_path(DENSE, y, l2s=[1.0]),
    "fit_path by Cs": lambda y: nbs.fit_path(DENSE, y, Cs=[1.0]),
    "cross_validate": lambda y: nbs.cross_validate(DENSE, y, Cs=[1.0], folds=2),
    "score": lambda y: MODEL.score(DENSE, y),
    "calibrate": lambda y: nbs.calibrate(MODEL, DENSE, y),
    "inference": lambda y: nbs.inference(MODEL, DENSE, y),
}
BAD_LABELS = {
    "missing": (given_y([1, None]), "row 1"),
    "NaN": (np.array([1, np.nan, 0, 0, 1, 0]), "nan at row 1"),
    "of two kinds": (given_y([1, "a"]), "several kinds: integers .1 at row 0., text .'a' at row 1"),
    "booleans beside integers": (given_y([True, 2]), "several kinds: booleans"),
    "continuous": (given_y([0.5, 1]), "0.5 at row 0: continuous"),
    "ragged": (given_y([[0, 1]]), "rectangular|type list at row 0"),
    "none": (None, "y is None"),
    "too few": ([0, 1], "2 labels|2 entries"),
    "a set": ({0, 1}, "a set, expected an array or a list"),
    "objects": (given_y([Decimal(1)]), "Decimal.*row 0"),
}


@pytest.mark.parametrize("function", TAKES_Y)
@pytest.mark.parametrize("kind", BAD_LABELS)
def test_every_function_refuses_labels_in_the_same_words(function, kind):
    y, message = BAD_LABELS[kind]
    with pytest.raises(nbs.InputError, match=message):
        TAKES_Y[function](y)


@pytest.mark.parametrize("function", ["validation_data", "partial_fit", "score", "calibrate", "inference"])
@pytest.mark.parametrize(
    ("y", "message"),
    [
        (["0", "1"] * 3, r"'[01]' at row 0 .* \(its classes: 0, 1; they are integers, not text\); give labels of"),
        ([0, 1, 2] * 2, r"the label 2 at row 2 \(counted .* not trained on \(its classes: 0, 1\)"),
        ([b"0", b"1"] * 3, "they are integers, not bytes"),
    ],
)
def test_labels_that_the_model_does_not_know_are_no_errors_of_its_predictions(function, y, message):
    with pytest.raises(nbs.InputValueError, match=message):
        TAKES_Y[function](y)


def test_the_score_reads_labels_by_the_classes():
    truth = np.array(MODEL.predict(DENSE))
    truth[:2] = 1 - truth[:2]
    for y in (truth, truth.astype(float), truth.astype(bool), truth[:, None], truth.tolist(), pd.Series(truth)):
        assert MODEL.score(DENSE, y) == pytest.approx(4 / 6, rel=1e-15)
    named = nbs.SoftmaxModel(MODEL.coef, MODEL.intercept, ["z", "a"])  # not sorted
    assert named.score(DENSE, np.array(["z", "a"])[truth]) == pytest.approx(4 / 6, rel=1e-15)


def test_a_series_of_class_weights_is_read_by_its_index():
    y = np.array(["no", "yes"] * 3)
    weights = pd.Series({"yes": 5.0, "no": 1.0})  # in another order than the sorted classes
    fits = [nbs.Trainer(l2=1.0, class_weight=w).fit(DENSE, y).model.coef for w in (weights, dict(weights), [1.0, 5.0])]
    assert np.array_equal(fits[0], fits[1])
    assert np.array_equal(fits[0], fits[2])
    positions = pd.Series([5.0, 1.0], index=[1, 0])
    losses = [nbs.cross_entropy(DENSE, Y, class_weight=w) for w in (positions, [1.0, 5.0])]
    assert losses[0] == losses[1]
    with pytest.raises(nbs.InputValueError, match="class_weight names 'maybe', which is no label"):
        nbs.Trainer(class_weight=pd.Series({"maybe": 1.0})).fit(DENSE, y)


def test_feature_names_of_a_table_are_kept():
    array, names = validation.frame(pd.DataFrame({"a": [1.0, 2.0], "b": [3, 4]}))
    assert names == ("a", "b")
    assert array.tolist() == [[1, 3], [2, 4]]
    with pytest.raises(nbs.InputTypeError, match="'b'"):
        validation.frame(pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]}))
    assert validation.frame(DENSE)[0] is DENSE
    assert validation.frame(DENSE)[1] is None


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("b", "a"), "another order.*column 0 is 'b'"),
        (("a",), "lacks 'b'"),
        (("a", "b", "c"), "unknown 'c'"),
        (("a", "b", "b"), "other features .3 features, the model was trained on 2"),
    ],
)
def test_features_must_be_those_of_the_training_in_the_same_order(given, message):
    validation.same_features(("a", "b"), ("a", "b"))
    validation.same_features(None, ("a", "b"))
    with pytest.raises(nbs.InputValueError, match=message):
        validation.same_features(given, ("a", "b"))


@pytest.mark.parametrize("make", [nbs.Trainer, nbs.SoftmaxRegression])
def test_a_single_column_or_row_of_a_table_is_no_table(make):
    given = pd.DataFrame({"a": [1.0, 2.0, 3.0, 4.0], "b": ["x", "y", "x", "y"]})
    fitted = make().fit(given[["a"]], [0, 1, 1, 0])
    model = fitted.model if make is nbs.Trainer else fitted
    for X in (given["a"], given.iloc[0]):
        with pytest.raises(nbs.InputTypeError, match=r"X is a Series, one column or one row of a table, expected"):
            model.predict(X)
    assert model.predict(given[["a"]][1:2]).shape == (1,)
