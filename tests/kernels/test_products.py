"""The product with a large square matrix on several threads."""

import numpy as np
import pytest

from nbsoftmax.kernels.runtime import threads
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.solvers.tools import square_products
from nbsoftmax.solvers.tools.square_products import times_square

# One row, fewer columns than a task, just as many, and a last task of one column.
SHAPES = [(1, 300), (3, 7), (5, 256), (4, 513)]


@pytest.fixture(autouse=True)
def by_the_kernel(monkeypatch):
    monkeypatch.setattr(square_products, "MANY", 0)


def factors(n_rows, n):
    rng = np.random.default_rng(0)
    return rng.normal(size=(n_rows, n)), rng.normal(size=(n, n))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("order", ["C", "F"])
def test_the_product_is_that_of_numpy(shape, order):
    left, square = (np.asarray(a, order=order) for a in factors(*shape))
    found = times_square(left, square, None)
    rounding = shape[1] * np.finfo(float).eps * (np.abs(left) @ np.abs(square))
    assert (np.abs(found - left @ square) <= rounding).all()


def test_one_thread_and_two_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(threads, "default_threads", lambda: 2)
    monkeypatch.setattr(threads, "THREAD_WORK", 1)
    left, square = factors(6, 1100)
    with one_thread():
        np.testing.assert_array_equal(times_square(left, square, 1), times_square(left, square, 2))
