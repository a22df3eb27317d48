"""The model: predictions, and a file that an accident cannot destroy."""

import os
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.sparse import csr_array
from sklearn.linear_model import LogisticRegression

import nbsoftmax as nbs
from nbsoftmax.kernels.predict import PROBA
from nbsoftmax.models.predictions import predictions
from tests import reference


def a_model(n_classes=4, n_features=3, seed=0, classes=None, names=None):
    rng = np.random.default_rng(seed)
    labels = np.arange(n_classes) if classes is None else classes
    return nbs.SoftmaxModel(rng.normal(size=(n_classes, n_features)), rng.normal(size=n_classes), labels, names)


def samples(n=50, n_features=3, dtype=np.float64):
    return np.random.default_rng(1).normal(size=(n, n_features)).astype(dtype)


def test_predictions_follow_from_the_logits():
    model, X = a_model(), samples()
    logits = X @ model.coef.T + model.intercept
    proba = reference.softmax(logits)
    # Sums of three products and a bias, in another order: a few eps of their size.
    assert np.abs(model.decision_function(X) - logits).max() <= 16 * np.finfo(float).eps * np.abs(logits).max()
    assert np.abs(model.predict_proba(X) - proba).max() <= 64 * np.finfo(float).eps
    assert np.abs(model.predict_log_proba(X) - np.log(proba)).max() <= 64 * np.finfo(float).eps * np.abs(logits).max()
    assert np.array_equal(model.predict(X), logits.argmax(axis=1))
    assert model.score(X, logits.argmax(axis=1)) == 1.0


def test_a_row_is_predicted_alike_alone_and_among_others():
    model, X = a_model(), samples(101)
    whole = model.predict_proba(X)
    assert all(np.array_equal(model.predict_proba(X[i : i + 1])[0], whole[i]) for i in (0, 7, 15, 16, 99, 100))
    assert model.predict_proba(X[:0]).shape == (0, 4)
    assert model.predict(X[:0]).shape == (0,)


def test_the_layout_of_samples_changes_no_prediction():
    model, X = a_model(), samples(3)
    wanted = model.predict_proba(X)
    read_only = X.copy()
    read_only.flags.writeable = False
    for same in (X.tolist(), np.asfortranarray(X), np.repeat(X, 2, axis=1)[:, ::2], X[::-1].copy()[::-1], read_only):
        assert np.array_equal(model.predict_proba(same), wanted)


def test_a_prediction_uses_coefficients_that_were_changed_in_place():
    model, X = a_model(), samples(1)
    before = model.predict_proba(X)
    model.coef[0] += 1.0
    changed = nbs.SoftmaxModel(model.coef.copy(), model.intercept, model.classes)
    assert not np.array_equal(model.predict_proba(X), before)
    assert np.array_equal(model.predict_proba(X), changed.predict_proba(X))


@pytest.mark.parametrize("n", [1, 5000])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_is_refused_in_small_and_large_samples(n, bad):
    X = samples(n)
    X[-1, 1] = bad
    with pytest.raises(nbs.InputValueError, match=f"X contains {bad} at row {n - 1}, column 1"):
        a_model().predict(X)
    assert a_model().predict(np.full((n, 3), np.finfo(float).max) * [1, -1, 1]).shape == (n,)


def test_float32_samples_give_float32_probabilities():
    model, X = a_model(), samples(dtype=np.float32)
    assert model.predict_proba(X).dtype == np.float32
    assert np.abs(model.predict_proba(X) - model.predict_proba(X.astype(float))).max() <= 32 * np.finfo(np.float32).eps


def test_top_k_is_sorted_and_breaks_ties_by_class():
    model = nbs.SoftmaxModel(np.zeros((3, 1)), [0.0, 1.0, 0.0], ["a", "b", "c"])
    labels, proba = model.top_k([[1.0]], 3)
    assert labels.tolist() == [["b", "a", "c"]]
    assert proba[0, 0] > proba[0, 1] == proba[0, 2]
    assert np.array_equal(a_model().top_k(samples(), 1)[0][:, 0], a_model().predict(samples()))
    with pytest.raises(nbs.InputValueError, match="k is 4, but the model has 3 classes"):
        model.top_k([[1.0]], 4)


def test_two_classes_equal_one_sigmoid():
    model, X = a_model(2), samples()
    coef, intercept = model.to_sigmoid()
    assert np.abs(nbs.sigmoid(X @ coef + intercept) - model.predict_proba(X)[:, 1]).max() <= 16 * np.finfo(float).eps
    with pytest.raises(nbs.InputValueError, match="4 classes"):
        a_model(4).to_sigmoid()


