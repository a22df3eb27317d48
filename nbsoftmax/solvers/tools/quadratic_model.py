"""The quadratic model of proximal Newton, and its minimisation by accelerated steps in a variable metric.

    g . p + 1/2 p . H p + R(W + p)              over p, with H known only through products
    M = factor * (the diagonal blocks of H)     in place of H, for each step

With damping, both have one more positive diagonal over the coefficients and the intercept of centred features.
With factor 2, M >= H always, since sum_{k<l} a_k a_l (u_k - u_l)^2 <= 2 sum_k a_k (1 - a_k) u_k^2. The steps are
those of A. Beck, M. Teboulle, "A fast iterative shrinkage-thresholding algorithm", SIAM J. Imaging Sci. 2 (2009). If
the last steps leave the zeros unchanged, the method also moves to the model's minimum in the plane of the last two
steps, which then are those of conjugate gradients. H does not depend on the same shift of all classes: without damping,
each step also takes the shift with the least penalty.
"""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from nbsoftmax.kernels.coordinate import group_lasso, lasso
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.penalties import AnyPenalty, FeaturePenalty, GeneralPenalty
from nbsoftmax.penalties.class_shift import least_at
from nbsoftmax.solvers.base import NOISE, Curved, least_subgradient
from nbsoftmax.solvers.tools.face_newton import FaceNewton
from nbsoftmax.validation import Float64s

# Limits of coordinate descent in a step. Steps to the minimum, with sweeps until the squared move of the last one is
# SWEEP_TOL times that of the first, are fewer, but take more time: a fit of 20,000 x 784 x 10, C = 1, took 265 s with
# them, and 45 s with 8 sweeps (2-core Zen 3). Small problems, whose sweeps take less time than the rest of a step, have
# up to MOST_SWEEPS: about SMALL_WORK multiply-adds in total. Numbers of sweeps are even, see `kernels.coordinate`: a
# fit of digits, C = 100, took 2563 steps with one sweep forwards and one backwards, and 11097 with two forwards.
LEAST_SWEEPS, MOST_SWEEPS, SWEEP_TOL, SMALL_WORK = 8, 200, 1e-8, 2**19
MOST_PRODUCTS = 200  # Hessian-vector products of one model
LOOSEST, TIGHTEST = 1e-2, 1e-5  # predicted decrease of a model's last step, relative to that of its first
# After so many steps that keep all signs, the next one ends at the minimum over the coefficients that are not 0. What
# is left are coefficients that leave 0, whose steps gain little each: they end later.
SAME_SIGNS, AFTER_FACE = 5, 1e-10


class ModelMinimum(NamedTuple):
    """The approximate minimum of a quadratic model."""

    params: Float64s
    decrease: float  # predicted, from the point where the model was made
    first_decrease: float  # that of the first step
    settled: bool  # whether the last step's predicted decrease was small enough


