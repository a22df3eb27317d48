"""Kernels that add what other kernels made, executed on the CPU: in one order, over any number of blocks."""

import math

import numpy as np
import pytest

from nbsoftmax.kernels.cuda import sums
from tests.gpu.executor import execute

ORDERS = ["forward", "reverse", "random"]


def of_each_order(kernel, grid, out, *before, after):
    """Results of a kernel in each order of threads, which must be the same bits."""
    found = []
    for order in ORDERS:
        found.append(out.copy())
        execute(kernel, grid, sums.THREADS, *before, found[-1], *after, order=order)
    assert len({one.tobytes() for one in found}) == 1
    return found[0]


@pytest.mark.parametrize("blocks", [1, 3])
@pytest.mark.parametrize("n", [0, 1, 255, 256, 1000])
def test_values_of_rows(n, blocks):
    values = np.random.default_rng(n).normal(size=max(n, 1))
    out = of_each_order(sums.sum_in_order, blocks, np.full(blocks, np.nan), values, after=(n,))
    assert math.fsum(out) == pytest.approx(math.fsum(values[:n]), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize(("n_parts", "size", "groups"), [(1, 3, 1), (7, 300, 1), (7, 5, 3), (9, 2, 5), (3, 2, 3)])
def test_parts(n_parts, size, groups, more, dtype):
    rng = np.random.default_rng(0)
    parts, before = rng.normal(size=(n_parts, size)).astype(dtype), rng.normal(size=(groups, size))
    out = before if more else np.full((groups, size), np.nan)
    grid = -(-groups * size // sums.THREADS)
    given = (parts.reshape(-1),)
    out = of_each_order(sums.sum_parts, grid, out.reshape(-1), *given, after=(size, n_parts, groups, more))
    expected = parts.astype(float).sum(axis=0) + (before.sum(axis=0) if more else 0)
    np.testing.assert_allclose(out.reshape(groups, size).sum(axis=0), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("more", [False, True])
@pytest.mark.parametrize(
    ("n_rows", "n_columns", "n_parts"), [(1, 1, 1), (9, 5, 2), (5, 200, 2), (3, 600, 1), (2, 3, 4)]
)
def test_columns(n_rows, n_columns, n_parts, more, dtype):
    rng = np.random.default_rng(1)
    a, before = rng.normal(size=(n_rows, n_columns)).astype(dtype), rng.normal(size=(n_parts, n_columns))
    out = before.reshape(-1) if more else np.full(n_parts * n_columns, np.nan)
    grid, given = n_parts * sums.column_tiles(n_columns), (a.reshape(-1),)
    out = of_each_order(sums.column_sums, grid, out, *given, after=(n_parts, more, n_rows, n_columns))
    expected = a.astype(float).sum(axis=0) + (before.sum(axis=0) if more else 0)
    np.testing.assert_allclose(out.reshape(n_parts, n_columns).sum(axis=0), expected, rtol=1e-13, atol=1e-13)
