"""Penalties: values, proximal operators, conjugates and gradients are those of the definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.optimize import minimize_scalar

import nbsoftmax as nbs
from tests.penalties.kinds import WEIGHTS

KINDS = {
    "ridge": lambda weights: nbs.Ridge(0.7, weights),
    "lasso": lambda weights: nbs.Lasso(0.6, weights),
    "elastic net": lambda weights: nbs.ElasticNet(0.6, 0.3, weights),
    "group lasso": lambda weights: nbs.GroupLasso(0.6, weights=weights),
    "group elastic net": lambda weights: nbs.GroupLasso(0.6, 0.3, weights),
}


kinds = st.sampled_from(sorted(KINDS))


weightings = st.sampled_from([None, WEIGHTS])


arrays = hnp.arrays(np.float64, (3, 4), elements=st.integers(-30, 30).map(lambda n: n / 8))


def by_definition(kind, coef, weights):
    """R(coef), written once more from the definition."""
    p, w = KINDS[kind](weights), np.ones(4) if weights is None else weights
    columns = [np.linalg.norm(c) if kind.startswith("group") else np.abs(c).sum() for c in coef.T]
    return sum(w[j] * (p.l1 * columns[j] + p.l2 / 2 * (coef[:, j] ** 2).sum()) for j in range(4))


@given(kinds, arrays, weightings)
def test_the_value_is_the_definition(kind, coef, weights):
    assert KINDS[kind](weights).value(coef) == pytest.approx(by_definition(kind, coef, weights), rel=1e-14, abs=1e-300)


@given(kinds, arrays, arrays, weightings, st.sampled_from([0.01, 0.5, 4.0]))
def test_the_prox_is_the_minimum_of_its_definition(kind, coef, other, weights, step):
    penalty = KINDS[kind](weights)
    best = penalty.prox(coef, step)

    def cost(v):
        return ((v - coef) ** 2).sum() / 2 + step * by_definition(kind, v, weights)

    # Strong convexity: only at the minimum does every other point cost this much more.
    for v in (other, coef, best + 1e-3 * other, np.zeros_like(coef)):
        assert cost(v) - cost(best) >= ((v - best) ** 2).sum() / 2 - 1e-12 * (1 + cost(v))


@pytest.mark.parametrize("kind", KINDS)
def test_the_prox_is_what_a_numerical_minimiser_finds(kind):
    coef, step = np.random.default_rng(0).normal(size=(3, 4)), 0.4
    best = KINDS[kind](WEIGHTS).prox(coef, step)
    for j in range(4):
        # Along the column itself, in which the minimum lies, and for the others coefficient by coefficient.
        directions = [coef[:, j]] if kind.startswith("group") else np.diag(coef[:, j])

        def cost(t, column, j=j):
            v = np.zeros((3, 4))
            v[:, j] = t * column
            return ((v[:, j] - column) ** 2).sum() / 2 + step * by_definition(kind, v, WEIGHTS)

        found = sum(
            minimize_scalar(cost, args=(column,), bounds=(0, 1), method="bounded", options={"xatol": 1e-9}).x * column
            for column in directions
        )
        # 1e-4: the minimiser stops 1e-5 from an end of the interval, which is where 0 is.
        assert np.abs(best[:, j] - found).max() <= 1e-4


@given(kinds, arrays, arrays, weightings)
def test_the_conjugate_obeys_the_inequality_of_fenchel_and_young(kind, coef, slope, weights):
    penalty = KINDS[kind](weights)
    assert penalty.value(coef) + penalty.conjugate(slope) >= (coef * slope).sum() - 1e-12


@given(kinds, arrays, weightings)
def test_the_conjugate_attains_that_bound_at_a_subgradient(kind, point, weights):
    penalty = KINDS[kind](weights)
    coef = penalty.prox(point, 1.0)
    slope = (1 - 1e-12) * (point - coef)  # a subgradient at coef; the factor keeps rounding errors within a constraint
    total = penalty.value(coef) + penalty.conjugate(slope)
    assert total == pytest.approx((coef * slope).sum(), rel=1e-10, abs=1e-10)


@given(kinds, arrays, arrays, weightings, st.floats(0, 5))
def test_the_dual_is_the_best_scale_of_a_slope(kind, coef, slope, weights, entropy):
    penalty = KINDS[kind](weights)
    best = penalty.dual(entropy, slope)
    low, high, values = 0.0, 1.0, []
    for _ in range(3):  # grids around the best scale so far
        scales = np.linspace(low, high, 101)
        values = np.array([t * entropy - penalty.conjugate(t * slope) for t in scales])
        at = scales[values.argmax()]
        low, high = max(0.0, at - scales[1] + scales[0]), min(1.0, at + scales[1] - scales[0])
    # In a concave function the grid misses less than the slope at 0 times one of its cells.
    assert -1e-12 <= best - values.max() <= entropy * (scales[1] - scales[0]) + 1e-12


@given(kinds, arrays, arrays, weightings)
def test_the_gradient_is_that_of_the_smooth_part(kind, coef, direction, weights):
    penalty = KINDS[kind](weights).smooth_part()
    change = penalty.value(coef + direction) - penalty.value(coef - direction)  # exact for a quadratic
    gradient = np.zeros_like(coef)
    penalty.add_gradient(coef, gradient)
    assert change == pytest.approx(2 * (gradient * direction).sum(), abs=1e-10)
    curvature = (np.broadcast_to(penalty.curvature, 4) * direction**2).sum()
    second = penalty.value(coef + direction) + penalty.value(coef - direction) - 2 * penalty.value(coef)
    assert second == pytest.approx(curvature, abs=1e-9)


@given(kinds, arrays, arrays, weightings)
def test_the_change_of_the_l1_term_is_a_difference(kind, before, after, weights):
    penalty = KINDS[kind](weights)
    difference = penalty.nonsmooth_value(after) - penalty.nonsmooth_value(before)
    assert penalty.nonsmooth_change(before, after) == pytest.approx(difference, abs=1e-12)


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_a_small_change_of_the_l1_term_keeps_its_digits(kind):
    penalty, growth = KINDS[kind](None), 2.0**-40
    coef = np.arange(-5.0, 7.0).reshape(3, 4)  # so that the products below are exact
    exact = growth * penalty.nonsmooth_value(coef)  # a difference of two values would have four digits
    assert penalty.nonsmooth_change(coef, coef * (1 + growth)) == pytest.approx(exact, rel=1e-10, abs=0)


@given(kinds, arrays, weightings, st.integers(0, 99))
def test_a_penalty_of_only_some_features_is_the_penalty_of_the_others_at_zero(kind, coef, weights, seed):
    penalty = KINDS[kind](weights)
    features = np.sort(np.random.default_rng(seed).choice(4, 2, replace=False))
    coef[:, np.setdiff1d(np.arange(4), features)] = 0
    assert penalty.restricted(features).value(coef[:, features]) == pytest.approx(penalty.value(coef), rel=1e-14)


def test_the_dual_without_a_slope_is_not_negative():
    """Entropies are at least 0, but their rounding errors are not."""
    for entropy in (-1e-17, 0.0, 0.5):
        assert nbs.Ridge(0.1).dual(entropy, np.zeros((2, 3))) == max(entropy, 0.0)
