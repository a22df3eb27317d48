"""Gradient descent, the plain update of the mathematics. The reference, never the fast way.

w <- w - alpha dJ/dw,    b <- b - alpha dJ/db
"""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from nbsoftmax.solvers.base import STUCK, Memory, OnIteration, Smooth, Solution, spent
from nbsoftmax.solvers.tools.gap import Judge, small_enough
from nbsoftmax.validation import Float64s

MAX_ITER = 10_000
SUFFICIENT_DECREASE = 1e-4  # Armijo's constant: Nocedal and Wright, "Numerical Optimization" (2006), section 3.1


def solve(
    objective: Smooth,
    start: Float64s,
    *,
    tol: float,
    max_iter: int | None = None,
    learning_rate: float | None = None,
    on_iteration: OnIteration,
    memory: Memory | None = None,
) -> Solution:
    """Minimise by gradient steps of fixed `learning_rate`; for None, by backtracking from twice the last step."""
    memory = memory or Memory()
    state = memory.state
    refined = objective.in_float64()
    sums = refined if state.get("refined", False) else objective
    params = state.get("params", start).copy()
    value, grad = sums.value_and_grad(params)
    best = (value, params, grad)
    if state:
        best_value, best_grad = sums.value_and_grad(state["best"])
        best = (best_value, state["best"], best_grad)
    values = state["values"].tolist() if state else [value]
    judge = Judge(objective, tol, state, sums)
    rate = float(state.get("rate", 1.0 if learning_rate is None else learning_rate))
    n_iter = int(state.get("n_iter", 0))
    hint = _gained(values) if state else 0.0
    reason = "converged" if judge.converged(n_iter, params, value, grad, hint) else ""
    if reason:
        best = (value, params, grad)
    while True:
        while not reason and n_iter < (max_iter or MAX_ITER):
            square = float(np.vdot(grad, grad))
            while True:
                trial = params - rate * grad
                trial_value, trial_grad = sums.value_and_grad(trial) if np.isfinite(trial).all() else (np.inf, grad)
                if learning_rate is not None or trial_value <= value - SUFFICIENT_DECREASE * rate * square:
                    break
                rate /= 2
                if not rate * square > np.finfo(float).eps * abs(value):  # also where square overflows and rate is 0
                    reason = STUCK
                    break
            if reason:
                break
            n_iter += 1
            params, value, grad = trial, trial_value, trial_grad
            if not np.isfinite(value) or value > 1e3 * (abs(values[0]) + 1):
                reason = (
                    f"the objective grew without bound: learning_rate {rate:g} is too large; halve it, or give none"
                )
                break
            values.append(value)
            if value < best[0]:
                best = (value, params, grad)
            if learning_rate is None:
                rate *= 2
            memory.snapshot = partial(
                _state, params, n_iter, rate, best[1], values, judge.state() | {"refined": sums is refined}
            )
            reason = on_iteration(n_iter, params, value, float(np.linalg.norm(grad))) or ""
            if not reason and judge.converged(n_iter, params, value, grad, _gained(values)):
                reason = "converged"
                best = (value, params, grad)  # what is proven: values before may be less by rounding errors
        if sums is refined:
            break
        sums = refined  # the fit goes on, and is judged, with more accurate sums
        judge.refine(objective, sums)
        params = best[1]
        value, grad = sums.value_and_grad(params)
        best = (value, params, grad)
        if reason in ("converged", STUCK):
            reason = "converged" if judge.converged(n_iter, params, value, grad, 0.0) else ""
    value, params, grad = best
    distance, kind = judge.gap(n_iter, params, value, grad)
    grown = reason.startswith("the objective grew")
    converged = not grown and small_enough(distance, value, tol, start.shape[0])
    if converged:
        reason = "converged"
    return Solution(
        params,
        value,
        float(np.linalg.norm(grad)),
        np.inf if grown else distance,
        kind,
        n_iter,
        converged,
        reason or spent(n_iter),
    )


def _gained(values: list[float]) -> float:
    """What the last quarter of the steps has gained; inf after few steps."""
    n = len(values)
    return values[(3 * n) // 4 - 1] - values[-1] if n >= 8 else np.inf


def _state(
    params: Float64s, n_iter: int, rate: float, best: Float64s, values: list[float], judging: dict[str, Any]
) -> dict[str, Any]:
    known = np.array(values[: n_iter + 1])  # the list has grown since, if this is asked for late
    return {"params": params, "n_iter": n_iter, "rate": rate, "best": best, "values": known, **judging}