@pytest.mark.parametrize(
    "classes", [[3, 5, 9, 11], ["bird", "cat", "dog", "émeu"], np.array([1, 2, 3, 4], np.uint8)], ids=str
)
def test_a_saved_model_comes_back_the_same(tmp_path, classes):
    for names in (None, ("a", "b", "ü")):
        model = a_model(classes=classes, names=names)
        model.save(tmp_path / "model.anything")
        again = nbs.SoftmaxModel.load(tmp_path / "model.anything")
        assert np.array_equal(again.coef, model.coef)
        assert np.array_equal(again.intercept, model.intercept)
        assert np.array_equal(again.classes, model.classes)
        assert again.classes.dtype == model.classes.dtype
        assert again.feature_names == names


def test_boolean_labels_come_back_as_booleans(tmp_path):
    a_model(2, classes=[False, True]).save(tmp_path / "m.npz")
    assert nbs.SoftmaxModel.load(tmp_path / "m.npz").classes.dtype == bool


def test_an_interrupted_save_leaves_the_old_file_and_no_other(tmp_path, monkeypatch):
    path = tmp_path / "m.npz"
    a_model(seed=1).save(path)

    def interrupted(*args, **kwargs):
        args[0].write(b"half a model")
        raise KeyboardInterrupt

    monkeypatch.setattr(np, "savez", interrupted)
    with pytest.raises(KeyboardInterrupt):
        a_model(seed=2).save(path)
    assert os.listdir(tmp_path) == ["m.npz"]
    assert np.array_equal(nbs.SoftmaxModel.load(path).coef, a_model(seed=1).coef)


def test_files_that_are_no_model_are_refused(tmp_path):
    good = tmp_path / "good.npz"
    a_model().save(good)
    content = good.read_bytes()
    bad = tmp_path / "bad.npz"
    for damage in (
        b"",
        b"text",
        content[: len(content) // 2],
        content[:-30],
        content[:200] + b"x" * 40 + content[240:],
    ):
        bad.write_bytes(damage)
        with pytest.raises(nbs.InputValueError, match=r"bad\.npz is not a model"):
            nbs.SoftmaxModel.load(bad)
    np.savez(bad, something=np.zeros(3))
    with pytest.raises(nbs.InputValueError, match="is not a model of this library"):
        nbs.SoftmaxModel.load(bad)
    np.save(tmp_path / "array.npy", np.zeros(3))
    with pytest.raises(nbs.InputValueError, match="is not a model"):
        nbs.SoftmaxModel.load(tmp_path / "array.npy")
    with zipfile.ZipFile(bad, "w") as archive:
        archive.writestr("format.npy", b"nonsense")
    with pytest.raises(nbs.InputValueError, match="is not a model"):
        nbs.SoftmaxModel.load(bad)
    with pytest.raises(FileNotFoundError):
        nbs.SoftmaxModel.load(tmp_path / "none.npz")


def test_the_wrong_number_of_features_is_named():
    names = [f"pixel_{j}" for j in range(64)]
    model = a_model(n_features=64, names=names)
    with pytest.raises(
        nbs.InputValueError, match=r"X has 12 features, but the model was trained on 64 \(first: 'pixel_0'\)"
    ):
        model.predict(np.zeros((2, 12)))


def test_a_frame_with_features_in_another_order_is_refused():
    pandas = pytest.importorskip("pandas")
    model = a_model(names=("a", "b", "c"))
    X = pandas.DataFrame(samples(), columns=["a", "b", "c"])
    assert np.array_equal(model.predict(X), model.predict(X.to_numpy()))
    with pytest.raises(nbs.InputValueError, match="another order"):
        model.predict(X[["b", "a", "c"]])
    with pytest.raises(nbs.InputValueError, match="lacks 'c'"):
        model.predict(X.rename(columns={"c": "d"}))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (([[1.0, 2.0]], [0.0], [0]), "expected at least 2"),
        (([[1.0], [2.0]], [0.0, 1.0], [1, 1]), "twice"),
        (([[1.0], [np.nan]], [0.0, 1.0], [0, 1]), "NaN"),
        (([[1.0], [2.0]], [0.0], [0, 1]), "intercept has shape"),
        (([[1.0], [2.0]], [0.0, 1.0], [0, 1], ["a", "b"]), "feature_names has 2 names"),
    ],
)
def test_parts_that_make_no_model_are_refused(arguments, said):
    with pytest.raises(nbs.InputValueError, match=said):
        nbs.SoftmaxModel(*arguments)


def test_names_of_features_are_those_that_the_encoding_makes():
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"x": [0.0, 1.0, 2.0, 3.0], "kind": list("pqpq")})
    model = nbs.Trainer(l2=1.0).fit(table, [0, 1, 1, 0]).model
    parts = model.coef, model.intercept, model.classes
    assert nbs.SoftmaxModel(*parts, model.feature_names, encoding=model.encoding).feature_names == model.feature_names
    for names in (None, ["x", "kind[q]", "kind[p]"]):
        with pytest.raises(nbs.InputValueError, match="but the encoding makes"):
            nbs.SoftmaxModel(*parts, names, encoding=model.encoding)


