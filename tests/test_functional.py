"""Functions of logits against the reference, at every shape around the width of a vector, and at their edges.

Tolerances are multiples of the dtype's eps. A probability exp(z - c) / s is as good as z - c, whose rounding costs
|z - c| eps / 2; exp and the division cost 2 eps; the sum of K terms of one sign costs at most K / 2 eps but adds up
in several lanes, so 8 eps covers it for K = 1000.
"""

import math

import numpy as np
import pytest
from mpmath import mp

import nbsoftmax as nbs
from nbsoftmax.kernels.lang.simd import lanes_of
from nbsoftmax.kernels.long_rows import SEGMENT_CLASSES
from tests import reference

DTYPES = [np.float32, np.float64]
EPS = np.finfo(np.float64).eps
CLASSES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100, 1000]  # around every vector width and the tile's end
SAMPLES = [0, 1, 2, 7, 8, 9, 63, 64, 65, 300]


def samples(K):
    return SAMPLES if K <= 100 else SAMPLES[:7]


def draw(m, K, dtype, spread=3.0):
    return np.asarray(np.random.default_rng(1000 * K + m).normal(scale=spread, size=(m, K)), dtype)


def surrounded_by_nan(z):
    """The same logits in the middle of NaN: a kernel that reads a neighbour gives itself away."""
    memory = np.full(z.size + 128, np.nan, z.dtype)
    middle = memory[64 : 64 + z.size].reshape(z.shape)
    middle[...] = z
    return middle


class Guarded:
    """An output array in the middle of memory that must stay as it is."""

    def __init__(self, shape, dtype):
        size = math.prod(shape)
        self.memory = np.full(size + 128, 7.5, dtype)
        self.array = self.memory[64 : 64 + size].reshape(shape)

    def kept_its_surroundings(self):
        return (self.memory[:64] == 7.5).all() and (self.memory[64 + self.array.size :] == 7.5).all()


def close(actual, expected, dtype, n_eps, scale=1.0):
    """|actual - expected| <= n_eps eps max(|expected|, scale), entry by entry, with this shape and dtype."""
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    assert np.asarray(actual).dtype == dtype
    assert (np.abs(actual - expected) <= n_eps * np.finfo(dtype).eps * np.maximum(np.abs(expected), scale)).all()


def chain(n, dtype):
    """Eps that n positive numbers, added up in the lanes of one vector, may cost: half of one for each partial sum.

    These grow evenly, to the whole, so that half of n / lanes partial sums are as large as the whole. The narrower the
    vectors of a CPU, the longer the chains.
    """
    return n / lanes_of(np.dtype(dtype)) / 4


# --- softmax, log_softmax, logsumexp at every shape ---


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_softmax_is_right_and_stays_in_its_memory_at_every_shape(K, dtype):
    for m in samples(K):
        z = draw(m, K, dtype)
        out = Guarded(z.shape, dtype)
        assert nbs.softmax(surrounded_by_nan(z), out=out.array) is not None
        spread = np.abs(reference.below(z)).max(initial=0)
        close(out.array, reference.softmax(z), dtype, 12 + spread / 2, scale=0.0)
        assert out.kept_its_surroundings()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_log_softmax_is_right_and_stays_in_its_memory_at_every_shape(K, dtype):
    for m in samples(K):
        z = draw(m, K, dtype)
        out = Guarded(z.shape, dtype)
        nbs.log_softmax(surrounded_by_nan(z), out=out.array)
        # log s of a sum that is right to 8 eps is right to 8 eps in absolute terms
        close(out.array, reference.log_softmax(z), dtype, 10)
        assert out.kept_its_surroundings()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_logsumexp_is_right_at_every_shape(K, dtype):
    for m in samples(K):
        z = draw(m, K, dtype)
        close(nbs.logsumexp(surrounded_by_nan(z)), reference.logsumexp(z), dtype, 10)


# --- cross-entropy at every shape, with every kind of target ---


