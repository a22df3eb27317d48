"""The preconditioner of the most frequent features of sparse data."""

import numpy as np
import pytest
from scipy import sparse, special

from nbsoftmax import validation
from nbsoftmax.backends.sparse import SparseBackend
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.penalties import Ridge
from nbsoftmax.problem import Problem
from nbsoftmax.solvers.base import Point
from nbsoftmax.solvers.tools import frequent_features, preconditioners
from nbsoftmax.solvers.tools.cg_vectors import VectorsInPlace
from nbsoftmax.solvers.tools.conjugate_gradients import conjugate_gradients
from nbsoftmax.solvers.tools.preconditioners import KINDS, Preconditioner, costs

M, N, K, L2 = 300, 40, 4, 0.01


@pytest.fixture
def objective():
    """J of sparse data."""
    rng = np.random.default_rng(0)
    X = np.where(rng.random((M, N)) < rng.uniform(0.02, 0.5, N), rng.normal(size=(M, N)), 0.0)
    y = rng.integers(0, K, M)
    dense = PenalizedLoss(Problem.from_indices(X, y), ObjectiveOptions(penalty=Ridge(L2)))
    target = validation.weighted_targets(y, M, K, X.dtype, sample_weight=None, class_weight=None, label_smoothing=0.0)
    options = {"offset": np.empty((0, 0)), "fit_intercept": True, "n_threads": 1}
    dense.backend = dense._frequent = SparseBackend(sparse.csr_array(X), target, **options)
    return dense


@pytest.fixture
def ten_features(monkeypatch):
    """A Gram matrix of 10 features."""
    monkeypatch.setattr(frequent_features, "SIZES", (10,))


def variances(X, params):
    """a_ik (1 - a_ik) of the probabilities, (M, K)."""
    a = special.softmax(X @ params[:, :-1].T + params[:, -1], axis=1)
    return a * (1 - a)


def shift_of(mean):
    """The matrix that turns parameters of centred features into those of X."""
    shift = np.eye(N + 1)
    shift[-1, :-1] = -mean
    return shift


def frequent_columns(objective):
    order = np.argsort(-objective.feature_counts(), kind="stable")
    return np.append(np.sort(order[:10]), N)


def test_the_inverse_is_that_of_its_formula(objective, ten_features):
    rng = np.random.default_rng(1)
    params, residual = rng.normal(size=(2, K, N + 1))
    chosen = frequent_columns(objective)
    penalty = np.append(np.full(N, L2), 0.0)
    gram = objective.gram(params)[np.ix_(chosen, chosen)] + np.diag(penalty[chosen])
    root = np.sqrt(gram.diagonal())
    correlations = np.eye(N + 1)
    correlations[np.ix_(chosen, chosen)] = gram / root / root[:, None]
    X = objective.backend.columns().toarray()
    v = variances(X, params)
    mean = v.sum(axis=1) @ X / v.sum()
    mean[chosen[:-1]] = 0.0  # features of the Gram matrix, which contains the intercept, are not centred
    shift, centred = shift_of(mean), np.column_stack([X - mean, np.ones(M)])
    made = Preconditioner(objective, params, "frequent")
    for k in range(K):
        diagonal = np.sqrt(v[:, k] @ centred**2 / M + penalty)
        expected = shift @ np.linalg.solve(diagonal[:, None] * correlations * diagonal, shift.T @ residual[k])
        # The inverse is that of a matrix whose condition is below 1e4.
        np.testing.assert_allclose(made.uncorrected(residual)[k], expected, rtol=0, atol=1e-9 * np.abs(expected).max())


