"""Conjugate gradients for matrices that are given: what their iterates say of the matrix."""

from types import SimpleNamespace

import numpy as np
import pytest

from nbsoftmax.solvers.tools.cg_vectors import NewVectors
from nbsoftmax.solvers.tools.conjugate_gradients import conjugate_gradients

N = 6


def iterates(product, precondition):
    """Of H d = -grad for some gradient, given the products with H and with M^-1."""
    objective = SimpleNamespace(hvp=lambda params, v: product(v))
    grad = np.random.default_rng(1).normal(size=(N, 1))
    return conjugate_gradients(NewVectors(objective, grad, grad, precondition, lambda v: v))


def times(matrix):
    return lambda v: matrix @ v


def positive(seed):
    A = np.random.default_rng(seed).normal(size=(N, N))
    return A @ A.T + np.eye(N)


def test_the_least_curvature_falls_to_the_smallest_eigenvalue_of_the_preconditioned_matrix():
    hessian, inverse = positive(2), positive(3)
    least = np.linalg.eigvals(inverse @ hessian).real.min()
    all_iterates = enumerate(iterates(times(hessian), times(inverse)))
    found = [iterate.least_curvature() for n, iterate in all_iterates if 1 <= n < N]
    assert found == sorted(found, reverse=True)
    assert found[0] > 1.01 * least
    assert abs(found[-1] - least) <= 1e-9 * least


@pytest.mark.parametrize("curvature", [0.0, -1.0, np.inf, np.nan])
def test_without_a_positive_curvature_the_direction_is_that_of_steepest_descent(curvature):
    (only,) = iterates(lambda v: curvature * v, lambda v: 2 * v)
    assert only.decrement == np.inf
    np.testing.assert_array_equal(only.direction, -2 * only.vectors.residual)


@pytest.mark.parametrize("curvature", [0.0, -1.0, np.inf, np.nan])
def test_a_later_product_without_a_positive_curvature_ends_them(curvature):
    factors, hessian = iter([1.0, curvature]), positive(2)
    first, last = iterates(lambda v: next(factors) * (hessian @ v), lambda v: v)
    assert np.isfinite(first.decrement)
    assert last.decrement == np.inf


def test_the_asymmetry_of_products_is_relative_to_the_curvatures():
    hessian, skew = positive(2), np.triu(np.full((N, N), 1e-3), 1)
    found = []
    for scale in (1, 4):
        _, second, *_ = iterates(times(scale * (hessian + skew - skew.T)), lambda v: v)
        found.append(second.asymmetry)
    assert 1e-5 < found[0] < 1e-3
    assert abs(found[1] - found[0]) <= 1e-9 * found[0]
    _, second, *_ = iterates(times(hessian), lambda v: v)
    assert second.asymmetry <= 1e-14


@pytest.mark.parametrize("factor", [-1.0, np.nan, np.inf, -1e-10])
def test_they_end_where_the_preconditioner_is_not_positive(factor):
    factors = iter([1.0, factor])
    (only,) = iterates(times(positive(2)), lambda v: next(factors) * v)
    rounding_error = factor == -1e-10
    assert np.isfinite(only.decrement) == rounding_error
    assert only.square == (0.0 if rounding_error else np.inf)
