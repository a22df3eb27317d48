"""The fused objective against whole matrices in float64, at every shape around the width of a vector and of a tile.

Tolerance: a logit is a sum of N + 1 products of size 1, rounded at most N + 1 times in the dtype of X; what follows
is Lipschitz with constant 1 in it. Errors are random, so 8 sqrt(N + 1) eps covers them, times the size of the terms.
"""

import copy
import pickle

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from tests import reference

DTYPES = [np.float32, np.float64]
CLASSES = [2, 3, 7, 8, 9, 16, 17, 33, 64, 65, 100]
FEATURES = [1, 2, 7, 8, 9, 17, 33, 100]
SAMPLES = [1, 2, 7, 8, 9, 63, 64, 65, 300]


def draw(m, N, K, dtype):
    rng = np.random.default_rng(m + 1000 * N + 1_000_000 * K)
    X = rng.normal(size=(m, N)).astype(dtype)
    scale = 1 / np.sqrt(N + 1)  # logits of size 1
    return X, rng.integers(0, K, m), scale * rng.normal(size=(K, N + 1)), scale * rng.normal(size=(K, N + 1)), rng


def compare(X, y, params, v, K, **options):
    """Value, gradient and Hessian-vector product of the objective and of the reference."""
    J, R = nbs.Objective(X, y, n_classes=K, **options), reference.Objective(X, y, K, **options)
    eps = 8 * np.sqrt(X.shape[1] + 1) * np.finfo(X.dtype).eps
    x = max(1.0, np.abs(X).max())
    value, grad = J.value_and_grad(params)
    expected, expected_grad = R.value_and_grad(params)
    assert grad.shape == J.shape == params.shape
    assert grad.dtype == np.float64
    assert abs(value - expected) <= eps * (1 + abs(expected))
    assert J.value(params) == value
    assert np.abs(grad - expected_grad).max() <= eps * x
    u = np.abs(R.X1 @ v.T).max()
    assert np.abs(J.hvp(params, v) - R.hvp(params, v)).max() <= 2 * eps * x * (1 + u)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_the_objective_is_right_at_every_shape(K, dtype):
    for N in FEATURES:
        for m in SAMPLES:
            X, y, params, v, _ = draw(m, N, K, dtype)
            compare(X, y, params, v, K)