class QuadraticModel:
    """The quadratic model at `params` plus the penalty, and its minimisation by accelerated steps."""

    def __init__(
        self,
        part: Curved,
        penalty: AnyPenalty,
        metric: VariableMetric,
        params: Float64s,
        grad: Float64s,
        *,
        exact: bool = False,
    ) -> None:
        self._part, self._penalty, self._metric, self._made_at = part, penalty, metric, params
        self._point, self._slope = params, grad  # the current point, and the model's gradient there
        self._last: tuple[Float64s, Float64s] | None = None  # the last step, and its product with H
        self._decrease, self._age = 0.0, 1.0  # `_age` is t of FISTA
        self.n_products = 0
        by_weight = isinstance(penalty, FeaturePenalty) and penalty.by_weight
        self._face = FaceNewton(part, params) if exact and by_weight and not metric.damping.any() else None
        self._signs, self._n_same = np.empty((0, 0)), 0  # of the coefficients, and steps that have not changed them

    def minimise(self, largest: float, most: float) -> ModelMinimum:
        """Take steps until their predicted decrease is small, or the model's is more than `most`."""
        first, accuracy, settled = 0.0, LOOSEST, False
        for n in range(MOST_PRODUCTS):
            older = (1 + np.sqrt(1 + 4 * self._age**2)) / 2
            ahead = 0.0 if self._last is None else (self._age - 1) / older
            begin, slope = self._point, self._slope
            if self._last is not None and ahead > 0:
                begin, slope = begin + ahead * self._last[0], slope + ahead * self._last[1]
                if not self._penalty.allows(begin[:, :-1]):
                    begin, slope, ahead = self._point, self._slope, 0.0
            step = self._metric.step(begin, slope)
            finite = np.isfinite(step.params).all()
            if not 0 < step.decrease < np.inf or step.decrease <= accuracy * max(first, self._decrease) or not finite:
                settled = bool(step.decrease < np.inf and finite)
                break
            if self._decrease > most:
                break
            if n == 0:
                first = step.decrease
                accuracy = min(LOOSEST, max(TIGHTEST, first / max(largest, first)))
            if not self._accept(step, begin, ahead, older):
                settled = True  # the rest is rounding errors
                break
            if self._face is not None and self._keeps_signs() and self._to_minimum_of_face(self._face):
                accuracy = AFTER_FACE
        return ModelMinimum(self._point, self._decrease, first, settled)

    def _accept(self, metric_step: MetricStep, begin: Float64s, ahead: float, older: float) -> bool:
        """Take a step if it decreases the model, otherwise restart the acceleration; False if no step does."""
        new = metric_step.params
        step = new - begin
        product = self._metric.damped(self._part.hvp(self._made_at, step), step)
        self.n_products += 1
        curvature = float(np.vdot(step, product))
        majorised = not curvature > metric_step.square > 0
        if not majorised:
            self._metric.factor *= 1.05 * curvature / metric_step.square
        if self._last is not None and ahead > 0:
            step, product = new - self._point, product + ahead * self._last[1]
        gain = self._gain(step, product, new)
        if not gain > 0:
            self._last, self._age = None, 1.0
            return ahead > 0 or not majorised
        self._point, self._slope, self._decrease, self._age = new, self._slope + product, self._decrease + gain, older
        moved = None if self._last is None else self._in_the_plane((step, product), self._last)
        if moved is not None:
            extra, extra_product, extra_gain = moved
            step, product, self._age = step + extra, product + extra_product, 1.0
            self._point, self._slope = self._point + extra, self._slope + extra_product
            self._decrease += extra_gain
        self._last = step, product
        return True

    def _keeps_signs(self) -> bool:
        """Whether the last steps have not changed the signs of the coefficients."""
        signs = np.sign(self._point[:, :-1])
        self._n_same = self._n_same + 1 if np.array_equal(signs, self._signs) else 0
        self._signs = signs
        return self._n_same >= SAME_SIGNS

    def _to_minimum_of_face(self, face: FaceNewton) -> bool:
        """Move to the minimum over the coefficients that are not 0, if its Hessian pays; whether it gained anything."""
        if not face.pays(self._point, self.n_products):
            return False
        self._n_same = 0
        new = face.move(self._point, least_subgradient(self._penalty, self._point, self._slope))
        if new is None or not np.isfinite(new).all():
            self._face = None
            return False
        step = new - self._point
        product = self._part.hvp(self._made_at, step)
        self.n_products += 1
        gain = self._gain(step, product, new)
        if gain > 0:
            self._point, self._slope, self._decrease = new, self._slope + product, self._decrease + gain
            self._last, self._age = None, 1.0
        return gain > 0

    def _gain(self, step: Float64s, product: Float64s, new: Float64s) -> float:
        """The decrease of the model by a step from the current point to `new`."""
        change = self._penalty.nonsmooth_change(self._point[:, :-1], new[:, :-1])
        return -(float(np.vdot(self._slope, step)) + float(np.vdot(step, product)) / 2 + change)

    def _in_the_plane(
        self, one: tuple[Float64s, Float64s], two: tuple[Float64s, Float64s]
    ) -> tuple[Float64s, Float64s, float] | None:
        """The best move in the plane of two steps, its product and gain; None if it changes a 0 or gains nothing."""
        penalty, point = self._penalty, self._point
        kinks = penalty.kinks(point[:, :-1])
        if any(step[:, :-1][kinks].any() for step, _ in (one, two)):
            return None
        steepest = least_subgradient(penalty, point, self._slope)
        b = -np.array([np.vdot(steepest, step) for step, _ in (one, two)])
        A = np.array([[np.vdot(s, product) for s, _ in (one, two)] for _, product in (one, two)])
        weights = np.linalg.lstsq((A + A.T) / 2, b, rcond=1e-10)[0] if np.isfinite(A).all() else np.zeros(2)
        move = weights[0] * one[0] + weights[1] * two[0]
        product = weights[0] * one[1] + weights[1] * two[1]
        gain = self._gain(move, product, point + move)
        return (move, product, gain) if gain > 0 else None


class MetricStep(NamedTuple):
    """The step towards the minimum of the model with M in place of H."""

    params: Float64s
    decrease: float  # predicted
    square: float  # p . M p of the step p


class Curvature(Protocol):
    """The diagonal blocks of the Hessian, or one matrix in their place, without the intercept.

    The intercept, which has no penalty, is eliminated. What remains is the curvature of features centred at their
    weighted means, so a feature with a large mean is not nearly collinear with the intercept.
    """

    means: Float64s  # (1 or K, n_features), of the features
    corner: Float64s  # (1 or K,), the curvature along the intercept

    def minimise(self, penalty: AnyPenalty, factor: float, damping: Float64s, slope: Float64s, coef: Float64s) -> float:
        """Move `coef` towards the minimum of slope . p + 1/2 p . M p + the penalty at coef + p; returns p . M p."""
        ...