def options(m, K, dtype):
    """Every kind of target with every kind of weight, the plain ones first."""
    rng = np.random.default_rng(m + 31 * K)
    y, q = rng.integers(0, K, m), reference.softmax(rng.normal(size=(m, K)))
    s, w = rng.uniform(0.5, 2, m), rng.uniform(0.5, 2, K)
    q = np.asarray(q, dtype)
    ignored = np.where(rng.random(m) < 0.3, -100, y)
    return [
        (y, {}),
        (q, {}),
        (y, {"sample_weight": s}),
        (y, {"class_weight": w}),
        (y, {"label_smoothing": 0.3}),
        (ignored, {"ignore_index": -100}),
        (ignored, {"ignore_index": -100, "sample_weight": s, "class_weight": w, "label_smoothing": 0.3}),
        (q, {"sample_weight": s, "class_weight": w, "label_smoothing": 0.3}),
    ]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("K", CLASSES)
def test_cross_entropy_and_its_gradient_are_right_at_every_shape_and_target(K, dtype):
    for m in samples(K):
        z = draw(m, K, dtype)
        guarded = surrounded_by_nan(z)
        for y, target in options(m, K, dtype):
            losses, grad, divisor = reference.cross_entropy(z, y, **target)
            out = Guarded(z.shape, dtype)
            loss, dlogits = nbs.cross_entropy_and_grad(guarded, y, reduction="none", out=out.array, **target)
            close(loss, losses, dtype, 32)  # the weights, each rounded once, and up to K products
            # a - y cancels, so the error is that of a, which is at most 1, times weights of at most 4
            close(dlogits, grad, dtype, max(32, chain(K, dtype)))
            assert out.kept_its_surroundings()
            total = nbs.cross_entropy(guarded, y, reduction="sum", **target)
            # log s of s = 1 + little is right to eps of 1, not of itself
            scale = 32 * np.finfo(dtype).eps * np.maximum(losses, 1).sum()
            assert abs(total - losses.sum()) <= scale
            if divisor:
                mean, dmean = nbs.cross_entropy_and_grad(guarded, y, **target)
                assert abs(mean - losses.sum() / divisor) <= scale / divisor
                close(dmean, grad / divisor, dtype, max(32, chain(K, dtype)), scale=1 / divisor)


@pytest.mark.parametrize("dtype", DTYPES)
def test_sigmoids_and_binary_cross_entropy_are_cross_entropy_of_zero_and_z_at_every_length(dtype):
    for m in [*SAMPLES, 17, 33, 1000]:
        z = draw(m, 1, dtype)[:, 0]
        two = np.stack([np.zeros(m), z], axis=1)
        guarded = surrounded_by_nan(z)
        close(nbs.sigmoid(guarded), reference.softmax(two)[:, 1], dtype, 4, scale=0.0)
        close(nbs.log_sigmoid(guarded), -np.logaddexp(0.0, -z.astype(float)), dtype, 4, scale=0.0)
        for y, target in options(m, 2, dtype):
            losses, grad, divisor = reference.cross_entropy(two, y, **target)
            y1 = y[:, 1] if y.ndim == 2 else y
            out = Guarded(z.shape, dtype)
            loss, dz = nbs.binary_cross_entropy_and_grad(guarded, y1, reduction="none", out=out.array, **target)
            close(loss, losses, dtype, 16)
            close(dz, grad[:, 1], dtype, 16)
            assert out.kept_its_surroundings()
            if divisor:
                mean, dmean = nbs.binary_cross_entropy_and_grad(guarded, y1, **target)
                assert abs(mean - losses.sum() / divisor) <= 16 * np.finfo(dtype).eps * losses.sum() / divisor
                close(dmean, grad[:, 1] / divisor, dtype, 16, scale=1 / divisor)


# --- the definitions of torch.nn.functional.cross_entropy, by hand ---

# softmax of these rows is [1, 2, 5] / 8, [3, 1, 4] / 8 and [2, 4, 2] / 8, so that every loss is a logarithm of a ratio
LOGITS = np.log([[1.0, 2.0, 5.0], [3.0, 1.0, 4.0], [2.0, 4.0, 2.0]])
Y = [2, 0, 1]
CLASS_WEIGHT = [1.0, 2.0, 4.0]
PROBA = [[0.5, 0.5, 0.0], [0.0, 0.25, 0.75], [1.0, 0.0, 0.0]]

