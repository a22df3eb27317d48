"""Proximal Newton on sparse features: products with their columns instead of Gram matrices."""

import numba
import numpy as np
import pytest
import scipy.sparse as sp

import nbsoftmax as nbs
from nbsoftmax.kernels.coordinate import lasso
from nbsoftmax.objective import Objective
from nbsoftmax.penalties.general import GeneralPenalty
from nbsoftmax.solvers.tools import quadratic_model, sparse_curvature, working_set
from nbsoftmax.solvers.tools.quadratic_model import GramCurvature, VariableMetric
from nbsoftmax.solvers.tools.sparse_curvature import SparseCurvature, sparse_columns

M, N, K = 250, 120, 3
PENALTIES = [
    nbs.Lasso(0.004),
    nbs.ElasticNet(0.003, 0.01),
    nbs.ElasticNet(0.003, 0.01, weights=np.r_[0.0, 0.0, np.linspace(0.5, 2, N - 2)]),
    nbs.GroupLasso(0.006),
    nbs.GroupLasso(0.005, 0.01, weights=np.r_[0.0, 0.0, np.linspace(0.5, 2, N - 2)]),
]


class Own:
    """A penalty of the user: an elastic net, whose minimum exists along any feature."""

    def __repr__(self):
        return "Own()"

    def value(self, coef):
        return 0.004 * np.abs(coef).sum() + 0.01 / 2 * np.square(coef).sum()

    def prox(self, coef, step):
        return np.sign(coef) * np.maximum(np.abs(coef) - 0.004 * step, 0) / (1 + 0.01 * step)

    def conjugate(self, slope):
        return np.square(np.maximum(np.abs(slope) - 0.004, 0)).sum() / (2 * 0.01)


def problem(seed=0):
    """Sparse features, of which one is 1 in every row and one is 0 in every row."""
    rng = np.random.default_rng(seed)
    D = np.where(rng.uniform(size=(M, N)) < 0.03, rng.normal(size=(M, N)), 0.0)
    D[:, 7], D[:, 9] = 1.0, 0.0
    y = (D[:, :20] @ rng.normal(size=(20, K)) * 3 + rng.gumbel(size=(M, K))).argmax(axis=1)
    return D, y, rng.uniform(0.5, 2, M)


@pytest.mark.parametrize("penalty", [*PENALTIES, GeneralPenalty(Own())], ids=repr)
@pytest.mark.parametrize("fit_intercept", [True, False])
def test_many_sweeps_make_the_step_of_gram_matrices(penalty, fit_intercept, monkeypatch):
    monkeypatch.setattr(sparse_curvature, "N_SWEEPS", 2000)
    monkeypatch.setattr(quadratic_model, "LEAST_SWEEPS", 2000)
    monkeypatch.setattr(quadratic_model, "SWEEP_TOL", 1e-16)
    D, y, s = problem()
    rng = np.random.default_rng(1)
    part = Objective(sp.csr_array(D), y, sample_weight=s, fit_intercept=fit_intercept).smooth_part()
    at = rng.normal(size=(K, N + 1)) * fit_intercept
    point, slope = rng.normal(size=(2, K, N + 1)) * (rng.uniform(size=(2, K, N + 1)) < 0.3) / 10
    if not fit_intercept:
        point[:, -1] = slope[:, -1] = 0.0
    ours, theirs = (
        VariableMetric(penalty, curvature, K).step(point, slope)
        for curvature in (SparseCurvature(part, part.sparse_rows.columns(), at), GramCurvature(part.gram(at)[None], 2))
    )
    scale = np.abs(theirs.params - point).max()
    assert np.abs(ours.params - theirs.params).max() <= 1e-3 * scale
    assert ours.decrease == pytest.approx(theirs.decrease, rel=1e-6)
    assert ours.square == pytest.approx(theirs.square, rel=1e-3)


def test_the_weights_of_the_samples_make_the_gram_matrix():
    D, y, s = problem()
    part = Objective(sp.csr_array(D), y, sample_weight=s).smooth_part()
    at = np.random.default_rng(1).normal(size=(K, N + 1))
    D1 = np.column_stack([D, np.ones(M)])
    expected = (D1 * part.sparse_rows.sample_curvatures(at)[:, None] / part.sparse_rows.weight_sum).T @ D1
    assert np.allclose(part.gram(at), expected, rtol=1e-12, atol=1e-15)
    assert np.array_equal(part.sparse_rows.columns().toarray(), D)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("penalty", [*PENALTIES, Own()], ids=repr)
