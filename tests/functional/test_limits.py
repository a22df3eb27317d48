"""Functions of logits at infinity, at NaN, for huge logits and for nearly certain classes."""

import math

import numpy as np
import pytest
from mpmath import mp

import nbsoftmax as nbs
from tests import reference
from tests.functional.shapes import DTYPES, EPS, FORMS, close, draw, eps_of

INF = np.inf


LIMITS = [
    ([0.0, INF, 1.0], [0, 1, 0]),
    ([INF, 0.0, INF], [0.5, 0, 0.5]),
    ([-INF, 0.0, 0.0], [0, 0.5, 0.5]),
    ([-INF, -INF, -INF], [1 / 3, 1 / 3, 1 / 3]),
    ([INF, INF, INF], [1 / 3, 1 / 3, 1 / 3]),
    ([-INF, INF, -INF], [0, 1, 0]),
    ([1e308, -1e308, 1e308], [0.5, 0, 0.5]),
    ([-1e308, -1e308, -1e308], [1 / 3, 1 / 3, 1 / 3]),
]


@pytest.mark.parametrize("K", [3, 100])  # rows in lanes, and classes in lanes
@pytest.mark.parametrize(("z", "a"), LIMITS)
def test_infinite_and_huge_logits_give_the_limit(z, a, K):
    # more classes of -inf do not change a row, unless all are -inf
    z, a = np.array([z]), np.array([a])
    if K > 3 and not np.isneginf(z).all():
        z, a = np.pad(z, ((0, 0), (0, K - 3)), constant_values=-INF), np.pad(a, ((0, 0), (0, K - 3)))
    eps = np.finfo(float).eps
    assert np.abs(nbs.softmax(z) - a).max() <= eps
    with np.errstate(divide="ignore"):
        log_a = np.log(a)
    actual = nbs.log_softmax(z)
    huge = np.abs(z) == 1e308  # -2e308 is no float64, so log a is -inf there
    assert (np.isneginf(actual[~huge]) == np.isneginf(log_a[~huge])).all()
    seen = np.isfinite(log_a)
    assert np.abs(actual[seen] - log_a[seen]).max() <= 2 * eps
    top = z.max()
    # lse = top + log(number of those that attain it)
    assert nbs.logsumexp(z)[0] == pytest.approx(top + np.log(np.sum(z == top)), rel=2 * eps)


def test_a_finite_log_probability_is_never_minus_infinity():
    log_a = nbs.log_softmax([[0.0, -8e307, 8e307], [1000.0, 0.0, -1000.0]])
    assert np.isfinite(log_a).all()
    assert log_a[0].tolist() == [-8e307, -1.6e308, 0]
    assert log_a[1].tolist() == [0, -1000, -2000]


def test_the_loss_of_a_certain_mistake_is_its_margin_not_infinity():
    assert nbs.cross_entropy([[0.0, 1e6]], [0]) == 1e6
    assert nbs.cross_entropy([[0.0, 1e6]], [1]) == 0
    assert nbs.binary_cross_entropy([1e6, -1e6], [0, 1], reduction="none").tolist() == [1e6, 1e6]
    assert nbs.log_sigmoid([-1e308, 1e308]).tolist() == [-1e308, 0]


def test_a_tiny_loss_keeps_its_digits():
    # -log a = log(1 + exp(-40)) = exp(-40), where a itself rounds to 1
    assert nbs.log_sigmoid(40.0) == pytest.approx(-math.exp(-40), rel=1e-15)
    assert nbs.binary_cross_entropy([40.0], [1]) == pytest.approx(math.exp(-40), rel=1e-15)


def test_probabilities_keep_their_digits_at_large_logits():
    z = np.array([[1e6, 1e6 - 1.0, 1e6 - 3.0]])
    close(nbs.softmax(z), reference.softmax(z - 1e6), np.float64, 4, scale=0.0)  # z - 1e6 is exact


