"""Line searches on functions of one parameter, whose trial steps can be predicted."""

import numpy as np
import pytest

from nbsoftmax.solvers.base import Point, evaluate
from nbsoftmax.solvers.tools.line_search import (
    DECREASE,
    MAX_TRIALS,
    backtrack,
    decrease_by_gradients,
    halve_until_decrease,
    halvings,
    longest,
    steepest,
    weak_wolfe,
)

EPS = float(np.finfo(float).eps)
SEARCHES = pytest.mark.parametrize("search", [backtrack, weak_wolfe])


class Function:
    """A function of one parameter, with the places where it was evaluated."""

    def __init__(self, value, slope, dtype=np.float64):
        self._value, self._slope, self.places, self.dtype = value, slope, [], np.dtype(dtype)

    def value(self, params):
        self.places.append(float(params[0, 0]))
        return float(self._value(params[0, 0]))

    def value_and_grad(self, params):
        return self.value(params), np.array([[self._slope(params[0, 0])]])


def parabola():
    return Function(lambda w: w * w / 2, lambda w: w)


def searched(search, function, start, direction):
    """The point found, and the lengths of the steps tried."""
    point = evaluate(function, np.array([[float(start)]]))
    function.places.clear()
    found = search(function, point, np.array([[float(direction)]]))
    return found, (np.array(function.places) - start) / direction


def test_beyond_the_longest_step_a_sufficient_decrease_would_be_below_0():
    length = longest(3.0, -2.0)
    assert np.isclose(3.0 + DECREASE * length * -2.0, 0, atol=8 * EPS)
    for value, slope in [(0.0, -2.0), (-3.0, -2.0), (3.0, 0.0), (3.0, 2.0), (3.0, np.nan)]:
        assert longest(value, slope) == np.inf


@pytest.mark.parametrize("value", [3.0, -3.0])
def test_the_steepest_step_changes_a_linear_function_by_its_value(value):
    grad = np.array([[1.0, -2.0], [0.5, 4.0]])
    step = steepest(Point(np.zeros((2, 2)), value, grad))
    assert np.isclose(np.vdot(grad, step), -3.0, rtol=8 * EPS)
    assert not steepest(Point(np.zeros((2, 2)), value, np.zeros((2, 2)))).any()


def test_the_decrease_of_a_parabola_follows_from_its_gradients():
    before, after = np.array([[3.0]]), np.array([[1.0]])
    assert decrease_by_gradients(before, after, after - before) == 9 / 2 - 1 / 2


@SEARCHES
def test_a_step_of_length_1_that_decreases_enough_is_taken(search):
    found, lengths = searched(search, parabola(), 1.0, -1.0)
    assert found.params == 0
    assert lengths.tolist() == [1]


@SEARCHES
@pytest.mark.parametrize("direction", [0.0, 1.0, np.nan])
def test_a_direction_that_does_not_descend_has_no_step(search, direction):
    assert searched(search, parabola(), 1.0, direction)[0] is None


@SEARCHES
def test_a_function_that_grows_against_its_gradient_has_no_step(search):
    found, lengths = searched(search, Function(abs, lambda w: -1.0), 0.0, 1.0)
    assert found is None
    assert len(lengths) <= MAX_TRIALS + 1


@SEARCHES
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("size", [1.0, 1e6, -1e6])
@pytest.mark.parametrize("steepness", [1e-9, 0.1])
def test_steps_so_short_that_rounding_hides_their_decrease_are_not_tried(search, dtype, size, steepness):
    slope, rise = steepness * abs(size), 2 * np.finfo(dtype).eps * abs(size)
    function = Function(lambda w: size + rise * (w != 0), lambda w: -slope, dtype)
    found, lengths = searched(search, function, 0.0, 1.0)
    assert found is None
    assert (lengths[1:] * steepness > np.finfo(dtype).eps).all()
    assert len(lengths) > 1 or steepness < np.finfo(dtype).eps


@SEARCHES
@pytest.mark.parametrize("size", [1.0, 1e6, -1e6])
@pytest.mark.parametrize(("rise", "accepted"), [(8, True), (32, False)])
def test_a_rise_within_rounding_errors_is_no_rise_if_the_gradient_shrinks(search, size, rise, accepted):
    slope, values = 1e-20, (size, size + rise * EPS * abs(size))
    function = Function(lambda w: values[int(w != 0)], lambda w: -slope if w == 0 else slope / 2)
    found, _ = searched(search, function, 0.0, 1.0)
    assert (found is not None) == accepted


@SEARCHES
def test_a_step_that_decreases_neither_value_nor_gradient_is_none(search):
    assert searched(search, Function(lambda w: 1.0, lambda w: -1e-20), 0.0, 1.0)[0] is None


@SEARCHES
@pytest.mark.parametrize(("share", "accepted"), [(0.5, False), (2.0, True)])  # of the sufficient decrease
def test_a_decrease_that_is_too_small_is_not_accepted(search, share, accepted):
    def value(w):
        return 1 - w if w < 0.9 else 1 - share * DECREASE * w

    found, lengths = searched(search, Function(value, lambda w: 3 * w - 1), 0.0, 1.0)  # its gradient grows
    assert (len(lengths) == 1) == accepted
    assert found.value < 1


def test_backtracking_does_not_end_at_an_equal_value():
    slope = -100 * EPS  # steps are visible, but their sufficient decrease is less than a rounding error of the value
    function = Function(lambda w: 1.0 if w < 0.9 else 2.0, lambda w: slope)
    found, lengths = searched(backtrack, function, 0.0, 1.0)
    assert found is None
    assert len(lengths) > 1


