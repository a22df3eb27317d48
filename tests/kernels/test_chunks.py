"""Chunks of rows: together they hold every row once, and each of the samples of a linear model has some."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nbsoftmax.kernels import chunks, rows


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5000), st.integers(1, 2**26), st.integers(1, 100))
def test_every_chunk_of_samples_has_some(n_samples, work, most):
    n = chunks.chunks_of_samples.py_func(n_samples, work, most)
    bounds = [rows.chunk_bounds.py_func(chunk, n, n_samples) for chunk in range(n)]
    assert 1 <= n <= most
    assert [low for low, _ in bounds] == [0, *(high for _, high in bounds[:-1])]
    assert bounds[-1][1] == n_samples
    assert all(low < high and low % chunks.CHUNK_STEP == 0 for low, high in bounds)


@pytest.mark.parametrize("n_rows", [1, 31, 65, 100, 1000])
def test_long_rows_are_spread_evenly(n_rows):
    n, n_classes = chunks.chunks_of_logits.py_func(n_rows * 100_000), 100_000
    bounds = [rows.bounds_of_logits.py_func(chunk, n, n_rows, n_classes) for chunk in range(n)]
    assert [low for low, _ in bounds] == [0, *(high for _, high in bounds[:-1])]
    assert bounds[-1][1] == n_rows
    lengths = [high - low for low, high in bounds]
    assert max(lengths) - min(lengths) <= 1
