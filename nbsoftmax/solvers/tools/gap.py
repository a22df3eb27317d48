"""How far an objective is above its minimum: a bound where one exists, an estimate otherwise.

J - J* <= ||grad J||^2 / (2 l2)        where J is l2-strongly convex: l2 > 0 and no free intercept
J - J* <= J - D                        with l2 > 0 and an intercept: D a value of the dual, see `duality`
J - J* ~  grad J . H^-1 grad J / 2     elsewhere: the Newton decrement, H^-1 grad J by conjugate gradients

The bounds know of no curvature but l2. On badly scaled data they are within tol only where the gradient is 0 but for
rounding errors, or not even there; a fit that has come to where the estimate is within tol goes on for a while until
they are, and says which of the two it has.

What a solver believes of its own progress is only a hint of when to look: a quasi-Newton memory does not know the
directions of small curvature, which are those in which most of the distance lies.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.linalg import eigvalsh_tridiagonal

from nbsoftmax.solvers.base import NOISE, Smooth
from nbsoftmax.solvers.tools.duality import duality_gap, loss_alone
from nbsoftmax.validation import Float64s

LEAST_PRODUCTS, MOST_PRODUCTS = 20, 500  # for the judge: as many as iterations so far, where those are more
NOTHING = np.finfo(float).eps ** 2  # squares of residuals below this share are rounding errors
ROUNDED = 1e-8  # a negative square of less than this share is a rounding error of the residual, of more one of M^-1
SETTLED = 0.1  # the later half of the products has added at most this share of the decrement


def small_enough(gap: float, value: float, tol: float, n_classes: int) -> bool:
    """The one meaning of convergence."""
    return gap <= allowance(value, tol, n_classes)


def allowance(value: float, tol: float, n_classes: int) -> float:
    """The largest gap at an objective of `value` that is small enough.

    Never less than eps log K: the objective at 0 is log K, and float64 resolves no smaller differences beside it.
    """
    return max(tol * abs(value), float(np.finfo(float).eps) * math.log(n_classes))


def bound(objective: Smooth, params: Float64s, value: float, grad: Float64s) -> tuple[float, str] | None:
    """A bound on the gap at `params`, and its kind; None where the objective has none.

    With an intercept it costs a gradient, unless the intercept is at its own optimum.
    """
    if objective.l2 == 0:
        return None
    if not objective.fit_intercept:
        return rough_bound(objective, grad), "strong-convexity"
    gap, kind = duality_gap(objective, objective, params, *loss_alone(objective, params, value, grad))
    return (gap, kind) if kind == "duality" else None


def rough_bound(objective: Smooth, grad: Float64s) -> float:
    """Without an intercept `bound`; with one a likeness, by the gradient alone. inf where there is none."""
    if objective.l2 == 0:
        return np.inf
    ridge = float(np.vdot(grad[:, :-1], grad[:, :-1])) / (2 * objective.l2)
    if not objective.fit_intercept:
        return ridge
    with np.errstate(divide="ignore", invalid="ignore"):
        return ridge + float(np.max(np.where(grad[:, -1] > 0, grad[:, -1] / objective.class_mass, 0.0)))


class Prover:
    """Finds bounds within what is allowed, without many that are not: with an intercept each costs a gradient."""

    def __init__(self, objective: Smooth, harder: float = 1.0) -> None:
        self.objective = objective
        self.harder = harder  # how many times its rough likeness a bound may be; inf where none was to be had
        if objective.l2 == 0 or (objective.fit_intercept and not (objective.class_mass > 0).all()):
            self.harder = np.inf  # the intercept of a class without samples has no optimum

    def may_prove(self) -> bool:
        """Whether there is hope for a bound."""
        return self.harder < np.inf

    def proof(
        self, params: Float64s, value: float, grad: Float64s, allowed: float, *, anyway: bool = False
    ) -> tuple[float, str] | None:
        """A bound on the gap at `params` that is within what is `allowed`, and its kind; None where none is known.

        It is looked for only where its rough likeness makes it likely, or `anyway`.
        """
        if self.objective.l2 > 0 and 0 <= value <= allowed:
            return value, "duality"  # no minimum is below 0
        rough = rough_bound(self.objective, grad)
        if not (self.may_prove() and (anyway or rough * self.harder <= allowed)):
            return None
        known = bound(self.objective, params, value, grad)
        if known is not None and known[0] <= allowed:
            return known
        self.harder = np.inf if known is None else max(self.harder, known[0] / max(rough, np.finfo(float).tiny))
        return None


def newton_decrement(
    objective: Smooth,
    params: Float64s,
    grad: Float64s,
    *,
    most: int,
    enough: float = np.inf,
    precondition: Callable[[Float64s], Float64s] = lambda residual: residual,
) -> tuple[float, bool]:
    """Half of grad . H^-1 grad at `params`, and whether it has settled within `most` products.

    Conjugate gradients approach it from below, so the answer "more than `enough`" is early and cheap. What the later
    half of the products has added is added once more, for what is still to come.
    """
    total, rest = 0.0, 0.0

    def free(v: Float64s) -> Float64s:
        return without_shift(objective, v)

    for n, at in enumerate(conjugate_gradients(objective, params, grad, precondition, free), 1):
        total, rest = at.total, at.rest
        if not total <= enough or total == np.inf:
            return total, False
        if n >= LEAST_PRODUCTS and at.tail <= SETTLED * total:
            return total + at.tail, True
        if n == most and rest > NOTHING:
            return total, False
    return total, bool(np.isfinite(rest))


@dataclass(frozen=True, eq=False)
class Progress:
    """Where conjugate gradients are after a product."""

    direction: Float64s  # -H^-1 grad, so far
    total: float  # half of grad . H^-1 grad, so far; inf where the curvature is 0 as far as float64 can tell
    tail: float  # what the later half of the products has added to it
    rest: float  # square of the residual's norm, that of the preconditioner, relative to the gradient's
    residual: Float64s  # the gradient after the step, as far as H tells
    search: Float64s  # the last direction that was looked along
    product: Float64s  # H times that
    square: float = np.inf  # that norm's square itself: half of residual . M^-1 residual bounds what M = H leaves to do
    tridiagonal: tuple[list[float], list[float]] = ([], [])  # H as the directions so far see it, preconditioned

    def least_curvature(self) -> float:
        """The smallest eigenvalue of M^-1 H that the products have shown: from above, and soon close."""
        return float(eigvalsh_tridiagonal(*self.tridiagonal, select="i", select_range=(0, 0))[0])


def conjugate_gradients(
    objective: Smooth,
    params: Float64s,
    grad: Float64s,
    precondition: Callable[[Float64s], Float64s],
    project: Callable[[Float64s], Float64s],
) -> Iterator[Progress]:
    """Solve H d = -grad at `params`, a Hessian-vector product for each value, until no residual is left.

    `project` takes out of a gradient what is only rounding errors, along directions in which there is nothing to do.
    """
    residual = project(grad)
    direction = np.zeros_like(grad)
    search = precondition(residual)
    square = first = float(np.vdot(residual, search))
    gains: list[float] = []
    diagonal: list[float] = []
    beside: list[float] = []
    share = 0.0  # of the last search direction in the next
    length = 1.0
    while square > NOTHING * first:
        product = project(objective.hvp(params, search))
        curvature = float(np.vdot(search, product))
        if not 0 < curvature < np.inf:  # flat: nothing bounds the distance
            yield Progress(direction if gains else -search, np.inf, np.inf, np.inf, residual, search, product)
            return
        if gains:
            beside.append(math.sqrt(share) / length)
        diagonal.append(curvature / square + share / length)  # the next length is the inverse of the first part
        length = square / curvature
        direction = direction - length * search
        residual = residual - length * product
        gains.append(length * square / 2)
        changed = precondition(residual)
        square, last = float(np.vdot(residual, changed)), square
        if not -ROUNDED * first <= square < np.inf:  # rounding errors have made M^-1 indefinite, or overflow
            yield Progress(direction, np.inf, np.inf, np.inf, residual, search, product)
            return
        square = max(square, 0.0)  # of a residual that is rounding errors
        share = square / last
        tail = sum(gains[len(gains) // 2 :])
        spectrum = (diagonal, beside)
        yield Progress(direction, sum(gains), tail, square / first, residual, search, product, square, spectrum)
        search = changed + share * search


def without_shift(objective: Smooth, v: Float64s) -> Float64s:
    """A gradient without its part along the shifts that leave softmax as it is, where it has only rounding errors."""
    v = v.copy()
    free = v if objective.l2 == 0 else v[:, -1:]  # l2 holds the coefficients, nothing holds the intercepts
    free -= free.mean(axis=0)
    return v


class Judge:
    """Says whether a solver has converged, and how far from the minimum it ended.

    `sums` gives values and gradients, and `objective`, by default the same, Hessian-vector products.
    """

    def __init__(
        self, objective: Smooth, tol: float, state: dict[str, Any] | None = None, sums: Smooth | None = None
    ) -> None:
        self.objective, self.tol = objective, tol
        state = state or {}
        self.next_look = int(state.get("next_look", 0))  # the iteration before which none is worth it
        self.prover = Prover(sums or objective, float(state.get("harder", 1.0)))
        self.proof_by = int(state.get("proof_by", -1))  # the last one that waits for a proof; -1: none is wanting yet
        self.near = (float(state.get("near_value", 0.0)), float(state.get("near_gap", 0.0)))  # what was known by then
        self.precondition: Callable[[Float64s], Float64s] = lambda residual: residual
        self._seen: tuple[Float64s, float, str] | None = None  # where the gap is known, what it is, and its kind
        self._refined = False  # just now

    def refine(self, objective: Smooth, sums: Smooth) -> None:
        """Use these, of which at least `sums` is more accurate, from now on, and look at once."""
        self.objective, self.prover = objective, Prover(sums)
        self.next_look, self.near, self._seen, self._refined = 0, (np.nan, np.nan), None, True

    def state(self) -> dict[str, Any]:
        """What a new judge needs to go on."""
        near = dict(zip(("near_value", "near_gap"), self.near, strict=True))
        return {"next_look": self.next_look, "proof_by": self.proof_by, "harder": self.prover.harder, **near}

    def converged(self, n_iter: int, params: Float64s, value: float, grad: Float64s, hint: float) -> bool:
        """Whether the gap at `params` is within tol; `hint` is what the solver itself believes of it."""
        allowed = self._allowed(value)
        proven = self.prover.proof(params, value, grad, allowed, anyway=self._refined)
        self._refined = False
        if proven is not None:
            self._seen = (params, *proven)
            return True
        wait = max(self.next_look, self.proof_by if self.prover.may_prove() else 0)
        if n_iter < wait or not hint <= allowed:
            return False
        if n_iter > 0:  # looks that fail cost at most a share of the fit
            self.next_look = n_iter + max(10, n_iter // 4)
        most = max(MOST_PRODUCTS, n_iter)
        distance, settled = newton_decrement(
            self.objective, params, grad, most=most, enough=allowed, precondition=self.precondition
        )
        if not (settled and distance <= allowed):
            return False
        self._seen, self.near = (params, distance, "estimate"), (value, distance)
        if self.proof_by < 0 < n_iter and self.prover.may_prove():
            self.proof_by = n_iter + max(5, n_iter)
            known = self.prover.proof(params, value, grad, allowed, anyway=True)
            self._seen = self._seen if known is None else (params, *known)
            return known is not None
        return True

    def _allowed(self, value: float) -> float:
        return allowance(value, self.tol, self.objective.class_mass.size)

    def gap(self, n_iter: int, params: Float64s, value: float, grad: Float64s) -> tuple[float, str]:
        """The gap at `params`, and its kind. What has not settled is never reported as within tol."""
        seen = self._seen if self._seen is not None and self._seen[0] is params else None
        if seen is not None and seen[2] != "estimate":
            return seen[1:]
        allowed = self._allowed(value)
        known = bound(self.prover.objective, params, value, grad)
        if known is not None and known[0] <= allowed:
            return known
        if seen is not None:
            found = seen[1], True
        elif self.proof_by >= 0 and np.isfinite(self.near).all():  # known some steps ago, and changed by these
            found = max(self.near[1] + value - self.near[0], NOISE * abs(value)), True
        else:
            most = max(LEAST_PRODUCTS, n_iter)  # no more work for the report than for the fit
            found = newton_decrement(self.objective, params, grad, most=most, precondition=self.precondition)
        return reported(known, *found, allowed)


def reported(known: tuple[float, str] | None, estimate: float, settled: bool, allowed: float) -> tuple[float, str]:
    """The gap to report where no proof was found, and its kind; `known` is a bound, or None.

    The bound, if it is within what is allowed after all, or where the estimate has not settled; what has not is never
    reported as within.
    """
    if known is not None and (not settled or known[0] <= allowed):
        return known
    return (estimate if settled or estimate > allowed else np.inf), "estimate"
