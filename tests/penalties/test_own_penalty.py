"""Fits with a penalty of the user's own."""

import numpy as np
import pytest
from scipy.optimize import minimize

import nbsoftmax as nbs
from nbsoftmax.penalties import as_penalty
from tests import reference
from tests.penalties.kinds import OwnLasso, data, params_of


class CertifiedLasso(OwnLasso):
    def conjugate(self, slope):
        return 0.0 if np.abs(slope).max() <= self.l1 else np.inf


class Box:
    """Weights between 0 and 1: an indicator function, which is no norm."""

    def value(self, coef):
        return 0.0 if ((coef >= 0) & (coef <= 1)).all() else np.inf

    def prox(self, coef, step):
        return np.clip(coef, 0.0, 1.0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("make", [OwnLasso, CertifiedLasso])
def test_a_penalty_of_ones_own_reaches_the_minimum(make, dtype):
    X, y = data()
    X = X.astype(dtype)
    best = nbs.Trainer(l1=0.03, tol=1e-12).fit(X, y)
    result = nbs.Trainer(penalty=make(0.03), tol=1e-7).fit(X, y)
    assert result.solver == "prox-newton"
    assert result.converged
    assert result.gap_kind == ("duality" if make is CertifiedLasso else "estimate")
    assert -1e-12 <= result.objective - best.objective <= result.gap + 1e-12
    assert np.array_equal(result.model.coef == 0, best.model.coef == 0)


def test_a_constraint_is_a_penalty():
    X, y = data()
    result = nbs.Trainer(penalty=Box(), tol=1e-9).fit(X, y)
    shape = (3, 9)
    loss = reference.Objective(X, y, 3)

    def cost(flat):
        value, grad = loss.value_and_grad(flat.reshape(shape))
        return value, grad.ravel()

    bounds = ([(0, 1)] * 8 + [(None, None)]) * 3
    found = minimize(cost, np.zeros(27), jac=True, bounds=bounds, method="L-BFGS-B", options={"ftol": 1e-15})
    assert result.converged
    assert (result.model.coef.min(), result.model.coef.max()) == (0.0, 1.0)
    assert result.objective == pytest.approx(found.fun, rel=1e-8)


def test_a_constraint_with_a_conjugate_has_a_proven_gap():
    class CertifiedBox(Box):  # unlike a norm, its conjugate is not that of the negative slope
        def conjugate(self, slope):
            return np.maximum(slope, 0.0).sum()

    X, y = data()
    best = nbs.Trainer(penalty=Box(), tol=1e-11).fit(X, y).objective
    objective = nbs.Objective(X, y, penalty=CertifiedBox())
    for n in (1, 2, 3):
        solution = nbs.ProxNewton().solve(objective, np.zeros(objective.shape), tol=1e-11, max_iter=n)
        assert solution.objective - best <= solution.gap + 1e-12
    result = nbs.Trainer(penalty=CertifiedBox(), tol=1e-8).fit(X, y)
    assert result.gap_kind == "duality"
    assert result.objective == pytest.approx(best, rel=2e-8)


def test_the_estimate_without_a_conjugate_is_near_the_truth_at_every_iteration():
    X, y = data()
    best = nbs.Trainer(l1=0.01, tol=1e-12).fit(X, y).objective
    objective = nbs.Objective(X, y, penalty=OwnLasso(0.01))
    for n in range(1, 5):
        start = np.zeros(objective.shape)
        solution = nbs.ProxNewton().solve(objective, start, tol=1e-12, max_iter=n)
        assert solution.gap_kind == "estimate"
        assert solution.objective - best <= solution.gap + 1e-13


def test_the_gradient_of_a_penalty_of_ones_own_is_the_proximal_gradient_mapping():
    X, y = data()
    objective = nbs.Objective(X, y, penalty=OwnLasso(0.05))
    params = np.random.default_rng(0).normal(size=objective.shape)
    grad = nbs.Objective(X, y).value_and_grad(params)[1]
    value, mapping = objective.value_and_subgrad(params)
    assert value == objective.value(params)
    coef = params[:, :-1]
    assert np.array_equal(mapping[:, :-1], coef - OwnLasso(0.05).prox(coef - grad[:, :-1], 1.0))
    assert np.array_equal(mapping[:, -1], grad[:, -1])
    result = nbs.Trainer(penalty=OwnLasso(0.05), tol=1e-10).fit(X, y)
    assert result.grad_norm == pytest.approx(np.linalg.norm(objective.value_and_subgrad(params_of(result))[1]))
    assert 0 < result.grad_norm <= 1e-4


def test_columns_of_different_scale_only_take_longer():
    X, y = data()
    scale = np.geomspace(0.1, 10, 8)
    # The user's penalty of the scaled problem is the weighted lasso of the plain one.
    best = nbs.Trainer(penalty=nbs.Lasso(0.02, 1 / scale), tol=1e-10).fit(X, y)
    result = nbs.Trainer(penalty=OwnLasso(0.02), tol=1e-7).fit(X * scale, y)
    assert result.converged
    assert result.objective - best.objective <= 1e-7 * best.objective


def test_a_fit_with_a_penalty_of_ones_own_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path):
    X, y = data()
    whole = nbs.Trainer(penalty=OwnLasso(0.01), tol=1e-10).fit(X, y)
    stop = nbs.Trainer(penalty=OwnLasso(0.01), tol=1e-10, callbacks=[lambda now: now.n_iter == 2])
    stop.fit(X, y, checkpoint=tmp_path / "fit")
    result = nbs.Trainer(penalty=OwnLasso(0.01), tol=1e-10).fit(X, y, checkpoint=tmp_path / "fit", resume=True)
    assert np.array_equal(result.model.coef, whole.model.coef)
    with pytest.raises(nbs.InputValueError, match="checkpoint of a fit with other"):
        nbs.Trainer(penalty=OwnLasso(0.02)).fit(X, y, checkpoint=tmp_path / "fit", resume=True)


