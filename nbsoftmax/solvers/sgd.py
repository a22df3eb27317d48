"""Stochastic gradient descent: steps along the gradients of mini-batches; an epoch goes through all samples once.

momentum, nesterov, adam: see `kernels.sgd`. The learning rate falls with the progress p = epochs / max_iter:

    constant  rate                        step     rate / 10^floor(3 p)
    cosine    rate (1 + cos(pi p)) / 2     inverse  rate / (1 + epochs / 10)

Fast initial progress, slow final convergence: for streams, and for data so large that few passes are affordable. The
order of the samples is a function of the seed and the epoch, so that every fit can be repeated and resumed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol

import numpy as np

from nbsoftmax import validation
from nbsoftmax.backends.base import SampleOrder
from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.sgd import ADAM, MOMENTUM, NESTEROV, State
from nbsoftmax.solvers.base import (
    OnIteration,
    Point,
    Requirements,
    Smooth,
    Solution,
    SolverState,
    evaluate_if_finite,
    never_stop,
)
from nbsoftmax.solvers.driver import Driver
from nbsoftmax.solvers.tools.convergence import ConvergenceMonitor
from nbsoftmax.validation import Float64s

MAX_ITER = 50
KINDS = {"momentum": MOMENTUM, "nesterov": NESTEROV, "adam": ADAM}
SCHEDULES = ("constant", "step", "cosine", "inverse")
POWER_ITERATIONS = 10  # for the largest curvature, whose result may be 10 % too small
ADAM_CHANGE = 0.1  # approximate change of a logit in the first step of Adam


class Stochastic(Smooth, Protocol):
    """A smooth objective that computes steps along gradients of mini-batches."""

    def n_steps(self, batch_size: int) -> int:
        """The number of mini-batches in an epoch."""
        ...

    def descend(
        self,
        state: State,
        order: SampleOrder,
        batch_size: int,
        rates: Float64s,
        *,
        kind: int,
        momentum: float,
        n_before: int,
    ) -> float:
        """Change `state` by one step for each rate; returns the mean loss before each step."""
        ...


@dataclass(frozen=True)
class SGD:
    """Stochastic gradient descent on mini-batches.

    Parameters
    ----------
    learning_rate : float, optional
        Initial learning rate; by default it is computed from the data.
    batch_size : int
        Samples in a mini-batch.
    momentum : float in [0, 1)
        Momentum coefficient; beta1 for "adam".
    optimizer : {"nesterov", "momentum", "adam"}
        Update rule, as in PyTorch.
    schedule : {"cosine", "constant", "step", "inverse"}, optional
        How the rate decreases: along half a cosine to 0 at the last epoch, not at all, by a factor of 10 after each
        third of the epochs, or as 1 / (1 + epochs / 10). Default: "cosine" for `fit`, "constant" for `partial_fit`.
    average : bool
        Whether the result is a weighted mean of the iterates, with larger weights for later ones.
    """

    learning_rate: float | None = None
    batch_size: int = 32
    momentum: float = 0.9
    optimizer: str = "nesterov"
    schedule: str | None = None
    average: bool = False

    name: ClassVar[str] = "sgd"
    requires: ClassVar[Requirements] = Requirements(batches=True, cpu=True)

    def __post_init__(self) -> None:
        if self.learning_rate is not None:
            rate = validation.number("learning_rate", self.learning_rate, low=0.0, low_open=True)
            object.__setattr__(self, "learning_rate", rate)
        object.__setattr__(self, "batch_size", validation.count("batch_size", self.batch_size))
        object.__setattr__(self, "momentum", validation.number("momentum", self.momentum, low=0.0, high=1.0))
        if self.momentum == 1:
            raise InputValueError("momentum is 1, but it must be less than 1; give 0.9, for example.")
        validation.choice("optimizer", self.optimizer, tuple(KINDS))
        if self.schedule is not None:
            validation.choice("schedule", self.schedule, SCHEDULES)
        validation.flag("average", self.average)

    def solve(
        self,
        objective: Stochastic,
        start: Float64s,
        *,
        tol: float,
        max_iter: int | None = None,
        on_iteration: OnIteration = never_stop,
        state: SolverState | None = None,
        random_state: int = 0,
    ) -> Solution:
        """Minimise a smooth convex objective; `tol` is relative to the objective.

        An iteration is an epoch, after which the objective is evaluated on all samples. `random_state` seeds the order
        of the samples.
        """
        driver = Driver(
            objective,
            start,
            tol=tol,
            max_iter=MAX_ITER if max_iter is None else max_iter,
            on_iteration=on_iteration,
            state=state,
        )
        return driver.minimize(_Epochs(self, driver, objective, random_state))

    def initial_rate(self, objective: Stochastic, shape: tuple[int, int]) -> float:
        """The given learning rate, or one computed from the data, which adapts to their scale.

        momentum, nesterov: 1 / (c + 4 r / (B (1 - mu)) + l2), with c the largest curvature of the loss and r a bound on
        the curvature of a single sample, the mean of ||(x, 1)||^2 / 2 (Bohning 1992). The full gradient allows a step
        of 1 / c. Momentum increases the noise of batches of B samples by a factor of 1 / (1 - mu). The factor 4 keeps
        the step well below the limit of stability. adam: each parameter changes by the rate, and a logit by less than
        rate sqrt(2 (N + 1) r).
        """
        if self.learning_rate is not None:
            return self.learning_rate
        k, order = shape
        flat = (k - 1) / k**2  # a (1 - a) if all classes are equally probable
        r = float(objective.curvatures(np.zeros(shape))[0].sum()) / flat / 2
        _refuse_overflow(r)
        if self.optimizer == "adam":
            return float(ADAM_CHANGE / np.sqrt(2 * order * r))
        # The bound on the curvature is K / 2 times that at 0, whose largest eigenvalue the power method finds.
        curvature = np.broadcast_to(objective.penalty.curvature, order - 1)
        l2s = np.append(curvature, 0.0)  # `hvp` adds none to the intercept
        v = np.random.default_rng(0).normal(size=shape)
        largest = 0.0
        for _ in range(POWER_ITERATIONS):
            v = objective.hvp(np.zeros(shape), v / np.linalg.norm(v)) - l2s * v / np.linalg.norm(v)
            largest = float(np.linalg.norm(v))
            _refuse_overflow(largest)
            if largest == 0:
                break
        noise = 4 * r / (self.batch_size * (1 - self.momentum))
        return float(1 / (largest * k / 2 + noise + l2s.max()))

    def fractions_of_epoch(self, objective: Stochastic) -> Float64s:
        """For each step of an epoch, the fraction of the epoch before it."""
        n_steps = objective.n_steps(self.batch_size)
        return np.arange(n_steps) / n_steps

    def epoch(
        self,
        objective: Stochastic,
        state: State,
        order: SampleOrder,
        rates: Float64s,
        *,
        n_before: int,
        emphasis: float = 1.0,
    ) -> float:
        """Change `state` by one step for each of `rates`, after `n_before` steps; returns the mean loss.

        `emphasis` multiplies the gradients of the loss: the mean weight of these samples relative to that of all.
        """
        options: dict[str, Any] = {"kind": KINDS[self.optimizer], "momentum": self.momentum, "emphasis": emphasis}
        return objective.descend(state, order, self.batch_size, rates, n_before=n_before, **options)

    def initial_state(self, start: Float64s) -> State:
        """The state of a run that begins at `start`."""
        n = start.size
        empty = np.empty(0)
        mean = start.reshape(-1).copy() if self.average else empty
        return State(start.reshape(-1).copy(), np.zeros(n), np.zeros(n) if self.optimizer == "adam" else empty, mean)

    def params(self, state: State, shape: tuple[int, int]) -> Float64s:
        """The current parameters of a run, as a copy."""
        return np.array((state.mean if self.average else state.params).reshape(shape))


def _refuse_overflow(curvature: float) -> None:
    if not np.isfinite(curvature):
        raise InputValueError(
            "no learning rate can be computed, because squares of the features overflow; scale X, or give a "
            "learning_rate."
        )


def rate_factors(schedule: str, epochs: Float64s, n_epochs: int = 1) -> Float64s:
    """The factor of the rate after `epochs`, which may be fractions; `n_epochs` is that of the whole fit."""
    if schedule == "constant":
        return np.ones_like(epochs)
    if schedule == "inverse":
        return 1 / (1 + epochs / 10)
    progress = epochs / n_epochs
    return 10.0 ** -np.floor(3 * progress) if schedule == "step" else (1 + np.cos(np.pi * progress)) / 2


class _Epochs:
    unit, monotone, hides_curvature = "epochs", False, False

    def __init__(self, options: SGD, driver: Driver[Stochastic], objective: Stochastic, seed: int) -> None:
        saved = driver.saved
        self._options, self._seed, self._n_epochs = options, seed, driver.max_iter
        self._schedule = options.schedule or "cosine"
        self._objective = objective  # that of the driver may be in float64, which has no stochastic steps
        self.learning_rate = options.initial_rate(objective, _shape(driver.start))
        self._descent = options.initial_state(driver.start)
        if saved:
            self._descent = State(*(saved[f"descent_{name}"] for name in State._fields))
        self._n_steps = int(saved.get("n_iter", 0)) * options.fractions_of_epoch(objective).size
        self._monitor = ConvergenceMonitor(driver.objective, driver.tol, saved, driver.sums)

    def step(self, sums: Stochastic, point: Point, n_iter: int) -> Point:
        """One epoch, which continues from the current state, not from `point`."""
        epochs = n_iter + self._options.fractions_of_epoch(self._objective)
        self._options.epoch(
            self._objective,
            self._descent,
            SampleOrder(self._seed, n_iter),
            self.learning_rate * rate_factors(self._schedule, epochs, self._n_epochs),
            n_before=n_iter * epochs.size,
        )
        self._n_steps = (n_iter + 1) * epochs.size
        return evaluate_if_finite(sums, self._options.params(self._descent, _shape(point.params)))

    def converged(self, n_iter: int, point: Point, values: list[float], *, certify: bool) -> bool:
        return self._monitor.converged(n_iter, point, 0.0 if certify else _last_spread(values))

    def gap(self, n_iter: int, point: Point) -> tuple[float, str]:
        return self._monitor.gap(n_iter, point)

    def refine(self, objective: Stochastic, sums: Stochastic, point: Point, *, hessian: bool) -> None:
        self._monitor.refine(objective, sums)

    def state(self) -> dict[str, Any]:
        descent = {f"descent_{name}": part.copy() for name, part in self._descent._asdict().items()}
        return descent | self._monitor.state()

    def report(self) -> tuple[str, None]:
        options = self._options
        steps = f"{self._n_steps} steps of {options.batch_size} samples"
        return f"{options.optimizer}: {steps}, {self._schedule} from {self.learning_rate:.3g}", None


def _shape(params: Float64s) -> tuple[int, int]:
    return params.shape[0], params.shape[1]


def _last_spread(values: list[float]) -> float:
    """The range of the last three objectives, which near the minimum consists of the noise of the steps."""
    return max(values[-3:]) - min(values[-3:]) if len(values) > 3 else np.inf
