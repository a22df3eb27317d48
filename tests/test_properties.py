"""Properties of the functions and of the objective, on inputs that Hypothesis looks for."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from mpmath import mp

import nbsoftmax as nbs
from nbsoftmax.testing import Problem, class_labels, logits, problems, target_proba, weights
from tests import reference

EPS = np.finfo(np.float64).eps
DTYPES = [np.float32, np.float64]


def rows(dtype, **options):
    """Logits of few classes, which the kernels keep in lanes row by row, and of many, whose classes are in lanes."""
    return logits(dtype=dtype, **options) | logits((2, 70), dtype=dtype, **options)


def eighths(dtype):
    """Logits that are multiples of 1/8 up to 64: whole shifts up to 2^17 and their differences are exact."""
    element = st.integers(-512, 512).map(lambda n: n / 8)
    return st.tuples(st.integers(1, 5), st.integers(1, 12) | st.just(70)).flatmap(
        lambda shape: hnp.arrays(np.float64, shape, elements=element).map(lambda z: z.astype(dtype))
    )


# --- functions of logits ---


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_rows_sum_to_one(dtype, data):
    z = data.draw(rows(dtype, infinities=True))
    a = nbs.softmax(z)
    # adding K terms of one sign costs at most K / 2 eps, scaling each 1 eps
    assert (np.abs(a.sum(axis=1, dtype=np.float64) - 1) <= (2 + z.shape[1] / 2) * np.finfo(dtype).eps).all()


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_row_of_many_classes_sums_to_one_within_a_few_ulp(dtype):
    z = np.random.default_rng(0).normal(size=(50, 1000)).astype(dtype)
    assert np.abs(nbs.softmax(z).sum(axis=1, dtype=np.float64) - 1).max() <= 4 * np.finfo(dtype).eps


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_probabilities_lie_between_zero_and_one(dtype, data):
    z = data.draw(rows(dtype, infinities=True))
    a = nbs.softmax(z)
    assert ((a >= 0) & (a <= 1)).all()
    assert (nbs.log_softmax(z) <= 0).all()
    s = nbs.sigmoid(z)
    assert ((s >= 0) & (s <= 1)).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_softmax_agrees_with_the_reference_at_every_magnitude(dtype, data):
    z = data.draw(rows(dtype, infinities=True))
    K, eps = z.shape[1], np.finfo(dtype).eps
    # the rounding of z - c costs |z - c| eps / 2, which is at most 52 eps (float32) or 373 eps before exp is 0
    d = np.minimum(np.abs(reference.below(z)), 104 if dtype is np.float32 else 746)
    expected = reference.softmax(z)
    assert (
        np.abs(nbs.softmax(z) - expected) <= (4 + K / 2 + d / 2) * eps * expected + np.finfo(dtype).smallest_subnormal
    ).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_logsumexp_agrees_with_the_reference_at_every_magnitude(dtype, data):
    z = data.draw(rows(dtype, infinities=True))
    expected = reference.logsumexp(z)
    finite = np.isfinite(expected)
    actual = nbs.logsumexp(z)
    assert np.array_equal(actual[~finite], expected[~finite])
    # log s lies between 0 and log K and is right to K / 2 + 2 eps; the sum c + log s is rounded once
    size = np.abs(expected[finite]) + 4 + z.shape[1] / 2
    assert (np.abs(actual[finite] - expected[finite]) <= np.finfo(dtype).eps * size).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_softmax_is_invariant_to_a_shift_of_the_logits(dtype, data):
    z, shift = data.draw(eighths(dtype)), data.draw(st.integers(-(2**17), 2**17))
    shifted = z + dtype(shift)  # exact, so the result must be the same bit for bit
    assert np.array_equal(nbs.softmax(shifted), nbs.softmax(z))
    assert np.array_equal(nbs.log_softmax(shifted), nbs.log_softmax(z))


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_permuting_rows_permutes_the_result_bit_for_bit(dtype, data):
    z = data.draw(rows(dtype, infinities=True))
    order = np.array(data.draw(st.permutations(range(len(z)))), int)
    assert np.array_equal(nbs.softmax(z[order]), nbs.softmax(z)[order])
    assert np.array_equal(nbs.log_softmax(z[order]), nbs.log_softmax(z)[order])
    assert np.array_equal(nbs.logsumexp(z[order]), nbs.logsumexp(z)[order])


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_permuting_classes_permutes_the_probabilities(dtype, data):
    z = data.draw(rows(dtype, infinities=True))
    order = data.draw(st.permutations(range(z.shape[1])))
    a = nbs.softmax(z)[:, order]
    # the exponentials are the same; their sum is added up in another order, and enters once more by its reciprocal
    assert (np.abs(nbs.softmax(z[:, order]) - a) <= (2 + z.shape[1]) * np.finfo(dtype).eps * a).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_exp_of_log_softmax_is_softmax(dtype, data):
    z = data.draw(rows(dtype, infinities=True))
    a, log_a = nbs.softmax(z), nbs.log_softmax(z)
    # exp turns the absolute error of its argument, |log a| eps, into a relative one
    size = np.abs(np.where(a > 0, log_a, 0))
    bound = (4 + z.shape[1] / 2 + size) * np.finfo(dtype).eps * a + 2 * np.finfo(dtype).tiny
    assert (np.abs(np.exp(log_a.astype(np.float64)) - a) <= bound).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_softmax_of_two_classes_is_the_sigmoid_of_their_difference(dtype, data):
    z = data.draw(logits((3, 2), dtype=dtype, largest=1e4))
    difference = z[:, 0] - z[:, 1]  # rounded as softmax rounds it
    for f, g in ((nbs.softmax, nbs.sigmoid), (nbs.log_softmax, nbs.log_sigmoid)):
        a = f(z)[:, 0]
        tiny = np.finfo(dtype).eps if f is nbs.log_softmax else np.finfo(dtype).tiny  # log(1 + little)
        assert (np.abs(a - g(difference)) <= 4 * np.finfo(dtype).eps * np.abs(a) + tiny).all()


@given(data=st.data())
def test_sigmoid_and_its_mirror_image_sum_to_one(data):
    z = data.draw(logits())
    assert (np.abs(nbs.sigmoid(z) + nbs.sigmoid(-z) - 1) <= 2 * EPS).all()


@pytest.mark.parametrize("dtype", DTYPES)
@given(data=st.data())
def test_gradient_rows_sum_to_zero(dtype, data):
    z = data.draw(rows(dtype, infinities=True))
    m, K = z.shape
    y = data.draw(target_proba(m, K, dtype=dtype) if data.draw(st.booleans()) else class_labels(m, K))
    w = data.draw(st.none() | weights(K, zeros=False))
    _, grad = nbs.cross_entropy_and_grad(z, y, class_weight=w, label_smoothing=0.2, reduction="none")
    mass = 1 if w is None else w.max()
    assert (np.abs(grad.sum(axis=1, dtype=np.float64)) <= (4 + K) * np.finfo(dtype).eps * mass).all()


@given(data=st.data())
def test_the_loss_is_convex_in_the_logits_and_never_negative(data):
    shape = (4, 3)
    z1, z2 = data.draw(logits(shape, largest=1e6)), data.draw(logits(shape, largest=1e6))
    y = data.draw(class_labels(4, 3))
    half = nbs.cross_entropy((z1 + z2) / 2, y)
    chord = (nbs.cross_entropy(z1, y) + nbs.cross_entropy(z2, y)) / 2
    assert half >= 0
    assert half <= chord + 8 * EPS * (1 + np.abs(z1).max() + np.abs(z2).max())


@given(data=st.data())
def test_float32_is_close_to_float64(data):
    z = data.draw(rows(np.float32, largest=1e3))
    eps = np.finfo(np.float32).eps
    single, double = nbs.softmax(z), nbs.softmax(z.astype(np.float64))
    assert (np.abs(single - double) <= (4 + z.shape[1] / 2 + 52) * eps * double + np.finfo(np.float32).tiny).all()
    difference = np.abs(nbs.log_softmax(z) - nbs.log_softmax(z.astype(np.float64)))
    assert (difference <= eps * (8 + np.abs(reference.log_softmax(z)))).all()


# --- the objective of a linear model ---


def objective(problem: Problem, **options) -> nbs.Objective:
    return nbs.Objective(
        problem.X, problem.y, n_classes=problem.n_classes, sample_weight=problem.sample_weight, **options
    )


def params_of(problem, seed):
    return np.random.default_rng(seed).normal(size=(problem.n_classes, problem.X.shape[1] + 1))


SEEDS = st.integers(0, 2**32 - 1)


@given(problem=problems(), seed=SEEDS, l2=st.sampled_from([0.0, 0.5]))
def test_gradient_is_what_central_differences_give(problem, seed, l2):
    J, w, v = objective(problem, l2=l2), params_of(problem, seed), params_of(problem, seed + 1)
    h = EPS ** (1 / 3)
    value, grad = J.value_and_grad(w)
    difference = (J.value(w + h * v) - J.value(w - h * v)) / (2 * h)
    # truncation: h^2 / 6 times the third derivative, which is at most |X v|^3; rounding: eps |J| / h
    u = np.abs(np.c_[problem.X, np.ones(len(problem.X))] @ v.T).max()
    assert abs(np.vdot(grad, v) - difference) <= h**2 * u**3 + 8 * EPS * (1 + u + abs(value)) / h


@given(problem=problems(), seed=SEEDS, l2=st.sampled_from([0.0, 0.5]))
def test_hessian_vector_product_is_what_differences_of_gradients_give(problem, seed, l2):
    J, w, v = objective(problem, l2=l2), params_of(problem, seed), params_of(problem, seed + 1)
    h = EPS ** (1 / 3)
    difference = (J.value_and_grad(w + h * v)[1] - J.value_and_grad(w - h * v)[1]) / (2 * h)
    x = np.abs(problem.X).max(initial=1)
    u = np.abs(np.c_[problem.X, np.ones(len(problem.X))] @ v.T).max()
    scale = np.abs(w).max() + 1
    assert np.abs(J.hvp(w, v) - difference).max() <= x * (h**2 * u**3 + 32 * EPS * (1 + u) * scale / h)


@given(problem=problems(), seed=SEEDS)
def test_hessian_is_symmetric_and_never_negative(problem, seed):
    J, w = objective(problem), params_of(problem, seed)
    v1, v2 = params_of(problem, seed + 1), params_of(problem, seed + 2)
    h1, h2 = J.hvp(w, v1), J.hvp(w, v2)
    size = np.abs(h1).sum() * np.abs(v2).max() + np.abs(h2).sum() * np.abs(v1).max() + np.abs(problem.X).max() ** 2 + 1
    assert abs(np.vdot(h1, v2) - np.vdot(h2, v1)) <= 64 * EPS * size
    assert np.vdot(h1, v1) >= -64 * EPS * size


@given(problem=problems(), seed=SEEDS, t=st.floats(0, 1))
def test_the_objective_is_convex_along_a_segment(problem, seed, t):
    J, p, q = objective(problem, l1=0.1, l2=0.1), params_of(problem, seed), params_of(problem, seed + 1)
    chord = (1 - t) * J.value(p) + t * J.value(q)
    assert J.value((1 - t) * p + t * q) <= chord + 32 * EPS * (1 + chord)


@given(problem=problems(weighted=False), seed=SEEDS, data=st.data())
def test_weights_equal_repetition_of_rows(problem, seed, data):
    m = len(problem.X)
    times = np.array(data.draw(st.lists(st.integers(0, 3), min_size=m, max_size=m)))
    times[0] += times.sum() == 0
    weighted = objective(Problem(problem.X, problem.y, problem.n_classes, times.astype(float)))
    repeated = objective(
        Problem(np.repeat(problem.X, times, axis=0), np.repeat(problem.y, times, axis=0), problem.n_classes, None)
    )
    w, v = params_of(problem, seed), params_of(problem, seed + 1)
    (value, grad), (value_2, grad_2) = weighted.value_and_grad(w), repeated.value_and_grad(w)
    x = np.abs(problem.X).max(initial=1)
    assert weighted.weight_sum == repeated.weight_sum
    assert abs(value - value_2) <= 32 * EPS * (1 + value)
    assert np.abs(grad - grad_2).max() <= 64 * EPS * x
    assert np.abs(weighted.hvp(w, v) - repeated.hvp(w, v)).max() <= 64 * EPS * x * x * np.abs(v).max() * (v.shape[1])


@given(problem=problems(), seed=SEEDS)
def test_a_shift_of_all_classes_by_one_vector_changes_nothing(problem, seed):
    J, w = objective(problem), params_of(problem, seed)
    shifted = w + params_of(problem, seed + 1)[:1]
    size = 64 * EPS * (1 + np.abs(problem.X).max() * np.abs(shifted).max() * w.shape[1])
    assert abs(J.value(w) - J.value(shifted)) <= size
    assert np.abs(J.hvp(w, np.broadcast_to(shifted[:1] - w[:1], w.shape))).max() <= size * (1 + np.abs(problem.X).max())


@given(problem=problems(dtype=np.float32), seed=SEEDS)
def test_the_objective_in_float32_is_close_to_float64(problem, seed):
    w, v = params_of(problem, seed), params_of(problem, seed + 1)
    y = problem.y if problem.y.ndim == 1 else problem.y.astype(np.float64)
    double = objective(Problem(problem.X.astype(np.float64), y, problem.n_classes, problem.sample_weight))
    single = objective(problem)
    assert single.dtype == np.float32
    x, eps = np.abs(problem.X).max(initial=1), np.finfo(np.float32).eps
    terms = w.shape[1] * x * np.abs(w).max()  # the size of a logit, and of its rounding in eps
    (value, grad), (value_2, grad_2) = single.value_and_grad(w), double.value_and_grad(w)
    assert grad.dtype == np.float64
    assert abs(value - value_2) <= 8 * eps * (1 + terms)
    assert np.abs(grad - grad_2).max() <= 8 * eps * x * (1 + terms)
    bound = 32 * eps * x * (1 + terms) * (w.shape[1] * x * np.abs(v).max())
    assert np.abs(single.hvp(w, v) - double.hvp(w, v)).max() <= bound


# --- tiny losses ---


def exact_rest(z):
    """Sum of exp(z - max) without one maximum, by mpmath."""
    z = sorted((mp.mpf(float(x)) for x in z), reverse=True)
    return mp.fsum(mp.exp(x - z[0]) for x in z[1:])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [2, 5, 70])
@given(data=st.data())
def test_logsumexp_and_its_relatives_are_right_to_a_few_ulp_however_sure_the_row_is(K, dtype, data):
    top = 700 if dtype is np.float64 else 85  # beyond, exp is subnormal
    d = data.draw(hnp.arrays(np.float64, K - 1, elements=st.floats(0, top)))
    place = data.draw(st.integers(0, K - 1))
    z = np.insert(-d, place, 0.0).astype(dtype)
    rest = exact_rest(z)
    lse = mp.log1p(rest)
    # exp 2 ULP, log1p 2 ULP, and K - 1 sums of one sign, half an ULP each; s - 1 of s >= 2 doubles what s has
    allowed = (4 + K) * mp.mpf(float(np.finfo(dtype).eps))
    assert abs(nbs.logsumexp(z) - lse) <= allowed * lse
    assert abs(nbs.log_softmax(z)[place] + lse) <= allowed * lse
    loss, grad = nbs.cross_entropy_and_grad(z, place)
    assert abs(loss - lse) <= allowed * lse
    assert abs(grad[place] + rest / (1 + rest)) <= allowed * rest
    assert abs(mp.fsum(mp.mpf(float(g)) for g in grad)) <= allowed * rest


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [2, 5, 70])
@given(data=st.data())
def test_the_rounding_of_differences_of_logits_costs_at_most_half_of_them_in_eps(K, dtype, data):
    top = 340 if dtype is np.float64 else 40  # beyond, probabilities may be subnormal
    z = data.draw(hnp.arrays(np.float64, K, elements=st.floats(-top, top))).astype(dtype)
    c, eps = max(map(float, z)), mp.mpf(float(np.finfo(dtype).eps))
    d = [mp.mpf(float(x)) - c for x in z]
    s = mp.fsum(map(mp.exp, d))
    most = max(map(abs, d))
    for a, x in zip(nbs.softmax(z), d, strict=True):
        exact = mp.exp(x) / s
        assert abs(mp.mpf(float(a)) - exact) <= (4 + K + most / 2) * eps * exact
    place = int(z.argmax())
    loss, grad = nbs.cross_entropy_and_grad(z, place)
    rest = exact_rest(z)
    assert abs(loss - mp.log1p(rest)) <= (4 + K + most / 2) * eps * mp.log1p(rest)
    assert abs(grad[place] + rest / (1 + rest)) <= (4 + K + most / 2) * eps * rest
