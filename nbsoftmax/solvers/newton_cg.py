"""Truncated Newton: the direction H^-1 g by conjugate gradients, preconditioned with a Gram matrix of the data.

    H d = -g roughly,    preconditioner  M = I (x) (X1^T D X1 / S + l2 I),    D = diag(h_i mean_k a_ik (1 - a_ik))

with X1 = (X, 1). One Cholesky factor of M undoes the scales and correlations of the features, so that no scaling of the
data is needed; it is made again when the products since take longer than that. How far to solve follows the
progress (R. Dembo, S. Eisenstat, T. Steihaug, "Inexact Newton methods", SIAM J. Numer. Anal. 19, 1982). The same
conjugate gradients give the Newton decrement, by which convergence is judged.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from scipy.linalg import cho_factor, cho_solve

from nbsoftmax.check import Float64s
from nbsoftmax.solvers import NOISE, OnIteration, Smooth, Solution
from nbsoftmax.solvers.gap import (
    LEAST_OBJECTIVE,
    SETTLED,
    conjugate_gradients,
    small_enough,
    strong_convexity_bound,
    without_shift,
)

MAX_ITER = 500
MOST_PRODUCTS = 2000  # for one direction
LEAST_PRODUCTS = 5  # before the decrement may count as settled
DECREASE, MOST_TRIALS = 1e-4, 40
DONE = 1e-6  # square of a residual, relative to the gradient's, that is as good as none
LOOSEST = 0.3  # largest residual of a direction, relative to the gradient


class Curved(Smooth, Protocol):
    """What this solver asks for beyond `Smooth`."""

    def value(self, params: Float64s) -> float:
        """The objective."""
        ...

    def gram(self, params: Float64s) -> Float64s:
        """The mean diagonal block of the Hessian at `params`, without penalty: (n_features + 1, n_features + 1)."""
        ...


class Preconditioner:
    """M^-1 for the Hessian near some parameters; `products` counts the uses since it was made."""

    def __init__(self, objective: Curved, params: Float64s) -> None:
        matrix = objective.gram(params)
        # One of these products of (N + 1)^2 m multiply-adds costs as much as so many of 2 K N m.
        self.cost = matrix.shape[0] / (4 * params.shape[0])
        self.products = 0
        diagonal = matrix.diagonal().copy()
        diagonal[:-1] += objective.l2
        # Columns without curvature (constant 0, no intercept) are left alone, as are those whose squares overflow.
        self._scale = 1 / np.sqrt(np.where((diagonal > 0) & (diagonal < np.inf), diagonal, 1.0))
        scaled = matrix * self._scale * self._scale[:, None]
        if not np.isfinite(scaled).all():
            scaled = np.eye(len(matrix))
        repair = 0.0
        while True:  # collinear columns leave a pivot of rounding errors: more and more of the diagonal repairs it
            np.fill_diagonal(scaled, 1.0 + repair)
            try:
                self._factor = cho_factor(scaled, lower=True)
                break
            except np.linalg.LinAlgError:
                repair = max(1e-13, 100 * repair)

    def __call__(self, residual: Float64s) -> Float64s:
        """M^-1 times an array of the shape of the parameters."""
        solved = cho_solve(self._factor, (residual * self._scale).T)
        return np.asarray(solved.T * self._scale)


@dataclass(frozen=True)
class Step:
    """A direction and what making it has told."""

    direction: Float64s
    decrement: float  # half of grad . H^-1 grad, as far as it is known
    settled: bool


def solve(
    objective: Curved, start: Float64s, *, tol: float, max_iter: int | None = None, on_iteration: OnIteration
) -> Solution:
    """Minimise a smooth convex objective; `tol` is relative to the objective."""
    params = start.copy()
    value, grad = objective.value_and_grad(params)
    precondition = Preconditioner(objective, params)
    first = _square(objective, grad, precondition)
    n_iter, reason = 0, ""
    while True:
        if precondition.products > precondition.cost:
            precondition = Preconditioner(objective, params)
        allowed = tol * max(abs(value), LEAST_OBJECTIVE)
        progress = _square(objective, grad, precondition) / first if first > 0 else 0.0
        step = _step(objective, params, grad, precondition, min(LOOSEST, progress**0.25), allowed)
        distance, kind = _gap(objective, grad, step, allowed)
        if not reason and small_enough(distance, value, tol):
            reason = "converged"
        if not reason and n_iter >= (max_iter or MAX_ITER):
            reason = f"max_iter reached ({n_iter} iterations)"
        if reason:
            break
        found = _search(objective, params, value, grad, step.direction)
        if found is None:
            reason = "no step decreases the objective any more at float64 precision"
            break
        params, value, grad = found
        n_iter += 1
        reason = on_iteration(n_iter, params, value, float(np.linalg.norm(grad))) or ""
    norm = float(np.linalg.norm(grad))
    return Solution(params, value, norm, distance, kind, n_iter, small_enough(distance, value, tol), reason)


def _square(objective: Curved, grad: Float64s, precondition: Preconditioner) -> float:
    free = without_shift(objective, grad)
    return float(np.vdot(free, precondition(free)))


def _gap(objective: Curved, grad: Float64s, step: Step, allowed: float) -> tuple[float, str]:
    bound = strong_convexity_bound(objective, grad)
    if bound is not None and (bound <= allowed or not step.settled):
        return bound, "strong-convexity"
    # What has not settled is never reported as within tol.
    return (step.decrement if step.settled or step.decrement > allowed else np.inf), "estimate"


def _step(
    objective: Curved,
    params: Float64s,
    grad: Float64s,
    precondition: Preconditioner,
    relative: float,
    allowed: float,
) -> Step:
    """Solve H d = -grad until the residual is `relative` to the gradient.

    Where the decrement is still within what is `allowed`, go on until it has settled: the fit may have converged.
    """
    n, best = 0, None
    for n, best in enumerate(conjugate_gradients(objective, params, grad, precondition), 1):
        precondition.products += 1
        done = best.rest <= DONE
        settled = done or (n >= LEAST_PRODUCTS and best.tail <= SETTLED * best.total)
        if best.total == np.inf:
            return Step(best.direction, np.inf, False)
        if best.rest <= relative**2 and (best.total > allowed or settled):
            # What the later half of the products has added is added once more, for what is still to come.
            return Step(best.direction, best.total if done else best.total + best.tail, settled)
        if n == MOST_PRODUCTS:
            return Step(best.direction, best.total, settled)
    # Nothing was, or nothing is, left of the residual.
    return Step(best.direction, best.total, best.rest <= DONE) if best else Step(np.zeros_like(grad), 0.0, True)


def _search(
    objective: Curved, params: Float64s, value: float, grad: Float64s, direction: Float64s
) -> tuple[Float64s, float, Float64s] | None:
    """The first point at lengths 1, 1/2 ... or the quadratic's minimum that decreases enough; None if there is none."""
    slope = float(np.vdot(grad, direction))
    if not slope < 0:
        return None
    trial = params + direction
    trial_value, trial_grad = objective.value_and_grad(trial) if np.isfinite(trial).all() else (np.inf, grad)
    if trial_value <= value + DECREASE * slope + NOISE * abs(value):
        stalled = trial_value >= value and np.linalg.norm(trial_grad) >= np.linalg.norm(grad)
        return None if stalled else (trial, trial_value, trial_grad)
    length = 1.0
    for _ in range(MOST_TRIALS):
        rise = trial_value - value - length * slope
        best = -slope * length**2 / (2 * rise) if np.isfinite(rise) and rise > 0 else 0.0
        length = min(max(best, 0.1 * length), 0.5 * length)
        trial = params + length * direction
        trial_value = objective.value(trial) if np.isfinite(trial).all() else np.inf
        if trial_value <= value + DECREASE * length * slope and trial_value < value:
            return trial, *objective.value_and_grad(trial)
    return None
