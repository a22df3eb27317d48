"""Every layout and dtype of logits and targets, in-place results, and few long rows."""

import math

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.kernels.long_rows import SEGMENT_CLASSES
from tests import reference
from tests.functional.shapes import DTYPES, LOGITS, Y, chain, draw


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


def test_a_reduction_that_is_no_text_is_refused():
    with pytest.raises(nbs.InputValueError, match="reduction is array"):
        nbs.cross_entropy(np.zeros((2, 2)), [0, 1], reduction=np.array(["mean", "sum"]))
