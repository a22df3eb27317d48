"""Fits of few samples of many features: over coordinates of the span of the samples, which are at most as many.

With a ridge penalty on every coefficient, those of the minimum are combinations of the samples (the representer
theorem: G. Kimeldorf, G. Wahba, "Some results on Tchebycheffian spline functions", J. Math. Anal. Appl. 33, 1971). With
c the means of the features where there is an intercept, otherwise 0, d_j the curvature of the penalty, and L from the
pivoted Cholesky factorisation of the Gram matrix of the samples,

    L L^T = (X - 1 c^T) diag(1 / d) (X - 1 c^T)^T,    W = A^T (X - 1 c^T) diag(1 / d),    V = (L^T A)^T

the logits are L V^T, and the penalty sum_kj d_j W_kj^2 / 2 is |V|^2 / 2: a fit of L in place of X, with d = 1. An
evaluation takes at most m / N of the time. L has the rounding errors of squares of X. Therefore `minimise` computes the
bound on the gap from X and W, and if it is not within the tolerance, the fit continues with X and W.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.cuda.device import devices
from nbsoftmax.backends.packed import fits, work_of_step
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.kernels.runtime.lapack import lapack
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.penalties import FeaturePenalty, Ridge, curvature_of_columns
from nbsoftmax.problem import AnyProblem, Problem
from nbsoftmax.validation import Float64s

LEAST_FEATURES = 2  # for each sample: with fewer, evaluations gain too little
# Of a Newton step with the whole Hessian: with less, making the coordinates takes longer (0.4 ms); with more, fits with
# them take half of the time.
LEAST_WORK = 1_200_000
# The coordinates are used if they take less time than so many evaluations of X; fits take 15 to 100 evaluations.
EVALUATIONS = 20
# Seconds with 2 threads and 32-byte vectors, estimated from the times of ten problems.
CALL, MULTIPLY, PARAMETER = 3e-4, 5e-10, 1e-7  # an evaluation: one, a multiply-add, and a parameter
PAIR, PRODUCT = 2e-7, 2.5e-11  # the Gram matrix of the samples: an entry, and a multiply-add
BLOCK = 512  # features


@dataclass(frozen=True, eq=False)
class RowSpan:
    """Coordinates of a fit in the span of its samples.

    Attributes
    ----------
    objective : PenalizedLoss
        That of a fit over the coordinates.
    """

    objective: PenalizedLoss
    _X: NDArray[np.floating]
    _mean: Float64s  # (n_features,), 0 without an intercept
    _divisor: Float64s  # (n_features,), d
    _samples: NDArray[np.intp]  # that the coordinates are combinations of
    _factor: Float64s  # their rows of L, lower triangular

    @classmethod
    def of(cls, problem: AnyProblem, options: ObjectiveOptions) -> RowSpan | None:
        """The coordinates of a fit; None if they take longer than X, or if the minimum may be outside the span."""
        if not (isinstance(problem, Problem) and isinstance(problem.X, np.ndarray) and _is_faster(problem)):
            return None
        penalty = options.penalty
        if not (isinstance(penalty, FeaturePenalty) and penalty.is_smooth) or problem.has_partial_labels:
            return None
        divisor = curvature_of_columns(penalty, problem.n_features + 1)[:-1]
        if devices(options.device) or not (divisor > 0).all():
            return None
        X = problem.X
        mean = np.zeros(problem.n_features)
        with one_thread(), np.errstate(over="ignore", invalid="ignore"):
            if options.fit_intercept:
                np.mean(X, axis=0, dtype=np.float64, out=mean)
            gram = np.zeros((len(X), len(X)))
            equal = (divisor == divisor[0]).all()
            for features, block in _blocks(X, mean):
                scaled = block if equal else np.divide(block, np.sqrt(divisor[features]), out=block)
                gram += scaled @ scaled.T
            if equal:
                gram /= divisor[0]
            factor, order, rank, _ = lapack().dpstrf(gram, lower=1, overwrite_a=1)
        if rank == 0 or not np.isfinite(factor).all():
            return None
        rows = np.zeros((len(X), rank))
        rows[order - 1] = np.tril(factor)[:, :rank]
        inner = replace(options, penalty=Ridge(1.0))
        return cls(
            PenalizedLoss(_with_rows(problem, rows), inner),
            X,
            mean,
            divisor,
            order[:rank] - 1,
            factor[:rank, :rank].copy(),
        )

    def start(self, params: Float64s) -> Float64s:
        """The coordinates whose logits are those of `params` on the samples that they are combinations of."""
        coef = params[:, :-1]
        found = np.zeros((len(params), self._samples.size + 1))
        found[:, -1] = params[:, -1]
        if coef.any():
            z = sum((block[self._samples] @ coef[:, part].T for part, block in _blocks(self._X, self._mean)), 0.0)
            found[:, :-1] = lapack().dtrtrs(self._factor, z, lower=1)[0].T
            found[:, -1] += coef @ self._mean
        return found

    def whole(self, part: Float64s) -> Float64s:
        """The parameters with these coordinates."""
        combination = np.zeros((len(part), len(self._X)))
        combination[:, self._samples] = lapack().dtrtrs(self._factor, part[:, :-1].T, lower=1, trans=1)[0].T
        params = np.empty((len(part), self._mean.size + 1))
        for features, block in _blocks(self._X, self._mean):
            params[:, features] = combination @ block / self._divisor[features]
        params[:, -1] = part[:, -1] - params[:, :-1] @ self._mean
        return params


def _is_faster(problem: Problem) -> bool:
    m, n, n_classes = problem.n_samples, problem.n_features, problem.n_classes
    if n < LEAST_FEATURES * m or (fits(m, n, n_classes) and work_of_step(m, n, n_classes) < LEAST_WORK):
        return False
    evaluation = CALL + (MULTIPLY * m + PARAMETER) * n * n_classes
    return m**2 * (PAIR + PRODUCT * n) <= EVALUATIONS * evaluation


def _blocks(X: NDArray[np.floating], mean: Float64s) -> Iterator[tuple[slice, Float64s]]:
    """Blocks of features: which they are, and X - mean (n_samples, n) in float64, to be changed by the caller."""
    for start in range(0, X.shape[1], BLOCK):
        features = slice(start, min(start + BLOCK, X.shape[1]))
        yield features, np.subtract(X[:, features], mean[features], dtype=np.float64, order="C")


def _with_rows(problem: Problem, rows: Float64s) -> Problem:
    """The problem with other rows, in float64."""
    offset = problem.offset.astype(np.float64, copy=False)
    target = problem.target_in_float64()
    return replace(problem, X=rows, offset=offset, target=target, feature_names=None, held_out=None, encoding=None)
