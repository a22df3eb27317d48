"""Fits with bounds on the coefficients."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from scipy.optimize import LinearConstraint, minimize

import nbsoftmax as nbs
from tests import reference
from tests.penalties.kinds import data, params_of
from tests.problem.test_in_parts import Source

K, N = 3, 8
INF = np.inf
PER_FEATURE = (
    np.array([0, -1, -INF, 0.2, 0, 0, -0.1, -INF]),
    np.array([0, 1, INF, 0.4, INF, 0, 0.1, 0]),
)
PER_CLASS = (
    np.where(np.arange(K * N).reshape(K, N) % 3 == 0, 0.0, -INF),
    np.where(np.arange(K * N).reshape(K, N) % 4 == 0, 0.05, INF),
)
BOUNDS = {
    "not negative": (0, None),
    "a box": (-0.1, 0.2),
    "without 0": (0.1, 0.3),
    "not above": (None, 0.1),
    "of each feature": PER_FEATURE,
    "of each class": PER_CLASS,
    "a number and an array": (-0.2, np.linspace(0, 1, N)),
}
STRENGTHS = {"none": (0.0, 0.0), "l2": (0.0, 0.02), "l1": (0.02, 0.0), "both": (0.02, 0.01)}


def ends(bounds, shape=(K, N)):
    low, high = (none if end is None else end for end, none in zip(bounds, (-INF, INF), strict=True))
    return np.broadcast_to(low, shape).astype(float), np.broadcast_to(high, shape).astype(float)


def minimum(X, y, bounds, l1=0.0, l2=0.0, weight=1.0):
    """The minimum by SciPy's L-BFGS-B, for C = P - Q with P, Q >= 0, which makes l1 smooth."""
    n = X.shape[1]
    low, high = ends(bounds, (K, n))
    loss, weight = reference.Objective(X, y, K), np.broadcast_to(weight, n)

    def cost(flat):
        positive, negative = flat[:-K].reshape(2, K, n)
        coef = positive - negative
        value, grad = loss.value_and_grad(np.column_stack([coef, flat[-K:]]))
        of_coef = grad[:, :-1] + l2 * weight * coef
        value += l1 * (weight * (positive + negative)).sum() + l2 / 2 * (weight * coef**2).sum()
        return value, np.concatenate([(of_coef + l1 * weight).ravel(), (l1 * weight - of_coef).ravel(), grad[:, -1]])

    lower = np.stack([np.maximum(low, 0), np.maximum(-high, 0)]).ravel()
    upper = np.stack([np.maximum(high, 0), np.maximum(-low, 0)]).ravel()
    limits = [*zip(lower, upper, strict=True), *[(None, None)] * K]
    start, options = np.append(lower, np.zeros(K)), {"maxiter": 50_000, "maxfun": 100_000, "ftol": 1e-16, "gtol": 1e-10}
    return minimize(cost, start, jac=True, bounds=limits, method="L-BFGS-B", options=options).fun


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize("kind", BOUNDS)
def test_the_minimum_is_that_of_scipy(kind, strength):
    X, y = data()
    (l1, l2), bounds = STRENGTHS[strength], BOUNDS[kind]
    result = nbs.Trainer(l1=l1, l2=l2, bounds=bounds, tol=1e-9).fit(X, y)
    low, high = ends(bounds)
    assert result.solver == "prox-newton"
    assert result.converged
    assert ((result.model.coef >= low) & (result.model.coef <= high)).all()
    assert result.objective == pytest.approx(minimum(X, y, bounds, l1, l2), rel=2e-9)
    value, subgradient = nbs.Objective(X, y, l1=l1, l2=l2, bounds=bounds).value_and_subgrad(params_of(result))
    assert value == pytest.approx(result.objective, rel=1e-14)
    assert np.abs(subgradient).max() <= 1e-4
    # Without a penalty, and without a bound on some coefficients, there is no proof.
    proven = strength != "none" or (np.isfinite(low).all() and np.isfinite(high).all())
    assert not proven or result.gap_kind == "duality"


