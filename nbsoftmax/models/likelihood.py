"""The maximum of the likelihood, and the information matrix there.

With x_i = (features, 1), the log-likelihood l = -sum_i s_i L_i, and the coefficients theta_k = w_k - w_r relative to a
reference class r, for the "free" classes k, l != r:

    H_kl = sum_i s_i a_ik ([k = l] - a_il) x_i x_i^T       the information matrix, -d2 l / d theta2
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve, eigh

from nbsoftmax import validation
from nbsoftmax.backends.row_blocks import blocks
from nbsoftmax.collinearity import refuse_collinear
from nbsoftmax.encoding import AnyEncoding
from nbsoftmax.errors import InputValueError, listed, plain, warn
from nbsoftmax.models.estimates import MOST_ERROR
from nbsoftmax.models.softmax import SoftmaxModel, params_of
from nbsoftmax.penalized_loss import PenalizedLoss
from nbsoftmax.validation import Float64s

MAX_STEPS = 12  # Newton's method converges quadratically; if it needs more steps, there is no maximum
# Norm of the gradient, for each unit of weight, at the intercepts of the model without features: the error of the
# likelihood is about its square.
NULL_TOL = 1e-8
# Steps that change logits by at most so much, but do not become smaller, are rounding errors: samples with much larger
# weights than others cause them. Along separable directions each step changes logits by about 1.
ROUNDED = 1e-3
MAX_DISTANCE = 1.0  # in standard errors, from the model to the maximum of the likelihood
MAX_GAP = 1e-5  # or relative to the likelihood: a `tol` of 1e-6 is more than a standard error for a million samples
# Relative error of standard errors, times 1 - R^2 of a column; of nearly equal columns at most 3.5 eps were measured.
ROUNDING = 5 * float(np.finfo(np.float64).eps)
LARGE = 0.3  # of the largest coefficient: that of a column that an error names


def maximum(
    model: SoftmaxModel,
    objective: PenalizedLoss,
    X: Any,
    free: NDArray[np.bool_],
    names: tuple[str, ...],
    exponent: int,
) -> tuple[Float64s, Float64s, float]:
    """Newton steps to the maximum: its parameters (K, N + 1), the inverse information matrix and the log-likelihood.

    The last two are in units of 2^exponent, like the weights.
    """
    params = params_of(model)
    n, n_names = int(free.sum()), len(names)
    ends = X.max(axis=0), X.min(axis=0)  # sparse rows if X is sparse
    high, low = (end.toarray().ravel() if validation.is_sparse(X) else end for end in ends)
    middle, reach = np.asarray(high, np.float64) / 2 + low / 2, np.asarray(high, np.float64) / 2 - low / 2
    scale_free, last = 8 * np.sqrt(np.finfo(objective.dtype).eps), np.inf
    for step_number in range(MAX_STEPS):
        loss, grad = objective.backend.loss_and_grad(params)
        factor = _factor_at(params, objective, free, names, model.encoding)
        step = np.zeros_like(params)
        slope = grad[free, :n_names].ravel()
        solved = -cho_solve(factor.cholesky, slope * factor.scale) * factor.scale
        step[free, :n_names] = solved.reshape(n, n_names)
        distance = float(np.sqrt(validation.in_units(max(0.0, -slope @ solved), exponent)))
        by_tol = float(np.sqrt(2 * MAX_GAP * validation.in_units(loss, exponent)))
        if step_number == 0 and not distance <= max(MAX_DISTANCE, by_tol):
            raise InputValueError(
                f"the model is {distance:.3g} standard errors from the maximum of the likelihood of these data: it was "
                "trained with a penalty, with other weights or on other data, or its fit has not converged; "
                "give the training data, or fit again without penalty and with a smaller tol."
            )
        params += step
        # The most that a logit changes: for columns far from 0, changes of slopes and intercept cancel in the middle.
        moved = float((np.abs(step[:, :-1]) @ reach + np.abs(step[:, :-1] @ middle + step[:, -1])).max())
        rounded = last / 2 < moved <= ROUNDED
        last = moved
        if moved <= scale_free or rounded or _largest_change(step, X) <= scale_free:
            factor = _factor_at(params, objective, free, names, model.encoding)
            factor.warn_of_few_digits(names)
            return params, factor.inverse(), -objective.backend.loss(params)
    raise _separable_error(step, reach, model, names)


def information_at(
    params: Float64s, objective: PenalizedLoss, free: NDArray[np.bool_], names: tuple[str, ...]
) -> tuple[Float64s, Float64s, float]:
    """As `maximum`, but at these parameters, those of a fit with Firth's penalty."""
    factor = _factor_at(params, objective, free, names)
    factor.warn_of_few_digits(names)
    return params, factor.inverse(), -objective.backend.loss(params)


@dataclass(frozen=True, eq=False)
class _Factor:
    """Cholesky factor of a positive definite matrix, which is scaled to a unit diagonal."""

    cholesky: Any
    scale: Float64s

    @property
    def squares(self) -> Float64s:
        """1 - R^2 of each column regressed on the previous ones."""
        return np.asarray(self.cholesky[0].diagonal() ** 2)

    def warn_of_few_digits(self, names: tuple[str, ...]) -> None:
        """Warn if rounding errors of the matrix, divided by the least of `squares`, are not small."""
        j = int(self.squares.argmin())
        error = ROUNDING / self.squares[j]
        if error > MOST_ERROR:
            warn(
                f"the column {names[j % len(names)]!r} is nearly a linear combination of others (1 - R^2 = "
                f"{self.squares[j]:.1g}), so that standard errors may be wrong by {error:.1%}; leave it out, or "
                "give its difference from the others in its place.",
            )

    def inverse(self) -> Float64s:
        inverse: Float64s = cho_solve(self.cholesky, np.diag(self.scale)) * self.scale[:, None]
        return inverse


