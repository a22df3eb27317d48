"""Functions of logits of any shape and memory layout, along any axis: they equal those of contiguous rows."""

import numba
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nbsoftmax as nbs
from nbsoftmax.kernels.rows import MOST_CLASSES_TO_MEMORY
from tests import reference
from tests.functional.shapes import DTYPES, Guarded, close, surrounded_by_nan
from tests.validation.refusals import refused

TRANSFORMS = (nbs.softmax, nbs.log_softmax)
SPECIAL = [np.nan, np.inf, -np.inf, 1e308, -1e308]


def rows_of(z, axis):
    """A contiguous copy of the rows along an axis, (n_rows, n_classes)."""
    return np.array(np.moveaxis(z, axis, -1)).reshape(-1, z.shape[axis])


def like(rows, z, axis):
    """Rows in the place that they have in `z`."""
    shape = np.delete(z.shape, axis)
    return np.moveaxis(rows.reshape(*shape, z.shape[axis]), -1, axis)


@st.composite
def logits(draw):
    """Logits of up to 4 dimensions in some memory layout, and an axis; some are infinite or NaN."""
    shape = draw(st.lists(st.integers(1, 20), min_size=1, max_size=4).filter(lambda s: np.prod(s) <= 4000))
    if draw(st.booleans()):
        # More classes than MOST_CLASSES_TO_MEMORY are added in another order where they lie side by side.
        shape[draw(st.integers(0, len(shape) - 1))] = draw(st.sampled_from([16, 33, MOST_CLASSES_TO_MEMORY]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    z = rng.normal(scale=3, size=shape).astype(draw(st.sampled_from(DTYPES)))
    if draw(st.booleans()):
        with np.errstate(over="ignore"):
            z.flat[rng.integers(0, z.size, 3)] = rng.choice(SPECIAL, 3)
    order = draw(st.permutations(range(len(shape))))
    z = np.ascontiguousarray(z.transpose(order)).transpose(np.argsort(order))  # any order of axes in memory
    if draw(st.booleans()):
        z = np.repeat(z, 2, axis=0)[::-2]
    if draw(st.booleans()):
        z.flags.writeable = False
    return z, draw(st.integers(-z.ndim, z.ndim - 1))


@given(logits())
def test_every_axis_and_layout_gives_the_bits_of_contiguous_rows(case):
    z, axis = case
    rows, before = rows_of(z, axis), z.copy()
    for function in TRANSFORMS:
        result = function(z, axis)
        assert result.shape == z.shape
        assert result.dtype == z.dtype
        assert result.flags.writeable
        np.testing.assert_array_equal(result, like(function(rows), z, axis))
    lse = nbs.logsumexp(z, axis)
    np.testing.assert_array_equal(lse, nbs.logsumexp(rows).reshape(np.delete(z.shape, axis)))
    np.testing.assert_array_equal(nbs.logsumexp(z, axis, keepdims=True), np.expand_dims(lse, axis))
    np.testing.assert_array_equal(z, before)


@given(logits(), st.integers(0, 2**32 - 1), st.sampled_from(["mean", "sum", "none"]))
def test_cross_entropy_along_every_axis_has_the_bits_of_contiguous_rows(case, seed, reduction):
    z, axis = case
    rows, before, rng = rows_of(z, axis), z.copy(), np.random.default_rng(seed)
    m, n_classes = rows.shape
    y, weight = rng.integers(0, n_classes, m), rng.uniform(0.5, 2, m)
    q = rng.dirichlet(np.ones(n_classes), m).astype(z.dtype)
    ignored = np.where(rng.random(m) < 0.3, -7, y)
    ignored[0] = 0
    shape = np.delete(z.shape, axis)
    class_weight = rng.uniform(0.5, 2, n_classes)
    for target, options in (
        (y, {}),
        (ignored, {"ignore_index": -7, "class_weight": class_weight}),
        (q, {"label_smoothing": 0.1}),
    ):
        given = like(target, z, axis) if target is q else target.reshape(shape)
        common = {"reduction": reduction, **options}
        expected = nbs.cross_entropy_and_grad(rows, target, sample_weight=weight, **common)
        by_shape = {"sample_weight": weight.reshape(shape) if z.ndim > 1 else weight}
        loss, grad = nbs.cross_entropy_and_grad(z, given, axis=axis, **by_shape, **common)
        if reduction == "none":
            assert loss.shape == tuple(shape)
        np.testing.assert_array_equal(np.ravel(loss), expected[0])
        np.testing.assert_array_equal(grad, like(expected[1], z, axis))
        np.testing.assert_array_equal(nbs.cross_entropy(z, given, axis=axis, **by_shape, **common), loss)
    np.testing.assert_array_equal(z, before)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(2, 65, 40), (1, 1000, 33), (3, 200, 8), (1, 5000, 16)])