def test_the_dual_of_a_conjugate_alone_is_that_of_the_formula():
    rng = np.random.default_rng(0)
    own, ours = as_penalty(CertifiedLasso(0.5)), nbs.Lasso(0.5)
    for scale in (0.1, 1.0, 10.0):
        slope = scale * rng.normal(size=(3, 4))
        assert own.dual(0.7, slope) == pytest.approx(ours.dual(0.7, slope), rel=1e-12)
    assert as_penalty(OwnLasso(0.5)).dual(0.7, slope) == -np.inf


def test_methods_of_a_penalty_may_change_their_arrays():
    class InPlace(OwnLasso):
        def value(self, coef):
            coef[:] = super().value(coef)
            return coef[0, 0]

        def prox(self, coef, step):
            coef[:] = super().prox(coef, step)
            return coef

    X, y = data()
    result, expected = (nbs.Trainer(penalty=own(0.05)).fit(X, y) for own in (InPlace, OwnLasso))
    assert np.array_equal(result.model.coef, expected.model.coef)


def test_a_fit_whose_objective_is_infinite_has_not_converged():
    class Impossible(OwnLasso):
        def value(self, coef):
            return np.inf

    with pytest.warns(nbs.ConvergenceWarning):
        result = nbs.Trainer(penalty=Impossible(0.1)).fit(*data())
    assert not result.converged


def test_a_constraint_that_0_violates_is_met():
    class SumsToOne:
        def value(self, coef):
            return 0.0 if np.allclose(coef.sum(axis=0), 1.0, rtol=0, atol=1e-9) else np.inf

        def prox(self, coef, step):
            return coef - (coef.sum(axis=0) - 1.0) / len(coef)

    X, y = data()
    result = nbs.Trainer(penalty=SumsToOne(), tol=1e-8).fit(X, y)
    free = nbs.Trainer(tol=1e-10).fit(X, y)  # a shift of all classes changes no probability
    assert result.converged
    assert np.allclose(result.model.coef.sum(axis=0), 1.0)
    assert result.objective == pytest.approx(free.objective, rel=1e-7)
