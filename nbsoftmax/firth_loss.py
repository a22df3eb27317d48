"""Firth's penalised loss: finite estimates also for perfectly separable classes, with less bias in small samples.

    J = (1 / S) (sum_i s_i L_i - (log det I(theta) - log det I(0)) / 2)

I is the information matrix of theta_k = w_k - w_K, the coefficients relative to the last class, over the columns
x_i = (features, 1); another class of reference gives the same J. This is the posterior mode under Jeffreys' prior, and
its stationary points solve Firth's bias-reducing score equations (D. Firth, "Bias reduction of maximum likelihood
estimates", Biometrika 80, 1993), since the softmax is the canonical link. At 0, J is the mean loss. It is smooth, but
not convex: it may have several local minima. With A = I^-1, of blocks A_kl, and the probabilities a of sample i:

    H_kl = x_i^T A_kl x_i,    g_k = H_kk - 2 sum_l H_kl a_l      (0 for the last class)
    d (log det I / 2) / dw_k = 1/2 sum_i s_i a_k (g_k - sum_l a_l g_l) x_i

because I is the sum of s_i V_i (x) x_i x_i^T, V_i = diag(a) - a a^T, and the derivative of log det I is trace(A dI).
I and A are those of standardized features, which change log det I by a constant and H not at all: columns that are far
from 0 would leave few digits of a determinant. In place of the last class, the code takes the class with the largest
sum of probabilities as the reference: relative to a class whose probability is nearly 0 in all rows, as an offset may
make it, rows of I differ by less than their rounding errors.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.row_blocks import blocks
from nbsoftmax.backends.targets import curvature_weights
from nbsoftmax.collinearity import refuse_collinear
from nbsoftmax.errors import InputValueError
from nbsoftmax.functional import softmax
from nbsoftmax.kernels.runtime.lapack import lapack
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import AnyProblem, Problem
from nbsoftmax.validation import Float64s

MOST_PARAMS = 1000  # the information matrix then takes 8 MB, and a pass over 10,000 rows a few seconds
BLOCK_BYTES = 2**22


class Information(NamedTuple):
    """The information matrix of standardized features at some parameters, in the units of the weights."""

    log_det: float
    inverse: Float64s  # (n_params, n_params)
    order: NDArray[np.intp]  # of the classes: the reference is the last


class FirthLoss(PenalizedLoss):
    """J of a validated problem with rows in the memory of the host. `hvp` is that of the loss alone.

    Raises
    ------
    InputValueError
        For too many parameters, collinear columns, and options with which the loss is no likelihood.
    """

    def __init__(self, problem: AnyProblem, options: ObjectiveOptions) -> None:
        super().__init__(problem, _checked(problem, options))
        assert isinstance(problem, Problem)
        self.convex, self.can_separate = False, False
        self.no_errors_below = self.separable_below = 0.0
        self._n_columns = problem.n_features + self.fit_intercept
        self._X, self._offset, self._weight = problem.X, problem.offset, curvature_weights(problem.target_in_float64())
        counts = self._weight > 0
        if not counts.all():  # rows without weight must not decide the scale of the columns
            self._X, self._weight = self._X[counts], self._weight[counts]
            self._offset = self._offset[counts] if self._offset.size else self._offset
        self._centre, self._scale = self._moments()
        refined = self.in_float64(hessian=True)
        self.backend, self.dtype = refined.backend, refined.dtype
        at_zero = self._information(np.zeros(self.shape))
        if at_zero is None:
            names = problem.feature_names or tuple(f"x{j}" for j in range(problem.n_features))
            names = (*names, "const")[: self._n_columns]
            gram = self.backend.gram()[: len(names), : len(names)]
            refuse_collinear(gram, self._noise, names, problem.dtype, problem.encoding)
            raise InputValueError("the information matrix is singular: columns are collinear, up to rounding errors.")
        self._log_det_at_zero = at_zero.log_det

    @property
    def _noise(self) -> float:
        """Smaller pivots of a matrix with a unit diagonal are rounding errors."""
        return 16 * self._n_columns * (self.n_classes - 1) * float(np.finfo(float).eps)

    def check_start(self, start: Float64s) -> None:
        """Raise an InputValueError if the objective is infinite at `start`, as at the end of a fit without penalty."""
        if start.any() and not np.isfinite(self.value(start)):  # at 0 it is known to be finite
            raise InputValueError(
                "the information matrix is singular at init, where all probabilities are 0 or 1; leave init out."
            )

    def value(self, params: Float64s) -> float:
        """J at `params`; inf where the information matrix is singular."""
        found = self._information(params)
        return np.inf if found is None else self._value(self.backend.loss(params), found)

    def value_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """J and its gradient."""
        found = self._information(params)
        if found is None:
            return np.inf, np.full(self.shape, np.inf)
        loss, grad = self.backend.loss_and_grad(params)
        grad /= self.backend.weight_sum
        grad[:, : self._n_columns] -= self._half_log_det_gradient(params, found) / self.weight_sum
        return self._value(loss, found), grad

    def _value(self, loss: float, found: Information) -> float:
        return loss / self.backend.weight_sum - (found.log_det - self._log_det_at_zero) / (2 * self.weight_sum)

    def _information(self, params: Float64s) -> Information | None:
        """The information matrix; None if it is singular to rounding errors, or not finite."""
        n, p = self.n_classes - 1, self._n_columns
        blocks = np.zeros((n, p, n, p))
        order = self._reference_last(params)
        for _, x, a, s in self._rows(params, order):
            for k in range(n):
                rest = s[:, 0] * a[:, k]
                own = rest * np.delete(a, k, axis=1).sum(axis=1)  # s a_k (1 - a_k), where 1 - a_k would lose digits
                blocks[k, :, k] += x.T @ (own[:, None] * x)
                for other in range(k + 1, n):
                    blocks[k, :, other] -= x.T @ ((rest * a[:, other])[:, None] * x)
        for k in range(n):
            for other in range(k + 1, n):
                blocks[other, :, k] = blocks[k, :, other].T
        matrix = blocks.reshape(n * p, n * p)
        diagonal = matrix.diagonal()
        if not (np.isfinite(matrix).all() and (diagonal > 0).all()):
            return None
        scale = 1 / np.sqrt(diagonal)
        root, failed = lapack().dpotrf(matrix * scale * scale[:, None], lower=1, clean=1)
        pivots = root.diagonal()
        if failed or not pivots.min() ** 2 > self._noise:
            return None
        inverse, _ = lapack().dpotri(root, lower=1)
        inverse = np.tril(inverse) + np.tril(inverse, -1).T
        return Information(2 * float(np.log(pivots / scale).sum()), inverse * scale * scale[:, None], order)

    def _reference_last(self, params: Float64s) -> NDArray[np.intp]:
        """The classes, with the one that has the largest sum of probabilities at the end."""
        each = np.arange(self.n_classes)
        reference = int(sum((s.T @ a)[0] for _, _, a, s in self._rows(params, each)).argmax())
        return np.append(np.delete(each, reference), reference)

    def _half_log_det_gradient(self, params: Float64s, found: Information) -> Float64s:
        """The gradient of log det I / 2, (n_classes, n_columns)."""
        n, p = self.n_classes - 1, self._n_columns
        blocks = found.inverse.reshape(n, p, n, p)
        total = np.zeros((self.n_classes, p))
        for columns, x, a, s in self._rows(params, found.order):
            form = np.empty((len(x), n, n))  # H of each sample
            for k in range(n):
                products = (x @ blocks[k].reshape(p, n * p)).reshape(len(x), n, p)
                form[:, k] = np.einsum("mlp,mp->ml", products, x)
            g = np.zeros_like(a)
            g[:, :n] = np.einsum("mkk->mk", form) - 2 * np.einsum("mkl,ml->mk", form, a[:, :n])
            # g_k - sum_l a_l g_l as the sum of a_l (g_k - g_l), which does not cancel where a_k is nearly 1.
            change = a * np.einsum("ml,mkl->mk", a, g[:, :, None] - g[:, None, :])
            total[found.order] += (s * change).T @ columns
        return total / 2

    def _rows(
        self, params: Float64s, order: NDArray[np.intp]
    ) -> Iterator[tuple[Float64s, Float64s, Float64s, Float64s]]:
        """Blocks of rows: raw and standardized columns (m, n_columns), probabilities (m, n_classes), weights (m, 1).

        The probabilities are in this order of the classes.
        """
        offset, weight = self._offset, self._weight
        for part, columns in self._columns():
            logits = columns @ params[:, : self._n_columns].T
            if offset.size:
                logits += offset[part]
            s = weight[part, None] if weight.size else np.ones((len(columns), 1))
            yield columns, (columns - self._centre) / self._scale, np.asarray(softmax(logits), np.float64)[:, order], s

    def _columns(self) -> Iterator[tuple[slice, Float64s]]:
        """Blocks of rows: which ones, and their columns (m, n_columns)."""
        row_size = self.n_classes * (self.n_classes + self._n_columns)
        return blocks(self._X, self.fit_intercept, row_size, n_bytes=BLOCK_BYTES)

    def _moments(self) -> tuple[Float64s, Float64s]:
        """What is subtracted from the columns, 0 without an intercept, and what they are then divided by."""
        centre, squares = np.zeros((2, self._n_columns))
        n = self._X.shape[0]
        if self.fit_intercept:
            for _, x in self._columns():
                centre += x.sum(axis=0) / n
            centre[-1] = 0.0
        with np.errstate(over="ignore"):
            for _, x in self._columns():
                squares += ((x - centre) ** 2).sum(axis=0)
        return centre, np.sqrt(np.where(squares > 0, squares / n, 1.0))


def _checked(problem: AnyProblem, options: ObjectiveOptions) -> ObjectiveOptions:
    """The options with which Firth's penalty is computed; the error if it has no meaning for this problem."""
    if not isinstance(problem, Problem) or problem.on_device or options.device.startswith("cuda"):
        raise InputValueError('penalty="firth" needs all rows in the memory of the host, and device="cpu".')
    given: dict[str, Any] = {
        "class_weight": problem.class_weight is not None,
        "label_smoothing": problem.label_smoothing > 0,
        "partial labels": problem.has_partial_labels,
    }
    for name, is_given in given.items():
        if is_given:
            raise InputValueError(f'penalty="firth" is a correction of the likelihood, and has no meaning with {name}.')
    n_params = (problem.n_classes - 1) * (problem.n_features + options.fit_intercept)
    if n_params > MOST_PARAMS:
        raise InputValueError(
            f'penalty="firth" inverts the information matrix in every step, and the model has {n_params} parameters; '
            f"expected at most {MOST_PARAMS}: use l2, or fewer features."
        )
    return replace(options, device="cpu")
