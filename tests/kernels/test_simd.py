"""The vector type: each operation against NumPy, lane by lane."""

import ctypes
import mmap
import sys

import numpy as np
import pytest
from numba import njit

from nbsoftmax.kernels.lang import simd
from nbsoftmax.kernels.lang.simd import (
    REGISTERS_OF_TILE,
    Tile,
    add_sums_of,
    filled,
    fma,
    head,
    lane_numbers,
    lanes,
    lanes_of,
    larger,
    load,
    load_converted,
    load_part,
    max_of,
    store,
    store_part,
    sum_of,
    where,
)
from nbsoftmax.kernels.lang.transpose import lanes_to_rows, rows_to_lanes
from nbsoftmax.kernels.lang.vmath import exp

DTYPES = [np.float32, np.float64]


def numbers(n, dtype):
    return np.random.default_rng(n).normal(size=n).astype(dtype)


@njit
def arithmetic(x, y, out):
    width = lanes(x)
    a, b = load(x, 0), load(y, 0)
    store(out, 0, a + b)
    store(out, width, a - b)
    store(out, 2 * width, a * b)
    store(out, 3 * width, a / b)
    store(out, 4 * width, -a)
    store(out, 5 * width, where(a > b, a, b))
    store(out, 6 * width, 2.0 * a + 1)
    store(out, 7 * width, larger(a, 0.25))
    return sum_of(a), max_of(a)


@njit
def four_sums(x, out, i):
    width = lanes(x)
    add_sums_of(load(x, 0), load(x, width), load(x, 2 * width), load(x, 3 * width), out, i)


@pytest.mark.parametrize("dtype", DTYPES)
def test_the_sums_of_four_vectors_are_added(dtype):
    x, out = numbers(4 * lanes_of(np.dtype(dtype)), dtype), np.arange(7, dtype=dtype)
    four_sums(x, out, 2)
    expected = np.arange(7.0)
    expected[2:6] += x.reshape(4, -1).sum(axis=1, dtype=np.float64)
    np.testing.assert_allclose(out, expected, rtol=0, atol=32 * np.finfo(dtype).eps)


@pytest.mark.parametrize("dtype", DTYPES)
def test_operators_act_lane_by_lane_and_numbers_are_spread(dtype):
    width = lanes_of(np.dtype(dtype))
    x, y = numbers(width, dtype), numbers(width + 1, dtype)[1:]
    out = np.empty(8 * width, dtype)
    total, largest = arithmetic(x, y, out)
    two = dtype(2)
    expected = [x + y, x - y, x * y, x / y, -x, np.maximum(x, y), two * x + 1, np.maximum(x, dtype(0.25))]
    assert np.array_equal(out.reshape(8, width)[:6], expected[:6])
    # LLVM may fuse the product and the sum: one rounding less than NumPy's two.
    assert np.abs(out[6 * width : 7 * width] - expected[6]).max() <= 4 * np.finfo(dtype).eps
    assert np.array_equal(out[7 * width :], expected[7])
    assert largest == x.max()
    assert abs(total - x.sum(dtype=np.float64)) <= width * np.finfo(dtype).eps * np.abs(x).sum()


@njit
def fused(x, y, z, out):
    store(out, 0, fma(load(x, 0), load(y, 0), load(z, 0)))


@pytest.mark.skipif(not simd.HAS_FMA, reason="this CPU has no fused multiply-adds")
def test_fma_rounds_once():
    width = lanes_of(np.dtype(np.float64))
    x, out = np.full(width, 1 + 2.0**-30), np.empty(width)
    fused(x, x, np.full(width, -1.0), out)
    assert (out == 2.0**-29 + 2.0**-60).all()  # two roundings would lose the last term


@njit
def copy_part(x, out, n, rest):
    store_part(out, 0, load_part(x, 0, n, rest), n)
    store(out, lanes(x), load_part(x, 0, n, rest))
    store(out, 2 * lanes(x), head(load_part(x, 0, n, rest), n))


@pytest.mark.parametrize("dtype", DTYPES)
def test_partial_loads_and_stores_touch_only_their_lanes(dtype):
    width = lanes_of(np.dtype(dtype))
    for n in range(width + 1):
        x, out = numbers(width, dtype), np.full(3 * width, 7, dtype)
        copy_part(x, out, n, -1.5)
        assert np.array_equal(out[:n], x[:n])
        assert (out[n:width] == 7).all()
        assert np.array_equal(out[width : 2 * width], np.where(np.arange(width) < n, x, dtype(-1.5)))
        assert np.array_equal(out[2 * width :], np.where(np.arange(width) < n, x, dtype(0)))


@njit
def there_and_back(x, tile, out, n_rows, n_used, n_columns):
    for k in range(0, n_columns, lanes(x)):
        rows_to_lanes(x, k, n_columns, n_rows, n_columns - k, tile, k * lanes(tile), 1)
    for k in range(0, n_columns, lanes(x)):
        lanes_to_rows(tile, k * lanes(tile), out, k, n_columns, n_used, n_columns - k, 1)