def test_a_flipped_byte_in_a_model_file_is_refused_or_harmless(tmp_path):
    good, bad = tmp_path / "good.npz", tmp_path / "bad.npz"
    a_model().save(good)
    content = bytearray(good.read_bytes())
    rng = np.random.default_rng(0)
    refused = 0
    for at in rng.integers(0, len(content), 300):
        flipped = bytearray(content)
        flipped[at] ^= int(rng.integers(1, 256))
        bad.write_bytes(flipped)
        try:
            loaded = nbs.SoftmaxModel.load(bad)
        except nbs.InputValueError:
            refused += 1
        else:  # bytes that mean nothing, such as time stamps
            assert np.array_equal(loaded.coef, a_model().coef)
            assert np.array_equal(loaded.intercept, a_model().intercept)
            assert np.array_equal(loaded.classes, a_model().classes)
    assert refused > 100


@pytest.mark.parametrize("function", [nbs.calibrate, nbs.inference])
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("m", "model is of type str, expected a SoftmaxModel[.]"),
        (5, "model is of type int, expected a SoftmaxModel[.]"),
        (None, "model is of type NoneType"),
        (LogisticRegression(), "model is of type LogisticRegression"),
        (nbs.SoftmaxRegression(), "of type SoftmaxRegression, expected a SoftmaxModel; give its `model_`"),
        (SimpleNamespace(model=a_model()), "expected a SoftmaxModel; give its `model`"),  # as a FitResult has
    ],
)
def test_what_is_no_model_is_refused_with_where_to_find_one(function, given, said):
    with pytest.raises(nbs.InputTypeError, match=said):
        function(given, np.zeros((4, 2)), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("X", "said"),
    [
        (np.zeros((4, 3)), "X has 3 features, but the model was trained on 2"),
        (np.zeros(2), "1 dimension.*reshape"),
        ([[1.0, 2.0], [3.0]], "rectangular"),
        ("abc", "X is 'abc', expected an array, a table or a list"),
        ([["a", "b"]], "dtype"),
    ],
)
def test_features_of_another_shape_are_refused(X, said):
    plain = nbs.SoftmaxModel(np.zeros((2, 2)), [0, 0], [0, 1])
    for predict in (plain.predict, plain.predict_proba, plain.decision_function, lambda X: plain.top_k(X, 1)):
        with pytest.raises(nbs.InputError, match=said):
            predict(X)


def test_a_model_keeps_its_own_arrays():
    coef, intercept = np.ones((2, 3)), np.zeros(2)
    model = nbs.SoftmaxModel(coef, intercept, [0, 1])
    coef[0, 0], intercept[0] = np.nan, np.nan
    assert np.isfinite(model.coef).all()
    assert np.isfinite(model.intercept).all()


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.filterwarnings("error")
def test_coefficients_beyond_float32_of_features_near_0_in_float32(sparse):
    X = np.array([[0, 1], [0, -1], [1e-39, 0.5]], np.float32)
    model = nbs.SoftmaxModel(np.array([[1e39, 1.0], [-1e39, 0.0]]), np.zeros(2), np.arange(2))
    rows = csr_array(X) if sparse else X
    logits = model.decision_function(rows)
    assert logits.dtype == np.float32
    expected = model.decision_function(X.astype(np.float64))
    np.testing.assert_allclose(logits, expected, rtol=1e-6)
    np.testing.assert_allclose(model.predict_proba(rows), model.predict_proba(X.astype(np.float64)), rtol=1e-6)
    assert model.predict(rows).tolist() == [0, 1, 0]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("sparse", [False, True])
def test_classes_with_an_infinite_intercept_are_impossible(sparse, dtype):
    X = np.array([[0.0, 1.0], [0.0, -1.0]], dtype)
    coef, intercept = np.array([[1.0, 1.0], [-1.0, 0.0], [0.0, 0.0]]), np.array([0.0, 0.0, -np.inf])
    proba = predictions(coef, intercept, csr_array(X) if sparse else X, PROBA)[0]
    np.testing.assert_allclose(proba[:, :2], predictions(coef[:2], intercept[:2], X, PROBA)[0], rtol=1e-6)
    assert (proba[:, 2] == 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coefficients_that_are_nan_predict_nan(dtype):
    proba = predictions(np.full((2, 3), np.nan), np.zeros(2), np.ones((4, 3), dtype), PROBA)[0]
    assert np.isnan(proba).all()
