"""Penalties with bounds: prox, conjugate, dual and subgradients are those of the definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import nbsoftmax as nbs
from nbsoftmax.penalties import BoundedPenalty
from tests.penalties.kinds import WEIGHTS

SHAPE = (3, 4)
eighths = st.integers(-24, 24).map(lambda n: n / 8)
arrays = hnp.arrays(np.float64, SHAPE, elements=eighths)
bases = st.sampled_from(
    [nbs.Ridge(0.0), nbs.Ridge(0.7, WEIGHTS), nbs.Lasso(0.6, WEIGHTS), nbs.ElasticNet(0.6, 0.3), nbs.Lasso(0.5)]
)
ends = st.one_of(st.sampled_from([-np.inf, np.inf, 0.0]), eighths)


@st.composite
def bounded_penalties(draw, finite=False):
    pairs = draw(hnp.arrays(np.float64, (2, *SHAPE), elements=eighths if finite else ends))
    low, high = np.minimum(*pairs), np.maximum(*pairs)
    low, high = np.where(low == np.inf, 0.0, low), np.where(high == -np.inf, 0.0, high)
    penalty = BoundedPenalty(draw(bases), low, high)
    return penalty.with_scale(np.array([1.0, 0.5, 2.0, 1.0])) if draw(st.booleans()) else penalty


def by_definition(penalty, coef):
    """R(coef), coefficient by coefficient."""
    total = 0.0
    l1s, l2s = penalty.strengths(SHAPE[1])
    for (k, j), c in np.ndenumerate(coef):
        inside = penalty.low[k, j] <= c <= penalty.high[k, j]
        total += l1s[j] * abs(c) + l2s[j] / 2 * c**2 if inside else np.inf
    return total


@given(bounded_penalties(), arrays)
def test_the_value_is_the_definition(penalty, coef):
    for c in (coef, penalty.feasible(coef)):
        assert penalty.value(c) == pytest.approx(by_definition(penalty, c), rel=1e-13, abs=1e-300)
    assert penalty.allows(penalty.feasible(coef))


@given(bounded_penalties(), arrays, arrays, st.sampled_from([0.01, 0.5, 4.0]))
def test_the_prox_is_the_minimum_of_its_definition(penalty, coef, other, step):
    best = penalty.prox(coef, step)

    def cost(v):
        return ((v - coef) ** 2).sum() / 2 + step * by_definition(penalty, v)

    for v in (penalty.feasible(v) for v in (other, coef, best + 1e-3 * other, np.zeros(SHAPE))):
        assert cost(v) - cost(best) >= ((v - best) ** 2).sum() / 2 - 1e-12 * (1 + cost(v))


@given(bounded_penalties(), arrays, arrays)
def test_the_conjugate_obeys_the_inequality_of_fenchel_and_young_and_attains_it(penalty, point, slope):
    coef = penalty.feasible(point)
    assert penalty.value(coef) + penalty.conjugate(slope) >= (coef * slope).sum() - 1e-12
    # Equality at a subgradient, of which point - prox(point) is one.
    best = penalty.prox(point, 1.0)
    inside = (1 - 1e-12) * (point - best)
    total = penalty.value(best) + penalty.conjugate(inside)
    assert total == pytest.approx((best * inside).sum(), rel=1e-9, abs=1e-9)


@given(bounded_penalties(), arrays, st.floats(0, 5))
def test_the_dual_is_the_best_scale_of_a_slope(penalty, slope, entropy):
    best = penalty.dual(entropy, slope)
    values = [t * entropy - penalty.conjugate(t * slope) for t in np.linspace(0, 1, 101)]
    assert best >= max(values) - 1e-9 * (1 + abs(best))
    # It is attained: concave, so no more than a cell above the grid.
    steepest = entropy + np.abs(slope).sum() * 3  # of finite ends, at most 3 in size
    if np.isfinite(penalty.low).all() and np.isfinite(penalty.high).all():
        assert best <= max(values) + 0.01 * steepest + 1e-9


@given(bounded_penalties(), arrays, arrays)
def test_the_least_subgradient_is_the_steepest_descent(penalty, point, gradient):
    coef = penalty.feasible(point)
    least = penalty.least_subgradient(coef, gradient)
    eps = 1e-7
    l1s = penalty.strengths(SHAPE[1])[0]
    for (k, j), c in np.ndenumerate(coef):
        slopes = []  # of the objective in the two directions, where they are allowed
        for sign in (-1.0, 1.0):
            end = penalty.high[k, j] if sign > 0 else penalty.low[k, j]
            allowed = sign * (end - c) > 0
            change = gradient[k, j] * sign + l1s[j] * (abs(c + eps * sign) - abs(c)) / eps
            slopes.append(change if allowed else np.inf)
        descent = max(0.0, -min(slopes))
        assert abs(least[k, j]) == pytest.approx(descent, abs=1e-6)
    stays = penalty.activity(coef, gradient) <= 1
    assert (np.abs(least[:, stays]) <= 1e-6).all()


@given(bounded_penalties(), arrays, arrays)
def test_changes_restrictions_and_movable_coefficients(penalty, one, other):
    before, after = penalty.feasible(one), penalty.feasible(other)
    difference = penalty.nonsmooth_value(after) - penalty.nonsmooth_value(before)
    assert penalty.nonsmooth_change(before, after) == pytest.approx(difference, abs=1e-12)
    features = np.array([1, 3])
    part = sum(penalty.restricted(np.array([j])).value(before[:, [j]]) for j in features)
    assert penalty.restricted(features).value(before[:, features]) == pytest.approx(part, rel=1e-13, abs=1e-300)
    movable = penalty.movable(before, other)
    assert not movable[:, ~penalty.unpenalised(4)].any()
    assert (penalty.low < penalty.high)[movable].all()


def test_a_bounded_penalty_prints_what_it_is():
    assert repr(BoundedPenalty(nbs.Ridge(0.1), np.array(0.0), np.array(np.inf))) == "Ridge(l2=0.1) with bounds"
