"""Functions of the package along any axis in functions that Numba compiles: the same bits as from Python."""

import numba
import numpy as np
import pytest
from numba import njit

import nbsoftmax as nbs
from tests.test_numba_code import assert_same_bits

pytestmark = pytest.mark.filterwarnings(
    "ignore::numba.core.errors.NumbaPerformanceWarning"
)  # one row: no parallel loop


def along_axis_1(z, y, q, weight):
    return (
        nbs.softmax(z, 1),
        nbs.log_softmax(z, axis=-2),
        nbs.logsumexp(z, 1),
        nbs.logsumexp(z, axis=1, keepdims=True),
        nbs.logsumexp(z),
        nbs.softmax(z),
        nbs.cross_entropy(z, y, axis=1, ignore_index=1),
        nbs.cross_entropy_and_grad(z, y, axis=1, sample_weight=weight),
        nbs.cross_entropy_and_grad(z, q, axis=1, label_smoothing=0.1),
    )


@pytest.mark.parametrize("parallel", [False, True])
def test_functions_along_an_axis_have_the_bits_of_the_python_functions(parallel):
    compiled, rng = njit(parallel=parallel)(along_axis_1), np.random.default_rng(6)
    for shape in [(3, 5, 4), (3, 5, 40), (2, 100, 20), (200, 30, 33), (0, 3, 9)]:
        z, rows = rng.normal(size=shape), (shape[0], shape[2])
        y, weight = rng.integers(0, 1 if 0 in shape else shape[1], rows), rng.uniform(0.5, 2, rows)
        q = np.ascontiguousarray(np.moveaxis(rng.dirichlet(np.ones(shape[1]), rows), -1, 1))
        if 0 in shape:  # the mean is undefined
            with pytest.raises(nbs.InputValueError, match="the mean is undefined"):
                compiled(z, y, q, weight)
            continue
        y[0, 0] = 0
        assert_same_bits(compiled(z, y, q, weight), along_axis_1(z, y, q, weight))


def test_two_dimensions_and_one_row_along_axis_0():
    @njit
    def compiled(z, y, q, out):
        nbs.softmax(z, 0, out=out)
        return (
            nbs.logsumexp(z, 0), nbs.cross_entropy_and_grad(z, y, axis=0), nbs.cross_entropy(z, q, axis=0),
            nbs.cross_entropy(z[0], q[0] / np.sum(q[0])), nbs.logsumexp(z[0], 0), nbs.logsumexp(z[0], keepdims=True),
        )  # fmt: skip

    z = np.random.default_rng(7).normal(size=(3, 30))
    y, q, out = np.arange(30) % 3, nbs.softmax(-z, 0), np.empty_like(z)
    assert_same_bits(compiled(z, y, q, out), compiled.py_func(z, y, q, np.empty_like(z)))
    assert_same_bits((out,), (nbs.softmax(z, 0),))
    work = z.copy()
    compiled(work, y, q, work)
    assert_same_bits((work,), (nbs.softmax(z, 0),))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z, y: nbs.softmax(z, axis=2), "axis is 2, but logits has 2 dimensions; expected -2 to 1"),
        (lambda z, y: nbs.softmax(z, y[0]), "axis is int64, expected a literal whole number"),
        (lambda z, y: nbs.logsumexp(z, None), "axis is .*, expected a literal whole number"),
        (lambda z, y: nbs.logsumexp(z, axis=(0, 1)), "expected a literal whole number"),
        (lambda z, y: nbs.cross_entropy(z, y, axis=True), "expected a literal whole number"),
        (lambda z, y: nbs.logsumexp(z, b=z), "b and return_sign are for Python only"),
        (lambda z, y: nbs.logsumexp(z, return_sign=True), "b and return_sign are for Python only"),
        (lambda z, y: nbs.logsumexp(z, keepdims=y[0] > 0), "keepdims is .*, expected a literal: True or False"),
        (lambda z, y: nbs.cross_entropy(z.reshape(1, 2, 3), y), "y is .*, expected class indices .a 2-D array of int"),
        (
            lambda z, y: nbs.cross_entropy(z.reshape(1, 2, 3), z.astype(np.int64), sample_weight=y),
            "sample_weight is array.int64, 1d, C., expected None or a 2-D array",
        ),
    ],
)
def test_unsupported_axes_and_shapes_raise_a_typing_error_that_says_what_is_expected(call, message):
    with pytest.raises(numba.TypingError, match=message):
        njit(call)(np.zeros((2, 3)), np.array([0, 1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z, y: nbs.logsumexp(z[:0], 0), "at least one class"),
        (
            lambda z, y: nbs.cross_entropy(z.reshape(1, 3, 2), y.reshape(2, 1), axis=1),
            "the shape of the logits without",
        ),
        (lambda z, y: nbs.cross_entropy(z.reshape(1, 3, 2), z.reshape(1, 2, 3), axis=1), "the shape of the logits"),
        (
            lambda z, y: nbs.cross_entropy(z.reshape(1, 3, 2), y.reshape(1, 2), axis=1, sample_weight=y.reshape(2, 1)),
            "number of weights",
        ),
    ],
)
def test_wrong_shapes_raise_an_error_in_compiled_code(call, message):
    with pytest.raises(nbs.InputValueError, match=message):
        njit(call)(np.zeros((2, 3)), np.array([0, 1]))
