"""What all solvers share: the objective that they minimise, the state that they resume from, the solution they return.

Failing to converge is a value, `Solution.stop_reason`, not an exception.

Solvers call BLAS and LAPACK, whose last bits depend on the number of their threads, so the caller of a solver limits
them to one thread with `kernels.runtime.blas.one_thread`. For matrices of this size more threads cost more than they
save.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

import numpy as np

from nbsoftmax.penalties import AnyPenalty
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.validation import Float64s

NOISE = 16 * float(np.finfo(float).eps)  # relative rounding error of an objective, a sum over rows

# (iteration, params, objective, gradient norm) -> a reason to stop, or None
OnIteration = Callable[[int, Float64s, float, float], Stop | None]


def never_stop(n_iter: int, params: Float64s, objective: float, grad_norm: float) -> Stop | None:
    """Let the solver run until it has converged."""
    return None


class Point(NamedTuple):
    """Parameters with the objective's value and gradient there."""

    params: Float64s
    value: float
    grad: Float64s

    @property
    def grad_norm(self) -> float:
        """Euclidean norm of the gradient."""
        return float(np.linalg.norm(self.grad))


class Requirements(NamedTuple):
    """What a solver needs of an objective."""

    smooth: bool = True  # a penalty with a gradient
    batches: bool = False  # steps along gradients of mini-batches
    cpu: bool = False  # data in the memory of the host


@dataclass(eq=False)
class SolverState:
    """The state of a solver between two iterations, as arrays by name, for checkpoints.

    A solver that starts from the `saved` state of another run continues with the same bits. `saved` is empty for a new
    run. Before every `on_iteration` the solver sets `snapshot`, a function that returns the state at that iteration,
    however late it is called.
    """

    saved: dict[str, Any] = field(default_factory=dict)
    snapshot: Callable[[], dict[str, Any]] = dict


class Penalised(Protocol):
    """What a bound on the gap needs of an objective; `nbsoftmax.Objective` has this and what follows."""

    penalty: AnyPenalty
    fit_intercept: bool
    dtype: np.dtype[Any]
    class_mass: Float64s  # sum_i t_ik / S


class Smooth(Penalised, Protocol):
    """A differentiable objective, with l1 = 0."""

    def value_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The objective and its gradient."""
        ...

    def hvp(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian at `params` times `v`."""
        ...

    def in_float64(self, *, hessian: bool = False) -> Self:
        """The same function with values and gradients, and if `hessian` all else, by products in float64."""
        ...


class Curved(Smooth, Protocol):
    """A smooth objective that also computes parts of its Hessian at `params`, without the penalty."""

    n_samples: int
    shape: tuple[int, int]

    def value(self, params: Float64s) -> float:
        """The objective."""
        ...

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal, (n_classes, n_features + 1)."""
        ...

    def gram(self, params: Float64s) -> Float64s:
        """The mean of the diagonal blocks, (n_features + 1, n_features + 1)."""
        ...

    def blocks(self, params: Float64s) -> Float64s:
        """The diagonal blocks, (n_classes, n_features + 1, n_features + 1)."""
        ...

    def hessian(self, params: Float64s) -> Float64s:
        """The whole Hessian, (n_classes, n_features + 1, n_classes, n_features + 1)."""
        ...


def evaluate(objective: Smooth, params: Float64s) -> Point:
    """The point at `params`; one pass over the data."""
    return Point(params, *objective.value_and_grad(params))


def evaluate_if_finite(objective: Smooth, params: Float64s) -> Point:
    """The point at `params`, which is worse than any other where the parameters overflow."""
    if np.isfinite(params).all():
        return evaluate(objective, params)
    return Point(params, np.inf, np.full_like(params, np.inf))


@dataclass(frozen=True, eq=False)
class Solution:
    """Where a solver ended.

    Attributes
    ----------
    params : ndarray (n_classes, n_features + 1)
    objective, grad_norm : float
        At `params`; the norm is Euclidean, with l1 that of the smallest subgradient.
    gap : float
        How far `objective` is above the minimum.
    gap_kind : str
        "strong-convexity", "duality": `gap` is a proven bound. "estimate": the Newton decrement, which may be wrong.
    n_iter : int
    converged : bool
        Whether gap <= tol * |objective|, or eps log K, whichever is larger.
    stop_reason : StopReason
        Why the solver stopped.
    reason : str
        The same as a text.
    summary : str
        Human-readable summary of the work; "" where `n_iter` says it all.
    newton_step : ndarray (n_classes, n_features + 1) or None
        Newton's step from `params`, if the solver computed it.
    """

    params: Float64s
    objective: float
    grad_norm: float
    gap: float
    gap_kind: str
    n_iter: int
    converged: bool
    stop_reason: StopReason
    reason: str
    summary: str = ""
    newton_step: Float64s | None = None