GOLDEN = [
    # (log 8/5 + log 8/3 + log 2) / 3
    ("mean", Y, {}, 0.7146600209391357),
    ("sum", Y, {}, 2.1439800628174073),
    # (4 log 8/5 + log 8/3 + 2 log 2) / (4 + 1 + 2)
    ("class weights", Y, {"class_weight": CLASS_WEIGHT}, 0.6067340187306514),
    # sample 1 of weight 3: (log 8/5 + 3 log 8/3 + log 2) / 5
    ("sample weights", Y, {"sample_weight": [1.0, 3.0, 1.0]}, 0.821127713768172),
    # 0.7 of the plain loss + 0.3 / 3 of each row's sum, as log 8 + log 4 + log 8/5 for the first
    ("label smoothing", Y, {"label_smoothing": 0.3}, 0.8720917949939514),
    # as above, each class weighted, still divided by 4 + 1 + 2
    ("smoothing, class weights", Y, {"label_smoothing": 0.3, "class_weight": CLASS_WEIGHT}, 0.7527439846290714),
    # row 1 left out: (log 8/5 + log 2) / 2
    ("ignored", [2, 9, 1], {"ignore_index": 9}, 0.5815754049028404),
    # row 1 left out, weights 4 and 2: (4 log 8/5 + 2 log 2) / 6
    ("ignored, class weights", [2, 9, 1], {"ignore_index": 9, "class_weight": CLASS_WEIGHT}, 0.5443848130171388),
    # (log 8 + log 4) / 2, log 8 / 4 + 3 log 2 / 4, log 4; divided by 3
    ("probabilities", PROBA, {}, 1.3862943611198906),
    # class weights multiply each term, and the mean still divides by the 3 samples
    ("probabilities, class weights", PROBA, {"class_weight": CLASS_WEIGHT}, 2.310490601866484),
]


@pytest.mark.parametrize(("name", "y", "target", "golden"), GOLDEN, ids=[g[0] for g in GOLDEN])
def test_cross_entropy_follows_torch(name, y, target, golden):
    reduction = "sum" if name == "sum" else "mean"
    assert abs(nbs.cross_entropy(LOGITS, y, reduction=reduction, **target) - golden) <= 8 * np.finfo(float).eps * golden


def test_golden_values_are_the_formulas_in_their_comments():
    log = math.log
    plain = [log(8 / 5), log(8 / 3), log(2)]
    rows = [log(8) + log(4) + log(8 / 5), log(8 / 3) + log(8) + log(2), 2 * log(4) + log(2)]
    weighted_rows = [
        log(8) + 2 * log(4) + 4 * log(8 / 5),
        log(8 / 3) + 2 * log(8) + 4 * log(2),
        log(4) + 2 * log(2) + 4 * log(4),
    ]
    proba = [(log(8) + log(4)) / 2, log(8) / 4 + 3 * log(2) / 4, log(4)]
    weighted_proba = [(log(8) + 2 * log(4)) / 2, 2 * log(8) / 4 + 4 * 3 * log(2) / 4, log(4)]
    weighted = 4 * plain[0] + plain[1] + 2 * plain[2]
    formulas = [
        sum(plain) / 3,
        sum(plain),
        weighted / 7,
        (plain[0] + 3 * plain[1] + plain[2]) / 5,
        (0.7 * sum(plain) + 0.1 * sum(rows)) / 3,
        (0.7 * weighted + 0.1 * sum(weighted_rows)) / 7,
        (plain[0] + plain[2]) / 2,
        (4 * plain[0] + 2 * plain[2]) / 6,
        sum(proba) / 3,
        sum(weighted_proba) / 3,
    ]
    assert [g[3] for g in GOLDEN] == pytest.approx(formulas, rel=1e-14)


def test_the_gradient_of_a_weighted_smoothed_target_by_hand():
    # one row, a = [1, 2, 5] / 8, class 2, e = 0.3, w = [1, 2, 4]: t = w q = [0.1, 0.2, 3.2], mass 3.5, divisor 4
    _, grad = nbs.cross_entropy_and_grad(LOGITS[:1], [2], class_weight=CLASS_WEIGHT, label_smoothing=0.3)
    a = np.array([1, 2, 5]) / 8
    assert np.abs(grad - (3.5 * a - [0.1, 0.2, 3.2]) / 4).max() <= 8 * np.finfo(float).eps


