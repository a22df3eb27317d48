"""Wrong calls of the package's functions in code that Numba compiles: one message says what is expected."""

import numba
import numpy as np
import pytest
from numba import njit

import nbsoftmax as nbs


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda z, y: nbs.softmax(y),
            "logits is array.int64, 1d, C., expected an array of float32 or float64",
        ),
        (lambda z, y: nbs.softmax(z[0, 0]), "logits is float64, expected"),
        (lambda z, y: nbs.softmax(np.array(1.0)), "logits is array.float64, 0d, C., .* of one or more dimensions"),
        (
            lambda z, y: nbs.softmax(z, out=y),
            "out is array.int64, 1d, C., expected None or a writeable C-contiguous 2-D",
        ),
        (lambda z, y: nbs.cross_entropy(z, z[0]), "y is array.float64, 1d, C., expected class indices"),
        (lambda z, y: nbs.cross_entropy(z, z.astype(np.float16)), "y is array.float16.*of float32 or float64"),
        (lambda z, y: nbs.cross_entropy(z, y, reduction="none"), "expected a literal: 'mean' or 'sum'"),
        (lambda z, y: nbs.cross_entropy(z, y, sample_weight=1.0), "sample_weight is float64, expected None or a 1-D"),
        (
            lambda z, y: nbs.cross_entropy(z, y, sample_weight=y.astype(np.float16)),
            "sample_weight is array.float16, 1d, C., expected None or a 1-D array of float32, float64 or integers",
        ),
        (lambda z, y: nbs.loss_and_grad(z, y, z, z[0], z[0].astype(np.float16)), "sample_weight is array.float16"),
        (lambda z, y: nbs.cross_entropy(z, z, ignore_index=1), "ignore_index is for class indices"),
        (lambda z, y: nbs.cross_entropy(z, y, ignore_index=True), "ignore_index is .*, expected an integer or None"),
        (
            lambda z, y: nbs.cross_entropy(z, y, sample_weight=z[:, 0] if y[0] > 0 else None),
            "sample_weight is an array or None, which must be known at compilation",
        ),
        (lambda z, y: nbs.sigmoid("a"), "expected a number, or an array of float32 or float64"),
        (lambda z, y: nbs.sigmoid(y[0] > 0), "z is bool, expected a number, .*; convert it by float"),
        (lambda z, y: nbs.sigmoid(np.float16(z[0, 0])), "z is float16, expected a number, .*; convert it by float"),
        (lambda z, y: nbs.softmax(z + 1j), "logits is array.complex128, 2d, C., expected .*; give its real part"),
        (lambda z, y: nbs.softmax(z if y[0] > 0 else None), "; the compiler must know that it is not None"),
        (
            lambda z, y: nbs.cross_entropy(z, y, label_smoothing=np.float16(z[0, 0])),
            "label_smoothing is float16, expected a number: an integer, float32 or float64",
        ),
        (lambda z, y: nbs.cross_entropy(z, y, label_smoothing=True), "label_smoothing is .*bool.*, expected a number"),
        (
            lambda z, y: nbs.cross_entropy(z, y, ignore_index=1 if y[0] > 0 else None),
            "ignore_index is a number or None, which must be known at compilation; call the function once with a num",
        ),
        (
            lambda z, y: nbs.loss_and_grad(z, y, z, 1.0),
            "intercept is float64, expected a 1-D array .*; make it an array",
        ),
        (lambda z, y: nbs.loss_and_grad(y, y, z, z[0]), "X is array.int64, 1d, C., expected a 2-D array .* by astype"),
        (lambda z, y: nbs.loss_and_grad(z, y, z[0], z[0]), "coef is array.*, expected a 2-D array .*; reshape it"),
        (lambda z, y: nbs.binary_cross_entropy(z[:, 0], y), "binary_cross_entropy can be called from Python only"),
        (lambda z, y: nbs.softmax_gradient(z, y, z, z[0]), "from Python only: compiled code has loss_and_grad"),
    ],
)
def test_unsupported_types_raise_a_typing_error_that_says_what_is_expected(call, message):
    with pytest.raises(numba.TypingError, match=message):
        njit(call)(np.zeros((2, 3)), np.array([0, 1]))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z, y: nbs.cross_entropy(z, y + 2), "a class outside 0 to n_classes - 1"),
        (lambda z, y: nbs.cross_entropy(z, y - 1), "a class outside 0 to n_classes - 1"),
        (lambda z, y: nbs.cross_entropy(z, y[:1]), "one class index for each row"),
        (lambda z, y: nbs.loss_and_grad(z[:0], y[:0], z, z[:, 0]), "there are no samples, .*; skip such batches"),
        (lambda z, y: nbs.cross_entropy(z, y, ignore_index=7, sample_weight=np.zeros(2)), "the mean is undefined"),
        (lambda z, y: nbs.cross_entropy(z, y, sample_weight=np.zeros(3)), "number of weights"),
        (lambda z, y: nbs.cross_entropy(z, y, sample_weight=np.full(2, -1.0)), "negative or not finite"),
        (lambda z, y: nbs.cross_entropy(z, y, label_smoothing=1.5), "label_smoothing must be from 0 to 1"),
        (lambda z, y: nbs.cross_entropy(z, z[:1]), "a row of probabilities for each row"),
        (lambda z, y: nbs.cross_entropy(z, z), "no probability distribution"),
        (lambda z, y: nbs.cross_entropy(z, z + np.array([1.5, 0.0, -0.5])), "no probability distribution"),
        (lambda z, y: nbs.cross_entropy(z, z + np.nan), "no probability distribution"),
        (lambda z, y: nbs.softmax(z, out=z[:1]), "out has another shape"),
        (lambda z, y: nbs.softmax(z[:, :0]), "at least one class"),
        (lambda z, y: nbs.loss_and_grad(z, y, z, z[0]), "coef must have shape"),
    ],
)
def test_wrong_shapes_and_labels_raise_an_error_in_compiled_code(call, message):
    with pytest.raises(nbs.InputValueError, match=message):
        njit(call)(np.zeros((2, 3)), np.array([0, 1]))


@pytest.mark.parametrize("function", [nbs.cross_entropy, nbs.cross_entropy_and_grad])
def test_wrong_targets_beside_a_literal_are_not_blamed_on_the_literal(function):
    @njit
    def call(z, y):
        return function(z, y, axis=1, reduction="sum")

    with pytest.raises(numba.TypingError, match=r"y is array\(float16") as raised:
        call(np.zeros((2, 3)), np.zeros((2, 3), np.float16))
    assert "expected a literal" not in str(raised.value)
