"""The kernel that makes a whole Newton step of a small problem: what plain float64 NumPy gives."""

import numpy as np
import pytest

import nbsoftmax as nbs
from nbsoftmax.backends import packed
from nbsoftmax.kernels.newton import FAILED, MOVED, STUCK
from tests import reference

WEIGHTS = np.random.default_rng(9).integers(0, 4, 150).astype(float)
SHAPES = [(150, 1, 2), (150, 4, 3), (150, 11, 2), (150, 6, 7), (150, 2, 20)]
OPTIONS = {
    "plain": {},
    "weights": {"sample_weight": WEIGHTS},
    "class weights": {"class_weight": {0: 3.0, 1: 0.2}},
    "smoothed": {"label_smoothing": 0.2, "sample_weight": WEIGHTS},
    "no intercept": {"fit_intercept": False},
    "no penalty": {"l2": 0.0},
}


def problem(m, N, K, *, soft=False, seed=0, **options):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, N))
    y = rng.dirichlet(np.ones(K), m) if soft else np.arange(m) % K
    objective = nbs.Objective(X, y, n_classes=K, **{"l2": 0.01, **options})
    params = rng.normal(size=(K, N + 1)) / np.sqrt(N)
    params -= params.mean(axis=0)
    if not objective.fit_intercept:
        params[:, -1] = 0
    return objective, params


def whole_step(objective, params):
    """-H^-1 grad and grad . H^-1 grad / 2, from the other kernels' Hessian."""
    grad = objective.value_and_grad(params)[1].ravel()
    l2s = np.append(np.broadcast_to(objective.penalty.curvature, params.shape[1] - 1), 0.0)
    hessian = objective.hessian(params).reshape(params.size, -1) + np.diag(np.tile(l2s, len(params)))
    step = -np.linalg.lstsq(hessian, grad, rcond=1e-12)[0]
    return step.reshape(params.shape), -grad @ step / 2


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("soft", [False, True], ids=["labels", "probabilities"])
def test_value_gradient_and_step_are_those_of_the_other_kernels(shape, soft, options):
    objective, params = problem(*shape, soft=soft, **options)
    small = objective.packed()
    value, grad = objective.value_and_grad(params)
    got = small.value_and_grad(params)
    eps = np.finfo(float).eps
    assert got[0] == pytest.approx(value, rel=64 * eps)  # sums of 150 terms in another order
    np.testing.assert_allclose(got[1], grad, rtol=0, atol=64 * eps * max(1.0, np.abs(params).max()))
    found = small.newton_step(params)
    step, decrement = whole_step(objective, params)
    assert found.outcome == MOVED
    # Directions lose as many digits as the condition of the Hessian has, which is below 1e6 here.
    np.testing.assert_allclose(found.direction - found.direction.mean(axis=0), step, atol=1e-9 * np.abs(step).max())
    assert found.decrement == pytest.approx(decrement, rel=1e-9)
    assert found.value < value
    again = small.value_and_grad(found.params.copy())
    assert found.value == again[0]
    assert found.grad.tobytes() == again[1].tobytes()
    assert found.grad_norm == pytest.approx(np.linalg.norm(found.grad), rel=1e-12)


@pytest.mark.parametrize("shape", [(3001, 20, 3), (1500, 100, 2), (700, 12, 12)], ids=str)
def test_several_blocks_and_threads_give_the_step_of_the_other_kernels(shape, several_threads):
    m, _, K = shape
    options = {"sample_weight": np.arange(m) % 3 / 2.0, "class_weight": np.linspace(0.5, 2.0, K), "l2": 0.01}
    steps = {}
    for n_threads in (1, 2, 3):
        objective, params = problem(*shape, n_threads=n_threads, **options)
        small = objective.packed()
        steps[n_threads] = small.newton_step(params)
    assert len(small.backend._partial) > 1  # tasks
    bits = {(each.decrement, each.value, each.params.tobytes(), each.grad.tobytes()) for each in steps.values()}
    assert len(bits) == 1
    value, grad = objective.value_and_grad(params)
    got = small.value_and_grad(params)
    eps = np.finfo(float).eps
    assert got[0] == pytest.approx(value, rel=64 * eps)  # sums in another order
    np.testing.assert_allclose(got[1], grad, rtol=0, atol=64 * eps * max(1.0, np.abs(params).max()))
    step, decrement = whole_step(objective, params)
    found = steps[1]
    np.testing.assert_allclose(found.direction - found.direction.mean(axis=0), step, atol=1e-9 * np.abs(step).max())
    assert found.decrement == pytest.approx(decrement, rel=1e-9)
    assert objective.value(found.params) == pytest.approx(found.value, rel=64 * eps)


