"""Whether all numbers of a large array are finite."""

import numpy as np
import pytest

from nbsoftmax import InputValueError, Trainer
from nbsoftmax.validation import arrays

DTYPES = [np.float32, np.float64]


@pytest.fixture(autouse=True)
def _every_size_is_large(monkeypatch):
    monkeypatch.setattr(arrays, "LARGE", 1)
    monkeypatch.setattr(arrays, "SMALL", 0)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("n", [1, 2, 63, 64, 65, 129, 1000, 4097, 100_001])
def test_every_place_is_looked_at(n, dtype):
    X = np.random.default_rng(0).standard_normal((n, 1)).astype(dtype)
    assert arrays.first_not_finite(X) is None
    places = range(n) if n < 200 else [0, 1, n // 64, n // 64 - 1, n // 3, n - 2, n - 1]
    for i in places:
        for bad in (np.nan, np.inf, -np.inf):
            other = X.copy()
            other[i] = bad
            assert arrays.first_not_finite(other) == (i, 0)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_largest_and_the_smallest_numbers_are_finite(dtype):
    info = np.finfo(dtype)
    X = np.tile(np.array([info.max, -info.max, info.tiny, info.smallest_subnormal, -0.0], dtype), (500, 1))
    assert arrays.all_finite(X)


@pytest.mark.parametrize(
    "layout",
    [np.asfortranarray, lambda X: X[:, ::2], lambda X: X[::-1], lambda X: X[:, :3], lambda X: X[:0]],
    ids=["fortran", "every other column", "backwards", "left part", "no rows"],
)
def test_the_place_does_not_depend_on_the_layout(layout):
    X = np.zeros((40, 6))
    assert arrays.first_not_finite(layout(X)) is None
    X[7, 2] = np.inf
    view = layout(X)
    expected = np.argwhere(~np.isfinite(view))
    assert arrays.first_not_finite(view) == (tuple(expected[0]) if len(expected) else None)


def test_a_read_only_array_is_not_copied_and_its_error_names_the_place():
    X = np.zeros((3000, 2))
    X[2999, 1] = np.nan
    X.flags.writeable = False
    with pytest.raises(InputValueError, match="row 2999, column 1"):
        Trainer(l2=0.1).fit(X, np.arange(3000) % 2)
