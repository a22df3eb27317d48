"""Gram matrices and Hessians that sparse rows add up number by number."""

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs
from nbsoftmax.backends import sparse_grams
from nbsoftmax.backends.sparse import SparseBackend
from nbsoftmax.kernels.sparse_gram import WIDTH, n_vectors
from nbsoftmax.solvers.newton_cg import NewtonCG
from tests.backends.test_sparse import SUMS, assert_close, pair
from tests.solvers.problems import minimum

NAMES = ("gram", "class_grams", "hessian")


@pytest.fixture(params=[1, 2**20], ids=["few rows at a time", "many"])
def rows_at_a_time(request, monkeypatch):
    """Whether the rows of a block are added in several parts, and that they are added at all."""
    monkeypatch.setattr(sparse_grams, "ROWS_BYTES", request.param)
    monkeypatch.setattr(sparse_grams, "READS", 0)
    monkeypatch.setattr(SparseBackend, "_scatters", lambda backend, n_matrices: True)


@pytest.mark.usefixtures("rows_at_a_time")
@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("k", [2, 3, 4, 5, 8, 9])  # 1 to 36 pairs of classes: parts of vectors, and several
@pytest.mark.parametrize("block_bytes", [1, None])
def test_they_are_those_of_dense_rows(k, dtype, block_bytes):
    mine, dense, w, v = pair(m=150, n=23, k=k, dtype=dtype, block_bytes=block_bytes)
    for name in NAMES:
        assert_close(SUMS[name](mine, w, v), SUMS[name](dense, w, v), dtype)


@pytest.mark.usefixtures("rows_at_a_time")
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("offset", [True, False])
@pytest.mark.parametrize("kind", ["weights", "all"])
def test_weights_offset_and_intercept_have_the_effect_that_they_have_on_dense_rows(kind, offset, intercept):
    mine, dense, w, v = pair(kind=kind, offset=offset, intercept=intercept)
    for name in NAMES:
        assert_close(SUMS[name](mine, w, v), SUMS[name](dense, w, v), "float64")


@pytest.mark.usefixtures("rows_at_a_time")
def test_float32_rows_have_sums_in_float64_if_asked():
    mine, dense, w, v = pair(dtype="float32")
    precise, expected = (backend.in_float64(hessian=True) for backend in (mine, dense))
    for name in NAMES:
        assert_close(SUMS[name](precise, w, v), SUMS[name](expected, w, v), "float64")


@pytest.mark.usefixtures("rows_at_a_time")
@pytest.mark.parametrize("shape", [(1, 1), (20, 5)])
def test_x_may_have_no_numbers(shape):
    X = sparse.csr_array(shape)
    objective = nbs.Objective(X, np.arange(shape[0]) % 3, n_classes=3)
    dense = nbs.Objective(X.toarray(), np.arange(shape[0]) % 3, n_classes=3)
    w = np.ones(objective.shape)
    np.testing.assert_allclose(objective.hessian(w), dense.hessian(w), atol=1e-15)


@pytest.mark.usefixtures("several_threads", "rows_at_a_time")
@pytest.mark.parametrize("name", NAMES)
def test_bits_do_not_depend_on_the_number_of_threads(name):
    options = {"m": 3000, "n": 40, "k": 5, "block_bytes": 2**14}
    alone, _, w, v = pair(**options)
    together = pair(**options, n_threads=2)[0]
    for one, other in zip(SUMS[name](alone, w, v), SUMS[name](together, w, v), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_vector_has_a_lane_for_each_matrix():
    assert [n_vectors(n) for n in (1, WIDTH, WIDTH + 1)] == [1, 1, 2]


def table(n_samples=4000, n_levels=(12, 30, 25), n_classes=4):
    """Columns of categories as zeros and ones, one after the other, and labels that depend on them."""
    rng = np.random.default_rng(0)
    X = np.hstack([np.eye(n)[rng.zipf(1.3, n_samples) % n] for n in n_levels])
    coef = 2 * rng.normal(size=(X.shape[1], n_classes))
    return sparse.csr_array(X), (X @ coef + rng.gumbel(size=(n_samples, n_classes))).argmax(axis=1)


def test_a_table_of_categories_is_fitted_with_its_whole_hessian():
    objective = nbs.Objective(*table(), l2=1e-5)
    solution = NewtonCG().solve(objective, np.zeros(objective.shape), tol=1e-8)
    assert solution.converged
    assert "hessian" in solution.summary
    assert solution.objective <= minimum(objective) * (1 + 1e-8)
