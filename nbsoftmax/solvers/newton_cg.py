"""Truncated Newton: the direction H^-1 g by conjugate gradients, preconditioned with what the Hessian is like.

    H d = -g roughly,    M^-1 of `preconditioners`, made anew when the products since took longer than that

Which M, follows the fit: a cheap one first; when directions take more products than a dearer one costs, that one. On
nearly separable data the last is the Hessian itself, and the method Newton's own. How far to solve follows the progress
(R. Dembo, S. Eisenstat, T. Steihaug, "Inexact Newton methods", SIAM J. Numer. Anal. 19, 1982). The same conjugate
gradients give the Newton decrement, by which convergence is judged; with l2 > 0 the fit then goes on to where a bound
proves it. There all steps keep the sum over classes of the coefficients at 0, where the minimum is: `blocks` that mixed
that direction in took 6 to 20 times the products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from nbsoftmax.errors import InputValueError
from nbsoftmax.solvers.base import NOISE, STUCK, Memory, OnIteration, Solution, doubtful, spent
from nbsoftmax.solvers.tools.gap import SETTLED, Prover, allowance, bound, conjugate_gradients, reported, rough_bound
from nbsoftmax.solvers.tools.pairs import Pairs
from nbsoftmax.solvers.tools.preconditioners import (
    AFFORDABLE,
    KINDS,
    MOST_BYTES,
    Curved,
    Preconditioner,
    centred,
    costs,
)
from nbsoftmax.validation import Float64s

MAX_ITER = 500
MOST_PRODUCTS = 2000  # for one direction
LEAST_PRODUCTS = 5  # before the decrement may count as settled
DECREASE, MOST_TRIALS = 1e-4, 40
DONE = 1e-6  # square of a residual, relative to the gradient's, that is as good as none
FAR_WITHIN = 0.1  # of what is allowed: a decrement that has settled is not 10 times as large
NEAR_ENOUGH = 0.03  # of what is allowed: a direction that leaves no more than this ends the fit, as a rule
LOOSEST = 0.3  # largest residual of a direction, relative to the gradient
# Where the estimate says that a fit has converged, it goes on to where a bound says so, with no more products than it
# has had, or so many; by directions that should leave this share of what is allowed.
LEAST_PATIENCE, PROVEN = 10, 0.3
MOST_TO_COME = 0.8 / FAR_WITHIN  # times a decrement, for what comes after its step; less than makes up for FAR_WITHIN
# A preconditioner of so many products is made at once (a Gram matrix up to AFFORDABLE). Later a kind is made that costs
# no more than so many directions like the last one.
CHEAP, DIRECTIONS = 10, 2


@dataclass(frozen=True, eq=False)
class Step:
    """A direction and what making it has told."""

    direction: Float64s
    decrement: float  # half of grad . H^-1 grad, as far as it is known
    settled: bool
    ends: bool = False  # whether the fit should end after it
    gave_up: bool = False  # whether no bound within what is allowed is to be expected there


def solve(
    objective: Curved,
    start: Float64s,
    *,
    tol: float,
    max_iter: int | None = None,
    kinds: tuple[str, ...] = KINDS,
    on_iteration: OnIteration,
    memory: Memory | None = None,
) -> Solution:
    """Minimise a smooth convex objective; `tol` is relative to the objective.

    `kinds` are the preconditioners to choose from; `("hessian",)` makes this Newton's method, by Cholesky.
    """
    choice = Choice(objective, kinds)
    if not choice.kinds:
        raise InputValueError(
            f"a {' or '.join(kinds)} of {math.prod(objective.shape)} parameters takes more than {MOST_BYTES >> 20} MB; "
            f"use solver 'newton-cg', which finds another way."
        )
    return _solve(objective, start, tol, max_iter or MAX_ITER, choice, on_iteration, memory or Memory())


@dataclass(frozen=True)
class Goal:
    """What a direction is to reach."""

    relative: float  # its residual, beside the gradient
    allowed: float  # the gap that a fit may end with
    patience: int  # products to spend on a proof, where the decrement is within that
    provable: float  # the `rough_bound` after the step that makes one likely


class Choice:
    """Which preconditioner pays, by the products that it takes to make and those that it saves."""

    def __init__(self, objective: Curved, kinds: tuple[str, ...]) -> None:
        self.objective = objective
        self._costs = {kind: cost for kind, cost in costs(objective).items() if kind in kinds and cost < np.inf}
        self.kinds = list(self._costs)
        self.exact = kinds == ("hessian",)
        self._made = dict.fromkeys(self.kinds, 0)
        self.products = 0

    def first(self, params: Float64s) -> Preconditioner:
        """Before any product is known: the dearest that is cheap."""
        cheap = [kind for kind, cost in self._costs.items() if cost <= (AFFORDABLE if kind == "gram" else CHEAP)]
        return self._new(cheap[-1] if cheap else self.kinds[0], params)

    def next(self, last: Preconditioner, params: Float64s, products: int) -> Preconditioner:
        """After a direction of so many products: the same, a new one, or the dearest that some like it would pay.

        Never back to a cheaper kind: directions become harder as the fit goes on. Newton's method itself has the
        Hessian of every point, and no corrections by earlier ones.
        """
        if self.exact:
            return self._new("hessian", params)
        dearer = self.kinds[self.kinds.index(last.kind) + 1 :]
        dearer = [kind for kind in dearer if self._costs[kind] <= DIRECTIONS * products]
        if not dearer and last.products <= self._costs[last.kind]:
            return last
        return self._new(dearer[-1] if dearer else last.kind, params, last.pairs)

    def refine(self, objective: Curved, last: Preconditioner, params: Float64s) -> Preconditioner:
        """Make preconditioners of `objective` from now on; the first is of the same kind as the last one."""
        self.objective = objective
        return self._new(last.kind, params)

    def state(self, current: Preconditioner) -> dict[str, Any]:
        """What `restored` needs."""
        return {
            "kind": np.str_(current.kind),
            "made_at": current.made_at,
            "uses": current.products,
            "products": self.products,
            "least_curvature": current.least_curvature,
            "pairs": current.pairs.kept,
            "made": np.array(list(self._made.values())),
        }

    def restored(self, state: dict[str, Any]) -> Preconditioner:
        """The preconditioner of a state, made again where it was made."""
        self.products, self._made = int(state["products"]), dict(zip(self.kinds, state["made"].tolist(), strict=True))
        preconditioner = Preconditioner(self.objective, state["made_at"], str(state["kind"]))
        preconditioner.pairs = Pairs(state["made_at"].size, preconditioner.pairs.most, state["pairs"])
        preconditioner.products, preconditioner.least_curvature = int(state["uses"]), float(state["least_curvature"])
        return preconditioner

    def _new(self, kind: str, params: Float64s, pairs: Pairs | None = None) -> Preconditioner:
        self._made[kind] += 1
        return Preconditioner(self.objective, params, kind, pairs)

    def account(self) -> str:
        """What was made, what one costs, and how many products there were."""
        parts = [f"{n} {kind} (worth {self._costs[kind]:.3g} products)" for kind, n in self._made.items() if n]
        return f"{self.products} Hessian-vector products; preconditioners made: {', '.join(parts)}"


def _solve(
    objective: Curved,
    start: Float64s,
    tol: float,
    max_iter: int,
    choice: Choice,
    on_iteration: OnIteration,
    memory: Memory,
) -> Solution:
    state = memory.state
    params = state.get("params", start).copy()
    if objective.l2 > 0 and not state:  # the minimum is there, and every direction below stays there
        params[:, :-1] = centred(params[:, :-1])
    if state.get("hessian_refined", False):
        objective = objective.in_float64(hessian=True)
        choice.objective = objective
    refined = objective.in_float64()
    sums = refined if state.get("refined", False) else objective
    value, grad = sums.value_and_grad(params)
    precondition = choice.restored(state) if state else choice.first(params)
    first = float(state.get("first", 0.0))  # the square of the first gradient's norm
    n_iter, reason = int(state.get("n_iter", 0)), ""
    promised, gained = state.get("promised", np.inf), state.get("gained", 0.0)  # decreases, of the last step
    near_at = int(state.get("near_at", -1))  # products when only a proof was wanting, first; -1: not yet
    prover = Prover(sums, float(state.get("harder", 1.0)))
    while True:
        allowed = allowance(value, tol, params.shape[0])
        found = None
        proven = prover.proof(params, value, grad, allowed)
        if proven is not None:
            reason = reason or "converged"
        else:
            square = precondition.square(centred(grad))
            first = first or square
            progress = max(0.0, square / first) if first > 0 else 0.0
            before = precondition.products
            begun = choice.products if near_at < 0 else near_at
            left = max(LEAST_PATIENCE, begun) - (choice.products - begun)
            patience = max(0, left) if prover.may_prove() else 0
            goal = Goal(min(LOOSEST, progress**0.25), allowed, patience, PROVEN * allowed / prover.harder)
            step = _step(objective, params, grad, precondition, square, goal)
            precondition.learn()
            n_products = precondition.products - before
            choice.products += n_products
            estimate = step.decrement * _to_come(step.decrement, promised, gained)
            near = step.settled and estimate <= allowed
            if near and near_at < 0:
                near_at = choice.products
            if not reason and near and (step.gave_up or patience == 0 or n_iter >= max_iter):
                reason = "converged"
            if not reason and n_iter >= max_iter:
                reason = spent(n_iter)
            if not reason:
                found = _search(sums, params, value, grad, step.direction)
                if found is None:
                    reason = "converged" if near else STUCK
        if found is None and sums is refined:
            break
        if found is None:  # the fit goes on, and is judged, with more accurate sums
            sums, prover, rough = refined, Prover(refined), value
            value, grad = sums.value_and_grad(params)
            if doubtful(rough, value, allowed):
                objective = refined = sums = objective.in_float64(hessian=True)
                precondition = choice.refine(objective, precondition, params)
            promised, gained = np.inf, 0.0
            reason = "" if reason in ("converged", STUCK, spent(n_iter)) else reason
            continue
        promised, gained = step.decrement, value - found[1]
        params, value, grad = found
        if choice.exact or not (step.ends or near):  # what may be left is not worth a new one
            precondition = choice.next(precondition, params, n_products)
        n_iter += 1
        kept = {"params": params, "first": first, "n_iter": n_iter, "promised": promised, "gained": gained}
        memory.snapshot = partial(
            dict,
            **kept,
            near_at=near_at,
            harder=prover.harder,
            refined=sums is refined,
            hessian_refined=objective is refined,
            **choice.state(precondition),
        )
        reason = on_iteration(n_iter, params, value, float(np.linalg.norm(grad))) or ""
    if proven is None and near:
        estimate = max(estimate, _least_decrement(objective, params, grad))
        reason = STUCK if reason == "converged" and estimate > allowed else reason
    distance, kind = proven or reported(bound(sums, params, value, grad), estimate, step.settled, allowed)
    return Solution(
        params,
        value,
        float(np.linalg.norm(grad)),
        distance,
        kind,
        n_iter,
        distance <= allowed,
        reason,
        choice.account(),
        step.direction if proven is None else None,
    )


def _to_come(decrement: float, promised: float, gained: float) -> float:
    """How many times a decrement the steps from here on gain, when each is to the next as the last was to this one.

    Near the minimum 1. Where the objective is like exp, as of samples that can nearly be told for sure, each decrement
    is 1/e of the last one, and an objective of e^-t has twice its decrement to go.
    """
    if not 0 < promised < np.inf:
        return 1.0
    share = min(decrement / promised, 0.9)
    return float(min(max(1.0, gained / promised) / (1 - share), MOST_TO_COME))


def _least_decrement(objective: Curved, params: Float64s, grad: Float64s) -> float:
    """Half of grad . H^-1 grad is at least (grad . v)^2 / (2 v . H v), whatever v: here grad over the diagonal of H.

    Where all probabilities are 0 or 1 an M^-1 of rounding errors makes conjugate gradients say that nothing is left.
    """
    v = Preconditioner(objective, params, "diagonal")(centred(grad))
    v = v / (np.abs(v).max() or 1.0)
    along = float(np.vdot(v, objective.hvp(params, v))) if np.isfinite(v).all() else 0.0
    return float(np.vdot(grad, v)) ** 2 / (2 * along) if along > 0 else 0.0


def _step(
    objective: Curved,
    params: Float64s,
    grad: Float64s,
    precondition: Preconditioner,
    square: float,
    goal: Goal,
) -> Step:
    """Solve H d = -grad until the residual is small enough beside the gradient, whose norm, squared, is `square`.

    Where the decrement is still within what is allowed, go on until it has settled: the fit may have converged.
    That may be known without a single product, from what earlier ones have shown of M^-1 H:

        grad . H^-1 grad <= decrement so far + residual . M^-1 residual / (the smallest eigenvalue of M^-1 H)

    With patience that is not the end: so many products more may lead to where a bound says it too.
    """
    allowed = goal.allowed
    n, best, waited = 0, None, 0
    if not 0 <= square < np.inf:  # rounding errors have made M^-1 indefinite, or overflow
        return Step(np.zeros_like(grad), np.inf, False)
    rest = precondition.bound(square)
    if rest <= FAR_WITHIN * allowed and objective.l2 > 0 and not goal.patience:
        return Step(np.zeros_like(grad), rest, True)  # without l2 the direction tells whether there is a minimum
    for n, best in enumerate(conjugate_gradients(objective, params, grad, precondition, centred), 1):
        precondition.products += 1
        if best.total == np.inf:
            return Step(best.direction, np.inf, False)
        precondition.note(best.search, best.product)
        rest = precondition.bound(best.square)  # what more products would add to the decrement
        proves = not goal.patience or rough_bound(objective, best.residual) <= goal.provable
        done = best.rest <= DONE
        settled = done or (n >= LEAST_PRODUCTS and best.tail <= SETTLED * best.total)
        # Where the decrement is far within, no step will be taken: its direction need not be good, only its length.
        arrived = settled and best.rest <= LOOSEST**2 and best.total + best.tail <= FAR_WITHIN * allowed
        known = best.total + rest <= FAR_WITHIN * allowed
        if (known or arrived) and not proves and n < MOST_PRODUCTS:
            waited += 1
            if waited <= goal.patience:
                continue
        if known:
            return Step(best.direction, best.total + rest, True, True, not proves)
        good = best.rest <= goal.relative**2 or rest <= NEAR_ENOUGH * allowed
        if arrived or (good and (best.total > allowed or settled)):
            if n >= LEAST_PRODUCTS:
                precondition.saw(best.least_curvature())
            # What the later half of the products has added is added once more, for what is still to come.
            decrement = best.total if done else best.total + best.tail
            return Step(
                best.direction, decrement, settled, arrived or rest <= NEAR_ENOUGH * allowed, arrived and not proves
            )
        if n >= MOST_PRODUCTS:
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