def test_backtracking_goes_on_while_the_decrease_is_too_small():
    function = Function(lambda w: 1 - 0.5 * DECREASE * w if w > 0.05 else 1 - w, lambda w: 3 * w - 1)
    found, lengths = searched(backtrack, function, 0.0, 1.0)
    assert len(lengths) > 3
    assert found.params <= 0.05


def test_backtracking_finds_the_minimum_of_a_parabola_at_once():
    found, lengths = searched(backtrack, parabola(), 1.0, -4.0)
    assert found.params == 0
    assert lengths.tolist() == [1, 0.25, 0.25]  # the last one for the gradient


def test_backtracking_shortens_a_step_to_a_tenth_at_most():
    found, lengths = searched(backtrack, parabola(), 1.0, -1000.0)
    assert np.allclose(lengths, [1, 0.1, 0.01, 0.001, 0.001], rtol=1e-12)
    assert abs(found.params) < 1e-12


@pytest.mark.parametrize("outside", [np.inf, np.nan])
def test_backtracking_shortens_a_step_out_of_the_domain_to_a_tenth(outside):
    function = Function(lambda w: w if w > 0 else outside, lambda w: 1.0)
    found, lengths = searched(backtrack, function, 1.0, -4.0)
    assert np.allclose(lengths, [1, 0.1, 0.1], rtol=1e-12)
    assert np.isclose(found.value, 0.6)


def test_backtracking_goes_on_from_the_longest_step_that_may_decrease_enough():
    found, lengths = searched(backtrack, parabola(), 1.0, -1e9)
    assert np.isclose(lengths[1], longest(0.5, -1e9) / 10, rtol=1e-12)
    assert np.isclose(lengths[-1], 1e-9)
    assert abs(found.params) < 1e-6


def test_bisection_goes_on_from_the_longest_step_that_may_decrease_enough():
    found, lengths = searched(weak_wolfe, parabola(), 1.0, -1e9)
    assert np.isclose(lengths[1], longest(0.5, -1e9) / 2, rtol=1e-12)
    assert found.value < 0.5


def test_bisection_doubles_short_steps_and_halves_long_ones():
    # The slope 1 - 0.001 t is less than 0.9 for t > 100; w^2 / 2 is less than 1/2 - 0.1 t for 1000 t < 1.9998.
    assert searched(weak_wolfe, parabola(), 1.0, -0.001)[1].round(6).tolist() == [1, 2, 4, 8, 16, 32, 64, 128]
    assert np.allclose(searched(weak_wolfe, parabola(), 1.0, -1000.0)[1], 0.5 ** np.arange(10), rtol=1e-9)


def test_bisection_is_between_a_short_and_a_long_step():
    function = Function(lambda w: w * w / 2 if w > 0.85 else np.inf, lambda w: w)
    found, lengths = searched(weak_wolfe, function, 1.0, -0.09)
    assert np.allclose(lengths, [1, 2, 1.5], rtol=1e-9)
    assert np.isclose(found.params, 0.865)


def test_bisection_returns_its_longest_step_on_a_line():
    found, lengths = searched(weak_wolfe, Function(lambda w: -w, lambda w: -1.0), 0.0, 1.0)
    assert lengths.tolist() == (2.0 ** np.arange(MAX_TRIALS)).tolist()
    assert found.params == lengths[-1]


def test_halvings_lead_from_the_end_to_the_start():
    start, end = np.array([[1.0, 0.0]]), np.array([[3.0, -8.0]])
    found = list(halvings(start, end, 4))
    assert [length for length, _ in found] == [1, 1 / 2, 1 / 4, 1 / 8]
    for length, trial in found:
        assert np.array_equal(trial, start + length * (end - start))
    assert [length for length, _ in halvings(start, end, 3, longest=0.1)] == [1, 0.05, 0.025]
    assert [length for length, _ in halvings(start, end, 3, longest=7.0)] == [1, 1 / 2, 1 / 4]


def test_the_first_of_the_halvings_is_the_end_without_rounding_errors():
    start, end = np.array([[1e17]]), np.array([[1.0]])
    assert start + (end - start) != end
    assert next(halvings(start, end, 1))[1] == end


def test_halvings_end_where_rounding_leaves_the_start_and_leave_out_what_is_not_finite():
    start = np.ones((1, 1))
    assert [trial.item() for _, trial in halvings(start, start + 4 * EPS, 40)] == [1 + 4 * EPS, 1 + 2 * EPS, 1 + EPS]
    assert list(halvings(start, start, 40)) == []
    assert list(halvings(start, np.full((1, 1), np.inf), 40)) == []


def halved(function, start, rate):
    """What `halve_until_decrease` finds, and the rates tried."""
    point = evaluate(function, np.array([[float(start)]]))
    function.places.clear()
    found = halve_until_decrease(function, point, rate)
    return found, (start - np.array(function.places)) / point.grad.item()


def test_the_rate_of_a_gradient_step_is_halved_until_the_function_decreases():
    (point, rate), rates = halved(parabola(), 1.0, 8.0)
    assert (point.params.item(), rate) == (0, 1)
    assert rates.tolist() == [8, 4, 2, 1]


@pytest.mark.parametrize(("share", "n"), [(0.5, 2), (2.0, 1)])  # of the sufficient decrease
def test_a_gradient_step_whose_decrease_is_too_small_is_halved(share, n):
    function = Function(lambda w: 1 - w if w < 0.9 else 1 - share * DECREASE * w, lambda w: -1.0)
    assert len(halved(function, 0.0, 1.0)[1]) == n


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_gradient_steps_so_short_that_rounding_hides_their_decrease_are_not_tried(dtype):
    found, rates = halved(Function(lambda w: 1 + abs(w), lambda w: -1.0, dtype), 0.0, 1.0)
    assert found is None
    assert len(rates) > 1
    assert (rates > np.finfo(dtype).eps).all()