def test_the_minimum_is_that_of_another_algorithm():
    X, y = data(m=60, N=3)
    loss = reference.Objective(X, y, K)

    def cost(flat):
        value, grad = loss.value_and_grad(flat.reshape(K, 4))
        grad[:, :-1] += 0.05 * flat.reshape(K, 4)[:, :-1]
        return value + 0.025 * (flat.reshape(K, 4)[:, :-1] ** 2).sum(), grad.ravel()

    limits = LinearConstraint(np.eye(12), [0, -0.5, -INF, -INF] * K, [INF, 0.1, 0.2, INF] * K)
    options = {"gtol": 1e-10, "xtol": 1e-12, "maxiter": 3000}
    start = np.tile([0.1, -0.2, 0.0, 0.0], K)
    found = minimize(cost, start, jac=True, method="trust-constr", constraints=limits, options=options)
    result = nbs.Trainer(l2=0.05, bounds=([0, -0.5, -INF], [INF, 0.1, 0.2]), tol=1e-10).fit(X, y)
    # 1e-6: an interior-point method stops before the bounds.
    assert result.objective == pytest.approx(found.fun, rel=1e-6)
    assert result.objective <= found.fun + 1e-12


end = st.one_of(st.sampled_from([0.0, 0.0, INF, -INF]), st.floats(-1, 1))


@settings(max_examples=60)
@given(
    st.integers(0, 99),
    st.lists(end, min_size=2 * K * 3, max_size=2 * K * 3),
    st.sampled_from([0.0, 0.02, 0.2]),
    st.sampled_from([0.0, 0.01, 0.3]),
    st.sampled_from([None, [0.0, 1.0, 3.0]]),
    st.booleans(),
)
def test_the_conditions_of_karush_kuhn_and_tucker_hold(seed, given_ends, l1, l2, weight, fit_intercept):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(90, 3)), np.arange(90) % 3
    pairs = np.array(given_ends).reshape(2, K, 3)
    low, high = np.minimum(*pairs), np.maximum(*pairs)
    low, high = np.where(low == INF, 0.0, low), np.where(high == -INF, 0.0, high)
    options = {"l1": l1, "l2": l2, "penalty_weight": weight, "bounds": (low, high), "fit_intercept": fit_intercept}
    result = nbs.Trainer(**options, tol=1e-11).fit(X, y)
    assert result.converged
    coef = result.model.coef
    assert ((coef >= low) & (coef <= high)).all()
    grad = nbs.Objective(X, y, fit_intercept=fit_intercept).value_and_grad(params_of(result))[1]
    w = np.ones(3) if weight is None else np.array(weight)
    slope, t = grad[:, :-1] + l2 * w * coef, np.broadcast_to(l1 * w, coef.shape)
    small = 1e-4  # the square root of tol times the curvature
    right, left = slope + np.where(coef >= 0, t, -t), slope + np.where(coef > 0, t, -t)
    # Where a bound is near, the whole way to it may gain less than tol, however steep the slope.
    with np.errstate(invalid="ignore"):  # a slope of 0 on the way to an infinite bound
        gain_right, gain_left = -right * (high - coef), left * (coef - low)
    assert ((right >= -small) | (gain_right <= 1e-11)).all()
    assert ((left <= small) | (gain_left <= 1e-11)).all()
    assert not fit_intercept or np.abs(grad[:, -1]).max() <= small


@given(st.integers(0, 99), st.sampled_from(sorted(BOUNDS)), st.sampled_from(["l2", "l1", "both"]), st.booleans())
def test_the_gap_bounds_the_distance_from_the_minimum_at_every_iteration(seed, kind, strength, fit_intercept):
    X, y = data(m=60, seed=seed)
    options = dict(zip(("l1", "l2"), STRENGTHS[strength], strict=True)) | {"bounds": BOUNDS[kind]}
    options["fit_intercept"] = fit_intercept
    best = nbs.Trainer(**options, tol=1e-10).fit(X, y)
    objective = nbs.Objective(X, y, **options)
    for n in (1, 2, 3):
        solution = nbs.ProxNewton().solve(objective, np.zeros(objective.shape), tol=1e-10, max_iter=n)
        assert solution.gap_kind == "duality"
        assert solution.objective - best.objective <= solution.gap + 1e-12


def test_an_estimate_without_penalty_is_near_the_truth():
    X, y = data()
    best = nbs.Trainer(bounds=(0, None), tol=1e-12).fit(X, y).objective
    objective = nbs.Objective(X, y, bounds=(0, None))
    for n in range(1, 6):
        solution = nbs.ProxNewton().solve(objective, np.zeros(objective.shape), tol=1e-12, max_iter=n)
        assert solution.gap >= 0.5 * (solution.objective - best) - 1e-12


def test_bounds_that_hold_nothing_change_nothing():
    X, y = data()
    for options in ({"l2": 0.05}, {"l1": 0.02}, {}):
        free = nbs.Trainer(**options, tol=1e-10).fit(X, y)
        assert nbs.Trainer(**options, bounds=(None, None), tol=1e-10).fit(X, y).solver == free.solver
        wide = nbs.Trainer(**options, bounds=(-50, 50), tol=1e-10).fit(X, y)
        assert wide.objective == pytest.approx(free.objective, rel=1e-9)