def test_class_weights_may_be_a_dict_that_names_some_classes():
    by_dict = nbs.cross_entropy(LOGITS, Y, class_weight={2: 4.0})
    assert by_dict == nbs.cross_entropy(LOGITS, Y, class_weight=[1.0, 1.0, 4.0])


def test_reduction_none_gives_losses_and_the_gradient_of_their_sum():
    losses, grad = nbs.cross_entropy_and_grad(LOGITS, Y, reduction="none")
    total, grad_of_sum = nbs.cross_entropy_and_grad(LOGITS, Y, reduction="sum")
    assert losses.shape == (3,)
    assert abs(losses.sum() - total) <= 4 * np.finfo(float).eps * total
    assert np.array_equal(grad, grad_of_sum)


def test_loss_with_and_without_gradient_is_the_same_bit_for_bit():
    z = draw(65, 33, np.float32)
    y = np.arange(65) % 33
    assert nbs.cross_entropy(z, y) == nbs.cross_entropy_and_grad(z, y)[0]


# --- ignored rows, empty input, one row ---


@pytest.mark.parametrize("K", [3, 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_ignored_rows_contribute_exactly_nothing_even_where_their_logits_are_nan(K, dtype):
    z = draw(20, K, dtype)
    y = np.arange(20) % K
    y[[0, 3, 19]] = -1
    z[[0, 3, 19]] = np.nan
    z[3] = np.inf
    rest = y >= 0
    loss, grad = nbs.cross_entropy_and_grad(z, y, ignore_index=-1, reduction="sum")
    losses = nbs.cross_entropy(z, y, ignore_index=-1, reduction="none")
    expected, expected_grad = nbs.cross_entropy_and_grad(z[rest], y[rest], reduction="sum")
    assert (losses[~rest] == 0).all()
    assert (grad[~rest] == 0).all()
    assert np.array_equal(grad[rest], expected_grad)
    assert abs(loss - expected) <= 8 * np.finfo(dtype).eps * expected  # added up in another order


@pytest.mark.parametrize("K", [3, 100])
def test_rows_of_weight_zero_contribute_exactly_nothing_even_where_their_logits_are_nan(K):
    z = draw(5, K, np.float64)
    z[2] = np.nan
    losses, grad = nbs.cross_entropy_and_grad(z, [0, 1, 2, 0, 1], sample_weight=[1, 1, 0, 1, 1], reduction="none")
    assert losses[2] == 0
    assert (grad[2] == 0).all()
    assert np.isfinite(losses).all()


def test_an_ignored_element_of_binary_cross_entropy_contributes_exactly_nothing():
    losses, grad = nbs.binary_cross_entropy_and_grad([np.nan, 1.0], [-1, 1], ignore_index=-1, reduction="none")
    assert losses[0] == grad[0] == 0
    assert losses[1] > 0


def test_a_class_within_range_can_be_ignored():
    assert nbs.cross_entropy(LOGITS, Y, ignore_index=0, reduction="none")[1] == 0


def test_no_rows_give_an_empty_result():
    empty = np.empty((0, 3), np.float32)
    no_labels = np.empty(0, int)
    for result in (nbs.softmax(empty), nbs.log_softmax(empty)):
        assert result.shape == (0, 3)
        assert result.dtype == np.float32
    assert nbs.logsumexp(empty).shape == (0,)
    assert nbs.softmax_jacobian(empty).shape == (0, 3, 3)
    assert nbs.sigmoid([]).shape == nbs.log_sigmoid([]).shape == (0,)
    assert nbs.cross_entropy(empty, no_labels, reduction="none").shape == (0,)
    assert nbs.cross_entropy(empty, no_labels, reduction="sum") == 0
    assert nbs.cross_entropy_and_grad(empty, no_labels, reduction="sum")[1].shape == (0, 3)
    assert nbs.binary_cross_entropy([], no_labels, reduction="sum") == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: nbs.cross_entropy(np.empty((0, 3)), np.empty(0, int)),
        lambda: nbs.cross_entropy_and_grad(np.empty((0, 3)), np.empty((0, 3))),
        lambda: nbs.cross_entropy(LOGITS, [7, 7, 7], ignore_index=7),
        lambda: nbs.cross_entropy(LOGITS, Y, class_weight={0: 0, 1: 0, 2: 0.0}),
        lambda: nbs.cross_entropy(LOGITS, [0, 0, 0], class_weight=[0, 1, 1]),
        lambda: nbs.binary_cross_entropy([], []),
        lambda: nbs.binary_cross_entropy([1.0], [7], ignore_index=7),
    ],
    ids=["empty", "empty-grad", "ignored", "all-zero", "unlucky-weights", "binary-empty", "binary-ignored"],
)
def test_a_mean_over_nothing_is_an_error_that_says_so(call):
    with pytest.raises(nbs.InputValueError, match=r"the mean is undefined|all zero"):
        call()