def test_a_step_that_is_too_long_is_shortened_by_all_threads_alike(several_threads):
    X = np.random.default_rng(1).normal(size=(4000, 30))
    params = np.zeros((2, 31))
    params[:, 0] = 5.0, -5.0  # the wrong sign
    found = []
    for n_threads in (1, 2):
        objective = nbs.Objective(X, (X[:, 0] > 0).astype(int), l2=1e-4, n_threads=n_threads)
        found.append(objective.packed().newton_step(params))
    assert found[0].outcome == MOVED
    assert found[0].value < objective.value(params) < objective.value(params + found[0].direction)
    assert found[0].params.tobytes() == found[1].params.tobytes()


def test_the_loss_is_that_of_the_definition():
    objective, params = problem(150, 4, 3, l2=0.0)
    X = np.random.default_rng(0).normal(size=(150, 4))
    z = X @ params[:, :-1].T + params[:, -1]
    losses = reference.logsumexp(z - z[np.arange(150), np.arange(150) % 3][:, None])
    assert objective.packed().value(params) == pytest.approx(losses.mean(), rel=1e-14)


def test_a_step_that_is_too_long_is_shortened():
    # On separable data the curvature vanishes far from 0, and whole steps from there increase the objective.
    rng = np.random.default_rng(1)
    X = rng.normal(size=(80, 3))
    objective = nbs.Objective(X, (X[:, 0] > 0).astype(int), l2=1e-4)
    params = np.zeros((2, 4))
    params[:, 0] = 5.0, -5.0  # the wrong sign
    small = objective.packed()
    found = small.newton_step(params)
    value = objective.value(params)
    assert objective.value(params + found.direction) > value
    assert found.outcome == MOVED
    assert found.value < value
    share = (found.params - params) / found.direction
    assert np.ptp(share) <= 1e-9  # along the direction
    assert 0 < share.mean() <= 0.5


def test_a_singular_hessian_and_a_minimum_are_named():
    rng = np.random.default_rng(2)
    X = rng.normal(size=(60, 3))
    X[:, 2] = X[:, 0] + X[:, 1]
    y = np.arange(60) % 3
    assert nbs.Objective(X, y).packed().newton_step(np.zeros((3, 4))).outcome == FAILED
    small = nbs.Objective(X, y, l2=0.1).packed()
    params = np.zeros((3, 4))
    for _ in range(20):
        found = small.newton_step(params)
        if found.outcome != MOVED:
            break
        params = found.params
    assert found.outcome == STUCK
    assert found.decrement <= 1e-25


def test_features_that_are_always_0_keep_weights_of_0():
    X = np.random.default_rng(3).normal(size=(60, 3))
    X[:, 1] = 0
    found = nbs.Objective(X, np.arange(60) % 3).packed().newton_step(np.zeros((3, 4)))
    assert found.outcome == MOVED
    assert (found.params[:, 1] == 0).all()


def test_a_point_that_is_evaluated_again_gives_the_same_step():
    objective, params = problem(150, 4, 3)
    small = objective.packed()
    first = small.newton_step(params)
    known = small.newton_step(first.params)  # whose probabilities the kernel still has
    small.value_and_grad(params)
    other = small.newton_step(first.params)
    assert known.params.tobytes() == other.params.tobytes()
    assert known.value == other.value


@pytest.mark.parametrize("layout", [np.asfortranarray, lambda X: X[::-1].copy()[::-1], lambda X: X.astype(">f8")])
def test_the_layout_of_x_does_not_matter(layout):
    X, y = np.random.default_rng(4).normal(size=(50, 5)), np.arange(50) % 4
    params = np.random.default_rng(5).normal(size=(4, 6))
    same = [nbs.Objective(each, y, l2=0.1).packed().newton_step(params).params for each in (X, layout(X))]
    assert same[0].tobytes() == same[1].tobytes()


def test_only_small_problems_are_packed():
    assert packed.fits(150, 4, 3)
    assert packed.fits(569, 30, 2)
    assert packed.fits(4597, 57, 2)
    assert not packed.fits(1797, 64, 10)
    assert not packed.fits(100_000, 10, 5)
    assert not packed.fits(10_000_000, 1, 2)  # X would be copied
    assert not packed.fits(100, 300, 2)  # one thread would eliminate
    X, y = np.random.default_rng(6).normal(size=(40, 3)), np.arange(40) % 2
    assert nbs.Objective(X, y).packed() is not None
    assert nbs.Objective(X, y, offset=np.zeros((40, 2))).packed() is None