def variants(rng, y, q, m, K):
    s, w = rng.uniform(0.5, 2, m), rng.uniform(0.5, 2, K)
    s[m // 2 :: 5] = 0
    s[0] = 1
    offset = rng.normal(size=(m, K))
    return {
        "l2": (y, {"l2": 0.7}),
        "sample weights": (y, {"sample_weight": s}),
        "class weights": (y, {"class_weight": w}),
        "smoothing": (y, {"label_smoothing": 0.3}),
        "offset": (y, {"offset": offset}),
        "no intercept": (y, {"fit_intercept": False, "l2": 0.7}),
        "probabilities": (q, {}),
        "probabilities, all": (
            q,
            {"l2": 0.7, "sample_weight": s, "class_weight": w, "label_smoothing": 0.3, "offset": offset},
        ),
        "all": (y, {"l2": 0.7, "sample_weight": s, "class_weight": w, "label_smoothing": 0.3, "offset": offset}),
        "all, no intercept": (
            y,
            {"sample_weight": s, "class_weight": w, "label_smoothing": 0.3, "offset": offset, "fit_intercept": False},
        ),
    }


VARIANTS = list(variants(np.random.default_rng(0), None, None, 7, 3))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_option_means_what_the_reference_says(variant, dtype):
    for m, N, K in [(1, 1, 2), (7, 3, 2), (65, 9, 5), (65, 17, 33), (33, 8, 100), (300, 4, 3)]:
        X, y, params, v, rng = draw(m, N, K, dtype)
        q = reference.softmax(rng.normal(size=(m, K))).astype(dtype)
        target, options = variants(rng, y, q, m, K)[variant]
        compare(X, target, params, v, K, **options)


def test_the_objective_is_the_cross_entropy_of_its_logits_plus_the_penalty():
    X, y, params, _, _ = draw(50, 6, 4, np.float64)
    J = nbs.Objective(X, y, n_classes=4, l1=0.3, l2=0.5, label_smoothing=0.1)
    loss = nbs.cross_entropy(X @ params[:, :-1].T + params[:, -1], y, label_smoothing=0.1)
    penalty = 0.3 * np.abs(params[:, :-1]).sum() + 0.25 * (params[:, :-1] ** 2).sum()
    assert abs(J.value(params) - loss - penalty) <= 16 * np.finfo(float).eps * (loss + penalty)


def test_at_zero_the_loss_is_log_of_the_number_of_classes():
    X, y, params, _, _ = draw(50, 6, 4, np.float64)
    assert abs(nbs.Objective(X, y, n_classes=4).value(0 * params) - np.log(4)) <= 4 * np.finfo(float).eps


def test_the_intercept_is_not_penalised():
    X, y, params, _, _ = draw(50, 6, 4, np.float64)
    params[:, :-1] = 0
    plain, penalised = nbs.Objective(X, y), nbs.Objective(X, y, l2=10.0)
    assert plain.value(params) == penalised.value(params)
    assert np.array_equal(plain.value_and_grad(params)[1], penalised.value_and_grad(params)[1])
    v = np.zeros_like(params)
    v[:, -1] = 1.5
    assert np.array_equal(plain.hvp(params, v), penalised.hvp(params, v))


def test_without_an_intercept_its_column_takes_no_part():
    X, y, params, v, _ = draw(50, 6, 4, np.float64)
    J = nbs.Objective(X, y, fit_intercept=False, l2=0.1)
    other, other_v = params.copy(), v.copy()
    other[:, -1] += 3.0
    other_v[:, -1] -= 2.0
    value, grad = J.value_and_grad(params)
    assert J.value(other) == value
    assert (grad[:, -1] == 0).all()
    assert np.array_equal(J.hvp(params, v), J.hvp(other, other_v))
    assert (J.hvp(params, v)[:, -1] == 0).all()


def test_with_l1_there_is_a_value_but_no_derivative():
    X, y, params, v, _ = draw(9, 2, 3, np.float64)
    J = nbs.Objective(X, y, n_classes=3, l1=0.1)
    assert np.isfinite(J.value(params))
    with pytest.raises(nbs.InputValueError, match="l1"):
        J.value_and_grad(params)
    with pytest.raises(nbs.InputValueError, match="l1"):
        J.hvp(params, v)


def test_class_indices_and_one_hot_probabilities_are_the_same_problem():
    X, y, params, v, _ = draw(65, 9, 5, np.float64)
    hard, soft = nbs.Objective(X, y, n_classes=5), nbs.Objective(X, np.eye(5)[y])
    eps = 32 * np.finfo(float).eps
    assert abs(hard.value(params) - soft.value(params)) <= eps
    assert np.abs(hard.value_and_grad(params)[1] - soft.value_and_grad(params)[1]).max() <= eps
    assert np.abs(hard.hvp(params, v) - soft.hvp(params, v)).max() <= eps


def test_its_attributes_are_those_of_the_problem():
    X, y, _, _, _ = draw(50, 6, 4, np.float32)
    J = nbs.Objective(X, y, sample_weight=np.full(50, 2.0), class_weight=[1, 1, 1, 3.0], l1=0.1, l2=0.2)
    assert (J.n_samples, J.n_features, J.n_classes, J.shape) == (50, 6, 4, (4, 7))
    assert J.weight_sum == 2 * (50 + 2 * (y == 3).sum())
    assert (J.penalty.l1, J.penalty.l2, J.fit_intercept, J.dtype) == (0.1, 0.2, True, np.float32)


def test_classes_that_do_not_occur_are_learned_from_too():
    X, params = np.ones((3, 1)), np.zeros((5, 2))
    _, grad = nbs.Objective(X, [0, 1, 1], n_classes=5).value_and_grad(params)
    assert np.abs(grad[:, -1] - (np.full(5, 1 / 5) - [1 / 3, 2 / 3, 0, 0, 0])).max() <= 4 * np.finfo(float).eps


def test_evaluations_leave_params_and_data_as_they_were_and_return_fresh_arrays():
    X, y, params, v, _ = draw(65, 9, 5, np.float64)
    copies = X.copy(), y.copy(), params.copy(), v.copy()
    J = nbs.Objective(X, y, n_classes=5)
    first = J.value_and_grad(params)[1]
    kept = first.copy()
    second = J.value_and_grad(v)[1]
    J.hvp(params, v)
    assert np.array_equal(first, kept)
    assert not np.shares_memory(first, second)
    assert all(np.array_equal(a, b) for a, b in zip((X, y, params, v), copies, strict=True))


def layouts(X):
    read_only = X.copy()
    read_only.flags.writeable = False
    record = np.zeros(X.shape, [("pad", "i1"), ("x", X.dtype)])
    record["x"] = X
    return {
        "fortran": np.asfortranarray(X),
        "strided": np.repeat(np.repeat(X, 2, axis=0), 3, axis=1)[::2, ::3],
        "reversed": np.ascontiguousarray(X[::-1, ::-1])[::-1, ::-1],
        "read-only": read_only,
        "big-endian": X.astype(X.dtype.newbyteorder(">")),
        "packed record": record["x"],
        "list": X.tolist(),
    }


LAYOUT_X, LAYOUT_Y, LAYOUT_PARAMS, LAYOUT_V, _ = draw(65, 9, 5, np.float64)


@pytest.mark.parametrize("layout", layouts(LAYOUT_X))
def test_every_layout_of_X_gives_the_bits_of_the_contiguous_array(layout):
    X = layouts(LAYOUT_X)[layout]
    expected, J = nbs.Objective(LAYOUT_X, LAYOUT_Y, n_classes=5), nbs.Objective(X, LAYOUT_Y, n_classes=5)
    (value, grad), (value_2, grad_2) = expected.value_and_grad(LAYOUT_PARAMS), J.value_and_grad(LAYOUT_PARAMS)
    assert value == value_2
    assert np.array_equal(grad, grad_2)
    assert np.array_equal(expected.hvp(LAYOUT_PARAMS, LAYOUT_V), J.hvp(LAYOUT_PARAMS, LAYOUT_V))


@pytest.mark.parametrize(("given", "dtype"), [("i4", "f8"), ("u1", "f8"), ("bool", "f8"), ("f2", "f4")])
def test_integers_become_float64_and_float16_float32(given, dtype):
    X = np.arange(40).reshape(10, 4).astype(given)
    y, params = np.arange(10) % 3, np.full((3, 5), 0.01)
    J = nbs.Objective(X, y)
    assert J.dtype == dtype
    assert J.value(params) == nbs.Objective(X.astype(dtype), y).value(params)


def test_huge_logits_give_a_finite_loss_and_gradient():
    X, y = np.array([[1.0], [-1.0]]), [0, 1]
    value, grad = nbs.Objective(X, y).value_and_grad([[-1e300, 0.0], [1e300, 0.0]])
    assert value == 2e300
    assert grad.tolist() == [[-1, 0], [1, 0]]


def test_real_data_agree_with_the_reference(shared_data):
    X, y = shared_data("satellite")
    X = (X - X.mean(axis=0)) / X.std(axis=0)
    K, N = y.max() + 1, X.shape[1]
    rng = np.random.default_rng(0)
    params, v = 0.3 * rng.normal(size=(2, K, N + 1))
    compare(X.astype(np.float64), y, params, v, K, l2=1e-3)


def test_margins_are_those_of_plain_numpy():
    rng = np.random.default_rng(0)
    X, y, v, offset = (
        rng.normal(size=(50, 4)),
        rng.integers(0, 3, 50),
        rng.normal(size=(5, 5)),
        rng.normal(size=(50, 5)),
    )
    weight = (rng.uniform(size=50) < 0.8) * 1.0
    z = X @ v[:, :-1].T + v[:, -1] + offset
    kept = [i for i in range(10, 30) if weight[i] > 0]
    J = nbs.Objective(X, y, n_classes=5, sample_weight=weight, offset=offset)
    labels, margins = J.margins(v, slice(10, 30))
    assert labels.tolist() == y[kept].tolist()
    expected = [[z[i, y[i]] - z[i, k] for k in range(5)] for i in kept]
    np.testing.assert_allclose(margins, expected, rtol=0, atol=64 * np.finfo(float).eps * np.abs(z).max())


# --- sure samples, many classes, weights of any size ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [2, 3, 64, 70, 700])
def test_sure_samples_keep_the_digits_of_their_loss_and_gradient(K, dtype):
    """Of two samples x = 1 and x = -1, class 0 and class 1, all other logits are d below the sample's own."""
    X, y = np.array([[1.0], [-1.0]], dtype), np.array([0, 1])
    for d in (10.0, 20.0, 40.0):
        params = np.zeros((K, 2))
        params[:, 1] = -d
        params[:2] = [[d / 2, -d / 2], [-d / 2, -d / 2]]  # its own class has 0, the others -d
        r = (K - 1) * np.exp(-d)
        a = r / (1 + r)
        rel = (8 + min(K, 64) / 2) * float(np.finfo(dtype).eps)
        for options in ({}, {"class_weight": np.full(K, 3.0)}, {"sample_weight": [0.7, 0.7]}):
            J = nbs.Objective(X, y, n_classes=K, **options)
            value, grad = J.value_and_grad(params)
            assert value == pytest.approx(np.log1p(r), rel=rel)
            assert J.value(params) == value
            # (a_0 - 1) x of the one, a_0 x of the other, divided by 2
            assert grad[0, 0] == pytest.approx(-(a + a / (K - 1)) / 2, rel=rel)
            assert grad[0, 1] == pytest.approx(-(a - a / (K - 1)) / 2, rel=rel, abs=rel * a)
            diagonal = J.curvatures(params)[0, 0]  # a_0 (1 - a_0) of both, divided by 2
            p = a / (K - 1)
            assert diagonal == pytest.approx((a * (1 - a) + p * (1 - p)) / 2, rel=rel)
            assert J.blocks(params)[0, 0, 0] == pytest.approx(diagonal, rel=rel)
            one_hot = nbs.Objective(X, np.eye(K, dtype=dtype)[y])
            value, grad_2 = one_hot.value_and_grad(params)
            assert value == pytest.approx(np.log1p(r), rel=rel)
            assert np.abs(grad_2 - grad).max() <= 2 * rel * a


@pytest.mark.parametrize("form", ["chunks", "split"])
def test_label_smoothing_over_many_classes_in_float32_is_right_to_a_few_eps(form):
    K = 2000 if form == "chunks" else 8200
    X, y, params, v, _ = draw(20, 4, K, np.float32)
    J, R = nbs.Objective(X, y, n_classes=K, label_smoothing=0.5), reference.Objective(X, y, K, label_smoothing=0.5)
    eps = float(np.finfo(np.float32).eps)
    value, grad = J.value_and_grad(params)
    expected, expected_grad = R.value_and_grad(params)
    assert value == pytest.approx(expected, rel=4 * eps)
    assert np.abs(grad - expected_grad).max() <= 8 * eps * np.abs(expected_grad).max()
    product = R.hvp(params, v)
    assert np.abs(J.hvp(params, v) - product).max() <= 16 * eps * np.abs(product).max()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", [3, 70])
@pytest.mark.parametrize("power", [-1060, -166, -147, 126, 130, 1000])
def test_weights_that_are_all_the_same_power_of_two_change_no_bit(power, K, dtype):
    X, y, params, v, rng = draw(40, 4, K, dtype)
    w, s = rng.integers(1, 8, K) / 4, rng.integers(0, 8, 40) / 4  # so few digits that they fit subnormal numbers
    unit = 2.0**power
    smoothed = {"label_smoothing": 0.1}
    for options, given in (
        ({}, {"sample_weight": np.full(40, unit)}),
        ({}, {"class_weight": np.full(K, unit)}),
        ({"sample_weight": s}, {"sample_weight": s * unit}),
        ({"class_weight": w}, {"class_weight": w * unit}),
        (smoothed | {"class_weight": w, "sample_weight": s}, smoothed | {"class_weight": w, "sample_weight": s * unit}),
    ):
        J, G = nbs.Objective(X, y, n_classes=K, **options), nbs.Objective(X, y, n_classes=K, **given)
        assert G.weight_sum == J.weight_sum * unit
        assert np.array_equal(G.class_mass, J.class_mass)
        assert G.separable_below == J.separable_below
        value, grad = J.value_and_grad(params)
        value_2, grad_2 = G.value_and_grad(params)
        assert value_2 == value
        assert np.array_equal(grad_2, grad)
        assert np.array_equal(G.hvp(params, v), J.hvp(params, v))
        assert np.array_equal(G.gram(params), J.gram(params))


@pytest.mark.parametrize("dtype", DTYPES)
def test_weights_of_samples_and_classes_may_undo_each_other(dtype):
    X, y, params, v, _ = draw(40, 4, 2, dtype)
    for size in (2.0**100, 2.0**1000):
        J = nbs.Objective(X, y)
        G = nbs.Objective(X, y, sample_weight=np.where(y == 1, size, 1 / size), class_weight=[size, 1 / size])
        assert G.weight_sum == 40
        assert np.array_equal(G.value_and_grad(params)[1], J.value_and_grad(params)[1])
        assert np.array_equal(G.hvp(params, v), J.hvp(params, v))


def test_the_least_of_weights_that_float32_cannot_hold_beside_the_largest_still_counts():
    X, y, params, _, _ = draw(40, 4, 3, np.float32)
    s = np.where(y == 0, 1e-60, 1.0)
    J = nbs.Objective(X, y, n_classes=3, sample_weight=s)
    assert 0 < J.separable_below < 1e-30
    rest = nbs.Objective(X[y > 0], y[y > 0], n_classes=3)
    assert J.value(params) == pytest.approx(rest.value(params), rel=1e-6)


def test_logits_may_differ_by_more_than_the_largest_number():
    X, params = np.array([[1.0], [-1.0]]), np.array([[1e308, 0.0], [-1e308, 0.0], [0.0, 0.0]])
    y = np.array([[1 - 1e-10, 1e-10, 0.0], [1e-10, 1 - 1e-10, 0.0]])
    assert nbs.Objective(X, y).value(params) == pytest.approx(2e298)


@pytest.mark.parametrize("soft", [False, True])
@pytest.mark.parametrize("fit_intercept", [False, True])
@pytest.mark.parametrize("m", [1, 16, 50, 203])  # one block of 16 rows, whole blocks, some rows more
def test_in_float64_a_float32_objective_is_that_of_the_same_numbers_in_float64(soft, fit_intercept, m, monkeypatch):
    monkeypatch.setattr("nbsoftmax.backends.dense.CONVERTED_BYTES", 1)
    rng = np.random.default_rng(m)
    X = (rng.normal(size=(m, 7)) + 1e4).astype(np.float32)
    # Weights and probabilities that float32 holds exactly.
    y = rng.permuted(np.tile([0.5, 0.25, 0.25, 0.0], (m, 1)), axis=1) if soft else rng.integers(0, 4, m)
    options = {
        "n_classes": 4,
        "sample_weight": rng.integers(1, 5, m) / 4,
        "offset": rng.normal(size=(m, 4)).astype(np.float32),
        "l2": 0.1,
        "fit_intercept": fit_intercept,
    }
    options |= {} if soft else {"class_weight": [1.0, 2.0, 0.5, 4.0]}
    params = rng.normal(size=(4, 8))
    J32, J64 = nbs.Objective(X, y, **options), nbs.Objective(X.astype(np.float64), y, **options)
    fine = J32.in_float64()
    value, grad = J64.value_and_grad(params)
    assert fine.value(params) == pytest.approx(value, rel=1e-11)
    assert fine.value_and_grad(params)[0] == fine.value(params)
    # The logits are sums of 1e4: cancellation leaves eps times that.
    np.testing.assert_allclose(fine.value_and_grad(params)[1], grad, rtol=1e-10, atol=1e-10 * np.abs(grad).max())
    assert np.array_equal(fine.hvp(params, params), J32.hvp(params, params))
    whole = J32.in_float64(hessian=True)
    assert whole.value(params) == fine.value(params)
    for of in ("curvatures", "gram", "blocks", "hessian"):
        expected = getattr(J64, of)(params)
        np.testing.assert_allclose(getattr(whole, of)(params), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    expected = J64.hvp(params, params)
    np.testing.assert_allclose(whole.hvp(params, params), expected, rtol=1e-9, atol=1e-9 * np.abs(expected).max())
    assert fine.in_float64() is fine
    assert J64.in_float64() is J64
    more = nbs.Objective(X, y, **options, n_threads=1).in_float64().value_and_grad(params)
    assert more[0] == fine.value(params)
    assert np.array_equal(more[1], fine.value_and_grad(params)[1])


def test_an_objective_of_sparse_rows_that_has_been_used_can_be_copied_and_pickled():
    X = sparse.random_array((40, 6), density=0.4, format="csr", rng=np.random.default_rng(0))
    objective = nbs.Objective(X, np.arange(40) % 3)
    params = np.ones(objective.shape)
    expected = objective.value_and_grad(params)
    for again in (copy.deepcopy(objective), pickle.loads(pickle.dumps(objective))):
        value, gradient = again.value_and_grad(params)
        assert value == expected[0]
        np.testing.assert_array_equal(gradient, expected[1])
