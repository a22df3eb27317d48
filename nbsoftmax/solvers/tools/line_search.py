"""Line searches for a sufficient decrease of the objective along a direction; None if they find none.

Sufficient decrease is Armijo's condition, J(w + t d) <= J(w) + c t grad . d: J. Nocedal, S. Wright, "Numerical
Optimization" (2006), section 3.1. Near the minimum, differences of the objective are smaller than its
rounding errors, which two of the searches allow for. No search tries steps so short that rounding errors of the sums
hide their decrease: with float32 sums the caller then continues with float64 sums. `halvings` serves solvers that
decide on trials themselves.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nbsoftmax.solvers.base import NOISE, Curved, Point, Smooth, evaluate, evaluate_if_finite
from nbsoftmax.validation import Float64s

DECREASE, CURVATURE = 1e-4, 0.9  # the constants of sufficient decrease and of the Wolfe condition
RELIABLE = 1e-10  # differences of J below this share of it are mostly rounding errors of float64
MAX_TRIALS = 40


def decrease_by_gradients(before: Float64s, after: Float64s, move: Float64s) -> float:
    """The decrease of a smooth function along a move, from the gradients at its ends, by the trapezoidal rule.

    It is accurate where the difference of the function is smaller than its rounding errors.
    """
    return -float(np.vdot((before + after) / 2, move))


def visible(objective: Smooth, value: float, decrease: float) -> bool:
    """Whether rounding errors of the sums do not hide a decrease of the objective, now `value`.

    In fits to real data, those of float32 sums are 0.1 to 2 times its eps, for differences of nearby values, too.
    """
    return decrease > float(np.finfo(objective.dtype).eps) * abs(value)


def longest(value: float, slope: float) -> float:
    """The length beyond which no step has a sufficient decrease if the objective, now `value`, cannot be negative.

    Where nearly all probabilities are 0 or 1, curvatures are tiny and Newton steps longer than this by any factor.
    """
    return -value / (DECREASE * slope) if value > 0 and slope < 0 else np.inf


def steepest(point: Point) -> Float64s:
    """A step along the negative gradient, for points where curvatures are unknown: J is 0 at its end if J is linear."""
    square = float(np.vdot(point.grad, point.grad)) or 1.0
    return -abs(point.value) / square * point.grad


def halvings(start: Float64s, end: Float64s, n_trials: int, longest: float = 1.0) -> Iterator[tuple[float, Float64s]]:
    """Lengths and trials from `end`, of length 1, back to `start`: then 1/2, 1/4 ... of 1, or of `longest` if less.

    Trials that are not finite are left out; it ends before one that rounding makes equal to `start`.
    """
    for n in range(n_trials):
        length = 0.5**n * min(1.0, longest) if n > 0 else 1.0
        trial = start + length * (end - start) if n > 0 else end
        if np.array_equal(trial, start):
            return
        if np.isfinite(trial).all():
            yield length, trial


def halve_until_decrease(objective: Smooth, point: Point, rate: float) -> tuple[Point, float] | None:
    """Halve `rate` until the gradient step w - rate grad has a sufficient decrease; also returns the rate."""
    square = float(np.vdot(point.grad, point.grad))
    while True:
        trial = evaluate_if_finite(objective, point.params - rate * point.grad)
        if trial.value <= point.value - DECREASE * rate * square:
            return trial, rate
        rate /= 2
        if not visible(objective, point.value, rate * square):  # also if square overflows and rate is 0
            return None


def weak_wolfe(objective: Smooth, point: Point, direction: Float64s) -> Point | None:
    """Bisection for the weak Wolfe conditions, from the step length 1.

    A. Lewis, M. Overton, "Nonsmooth optimization via quasi-Newton methods", Math. Program. 141 (2013). Each trial
    takes one pass over the data, which computes value and gradient together.
    """
    slope = float(np.vdot(point.grad, direction))
    if not slope < 0:
        return None
    low, high = 0.0, np.inf
    length = 1.0
    best: Point | None = None
    for _ in range(MAX_TRIALS):
        trial = evaluate_if_finite(objective, point.params + length * direction)
        if not trial.value <= point.value + DECREASE * length * slope + NOISE * abs(point.value):
            high = min(length, longest(point.value, slope))
        elif float(np.vdot(trial.grad, direction)) < CURVATURE * slope:
            low = length
            best = trial
        else:
            return trial
        length = 2 * low if np.isinf(high) else (low + high) / 2
        if not visible(objective, point.value, -length * slope):
            break
    return best if best is not None and best.value < point.value else None


def backtrack(objective: Curved, point: Point, direction: Float64s) -> Point | None:
    """Backtracking: step length 1, then minima of quadratic interpolants, each at most half of the last step length."""
    slope = float(np.vdot(point.grad, direction))
    if not slope < 0:
        return None
    trial = evaluate_if_finite(objective, point.params + direction)
    if trial.value <= point.value + DECREASE * slope + NOISE * abs(point.value):
        stalled = trial.value >= point.value and trial.grad_norm >= point.grad_norm
        return None if stalled else trial
    length, value = 1.0, trial.value
    if longest(point.value, slope) < 1:
        length, value = longest(point.value, slope), np.inf
    for _ in range(MAX_TRIALS):
        rise = value - point.value - length * slope
        best = -slope * length**2 / (2 * rise) if rise > 0 else 0.0
        length = min(max(best, 0.1 * length), 0.5 * length)
        if not visible(objective, point.value, -length * slope):
            return None
        params = point.params + length * direction
        value = objective.value(params) if np.isfinite(params).all() else np.inf
        if value <= point.value + DECREASE * length * slope and value < point.value:
            return evaluate(objective, params)
    return None