def test_one_row_of_logits_gives_what_a_matrix_of_one_row_gives():
    z = draw(1, 5, np.float64)
    assert np.array_equal(nbs.softmax(z[0]), nbs.softmax(z)[0])
    assert np.array_equal(nbs.log_softmax(z[0]), nbs.log_softmax(z)[0])
    assert nbs.logsumexp(z[0]) == nbs.logsumexp(z)[0]
    assert np.ndim(nbs.logsumexp(z[0])) == 0
    loss, grad = nbs.cross_entropy_and_grad(z[0], 3)
    assert grad.shape == (5,)
    assert loss == nbs.cross_entropy(z, [3])
    assert nbs.cross_entropy(z[0], 3, reduction="none") == loss


def test_one_class_has_probability_one_and_no_loss():
    assert nbs.softmax([[3.0], [-np.inf], [np.inf]]).tolist() == [[1], [1], [1]]
    assert nbs.cross_entropy([[3.0], [1e308]], [0, 0]) == 0


def test_sigmoid_keeps_the_shape_of_its_input():
    z = np.random.default_rng(0).normal(size=(2, 3, 4))
    assert nbs.sigmoid(z).shape == z.shape
    assert np.array_equal(nbs.sigmoid(z)[1, 2], nbs.sigmoid(z[1, 2]))
    assert nbs.binary_cross_entropy(z, z > 0, reduction="none").shape == z.shape


# --- the edges of the numbers ---

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


# --- what may come in ---


def layouts(z):
    """The same numbers in every kind of array."""
    wide = np.repeat(np.repeat(z, 2, axis=0), 3, axis=1)
    read_only = z.copy()
    read_only.flags.writeable = False
    return {
        "list": z.tolist(),
        "fortran": np.asfortranarray(z),
        "strided": wide[::2, ::3],
        "reversed": np.ascontiguousarray(z[::-1, ::-1])[::-1, ::-1],
        "transposed": np.ascontiguousarray(z.T).T,
        "read-only": read_only,
        "big-endian": z.astype(z.dtype.newbyteorder(">")),
    }


LAYOUT_Z = np.random.default_rng(5).normal(size=(9, 17))


@pytest.mark.parametrize("layout", layouts(LAYOUT_Z))
def test_every_layout_gives_the_bits_of_the_contiguous_array(layout):
    given = layouts(LAYOUT_Z)[layout]
    before = np.array(given)
    assert np.array_equal(nbs.softmax(given), nbs.softmax(LAYOUT_Z))
    y = np.arange(9)
    loss, grad = nbs.cross_entropy_and_grad(given, y)
    expected, expected_grad = nbs.cross_entropy_and_grad(LAYOUT_Z, y)
    assert loss == expected
    assert np.array_equal(grad, expected_grad)
    assert np.array_equal(nbs.sigmoid(given), nbs.sigmoid(LAYOUT_Z))
    assert np.array_equal(np.array(given), before)


