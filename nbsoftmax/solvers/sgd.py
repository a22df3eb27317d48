"""Stochastic gradient descent: steps along the gradients of mini-batches; an epoch goes through all samples once.

momentum, nesterov, adam: see `kernels.sgd`. The rate falls with the progress p = epochs / max_iter:

    constant  rate          step     rate / 10^floor(3 p)
    cosine    rate (1 + cos(pi p)) / 2     inverse  rate / (1 + epochs / 10)

It comes near the minimum early and reaches it late; for streams, and for data of which one pass is already much. The
order of the samples is a function of the seed and the epoch, so that every fit can be repeated and resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.sgd import ADAM, MOMENTUM, NESTEROV, State
from nbsoftmax.solvers.base import Memory, OnIteration, Smooth, Solution
from nbsoftmax.solvers.tools.gap import Judge, small_enough
from nbsoftmax.validation import Float64s

MAX_ITER = 50
KINDS = {"momentum": MOMENTUM, "nesterov": NESTEROV, "adam": ADAM}
SCHEDULES = ("constant", "step", "cosine", "inverse")
POWERS = 10  # products for the largest curvature: a tenth too little does no harm
ADAM_STEP = 0.1  # by how much a step of Adam changes a logit, about


class Stochastic(Smooth, Protocol):
    """What this solver asks for besides; `nbsoftmax.Objective` is one."""

    n_samples: int

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, without the penalty."""
        ...

    def descend(
        self,
        state: State,
        order: NDArray[np.int64],
        batch_size: int,
        rates: Float64s,
        *,
        kind: int,
        momentum: float,
        n_before: int,
    ) -> float:
        """Change `state` by a step for each rate; the mean loss on the way."""
        ...


def rate_for(objective: Stochastic, shape: tuple[int, int], options: Mapping[str, Any]) -> float:
    """A rate that the data bear, whatever their scale.

    momentum, nesterov: 1 / (c + 4 r / (B (1 - mu)) + l2), with c the largest curvature of the loss and r what that of
    a single sample may be, the mean of ||(x, 1)||^2 / 2 (Bohning 1992). The whole data bear a step of 1 / c; the noise
    of batches of B samples counts 1 / (1 - mu) times with momentum, and the 4 keeps it well below what is stable.
    adam: each parameter changes by the rate, and so a logit by less than rate sqrt(2 (N + 1) r).
    """
    k, order = shape
    flat = (k - 1) / k**2  # a (1 - a) where all classes are as probable
    r = float(objective.curvatures(np.zeros(shape))[0].sum()) / flat / 2
    _finite(r)
    if options["optimizer"] == "adam":
        return float(ADAM_STEP / np.sqrt(2 * order * r))
    # The bound on the curvature is K / 2 times that at 0, whose largest eigenvalue the power method finds.
    v = np.random.default_rng(0).normal(size=shape)
    largest = 0.0
    for _ in range(POWERS):
        v = objective.hvp(np.zeros(shape), v / np.linalg.norm(v)) - objective.l2 * v / np.linalg.norm(v)
        largest = float(np.linalg.norm(v))
        _finite(largest)
        if largest == 0:
            break
    noise = 4 * r / (options["batch_size"] * (1 - options["momentum"]))
    return float(1 / (largest * k / 2 + noise + objective.l2))


def _finite(curvature: float) -> None:
    if not np.isfinite(curvature):
        raise InputValueError(
            "the squares of the features overflow, so that no rate can be found for them; scale X, or give a "
            "learning_rate."
        )


def begun(start: Float64s, *, adam: bool, average: bool) -> State:
    """The state of a descent that begins at `start`."""
    n = start.size
    none = np.empty(0)
    mean = start.reshape(-1).copy() if average else none
    return State(start.reshape(-1).copy(), np.zeros(n), np.zeros(n) if adam else none, mean)


