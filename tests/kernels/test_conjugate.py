"""The vector operations of conjugate gradients in place, against the same operations in NumPy."""

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from nbsoftmax.kernels import conjugate
from nbsoftmax.kernels.conjugate import columns_of_task
from nbsoftmax.kernels.runtime import threads
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.solvers.tools.centred_diagonal import CentredDiagonal
from nbsoftmax.solvers.tools.cg_vectors import NewVectors, VectorsInPlace
from nbsoftmax.solvers.tools.conjugate_gradients import conjugate_gradients
from nbsoftmax.solvers.tools.preconditioners import centred

# Shorter than a vector, odd, more than one task, and more classes than numbers of a task.
SHAPES = [(2, 3), (3, 129), (2, 5001), (7, 2345), (70, 257)]
EPS = np.finfo(float).eps


def random_arrays(shape, n):
    return np.random.default_rng(0).normal(size=(n, *shape))


def assert_near(found, *terms):
    """That `found` is the sum of the terms up to the rounding of products and sums, which kernels may fuse."""
    assert (np.abs(found - sum(terms)) <= 2 * EPS * sum(np.abs(term) for term in terms)).all()


def run(kernel, shape, *arguments, results=(), n_threads=None):
    """Run a kernel with its arguments but for the sizes and results; return its partial sums."""
    columns = columns_of_task(shape[0])
    partial = np.full(n_tasks(shape), np.nan)
    flat = [a.reshape(-1) if isinstance(a, np.ndarray) else a for a in arguments]
    last = () if kernel is conjugate.next_search else (partial,)
    launch(kernel, partial.size, 10**9, n_threads, *flat, shape[0], columns, *results, *last)
    return partial


def n_tasks(shape):
    return -(-shape[1] // columns_of_task(shape[0]))


def centre_of(shape):
    centre = np.random.default_rng(3).uniform(size=shape[1])
    centre[-1] = 0.0
    return centre


@pytest.mark.parametrize("shape", SHAPES)
def test_the_curvature_along_a_search_direction_is_that_of_the_loss_and_the_penalty(shape):
    search, product = random_arrays(shape, 2)
    curvature = np.random.default_rng(1).uniform(size=shape[1])
    expected = product / 7.0 + curvature * search
    partial = run(conjugate.curvature_along, shape, search, product, 7.0, curvature)
    assert abs(partial.sum() - np.vdot(search, expected)) <= search.size * EPS * np.abs(search * expected).sum()


@pytest.mark.parametrize("shape", SHAPES)
def test_a_step_changes_direction_and_residual_as_numpy_does(shape):
    direction, residual, search, product, inverse = random_arrays(shape, 5)
    curvature = np.random.default_rng(1).uniform(size=shape[1])
    before, old, means = direction.copy(), residual.copy(), np.full(shape[1], np.nan)
    inverse, centre = np.abs(inverse), centre_of(shape)
    corner = residual[:, -1] - 0.3 * (product[:, -1] / 7.0 + curvature[-1] * search[:, -1])
    shifts = np.full((n_tasks(shape), shape[0]), np.nan)
    arrays = direction, residual, search, product, 7.0, curvature, inverse, centre, corner, 0.3
    partial = run(conjugate.advance, shape, *arrays, results=(means, shifts.reshape(-1)))
    assert_near(direction, before, -0.3 * search)
    assert_near(residual, old, -0.3 / 7.0 * product, -0.3 * curvature * search)
    r = residual - centre * corner[:, None]
    z = inverse * r
    sizes = inverse * (np.abs(residual) + np.abs(centre * corner[:, None]))
    assert (np.abs(means - z.mean(axis=0)) <= shape[0] * EPS * sizes.max(axis=0)).all()
    assert (np.abs(shifts.sum(axis=0) - z @ centre) <= shape[1] * EPS * (sizes @ centre)).all()
    rounding = z.size * EPS * np.abs(sizes**2 / inverse).sum()
    assert abs(partial.sum() - np.vdot(r, z - z.mean(axis=0))) <= rounding
    old = search.copy()
    run(conjugate.next_search, shape, search, residual, inverse, centre, corner, 0.7, results=(means,))
    assert (np.abs(search - (z - means + 0.7 * old)) <= 4 * EPS * (sizes + np.abs(means) + np.abs(old))).all()


@pytest.mark.usefixtures("several_threads")
def test_one_thread_and_two_give_the_same_bits(monkeypatch):
    monkeypatch.setattr(threads, "default_threads", lambda: 2)
    shape, found = (3, 20_011), []
    for n in (1, 2):
        direction, residual, search, product, inverse = random_arrays(shape, 5)
        means, curvature, corner = np.empty(shape[1]), np.ones(shape[1]), residual[:, -1].copy()
        shifts = np.empty(n_tasks(shape) * shape[0])
        sums = [run(conjugate.curvature_along, shape, search, product, 3.0, curvature, n_threads=n), shifts]
        diagonal = inverse, centre_of(shape), corner
        arrays = direction, residual, search, product, 3.0, curvature, *diagonal, 0.3
        sums.append(run(conjugate.advance, shape, *arrays, results=(means, shifts), n_threads=n))
        run(conjugate.next_search, shape, search, residual, *diagonal, 0.7, results=(means,), n_threads=n)
        found.append([*sums, direction, residual, search, means])
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


@pytest.mark.parametrize("fit_intercept", [True, False])
@pytest.mark.parametrize("l2", [0.0, 0.02])
@pytest.mark.parametrize("is_sparse", [True, False])
@pytest.mark.parametrize("n_classes", [2, 5])
def test_conjugate_gradients_in_place_are_those_of_numpy(n_classes, is_sparse, l2, fit_intercept):
    rng = np.random.default_rng(2)
    X, y = np.where(rng.random((80, 9)) < 0.6, rng.uniform(size=(80, 9)), 0.0), np.arange(80) % n_classes
    objective = nbs.Objective(sparse.csr_array(X) if is_sparse else X, y, l2=l2, fit_intercept=fit_intercept)
    params = rng.normal(size=objective.shape)
    params -= params.mean(axis=0)
    grad = objective.value_and_grad(params)[1]
    diagonal = CentredDiagonal(objective, params, np.append(np.full(9, l2), 0.0), np.empty(0, np.int64))
    assert (diagonal.centre[:-1] > 0).all() == (is_sparse and fit_intercept)
    plain = NewVectors(objective, params, grad, lambda r: centred(diagonal(r)), centred)
    in_place = VectorsInPlace(objective, params, grad.copy(), diagonal)
    assert abs(in_place.square - plain.square) <= 1e-13 * plain.square
    for _, one, other in zip(range(6), conjugate_gradients(plain), conjugate_gradients(in_place), strict=False):
        assert abs(other.decrement - one.decrement) <= 1e-10 * one.decrement
        for name in ("direction", "residual", "search"):
            expected = getattr(plain, name)
            scale = np.abs(grad).max() if name == "residual" else np.abs(expected).max()
            np.testing.assert_allclose(getattr(in_place, name), expected, rtol=0, atol=1e-9 * scale)
