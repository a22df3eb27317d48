"""Steps of a quadratic model to its minimum over the coefficients that are not 0, with their Hessian.

Where an l1 penalty leaves few coefficients, and these keep their signs, the model is a quadratic function of them.
Steps that know its Hessian only by products converge slowly if features are nearly collinear: a fit of 10,259 texts
with 197,030 words and 20 classes, C = 10, took 430 s for 264 models of up to 200 products, and ended without a proof;
with the Hessian over its 2100 coefficients it takes 51 s for 39 models.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.face import hessian_ns
from nbsoftmax.kernels.runtime.lapack import lapack
from nbsoftmax.penalties import curvature_of_columns
from nbsoftmax.solvers.base import Curved
from nbsoftmax.solvers.tools.preconditioners import work_of_product
from nbsoftmax.solvers.tools.scaled_inverse import scale_of, scaled_root
from nbsoftmax.validation import Float64s

# Nanoseconds of a step of the model without the Hessian: its calls, a parameter, and a multiply-add of its product. And
# of the factorisation, for the cube of the number of parameters. The Hessian is made when the steps of a model have
# taken SHARE of the time that it takes.
CALLS_NS, PARAMETER_NS, MULTIPLY_NS, CUBE_NS, SHARE = 4e5, 150.0, 0.1, 0.012, 0.5
MOST_FREE = 2800  # parameters: their Hessian takes 60 MB
MOST_ZEROS = 100  # coefficients that come to 0 on the way to a minimum


class FaceNewton:
    """The Hessian at some parameters, over those that are not 0 and the intercepts, computed when it is needed.

    Parameters
    ----------
    part : Curved
    made_at : ndarray (n_classes, n_features + 1)
        The parameters of the model.
    """

    def __init__(self, part: Curved, made_at: Float64s) -> None:
        self._part, self._made_at = part, made_at
        self._free = np.zeros(made_at.shape, bool)
        self._hessian: Float64s = np.empty((0, 0))
        self._n_products = 0  # those of the model when the last Hessian was wanted
        self._of_root: NDArray[np.bool_] | None = None  # the parameters of the next two
        self._root: Float64s = np.empty((0, 0))
        self._scale: Float64s = np.empty(0)

    def pays(self, point: Float64s, n_products: int) -> bool:
        """Whether the Hessian at `point` is known, or `n_products` products have taken SHARE of its time."""
        free = self._free_at(point)
        if self._hessian.size and not (free & ~self._free).any():
            return True
        part, n = self._part, int(np.count_nonzero(free))
        counts, n_numbers = part.feature_counts(), None
        if counts is not None:
            n_numbers = int(counts @ free[:, :-1].sum(axis=0)) + part.n_samples * int(np.count_nonzero(free[:, -1]))
        step = CALLS_NS + PARAMETER_NS * point.size + MULTIPLY_NS * work_of_product(part)
        needed = SHARE * (hessian_ns(part.n_samples, n, n_numbers) + CUBE_NS * n**3)
        if (n_products - self._n_products) * step < needed:
            return False
        self._n_products = n_products
        return True

    def move(self, point: Float64s, steepest: Float64s) -> Float64s | None:
        """From `point` to the minimum over its coefficients that are not 0; None if it cannot be computed.

        On the way coefficients that come to 0 stay there, as in an active-set method (J. Nocedal, S. Wright, "Numerical
        Optimization", 2006, section 16.5). `steepest` is the subgradient of the model with its penalty.
        """
        free = self._free_at(point)
        if not 0 < np.count_nonzero(free) <= MOST_FREE or not self._factorised(free):
            return None
        bounded = np.ones(free.shape, bool)
        bounded[:, -1] = False
        moved = point.copy()
        moved[free] = self._path(point[free], steepest[free], bounded[free])
        return moved

    def _free_at(self, point: Float64s) -> NDArray[np.bool_]:
        free: NDArray[np.bool_] = point != 0
        free[:, -1] = self._part.fit_intercept
        return free

    def _path(self, w: Float64s, grad: Float64s, bounded: NDArray[np.bool_]) -> Float64s:
        """The minimum from `w` on, where `grad` is the gradient; `bounded` numbers do not change their signs.

        With H p = -grad + E l, where E has the unit vectors of the numbers that have come to 0, a step of length t
        leaves (1 - t) grad + t E l, so that the next step needs only the solution for the next unit vector.
        """
        w, newton = w.copy(), -self._solve(grad)
        zeros: list[int] = []
        columns = np.empty((MOST_ZEROS, w.size))  # of the inverse
        while True:
            p = newton
            if zeros:
                found = columns[: len(zeros)]
                p = newton - found.T @ np.linalg.lstsq(found[:, zeros], newton[zeros], rcond=None)[0]
                p[zeros] = 0.0
            with np.errstate(divide="ignore", invalid="ignore"):
                length = np.where(bounded & (w * (w + p) < 0), -w / p, np.inf)
            first = int(np.argmin(length))
            if not length[first] < 1:
                return w + p
            w += length[first] * p
            newton = newton - length[first] * p
            w[first], bounded[first] = 0.0, False
            if len(zeros) == MOST_ZEROS:
                return w
            unit = np.zeros(w.size)
            unit[first] = 1.0
            columns[len(zeros)] = self._solve(unit)
            zeros.append(first)

    def _solve(self, v: Float64s) -> Float64s:
        """H^-1 v."""
        found: Float64s = self._scale * lapack().dpotrs(self._root, self._scale * v, lower=1)[0]
        return found

    def _factorised(self, free: NDArray[np.bool_]) -> bool:
        """Compute the Hessian over these parameters and its Cholesky factor if needed; False if that is impossible."""
        if not self._hessian.size or (free & ~self._free).any():
            hessian = self._part.face_hessian(self._made_at, free)
            if hessian is None:
                return False
            self._free, self._hessian, self._of_root = free, self._definite(hessian, free), None
        if self._of_root is None or not np.array_equal(free, self._of_root):
            still = free[self._free]
            matrix = self._hessian if still.all() else self._hessian[np.ix_(still, still)]
            self._scale = scale_of(matrix.diagonal())
            self._root, self._of_root = scaled_root(matrix, self._scale), free
        return True

    def _definite(self, hessian: Float64s, free: NDArray[np.bool_]) -> Float64s:
        """With the curvature of the penalty, and one along the same shift of all intercepts, which changes nothing."""
        penalty = curvature_of_columns(self._part.penalty, free.shape[1])
        np.fill_diagonal(hessian, hessian.diagonal() + np.broadcast_to(penalty, free.shape)[free])
        if self._part.fit_intercept:
            intercepts = np.flatnonzero(np.nonzero(free)[1] == free.shape[1] - 1)
            hessian[np.ix_(intercepts, intercepts)] += hessian[intercepts, intercepts].mean()
        return hessian
