"""Grids of penalties: with an l1 term they start where the first feature gets a coefficient."""

import numpy as np
import pytest

import nbsoftmax as nbs
from tests import reference

K = 3


def problem(m=120, N=6, seed=0):
    rng = np.random.default_rng(seed)
    Z = rng.normal(size=(m, N))
    y = (Z[:, :K] + rng.normal(size=(m, K))).argmax(axis=1)
    return Z * np.geomspace(0.1, 100, N) + 5, y


def gradient_without_features(X, y, weight):
    """dL/dC (n_classes, n_features) at the shares of the classes."""
    share = np.bincount(y, weight) / weight.sum()
    residual = share - np.eye(K)[y]
    return (residual * weight[:, None]).T @ X / weight.sum()


@pytest.mark.parametrize("l1_ratio", [0.5, 1.0])
def test_the_first_penalty_is_the_least_that_leaves_all_coefficients_at_0(l1_ratio):
    X, y = problem()
    weight = np.random.default_rng(1).uniform(0.5, 2, len(y))
    path = nbs.fit_path(X, y, Cs=8, l1_ratio=l1_ratio, sample_weight=weight)
    assert path.l1s[0] == pytest.approx(np.abs(gradient_without_features(X, y, weight)).max(), rel=1e-5)
    assert len(path.results) == 8
    assert path.l1s[0] / path.l1s[-1] == pytest.approx(1e4)
    assert not path.coefs[0].any()
    below = nbs.Trainer(l1=0.99 * path.l1s[0], l2=path.l2s[0], tol=1e-8).fit(X, y, sample_weight=weight)
    assert np.count_nonzero(below.model.coef.any(axis=0)) == 1


def test_features_are_compared_as_the_penalty_sees_them():
    X, y = problem()
    g = np.abs(gradient_without_features(X, y, np.ones(len(y))))
    standardized = nbs.fit_path(X, y, Cs=2, l1_ratio=1.0, standardize=True)
    assert standardized.l1s[0] == pytest.approx((g / X.std(axis=0)).max(), rel=1e-5)
    grouped = nbs.fit_path(X, y, Cs=2, l1_ratio=1.0, grouped=True)
    assert grouped.l1s[0] == pytest.approx(np.linalg.norm(g, axis=0).max(), rel=1e-5)
    weights = np.array([4.0, 0.5, 1.0, 1.0, 2.0, 3.0])
    weighted = nbs.fit_path(X, y, Cs=2, l1_ratio=1.0, penalty_weight=weights)
    assert weighted.l1s[0] == pytest.approx((g / weights).max(), rel=1e-5)


def test_features_without_a_penalty_have_their_coefficients_at_the_start():
    X, y = problem()
    free = np.r_[0.0, np.ones(X.shape[1] - 1)]
    path = nbs.fit_path(X, y, Cs=3, l1_ratio=1.0, penalty_weight=free, tol=1e-8)
    alone = nbs.Trainer(tol=1e-8).fit(X[:, :1], y).model
    proba = alone.predict_proba(X[:, :1])
    g = (proba - np.eye(K)[y]).T @ X / len(y)
    assert path.l1s[0] == pytest.approx(np.abs(g[:, 1:]).max(), rel=1e-4)
    assert path.coefs[0][:, 0].any()
    assert not path.coefs[0][:, 1:].any()


def test_cross_validation_has_the_grid_of_all_samples():
    X, y = problem()
    found = nbs.cross_validate(X, y, Cs=5, l1_ratio=1.0, folds=3)
    path = nbs.fit_path(X, y, Cs=5, l1_ratio=1.0)
    np.testing.assert_allclose(1 / (found.Cs * len(y)), path.l1s, rtol=1e-12)
    losses, *_ = reference.cross_entropy(np.zeros((1, K)), np.zeros(1, int))
    assert found.log_loss[0].mean() == pytest.approx(losses[0], rel=0.05)  # the shares of the classes are about equal


def test_a_source_has_the_grid_of_the_same_rows_in_memory():
    X, y = problem()
    source = nbs.data.from_batches([(X[:50], y[:50]), (X[50:], y[50:])])
    path, in_memory = (nbs.fit_path(*data, Cs=4, l1_ratio=1.0) for data in ((source,), (X, y)))
    np.testing.assert_allclose(path.l1s, in_memory.l1s, rtol=1e-6)


