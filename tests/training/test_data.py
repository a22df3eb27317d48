"""Labels and tables of all kinds, and data that are refused."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.training.problems import blobs


@pytest.mark.parametrize(
    "labels",
    [
        [7, -3, 20],
        ["low", "mid", "high"],
        np.array(["a", "b", "c"], object),
        [2.0, 5.0, 9.0],
        np.array([0, 1, 2], np.uint8),
    ],
    ids=["integers", "strings", "objects", "whole floats", "small integers"],
)
def test_labels_of_any_kind_give_the_same_fit_and_come_back(labels):
    X, y = blobs()
    labels = np.asarray(labels)
    order = np.argsort(labels)  # classes are sorted: class k of the fit on indices is labels[order[k]]
    plain = nbs.Trainer(l2=0.01).fit(X, y)
    result = nbs.Trainer(l2=0.01).fit(X, labels[order][y])
    assert np.array_equal(result.model.coef, plain.model.coef)
    assert np.array_equal(result.model.predict(X), labels[order][plain.model.predict(X)])


def test_boolean_labels_are_two_classes():
    X, y = blobs(n_classes=2)
    model = nbs.Trainer(l2=0.01).fit(X, y == 1).model
    assert model.classes.tolist() == [False, True]
    coef, intercept = model.to_sigmoid()
    assert np.abs(nbs.sigmoid(X @ coef + intercept) - model.predict_proba(X)[:, 1]).max() <= 16 * np.finfo(float).eps


def test_rows_of_probabilities_that_are_certain_equal_labels():
    X, y = blobs()
    hard = nbs.Trainer(l2=0.01, tol=1e-10).fit(X, y)
    soft = nbs.Trainer(l2=0.01, tol=1e-10).fit(X, np.eye(3)[y])
    assert abs(hard.objective - soft.objective) <= 1e-10 * hard.objective


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_frames_give_the_model_its_feature_names(library):
    frames = pytest.importorskip(library)
    X, y = blobs()
    names = ["a", "b", "c", "d"]
    frame = frames.DataFrame({name: X[:, j] for j, name in enumerate(names)})
    result = nbs.Trainer(l2=0.01).fit(frame, frames.Series(y))
    assert result.model.feature_names == tuple(names)
    assert np.abs(result.model.coef - nbs.Trainer(l2=0.01).fit(X, y).model.coef).max() <= 1e-6
    assert np.array_equal(result.model.predict(frame), result.model.predict(X))


def test_dtype_converts_the_samples():
    X, y = blobs()
    narrow = nbs.Trainer(l2=0.01, dtype="float32").fit(X, y)
    wide = nbs.Trainer(l2=0.01).fit(X, y)
    assert 0 < np.abs(narrow.model.coef - wide.model.coef).max() <= 1e-3


@pytest.mark.parametrize(
    ("X", "y", "error", "said"),
    [
        (np.zeros(3), [0, 1, 0], nbs.InputValueError, "1 dimension"),
        (np.zeros((3, 2)), [0, 1], nbs.InputValueError, "X has 3 rows, but y has 2 labels"),
        ([[0.0, 1.0], [np.nan, 2.0]], [0, 1], nbs.InputValueError, "nan at row 1, column 0"),
        ([[0.0, 1.0], [3.0, -np.inf]], [0, 1], nbs.InputValueError, "-inf at row 1, column 1"),
        (np.zeros((3, 2)), [5, 5, 5], nbs.InputValueError, "only the class 5|only the class np.int64"),
        (np.zeros((0, 2)), [], nbs.InputValueError, "no label"),
        (np.zeros((3, 2), object), [0, 1, 0], nbs.InputTypeError, "object"),
        (np.zeros((3, 2), complex), [0, 1, 0], nbs.InputTypeError, "complex"),
        ([["a", "b"], ["c", "d"]], [0, 1], nbs.InputTypeError, "expected float32 or float64"),
        (np.zeros((3, 2)), [0.5, 1.0, 0.0], nbs.InputValueError, "continuous"),
        (np.zeros((3, 2)), [0.0, 1.0, np.nan], nbs.InputValueError, "nan at row 2"),
        (np.zeros((3, 2)), ["a", None, "b"], nbs.InputValueError, "None at row 1: a missing label"),
        (np.zeros((2, 2)), [[0.5, 0.6], [1.0, 0.0]], nbs.InputValueError, "row 0 is not a probability"),
        ([[1.0, 2.0], [3.0]], [0, 1], nbs.InputValueError, "rectangular"),
    ],
)
def test_bad_data_is_refused(X, y, error, said):
    with pytest.raises(error, match=said):
        nbs.Trainer().fit(X, y)


@pytest.mark.parametrize("weight", [[-1.0, 1.0, 1.0], [np.nan, 1.0, 1.0], [0.0, 0.0, 0.0], [1.0, 1.0]])
def test_bad_sample_weights_are_refused(weight):
    with pytest.raises(nbs.InputValueError, match="sample_weight"):
        nbs.Trainer().fit(np.eye(3), [0, 1, 0], sample_weight=weight)


@pytest.mark.parametrize("n_rows", [8, 12])
@pytest.mark.parametrize("options", [{}, {"validation_fraction": 0.3}], ids=str)
def test_probabilities_that_are_not_as_many_as_the_samples_are_refused(n_rows, options):
    X, proba = np.arange(20.0).reshape(10, 2), np.full((n_rows, 2), 0.5)
    with pytest.raises(nbs.InputValueError, match=f"y has {n_rows} entries, but X has 10 rows"):
        nbs.Trainer(l2=0.1, **options).fit(X, proba)
