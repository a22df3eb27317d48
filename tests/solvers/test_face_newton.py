"""Steps with the Hessian over the coefficients that are not 0: exact minima, and far fewer products."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.solvers.base import least_subgradient
from nbsoftmax.solvers.prox_newton import ProxNewton
from nbsoftmax.solvers.tools import face_newton
from nbsoftmax.solvers.tools.face_newton import FaceNewton

M, N, K = 400, 40, 3
RNG = np.random.default_rng(0)
# Nearly collinear features.
X = RNG.normal(size=(M, 4)) @ RNG.normal(size=(4, N)) + 0.02 * RNG.normal(size=(M, N))
Y = (X[:, :K] + RNG.gumbel(size=(M, K))).argmax(axis=1)


def objective(**options):
    return nbs.Objective(X, Y, **{"l1": 1e-4} | options)


def model_at(J, point):
    """The Hessian of the smooth part at `point`, by products, and the subgradient there."""
    smooth = J.smooth_part()
    steepest = least_subgradient(J.penalty, point, smooth.value_and_grad(point)[1])
    return smooth, steepest


@pytest.mark.parametrize("options", [{}, {"l2": 1e-3}, {"fit_intercept": False}], ids=str)
def test_a_move_ends_at_the_minimum_over_the_coefficients_that_keep_their_signs(options):
    J = objective(**options)
    point = RNG.normal(size=J.shape) * (RNG.uniform(size=J.shape) < 0.4)
    point[:, -1] *= J.fit_intercept
    smooth, steepest = model_at(J, point)
    moved = FaceNewton(smooth, point).move(point, steepest)
    coef, before = moved[:, :-1], point[:, :-1]
    assert (coef * before >= 0).all() and not coef[before == 0].any()
    assert ((coef == 0) & (before != 0)).any()  # some have come to 0
    step = moved - point
    product = smooth.hvp(point, step)
    left = (steepest + product)[moved != 0]
    # The curvature is increased by 1e-10 of itself, and along nearly collinear features steps are very long.
    assert np.abs(left).max() <= 1e-4 * np.abs(steepest[point != 0]).max()
    assert np.vdot(steepest, step) + np.vdot(step, product) / 2 < 0


def test_the_move_stops_after_so_many_zeros(monkeypatch):
    J = objective()
    point = RNG.normal(size=J.shape)
    smooth, steepest = model_at(J, point)
    n = (FaceNewton(smooth, point).move(point, steepest) == 0).sum()
    assert n > 2
    monkeypatch.setattr(face_newton, "MOST_ZEROS", 2)
    moved = FaceNewton(smooth, point).move(point, steepest)
    assert (moved == 0).sum() == 3 and (moved * point >= 0)[:, :-1].all()


def test_none_if_there_are_too_many_coefficients_or_none(monkeypatch):
    J = objective(fit_intercept=False)
    smooth, steepest = model_at(J, np.zeros(J.shape))
    assert FaceNewton(smooth, np.zeros(J.shape)).move(np.zeros(J.shape), steepest) is None
    monkeypatch.setattr(face_newton, "MOST_FREE", 2)
    point = np.ones(J.shape)
    assert FaceNewton(smooth, point).move(point, steepest) is None


def products(monkeypatch, *, with_hessian):
    """The solution for nearly collinear features, and the number of Hessian-vector products."""
    J, counts = nbs.Objective(X, Y, l1=1e-5), []
    with monkeypatch.context() as patch:
        hvp = nbs.penalized_loss.PenalizedLoss.hvp
        patch.setattr(nbs.penalized_loss.PenalizedLoss, "hvp", lambda *args: counts.append(0) or hvp(*args))
        if not with_hessian:
            patch.setattr(face_newton, "MOST_FREE", 0)
        solution = ProxNewton().solve(J, np.zeros(J.shape), tol=1e-7)
    return solution, len(counts)


def test_nearly_collinear_features_take_a_fraction_of_the_products(monkeypatch):
    (slow, n_slow), (fast, n_fast) = (products(monkeypatch, with_hessian=some) for some in (False, True))
    assert fast.converged and fast.gap_kind == "duality"
    assert abs(fast.objective - slow.objective) <= fast.gap + slow.gap
    assert n_fast < n_slow / 2


def test_features_that_leave_0_after_a_move_are_not_forgotten():
    """More features than samples, with few numbers: 32 models; 70 if they end soon after a move."""
    rng, m, n, n_classes = np.random.default_rng(72), 381, 2529, 5
    for low, high in ((20, 400), (100, 3000), (2, 7), (3, 40)):  # the sizes were drawn first
        rng.integers(low, high)
    columns, rows = (n ** rng.uniform(size=1143)).astype(int), rng.integers(0, m, 1143)
    rng.random()
    numbers = rng.normal(size=1143)
    X = np.zeros((m, n))
    np.add.at(X, (rows, columns), numbers)
    y = np.random.default_rng(0).normal(size=(m, n_classes)).argmax(axis=1)
    J = nbs.Objective(X, y, l1=1 / (77.46 * m))
    solution = ProxNewton().solve(J, np.zeros(J.shape), tol=1e-7, max_iter=50)
    assert solution.converged and solution.gap_kind == "duality"
