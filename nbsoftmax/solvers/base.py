"""What all solvers share: protocols of objectives, the state of a solver, and its solution.

A solver that does not converge says so in `Solution.stop_reason` and raises no exception.

Solvers call BLAS and LAPACK, whose results depend on the number of threads in the last bits. Therefore the caller of a
solver limits them to one thread with `kernels.runtime.blas.one_thread`. For such small matrices, more are slower.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, Protocol, Self

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.base import SparseRows
from nbsoftmax.backends.packed import NewtonStep
from nbsoftmax.penalties import AnyPenalty
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.validation import Float64s

NOISE = 16 * float(np.finfo(float).eps)  # relative rounding error of an objective, a sum over rows

# Called after each iteration with its number, params, objective and gradient norm; returns a reason to stop, or None.
OnIteration = Callable[[int, Float64s, float, float], Stop | None]


def never_stop(n_iter: int, params: Float64s, objective: float, grad_norm: float) -> Stop | None:
    """Never ask the solver to stop."""
    return None


class Point(NamedTuple):
    """Parameters with the objective's value and gradient there."""

    params: Float64s
    value: float
    grad: Float64s  # without the part of the penalty that has no gradient
    subgradient: Float64s | None = None  # the subgradient of least norm, if the penalty has such a part
    known_norm: float | None = None  # `grad_norm`, if it is known

    @property
    def grad_norm(self) -> float:
        """Euclidean norm of the gradient or subgradient."""
        if self.known_norm is not None:
            return self.known_norm
        return float(np.linalg.norm(self.grad if self.subgradient is None else self.subgradient))


class Requirements(NamedTuple):
    """What a solver needs of an objective."""

    smooth: bool = True  # the penalty must have a gradient everywhere
    batches: bool = False  # the backend must compute gradients of mini-batches
    cpu: bool = False  # X must be in the memory of the host
    convex: bool = True  # the objective must be convex


@dataclass(eq=False)
class SolverState:
    """The state of a solver between two iterations, as arrays by name, for checkpoints.

    A solver that starts from the `saved` state of another run returns the same bits as an uninterrupted run. `saved` is
    empty for a new run. Before each call of `on_iteration` the solver sets `snapshot`, a function that returns the
    state after that iteration, even if it is called later; not if `recorded` is False, since small fits are shorter
    without. `stop` is the reason why the other run ended, if this one must end where it did.
    """

    saved: dict[str, Any] = field(default_factory=dict)
    snapshot: Callable[[], dict[str, Any]] = dict
    stop: Stop | None = None
    recorded: bool = True


class Penalised(Protocol):
    """What bounds on the gap need of an objective. `nbsoftmax.Objective` implements all protocols of this file."""

    penalty: AnyPenalty
    fit_intercept: bool
    dtype: np.dtype[Any]
    class_mass: Float64s  # sum_i t_ik / S
    convex: bool  # if not, `hvp` is that of a positive semidefinite upper bound of the Hessian


class Smooth(Penalised, Protocol):
    """A differentiable objective."""

    def value_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The objective and its gradient."""
        ...

    def hvp(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian at `params` times `v`."""
        ...

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian at `params`, without the penalty, (n_classes, n_features + 1)."""
        ...

    def moments(self) -> tuple[Float64s, Float64s]:
        """The weighted means and variances of the features, (n_features,) each."""
        ...

    def in_float64(self, *, hessian: bool = False) -> Self:
        """The same objective, with values and gradients computed in float64; if `hessian`, also everything else."""
        ...


class Curved(Smooth, Protocol):
    """A smooth objective that can also compute parts of its Hessian at `params`, without the penalty."""

    n_samples: int
    shape: tuple[int, int]
    n_threads: int | None

    def value(self, params: Float64s) -> float:
        """The objective."""
        ...

    def hvp_sums(self, params: Float64s) -> tuple[Callable[[Float64s], Float64s], float]:
        """For many products at `params`: a function of v that sums over rows, and what divides it; without penalty.

        `params` must not change while the function is in use.
        """
        ...

    def gram(self, params: Float64s) -> Float64s:
        """The mean of the diagonal blocks, (n_features + 1, n_features + 1)."""
        ...

    def feature_counts(self) -> NDArray[np.int64] | None:
        """How many numbers of each feature are stored, (n_features,); None for dense data."""
        ...

    def blocks(self, params: Float64s) -> Float64s:
        """The diagonal blocks, (n_classes, n_features + 1, n_features + 1)."""
        ...

    def intercept_curvature(self, params: Float64s) -> Float64s | None:
        """The Hessian over the intercepts, (n_classes, n_classes), where the last product was; None if not kept."""
        ...

    def hessian(self, params: Float64s) -> Float64s:
        """The whole Hessian, (n_classes, n_features + 1, n_classes, n_features + 1)."""
        ...

    def face_hessian(self, params: Float64s, free: NDArray[np.bool_]) -> Float64s | None:
        """The Hessian over the parameters in `free`, (n, n) in their order; None if that is not possible."""
        ...

    @property
    def sparse_rows(self) -> SparseRows | None:
        """The backend if X is sparse."""
        ...


class Packed(Curved, Protocol):
    """What the method `packed` of an objective returns if the problem is small: it makes whole Newton steps."""

    def newton_step(self, params: Float64s, *, step: bool = True) -> NewtonStep:
        """A Newton step from `params`, or only the objective and its gradient there."""
        ...

    def sharpness(self, params: Float64s) -> float:
        """The number q of `certificates.self_concordance_bound` at `params`."""
        ...


class Composite(Penalised, Protocol):
    """An objective whose penalty may have a part without a gradient."""

    def smooth_part(self, features: NDArray[np.int64] | None = None) -> Curved:
        """The objective without that part of the penalty, over all or some features."""
        ...


def evaluate(objective: Smooth, params: Float64s) -> Point:
    """The point at `params`, in one pass over the data."""
    return Point(params, *objective.value_and_grad(params))


def evaluate_if_finite(objective: Smooth, params: Float64s) -> Point:
    """The point at `params`; its value is inf if the parameters are not finite."""
    if np.isfinite(params).all():
        return evaluate(objective, params)
    return Point(params, np.inf, np.full_like(params, np.inf))


def least_subgradient(penalty: AnyPenalty, params: Float64s, grad: Float64s) -> Float64s:
    """The subgradient of least norm, where `grad` is the gradient of the smooth part."""
    subgradient = grad.copy()
    subgradient[:, :-1] = penalty.least_subgradient(params[:, :-1], grad[:, :-1])
    return subgradient


@dataclass(frozen=True, eq=False)
class Solution:
    """The result of a solver.

    Attributes
    ----------
    params : ndarray (n_classes, n_features + 1)
    objective, grad_norm : float
        At `params`. The norm is Euclidean; with l1 it is the norm of the smallest subgradient.
    gap : float
        Difference between `objective` and the minimum: a bound or an estimate.
    gap_kind : str
        "strong-convexity", "duality" or "self-concordance" if `gap` is a proven bound, "estimate" if it is the Newton
        decrement; "stationary" if the objective is not convex: then it is only how much a step would decrease it.
    n_iter : int
    converged : bool
        Whether `gap` is at most the larger of tol * |objective| and eps log K.
    stop_reason : StopReason
        Why the solver stopped.
    reason : str
        The reason as text.
    summary : str
        Human-readable summary of the work; "" if there is nothing to add to `n_iter`.
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
