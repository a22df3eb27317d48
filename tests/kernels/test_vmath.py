"""exp, log and log1p of vectors against mpmath, in ULP of the exact result."""

import re

import numpy as np
import pytest
from mpmath import mp, mpf
from numba import njit

from nbsoftmax.kernels.lang import vmath
from nbsoftmax.kernels.lang.simd import lanes, load_part, store_part

PROMISED_ULP = 2
DTYPES = [np.float32, np.float64]


def apply_to_arrays(function):
    @njit
    def mapped(x, out):
        for i in range(0, x.size, lanes(x)):
            n = min(lanes(x), x.size - i)
            store_part(out, i, function(load_part(x, i, n, 1.0)), n)

    def apply(x):
        out = np.empty_like(x)
        mapped(x, out)
        return out

    return apply


@njit
def differences(x, c, out):
    for i in range(0, x.size, lanes(x)):
        n = min(lanes(x), x.size - i)
        store_part(out, i, vmath.exp_of_difference(load_part(x, i, n, -1.0), load_part(c, i, n, 0.0)), n)


def exp_of_difference(x, c):
    out = np.empty_like(x)
    differences(x, np.broadcast_to(np.asarray(c, x.dtype), x.shape).copy(), out)
    return out


exp, log, log1p = apply_to_arrays(vmath.exp), apply_to_arrays(vmath.log), apply_to_arrays(vmath.log1p)
log1p_of_fraction = apply_to_arrays(vmath.log1p_of_fraction)


def worst_ulp(got, x, function):
    """Largest error in units of the spacing of floats at the exact result (the least subnormal's below normal)."""
    mp.prec = 120
    worst = 0.0
    for g, v in zip(got, x, strict=True):
        exact = function(mpf(float(v)))
        ulp = np.spacing(got.dtype.type(abs(float(exact))))
        worst = max(worst, abs(float((mpf(float(g)) - exact) / mpf(float(ulp)))))
    return worst


def sweep(low, high, n, dtype):
    """Evenly spaced floats, nudged off the round numbers that a grid would hit."""
    return (np.linspace(low, high, n) + np.random.default_rng(0).uniform(-1e-3, 1e-3, n)).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_is_within_two_ulp_over_its_whole_range(dtype):
    overflow = float(np.log(np.finfo(dtype).max))
    underflow = float(np.log(np.finfo(dtype).smallest_subnormal))
    x = np.concatenate(
        [sweep(underflow + 1e-2, overflow - 1e-2, 6000, dtype), sweep(-1, 1, 2000, dtype), np.array([0, -0.0], dtype)]
    )
    assert worst_ulp(exp(x), x, mp.exp) <= PROMISED_ULP


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_of_very_negative_numbers_is_subnormal_and_still_within_two_ulp(dtype):
    info = np.finfo(dtype)
    x = sweep(float(np.log(info.smallest_subnormal)) + 1e-2, float(np.log(info.tiny)), 1500, dtype)
    got = exp(x)
    assert (got[:-2] < info.tiny).all()
    assert (got > 0).all()
    assert worst_ulp(got, x, mp.exp) <= PROMISED_ULP


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_at_the_edges(dtype):
    over, under = np.log(np.finfo(dtype).max) * 1.001, np.log(np.finfo(dtype).smallest_subnormal) * 1.01
    x = np.array([-np.inf, np.inf, np.nan, 0, over, under, np.finfo(dtype).max, np.finfo(dtype).min], dtype)
    assert np.array_equal(exp(x), np.array([0, np.inf, np.nan, 1, np.inf, 0, np.inf, 0], dtype), equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_exp_of_a_difference_is_within_two_ulp_over_its_whole_range(dtype):
    underflow = float(np.log(np.finfo(dtype).smallest_subnormal))
    x = np.concatenate(
        [
            -np.exp(sweep(-40, float(np.log(-underflow)) - 1e-2, 4000, np.float64)),
            sweep(underflow + 1e-2, 0, 4000, dtype),
        ]
    ).astype(dtype)
    x = -np.abs(np.append(x, [0, -0.0]).astype(dtype))
    assert worst_ulp(exp_of_difference(x, 0), x, mp.exp) <= PROMISED_ULP


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("padding", [0, 1])  # so that every kind of number has neighbours of another kind
def test_exp_of_a_difference_at_the_edges(dtype, padding):
    largest = np.finfo(dtype).max
    x = np.array([0] * padding + [-np.inf, -np.inf, 0, np.inf, np.nan, 0, -largest, largest, 1, -1e4, 3], dtype)
    c = np.array([0] * padding + [-np.inf, 0, np.inf, np.inf, 0, np.nan, largest, largest, 1, 1e4, np.inf], dtype)
    expected = np.array([1] * padding + [1, 0, 0, 1, np.nan, np.nan, 0, 1, 1, 0, 0], dtype)
    assert np.array_equal(exp_of_difference(x, c), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_is_within_two_ulp_over_its_whole_range(dtype):
    info = np.finfo(dtype)
    exponents = sweep(float(np.log(info.smallest_subnormal)) + 0.1, float(np.log(info.max)) - 0.1, 4000, np.float64)
    x = np.concatenate([np.exp(exponents), np.linspace(0.3, 3, 3000), 1 + np.linspace(-1e-3, 1e-3, 1000)]).astype(dtype)
    assert worst_ulp(log(x), x, mp.log) <= PROMISED_ULP


@pytest.mark.parametrize("dtype", DTYPES)
def test_log_at_the_edges(dtype):
    x = np.array([0, -0.0, -1, np.inf, -np.inf, np.nan, 1], dtype)
    expected = np.array([-np.inf, -np.inf, np.nan, np.inf, np.nan, np.nan, 0], dtype)
    assert np.array_equal(log(x), expected, equal_nan=True)


@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_keeps_its_digits_for_tiny_arguments(dtype):
    x = np.exp(sweep(-60, 0, 4000, np.float64)).astype(dtype)
    assert worst_ulp(log1p(x), x, mp.log1p) <= PROMISED_ULP


@pytest.mark.parametrize("dtype", DTYPES)
def test_log1p_of_a_fraction_is_within_two_ulp_from_0_to_1(dtype):
    tiny = float(np.log(np.finfo(dtype).tiny))
    x = np.concatenate([np.exp(sweep(tiny, 0, 4000, np.float64)), np.linspace(0, 1, 4001)]).astype(dtype)
    assert worst_ulp(log1p_of_fraction(x), x, mp.log1p) <= PROMISED_ULP
    assert np.isnan(log1p_of_fraction(np.array([np.nan], dtype)))


def test_exp_is_vector_code_not_a_call_to_libm():
    @njit
    def mapped(x, out):
        for i in range(0, x.size, lanes(x)):
            store_part(out, i, vmath.exp(load_part(x, i, lanes(x), 0.0)), lanes(x))

    mapped(np.zeros(16), np.zeros(16))
    assembly = "\n".join(mapped.inspect_asm().values())
    assert not re.search(r"^\s*(call|bl|movabs)\w*\s.*\bexpf?\b", assembly, re.MULTILINE)
