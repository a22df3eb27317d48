"""L-BFGS: Newton's direction from the last few steps and gradients, by the two-loop recursion.

The recursion, that of `pairs`, begins with M^-1 of `preconditioners`, a Gram matrix where that is worth making, so that
raw data need no scaling. It is made again where the memory has led to a point from which no step leads on.

Step lengths satisfy the weak Wolfe conditions, by bisection: A. Lewis and M. Overton, "Nonsmooth optimization via
quasi-Newton methods", Math. Program. 141 (2013). Each trial costs one pass over the data, which gives value and
gradient together.
"""

from __future__ import annotations

from functools import partial

import numpy as np

from nbsoftmax.solvers.base import NOISE, STUCK, Memory, OnIteration, Solution, doubtful, spent
from nbsoftmax.solvers.tools.gap import Judge, allowance, small_enough
from nbsoftmax.solvers.tools.pairs import Pairs
from nbsoftmax.solvers.tools.preconditioners import AFFORDABLE, Curved, Preconditioner, centred, costs
from nbsoftmax.validation import Float64s

MAX_ITER = 10_000
MEMORY = 20  # pairs kept: a pass over the data costs far more than their inner products
DECREASE, CURVATURE = 1e-4, 0.9
MOST_TRIALS = 40


def solve(
    objective: Curved,
    start: Float64s,
    *,
    tol: float,
    max_iter: int | None = None,
    on_iteration: OnIteration,
    memory: Memory | None = None,
) -> Solution:
    """Minimise a smooth convex objective; `tol` is relative to the objective."""
    max_iter, memory = max_iter or MAX_ITER, memory or Memory()
    state = memory.state
    if state.get("hessian_refined", False):
        objective = objective.in_float64(hessian=True)
    params = state.get("params", start).copy()
    if objective.l2 > 0 and not state:  # the minimum is there, and every direction below stays there
        params[:, :-1] = centred(params[:, :-1])
    kind = "gram" if costs(objective)["gram"] <= AFFORDABLE else "diagonal"
    precondition = Preconditioner(objective, state.get("made_at", params), kind)
    refined = objective.in_float64()
    sums = refined if state.get("refined", False) else objective
    value, grad = sums.value_and_grad(params)
    judge = Judge(objective, tol, state, sums)
    judge.precondition = precondition
    pairs = Pairs(params.size, MEMORY, state.get("pairs"))
    n_iter = int(state.get("n_iter", 0))
    hint = _decrement(grad, pairs, precondition) if state else 0.0
    reason = "converged" if judge.converged(n_iter, params, value, grad, hint) else ""
    while True:
        while not reason:
            if n_iter >= max_iter:
                reason = spent(n_iter)
                break
            found = _search(sums, params, value, grad, _direction(grad, pairs, precondition))
            # The memory may be wrong: once more without. In float32 it is rounding errors as a rule: `refined` is next.
            if found is None and len(pairs) and sums is refined:
                pairs.clear()
                precondition = judge.precondition = Preconditioner(objective, params, kind)
                found = _search(sums, params, value, grad, _direction(grad, pairs, precondition))
            if found is None:
                reason = STUCK
                break
            new_params, new_value, new_grad = found
            pairs.add([(new_params - params, new_grad - grad)])
            params, value, grad = new_params, new_value, new_grad
            n_iter += 1
            kept = {"params": params, "made_at": precondition.made_at, "n_iter": n_iter, "pairs": pairs.kept}
            memory.snapshot = partial(
                dict, **kept, **judge.state(), refined=sums is refined, hessian_refined=objective is refined
            )
            reason = on_iteration(n_iter, params, value, float(np.linalg.norm(grad))) or ""
            if not reason and judge.converged(n_iter, params, value, grad, _decrement(grad, pairs, precondition)):
                reason = "converged"
        if sums is refined:
            break
        sums = refined  # the fit goes on, and is judged, with more accurate sums
        rough = value
        value, grad = sums.value_and_grad(params)
        if doubtful(rough, value, allowance(value, tol, params.shape[0])):
            objective = refined = sums = objective.in_float64(hessian=True)
            pairs.clear()
            precondition = judge.precondition = Preconditioner(objective, params, kind)
        judge.refine(objective, sums)
        if reason in ("converged", STUCK):
            reason = "converged" if judge.converged(n_iter, params, value, grad, 0.0) else ""
    distance, kind = judge.gap(n_iter, params, value, grad)
    converged = small_enough(distance, value, tol, params.shape[0])
    if converged and reason in (STUCK, spent(n_iter)):
        reason = "converged"
    return Solution(
        params,
        value,
        float(np.linalg.norm(grad)),
        distance,
        kind,
        n_iter,
        converged,
        reason,
    )


def _decrement(grad: Float64s, pairs: Pairs, precondition: Preconditioner) -> float:
    return -0.5 * float(np.vdot(grad, _direction(grad, pairs, precondition)))


def _direction(grad: Float64s, pairs: Pairs, precondition: Preconditioner) -> Float64s:
    """-H^-1 grad with the memory's idea of the Hessian; -M^-1 grad without a memory."""
    scale = 1.0
    if len(pairs):
        change = pairs.kept[1, -1].reshape(grad.shape)
        scale = 1 / float(np.vdot(change, precondition(change)))
    return -pairs.correct(grad, lambda residual: scale * precondition(residual))


def _search(
    objective: Curved, params: Float64s, value: float, grad: Float64s, direction: Float64s
) -> tuple[Float64s, float, Float64s] | None:
    """A point along the direction with sufficient decrease and a slope that has risen enough; None if there is none."""
    slope = float(np.vdot(grad, direction))
    if not slope < 0:
        return None
    low, high = 0.0, np.inf
    length = 1.0
    best = None
    for _ in range(MOST_TRIALS):
        trial = params + length * direction
        trial_value, trial_grad = objective.value_and_grad(trial) if np.isfinite(trial).all() else (np.inf, grad)
        if not trial_value <= value + DECREASE * length * slope + NOISE * abs(value):
            high = length
        elif float(np.vdot(trial_grad, direction)) < CURVATURE * slope:
            low = length
            best = (trial, trial_value, trial_grad)
        else:
            return trial, trial_value, trial_grad
        length = 2 * low if np.isinf(high) else (low + high) / 2
    return best if best is not None and best[1] < value else None
