"""Proximal Newton: the exact quadratic model of the loss plus l1, minimised over the features that take part.

    V -> g . (V - W) + 1/2 (V - W) . H (V - W) + l1 ||V||_1         (or grouped: + l1 sum_j ||V_:j||_2)

J. Lee, Y. Sun, M. Saunders, "Proximal Newton-type methods for minimizing composite functions", SIAM J. Optim. 24, 2014.
Features at 0 whose gradient is well below l1 stay there and cost one gradient an iteration (R. Tibshirani et al.,
"Strong rules for discarding predictors", JRSS B 74, 2012); the others are copied, and all else is done on them in
float64.

The model couples the classes: (K n)^2 numbers, seen only in products. Its steps are minima over a model that does not,
with M = factor * (the diagonal blocks of H) for H, found by coordinate descent on Gram matrices. Factor 2 is always
enough for M >= H, since sum_{k<l} a_k a_l (u_k - u_l)^2 <= 2 sum_k a_k (1 - a_k) u_k^2. The steps are accelerated (A.
Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM J. Imaging Sci. 2, 2009), and once the
zeros have settled, by the model's minimum in the plane of the last two steps: then they are conjugate gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels.coordinate import group_lasso, lasso
from nbsoftmax.solvers.base import (
    NOISE,
    Curved,
    OnIteration,
    Penalised,
    Requirements,
    Solution,
    SolverState,
    never_stop,
)
from nbsoftmax.solvers.stop_reason import Stop, StopReason
from nbsoftmax.solvers.tools.certificates import allowed_gap
from nbsoftmax.solvers.tools.duality import duality_gap, gap_but_for_intercept, loss_alone
from nbsoftmax.validation import Float64s

MAX_ITER = 500
NEAR = 0.9  # share of l1 from which on a feature's gradient makes it take part
LEAST_NEW = 50  # features that may join in an iteration; as many as are not 0, where those are more
GRAM_BYTES = 2**26  # Gram matrices larger together than this give way to one for all classes
MOST_PRODUCTS, MOST_SWEEPS = 200, 200  # of one model, of one step
SWEPT = 1e-8  # of a step's first sweep, in squares
LOOSEST, TIGHTEST = 1e-2, 1e-5  # what a model's last step promises, relative to its first
DECREASE, MOST_TRIALS = 1e-4, 30
ABSENT = -40.0  # the intercept of a class without samples, whose best is -inf: exp of it is nothing in float64


class Sparse(Penalised, Protocol):
    """What this solver asks for."""

    grouped: bool

    def smooth_part(self, features: NDArray[np.int64] | None = None) -> Curved:
        """The objective without l1, over all or some features."""
        ...

    def least_subgradient(self, params: Float64s, grad: Float64s) -> Float64s:
        """The subgradient of least norm, from the gradient of the smooth part."""
        ...


def solve(
    objective: Sparse,
    start: Float64s,
    *,
    tol: float,
    max_iter: int | None = None,
    on_iteration: OnIteration,
    state: SolverState | None = None,
) -> Solution:
    """Minimise a convex objective with l1 > 0; `tol` is relative to the objective, and certified by a duality gap."""
    memory = state or SolverState()
    saved = memory.saved
    smooth = objective.smooth_part()
    params = saved.get("params", start).copy()
    if objective.fit_intercept and not saved:
        absent = objective.class_mass <= 0
        params[absent, -1] = np.minimum(params[absent, -1], ABSENT)
    refined = smooth.in_float64()
    if saved.get("refined", False):
        smooth = refined
    value, grad = smooth.value_and_grad(params)
    model: Model | None = Model.restored(objective, saved) if saved else None
    n_iter, first = int(saved.get("n_iter", 0)), float(saved.get("first", 0.0))
    stop: Stop | None = None
    before = (float(saved["before"][0]), float(saved["before"][1])) if saved else (np.inf, np.inf)
    heard = n_iter  # the last iteration that `on_iteration` knows of
    while True:
        total = value + _sparsity(objective, params)
        norm = float(np.linalg.norm(objective.least_subgradient(params, grad)))
        if model is not None and n_iter > heard:
            memory.snapshot = partial(
                dict,
                params=params,
                n_iter=n_iter,
                first=first,
                before=np.array(before),
                refined=smooth is refined,
                **model.state(),
            )
            stop, heard = on_iteration(n_iter, params, total, norm), n_iter
        features = _features(objective, params, grad, None if model is None else model.features)
        if model is None or features is not model.features:
            model = Model(objective, features)
        # What decides is known in float64: the loss, and the gradient by the features that take part.
        at = params[:, model.columns]
        fine_value, fine_grad = model.part.value_and_grad(at)
        grad = grad.copy()
        grad[:, model.columns] = fine_grad
        loss, slope = loss_alone(objective, params, fine_value, grad)
        allowed = allowed_gap(total, tol, params.shape[0])
        gap, kind = np.inf, "estimate"
        if gap_but_for_intercept(objective, params, loss, slope) <= allowed:
            gap, kind = duality_gap(objective, smooth, params, loss, slope)
            if gap <= allowed and smooth is refined:
                return Solution(params, total, norm, gap, kind, n_iter, True, *(stop or StopReason.CONVERGED.stop()))
        now = (
            fine_value + _sparsity(objective, params),
            float(np.linalg.norm(objective.least_subgradient(at, fine_grad))),
        )
        if stop is None and n_iter >= (max_iter or MAX_ITER):
            stop = StopReason.MAX_ITER.stop(n_iter=n_iter, unit="iterations")
        found = None
        if gap > allowed and stop is None and (now[0] < before[0] or now[1] < before[1]):
            point, promised, hoped = model.minimise(at, fine_grad, first)
            first, before = max(first, hoped), now
            found = _search(objective, model.part, at, fine_value, point, promised)
        if found is None and smooth is refined:
            break
        if found is None:  # the fit goes on, and is judged, with more accurate sums
            smooth = refined
            value, grad = smooth.value_and_grad(params)
            before = (np.inf, np.inf)
            stop = None if stop is not None and stop.reason is StopReason.MAX_ITER else stop
            continue
        params = params.copy()
        params[:, model.columns] = found
        value, grad = smooth.value_and_grad(params)
        n_iter += 1
    gap, kind = duality_gap(objective, smooth, params, loss, slope)
    return Solution(params, total, norm, gap, kind, n_iter, gap <= allowed, *(stop or StopReason.STUCK.stop()))


def _sparsity(objective: Sparse, params: Float64s) -> float:
    return objective.l1 * float(objective.norms(params[:, :-1]).sum())


def _change(objective: Sparse, before: Float64s, after: Float64s) -> float:
    """How much a move adds to the l1 term, in all digits where a difference of sums or of norms would keep a few.

    ||v|| - ||w|| = (v - w) . (v + w) / (||v|| + ||w||)
    """
    v, w = after[:, :-1], before[:, :-1]
    products, sizes = (v - w) * (v + w), objective.norms(v) + objective.norms(w)
    if objective.grouped:
        products = products.sum(axis=0)
    return objective.l1 * float(np.divide(products, sizes, out=np.zeros_like(sizes), where=sizes > 0).sum())


def _features(
    objective: Sparse, params: Float64s, grad: Float64s, present: NDArray[np.int64] | None
) -> NDArray[np.int64]:
    """Features that take part: those not 0, and those at 0 with the largest gradients; `present` where it will do."""
    used = np.any(params[:, :-1] != 0, axis=0)
    pull = np.atleast_2d(objective.norms(grad[:, :-1])).max(axis=0)
    pull[used] = np.inf
    n_used = int(used.sum())
    wanted = np.argsort(-pull, kind="stable")[: n_used + max(LEAST_NEW, n_used)]
    wanted = wanted[(pull[wanted] > NEAR * objective.l1) | (wanted == wanted[0])]  # never none at all
    if present is not None and np.isin(wanted, present).all() and present.size <= 2 * max(wanted.size, LEAST_NEW):
        return present
    return np.sort(wanted)


class Model:
    """The quadratic model of the loss over some features, and how it is minimised."""

    def __init__(self, objective: Sparse, features: NDArray[np.int64]) -> None:
        self.objective, self.features = objective, features
        self.part = objective.smooth_part(features)
        self.columns = np.append(features, -1)
        self._metric: Metric | None = None
        self._made_at, self._each = np.empty((0, 0)), False  # where the metric was made, and whether for each class
        # One Gram matrix for all classes is cheap; one for each costs as much as about n / 6 products, and is made when
        # so many have been spent, where memory allows.
        n_classes, n = objective.class_mass.size, features.size
        self._products, self._worth = 0, n / 6 if 8 * n_classes * (n + 1) ** 2 <= GRAM_BYTES else np.inf

    def state(self) -> dict[str, Any]:
        """What `restored` needs, of a model that has been minimised."""
        factor = np.nan if self._metric is None else self._metric.factor
        return {
            "features": self.features,
            "made_at": self._made_at,
            "each": self._each,
            "factor": factor,
            "products": self._products,
        }

    @classmethod
    def restored(cls, objective: Sparse, state: dict[str, Any]) -> Model:
        """The model of a state, its metric made again where it was made."""
        model = cls(objective, state["features"])
        model._measure(state["made_at"], each=bool(state["each"])).factor = float(state["factor"])
        model._products = int(state["products"])
        return model

    def _measure(self, at: Float64s, *, each: bool) -> Metric:
        grams = self.part.blocks(at) if each else self.part.gram(at)[None]
        self._metric, self._made_at, self._each = Metric(self.objective, grams, at.shape[0]), at, each
        return self._metric

    def minimise(self, at: Float64s, grad: Float64s, first: float) -> tuple[Float64s, float, float]:
        """About the minimum of the model made `at` a point, how far it is below, and what its first step promised.

        `first` is the largest such promise so far: the smaller this one beside it, the better is the model, and the
        closer is its minimum approached.
        """
        objective = self.objective
        metric = self._metric or self._measure(at, each=False)
        if self._products > self._worth:
            metric, self._products = self._measure(at, each=True), 0
        point, slope = at, grad  # `slope`: the model's gradient at `point`
        last: tuple[Float64s, Float64s] | None = None  # the last step, and its product with H
        hoped, gained, accuracy, age = 0.0, 0.0, LOOSEST, 1.0
        for n in range(MOST_PRODUCTS):
            older = (1 + np.sqrt(1 + 4 * age**2)) / 2
            ahead = 0.0 if last is None else (age - 1) / older
            begin, begin_slope = point, slope
            if last is not None and ahead > 0:
                begin, begin_slope = point + ahead * last[0], slope + ahead * last[1]
            new, promised, square = metric.step(begin, begin_slope)
            if not 0 < promised < np.inf or promised <= accuracy * max(hoped, gained) or not np.isfinite(new).all():
                break
            if n == 0:
                hoped = promised
                accuracy = min(LOOSEST, max(TIGHTEST, hoped / max(first, hoped)))
            step = new - begin
            product = self.part.hvp(at, step)
            self._products += 1
            curvature = float(np.vdot(step, product))
            enough = not curvature > square > 0
            if not enough:
                metric.factor *= 1.05 * curvature / square
            if last is not None and ahead > 0:
                step, product = new - point, product + ahead * last[1]
            change = _change(objective, point, new)
            gain = -(float(np.vdot(slope, step)) + float(np.vdot(step, product)) / 2 + change)
            if not gain > 0:
                if ahead == 0 and enough:
                    break  # nothing left but rounding errors
                last, age = None, 1.0
                continue
            point, slope, gained, age = new, slope + product, gained + gain, older
            moved = None if last is None else self._in_the_plane(point, slope, (step, product), last)
            if moved is not None:
                extra, extra_product, extra_gain = moved
                point, step, gained, age = point + extra, step + extra, gained + extra_gain, 1.0
                slope, product = slope + extra_product, product + extra_product
            last = step, product
        return point, gained, hoped

    def _in_the_plane(
        self, point: Float64s, slope: Float64s, one: tuple[Float64s, Float64s], two: tuple[Float64s, Float64s]
    ) -> tuple[Float64s, Float64s, float] | None:
        """The best move in the plane of two steps, its product and gain; None if it leaves a 0 or gains nothing."""
        objective = self.objective
        zero = np.broadcast_to(objective.norms(point[:, :-1]) == 0, point[:, :-1].shape)
        if any(step[:, :-1][zero].any() for step, _ in (one, two)):
            return None
        steepest = objective.least_subgradient(point, slope)
        b = -np.array([np.vdot(steepest, step) for step, _ in (one, two)])
        A = np.array([[np.vdot(s, product) for s, _ in (one, two)] for _, product in (one, two)])
        weights = np.linalg.lstsq((A + A.T) / 2, b, rcond=1e-10)[0] if np.isfinite(A).all() else np.zeros(2)
        move = weights[0] * one[0] + weights[1] * two[0]
        product = weights[0] * one[1] + weights[1] * two[1]
        change = _change(objective, point, point + move)
        gain = -(float(np.vdot(slope, move)) + float(np.vdot(move, product)) / 2 + change)
        return (move, product, gain) if gain > 0 else None


class Metric:
    """M: for each class `factor` times a Gram matrix of the features and the intercept, and l2.

    The intercept, which has no penalty, is eliminated: what is left are Gram matrices of features about their weighted
    means, where a feature far from 0 is no longer all but collinear with it.
    """

    def __init__(self, objective: Sparse, grams: Float64s, n_classes: int) -> None:
        self.objective = objective
        self.factor = n_classes / (n_classes - 1)  # M >= H where the probabilities are equal; raised where it is not
        cross, self._corner = grams[:, :-1, -1], grams[:, -1, -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            self._means = np.where(self._corner[:, None] > 0, cross / self._corner[:, None], 0.0)
        self._grams = grams[:, :-1, :-1] - self._means[:, :, None] * cross[:, None, :]
        diagonal = np.einsum("kjj->kj", self._grams)
        # A constant feature has no curvature left but rounding errors.
        flat = diagonal <= NOISE * np.einsum("kjj->kj", grams)[:, :-1]
        self._grams[np.broadcast_to(flat[:, :, None] | flat[:, None, :], self._grams.shape)] = 0.0

    def step(self, point: Float64s, slope: Float64s) -> tuple[Float64s, float, float]:
        """The minimum of slope . p + 1/2 p . M p + the penalty of point + p, what it promises to gain, and p . M p."""
        objective = self.objective
        new = point.copy()
        # Eliminated: b_k moves by -(slope_b / (factor corner) + means . move).
        own = slope[:, -1]
        scale = self.factor * self._corner
        with np.errstate(divide="ignore", invalid="ignore"):
            alone = np.where(scale > 0, own / scale, 0.0)
        start = slope[:, :-1] - self._means * own[:, None]
        residual, coef = start.copy(), np.array(point[:, :-1], order="C")
        before = coef.copy()
        descend = group_lasso if objective.grouped else lasso
        descend(self._grams, self.factor, objective.l2, objective.l1, residual, coef, MOST_SWEEPS, SWEPT)
        move = coef - before
        new[:, :-1] = coef
        new[:, -1] -= alone + (self._means * move).sum(axis=1)
        square = float(np.vdot(move, residual - start)) + float(np.vdot(own, alone))
        change = _change(objective, point, new)
        promised = -(float(np.vdot(start, move)) - float(np.vdot(own, alone)) + square / 2 + change)
        return new, promised, square


def _search(
    objective: Sparse, part: Curved, at: Float64s, value: float, point: Float64s, promised: float
) -> Float64s | None:
    """The first point at lengths 1, 1/2 ... towards `point` that keeps enough of the promise; None if none does."""
    total, length = value + _sparsity(objective, at), 1.0
    for _ in range(MOST_TRIALS):
        trial = point if length == 1 else at + length * (point - at)
        reached = part.value(trial) + _sparsity(objective, trial) if np.isfinite(trial).all() else np.inf
        if reached <= total - DECREASE * length * promised + NOISE * abs(total):
            return None if np.array_equal(trial, at) else trial
        length /= 2
    return None


@dataclass(frozen=True)
class ProxNewton:
    """Proximal Newton for objectives with an l1 penalty, by coordinate descent on quadratic models."""

    name: ClassVar[str] = "prox-newton"
    requires: ClassVar[Requirements] = Requirements(smooth=False)

    def solve(
        self,
        objective: Sparse,
        start: Float64s,
        *,
        tol: float,
        max_iter: int | None = None,
        on_iteration: OnIteration = never_stop,
        state: SolverState | None = None,
        random_state: int = 0,
    ) -> Solution:
        """Minimise a convex objective with l1 > 0; `tol` is relative to the objective."""
        return solve(objective, start, tol=tol, max_iter=max_iter, on_iteration=on_iteration, state=state)
