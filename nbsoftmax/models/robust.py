"""Covariances of the parameters that are robust to a wrong model: the "sandwich" and its variants.

With the information matrix H and the score g_i = s_i (a_i - y_i) x_i of sample i, up to its sign,

    "sandwich", "HC0"    H^-1 (sum_i g_i g_i^T) H^-1
    "HC1"                the same times n / (n - p), for n rows of positive weight and p parameters
    "cluster"            H^-1 (sum_c g_c g_c^T) H^-1 G / (G - 1), for the sums g_c of the scores of each of G groups

They are computed as sums of (H^-1 g)(H^-1 g)^T, the squares of the influence of each row or group: where weights differ
by a factor of 10^8, the sum of g g^T in the middle would have no correct digit for the coefficients of the light rows.

Sources: H. White, "Maximum likelihood estimation of misspecified models", Econometrica 50 (1982); K.-Y. Liang and
S. L. Zeger, "Longitudinal data analysis using generalized linear models", Biometrika 73 (1986), for clusters; Stata,
"Obtaining robust variance estimates", User's Guide 20.22, for G / (G - 1).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.backends.row_blocks import blocks
from nbsoftmax.errors import InputValueError, plain, warn
from nbsoftmax.functional import cross_entropy_and_grad
from nbsoftmax.kernels.kinds import PROBA
from nbsoftmax.models.estimates import MOST_ERROR
from nbsoftmax.problem import Problem
from nbsoftmax.validation import Float64s, Floats, WeightedTargets

COVARIANCES = ("fisher", "sandwich", "HC0", "HC1", "cluster")
Codes = NDArray[np.int32]
ROUNDING = 4 * float(np.finfo(np.float64).eps)  # of an influence, relative to the sum of the sizes of its terms
KEPT_ROWS = "{}[table[list(model.encoding.columns)].notna().all(axis=1)]"


def group_codes(groups: Any, cov: str, problem: Problem) -> Codes | None:
    """The group of each row as an index, for "cluster"; rows without weight have the index -1."""
    if cov != "cluster":
        if groups is not None:
            raise InputValueError(f'groups are for cov="cluster", but cov is {cov!r}; leave them out.')
        return None
    if groups is None:
        raise InputValueError('cov="cluster" needs groups: give the group of each row.')
    if problem.encoding is not None and problem.encoding.drops_rows and np.shape(groups)[:1] != (problem.n_samples,):
        raise InputValueError(
            f"groups has shape {np.shape(groups)}, but {problem.n_samples} rows are left of the fit, which leaves out "
            f"those with missing values; give the groups of the others, for example {KEPT_ROWS.format('groups')}."
        )
    codes, _ = validation.labels(_names_of_groups(groups), n_samples=problem.n_samples, name="groups")
    if problem.sample_weight.size:
        codes = np.where(problem.sample_weight > 0, codes, np.int32(-1))
    if np.unique(codes[codes >= 0]).size < 2:
        raise InputValueError("all rows of positive weight are in one group; expected at least two groups.")
    return codes


def _names_of_groups(groups: Any) -> Any:
    """Groups as labels: numbers with a fraction, dates and durations as the places of their values in order."""
    array = validation.target_array(groups, name="groups")
    if array.ndim != 1 or array.dtype.kind not in "fmM":
        return array
    missing = np.isnan(array) if array.dtype.kind == "f" else np.isnat(array)
    if missing.any():
        raise InputValueError.about_rows(
            "groups has a missing value at row ", int(missing.argmax()), "; give the group of every row."
        )
    return np.unique(array, return_inverse=True)[1]


def robust_covariance(
    inverse: Float64s,
    X: Any,
    problem: Problem,
    target: WeightedTargets,
    params: Float64s,
    free: NDArray[np.bool_],
    *,
    cov: str,
    groups: Codes | None,
    names: tuple[str, ...],
) -> Float64s:
    """The covariance of the parameters of the free classes, whose columns have these names.

    `target` is that of the problem in float64, and `inverse` is H^-1 in units of its weights.
    """
    n_params, n_rows = len(inverse), np.count_nonzero(problem.weights_or_ones())
    if cov == "HC1" and n_rows <= n_params:
        raise InputValueError(
            f'cov="HC1" needs more rows than parameters, but {n_rows} rows have weight for {n_params} parameters; '
            'use cov="sandwich".'
        )
    covariance, sizes = _sum_of_squares(X, target, problem.offset, params, free, inverse, groups)
    _check_digits(covariance, sizes, inverse, names, cov)
    if groups is not None:
        n_groups = np.unique(groups[groups >= 0]).size
        covariance *= n_groups / (n_groups - 1)
    elif cov == "HC1":
        covariance *= n_rows / (n_rows - n_params)
    return covariance


def _sum_of_squares(
    X: Any,
    target: WeightedTargets,
    offset: Floats,
    params: Float64s,
    free: NDArray[np.bool_],
    inverse: Float64s,
    groups: Codes | None,
) -> tuple[Float64s, Float64s]:
    """Sum of (H^-1 g)(H^-1 g)^T for the free classes over the samples, or over the groups, block by block.

    Also the root of the sum of squares of what g would be if all predictions were wrong, sum s |x|, for each column.
    """
    n_params, n_names = len(inverse), len(inverse) // int(free.sum())
    total, sizes = np.zeros((n_params, n_params)), np.zeros(n_names)
    y = target.proba if target.kind == PROBA else target.labels
    order = None if groups is None else np.argsort(groups, kind="stable")
    last, open_group = np.zeros((1, n_params + n_names)), -1  # the group that the next block may continue
    for rows, x in blocks(X, n_names > X.shape[1], n_params + n_names, order):
        logits = x @ params[:, :n_names].T
        if offset.size:
            logits += offset[rows]
        slopes = cross_entropy_and_grad(logits, y[rows], class_weight=target.gain, reduction="sum")[1]
        weight = target.weight[rows, None] if target.weight.size else 1.0
        slopes *= weight
        scores = (slopes[:, free, None] * x[:, None, :]).reshape(len(x), -1)
        scores = np.concatenate([scores, target.gain.max() * weight * np.abs(x)], axis=1)
        if groups is not None:
            of_row = groups[rows]
            scores = np.add.reduceat(scores, np.flatnonzero(np.diff(of_row, prepend=-2)), axis=0)
            if of_row[0] == open_group:
                scores[0] += last[0]
            else:
                scores = np.concatenate([last, scores])
            last, open_group, scores = scores[-1:], of_row[-1], scores[:-1]
        total += _squares(scores[:, :n_params] @ inverse)
        sizes += (scores[:, n_params:] ** 2).sum(axis=0)
    total += _squares(last[:, :n_params] @ inverse)
    return total, np.sqrt(sizes + last[0, n_params:] ** 2)


def _squares(influence: Float64s) -> Float64s:
    return influence.T @ influence


def _check_digits(covariance: Float64s, sizes: Float64s, inverse: Float64s, names: tuple[str, ...], cov: str) -> None:
    """Warn of standard errors with few correct digits, and refuse those that are rounding errors."""
    largest = (np.abs(inverse).reshape(len(inverse), -1, len(sizes)) * sizes).sum(axis=(1, 2))
    found = np.sqrt(covariance.diagonal())
    error = np.where(largest > 0, ROUNDING * largest / np.maximum(found, np.finfo(np.float64).tiny), 0.0)
    j = int(error.argmax())
    column = plain(names[j % len(names)])
    if error[j] > 1:
        what = "of each group sum to 0" if cov == "cluster" else "are 0"
        raise InputValueError(
            f"cov={cov!r} gives no standard error of the column {column}, because the scores of the rows {what}, up to "
            'rounding errors: the model fits them exactly; use cov="fisher", or leave such columns out.'
        )
    if error[j] > MOST_ERROR:
        warn(
            f"the standard error of the column {column} may be wrong by {error[j]:.1%} with cov={cov!r}: the scores of "
            "the rows nearly cancel, or their weights differ by many orders of magnitude.",
        )