def test_the_range_is_shorter_with_more_features_than_samples():
    X, y = problem(m=20, N=30)
    path = nbs.fit_path(X, y, Cs=3, l1_ratio=1.0)
    assert path.l1s[0] / path.l1s[-1] == pytest.approx(100)


def test_a_small_share_of_l1_has_the_grid_of_a_thousandth():
    X, y = problem()
    small, least = (nbs.fit_path(X, y, Cs=2, l1_ratio=share) for share in (1e-9, 1e-3))
    np.testing.assert_allclose(small.l2s, least.l2s, rtol=1e-2)


@pytest.mark.parametrize("l1_ratio", [0.0, 1.0])
def test_without_an_l1_term_or_a_gradient_the_grid_is_that_of_scikit_learn(l1_ratio):
    X, y = problem()
    if l1_ratio:
        X = np.ones_like(X)  # the gradients of constant features are 0
    found = nbs.cross_validate(X, y, Cs=3, l1_ratio=l1_ratio, folds=3)
    np.testing.assert_allclose(found.Cs, [1e-4, 1, 1e4])


def test_features_that_bounds_keep_from_0_have_no_part_in_the_start():
    X, y = problem()
    low = np.array([0.5, 0.0, 0.0, 0.0, 0.0, 0.0])
    path = nbs.fit_path(X, y, Cs=3, l1_ratio=1.0, bounds=(low, np.full(6, 3.0)), tol=1e-8)
    assert 0 < path.l1s[0] < np.inf
    assert (path.coefs[0][:, 0] >= 0.5).all()
    assert not path.coefs[0][:, 1:].any()
    none = nbs.fit_path(X, y, Cs=3, l1_ratio=1.0, bounds=(0.5, 3.0))  # there is no fit without features
    np.testing.assert_allclose(none.l1s * len(y), [1e4, 1, 1e-4])


@pytest.mark.parametrize("unit", [1e-100, 1e100])
def test_the_grid_follows_the_units_of_the_features(unit):
    X, y = problem()
    path, scaled = nbs.fit_path(X, y, Cs=3, l1_ratio=1.0), nbs.fit_path(unit * X, y, Cs=3, l1_ratio=1.0)
    np.testing.assert_allclose(scaled.l1s / unit, path.l1s, rtol=1e-5)


def test_the_grid_is_not_among_the_reported_fits():
    X, y = problem()
    seen = []
    path = nbs.fit_path(X, y, Cs=3, l1_ratio=1.0, callbacks=[lambda iteration: seen.append(iteration.n_iter)])
    assert len(seen) == sum(result.n_iter for result in path.results)


@pytest.mark.parametrize("l1_ratio", [-0.1, 1.1, np.nan, "all"])
def test_a_share_outside_the_unit_interval_is_refused(l1_ratio):
    X, y = problem()
    with pytest.raises(nbs.InputError, match="l1_ratio"):
        nbs.fit_path(X, y, Cs=3, l1_ratio=l1_ratio)


def test_a_path_without_strengths_says_what_to_give():
    X, y = problem()
    with pytest.raises(nbs.InputValueError, match=r"exactly one of l2s and Cs.*Cs=20 chooses 20 values"):
        nbs.fit_path(X, y, l1_ratio=1.0)


@pytest.mark.parametrize("select", [nbs.fit_path, nbs.cross_validate])
def test_one_is_no_number_of_penalties(select):
    with pytest.raises(
        nbs.InputValueError, match=r"Cs is 1, a number of penalties, expected at least 2; give \[1\.0\]"
    ):
        select(*problem(), Cs=1)


@pytest.mark.parametrize("kind", ["a constant", "a large mean", "squares beyond float32"])
def test_features_in_float32_have_the_grid_of_those_in_float64(kind):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 3))
    X[:, 0] = {"a constant": 1e5, "a large mean": X[:, 0] + 1e4, "squares beyond float32": 1e25 * X[:, 0]}[kind]
    X, y = X.astype(np.float32), (X[:, 1] + rng.gumbel(size=300) > 0).astype(int)
    options = {"Cs": 3, "l1_ratio": 1.0}
    expected = nbs.fit_path(X.astype(np.float64), y, **options).l1s
    np.testing.assert_allclose(nbs.fit_path(X, y, **options).l1s, expected, rtol=1e-6)
