"""Intervals of probabilities at rows whose values are very large."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.models.test_inference import blobs


@pytest.mark.parametrize("scale", [1e160, 1e308])
def test_intervals_of_rows_whose_squares_overflow_are_those_of_rows_far_away(scale):
    X, y = blobs()
    table, at = nbs.Trainer().fit(X, y).inference(), np.array([[1.0, 0.3], [-0.2, 0.5]])
    far, near = table.predict_interval(scale * at), table.predict_interval(1e5 * at)
    for name in ("proba", "low", "high"):
        np.testing.assert_array_equal(getattr(far, name).round(9), getattr(near, name).round(9))


def test_intervals_do_not_depend_on_the_unit_of_the_features():
    X, y = blobs()
    table = nbs.Trainer(tol=1e-12).fit(X, y).inference()
    large = nbs.Trainer(tol=1e-12).fit(1e150 * X, y).inference().predict_interval(1e150 * X)
    assert np.abs(large.low - table.predict_interval(X).low).max() <= 1e-12
