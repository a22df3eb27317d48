"""Cross-entropy as PyTorch defines it: weights, smoothing, ignored rows, empty input."""

import math

import numpy as np
import pytest

import nbsoftmax as nbs
from tests.functional.shapes import DTYPES, LOGITS, Y, draw

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
