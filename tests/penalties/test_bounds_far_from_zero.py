"""Fits with bounds whose features have large means, any scale, or are float32."""

import numpy as np
import pytest
from scipy import sparse

import nbsoftmax as nbs

INF = np.inf


@pytest.mark.parametrize("bounds", [(0, None), (-0.5, None), (-0.5, 0.5)], ids=str)
@pytest.mark.parametrize(("mean", "spread"), [(3, 0), (1000, 0), (100, 1), (1000, 2)])
def test_means_and_scales_of_features_cost_few_iterations(mean, spread, bounds):
    for seed in range(4):
        rng = np.random.default_rng(seed)
        scale = 10 ** rng.uniform(-spread, spread, 6)
        centred = rng.normal(size=(80, 6))
        y = (centred[:, :4] + rng.gumbel(size=(80, 4))).argmax(axis=1)
        result = nbs.Trainer(l2=1e-4, bounds=bounds, tol=1e-8).fit(centred * scale + mean, y)
        assert result.converged
        assert result.n_iter <= 40
        # The intercept has no bounds: the minimum is that of features without means.
        expected = nbs.Trainer(l2=1e-4, bounds=bounds, tol=1e-8).fit(centred * scale, y)
        assert result.objective == pytest.approx(expected.objective, rel=3e-8)


# 60 features have a Gram matrix for each class, 300 one for all, and 2000 none.
@pytest.mark.parametrize(("m", "n"), [(500, 60), (1500, 300), (150, 2000)])
def test_so_they_do_for_many_features(m, n):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(m, n))
    y = (X[:, :3] + rng.gumbel(size=(m, 3))).argmax(axis=1)
    for l2, bounds in ((0.01, (0, None)), (0.001, (-0.02, 0.02))):
        trainer = nbs.Trainer(l2=l2, bounds=bounds)
        centred, far = trainer.fit(X, y), trainer.fit(X + 20, y)
        assert far.converged
        assert far.n_iter <= 2 * centred.n_iter + 5
        assert far.objective == pytest.approx(centred.objective, rel=2e-6)


def test_coefficients_near_their_bounds_are_held():
    X, y = nbs.data.digits.load()
    result = nbs.Trainer(l2=1e-4, bounds=(0, None)).fit(X, y)
    assert result.converged
    assert result.gap_kind == "duality"
    assert result.n_iter <= 30
    n_products = int(result.summary.split(" Hessian-vector products")[0].split()[-1])
    assert n_products <= 3000  # 19,373 where only those at their bounds were
    coef = result.model.coef
    assert not ((coef > 0) & (coef < 1e-15)).any()


def test_sparse_features_have_means_too():
    X = sparse.random(500, 400, density=0.05, random_state=0, format="csr")
    X.data += 5
    y = (X[:, :3].toarray() / 5 + np.random.default_rng(0).gumbel(size=(500, 3))).argmax(axis=1)
    trainer = nbs.Trainer(l2=1e-3, bounds=(0, None))
    rows, dense = trainer.fit(X, y), trainer.fit(X.toarray(), y)
    assert rows.converged
    assert rows.n_iter <= 50
    assert rows.objective == pytest.approx(dense.objective, rel=2e-6)


@pytest.mark.parametrize(("n", "l2"), [(3, 1e-3), (3, 1e-2), (10, 1e-4)])
def test_float32_rows_end_as_float64_rows_do(n, l2):
    for seed in range(10):
        rng = np.random.default_rng(seed)
        X = rng.normal(size=(150, n)).astype(np.float32)
        y = (X @ rng.normal(size=(n, 4)) + rng.gumbel(size=(150, 4))).argmax(axis=1)
        trainer = nbs.Trainer(l2=l2, bounds=(0, None))
        result = trainer.fit(X, y)
        assert result.converged
        assert result.n_iter <= 30
        assert result.objective == pytest.approx(trainer.fit(X.astype(float), y).objective, rel=2e-6)


def test_a_hessian_of_float32_sums_does_not_end_a_fit():
    rng = np.random.default_rng(2)
    X = (rng.normal(size=(300, 30)) * np.geomspace(1e-3, 1e3, 30)).astype(np.float32)
    y = (X @ (rng.normal(size=(30, 3)) / np.geomspace(1e-3, 1e3, 30)[:, None]) + rng.gumbel(size=(300, 3))).argmax(
        axis=1
    )
    low, high = np.full((3, 30), -INF), np.full((3, 30), INF)
    low[0] = high[0] = 0.0
    trainer = nbs.Trainer(l2=1e-5, penalty_weight=np.arange(30) % 2, bounds=(low, high))
    result = trainer.fit(X, y)
    assert result.converged
    assert result.objective == pytest.approx(trainer.fit(X.astype(float), y).objective, rel=2e-6)


@pytest.mark.parametrize("seed", [12, 30, 117])
def test_steps_that_a_bound_ends_at_once_do_not_stall_a_fit(seed):
    # Features of very different scales and means, without intercept: Newton steps on a face point out of bounds that
    # the gradient points away from. Such fits take 15 to 30 iterations, and took hundreds before these were held.
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(25, 10)) * 10.0 ** rng.uniform(-2, 2, size=10)
    X += rng.normal(size=10) * 10.0 ** rng.uniform(0, 2)
    y = rng.permutation(np.arange(25) % 3)
    bounds = rng.uniform(-3, 0, 10), rng.uniform(0, 3, 10)
    found = nbs.Trainer(l2=2e-6, bounds=bounds, fit_intercept=False, max_iter=100).fit(X, y)
    assert found.converged
    assert found.gap_kind == "duality"