class GramCurvature:
    """Gram matrices of the features and the intercept, (1 or K, n_features + 1, n_features + 1).

    Attributes
    ----------
    grams : ndarray (1 or K, n_features, n_features)
        Those of the centred features.
    """

    def __init__(self, grams: Float64s, n_threads: int | None) -> None:
        self._n_threads = n_threads
        cross, self.corner = grams[:, :-1, -1], grams[:, -1, -1]
        with np.errstate(divide="ignore", invalid="ignore"):
            self.means = np.where(self.corner[:, None] > 0, cross / self.corner[:, None], 0.0)
        self.grams = grams[:, :-1, :-1] - self.means[:, :, None] * cross[:, None, :]
        diagonal = np.einsum("kjj->kj", self.grams)
        # The remaining curvature of a constant feature consists of rounding errors.
        flat = diagonal <= NOISE * np.einsum("kjj->kj", grams)[:, :-1]
        self.grams[np.broadcast_to(flat[:, :, None] | flat[:, None, :], self.grams.shape)] = 0.0

    def mean_squares(self, move: Float64s) -> Float64s:
        """The mean square of the changes of each class's logits by a move, (K,), weighted by h a_k (1 - a_k).

        The sum of these weights is the curvature along the intercept: without an intercept, the results are inf.
        """
        coef, intercept = move[:, :-1], move[:, -1]
        spread = np.einsum("kj,kj->k", np.matmul(coef[:, None], self.grams)[:, 0], coef)
        with np.errstate(divide="ignore", invalid="ignore"):
            spread = np.where(self.corner > 0, spread / self.corner, np.inf)
        middle: Float64s = intercept + (self.means * coef).sum(axis=1)
        return spread + middle**2

    def minimise(self, penalty: AnyPenalty, factor: float, damping: Float64s, slope: Float64s, coef: Float64s) -> float:
        """Move `coef` towards the minimum of the model plus the penalty; returns p . M p of the move p."""
        residual, before = slope.copy(), coef.copy()
        if isinstance(penalty, GeneralPenalty):
            penalty.minimise_model(self.grams, factor, damping, residual, coef)
        else:
            l1s, l2s = penalty.strengths(coef.shape[1])
            work = max(1, coef.shape[1] * coef.size)  # of a sweep, in multiply-adds
            n_sweeps = max(LEAST_SWEEPS, min(MOST_SWEEPS, SMALL_WORK // work // 2 * 2))
            problem = self.grams, factor, l2s + damping, l1s, *penalty.limits(coef.shape), residual, coef
            if penalty.by_weight:
                # Only small problems take more than LEAST_SWEEPS, and a second thread would slow them down.
                launch(lasso, len(coef), LEAST_SWEEPS * work, self._n_threads, *problem, n_sweeps, SWEEP_TOL)
            else:
                group_lasso(*problem, n_sweeps, SWEEP_TOL)
        return float(np.vdot(coef - before, residual - slope))


class VariableMetric:
    """M: for each class, `factor` times a curvature, plus the curvature of the penalty and the damping."""

    def __init__(self, penalty: AnyPenalty, curvature: Curvature, n_classes: int) -> None:
        self._penalty, self.curvature = penalty, curvature
        self._shifted = None if isinstance(penalty, GeneralPenalty) else penalty
        self.factor = n_classes / (n_classes - 1)  # M >= H if all probabilities are equal; increased if it is not
        self.damping = np.zeros(curvature.means.shape[1] + 1)  # of each coefficient, and of the eliminated intercept

    def damped(self, product: Float64s, p: Float64s) -> Float64s:
        """Add the product of the damping and p to `product`, (n_classes, n + 1), in place."""
        if self.damping.any():
            intercept = self.damping[-1] * (p[:, -1] + (self.curvature.means * p[:, :-1]).sum(axis=1))
            product[:, :-1] += self.damping[:-1] * p[:, :-1] + intercept[:, None] * self.curvature.means
            product[:, -1] += intercept
        return product

    def step(self, point: Float64s, slope: Float64s) -> MetricStep:
        """A step towards the minimum of slope . p + 1/2 p . M p + the penalty at point + p."""
        new = point.copy()
        # The eliminated b_k moves by -(slope_b / (factor corner) + means . move).
        own = slope[:, -1]
        means, scale = self.curvature.means, self.factor * self.curvature.corner + self.damping[-1]
        with np.errstate(divide="ignore", invalid="ignore"):
            alone = np.where(scale > 0, own / scale, 0.0)
        start = slope[:, :-1] - means * own[:, None]
        coef = np.array(point[:, :-1], order="C")
        square = self.curvature.minimise(self._penalty, self.factor, self.damping[:-1], start, coef)
        move = coef - point[:, :-1]
        new[:, -1] -= alone + (means * move).sum(axis=1)
        square += float(np.vdot(own, alone))
        change = self._penalty.nonsmooth_change(point[:, :-1], coef)
        decrease = -(float(np.vdot(start, move)) - float(np.vdot(own, alone)) + square / 2 + change)
        if self._shifted is not None and not self.damping.any():
            # The model does not depend on the same shift of all classes, along which M is much larger than the
            # curvature of the penalty: without this, steps to the least penalty were tiny and up to 1000 times as many.
            coef = self._shifted.feasible(coef - least_at(self._shifted, coef))
        new[:, :-1] = coef
        return MetricStep(new, decrease, square)