def test_conjugate_gradients_in_place_are_those_of_numpy(objective, ten_features, monkeypatch):
    params = preconditioners.centred(np.random.default_rng(1).normal(size=(K, N + 1)))
    point = Point(params, *objective.value_and_grad(params))
    made = Preconditioner(objective, params, "frequent")
    plain = made.vectors(objective, point)
    monkeypatch.setattr(preconditioners, "MANY", 1)
    made.memory.capacity = 0
    in_place = made.vectors(objective, point)
    assert isinstance(in_place, VectorsInPlace)
    assert not made.damps
    assert not isinstance(plain, VectorsInPlace)
    assert abs(in_place.square - plain.square) <= 1e-13 * plain.square
    for _, one, other in zip(range(6), conjugate_gradients(plain), conjugate_gradients(in_place), strict=False):
        assert abs(other.decrement - one.decrement) <= 1e-10 * one.decrement
        for name in ("direction", "residual", "search"):
            expected = getattr(plain, name)
            scale = np.abs(point.grad).max() if name == "residual" else np.abs(expected).max()
            np.testing.assert_allclose(getattr(in_place, name), expected, rtol=0, atol=1e-9 * scale)


def test_damping_in_place_is_a_larger_ridge_penalty_of_the_coefficients(objective):
    params = preconditioners.centred(np.random.default_rng(1).normal(size=(K, N + 1)))
    grad, delta = objective.value_and_grad(params)[1], 0.3
    diagonal = Preconditioner(objective, params, "diagonal")._diagonal
    diagonal.damp(delta)
    damped = VectorsInPlace(objective, params, grad, diagonal, damping=delta)
    objective.penalty = Ridge(L2 + delta)
    larger = VectorsInPlace(objective, params, grad, Preconditioner(objective, params, "diagonal")._diagonal)
    for _, one, other in zip(range(6), conjugate_gradients(damped), conjugate_gradients(larger), strict=False):
        assert abs(other.decrement - one.decrement) <= 1e-10 * one.decrement


def test_it_is_closer_to_the_hessian_than_the_diagonal(objective, ten_features):
    params = np.zeros((K, N + 1))
    hessian = objective.blocks(params)[0] + np.diag(np.append(np.full(N, L2), 0.0))

    def spread(kind):
        made = Preconditioner(objective, params, kind)
        inverse = np.stack([made.uncorrected(np.eye(N + 1)[[j] * K])[0] for j in range(N + 1)])
        eigenvalues = np.linalg.eigvals(inverse @ hessian).real
        return eigenvalues.max() / eigenvalues.min()

    assert spread("frequent") < spread("diagonal")


def test_it_is_for_more_features_than_a_gram_matrix_can_have(objective, monkeypatch):
    assert costs(objective)["frequent"] == np.inf
    monkeypatch.setattr(preconditioners, "MOST_BYTES", 8 * N**2)
    found = costs(objective)
    assert list(found) == list(KINDS)
    assert found["diagonal"] < found["frequent"] < found["gram"] == np.inf


def test_dense_data_have_no_such_preconditioner():
    X, y = np.random.default_rng(0).normal(size=(30, 5)), np.arange(30) % 3
    dense = PenalizedLoss(Problem.from_indices(X, y), ObjectiveOptions())
    assert dense.feature_counts() is None
    assert costs(dense)["frequent"] == np.inf


@pytest.mark.parametrize("constant", [False, True])
def test_the_diagonal_of_sparse_data_is_that_of_centred_features(objective, constant):
    X = objective.backend.columns().toarray()
    if constant:
        X[:, 3] = 0.7
        objective = PenalizedLoss(
            Problem.from_indices(sparse.csr_array(X), objective._problem.target.labels),
            ObjectiveOptions(penalty=Ridge(L2)),
        )
    rng = np.random.default_rng(1)
    params, residual = rng.normal(size=(2, K, N + 1))
    v = variances(X, params)
    mean = v.sum(axis=1) @ X / v.sum()
    shift = shift_of(mean)
    centred = np.column_stack([X - mean, np.ones(M)])
    made = Preconditioner(objective, params, "diagonal")
    for k in range(K):
        diagonal = v[:, k] @ centred**2 / M + np.append(np.full(N, L2), 0.0)
        expected = shift @ ((shift.T @ residual[k]) / diagonal)
        # For a constant column a share of 1e-6 of its curvature is left.
        rtol = 1e-4 if constant else 1e-10
        np.testing.assert_allclose(
            made.uncorrected(residual)[k], expected, rtol=rtol, atol=rtol * np.abs(expected).max()
        )