@pytest.mark.parametrize("K", [3, 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_nan_poisons_its_own_row_only(K, dtype):
    z = draw(20, K, dtype)
    clean = nbs.softmax(z), nbs.log_softmax(z), nbs.logsumexp(z)
    y = np.arange(20) % K
    clean_grad = nbs.cross_entropy_and_grad(z, y, reduction="none")
    z[4, K // 2] = np.nan
    z[11, 0] = np.nan
    bad = np.isin(np.arange(20), [4, 11])
    dirty = nbs.softmax(z), nbs.log_softmax(z), nbs.logsumexp(z), *nbs.cross_entropy_and_grad(z, y, reduction="none")
    for before, after in zip([*clean, *clean_grad], dirty, strict=True):
        assert np.isnan(after[bad]).all()
        assert np.array_equal(after[~bad], before[~bad])


def test_sigmoid_at_infinity_and_nan():
    z = [-INF, INF, np.nan, 0.0]
    assert np.array_equal(nbs.sigmoid(z), [0, 1, np.nan, 0.5], equal_nan=True)
    assert np.array_equal(nbs.log_sigmoid(z), [-INF, 0, np.nan, -math.log(2)], equal_nan=True)


def test_an_impossible_class_with_no_target_costs_nothing():
    # 0 log 0 = 0: masked classes (logit -inf) leave the loss of the others alone
    assert nbs.cross_entropy([[0.0, 0.0, -INF]], [[0.5, 0.5, 0.0]]) == pytest.approx(math.log(2), rel=1e-15)
    assert nbs.cross_entropy([[0.0, 0.0, -INF]], [2]) == INF


def test_nothing_is_reported_by_numpy_for_extreme_logits():
    with np.errstate(all="raise"):
        nbs.cross_entropy_and_grad([[1e308, -1e308], [-INF, 0.0]], [0, 1])


def sure(K, d, dtype):
    """One row with the logit 0 for class 1 and -d for all others, and r = (K - 1) exp(-d), the odds against class 1."""
    z = np.full((1, K), -d, dtype)
    z[0, 1] = 0
    return z, (K - 1) * mp.exp(mp.mpf(float(z[0, 0])))


def is_right(actual, exact, dtype, K):
    """Within 4 eps of a result of mpmath, and half an eps for each of at most 64 sums in a chain, and of 64 chains."""
    return abs(mp.mpf(float(actual)) / exact - 1) <= (4 + min(K, 128) / 2) * eps_of(dtype)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", FORMS)
def test_the_loss_and_the_gradient_of_a_sure_sample_keep_their_digits(K, dtype):
    for d in (0.5, 1, 4, 10, 16, 20, 30, 37, 40, 80):
        z, r = sure(K, d, dtype)
        a = r / (1 + r)  # the probability of all other classes
        assert is_right(nbs.logsumexp(z)[0], mp.log1p(r), dtype, K)
        assert is_right(nbs.log_softmax(z)[0, 1], -mp.log1p(r), dtype, K)
        one_hot = np.zeros(K)
        one_hot[1] = 1
        for y, options in (([1], {}), ([1], {"class_weight": np.arange(K) + 1.0}), (one_hot[None], {})):
            w = 2 if options else 1
            loss, grad = nbs.cross_entropy_and_grad(z, y, reduction="sum", **options)
            assert is_right(loss, w * mp.log1p(r), dtype, K)
            assert is_right(nbs.cross_entropy(z, y, reduction="none", **options)[0], w * mp.log1p(r), dtype, K)
            assert is_right(grad[0, 1], -w * a, dtype, K)
            assert is_right(grad[0, 0], w * a / (K - 1), dtype, K)
            assert abs(grad.sum(dtype=np.float64)) <= 16 * eps_of(dtype) * w * float(a)


@pytest.mark.parametrize("K", FORMS)
def test_soft_targets_of_a_sure_sample_keep_the_digits_of_their_gradient(K):
    d, tiny = 40.0, 1e-15
    z, r = sure(K, d, np.float64)
    q = np.full((1, K), tiny / (K - 1))
    q[0, 1] = 1.0  # the sum of the row is 1 + tiny: K probabilities
    a = r / (1 + r)
    grad = nbs.cross_entropy_and_grad(z, q)[1]
    # a_1 (1 + T) - 1 = T - a - a T with T the target of the others
    T = (K - 1) * mp.mpf(float(q[0, 0]))
    assert is_right(grad[0, 1], T - a * (1 + T), np.float64, K)


@pytest.mark.parametrize("K", FORMS)
def test_shared_maxima_and_nan_survive_the_sum_without_the_maximum(K):
    z = np.full((4, K), -80.0)
    z[0, :2] = 0
    z[1, :2] = np.inf
    z[2] = -np.inf
    z[3, K - 1] = np.nan
    assert np.abs(nbs.logsumexp(z[:1]) - math.log(2)).max() <= 4 * EPS
    assert nbs.logsumexp(z)[1:3].tolist() == [np.inf, -np.inf]
    assert np.isnan(nbs.logsumexp(z)[3])
    losses, grad = nbs.cross_entropy_and_grad(z, [0, 1, 0, 0], reduction="none")
    assert np.abs(losses[:3] - [math.log(2), math.log(2), math.log(K)]).max() <= 8 * EPS * math.log(K)
    assert np.abs(grad[:2, :2] - [[-0.5, 0.5], [0.5, -0.5]]).max() <= 4 * EPS
    assert np.isnan(losses[3])


@pytest.mark.parametrize("m", [2, 70])  # rows split over threads, and not
@pytest.mark.parametrize("K", [1000, 40000])
def test_label_smoothing_over_many_classes_in_float32_is_right_to_a_few_eps(m, K):
    if m * K > 100_000:
        K = 4000
    z, y = draw(m, K, np.float32, spread=1.0), np.arange(m)
    eps = np.finfo(np.float32).eps
    for e in (0.1, 0.9):
        losses, grad, _ = reference.cross_entropy(z, y, label_smoothing=e)
        got, got_grad = nbs.cross_entropy_and_grad(z, y, label_smoothing=e, reduction="none")
        # the smoothed target e / K is rounded once, the loss twice; chains of 64 vectors of exp add some eps to log s
        assert (np.abs(got - losses) <= 6 * eps * losses).all()
        assert np.abs(got_grad - grad).max() <= 4 * eps


FAR = [
    # targets so small that the loss fits: p 2e308 = 2e298
    (np.float64, 1e308, [[1 - 1e-10, 1e-10]], {}, 2e298),
    # the least probability times a large weight
    (np.float64, 1e308, [[1.0, 5e-324]], {"sample_weight": [1e200], "reduction": "sum"}, 5e-324 * 2e300 * 1e208),
    (np.float64, 1e308, [[1.0, 5e-324]], {"class_weight": [1, 1e200]}, 5e-324 * 2e300 * 1e208),
    (np.float64, 1e308, [1], {"class_weight": [1, 0.1], "reduction": "sum"}, 2e307),
    (np.float64, 1e308, [1], {"sample_weight": [0.1], "reduction": "none"}, 2e307),
    (np.float64, 1e308, [0], {"label_smoothing": 1e-10}, None),
    # a sum is a Python float: it holds what float32 does not
    (np.float32, 3e38, [1], {}, 2 * float(np.float32(3e38))),
    (np.float32, 3e38, [1], {"sample_weight": [1e-3], "reduction": "none"}, 2e-3 * float(np.float32(3e38))),
]


@pytest.mark.parametrize("K", FORMS)
@pytest.mark.parametrize(("dtype", "x", "y", "options", "expected"), FAR)
def test_a_loss_that_fits_is_finite_though_the_logits_differ_by_more_than_the_largest_number(
    K, dtype, x, y, options, expected
):
    z = np.zeros((1, K), dtype)
    z[0, :2] = x, -x
    if np.ndim(y) == 2:
        y = np.pad(np.array(y), ((0, 0), (0, K - 2)))
    if "class_weight" in options:
        options = options | {"class_weight": np.pad(np.array(options["class_weight"]), (0, K - 2), constant_values=1)}
    if expected is None:  # all other classes cost 1 each, or 2
        expected = 1e-10 / K * (2 + K - 2) * 1e308
    rel = (16 + K / 2) * EPS if dtype is np.float64 else 16 * eps_of(dtype)  # such rows are added up one by one
    assert nbs.cross_entropy(z, y, **options) == pytest.approx(expected, rel=rel)
    loss, grad = nbs.cross_entropy_and_grad(z, y, out=z, **options)
    assert loss == pytest.approx(expected, rel=rel)
    assert np.isfinite(grad).all()


def test_a_loss_that_is_infinite_stays_so():
    for K in FORMS:
        z = np.zeros((2, K))
        z[0, 0], z[1, 1] = -np.inf, np.inf
        assert np.isinf(nbs.cross_entropy(z, [0, 0], reduction="none")).all()


@pytest.mark.parametrize("weight", [1e-60, 1e-39])
def test_weights_that_float32_cannot_hold_count_in_sums(weight):
    z, w = np.zeros(2, np.float32), [weight, weight]
    expected = 2 * weight * np.log(2)
    found = [
        nbs.binary_cross_entropy(z, [1, 0], sample_weight=w, reduction="sum"),
        nbs.binary_cross_entropy(z, [1.0, 0.0], class_weight=w, reduction="sum"),
        nbs.cross_entropy(np.zeros((2, 2), np.float32), np.eye(2), class_weight=w, reduction="sum"),
        nbs.cross_entropy(np.zeros((2, 2), np.float32), [0, 1], sample_weight=w, reduction="sum"),
    ]
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_a_sum_of_weights_that_nothing_is_divided_by_may_overflow():
    large = [1.7e308] * 2
    assert nbs.cross_entropy([[800.0, 0], [800, 0]], [0, 0], sample_weight=large, reduction="sum") == 0
    assert nbs.binary_cross_entropy([800.0, 800], [1, 1], sample_weight=large, reduction="sum") == 0


@pytest.mark.parametrize("options", [{"pos_weight": 0.0}, {"class_weight": [1.0, 0.0]}])
def test_a_binary_sample_without_effect_has_no_gradient_either(options):
    loss, grad = nbs.binary_cross_entropy_and_grad([np.nan, 1.0], [1.0, 0.0], reduction="sum", **options)
    assert loss == pytest.approx(np.log1p(np.e))
    assert grad[0] == 0
    assert grad[1] == pytest.approx(1 / (1 + np.exp(-1)))


@pytest.mark.parametrize("gap", [30.0, 40.0, 300.0])
@pytest.mark.parametrize("axis", [0, -1])
def test_the_jacobian_keeps_the_digits_of_a_probability_near_1(gap, axis):
    a = nbs.softmax([gap, 0.0, -1.0])
    found = nbs.softmax_jacobian(np.stack([a, a[::-1]], axis=1 + axis), axis)
    rest = np.exp(-gap) * (1 + np.exp(-1)) * a[0]  # a_0 (a_1 + a_2)
    assert found[0, 0, 0] == pytest.approx(rest, rel=1e-12, abs=0)
    assert np.abs(found.sum(axis=-1)).max() <= 1e-15 * rest
