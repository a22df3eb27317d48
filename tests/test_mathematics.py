"""The derivation of docs/mathematics.md, claim by claim, with its golden numbers."""

import doctest

import numpy as np
import pytest

import nbsoftmax as nbs
import nbsoftmax.gradients
from tests import reference

EPS = np.finfo(np.float64).eps


def central_difference(f, at, h=EPS ** (1 / 3)):
    """Derivatives of f by each entry of `at`, shape f(at).shape + at.shape; error about h^2 + eps / h = 1e-10."""
    columns = []
    for i in np.ndindex(at.shape):
        step = np.zeros_like(at)
        step[i] = h
        columns.append((np.asarray(f(at + step)) - np.asarray(f(at - step))) / (2 * h))
    return np.stack(columns, axis=-1).reshape(np.shape(f(at)) + at.shape)


DIFFERENCE = 1e-9  # ten times the error of a central difference of functions and derivatives of order 1


def test_golden_sigmoid():
    w, b, x = 2.0, 1.0, 1.0
    a = nbs.sigmoid(w * x + b)
    assert a.shape == ()
    assert round(float(a), 4) == 0.9526
    assert round(float(1 - a), 4) == 0.0474
    assert abs(a - 0.9525741268224334) <= 2 * EPS


def test_golden_softmax():
    w, b, x = np.array([2.0, 3.0, 5.0]), np.ones(3), 1.0
    z = w * x + b
    assert z.tolist() == [3, 4, 6]
    a = nbs.softmax(z)
    assert (np.floor(a * 1e4) / 1e4).tolist() == [0.0420, 0.1141, 0.8437]  # cut, not rounded, to four digits
    assert np.abs(a - [0.042010066134066056, 0.11419519938459448, 0.8437947344813395]).max() <= 2 * EPS
    assert a.argmax() == 2


def test_jacobian_is_what_finite_differences_of_softmax_give():
    z = np.array([3.0, 4.0, 6.0])
    assert np.abs(nbs.softmax_jacobian(nbs.softmax(z)) - central_difference(nbs.softmax, z)).max() < DIFFERENCE


def test_jacobian_is_a_k_times_delta_minus_a_l():
    a = reference.softmax(np.random.default_rng(0).normal(size=(4, 5)))
    jacobian = nbs.softmax_jacobian(a)
    assert jacobian.shape == (4, 5, 5)
    for i in range(4):
        for k in range(5):
            for el in range(5):
                expected = a[i, k] * ((k == el) - a[i, el])
                assert abs(jacobian[i, k, el] - expected) <= EPS * abs(expected)


def test_jacobian_is_symmetric_and_its_rows_sum_to_zero():
    jacobian = nbs.softmax_jacobian(nbs.softmax(np.random.default_rng(1).normal(size=(6, 7))))
    assert np.array_equal(jacobian, jacobian.transpose(0, 2, 1))
    assert (
        np.abs(jacobian.sum(axis=2)).max() < 4 * EPS
    )  # seven entries of at most 1/4, probabilities that sum to 1 ± 2 eps


def test_jacobian_keeps_float32():
    assert nbs.softmax_jacobian(np.array([0.25, 0.75], np.float32)).dtype == np.float32


def test_gradient_by_the_chain_rule_through_the_jacobian_is_a_minus_y():
    z = np.array([[3.0, 4.0, 6.0]])
    a = nbs.softmax(z)[0]
    y = np.array([0.0, 1.0, 0.0])
    chain = nbs.softmax_jacobian(a) @ (-y / a)  # (da/dz) (dL/da)
    _, dlogits = nbs.cross_entropy_and_grad(z, [1])
    assert np.abs(chain - (a - y)).max() < 4 * EPS
    assert np.abs(dlogits[0] - (a - y)).max() < 4 * EPS


def test_sigmoid_is_softmax_of_two_classes():
    z1, z2 = 2.5, -0.5
    assert abs(nbs.softmax([z1, z2])[0] - nbs.sigmoid(z1 - z2)) <= 4 * EPS


# --- the three gradients and their common form ---

RNG = np.random.default_rng(2)
X = RNG.normal(size=(7, 3))
W, B = RNG.normal(size=(4, 3)), RNG.normal(size=4)
HARD, SOFT = RNG.integers(0, 4, 7), reference.softmax(RNG.normal(size=(7, 4)))


def squared_error(y, w, b):
    return np.mean((X @ w + b - y) ** 2)


def logistic_cost(y, w, b):
    a = 1 / (1 + np.exp(-(X @ w + b)))
    return -np.mean(y * np.log(a) + (1 - y) * np.log(1 - a))