def test_columns_of_many_classes_are_right_and_stay_in_their_memory(shape, dtype):
    z = np.random.default_rng(1).normal(scale=3, size=shape).astype(dtype)
    rows = rows_of(z, 1)
    spread = float(np.ptp(rows, axis=1).max())
    for function, expected, n_eps, scale in (
        (nbs.softmax, reference.softmax(rows), 40 + spread / 2, 0.0),  # sums of 64 terms, and half an eps for each unit
        (nbs.log_softmax, reference.log_softmax(rows), 40, 1.0),
    ):
        out = Guarded(shape, dtype)
        function(surrounded_by_nan(z), 1, out=out.array)
        close(out.array, like(expected, z, 1), dtype, n_eps, scale)
        assert out.kept_its_surroundings()
    close(nbs.logsumexp(surrounded_by_nan(z), 1), reference.logsumexp(rows).reshape(shape[0], -1), dtype, 40)


def test_sums_over_very_many_classes_keep_their_digits_in_float32():
    # 200 000 terms of exp(-0.1) added one after the other in float32 would be wrong in the fourth digit
    z = np.full((200_000, 32), -0.1, np.float32)
    z[7] = 0
    exact = np.log1p(199_999 * np.exp(np.float64(np.float32(-0.1))))
    assert np.abs(nbs.logsumexp(z, 0) - exact).max() <= 2 * np.finfo(np.float32).eps * exact
    assert np.abs(nbs.softmax(z, 0)[7] * np.exp(exact) - 1).max() <= 8 * np.finfo(np.float32).eps


@pytest.mark.parametrize("axis", [None, (0,), (1, 2), (2, 1), (0, 2), (-1, 0), (0, 1, 2)])
@pytest.mark.parametrize("view", [lambda z: z, lambda z: z.transpose(2, 0, 1), lambda z: z[:, ::-1]])
def test_several_axes_are_those_of_one_sum(view, axis):
    z = view(np.random.default_rng(2).normal(size=(3, 4, 20)))
    largest = z.max()
    total = np.exp(z - largest).sum(axis, keepdims=True)
    eps = np.finfo(float).eps
    assert np.abs(nbs.softmax(z, axis) - np.exp(z - largest) / total).max() <= 64 * eps
    assert np.abs(nbs.log_softmax(z, axis) - (z - largest - np.log(total))).max() <= 64 * eps
    expected = largest + np.log(total)
    assert np.abs(nbs.logsumexp(z, axis, keepdims=True) - expected).max() <= 64 * eps
    lse = nbs.logsumexp(z, axis)
    assert np.shape(lse) == np.shape(z.sum(axis))
    assert np.array_equal(lse, nbs.logsumexp(z, axis, keepdims=True).reshape(np.shape(lse)))
    out = np.empty(z.shape)
    assert nbs.softmax(z, axis, out=out) is out
    assert np.array_equal(out, nbs.softmax(z, axis))


@pytest.mark.parametrize("shape", [(7,), (3, 5), (1, 5), (5, 1), (2, 3, 4)])
def test_all_axes_are_one_row(shape):
    z = np.random.default_rng(2).normal(size=shape)
    for axis in (None, tuple(range(z.ndim)), tuple(range(-1, -z.ndim - 1, -1))):
        assert np.array_equal(nbs.softmax(z, axis), nbs.softmax(z.reshape(-1)).reshape(shape))
        assert np.array_equal(nbs.log_softmax(z, axis, out=z.copy()), nbs.log_softmax(z.reshape(-1)).reshape(shape))
        assert nbs.logsumexp(z, axis) == nbs.logsumexp(z.reshape(-1))


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("shape", [(3, 4, 5), (3, 4, 40), (70, 66, 2)])
def test_results_along_an_axis_can_overwrite_their_input(shape, axis):
    z = np.random.default_rng(3).normal(size=shape)
    y = np.zeros(np.delete(shape, axis), int)
    for function in TRANSFORMS:
        work = z.copy()
        assert function(work, axis, out=work) is work
        assert np.array_equal(work, function(z, axis))
    expected, expected_grad = nbs.cross_entropy_and_grad(z, y, axis=axis)
    work = z.copy()
    loss, grad = nbs.cross_entropy_and_grad(work, y, axis=axis, out=work)
    assert loss == expected
    assert grad is work
    assert np.array_equal(work, expected_grad)


