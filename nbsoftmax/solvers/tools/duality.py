"""The duality gap of a penalised objective: a bound on J - J* that holds at every point.

With z_i = W x_i + b + o_i, h_i = sum_k t_ik and the loss of a sample L_i = h_i lse(z_i) - t_i . z_i, Fenchel's dual is

    D(P) = (1/S) sum_i [ h_i H(p_i) + (h_i p_i - t_i) . o_i ] - R*(-V),   V = (1/S) sum_i (h_i p_i - t_i) x_i^T
    subject to   sum_i (h_i p_i - t_i) = 0       where the intercept is free

with p_i any probabilities, H their entropy, and R* the conjugate of the penalty, see `penalties`. J* >= D(P) for every
feasible P. An unpenalised feature is like an intercept: its column of V must be 0. This holds at its own optimum and is
assumed here, and so is it of an unpenalised coefficient between its bounds; the gap is then an estimate.
S. Boyd, L. Vandenberghe, "Convex Optimization" (2004), section 5. The derivation is in docs/mathematics.md.

A feasible P is a mixture of the model's own a_i, a distribution q that is the same for all samples, with a share e that
satisfies the constraint of the intercept, and the targets, with a share 1 - theta that makes V smaller. Entropy is
concave, and the entropy of the targets is not negative, so gradients are the only sums over rows that a lower bound on
D(P) needs. Also J - J* <= J, since J* >= 0: for J near 0 this is the best bound, because the others have larger
rounding errors.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.solvers.base import NOISE, Penalised, Smooth
from nbsoftmax.validation import Float64s

LEAST_SHARE = 1e-300  # of a class: negligible, but with a finite logarithm


def loss_alone(objective: Penalised, params: Float64s, value: float, grad: Float64s) -> tuple[float, Float64s]:
    """Value and gradient of the loss alone, from those of the loss plus the smooth part of the penalty."""
    coef, slope = params[:, :-1], grad.copy()
    objective.penalty.add_gradient(coef, slope[:, :-1], times=-1.0)
    return value - _ridge(objective, coef), slope


def gap_at_optimal_intercept(objective: Penalised, params: Float64s, loss: float, grad: Float64s) -> float:
    """J - D at `params` if the intercept is at its own optimum; `loss`, `grad` are those of the loss alone, over S."""
    return _primal(objective, params, loss) - _dual(objective, params, _entropy(params, loss, grad), grad, True)[0]


def duality_gap(
    objective: Penalised, smooth: Smooth, params: Float64s, loss: float, grad: Float64s, *, relaxed: bool = True
) -> tuple[float, str]:
    """A bound on J - J* at `params`, and its kind; `loss`, `grad` are those of the loss alone, over S.

    Takes one gradient of `smooth`, the objective without l1, unless there is no intercept or it is at its own optimum.
    If `relaxed`, the columns of V of unpenalised coefficients are assumed to be 0.

    Returns
    -------
    gap : float
    kind : "duality"; "estimate" if the constraint of the intercept cannot be satisfied because of an offset of the
        logits, if an assumption was made, or (with the gap inf) if the penalty has no conjugate
    """
    if not objective.penalty.has_dual:
        return np.inf, "estimate"
    gap, kind = _duality_gap(objective, smooth, params, loss, grad, relaxed)
    value = _primal(objective, params, loss)
    return (value, "duality") if 0 <= value <= gap else (gap, kind)


def dual_value(objective: Penalised, params: Float64s, loss: float, grad: Float64s, free: NDArray[np.bool_]) -> float:
    """D of the model's own probabilities at `params`, where the intercept and the `free` coefficients are optimal."""
    return _best_dual(objective, _entropy(params, loss, grad), grad[:, :-1], free)


def _duality_gap(
    objective: Penalised, smooth: Smooth, params: Float64s, loss: float, grad: Float64s, relaxed: bool
) -> tuple[float, str]:
    wanted, rest = objective.class_mass, grad[:, -1]
    mass, sums = float(wanted.sum()), wanted + rest
    over = rest > NOISE * mass
    if not objective.fit_intercept or not over.any():
        dual, assumed = _dual(objective, params, _entropy(params, loss, grad), grad, relaxed)
        gap = _primal(objective, params, loss) - dual
        return max(gap, _rounding(params, loss, grad, mass)), "estimate" if assumed else "duality"
    # p_i = (1 - e) a_i + e q has the same sums over i as the targets if q = (wanted - (1 - e) sums) / e. This is the
    # least e for which q is not negative; q is the prediction of a model without features.
    share = float(np.max(rest[over] / sums[over]))
    q = np.maximum(wanted - (1 - share) * sums, LEAST_SHARE * mass)
    common = np.zeros_like(params)
    common[:, -1] = np.log(q / q.sum())
    common_loss, common_grad = smooth.value_and_grad(common)
    mixed = (1 - share) * grad + share * common_grad
    entropy = (1 - share) * _entropy(params, loss, grad) + share * _entropy(common, common_loss, common_grad)
    dual, assumed = _dual(objective, params, entropy, mixed, relaxed)
    gap = _primal(objective, params, loss) - dual
    left = float(np.abs(mixed[:, -1]).max())
    exact = left <= (params.shape[0] * NOISE + 16 * share * np.finfo(objective.dtype).eps) * mass
    if gap < 0 and not exact:  # the dual point is not feasible: the gap is what the constraint's violation hides
        gap = left * float(np.ptp(params[:, -1]))
    return max(gap, _rounding(params, loss, grad, mass)), "duality" if exact and not assumed else "estimate"


def _entropy(params: Float64s, loss: float, grad: Float64s) -> float:
    """(1/S) sum_i h_i H(a_i) plus the term of the offsets; without shifts of all classes, to reduce rounding errors."""
    return loss - float(np.vdot(params - params.mean(axis=0), grad))


def _rounding(params: Float64s, loss: float, grad: Float64s, mass: float) -> float:
    """The rounding error of J - D: that of its terms, and of the constraint of the intercept."""
    terms = float(np.abs((params - params.mean(axis=0)) * grad).sum())
    return NOISE * (abs(loss) + terms + mass * float(np.ptp(params[:, -1])))


def _primal(objective: Penalised, params: Float64s, loss: float) -> float:
    coef = params[:, :-1]
    return loss + _ridge(objective, coef) + objective.penalty.nonsmooth_value(coef)


def _ridge(objective: Penalised, coef: Float64s) -> float:
    """The smooth part of the penalty, computed by BLAS, which solvers limit to one thread."""
    curvature = objective.penalty.smooth_part().curvature
    if isinstance(curvature, float):
        return curvature / 2 * float(np.vdot(coef, coef))
    return 0.5 * float(np.vdot(coef, curvature * coef))


def _dual(objective: Penalised, params: Float64s, entropy: float, grad: Float64s, relaxed: bool) -> tuple[float, bool]:
    """The best theta * entropy - R*(-theta v) for theta in [0, 1], and whether some of v was assumed to be 0."""
    v = grad[:, :-1]
    free = objective.penalty.movable(params[:, :-1], v) if relaxed else np.zeros(1, bool)
    return _best_dual(objective, entropy, v, free), bool(free.any())


def _best_dual(objective: Penalised, entropy: float, v: Float64s, free: NDArray[np.bool_]) -> float:
    return objective.penalty.dual(entropy, np.where(free, 0.0, -v) if free.any() else -v)
