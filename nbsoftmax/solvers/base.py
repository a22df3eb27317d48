"""Solvers: minimise an objective from a start. One file each; no data, no files, no printing.

`solve(objective, start, ...)` returns a `Solution`, in which failing to converge is a value with a sentence, not an
exception. After every iteration a solver calls `on_iteration`, which may ask it to stop.

Solvers call BLAS and LAPACK, whose last bits depend on the number of their threads, so the caller of a solver limits
them to one thread with `kernels.blas.one_thread`. For matrices of this size more threads cost more than they save.

Values and gradients of float32 data have the rounding errors of their products, which no bound and no estimate takes
into account. Where a solver would end, it therefore computes them again by `objective.in_float64()` and goes on with
these, as a rule for one or two evaluations: what it reports is true of the data. Hessian-vector products seldom need
such accuracy, since this is iterative refinement (J. Wilkinson, "Rounding errors in algebraic processes", 1963): the
approximate Hessian solves for accurate residuals. If the two values differ by as much as `doubtful` says, rounding
errors also hide the small curvatures of the Hessian, and with them most of the distance; newton-cg and lbfgs then
compute the Hessian in float64 too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, Self

import numpy as np

from nbsoftmax.penalties import AnyPenalty
from nbsoftmax.validation import Float64s

NOISE = 16 * float(np.finfo(float).eps)  # sums over rows are not known better, relative to the objective

# The reason of a solver that can go no further.
STUCK = "no step decreases the objective any more at float64 precision"


def doubtful(before: float, after: float, allowed: float) -> bool:
    """Whether float32 products are too inaccurate for a gap of `allowed`: J is `before`, in float64 it is `after`."""
    return not abs(after - before) <= 0.1 * allowed


def spent(n_iter: int) -> str:
    """The reason of a solver that may take no more iterations."""
    return f"max_iter reached ({n_iter} iterations)"


# (iteration, params, objective, gradient norm) -> a reason to stop, or None
OnIteration = Callable[[int, Float64s, float, float], str | None]


@dataclass(eq=False)
class Memory:
    """What a solver needs besides the objective to go on from where it was, bit for bit, as arrays by name.

    `state` is what to go on from; empty for a fit that begins. Before every `on_iteration` the solver sets `snapshot`,
    which gives the state there, however late it is called.
    """

    state: dict[str, Any] = field(default_factory=dict)
    snapshot: Callable[[], dict[str, Any]] = dict


class Penalised(Protocol):
    """What a bound on the gap asks of an objective; `nbsoftmax.Objective` is one, for this and for `Smooth`."""

    penalty: AnyPenalty
    fit_intercept: bool
    dtype: np.dtype[Any]
    class_mass: Float64s  # sum_i t_ik / S

    @property
    def l2(self) -> float:
        """Strength of the squared penalty."""
        ...


class Smooth(Penalised, Protocol):
    """What a solver for smooth objectives asks for, with l1 = 0."""

    def value_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The objective and its gradient."""
        ...

    def hvp(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian at `params` times `v`."""
        ...

    def in_float64(self, *, hessian: bool = False) -> Self:
        """The same function with values and gradients, and if `hessian` all else, by products in float64."""
        ...


@dataclass(frozen=True, eq=False)
class Solution:
    """Where a solver ended.

    Attributes
    ----------
    params : ndarray (n_classes, n_features + 1)
    objective, grad_norm : float
        At `params`; the norm is Euclidean, with l1 that of the smallest subgradient.
    gap : float
        How far `objective` is above the minimum, by the means that `gap_kind` names.
    gap_kind : str
        "strong-convexity", "duality": a bound that holds. "estimate": the Newton decrement, which may be wrong.
    n_iter : int
    converged : bool
        Whether gap <= tol * |objective|, or eps log K, where that is more.
    reason : str
        Why it stopped, in words.
    account : str
        What the work was, in words; "" where `n_iter` says it all.
    step : ndarray (n_classes, n_features + 1) or None
        Newton's step from here, as far as it is known.
    """

    params: Float64s
    objective: float
    grad_norm: float
    gap: float
    gap_kind: str
    n_iter: int
    converged: bool
    reason: str
    account: str = ""
    step: Float64s | None = None