def softmax_cost(y, w, b):
    losses, _, divisor = reference.cross_entropy(X @ w.T + b, y)
    return losses.sum() / divisor


@pytest.mark.parametrize(
    ("gradient", "cost", "y", "w", "b"),
    [
        (nbs.linear_gradient, squared_error, RNG.normal(size=7), W[0], B[0]),
        (nbs.logistic_gradient, logistic_cost, RNG.integers(0, 2, 7), W[0], B[0]),
        (nbs.logistic_gradient, logistic_cost, RNG.uniform(size=7), W[0], B[0]),
        (nbs.softmax_gradient, softmax_cost, HARD, W, B),
        (nbs.softmax_gradient, softmax_cost, SOFT, W, B),
    ],
    ids=["linear", "logistic", "logistic-proba", "softmax", "softmax-proba"],
)
def test_each_gradient_is_that_of_its_cost(gradient, cost, y, w, b):
    dw, db = gradient(X, y, w, b)
    assert np.abs(dw - central_difference(lambda w: cost(y, w, b), w)).max() < DIFFERENCE
    assert np.abs(db - central_difference(lambda b: cost(y, w, b), np.asarray(b))).max() < DIFFERENCE


def test_the_common_form_is_prediction_minus_target_times_x():
    y = np.array([0, 1, 1, 0, 1, 0, 0])
    error = nbs.sigmoid(X @ W[0] + B[0]) - y
    dw, db = nbs.logistic_gradient(X, y, W[0], B[0])
    assert np.abs(dw - (error[:, None] * X).mean(axis=0)).max() < 8 * EPS
    assert abs(db - error.mean()) < 8 * EPS


def test_only_linear_regression_carries_the_factor_two():
    y = RNG.normal(size=7)
    error = X @ W[0] + B[0] - y
    dw, db = nbs.linear_gradient(X, y, W[0], B[0])
    assert np.abs(dw - 2 * (error[:, None] * X).mean(axis=0)).max() < 32 * EPS
    assert abs(db - 2 * error.mean()) < 32 * EPS


def test_softmax_gradient_of_two_classes_is_the_logistic_gradient():
    y = np.array([0, 1, 1, 0, 1, 0, 0])
    dw, db = nbs.softmax_gradient(X, y, np.stack([0 * W[0], W[0]]), [0.0, B[0]])
    dw1, db1 = nbs.logistic_gradient(X, y, W[0], B[0])
    assert np.abs(dw - np.stack([-dw1, dw1])).max() < 8 * EPS
    assert np.abs(db - np.stack([-db1, db1])).max() < 8 * EPS


def test_softmax_gradient_is_the_gradient_of_the_fused_objective():
    dw, db = nbs.softmax_gradient(X, HARD, W, B)
    _, grad = nbs.Objective(X, HARD, n_classes=4).value_and_grad(np.c_[W, B])
    assert np.abs(grad - np.c_[dw, db]).max() < 16 * EPS


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: nbs.linear_gradient(X[0], [1.0], W[0], 0.0), "1 dimension"),
        (lambda: nbs.linear_gradient(X, HARD[:3], W[0], 0.0), "one number for each row"),
        (lambda: nbs.linear_gradient(X, HARD, W, 0.0), "one weight for each feature"),
        (lambda: nbs.linear_gradient(X, HARD, W[0], B), "intercept has shape"),
        (lambda: nbs.linear_gradient(X, np.full(7, np.nan), W[0], 0.0), "y contains NaN"),
        (lambda: nbs.linear_gradient(X[:0], [], W[0], 0.0), "a mean over them is undefined"),
        (lambda: nbs.logistic_gradient(X, np.full(7, 2), W[0], 0.0), "y contains 2"),
        (lambda: nbs.logistic_gradient(X, [1], W[0], 0.0), "y has shape"),
        (lambda: nbs.softmax_gradient(X, np.full(7, 4), W, B), "expected 0 to 3"),
        (lambda: nbs.softmax_gradient(X, SOFT[:, :3], W, B), "rows of probabilities"),
        (lambda: nbs.softmax_gradient(X, HARD, W[:, :2], B), "n_classes, n_features"),
        (lambda: nbs.softmax_gradient(X, HARD, W * np.inf, B), "coef contains NaN or inf"),
    ],
)
def test_bad_input_to_the_gradients_is_named(call, message):
    with pytest.raises(nbs.InputValueError, match=message):
        call()


# --- the documentation ---


def test_the_examples_of_the_gradients_are_true():
    assert doctest.testmod(nbsoftmax.gradients) == doctest.TestResults(failed=0, attempted=5)