def test_the_result_is_contiguous_where_the_logits_are_and_has_their_layout_if_their_rows_are():
    z = np.random.default_rng(4).normal(size=(3, 5, 40))
    for axis in (0, 1, 2):
        assert nbs.softmax(z, axis).flags.c_contiguous
    channels_last = np.ascontiguousarray(np.moveaxis(z, 1, -1))
    same = np.moveaxis(channels_last, -1, 1)
    assert nbs.softmax(same, 1).strides == same.strides
    out = np.empty(z.shape)
    nbs.softmax(same, 1, out=out)
    assert np.array_equal(out, nbs.softmax(same, 1))
    nbs.softmax(np.asfortranarray(z[0]), 0, out=out[0])
    assert np.array_equal(out[0], nbs.softmax(z[0], 0))


def test_the_number_of_threads_does_not_change_columns():
    z = np.random.default_rng(5).normal(size=(30, 7, 900))
    threads = numba.get_num_threads()
    results = []
    for n in (1, threads):
        numba.set_num_threads(n)
        try:
            results.append([nbs.softmax(z, 1), nbs.log_softmax(z, 1), nbs.logsumexp(z, 1)])
        finally:
            numba.set_num_threads(threads)
    for one, all_ in zip(*results, strict=True):
        assert np.array_equal(one, all_)


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 3, 2), (2, 3, 0), (2, 0, 3)])
def test_empty_batches_of_any_shape_give_empty_results(shape):
    z = np.empty(shape, np.float32)
    axis = shape.index(3)
    rest = tuple(np.delete(shape, axis))
    for function in TRANSFORMS:
        assert function(z, axis).shape == shape
    assert nbs.logsumexp(z, axis).shape == rest
    assert nbs.logsumexp(z, axis, b=np.ones(shape)).shape == rest
    assert nbs.softmax_jacobian(z, axis).shape == (*rest, 3, 3)
    for y in (np.empty(rest, int), np.empty(shape)):
        losses, grad = nbs.cross_entropy_and_grad(z, y, axis=axis, reduction="none")
        assert losses.shape == rest
        assert grad.shape == shape
        assert nbs.cross_entropy(z, y, axis=axis, reduction="sum") == 0
        with pytest.raises(nbs.InputValueError, match="the mean is undefined"):
            nbs.cross_entropy(z, y, axis=axis)
    with pytest.raises(nbs.InputValueError, match="0 classes"):
        nbs.softmax(z, shape.index(0))


def test_one_row_has_probabilities_of_its_shape_as_targets():
    z, q = [3.0, 4.0, 6.0], [0.25, 0.25, 0.5]
    loss, grad = nbs.cross_entropy_and_grad(z, q)
    expected, expected_grad = nbs.cross_entropy_and_grad([z], [q])
    assert loss == expected
    assert np.array_equal(grad, expected_grad[0])
    assert np.ndim(nbs.cross_entropy(z, q, reduction="none")) == 0
    assert (
        nbs.cross_entropy(z, [0, 0, 1]) == nbs.cross_entropy(z, [0.0, 0.0, 1.0]) == pytest.approx(0.16984601955628567)
    )
    assert nbs.cross_entropy(z, [2]) == nbs.cross_entropy(z, 2) == nbs.cross_entropy(z, [[0.0, 0.0, 1.0]])
    assert nbs.cross_entropy([5.0], [0]) == nbs.cross_entropy([5.0], [1.0]) == 0


def test_the_jacobian_along_an_axis_has_the_classes_last():
    a = nbs.softmax(np.random.default_rng(6).normal(size=(2, 3, 4)), 1)
    jacobian = nbs.softmax_jacobian(a, axis=1)
    assert jacobian.shape == (2, 4, 3, 3)
    assert np.array_equal(jacobian[1, 2], nbs.softmax_jacobian(a[1, :, 2]))


