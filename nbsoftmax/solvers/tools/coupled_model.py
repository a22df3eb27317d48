"""The minimum of the quadratic model of proximal Newton from the whole Hessian, for small problems.

`quadratic_model` knows the Hessian only through products, each of which is a pass over the rows. Here all its numbers
are computed, and `kernels.coupled_lasso` finds the minimum in one call. The intercepts, which have no penalty, are
eliminated:

    M = H_cc - H_cb H_bb^-1 H_bc        b = -H_bb^-1 (g_b + H_bc p),        c: coefficients, b: intercepts
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nbsoftmax.kernels.coupled_lasso import coupled_lasso
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.penalties import AnyPenalty, FeaturePenalty
from nbsoftmax.solvers.base import NOISE, Curved
from nbsoftmax.solvers.tools.quadratic_model import TIGHTEST, ModelMinimum
from nbsoftmax.solvers.tools.scaled_inverse import scale_of, scaled_inverse
from nbsoftmax.validation import Float64s

# Numbers of M. A fit took 0.13 to 0.95 of the time with products with 2**16 or fewer, also of 200,000 rows, and up to
# 2.3 times as long with 2**17.
MOST_NUMBERS = 2**16
Moments = Callable[[], tuple[Float64s, Float64s]]
MOST_SWEEPS, SWEEP_TOL = 1000, 1e-12
# A variance that is a smaller share of the mean square has too many rounding errors: M is a difference.
LEAST_SHARE = 1e-8


def of_small_problem(penalty: AnyPenalty, n_classes: int, n_features: int) -> FeaturePenalty | None:
    """The penalty if it is one of single weights, and they are so few that the whole Hessian is worth its sums."""
    small = (n_classes * n_features) ** 2 <= MOST_NUMBERS
    return penalty if small and isinstance(penalty, FeaturePenalty) and penalty.by_weight else None


def coupled_minimum(
    part: Curved, penalty: FeaturePenalty, params: Float64s, grad: Float64s, damping: Float64s, moments: Moments
) -> ModelMinimum | None:
    """The minimum of the model at `params`, (n_classes, n + 1); None if it cannot be computed accurately.

    `damping`, (n + 1,), is the additional curvature of the coefficients and of the intercept of centred features.
    `moments` returns the means and variances of the features, (n,) each.
    """
    n_classes, n = params.shape[0], params.shape[1] - 1
    hessian, damped = part.hessian(params), bool(damping.any())
    if damped:
        _damp(hessian, damping, moments()[0])
    matrix, cross = hessian[:, :-1, :, :-1].reshape(n_classes * n, -1), hessian[:, :-1, :, -1].reshape(-1, n_classes)
    squares = matrix.diagonal().copy()
    inverse = _inverse(hessian[:, -1, :, -1], singular=not damped) if part.fit_intercept else np.zeros((n_classes,) * 2)
    lift, alone = cross @ inverse, inverse @ grad[:, -1]
    matrix -= lift @ cross.T
    accurate = matrix.diagonal() > LEAST_SHARE * squares  # False if it is not finite
    if not accurate.all():
        flat = np.tile(moments()[1] == 0, n_classes)  # constant features, whose curvature consists of rounding errors
        if not (accurate | flat).all():
            return None
        matrix[flat] = 0.0
        matrix[:, flat] = 0.0
    before, start = params[:, :-1].reshape(-1), grad[:, :-1].reshape(-1) - lift @ grad[:, -1]
    after, slope = before.copy(), start.copy()
    if minimise(penalty, n_classes, matrix, slope, after, damped=damped) > TIGHTEST:
        return None
    move, new = after - before, params.copy()
    new[:, :-1] = after.reshape(n_classes, n)
    new[:, -1] -= alone + inverse @ (cross.T @ move)
    change = penalty.nonsmooth_change(params[:, :-1], new[:, :-1])
    decrease = (float(np.vdot(grad[:, -1], alone)) - float(np.vdot(move, start + slope))) / 2 - change
    settled = bool(np.isfinite(new).all() and decrease < np.inf)
    if not (settled and decrease > 0):
        return ModelMinimum(params, 0.0, 0.0, settled)
    return ModelMinimum(new, decrease, decrease, settled)


def minimise(
    penalty: FeaturePenalty, n_classes: int, matrix: Float64s, slope: Float64s, coef: Float64s, *, damped: bool
) -> float:
    """Move `coef`, (n_classes * n,), to the minimum of the model; `slope` becomes that at the minimum, in place.

    Returns how much the last sweep changed relative to the first if there were too many sweeps, otherwise 0.
    """
    n = coef.size // n_classes
    l1s, l2s = penalty.strengths(n)
    np.fill_diagonal(matrix, matrix.diagonal() + np.tile(l2s, n_classes))
    low, high = (end.reshape(-1) for end in penalty.limits((n_classes, n)))
    problem = matrix, l2s, l1s, low, high, not damped, n_classes, slope, coef
    rest = np.zeros(1)
    launch(coupled_lasso, 1, 0, 1, *problem, MOST_SWEEPS, SWEEP_TOL, rest)
    return float(rest[0])


def _damp(hessian: Float64s, damping: Float64s, means: Float64s) -> None:
    """Add the curvature of each class along its coefficients and its intercept of centred features, in place."""
    centred = np.append(means, 1.0)
    more = np.diag(np.append(damping[:-1], 0.0)) + damping[-1] * np.outer(centred, centred)
    for k in range(len(hessian)):
        hessian[k, :, k] += more


def _inverse(of_intercepts: Float64s, *, singular: bool) -> Float64s:
    """The inverse of the Hessian over the intercepts.

    Without damping it is singular: the same shift of all intercepts changes no probability. A curvature along such
    shifts is added, which does not change the other steps.
    """
    diagonal = of_intercepts.diagonal()
    if singular and diagonal.any():
        of_intercepts = of_intercepts + np.outer(diagonal, diagonal / diagonal.sum())
    scale = scale_of(of_intercepts.diagonal())
    return scaled_inverse(of_intercepts, scale, repair=NOISE) * scale * scale[:, None]