def test_the_minimum_is_that_of_the_dense_array(penalty, dtype, monkeypatch):
    D, y, s = problem()
    D = D.astype(dtype)
    used = []
    monkeypatch.setattr(
        working_set, "SparseCurvature", lambda *arguments: used.append(1) or SparseCurvature(*arguments)
    )
    ours, theirs = (nbs.Trainer(penalty=penalty, tol=1e-10).fit(X, y, sample_weight=s) for X in (sp.csr_array(D), D))
    assert used
    assert ours.converged
    if not isinstance(penalty, Own):  # the fit to a penalty of the user may end with an estimate
        assert ours.gap_kind == theirs.gap_kind
    assert abs(ours.objective - theirs.objective) <= 2e-10 * theirs.objective
    assert np.array_equal(ours.model.coef != 0, theirs.model.coef != 0)


def test_gram_matrices_are_kept_for_few_features():
    D, y, _ = problem()
    X = sp.csr_array(D)
    for penalty in (nbs.Lasso(1.0), nbs.GroupLasso(1.0), GeneralPenalty(Own())):
        assert sparse_columns(Objective(X, y), penalty, K) is not None
        assert sparse_columns(Objective(X[:, :9], y), penalty, K) is None
        assert sparse_columns(Objective(D, y), penalty, K) is None


def test_groups_keep_no_products_that_are_larger_than_a_gram_matrix(monkeypatch):
    D, y, _ = problem()
    X = sp.csr_array(D)
    monkeypatch.setattr("nbsoftmax.solvers.tools.sparse_curvature.MOST_PRODUCTS", 0)
    for n_features, kept in ((20, False), (N, True)):  # 250 x 3 products, and 400 or 14400 numbers of the matrix
        few = Objective(X[:, :n_features], y)
        assert (sparse_columns(few, nbs.GroupLasso(1.0), K) is not None) == kept
        assert sparse_columns(few, nbs.Lasso(1.0), K) is not None


@pytest.mark.usefixtures("several_threads")
@pytest.mark.parametrize("grouped", [False, True])
def test_the_bits_do_not_depend_on_threads_and_a_resumed_fit_has_them(grouped, tmp_path):
    D, y, _ = problem()
    X, options = sp.csr_array(D), {"l1": 0.001, "grouped": grouped, "tol": 1e-9}
    whole = nbs.Trainer(**options, n_threads=1).fit(X, y)
    several = min(3, numba.config.NUMBA_NUM_THREADS)
    assert np.array_equal(nbs.Trainer(**options, n_threads=several).fit(X, y).model.coef, whole.model.coef)
    for max_iter in (1, 2, 4):
        path = tmp_path / f"{max_iter}.npz"
        with pytest.warns(nbs.ConvergenceWarning):
            nbs.Trainer(**options, max_iter=max_iter).fit(X, y, checkpoint=path)
        resumed = nbs.Trainer(**options).fit(X, y, checkpoint=path, resume=True)
        assert resumed.n_iter == whole.n_iter > max_iter
        assert np.array_equal(resumed.model.coef, whole.model.coef)


@pytest.mark.parametrize("grouped", [False, True])
def test_thousands_of_features_need_no_gram_matrix(grouped):
    # Nearly all samples are separable; the Gram matrix of the features that are not 0 would have 60 MB and more.
    rng = np.random.default_rng(0)
    X = sp.csr_array(sp.random(800, 10_000, density=0.003, random_state=rng))
    y = (X @ rng.normal(size=(10_000, 4)) * 5 + rng.gumbel(size=(800, 4))).argmax(axis=1)
    result = nbs.Trainer(l1=1e-4 if grouped else 1e-5, grouped=grouped).fit(X, y)
    assert result.converged
    assert result.gap_kind == "duality"
    assert (result.model.coef != 0).any(axis=0).sum() > 500