def test_a_coefficient_whose_bounds_are_equal_is_fixed():
    X, y = data()
    low, high = np.full((K, N), -INF), np.full((K, N), INF)
    low[0], high[0] = 0.0, 0.0  # the reference class
    low[1, 2] = high[1, 2] = 0.7
    result = nbs.Trainer(bounds=(low, high), tol=1e-10).fit(X, y)
    assert (result.model.coef[0] == 0).all()
    assert result.model.coef[1, 2] == 0.7
    # The fixed term is an offset, and the others are the maximum of the likelihood.
    offset = np.zeros((len(y), K))
    offset[:, 1] = 0.7 * X[:, 2]
    low[1, 2] = high[1, 2] = 0.0
    shifted = nbs.Trainer(bounds=(low, high), tol=1e-10).fit(X, y, offset=offset)
    assert result.objective == pytest.approx(shifted.objective, rel=1e-9)
    everything = nbs.Trainer(bounds=(0.3, 0.3)).fit(X, y)
    assert (everything.model.coef == 0.3).all()
    assert everything.converged


def test_relative_to_a_fixed_class_signs_are_those_of_effects():
    X, y = data()
    low, high = np.zeros((K, N)), np.full((K, N), INF)
    high[0] = 0.0
    result = nbs.Trainer(bounds=(low, high), tol=1e-10).fit(X, y)
    assert result.objective > nbs.Trainer(tol=1e-10).fit(X, y).objective + 1e-3
    # Without a fixed class a shift of all classes meets the bounds, and changes no probability.
    shifted = nbs.Trainer(bounds=(0, None), tol=1e-10).fit(X, y)
    assert shifted.objective == pytest.approx(nbs.Trainer(tol=1e-10).fit(X, y).objective, rel=1e-9)


@pytest.mark.parametrize("strength", ["l2", "both"])
def test_sparse_rows_float32_blocks_and_standardized_features_have_the_same_minimum(strength):
    X, y = data(m=300)
    X = (X * (np.abs(X) > 0.5) * np.geomspace(0.5, 2, 8)).astype(np.float32).astype(np.float64)
    l1, l2 = STRENGTHS[strength]
    for standardize in (False, True):
        trainer = nbs.Trainer(l1=l1, l2=l2, bounds=PER_FEATURE, tol=1e-9, standardize=standardize)
        whole = trainer.fit(X, y)
        for rows in ((sparse.csr_array(X), y), (X.astype(np.float32), y), (Source(X=X, y=y, n=80),)):
            result = trainer.fit(*rows)
            assert result.objective == pytest.approx(whole.objective, rel=1e-8)
            assert result.converged
            assert ((result.model.coef >= PER_FEATURE[0]) & (result.model.coef <= PER_FEATURE[1])).all()
        weight = X.std(axis=0) if standardize else np.ones(8)
        if l1 == 0:  # the penalty of the standardized coefficients, and bounds of the raw ones
            assert whole.objective == pytest.approx(minimum(X, y, PER_FEATURE, l1, l2, weight**2), rel=1e-8)


def test_many_sparse_features():
    rng = np.random.default_rng(0)
    X = sparse.csr_array(sparse.random(400, 3000, density=0.01, random_state=0))
    y = np.argmax(X[:, :50] @ rng.normal(size=(50, K)) * 3 + rng.gumbel(size=(400, K)), axis=1)
    for options in ({"l2": 1e-3}, {"l1": 1e-3}):
        result = nbs.Trainer(**options, bounds=(0, None), tol=1e-8).fit(X, y)
        assert result.converged
        assert result.gap_kind == "duality"
        assert result.model.coef.min() == 0.0
        assert result.objective == pytest.approx(minimum(X.toarray(), y, (0, None), **options), rel=1e-6)


def test_many_dense_features():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(200, 600))
    y = (X[:, :10] @ rng.normal(size=(10, K)) + rng.gumbel(size=(200, K))).argmax(axis=1)
    for bounds in ((0, None), (-0.01, 0.01)):
        result = nbs.Trainer(l2=0.01, bounds=bounds, tol=1e-8).fit(X, y)
        assert result.converged
        assert result.gap_kind == "duality"
        assert "Hessian-vector products" in result.summary
        assert result.objective == pytest.approx(minimum(X, y, bounds, l2=0.01), rel=1e-6)