Z3 = np.zeros((2, 3, 4))
BAD_VALUES = {
    "axis too large": (lambda: nbs.softmax(Z3, 3), "axis is 3, but logits has 3 dimensions; expected -3 to 2"),
    "axis too small": (
        lambda: nbs.logsumexp([1.0, 2.0], -2),
        "axis is -2, but logits has 1 dimension; expected -1 to 0",
    ),
    "axis of the loss": (lambda: nbs.cross_entropy(Z3, np.zeros((2, 4), int), axis=3), "axis is 3"),
    "an axis twice": (lambda: nbs.log_softmax(Z3, (1, -2)), "contains an axis twice"),
    "no classes": (lambda: nbs.softmax(np.zeros((2, 0, 3)), 1), r"0 classes \(shape \(2, 0, 3\), axis 1\)"),
    "no axis has classes": (lambda: nbs.logsumexp(np.zeros((0, 3)), None), "0 classes"),
    "one number": (lambda: nbs.cross_entropy(3.0, 0), "0 dimensions"),
    "labels of another shape": (
        lambda: nbs.cross_entropy(Z3, np.zeros((2, 3), int), axis=1),
        r"y has shape \(2, 3\), but logits of shape \(2, 3, 4\) with the classes along axis 1 need \(2, 4\)",
    ),
    "flat labels": (
        lambda: nbs.cross_entropy(Z3, np.zeros(8, int), axis=1),
        r"y has shape \(8,\), but logits of shape",
    ),
    "probabilities of another shape": (lambda: nbs.cross_entropy(Z3, np.zeros((2, 4, 3)), axis=1), r"y has shape"),
    "probabilities along another axis": (lambda: nbs.cross_entropy(Z3, np.full(Z3.shape, 0.25), axis=1), "sum 0.75"),
    "flat weights": (
        lambda: nbs.cross_entropy(Z3, np.zeros((2, 4), int), axis=1, sample_weight=np.ones(8)),
        r"sample_weight has shape \(8,\), expected \(2, 4\)",
    ),
    "class weights": (
        lambda: nbs.cross_entropy(Z3, np.zeros((2, 4), int), axis=1, class_weight=np.ones(4)),
        r"class_weight has shape \(4,\), expected \(3,\)",
    ),
    "a label out of range": (
        lambda: nbs.cross_entropy(Z3, np.full((2, 4), 3), axis=1),
        "class 3 at row 0, expected 0 to 2",
    ),
    "out of another shape": (lambda: nbs.softmax(Z3, 1, out=np.empty((2, 4, 3))), "out has shape"),
    "out not contiguous": (lambda: nbs.softmax(Z3, 1, out=np.empty((2, 4, 3)).swapaxes(1, 2)), "not C-contiguous"),
    "probabilities ignored": (lambda: nbs.cross_entropy(Z3, Z3, axis=1, ignore_index=0), "ignore_index is 0"),
    "one probability": (lambda: nbs.cross_entropy([1.0, 2.0], [1.0]), r"need \(\) for class indices, or \(2,\)"),
    "two labels for one row": (
        lambda: nbs.cross_entropy([1.0, 2.0, 0.0], [1, 0]),
        r"y has shape \(2,\), but logits of",
    ),
}
BAD_TYPES = {
    "axis is a float": (lambda: nbs.softmax(Z3, 1.0), "axis is 1.0, expected a whole number, a tuple of whole numbers"),
    "axis is a flag": (lambda: nbs.softmax(Z3, True), "axis is True"),
    "axis is a list": (lambda: nbs.logsumexp(Z3, [0, 1]), "axis is"),
    "no axis": (lambda: nbs.logsumexp(Z3, ()), "axis is"),
    "all axes of a loss": (lambda: nbs.cross_entropy(Z3, 0, axis=None), "axis is None, expected a whole number"),
    "two axes of a loss": (lambda: nbs.cross_entropy(Z3, 0, axis=(0, 1)), "axis is .0, 1., expected a whole number"),
    "float labels": (lambda: nbs.cross_entropy(Z3, np.zeros((2, 4)), axis=1), "class indices must be integers"),
    "text labels": (lambda: nbs.cross_entropy(Z3, np.full((2, 4), "a"), axis=1), "class indices"),
    "complex": (lambda: nbs.logsumexp(Z3 + 1j, 1), "complex"),
    "masked": (lambda: nbs.softmax(Z3.astype(object), 1), "dtype object"),
    "keepdims": (lambda: nbs.logsumexp(Z3, 1, keepdims=1), "keepdims is 1, expected True or False"),
}


@refused(BAD_VALUES, BAD_TYPES)
def test_bad_axes_and_shapes_are_refused(error, call, message):
    with pytest.raises(error, match=message):
        call()


def test_a_masked_array_is_refused_along_every_axis():
    with pytest.raises(nbs.InputValueError, match="masked"):
        nbs.softmax(np.ma.masked_less(np.arange(6.0).reshape(1, 2, 3), 2), 1)