@pytest.mark.parametrize(
    ("given", "dtype"),
    [
        (np.array([[3, 4, 6]]), np.float64),
        (np.array([[3, 4, 6]], np.uint8), np.float64),
        (np.array([[True, False, True]]), np.float64),
        (np.array([[3, 4, 6]], np.float16), np.float32),
        (np.array([[3, 4, 6]], np.float32), np.float32),
        (np.array([[3, 4, 6]], ">f4"), np.float32),
    ],
    ids=["int64", "uint8", "bool", "float16", "float32", "big-endian"],
)
def test_integers_become_float64_and_small_floats_float32(given, dtype):
    for f in (nbs.softmax, nbs.log_softmax, nbs.logsumexp, nbs.sigmoid, nbs.log_sigmoid):
        result = f(given)
        assert result.dtype == dtype
        assert np.array_equal(result, f(given.astype(dtype)))
    loss, grad = nbs.cross_entropy_and_grad(given, [1])
    assert grad.dtype == dtype
    assert loss == nbs.cross_entropy(given.astype(dtype), [1])


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u4", "i8", ">i4", "bool"])
def test_labels_of_every_integer_type_mean_the_same(dtype):
    y = np.array([1, 0, 1])
    assert nbs.cross_entropy(LOGITS, y.astype(dtype)) == nbs.cross_entropy(LOGITS, y)


def test_soft_targets_that_are_one_hot_are_class_indices():
    hard = nbs.cross_entropy_and_grad(LOGITS, Y)
    soft = nbs.cross_entropy_and_grad(LOGITS, np.eye(3)[Y])
    assert abs(hard[0] - soft[0]) <= 4 * np.finfo(float).eps
    assert np.abs(hard[1] - soft[1]).max() <= 4 * np.finfo(float).eps


