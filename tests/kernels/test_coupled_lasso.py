"""The minimum of a quadratic over the weights of all classes: the conditions of a minimum hold, whatever the start."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.kernels.coupled_lasso import coupled_lasso
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.penalties.bounded import bounded

OPEN, BOX, ONE_SIDED = (None, None), (-0.3, 0.4), (0.0, None)


def problem(rng, n_classes, n, *, l2s, bounds=(-np.inf, np.inf), collinear=False):
    """The Hessian of a softmax objective without intercepts, a gradient that it can balance, and a start."""
    m = 40
    X, proba = rng.normal(size=(m, n)) * 10.0 ** rng.uniform(-1, 1, n), rng.dirichlet(np.ones(n_classes), m)
    if collinear:
        X[:, -1] = X[:, 0]
    weight = proba[:, :, None] * (np.eye(n_classes) - proba[:, None, :]) / m
    hessian = np.einsum("ij,ikl,ip->kjlp", X, weight, X).reshape(n_classes * n, -1)
    grad = (hessian @ rng.normal(size=n_classes * n)).reshape(n_classes, n)
    low, high = (np.full((n_classes, n), end) for end in bounds)
    start = np.clip(rng.normal(size=(n_classes, n)) * (rng.random((n_classes, n)) < 0.5), low, high)
    return hessian + np.diag(np.tile(l2s, n_classes)), grad + l2s * start, start, low, high


def minimised(matrix, l2s, l1s, low, high, slope, start, *, shifted=True, end=(1000, 1e-20), rest=None):
    r, v = slope.reshape(-1).copy(), start.reshape(-1).copy()
    options = shifted, len(start), r, v, *end
    launch(
        coupled_lasso,
        1,
        0,
        1,
        matrix,
        l2s,
        l1s,
        low.reshape(-1),
        high.reshape(-1),
        *options,
        np.zeros(1) if rest is None else rest,
    )
    return v.reshape(start.shape), r.reshape(start.shape)


@pytest.mark.parametrize("collinear", [False, True], ids=["independent", "collinear"])
@pytest.mark.parametrize("ends", [OPEN, BOX, ONE_SIDED], ids=["open", "box", "one-sided"])
@pytest.mark.parametrize("l2", [0.0, 1e-6, 0.3])
@pytest.mark.parametrize("n_classes", [2, 3, 4, 5])
def test_the_result_is_a_minimum(n_classes, l2, ends, collinear):
    rng = np.random.default_rng(n_classes)
    bounds = tuple(sign * np.inf if end is None else end for sign, end in zip((-1, 1), ends, strict=True))
    for n in (2, 3, 11):
        l1s, l2s = rng.choice([0.001, 0.01, 0.1], n), np.full(n, l2)
        matrix, slope, start, low, high = problem(rng, n_classes, n, l2s=l2s, bounds=bounds, collinear=collinear)
        v, r = minimised(matrix, l2s, l1s, low, high, slope, start)
        scale = np.sqrt(matrix.diagonal()).reshape(v.shape)
        move = (v - start).reshape(-1)
        np.testing.assert_allclose(r, slope + (matrix @ move).reshape(v.shape), rtol=0, atol=1e-13 * scale.max() ** 2)
        penalty = bounded(nbs.ElasticNet(1.0, 0.0, weights=l1s), ends)
        assert penalty.allows(v)
        # Moves of the last sweep are 1e-10 of those of the first.
        assert (np.abs(penalty.least_subgradient(v, r)) <= 1e-9 * (scale + scale**2)).all()


@pytest.mark.parametrize("l2", [0.0, 0.3])
@pytest.mark.parametrize("n_classes", [2, 4, 15])
def test_sweeps_end_where_their_changes_are_rounding_errors(n_classes, l2):
    rng, rest = np.random.default_rng(n_classes), np.ones(1)
    for n in (2, 5, 13):
        l1s, l2s = np.full(n, 0.001), np.full(n, l2)
        matrix, slope, start, low, high = problem(rng, n_classes, n, l2s=l2s)
        v, r = minimised(matrix, l2s, l1s, low, high, slope, start)
        again, _ = minimised(matrix, l2s, l1s, low, high, r, v, end=(40, 0.0), rest=rest)
        assert rest[0] == 0
        np.testing.assert_allclose(again, v, rtol=0, atol=1e-8)


def test_too_few_sweeps_are_reported():
    rng, rest = np.random.default_rng(0), np.zeros(1)
    given = problem(rng, 3, 4, l2s=np.zeros(4))
    minimised(given[0], np.zeros(4), np.full(4, 0.001), *given[3:], *given[1:3], end=(2, 1e-20), rest=rest)
    assert 0 < rest[0] < 1


def test_weights_without_a_penalty_reach_the_minimum_of_the_quadratic():
    rng = np.random.default_rng(0)
    matrix, slope, start, low, high = problem(rng, 3, 4, l2s=np.zeros(4))
    v, _ = minimised(matrix, np.zeros(4), np.zeros(4), low, high, slope, start)
    move = -np.linalg.pinv(matrix) @ slope.reshape(-1)
    np.testing.assert_allclose((v - start) - (v - start).mean(axis=0), move.reshape(v.shape), atol=1e-9)


def test_a_matrix_with_curvature_along_shifts_has_none_taken():
    rng = np.random.default_rng(0)
    matrix, slope, start, low, high = problem(rng, 3, 4, l2s=np.zeros(4))
    matrix += 0.1 * np.eye(12)
    slope = slope + 0.1  # a sum over the classes that is not 0, which the damping alone must balance
    v, r = minimised(matrix, np.zeros(4), np.full(4, 0.01), low, high, slope, start, shifted=False)
    assert np.abs(nbs.Lasso(0.01).least_subgradient(v, r)).max() < 1e-8


def test_columns_of_zeros_leave_their_weights_at_zero():
    matrix, zeros = np.zeros((6, 6)), np.zeros((3, 2))
    low, high = np.full((3, 2), -np.inf), np.full((3, 2), np.inf)
    v, r = minimised(matrix, np.zeros(2), np.full(2, 0.1), low, high, zeros, np.full((3, 2), 0.5))
    assert (v == 0).all()
    assert (r == 0).all()
