"""The points at which marginal effects are evaluated: the rows of the fit, their mean or median, or rows of a table."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.backends.cuda.device import on_host
from nbsoftmax.backends.row_blocks import blocks
from nbsoftmax.errors import InputValueError, rows_called, x_called
from nbsoftmax.models.complete_rows import complete_rows
from nbsoftmax.models.softmax import SoftmaxModel
from nbsoftmax.problem import Problem
from nbsoftmax.validation import Float64s, Floats

PLACES = ("overall", "mean", "median")


class Points(NamedTuple):
    """Points and their weights in a mean.

    Attributes
    ----------
    X : ndarray (n_points, n_features), or csr_array
    weight : ndarray (n_points,)
        Not negative, with sum 1.
    offset : ndarray (n_points, n_classes), or (0, 0) for none
    """

    X: Any
    weight: Float64s
    offset: Floats


def points_at(
    model: SoftmaxModel,
    problem: Problem | None,
    device: str,
    at: Any,
    sample_weight: ArrayLike | None,
    offset: ArrayLike | None,
) -> tuple[Points, Any]:
    """The points that `at` describes, and `at` without the rows that the encoding of the model leaves out."""
    if isinstance(at, str):
        return points_of_fit(problem, device, at, sample_weight, offset), at
    with x_called("at"):
        at, *beside, rows = complete_rows(model, at, sample_weight=sample_weight, offset=offset)
        with rows_called(rows):
            return points_of_table(model, at, *beside), at


def points_of_table(
    model: SoftmaxModel, table: Any, sample_weight: ArrayLike | None, offset: ArrayLike | None
) -> Points:
    """The rows of a table."""
    X = model._features(table)
    if X.shape[0] == 0:
        raise InputValueError("at has no rows, so the mean effect is not defined; give at least one row.")
    weight = validation.sample_weights(sample_weight, X.shape[0])
    added = validation.offset(offset, (X.shape[0], model.n_classes), X.dtype, model.classes)
    return Points(X, _shares(weight, X.shape[0]), added)


def points_of_fit(
    problem: Problem | None, device: str, place: str, sample_weight: ArrayLike | None, offset: ArrayLike | None
) -> Points:
    """One of `PLACES` for the rows of a fit; offsets take their mean at the mean or median of X.

    The last two arguments are refused, because the fit has its own.
    """
    validation.choice("at", place, PLACES)
    if sample_weight is not None or offset is not None:
        raise InputValueError(
            f"sample_weight and offset are for a table, but at is {place!r}, which takes those of the fit; leave them "
            "out."
        )
    if problem is None:
        raise InputValueError(
            "this result was pickled or copied, and does not contain the data; give the rows at which to compute the "
            "effects as `at`, for example marginal_effects(X) with the training data."
        )
    (X,) = on_host(device, problem.X)
    weight = _shares(problem.sample_weight, X.shape[0])
    if place == "overall":
        return Points(X, weight, problem.offset)
    if place == "mean":
        x = np.zeros(X.shape[1])
        for rows, block in blocks(X, False, X.shape[1]):
            x += weight[rows] @ block
    else:
        columns = X.tocsc() if validation.is_sparse(X) else X
        counts, _ = validation.scaled(problem.sample_weight)
        x = np.array([_median(_dense_column(columns, j), counts) for j in range(X.shape[1])])
    mean_offset = np.atleast_2d(weight @ problem.offset) if problem.offset.size else problem.offset
    return Points(x[None], np.ones(1), mean_offset)


def binary_columns(X: Any) -> NDArray[np.bool_]:
    """Which columns of X, (n_features,), contain only 0 and 1, and not 1 alone."""
    n_samples, n_features = X.shape
    if validation.is_sparse(X):
        other = np.bincount(X.indices[(X.data != 0) & (X.data != 1)], minlength=n_features)
        ones = np.bincount(X.indices[X.data == 1], minlength=n_features)
        return np.asarray((other == 0) & (ones < n_samples))
    left, has_zero = np.arange(n_features), np.zeros(n_features, bool)
    for start in range(0, n_samples, 2**12):
        part = X[start : start + 2**12][:, left]
        zero = part == 0
        has_zero[left] |= zero.any(axis=0)
        left = left[(zero | (part == 1)).all(axis=0)]
    found = np.zeros(n_features, bool)
    found[left] = has_zero[left]
    return found


def _shares(weight: Float64s, n: int) -> Float64s:
    if not weight.size:
        return np.full(n, 1 / n)
    weight, _ = validation.scaled(weight)
    return np.asarray(weight / weight.sum())


def _dense_column(X: Any, j: int) -> Float64s:
    return np.asarray(X[:, [j]].toarray()[:, 0] if validation.is_sparse(X) else X[:, j], np.float64)


def _median(x: Float64s, weight: Float64s) -> float:
    """The median of values that are repeated as often as their weights say; the weights are (0,) for none."""
    if not weight.size:
        return float(np.median(x))
    order = np.argsort(x, kind="stable")
    below = np.cumsum(weight[order])  # exact for counts
    middle = [np.searchsorted(below, below[-1] / 2, side) for side in ("left", "right")]
    return float(x[order[middle]].mean())
