"""The vector operations of conjugate gradients in place, against the same operations in NumPy."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.kernels import conjugate
from nbsoftmax.kernels.conjugate import columns_of_task
from nbsoftmax.kernels.runtime import threads
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.solvers.tools.cg_vectors import NewVectors, VectorsInPlace
from nbsoftmax.solvers.tools.conjugate_gradients import conjugate_gradients

# Shorter than a vector, odd, more than one task, and more classes than numbers of a task.
SHAPES = [(2, 3), (3, 129), (2, 5001), (7, 2345), (70, 257)]
EPS = np.finfo(float).eps


def random_arrays(shape, n):
    return np.random.default_rng(0).normal(size=(n, *shape))


def assert_near(found, *terms):
    """That `found` is the sum of the terms up to the rounding of products and sums, which kernels may fuse."""
    assert (np.abs(found - sum(terms)) <= 2 * EPS * sum(np.abs(term) for term in terms)).all()


def run(kernel, shape, *arguments, n_threads=None):
    """Run a kernel with its arguments but for the sizes; return its partial sums."""
    columns = columns_of_task(shape[0])
    partial = np.full(-(-shape[1] // columns), np.nan)
    flat = [a.reshape(-1) if isinstance(a, np.ndarray) else a for a in arguments]
    results = () if kernel is conjugate.turn else (partial,)
    if kernel is conjugate.advance:
        results = flat.pop(), partial
    launch(kernel, partial.size, 10**9, n_threads, *flat, shape[0], columns, *results)
    return partial


@pytest.mark.parametrize("shape", SHAPES)
def test_the_curvature_along_a_search_direction_is_that_of_the_loss_and_the_penalty(shape):
    search, product = random_arrays(shape, 2)
    curvature = np.random.default_rng(1).uniform(size=shape[1])
    expected = product / 7.0 + curvature * search
    partial = run(conjugate.bend, shape, search, product, 7.0, curvature)
    assert abs(partial.sum() - np.vdot(search, expected)) <= search.size * EPS * np.abs(search * expected).sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_changes_direction_and_residual_as_numpy_does(shape):
    direction, residual, search, product, inverse = random_arrays(shape, 5)
    curvature = np.random.default_rng(1).uniform(size=shape[1])
    before, old, means = direction.copy(), residual.copy(), np.full(shape[1], np.nan)
    inverse = np.abs(inverse)
    arrays = direction, residual, search, product, 7.0, curvature, inverse, 0.3, means
    partial = run(conjugate.advance, shape, *arrays)
    assert_near(direction, before, -0.3 * search)
    assert_near(residual, old, -0.3 / 7.0 * product, -0.3 * curvature * search)
    z = inverse * residual
    assert (np.abs(means - z.mean(axis=0)) <= shape[0] * EPS * np.abs(z).max(axis=0)).all()
    rounding = z.size * EPS * np.abs(residual * z).sum()
    assert abs(partial.sum() - np.vdot(residual, z - z.mean(axis=0))) <= rounding
    old = search.copy()
    run(conjugate.turn, shape, search, residual, inverse, means, 0.7)
    assert_near(search, z, -np.broadcast_to(means, shape), 0.7 * old)


def test_one_thread_and_two_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(threads, "_threads_of_numba", lambda: 2)
    shape, found = (3, 20_011), []
    for n in (1, 2):
        direction, residual, search, product, inverse = random_arrays(shape, 5)
        means, curvature = np.empty(shape[1]), np.ones(shape[1])
        sums = [run(conjugate.bend, shape, search, product, 3.0, curvature, n_threads=n)]
        arrays = direction, residual, search, product, 3.0, curvature, inverse, 0.3, means
        sums.append(run(conjugate.advance, shape, *arrays, n_threads=n))
        run(conjugate.turn, shape, search, residual, inverse, means, 0.7, n_threads=n)
        found.append([*sums, direction, residual, search, means])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("l2", [0.0, 0.02])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_conjugate_gradients_in_place_are_those_of_numpy(n_classes, l2, fit_intercept):
    rng = np.random.default_rng(2)
    X, y = rng.normal(size=(80, 9)), np.arange(80) % n_classes
    objective = nbs.Objective(X, y, l2=l2, fit_intercept=fit_intercept)
    params = rng.normal(size=objective.shape)
    params -= params.mean(axis=0)
    grad = objective.value_and_grad(params)[1]
    inverse = np.where(objective.curvatures(params) > 0, 1 / np.maximum(objective.curvatures(params) + l2, 1e-3), 1.0)

    def centred(v):
        return v - v.mean(axis=0)

    plain = NewVectors(objective, params, grad, lambda r: centred(inverse * r), centred)
    in_place = VectorsInPlace(objective, params, grad.copy(), inverse)
    assert abs(in_place.square - plain.square) <= 1e-13 * plain.square
    for _, one, other in zip(range(6), conjugate_gradients(plain), conjugate_gradients(in_place), strict=False):
        assert abs(other.decrement - one.decrement) <= 1e-10 * one.decrement
        for name in ("direction", "residual", "search"):
            expected = getattr(plain, name)
            scale = np.abs(grad).max() if name == "residual" else np.abs(expected).max()
            np.testing.assert_allclose(getattr(in_place, name), expected, rtol=0, atol=1e-9 * scale)
