"""Two classes, whose samples have one logit in the kernels: the sums are those of two columns of logits."""

import mpmath
import numpy as np
import pytest

from nbsoftmax import Objective
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.kernels.linear import LOGIT, TILES
from nbsoftmax.problem import Problem

DTYPES = [np.float32, np.float64]
NAMES = ("loss", "loss_and_grad", "hess_vec", "intercept_curvature")


def pair(problem, *, fit_intercept=True, n_threads=2):
    """Two backends: with one logit for each sample, and with two."""
    options = {"offset": problem.offset, "fit_intercept": fit_intercept, "n_threads": n_threads}
    one, two = (DenseBackend(problem.X, problem.target, **options) for _ in range(2))
    assert one._fused.form == LOGIT
    two._design.form, two._fused = TILES, two._design
    return one, two


def sums(backend, params, v):
    loss, grad = backend.loss_and_grad(params)
    product = backend.hess_vec(params, v)
    return np.array(loss), grad, product, backend.intercept_curvature(params)


def assert_close(got, wanted, dtype):
    for a, b in zip(got, wanted, strict=True):
        assert np.abs(a - b).max() <= 256 * np.finfo(dtype).eps * max(1.0, np.abs(b).max())


def draw(m, N, dtype, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, N)).astype(dtype)
    return rng, X, rng.integers(0, 2, m), rng.normal(size=(2, N + 1)) / np.sqrt(N), rng.normal(size=(2, N + 1))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("kind", ["labels", "smoothed", "probabilities", "sets"])
@pytest.mark.parametrize("weighted", [False, True])
def test_every_kind_of_target_gives_the_sums_of_two_logits(kind, weighted, dtype):
    rng, X, y, params, v = draw(317, 13, dtype)
    options = {"offset": rng.normal(size=(317, 2))}
    if weighted:
        options["sample_weight"] = rng.uniform(0, 2, 317) * (rng.uniform(size=317) < 0.8)
    if kind == "sets":
        possible = np.eye(2, dtype=bool)[y] | (rng.uniform(size=(317, 2)) < 0.3)
        problem = Problem.from_labels(X, possible, **options)
    else:
        options["class_weight"] = {0: 0.5, 1: 3.0}
        smoothing = 0.1 if kind == "smoothed" else 0.0
        target = rng.dirichlet([1, 1], 317) if kind == "probabilities" else y
        problem = Problem.from_indices(X, target, n_classes=2, label_smoothing=smoothing, **options)
    for fit_intercept in (True, False):
        one, two = pair(problem, fit_intercept=fit_intercept)
        assert_close(sums(one, params, v), sums(two, params, v), dtype)
        assert one.loss(params) == one.loss_and_grad(params)[0]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_number_of_rows_and_features_is_complete(dtype):
    for m, N in [*((m, 5) for m in range(1, 70)), *((37, N) for N in range(1, 140)), (5, 1031), (700, 64), (300, 700)]:
        _, X, y, params, v = draw(m, N, dtype)
        one, two = pair(Problem.from_indices(X, y, n_classes=2))
        assert_close(sums(one, params, v), sums(two, params, v), dtype)


@pytest.mark.parametrize("N", [3, 70, 256])
def test_every_layout_gives_the_same_bits(N):
    _, X, y, params, v = draw(300, N, np.float64)
    wanted = sums(Objective(X, y, n_classes=2).backend, params, v)
    for layout in (
        np.asfortranarray,
        lambda X: np.repeat(X, 2, axis=1)[:, ::2],
        lambda X: X[::-1].copy()[::-1],
        lambda X: X[:, ::-1].copy()[:, ::-1],
        lambda X: np.column_stack([X, X])[:, : X.shape[1]],
    ):
        for a, b in zip(sums(Objective(layout(X), y, n_classes=2).backend, params, v), wanted, strict=True):
            assert np.array_equal(a, b)


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("dtype", DTYPES)
def test_bits_do_not_depend_on_the_number_of_threads(dtype):
    _, X, y, params, v = draw(30_000, 20, dtype)
    alone, together = (Objective(X, y, n_classes=2, n_threads=n).backend for n in (1, 3))
    for a, b in zip(sums(alone, params, v), sums(together, params, v), strict=True):
        assert np.array_equal(a, b)


def test_the_gradients_of_both_classes_differ_in_their_signs_alone():
    _, X, y, params, v = draw(100, 7, np.float64)
    backend = Objective(X, y, n_classes=2).backend
    for result in (backend.loss_and_grad(params)[1], backend.hess_vec(params, v)):
        assert np.array_equal(result[0], -result[1])


@pytest.mark.parametrize("dtype", DTYPES)
def test_losses_and_gradients_are_exact_to_some_units_in_the_last_place_for_logits_of_every_size(dtype):
    # One sample a problem, so that no sum hides an error: X = 1, and the logit is w.
    eps = float(np.finfo(dtype).eps)
    for logit in [0.0, 1e-30, 1e-9, 0.3, 1.0, 5.0, 30.0, 85.0, 300.0, 1e4, 1e30]:
        for z in (logit, -logit):
            w = float(dtype(z))
            loss, grad = Objective(np.ones((1, 1), dtype), [1], n_classes=2).backend.loss_and_grad(
                np.array([[0.0, 0.0], [w, 0.0]])
            )
            with mpmath.workdps(60):
                exact = mpmath.log1p(mpmath.exp(-mpmath.mpf(w)))
                slope = -1 / (1 + mpmath.exp(mpmath.mpf(w)))
            tiny = float(np.finfo(dtype).tiny)
            assert abs(loss - float(exact)) <= 4 * eps * float(exact) + tiny
            assert abs(grad[1, 0] - float(slope)) <= 4 * eps * abs(float(slope)) + tiny


@pytest.mark.parametrize("dtype", DTYPES)
def test_samples_without_weight_have_no_effect_however_far_their_logits_are(dtype):
    _, X, y, params, _ = draw(50, 4, dtype)
    weight = np.ones(50)
    weight[::7] = 0
    far = X.copy()
    far[::7] = np.finfo(dtype).max / 8
    got, wanted = (Objective(A, y, n_classes=2, sample_weight=weight).backend.loss_and_grad(params) for A in (far, X))
    assert got[0] == wanted[0]
    assert np.isfinite(got[1]).all()


def test_differences_that_overflow_are_infinite_losses_not_errors():
    X, y = np.array([[1.0], [1.0]]), [0, 1]
    backend = Objective(X, y, n_classes=2).backend
    with np.errstate(all="raise"):
        loss, _ = backend.loss_and_grad(np.array([[-1.7e308, 0.0], [1.7e308, 0.0]]))
    assert loss == np.inf
