"""The checks pass what is right, and catch each classic mistake, by the name of the property that it breaks."""

import numpy as np
import pytest
import scipy.special

import nbsoftmax as nbs
from nbsoftmax.testing import check_cross_entropy, check_softmax

DTYPES = [np.float32, np.float64]
EXAMPLES = 30  # for each property; the default of 100 takes half a minute


def stable(z):
    e = np.exp(z - z.max(axis=1, keepdims=True, initial=-np.inf))
    return e / e.sum(axis=1, keepdims=True)


def loss_and_grad(z, y):
    m = len(z)
    d = z - z.max(axis=1, keepdims=True)
    log_s = np.log(np.exp(d).sum(axis=1))
    grad = np.exp(d) / np.exp(d).sum(axis=1, keepdims=True)
    grad[np.arange(m), y] -= 1
    return np.mean(log_s - d[np.arange(m), y]), grad / m


def plain_loss(z, y):
    return loss_and_grad(z, y)[0]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("right", [nbs.softmax, lambda z: scipy.special.softmax(z, axis=1), stable])
def test_what_is_right_passes(right, dtype):
    check_softmax(right, dtype=dtype, max_examples=EXAMPLES)


@pytest.mark.parametrize("dtype", DTYPES)
def test_ours_passes_with_infinities_too(dtype):
    check_softmax(nbs.softmax, dtype=dtype, infinities=True, max_examples=EXAMPLES)
    check_cross_entropy(nbs.cross_entropy, dtype=dtype, max_examples=EXAMPLES)
    check_cross_entropy(nbs.cross_entropy_and_grad, dtype=dtype, with_grad=True, max_examples=EXAMPLES)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_right_loss_passes(dtype):
    check_cross_entropy(plain_loss, dtype=dtype, max_examples=EXAMPLES)
    check_cross_entropy(loss_and_grad, dtype=dtype, with_grad=True, max_examples=EXAMPLES)


def naive(z):
    return np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)


def in_place(z):
    z -= z.max(axis=1, keepdims=True)
    return stable(z)


def folded(z):
    c = z.max(axis=1, keepdims=True)
    lse = c + np.log(np.exp(z - c).sum(axis=1, keepdims=True))
    return np.exp(z - lse)


def clipped(z):
    return np.clip(stable(z), 1e-7, 1)


def one_maximum(z):
    e = np.exp(z - z.max())
    return e / e.sum(axis=1, keepdims=True)


def argmax_breaks_ties(z):
    a = stable(z)
    if a.size:
        a[np.arange(len(a)), z.argmax(axis=1)] += 1e-9
    return a


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (naive, "between 0 and 1, however large"),
        (in_place, "leaves its input unchanged"),
        (lambda z: stable(z.T).T, "sum to 1"),
        (lambda z: stable(z.astype(np.float32)), "dtype"),
        (lambda z: stable(z.astype(np.float32)).astype(np.float64), "sum to 1|exp|equal logits|between"),
        (folded, r"sum to 1|is exp\(z_k\)"),
        (clipped, "sum to 1"),
        (one_maximum, "between 0 and 1"),
        (argmax_breaks_ties, "between 0 and 1|sum to 1|equal logits"),
        (lambda z: stable(2 * np.clip(z, -1e300, 1e300)), r"is exp\(z_k\)"),
        (lambda z: stable(-z), "larger logit|is exp"),
        (lambda z: stable(z)[:, :1], "shape"),
        (lambda z: z.no_such_thing, "raised"),
    ],
)
def test_a_mistake_in_softmax_is_caught_and_named(wrong, said):
    with pytest.raises(AssertionError, match=said):
        check_softmax(wrong)


def test_an_infinite_logit_that_gives_nan_is_caught():
    with pytest.raises(AssertionError, match="limit"):
        check_softmax(stable, infinities=True)


def test_the_counterexample_is_small():
    with pytest.raises(AssertionError) as caught:
        check_softmax(naive)
    assert "input    array([[" in str(caught.value)
    assert str(caught.value).count("[") <= 12  # a row or two, not a matrix


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda z, y: -np.log(naive(z)[np.arange(len(z)), y]).mean(), "finite"),
        (lambda z, y: -np.log(stable(z)[np.arange(len(z)), y]).mean(), "finite"),  # log of a probability that is 0
        (lambda z, y: -np.log(stable(z)[np.arange(len(z)), y] + 1e-9).mean(), "log K|negative|mean of log"),
        (lambda z, y: plain_loss(z, y) * len(z), "log K"),
        (lambda z, y: plain_loss(z, (y + 1) % z.shape[1]), "order of samples and classes|mean of log"),
        (lambda z, y: plain_loss(z, y) / np.log(2), "log K"),
        (lambda z, y: plain_loss(z.astype(np.float32).astype(np.float64), y), "finite|mean of log"),
        (lambda z, y: plain_loss(z, y) - np.log(z.shape[1]), "negative|log K"),
    ],
)
def test_a_mistake_in_the_loss_is_caught_and_named(wrong, said):
    with pytest.raises(AssertionError, match=said):
        check_cross_entropy(wrong)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda loss, grad: (loss, grad * len(grad)), "one-hot"),
        (lambda loss, grad: (loss, -grad), "one-hot"),
        (lambda loss, grad: (loss, grad[:, :1]), "shape"),
        (lambda loss, grad: (loss, np.abs(grad)), "sums to 0"),
        (lambda loss, grad: (loss, grad.astype(np.float16)), "sums to 0|one-hot"),
    ],
)
def test_a_mistake_in_the_gradient_is_caught_and_named(wrong, said):
    with pytest.raises(AssertionError, match=said):
        check_cross_entropy(lambda z, y: wrong(*loss_and_grad(z, y)), with_grad=True)


@pytest.mark.parametrize(
    ("function", "with_grad", "message"),
    [
        (nbs.cross_entropy_and_grad, False, "returns the mean loss, a number, .*with_grad=True tests"),
        (lambda z, y: nbs.cross_entropy(z, y, reduction="none").repeat(2), False, "returns the mean loss, a number"),
        (nbs.cross_entropy, True, "returns the mean loss and its gradient, but the result is"),
        (lambda z, y: None, False, "the result is None"),
    ],
)
def test_a_loss_that_returns_something_else_is_refused_as_such(function, with_grad, message):
    with pytest.raises(AssertionError, match=f"(?s){message}"):
        check_cross_entropy(function, with_grad=with_grad)