def shuffled(n_samples: int, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order of the samples in an epoch."""
    return np.random.default_rng([seed, epoch]).permutation(n_samples)


def schedule_of(name: str, epochs: Float64s, n_epochs: int = 1) -> Float64s:
    """What the rate is multiplied by after so many epochs and parts of them, of `n_epochs` where there is an end."""
    if name == "constant":
        return np.ones_like(epochs)
    if name == "inverse":
        return 1 / (1 + epochs / 10)
    progress = epochs / n_epochs
    return 10.0 ** -np.floor(3 * progress) if name == "step" else (1 + np.cos(np.pi * progress)) / 2


def solve(
    objective: Stochastic,
    start: Float64s,
    *,
    tol: float,
    max_iter: int | None = None,
    options: Mapping[str, Any],
    on_iteration: OnIteration,
    memory: Memory | None = None,
) -> Solution:
    """Minimise by mini-batches; an iteration is an epoch, after which the objective is evaluated on all samples.

    `options` has learning_rate, batch_size, optimizer, momentum, schedule, average and seed.
    """
    optimizer, batch_size, average = options["optimizer"], options["batch_size"], options["average"]
    memory = memory or Memory()
    saved = memory.state
    n_epochs = max_iter or MAX_ITER
    shape = (start.shape[0], start.shape[1])
    rate = options["learning_rate"] or rate_for(objective, shape, options)
    n_steps = -(-objective.n_samples // batch_size)
    state = begun(start, adam=optimizer == "adam", average=average)
    if saved:
        state = State(*(saved[name] for name in State._fields))
    n_iter = int(saved.get("n_iter", 0))
    refined = objective.in_float64()
    sums = refined if saved.get("refined", False) else objective
    params = saved.get("best", start)
    value, grad = sums.value_and_grad(params)
    best = (value, params, grad)
    values = saved["values"].tolist() if saved else [value]
    judge = Judge(objective, tol, saved, sums)
    hint = 0.0
    if saved:  # the look that was to follow when it was saved
        params, hint = _reached(state, shape, average=average), _gained(values)
        value, grad = sums.value_and_grad(params)
    reason = "converged" if judge.converged(n_iter, params, value, grad, hint) else ""
    if reason:
        best = (value, params, grad)
    grown = False
    while True:
        while not reason and n_iter < n_epochs:
            epochs = n_iter + np.arange(n_steps) / n_steps
            rates = rate * schedule_of(options["schedule"], epochs, n_epochs)
            order = shuffled(objective.n_samples, options["seed"], n_iter)
            n_before, mu = n_iter * n_steps, options["momentum"]
            objective.descend(state, order, batch_size, rates, kind=KINDS[optimizer], momentum=mu, n_before=n_before)
            n_iter += 1
            params = _reached(state, shape, average=average)
            finite = bool(np.isfinite(params).all())
            value, grad = sums.value_and_grad(params) if finite else (np.inf, np.full(shape, np.inf))
            if not np.isfinite(value) or value > 1e3 * (abs(values[0]) + 1):
                reason = (
                    f"the objective grew without bound: learning_rate {rate:g} is too large; halve it, or give none"
                )
                grown = True
                break
            values.append(value)
            if value < best[0]:
                best = (value, params, grad)
            memory.snapshot = partial(
                _state,
                State(*(a.copy() for a in state)),
                n_iter,
                best[1],
                values,
                judge.state() | {"refined": sums is refined},
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
        if reason == "converged" and not judge.converged(n_iter, params, value, grad, 0.0):
            reason = ""
    value, params, grad = best
    distance, kind = (np.inf, "estimate") if grown else judge.gap(n_iter, params, value, grad)
    converged = small_enough(distance, value, tol, start.shape[0])
    return Solution(
        params,
        value,
        float(np.linalg.norm(grad)),
        distance,
        kind,
        n_iter,
        converged,
        "converged" if converged else reason or f"max_iter reached ({n_iter} epochs)",
        account=f"{optimizer}: {n_iter * n_steps} steps of {batch_size} samples, {options['schedule']} from {rate:.3g}",
    )


def _reached(state: State, shape: tuple[int, int], *, average: bool) -> Float64s:
    return np.array((state.mean if average else state.params).reshape(shape))


def _gained(values: list[float]) -> float:
    """By how much the last epochs differ: steps are noisy, and near the minimum the noise is all there is."""
    return max(values[-3:]) - min(values[-3:]) if len(values) > 3 else np.inf


def _state(state: State, n_iter: int, best: Float64s, values: list[float], judging: dict[str, Any]) -> dict[str, Any]:
    parts: dict[str, Any] = state._asdict()
    return parts | {
        "n_iter": n_iter,
        "best": best,
        "values": np.array(values[: n_iter + 1]),
        **judging,
    }