@pytest.mark.parametrize("K", [5, 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_results_can_overwrite_their_input(K, dtype):
    z = draw(20, K, dtype)
    y = np.arange(20) % K
    for f in (nbs.softmax, nbs.log_softmax):
        work = z.copy()
        assert np.array_equal(f(work, out=work), f(z))
        assert np.array_equal(work, f(z))
    for target in (y, reference.softmax(z)):
        work = z.copy()
        loss, grad = nbs.cross_entropy_and_grad(work, target, class_weight=np.arange(1, K + 1), out=work)
        expected, expected_grad = nbs.cross_entropy_and_grad(z, target, class_weight=np.arange(1, K + 1))
        assert loss == expected
        assert np.shares_memory(grad, work)
        assert np.array_equal(work, expected_grad)
    flat = z[:, 0].copy()
    _, expected_grad = nbs.binary_cross_entropy_and_grad(z[:, 0].copy(), y % 2)
    nbs.binary_cross_entropy_and_grad(flat, y % 2, out=flat)
    assert np.array_equal(flat, expected_grad)


def test_inputs_are_left_as_they_were():
    z, y, w = draw(20, 5, np.float64), np.arange(20) % 5, np.linspace(0.5, 2, 20)
    copies = z.copy(), y.copy(), w.copy()
    nbs.softmax(z)
    nbs.log_softmax(z)
    nbs.cross_entropy_and_grad(z, y, sample_weight=w, label_smoothing=0.1)
    assert all(np.array_equal(a, b) for a, b in zip((z, y, w), copies, strict=True))


def test_long_sums_in_float32_are_added_up_in_float64():
    # 200 000 equal losses added up in float32, one after the other, would be wrong in the fourth digit
    z = np.zeros((200_000, 2), np.float32)
    total = nbs.cross_entropy(z, np.zeros(200_000, int), reduction="sum")
    assert abs(total / 200_000 - math.log(2)) <= np.finfo(np.float32).eps


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [32768, 40003])
def test_few_long_rows_are_split_over_threads_and_right(n_classes, dtype):
    rng = np.random.default_rng(0)
    z = (10 * rng.normal(size=(4, n_classes))).astype(dtype)
    z[1, 5], z[2] = np.inf, -np.inf
    z[3, n_classes - 1] = np.nan
    eps = np.finfo(dtype).eps
    good = [0, 1, 2]
    # exp and the division: 2 + 1 ULP; the sum of a row adds the rounding of chains of 64 vectors.
    assert np.abs(nbs.softmax(z)[good] - reference.softmax(z[good])).max() <= 64 * eps
    assert np.isnan(nbs.softmax(z)[3]).all()
    assert np.isnan(nbs.logsumexp(z)[3])
    plain = z[:1]
    assert np.abs(nbs.log_softmax(plain) - reference.log_softmax(plain)).max() <= 128 * eps
    assert np.abs(nbs.logsumexp(plain) - reference.logsumexp(plain)).max() <= 64 * eps
    aim = rng.dirichlet(np.ones(n_classes), 2).astype(dtype)
    logits = np.concatenate([plain, plain[:, ::-1]])
    for y, options in (
        ([7, n_classes - 1], {}),
        ([7, n_classes - 1], {"label_smoothing": 0.1, "sample_weight": [2.0, 0.5]}),
        ([7, 3], {"ignore_index": 3}),
        (aim, {"class_weight": rng.uniform(0.5, 2, n_classes)}),
    ):
        losses, grad, divisor = reference.cross_entropy(logits, y, **options)
        got, got_grad = nbs.cross_entropy_and_grad(logits, y, reduction="none", **options)
        # The target's products and sums in the dtype of the logits: chains of SEGMENT_CLASSES / lanes vectors.
        most = max(512, chain(SEGMENT_CLASSES, dtype)) * eps
        assert np.abs(got - losses).max() <= most * np.abs(losses).max()
        assert np.abs(got_grad - grad).max() <= most * max(1.0, np.abs(grad).max())
        mean, mean_grad = nbs.cross_entropy_and_grad(logits, y, out=logits.copy(), **options)
        assert abs(mean - losses.sum() / divisor) <= 512 * eps * abs(mean)
        assert np.abs(mean_grad * divisor - grad).max() <= most * max(1.0, np.abs(grad).max())


def test_long_rows_in_place_equal_those_in_a_new_array():
    z = np.random.default_rng(0).normal(size=(2, 33000))
    fresh = nbs.softmax(z), nbs.log_softmax(z), nbs.cross_entropy_and_grad(z, [1, 32999])[1]
    for function, expected in zip((nbs.softmax, nbs.log_softmax), fresh, strict=False):
        own = z.copy()
        function(own, out=own)
        assert np.array_equal(own, expected)
    own = z.copy()
    assert np.array_equal(nbs.cross_entropy_and_grad(own, [1, 32999], out=own)[1], fresh[2])


# --- sure samples: tiny losses keep their digits ---


def eps_of(dtype):
    return float(np.finfo(dtype).eps)


FORMS = [2, 3, 64, 70, 40000]  # tiles, rows one at a time, rows split over threads


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


# --- many classes, in float32 ---


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


# --- logits so far apart that their difference overflows ---

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


# --- weights of any size ---

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


# --- targets of narrow dtypes ---


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_ignored_entries_mean_the_same_in_every_integer_dtype(dtype):
    z = np.array([[1.0, 2.0], [3.0, 0.0]])
    largest = int(np.iinfo(dtype).max)
    y = np.array([0, largest], dtype)
    w = [1.0, 2.0]
    for options in ({}, {"class_weight": w}, {"label_smoothing": 0.1, "class_weight": w}):
        expected, grad = nbs.cross_entropy_and_grad(z[:1], [0], **options)
        got, got_grad = nbs.cross_entropy_and_grad(z, y, ignore_index=largest, **options)
        assert got == expected
        assert np.array_equal(got_grad, [grad[0], [0, 0]])
        binary = nbs.binary_cross_entropy(z[:1, 0], [0], **options)
        assert nbs.binary_cross_entropy(z[:, 0], y, ignore_index=largest, **options) == binary
        # a value that the dtype cannot hold marks nothing
        for value in (-100, 2**70):
            assert nbs.cross_entropy(z, y // largest, ignore_index=value) == nbs.cross_entropy(z, [0, 1])
            assert nbs.binary_cross_entropy(z[0], y // largest, ignore_index=value) == nbs.binary_cross_entropy(
                z[0], [0, 1]
            )


def test_more_classes_than_a_narrow_dtype_has_labels():
    z = draw(2, 300, np.float64)
    for dtype in ("i1", "u1"):
        assert nbs.cross_entropy(z, np.array([3, 127], dtype)) == nbs.cross_entropy(z, [3, 127])
