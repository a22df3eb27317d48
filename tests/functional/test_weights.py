"""Weights of any size, from denormal to huge."""

import math

import numpy as np
import pytest

import nbsoftmax as nbs
from tests import reference
from tests.functional.shapes import DTYPES, FORMS, draw, eps_of

SIZES = [1e-310, 1e-300, 1e-50, 1e-44, 1e-38, 1.0, 1e38, 1e39, 1e300]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [3, 70])
@pytest.mark.parametrize("size", SIZES)
def test_weights_of_any_size_give_the_results_of_float64(size, K, dtype):
    m, eps = 9, 64 * eps_of(dtype)
    z = draw(m, K, dtype)
    y, q, s = np.arange(m) % K, reference.softmax(draw(m, K, np.float64)), np.linspace(0.5, 1.5, m)
    s[3] = 0
    w = np.linspace(1, 2, K)
    smoothed = {"label_smoothing": 0.1}
    for target, options, scales in (
        (y, {"sample_weight": s}, ("sample_weight",)),
        (y, {"class_weight": w}, ("class_weight",)),
        (y, {"sample_weight": s, "class_weight": w}, ("sample_weight",)),
        (y, {"class_weight": w, **smoothed}, ("class_weight",)),
        (q.astype(dtype), {"sample_weight": s, "class_weight": w}, ("sample_weight",)),
        (q.astype(dtype), {"class_weight": w}, ("class_weight",)),
    ):
        given = {k: size * v if k in scales else v for k, v in options.items()}
        unit = 1.0 if target is y or "class_weight" not in scales else size  # class weights scale means of soft targets
        loss, grad = nbs.cross_entropy_and_grad(z, target, **options)
        got, got_grad = nbs.cross_entropy_and_grad(z, target, **given)
        rel = max(eps, 1e-9 if size < 1e-305 else 0)  # a subnormal number has few digits
        least = K * float(np.finfo(dtype).smallest_subnormal)
        with np.errstate(over="ignore"):
            assert got == pytest.approx(loss * unit, rel=rel)
            expected = (grad.astype(np.float64) * unit).astype(dtype)
            assert np.allclose(got_grad, expected, rtol=rel, atol=eps * unit * float(np.abs(grad).max()) + least)
            losses = nbs.cross_entropy(z, target, reduction="none", **options).astype(np.float64)
            total = nbs.cross_entropy(z, target, reduction="sum", **given)
            assert total == pytest.approx(losses.sum() * size, rel=rel)
            got = nbs.cross_entropy(z, target, reduction="none", **given)
            assert np.allclose(got, (losses * size).astype(dtype), rtol=rel, atol=2 * least)


def test_weights_of_very_different_sizes_do_not_hide_each_other():
    z = np.zeros((2, 3), np.float32)
    for s in ([1.0, 1e50], [1e-300, 1.0], [1e-50, 1e50]):
        losses, grad = nbs.cross_entropy_and_grad(z, [0, 1], sample_weight=s, reduction="none")
        with np.errstate(over="ignore", under="ignore"):
            assert np.allclose(losses, (np.array(s) * math.log(3)).astype(np.float32), rtol=1e-6)
            assert np.allclose(grad[0, 1], np.float32(s[0] / 3), rtol=1e-6)
        assert nbs.cross_entropy(z, [0, 1], sample_weight=s, reduction="sum") == pytest.approx(sum(s) * math.log(3))
    # products that are all 1, though no factor is
    s, w = [1e-200, 1e200], [1e200, 1e-200]
    assert nbs.cross_entropy(z[:, :2], [0, 1], sample_weight=s, class_weight=w) == pytest.approx(math.log(2))


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_that_are_all_the_same_power_of_two_change_no_bit_of_a_mean(dtype):
    for K in (3, 70):
        z, y = draw(9, K, dtype), np.arange(9) % K
        plain, grad = nbs.cross_entropy_and_grad(z, y)
        for power in (-1000, -140, 1, 140, 1000):
            got, got_grad = nbs.cross_entropy_and_grad(z, y, sample_weight=np.full(9, 2.0**power))
            assert got == plain
            assert np.array_equal(got_grad, grad)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", SIZES)
def test_binary_cross_entropy_takes_weights_of_any_size(size, dtype):
    z, y, s = draw(9, 1, dtype)[:, 0], np.arange(9) % 2, np.linspace(0.5, 1.5, 9)
    rel = max(64 * eps_of(dtype), 1e-9 if size < 1e-305 else 0)
    for target, name, weight in ((y, "sample_weight", s), (y, "class_weight", s[:2]), (y / 2, "sample_weight", s)):
        loss, grad = nbs.binary_cross_entropy_and_grad(z, target, **{name: weight})
        got, got_grad = nbs.binary_cross_entropy_and_grad(z, target, **{name: size * weight})
        assert got == pytest.approx(loss, rel=rel)
        assert np.allclose(got_grad, grad, rtol=rel, atol=0)
        total = nbs.binary_cross_entropy(z, target, reduction="sum", **{name: weight})
        got = nbs.binary_cross_entropy(z, target, reduction="sum", **{name: size * weight})
        assert got == pytest.approx(total * size, rel=rel)


@pytest.mark.parametrize("reduction", ["sum", "none"])
@pytest.mark.parametrize("K", FORMS)
def test_weights_that_are_all_zero_give_zero(K, reduction):
    z = draw(2, K, np.float64)
    for options in ({"sample_weight": [0, 0]}, {"class_weight": np.zeros(K)}):
        for y in ([0, 1], reference.softmax(z)):
            loss, grad = nbs.cross_entropy_and_grad(z, y, reduction=reduction, **options)
            assert not np.any(loss)
            assert not grad.any()
    for options in ({"sample_weight": [0, 0]}, {"class_weight": [0, 0]}):
        loss, grad = nbs.binary_cross_entropy_and_grad(z[:, 0], [0, 1], reduction=reduction, **options)
        assert not np.any(loss)
        assert not grad.any()
