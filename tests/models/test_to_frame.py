"""Results as data frames: one row for each thing, with the numbers of the result."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.models.test_inference import blobs


@pytest.fixture(params=["pandas", "polars"])
def frames(request, monkeypatch):
    """The library that is installed, as far as the package can see."""
    monkeypatch.setattr("nbsoftmax.models.to_frame.find_spec", lambda name: name == request.param or None)
    return request.param


def assert_columns(frames, frame, expected):
    assert type(frame).__module__.startswith(frames)
    assert list(frame.columns) == list(expected)
    for name, values in expected.items():
        assert np.array_equal(np.asarray(frame[name]), np.ravel(values), equal_nan=np.asarray(values).dtype.kind == "f")


def test_cross_validation_has_a_row_for_each_penalty(frames):
    found = nbs.cross_validate(*blobs(), Cs=3, folds=4)
    error = found.log_loss.std(axis=1, ddof=1) / 2
    assert np.allclose(np.asarray(found.to_frame()["std_error"]), error, rtol=1e-12)
    expected = {
        "C": found.Cs,
        "log_loss": found.log_loss.mean(axis=1),
        "std_error": np.asarray(found.to_frame()["std_error"]),
        "accuracy": found.accuracy.mean(axis=1),
        "n_features": [found.result.model.n_features] * 3,
    }
    assert_columns(frames, found.to_frame(), expected)


def test_a_path_has_a_row_for_each_penalty(frames):
    path = nbs.fit_path(*blobs(n_features=4), l2s=[0.9, 0.001], l1_ratio=1.0)
    expected = {
        "l1": path.l1s,
        "l2": path.l2s,
        "objective": [result.objective for result in path.results],
        "n_features": [np.count_nonzero(np.abs(coef).sum(axis=0)) for coef in path.coefs],
        "n_iter": [result.n_iter for result in path.results],
        "converged": [True, True],
    }
    assert expected["n_features"] == [0, 4]
    assert_columns(frames, path.to_frame(), expected)


def test_reliability_has_a_row_for_each_class_and_bin(frames):
    X, y = blobs()
    found = nbs.reliability(y, nbs.Trainer().fit(X, y).model.predict_proba(X), n_bins=5)
    expected = {
        "class": np.repeat([0, 1, 2], 5),
        "low": [*found.edges[:-1]] * 3,
        "high": [*found.edges[1:]] * 3,
        "confidence": found.confidence,
        "frequency": found.frequency,
        "weight": found.weight,
    }
    assert_columns(frames, found.to_frame(), expected)


def test_intervals_of_probabilities_have_a_row_for_each_sample_and_class(frames):
    X, y = blobs()
    found = nbs.Trainer().fit(X, np.array(["a", "b", "c"])[y]).inference().predict_interval(X[:2])
    expected = {"sample": [0, 0, 0, 1, 1, 1], "class": ["a", "b", "c"] * 2, "proba": found.proba}
    assert_columns(frames, found.to_frame(), expected | {"low": found.low, "high": found.high})


def test_text_labels_stay_text(frames):
    X, y = blobs()
    frame = nbs.Trainer().fit(X, np.array(["a", "b", "c"])[y]).inference().to_frame()
    assert list(frame["class"]) == ["b"] * 3 + ["c"] * 3
