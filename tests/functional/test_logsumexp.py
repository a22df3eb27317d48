"""Log-sum-exp with factors of any sign, against mpmath and SciPy."""

import numpy as np
import pytest
import scipy.special
from hypothesis import given
from hypothesis import strategies as st
from mpmath import mp

import nbsoftmax as nbs
from tests.functional.shapes import DTYPES

EPS = np.finfo(np.float64).eps


def exact(z, b):
    """Logarithm of the absolute value of the sum in 600 digits, its sign, and the condition of the sum."""
    with mp.workdps(600):
        terms = [mp.mpf(float(x)) * mp.exp(mp.mpf(float(y))) for x, y in zip(b, z, strict=True)]
        total = mp.fsum(terms)
        if total == 0:
            return -np.inf, 0.0, np.inf
        return float(mp.log(abs(total))), float(mp.sign(total)), float(mp.fsum(map(abs, terms)) / abs(total))


sizes = st.floats(-1e3, 1e3)
factors = st.one_of(st.just(0.0), st.floats(-2, 2), st.floats(1e-300, 1e300), st.floats(-1e300, -1e-300))


@given(st.lists(st.tuples(sizes, factors), min_size=1, max_size=12))
def test_the_logarithm_and_the_sign_of_a_sum_are_those_of_mpmath(terms):
    z, b = np.array(terms).T
    lse, sign = nbs.logsumexp(z, b=b, return_sign=True)
    expected, expected_sign, condition = exact(z, b)
    if condition > 1e12:  # terms that cancel leave few digits, or none
        return
    assert sign == expected_sign
    if np.isfinite(expected):
        # terms and result are sums of a logit and the logarithm of a factor, which are rounded to eps of their size
        size = np.abs(z).max() + np.abs(np.log(np.abs(b[b != 0]))).max()
        assert abs(lse - expected) <= 16 * EPS * (1 + condition) * (1 + size + len(z))
    else:
        assert lse == expected
    negative = nbs.logsumexp(z, b=b)
    assert np.isnan(negative) if sign < 0 else negative == lse


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None])
@pytest.mark.parametrize("b_shape", [(3, 4, 5), (5,), (4, 1), (), (1, 4, 5), (2, 3, 4, 5)])
def test_factors_are_broadcast_as_in_scipy(b_shape, axis):
    rng = np.random.default_rng(0)
    z, b = rng.normal(size=(3, 4, 5)), rng.normal(size=b_shape)
    for keepdims in (False, True):
        ours = nbs.logsumexp(z, axis, b=b, keepdims=keepdims, return_sign=True)
        theirs = scipy.special.logsumexp(z, axis, b=b, keepdims=keepdims, return_sign=True)
        for found, expected in zip(ours, theirs, strict=True):
            assert np.shape(found) == np.shape(expected)
            assert np.allclose(found, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("dtype", DTYPES)
def test_factors_of_one_give_the_plain_logarithm_and_keep_the_dtype(dtype):
    z = np.random.default_rng(1).normal(scale=5, size=(50, 1000)).astype(dtype)
    lse, sign = nbs.logsumexp(z, b=1.0, return_sign=True)
    assert lse.dtype == sign.dtype == dtype
    assert np.abs(lse - nbs.logsumexp(z)).max() <= 16 * np.finfo(dtype).eps * np.abs(lse).max()
    assert (sign == 1).all()
    plain, plain_sign = nbs.logsumexp(z, return_sign=True)
    assert plain_sign.dtype == dtype
    assert (plain_sign == 1).all()
    assert np.array_equal(plain, nbs.logsumexp(z))


INF, NAN = np.inf, np.nan


@pytest.mark.parametrize(
    ("z", "b", "lse", "sign"),
    [
        ([1000.0, 1000.0], [1, -1], -INF, 0),  # nothing is left
        ([1000.0, 1000.0], [2, -1], 1000, 1),
        ([0.0, 0.0], [0, 0], -INF, 0),
        ([-INF, -INF], [1, 1], -INF, 0),
        ([INF, 0.0], [1, -1], INF, 1),
        ([INF, 0.0], [-1, 1], INF, -1),
        ([INF, INF], [1, -1], NAN, NAN),  # inf - inf
        ([NAN, 0.0], [1, 1], NAN, NAN),
        ([NAN, INF, 2.0], [0, 0, 1], 2, 1),  # a factor of 0 excludes its logit
        ([1e308, -1e308], [1, 1], 1e308, 1),
        ([1000.0, 0.0], [1e-300, 1e300], 690.7755278982137, 1),  # 300 log 10: the larger term has the smaller logit
        ([1e4, 0.0], [5e-324, 1e308], 1e4 - 744.4400719213812, 1),  # 1e4 + log(5e-324)
    ],
)
def test_limits_of_sums_with_signs(z, b, lse, sign):
    found, found_sign = nbs.logsumexp(z, b=b, return_sign=True)
    np.testing.assert_allclose(found, lse, rtol=4 * EPS)
    np.testing.assert_equal(found_sign, sign)


def test_signs_without_factors():
    lse, sign = nbs.logsumexp([[1.0, -INF], [-INF, -INF], [INF, 1.0], [NAN, 1.0]], return_sign=True)
    np.testing.assert_equal(lse, [1, -INF, INF, NAN])
    np.testing.assert_equal(sign, [1, 0, 1, NAN])


@pytest.mark.parametrize(
    ("b", "error", "message"),
    [
        (
            [1.0, 2.0, 3.0],
            nbs.InputValueError,
            r"b has shape \(3,\), which cannot be broadcast with logits of shape \(2,\)",
        ),
        ([1.0, NAN], nbs.InputValueError, "b contains NaN or inf"),
        ([1.0, INF], nbs.InputValueError, "b contains NaN or inf"),
        ([1.0, 1j], nbs.InputTypeError, "b is complex"),
        (["1", "2"], nbs.InputTypeError, "b has dtype"),
    ],
)
def test_bad_factors_are_refused(b, error, message):
    with pytest.raises(error, match=message):
        nbs.logsumexp([0.0, 1.0], b=b)


def test_many_rows_are_summed_block_by_block():
    rng = np.random.default_rng(2)
    z, b = rng.normal(size=(3000, 40)), rng.normal(size=(3000, 40))
    lse, sign = nbs.logsumexp(z, b=b, return_sign=True)
    total = (b * np.exp(z)).sum(axis=1)
    assert np.array_equal(sign, np.sign(total))
    # sums that cancel lose digits in both
    assert np.allclose(np.exp(lse) * sign, total, rtol=0, atol=1e-12)