def test_collinear_features_of_any_scale_are_no_obstacle():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(500, 10))
    X[:, 1] = X[:, 0] + 1e-3 * rng.normal(size=500)
    X *= np.geomspace(1e-4, 1e4, 10)
    y = rng.integers(0, K, 500)
    low, high = np.zeros((K, 10)), np.full((K, 10), INF)
    high[0] = 0.0
    relative = nbs.Trainer(bounds=(low, high), tol=1e-10).fit(X, y)
    scaled = nbs.Trainer(bounds=(low, high), tol=1e-10).fit(X / np.geomspace(1e-4, 1e4, 10), y)
    assert relative.converged
    assert relative.objective == pytest.approx(scaled.objective, rel=1e-9)
    shifted = nbs.Trainer(bounds=(0, None), tol=1e-10).fit(X, y)
    assert shifted.model.coef.min() == 0.0
    assert shifted.objective == pytest.approx(nbs.Trainer(tol=1e-10).fit(X, y).objective, rel=1e-9)


def test_a_class_without_samples_does_not_keep_a_fit_from_converging():
    X, y = data()
    for options in ({"l2": 0.01}, {"l1": 0.01}):
        result = nbs.Trainer(**options, bounds=(0, 0.5)).fit(X, np.eye(4)[y])
        assert result.converged
        expected = nbs.Trainer(**options, bounds=(0, 0.5), tol=1e-9).fit(X, y)
        assert result.objective == pytest.approx(expected.objective, rel=2e-6)


def test_warm_starts_are_clipped():
    X, y = data()
    free = nbs.Trainer(l2=0.01).fit(X, y)
    trainer = nbs.Trainer(l2=0.01, bounds=(0, 0.2), tol=1e-9)
    cold, warm = trainer.fit(X, y), trainer.fit(X, y, init=free)
    assert warm.objective == pytest.approx(cold.objective, rel=1e-8)
    assert trainer.fit(X, y, init=cold).n_iter == 0

    def interrupt(now):
        raise KeyboardInterrupt

    stopped = nbs.Trainer(l2=0.01, bounds=(0, 0.2), callbacks=[interrupt]).fit(X, y, init=free)
    assert ((stopped.model.coef >= 0) & (stopped.model.coef <= 0.2)).all()


def test_paths_and_cross_validation_take_bounds():
    X, y = data()
    for l1_ratio in (0.0, 0.5):
        path = nbs.fit_path(X, y, l2s=[0.02, 0.2], l1_ratio=l1_ratio, bounds=(0, None), tol=1e-9)
        expected = minimum(X, y, (0, None), l1=0.02 * l1_ratio, l2=0.02 * (1 - l1_ratio))
        assert path.results[0].objective == pytest.approx(expected, rel=1e-8)
        chosen = nbs.cross_validate(X, y, Cs=[0.1, 1.0], l1_ratio=l1_ratio, folds=3, bounds=(-0.2, 0.2))
        assert np.abs(chosen.result.model.coef).max() <= 0.2


def test_estimators_bound_coef(tmp_path):
    pytest.importorskip("sklearn")
    from sklearn.base import clone

    X, y = data()
    fitted = nbs.SoftmaxRegression(C=1.0, bounds=(0, None), tol=1e-9).fit(X, y)
    expected = nbs.Trainer(l2=1 / len(y), bounds=(0, None), tol=1e-9).fit(X, y)
    np.testing.assert_allclose(fitted.coef_, expected.model.coef, atol=1e-4)
    assert clone(fitted).get_params()["bounds"] == (0, None)
    two, logits = (y > 0).astype(int), X[:, :3]
    for bounds, shape in (((0, None), 3), ((-0.3, [0.1, 0.2, 0.3]), 3), (([[0, 0, -1]], 0.4), 3)):
        for l1_ratio in (0.0, 0.5):
            one = nbs.SoftmaxRegression(C=0.5, l1_ratio=l1_ratio, bounds=bounds, tol=1e-10).fit(logits, two)
            low, high = ends(bounds, (1, shape))
            assert ((one.coef_ >= low) & (one.coef_ <= high)).all()
            assert one.coef_.shape == (1, shape)

            def cost(v, l1_ratio=l1_ratio):  # scikit-learn's objective, of P - Q
                c, b = v[:3] - v[3:6], v[6]
                z = logits @ c + b
                loss = np.logaddexp(0, z).sum() - z[two == 1].sum()
                return (loss + (1 - l1_ratio) * (c @ c) + 2 * l1_ratio * v[:6].sum()) / len(two)

            limits = [*zip(np.maximum(low, 0)[0], np.maximum(high, 0)[0], strict=True)]
            limits += [*zip(np.maximum(-high, 0)[0], np.maximum(-low, 0)[0], strict=True), (None, None)]
            found = minimize(cost, np.zeros(7), bounds=limits, method="L-BFGS-B", options={"ftol": 1e-14})
            ours = cost(np.concatenate([np.maximum(one.coef_[0], 0), np.maximum(-one.coef_[0], 0), one.intercept_]))
            assert ours <= found.fun + 1e-9
    search = nbs.SoftmaxRegressionCV(Cs=[0.5], cv=3, bounds=(0, 0.2)).fit(logits, two)
    assert 0 <= search.coef_.min() <= search.coef_.max() <= 0.2
    with pytest.raises(nbs.InputValueError, match=r"shape \(2, 3\), expected .*for two classes coef_ has one row"):
        nbs.SoftmaxRegression(bounds=(np.zeros((2, 3)), None)).fit(logits, two)
    assert not hasattr(nbs.SoftmaxRegression(bounds=(0, 1)), "partial_fit")


