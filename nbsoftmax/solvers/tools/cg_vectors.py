"""The arrays of conjugate gradients and the operations on them: by NumPy, or by kernels for many parameters."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

import numpy as np

from nbsoftmax.kernels import conjugate
from nbsoftmax.kernels.runtime.threads import launch
from nbsoftmax.penalties import curvature_of_columns
from nbsoftmax.solvers.base import Curved, Smooth
from nbsoftmax.solvers.tools.centred_diagonal import CentredDiagonal
from nbsoftmax.solvers.tools.frequent_features import FrequentGram
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Float64s

MANY = 2**16  # parameters from which on kernels pay: small fits need not compile them
PASS_WORK = 16  # of a kernel for each parameter, in multiply-adds: it takes the time of its memory traffic


class CGVectors(Protocol):
    """For H d = -grad, with M^-1 in place of H^-1: what `conjugate_gradients` computes with.

    Attributes
    ----------
    direction, residual : ndarray
        d, and grad + H d. At first d is 0.
    search : ndarray
        The search direction s, at first M^-1 grad.
    square : float
        grad . M^-1 grad.
    asymmetry : float
        |s . H t - t . H s| / sqrt((s . H s) (t . H t)) of the last two search directions: rounding errors of products,
        relative to the curvatures. 0 where it is not computed.
    """

    direction: Float64s
    residual: Float64s
    search: Float64s
    square: float
    asymmetry: float

    def multiply(self) -> float:
        """Multiply H by `search`; returns s . H s."""
        ...

    def advance(self, step: float) -> float:
        """Change `direction` by -step s, and `residual` to match; returns the new r . M^-1 r."""
        ...

    def next_search(self, factor: float) -> None:
        """The next search direction, M^-1 r + factor s."""
        ...


class NewVectors:
    """The operations by NumPy. Each makes new arrays, so that those of earlier iterates stay as they are.

    `product` is H times `search`.

    `project` removes from a gradient its rounding errors along directions in which the objective is constant. `search`
    is the preconditioned, projected gradient, if it is known.
    """

    def __init__(
        self,
        objective: Smooth,
        params: Float64s,
        grad: Float64s,
        precondition: Callable[[Float64s], Float64s],
        project: Callable[[Float64s], Float64s],
        search: Float64s | None = None,
    ) -> None:
        self._objective, self._params, self._precondition, self._project = objective, params, precondition, project
        self.residual, self.direction = project(grad), np.zeros_like(grad)
        self.search = precondition(self.residual) if search is None else search
        self.product = self._preconditioned = np.empty((0, 0))
        self.square = float(np.vdot(self.residual, self.search))
        self.asymmetry = 0.0
        self._last: tuple[Float64s, Float64s, float] | None = None  # a search direction, its product and its curvature

    def multiply(self) -> float:
        """As in `CGVectors`."""
        self.product = self._project(self._objective.hvp(self._params, self.search))
        curvature = float(np.vdot(self.search, self.product))
        if self._last is not None and 0 < curvature < np.inf:
            search, product, before = self._last
            difference = float(np.vdot(search, self.product)) - float(np.vdot(self.search, product))
            self.asymmetry = abs(difference) / (math.sqrt(curvature) * math.sqrt(before))
        self._last = self.search, self.product, curvature
        return curvature

    def advance(self, step: float) -> float:
        """As in `CGVectors`."""
        self.direction = self.direction - step * self.search
        self.residual = self.residual - step * self.product
        self._preconditioned = self._precondition(self.residual)
        return float(np.vdot(self.residual, self._preconditioned))

    def next_search(self, factor: float) -> None:
        """As in `CGVectors`."""
        self.search = self._preconditioned + factor * self.search


class VectorsInPlace:
    """The operations by kernels, which change the arrays in place, for a `CentredDiagonal` as M.

    With `frequent`, M^-1 has two parts: that of the Gram matrix for its columns, and the diagonal for all others.

    Search directions sum to 0 over the classes, since softmax is invariant to shifts of all classes. Their products do,
    too, up to rounding errors, which r . M^-1 r and the search directions do not contain.

    Parameters
    ----------
    objective : Curved
    params, grad : ndarray (n_classes, n_features + 1)
    diagonal : CentredDiagonal
    frequent : FrequentGram, optional
    damping : float
        Added to the curvature of all coefficients.
    """

    def __init__(
        self,
        objective: Curved,
        params: Float64s,
        grad: Float64s,
        diagonal: CentredDiagonal,
        frequent: FrequentGram | None = None,
        *,
        damping: float = 0.0,
    ) -> None:
        n_classes, n = grad.shape
        self._times_hessian, self._divisor = objective.hvp_sums(params)
        curvature = curvature_of_columns(objective.penalty, n)
        curvature[:-1] += damping
        self._penalised = self._divisor, curvature
        self._sizes, self._n_threads = (n_classes, conjugate.columns_of_task(n_classes)), objective.n_threads
        self._inverse, self._centre, self._means = diagonal.inverse.reshape(-1), diagonal.centre, np.empty(n)
        self._frequent, self._of_frequent = frequent, np.empty((0, 0))  # the Gram matrix's part of M^-1 r
        self.direction, self.residual, self.search = np.zeros((3, *grad.shape))
        self.asymmetry = 0.0  # its computation needs a copy of the search direction
        # As `search` is 0, a step of -1 makes `residual` the gradient.
        self._product = grad * self._divisor
        self.square = self.advance(-1.0)
        self.next_search(0.0)

    def multiply(self) -> float:
        """As in `CGVectors`."""
        self._product = self._times_hessian(self.search)
        arrays = self.search.reshape(-1), self._product.reshape(-1)
        return self._sum(conjugate.curvature_along, *arrays, *self._penalised, *self._sizes)

    def advance(self, step: float) -> float:
        """As in `CGVectors`."""
        self._corner = self.residual[:, -1] - step * (self._product[:, -1] / self._divisor)
        arrays = (a.reshape(-1) for a in (self.direction, self.residual, self.search, self._product))
        diagonal = self._inverse, self._centre, self._corner
        shifts = np.empty((self._n_tasks, self._sizes[0]))
        results = self._means, shifts.reshape(-1)
        square = self._sum(conjugate.advance, *arrays, *self._penalised, *diagonal, step, *self._sizes, *results)
        shift = np.array([pairwise_sum(of_class) for of_class in shifts.T.copy()])
        self._shift = shift - shift.mean()
        if self._frequent is not None:
            residual = self.residual[:, self._frequent.columns]
            self._of_frequent = product = self._frequent(residual)
            product -= np.add.reduce(product, axis=0) / len(product)
            square += float(np.vdot(residual, product))
        return square

    def next_search(self, factor: float) -> None:
        """As in `CGVectors`."""
        arrays = self.search.reshape(-1), self.residual.reshape(-1), self._inverse, self._centre, self._corner
        self._run(conjugate.next_search, *arrays, factor, *self._sizes, self._means)
        self.search[:, -1] -= self._shift
        if self._frequent is not None:
            self.search[:, self._frequent.columns] += self._of_frequent

    def _sum(self, kernel: Any, *arguments: Any) -> float:
        """Run a kernel, and add the sums of its tasks in order."""
        partial = np.empty(self._n_tasks)
        self._run(kernel, *arguments, partial)
        return float(pairwise_sum(partial))

    def _run(self, kernel: Any, *arguments: Any) -> None:
        launch(kernel, self._n_tasks, PASS_WORK * self._inverse.size, self._n_threads, *arguments)

    @property
    def _n_tasks(self) -> int:
        return int(-(-self._means.size // self._sizes[1]))