def test_groups_among_tens_of_thousands_of_features():
    # Columns as frequent as words. The Gram matrix of the 1000 features that are not 0 is smaller than that of 30000.
    m, n_features, per_row = 4000, 30_000, 60
    rng = np.random.default_rng(0)
    p = 1 / (np.arange(n_features) + 10)
    indices = rng.choice(n_features, m * per_row, p=p / p.sum())
    numbers = np.abs(rng.normal(size=m * per_row))
    X = sp.csr_array((numbers, (np.repeat(np.arange(m), per_row), indices)), shape=(m, n_features))
    y = (X @ rng.normal(size=(n_features, 5)) + 0.5 * rng.gumbel(size=(m, 5))).argmax(axis=1)
    result = nbs.Trainer(l1=1e-3, grouped=True, tol=1e-7).fit(X, y)
    assert result.converged
    assert result.gap_kind == "duality"
    used = (result.model.coef != 0).any(axis=0)
    assert 500 < used.sum() < 2000
    # The minimum over the features that are used, as dense data, is not lower.
    dense = nbs.Trainer(l1=1e-3, grouped=True, tol=1e-7).fit(X[:, np.flatnonzero(used)].toarray(), y)
    assert abs(dense.objective - result.objective) <= 2e-7 * dense.objective


def test_a_feature_without_curvature_moves_only_as_its_slope_demands():
    # At 0 it stays there while |slope| <= l1, as with a Gram matrix.
    grams, l1, l2 = np.zeros((1, 1, 1)), np.array([1.0]), np.zeros(1)
    point, residual = np.zeros((2, 1)), np.array([[0.5], [-0.5]])
    low, high = np.full((2, 1), -np.inf), np.full((2, 1), np.inf)
    lasso(np.array([0, 2]), grams, 1.0, l2, l1, low, high, residual, point, 10, 1e-8)
    assert not point.any()
    # A slope above l1 leads to the bound, if there is one.
    point, residual = np.zeros((2, 1)), np.array([[1.5], [-1.5]])
    low[0], high[1] = -0.25, 4.0
    lasso(np.array([0, 2]), grams, 1.0, l2, l1, low, high, residual, point, 10, 1e-8)
    assert point.ravel().tolist() == [-0.25, 4.0]
    part = Objective(sp.csr_array(np.zeros((6, 2))), [0, 1, 0, 1, 0, 1]).smooth_part()
    curvature = SparseCurvature(part, part.sparse_rows.columns(), np.zeros((2, 3)))
    for penalty in (nbs.Lasso(1.0), nbs.GroupLasso(1.0), GeneralPenalty(Own())):
        coef = np.zeros((2, 2))
        assert curvature.minimise(penalty, 1.0, np.zeros(2), np.full((2, 2), 0.001), coef) == 0
        assert not coef.any()
        assert isinstance(penalty, GeneralPenalty) or not np.signbit(coef).any()


@pytest.mark.parametrize("grouped", [False, True])
@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("strength", [1e-3, 1e-5])
def test_a_weak_l1_on_nearly_separable_classes_converges(strength, sparse, grouped):
    # More features than samples: most samples are classified with near certainty, and undamped models are wrong.
    rng = np.random.default_rng(5)
    X = np.where(rng.uniform(size=(300, 400)) < 0.05, rng.lognormal(size=(300, 400)), 0.0)
    y = (2 * X @ rng.normal(size=(400, 4)) + rng.gumbel(size=(300, 4))).argmax(axis=1)
    trainer = nbs.Trainer(l1=strength / 2, grouped=grouped, tol=1e-6)
    result = trainer.fit(sp.csr_array(X) if sparse else X, y)
    assert result.converged
    assert result.gap <= 1e-6 * max(result.objective, 1e-3)


@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_a_class_that_the_offset_makes_next_to_impossible_is_fitted(n_classes):
    # At params = 0 nothing has curvature, and the dual point of the gap is far from feasible.
    rng = np.random.default_rng(0)
    X = np.where(rng.uniform(size=(300, 60)) < 0.05, rng.normal(size=(300, 60)), 0.0)
    y = (2 * X @ rng.normal(size=(60, n_classes)) + rng.gumbel(size=(300, n_classes))).argmax(axis=1)
    noise = rng.normal(size=(300, n_classes)) * 3
    shift = np.append(60.0, np.zeros(n_classes - 1))  # which the intercept can undo
    trainer = nbs.Trainer(l1=1e-3, l2=1e-4, tol=1e-8)
    expected = trainer.fit(X, y, offset=noise).objective
    for data in (X, sp.csr_array(X)):
        result = trainer.fit(data, y, offset=noise - shift)
        assert result.converged
        assert result.objective == pytest.approx(expected, rel=2e-8)