def test_the_objective_is_infinite_outside_of_the_bounds():
    X, y = data()
    objective, free = nbs.Objective(X, y, l2=0.1, bounds=(0, 1)), nbs.Objective(X, y, l2=0.1)
    params = np.full((K, N + 1), 0.5)
    assert objective.value(params) == free.value(params)
    params[0, 0] = -1e-300
    assert objective.value(params) == INF
    assert objective.value_and_subgrad(params)[0] == INF


def test_separable_classes_are_recognised_where_bounds_allow_any_scale():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 2))
    y = (X[:, 0] > 0).astype(int)
    low, high = np.array([[0.0, 0], [0, 0]]), np.array([[0.0, 0], [INF, 0]])
    with pytest.warns(nbs.ConvergenceWarning, match="separable"):
        result = nbs.Trainer(bounds=(low, high)).fit(X, y)
    assert result.stop_reason is nbs.StopReason.SEPARABLE
    assert nbs.Trainer(bounds=(low, np.minimum(high, 5.0))).fit(X, y).converged  # a bound gives a minimum
    assert nbs.Trainer(bounds=(low, high), l2=1e-3).fit(X, y).converged


def test_a_fit_with_bounds_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path):
    X, y = data()
    options = {"l1": 0.005, "bounds": (0, 0.4), "tol": 1e-11}
    whole = nbs.Trainer(**options).fit(X, y)
    stop = nbs.Trainer(**options, callbacks=[lambda now: now.n_iter == 2])
    stop.fit(X, y, checkpoint=tmp_path / "fit")
    result = nbs.Trainer(**options).fit(X, y, checkpoint=tmp_path / "fit", resume=True)
    assert np.array_equal(result.model.coef, whole.model.coef)
    with pytest.raises(nbs.InputValueError, match="checkpoint of a fit with other"):
        nbs.Trainer(**options | {"bounds": (0, 0.5)}).fit(X, y, checkpoint=tmp_path / "fit", resume=True)
    assert "(0, 0.4)" in whole.model.training["bounds"]


@pytest.mark.usefixtures("several_threads")
def test_the_bits_do_not_depend_on_the_number_of_threads():
    X, y = data(m=2000)
    for rows in (X, sparse.csr_array(X * (np.abs(X) > 1))):
        one, two = (nbs.Trainer(l2=0.01, bounds=(0, None), n_threads=n).fit(rows, y) for n in (1, 2))
        assert np.array_equal(one.model.coef, two.model.coef)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("options", [{"bounds": (0, None)}, {"bounds": (-0.5, 0.5)}, {"bounds": (0, None), "l2": 1e-3}])
@pytest.mark.parametrize("seed", range(4))
def test_classes_without_samples_leave_the_minimum_as_it_is(seed, options, dtype):
    rng = np.random.default_rng(seed)
    X, y = rng.normal(size=(80, 4)).astype(dtype), rng.integers(0, 4, 80)
    present = y < 2
    result = nbs.Trainer(tol=1e-9, **options).fit(X, y, sample_weight=present.astype(float))
    low, high = options["bounds"]
    assert result.converged
    assert np.abs(result.model.intercept).max() < 50  # those of the present classes, and -40 of the others
    alone = nbs.Trainer(tol=1e-9, **options).fit(X[present], y[present])
    assert result.objective == pytest.approx(alone.objective, rel=1e-8)
    assert (result.model.coef >= low).all() and (high is None or (result.model.coef <= high).all())