@njit
def there_and_back_by_halves(x, tile, out, n_rows, n_used, n_columns):
    for k in range(0, n_columns, lanes(x) // 2):
        rows_to_lanes(x, k, n_columns, n_rows, n_columns - k, tile, k * lanes(tile), 2)
    for k in range(0, n_columns, lanes(x) // 2):
        lanes_to_rows(tile, k * lanes(tile), out, k, n_columns, n_used, n_columns - k, 2)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("registers", [1, REGISTERS_OF_TILE])
@pytest.mark.parametrize("transpose", [there_and_back, there_and_back_by_halves])
def test_rows_go_to_lanes_and_back(dtype, registers, transpose):
    width = lanes_of(np.dtype(dtype))
    for n_rows in (1, 2, width - 1, width, width + 1):
        for n_columns in (1, 2, 3, width // 2 + 1, width - 1, width, width + 1, 3 * width + 2):
            x = before_no_memory(numbers(n_rows * n_columns, dtype))
            tile = np.full((4 * width, registers * width), np.nan, dtype)
            used = min(n_rows, width)
            out = np.full(used * n_columns + width, 7, dtype)
            transpose(x, tile.ravel() if registers == 1 else Tile(tile.ravel()), out, n_rows, used, n_columns)
            x = x.reshape(n_rows, n_columns)[:used]
            assert np.array_equal(tile[:n_columns, :used], x.T)
            assert np.isnan(tile[:, width:]).all()
            assert np.array_equal(out[: x.size], x.ravel())
            assert (out[x.size :] == 7).all()  # nothing is written beyond the rows


def before_no_memory(values):
    """A copy whose end is the end of a page, before a page that no process may read: a load beyond it is a crash."""
    if not sys.platform.startswith("linux"):
        return values.copy()
    size = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * size)
    pages = np.frombuffer(memory, np.uint8)
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.mprotect(ctypes.c_void_p(pages.ctypes.data + size), ctypes.c_size_t(size), 0) == 0
    copy = pages[size - values.nbytes : size].view(values.dtype)
    copy[:] = values
    return copy


@njit
def of_a_tile(tile, whole, out, n):
    x, y = load(tile, 0), load(tile, lanes(tile))
    store(tile, 2 * lanes(tile), fma(x, y, filled(tile, 2)))
    store(tile, 3 * lanes(tile), where(x < y, exp(x), lane_numbers(tile)))
    store(tile, 4 * lanes(tile), load_converted(whole, 0, n, -1.0, tile))
    store_part(out, 0, x, n)
    return sum_of(x), max_of(y)


@pytest.mark.parametrize("dtype", DTYPES)
def test_vectors_of_tiles_have_the_width_of_several_registers(dtype):
    width = lanes(Tile(np.empty(0, dtype)))
    assert width == REGISTERS_OF_TILE * lanes_of(np.dtype(dtype))
    whole = np.arange(width, dtype=np.int32) - 3
    for n in range(width + 1):
        tile, out = np.zeros((5, width), dtype), np.full(width + 1, 7, dtype)
        tile[:2] = numbers(2 * width, dtype).reshape(2, width)
        x, y = tile[:2].copy()
        total, largest = of_a_tile(Tile(tile.ravel()), whole, out, n)
        eps = np.finfo(dtype).eps
        assert np.abs(tile[2] - (x * y + 2)).max() <= 4 * eps
        expected = np.where(x < y, np.exp(x), np.arange(width, dtype=dtype))
        assert np.abs(tile[3] / np.where(expected == 0, 1, expected) - (expected != 0)).max() <= 4 * eps
        assert np.array_equal(tile[4], np.where(np.arange(width) < n, whole, -1).astype(dtype))
        assert np.array_equal(out, np.append(np.where(np.arange(width) < n, x, 7), 7).astype(dtype))
        assert largest == y.max()
        assert abs(total - x.sum(dtype=np.float64)) <= width * eps * np.abs(x).sum()


@njit
def converted(source, like, out, n):
    store(out, 0, load_converted(source, 0, n, -1.0, like))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("source", [np.int32, np.float64])
def test_other_dtypes_are_converted_on_loading(dtype, source):
    width = lanes_of(np.dtype(dtype))
    given, out = np.arange(width).astype(source), np.empty(width, dtype)
    converted(given, out, out, 3 if width > 3 else 1)
    expected = np.where(np.arange(width) < (3 if width > 3 else 1), given, -1)
    assert np.array_equal(out, expected.astype(dtype))


def test_the_vector_width_is_that_of_the_host():
    assert simd.VECTOR_BYTES in {16, 32, 64}
    assert lanes_of(np.dtype(np.float32)) == 2 * lanes_of(np.dtype(np.float64))