def _factor_at(
    params: Float64s,
    objective: PenalizedLoss,
    free: NDArray[np.bool_],
    names: tuple[str, ...],
    encoding: AnyEncoding | None = None,
) -> _Factor:
    """The factor of the information matrix; an error if it is singular."""
    n_names = len(names)
    with np.errstate(over="ignore", invalid="ignore"):  # refused below
        hessian = objective.backend.hessian(params)
    blocks_of_free = hessian[free][:, :n_names][:, :, free][:, :, :, :n_names]
    information = blocks_of_free.reshape(int(free.sum()) * n_names, -1)
    diagonal = information.diagonal()
    if not np.isfinite(diagonal).all():
        name = names[int(np.isfinite(diagonal).argmin()) % n_names]
        raise InputValueError(
            f"the squares of the column {name!r} exceed the range of float64; divide it by its largest "
            "value and fit again."
        )
    scale = 1 / np.sqrt(np.where(diagonal > 0, diagonal, 1.0))
    noise = 16 * len(scale) * float(np.finfo(objective.dtype).eps)
    try:
        cholesky = cho_factor(information * scale * scale[:, None], lower=True)
    except np.linalg.LinAlgError:
        cholesky = None
    if cholesky is not None and (factor := _Factor(cholesky, scale)).squares.min() > noise:
        return factor
    refuse_collinear(objective.backend.gram()[: len(names), : len(names)], noise, names, objective.dtype, encoding)
    by = _along_null(information * scale * scale[:, None], names)
    raise InputValueError(
        "the information matrix is singular although no columns are collinear: some samples are perfectly separable, "
        f"mostly by the columns {listed(by)}, and the likelihood has no maximum; leave out the columns that separate "
        "them, fit with penalty='firth', or with l2 to predict."
    )


def _along_null(matrix: Float64s, names: tuple[str, ...]) -> list[str]:
    """The columns with the largest coefficients in the direction in which the likelihood has the least curvature."""
    share = np.abs(eigh(matrix, subset_by_index=(0, 0))[1]).reshape(-1, len(names)).max(axis=0)
    found = [names[j] for j in np.flatnonzero(share > LARGE * share.max()).tolist()]
    return [name for name in found if name != "const"] or found


def _largest_change(step: Float64s, X: Any) -> float:
    """The largest change of a logit, computed for every sample: changes of nearly collinear columns cancel in it."""
    return max((float(np.abs(rows @ step.T).max()) for _, rows in blocks(X, True, step.shape[1])), default=0.0)


def _separable_error(step: Float64s, reach: Float64s, model: SoftmaxModel, names: tuple[str, ...]) -> InputValueError:
    moved = np.abs(step - np.median(step, axis=0))[:, :-1] * reach
    k = int(moved.sum(axis=1).argmax())
    share = moved[k]
    columns = [names[j] for j in np.argsort(-share)[:5] if share[j] > 0.1 * share.max()]
    return InputValueError(
        f"all or some samples of class {plain(model.classes.tolist()[k])} are perfectly separable from other classes, "
        f"or samples of these from it, mostly by the columns {listed(columns)}: the likelihood has no maximum, so "
        "there are no standard errors; leave those columns out, fit with penalty='firth', or with l2 to predict."
    )


def null_log_likelihood(objective: PenalizedLoss, counts: Float64s, *, has_offset: bool) -> float:
    """The log-likelihood of the model without features, whose classes have the weights `counts`.

    With an offset, a trust-region method of SciPy finds its intercepts: full steps of Newton's method diverge if the
    offset is large.
    """
    params = np.zeros(objective.shape)
    if not objective.fit_intercept:
        return -objective.backend.loss(params)
    params[:, -1] = np.log(counts / counts[0])
    if has_offset:
        params[1:, -1] = _null_intercepts(objective, params[1:, -1])
    return -objective.backend.loss(params)


def _null_intercepts(objective: PenalizedLoss, start: Float64s) -> Float64s:
    """The intercepts of all classes but the first, whose intercept is 0, of the model without features."""
    from scipy.optimize import minimize  # for an offset only

    backend = objective.backend

    def params_at(intercepts: Float64s) -> Float64s:
        params = np.zeros(objective.shape)
        params[1:, -1] = intercepts
        return params

    def loss_and_slope(intercepts: Float64s) -> tuple[float, Float64s]:
        loss, grad = backend.loss_and_grad(params_at(intercepts))
        return loss / backend.weight_sum, grad[1:, -1] / backend.weight_sum

    def curvature(intercepts: Float64s) -> Float64s:
        params = params_at(intercepts)
        columns = [backend.hess_vec(params, params_at(one))[1:, -1] for one in np.eye(start.size)]
        return np.stack(columns) / backend.weight_sum

    found = minimize(loss_and_slope, start, jac=True, hess=curvature, method="trust-exact", options={"gtol": NULL_TOL})
    return np.asarray(found.x)
