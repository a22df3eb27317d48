"""Preconditioners of conjugate gradients: approximations M of the Hessian, from cheapest to most accurate.

diagonal   the diagonal of the Hessian, for sparse data after the features are centred: see `centred_diagonal`
frequent   for sparse data with too many features for the next kind: see `frequent_features`
levels     for sparse data with a category of thousands of levels: see `levels`
gram       X1^T D X1 / S for every class, D = diag(h_i mean_k a_ik (1 - a_ik))
blocks     X1^T D_k X1 / S for class k, D_k = diag(h_i a_ik (1 - a_ik)): the diagonal blocks of the Hessian
hessian    the Hessian, but for shifts of all classes, which change nothing: directions take one or two products

with X1 = (X, 1), and the penalty added. M accounts for the scales and correlations of the features, so that the data
need no scaling. Costs are in units of Hessian-vector products.

The search directions s and products H s of earlier conjugate gradients correct M^-1, as the pairs of an L-BFGS memory
(J. Morales, J. Nocedal, "Automatic preconditioning by limited memory quasi-Newton updating", SIAM J. Optim. 10, 2000):
this saved a sixth of the products in the median of 132 fits, and at most half of them.
"""

from __future__ import annotations

import math
from collections import deque

import numpy as np

from nbsoftmax.kernels.runtime.threads import EXP_WORK
from nbsoftmax.penalties import curvature_of_columns
from nbsoftmax.solvers.base import Curved, Point
from nbsoftmax.solvers.tools import levels
from nbsoftmax.solvers.tools.centred_diagonal import CentredDiagonal
from nbsoftmax.solvers.tools.cg_vectors import MANY, CGVectors, NewVectors, VectorsInPlace
from nbsoftmax.solvers.tools.frequent_features import FrequentGram, frequent_columns, product_work, works
from nbsoftmax.solvers.tools.lbfgs_memory import LBFGSMemory
from nbsoftmax.solvers.tools.levels import LevelBlocks
from nbsoftmax.solvers.tools.scaled_inverse import scale_of, scaled_inverse
from nbsoftmax.solvers.tools.square_products import times_square
from nbsoftmax.validation import Float64s

KINDS = ("diagonal", "frequent", "gram", "levels", "blocks", "hessian")
# The largest M; to make it takes a few times as much memory.
MOST_BYTES = 2**26
# A Gram matrix that costs this many products is always made: without one, fits to raw data may take thousands.
AFFORDABLE = 100
# Pairs that correct M^-1, the bytes that they may take, and the factor by which they may change the square of a norm.
MOST_PAIRS, PAIRS_BYTES, MOST_CHANGE = 12, 2**26, 1e10
# The share of the products that pairs save, the work of one in each product for each parameter, which is the time of
# four reads, and the fewest that are useful: a quasi-Newton method with less is too slow. Up to CACHED parameters, all
# pairs stay in a second-level cache and cost less.
PAIRS_SAVE, PAIR_WORK, CACHED_PAIR_WORK, CACHED, FEWEST_PAIRS = 1 / 6, 24, 12, 2**13, 4
# The fixed cost of a product in multiply-adds, and how many times that each kind takes. (Measured: with these the costs
# below are right to a factor of about 2 for 15 to 200,000 samples of 4 to 784 features.)
CALL_WORK = 2**20
CALLS = {"diagonal": 2, "frequent": 4, "gram": 4, "levels": 8, "blocks": 6, "hessian": 8}


def costs(objective: Curved) -> dict[str, float]:
    """The cost of each kind in Hessian-vector products; inf if it does not fit in memory."""
    m, (k, d) = objective.n_samples, objective.shape
    product = CALL_WORK + work_of_product(objective)
    proba = m * k * (d + EXP_WORK)
    work = {
        "diagonal": proba + m * k * d,
        "gram": proba + m * d**2 / 2 + d**3 / 3,
        "blocks": proba + m * k * d**2 / 2 + k * d**3 / 3,
        "hessian": proba + m * k * (k - 1) / 2 * d**2 / 2 + ((k - 1) * d) ** 3 / 3,
    }
    size = {"diagonal": k * d, "gram": d**2, "blocks": k * d**2, "hessian": (k * d) ** 2}
    fits = {kind: kind == "diagonal" or 8 * size[kind] <= MOST_BYTES for kind in size}
    counts = objective.feature_counts()
    if counts is not None:
        work = {kind: min(of_kind, work.get(kind, np.inf)) for kind, of_kind in works(objective, counts).items()}
        fits["frequent"] = not fits["gram"]
        if not fits["blocks"]:
            assert objective.sparse_rows is not None
            frequent = objective.sparse_rows.frequent_beside_levels()
            if frequent is not None:
                work["levels"] = levels.work_of(objective, counts, frequent.size)
                fits["levels"] = levels.most_bytes(objective, counts, frequent.size) <= MOST_BYTES
    return {kind: (CALLS[kind] * CALL_WORK + work[kind]) / product if fits.get(kind) else np.inf for kind in KINDS}


def work_of_product(objective: Curved) -> float:
    """Multiply-adds of a Hessian-vector product."""
    m, (k, d) = objective.n_samples, objective.shape
    counts = objective.feature_counts()
    return m * k * (2 * d + EXP_WORK) if counts is None else product_work(objective, counts)


def n_pairs(objective: Curved) -> int:
    """How many pairs correct M^-1: none if those that are useful cost more than they save."""
    size = math.prod(objective.shape)
    product = CALL_WORK + work_of_product(objective)
    pair = (PAIR_WORK if size > CACHED else CACHED_PAIR_WORK) * size
    most = min(MOST_PAIRS, PAIRS_BYTES // (16 * size), int(PAIRS_SAVE * product / pair))
    return most if most >= FEWEST_PAIRS else 0


class Preconditioner:
    """M^-1 made at some parameters; `products` counts the uses since then."""

    def __init__(self, objective: Curved, params: Float64s, kind: str, memory: LBFGSMemory | None = None) -> None:
        self.kind, self.made_at, self.products, self._damping = kind, params, 0, 0.0
        self.least_curvature = 0.0  # the smallest known eigenvalue of M^-1 H; 0 if none is known
        self._shape = k, d = objective.shape
        self._n_threads = objective.n_threads
        self.memory = LBFGSMemory(k * d, n_pairs(objective)) if memory is None else memory
        self._frequent: FrequentGram | None = None
        self._diagonal: CentredDiagonal | None = None
        self._levels: LevelBlocks | None = None
        self._recorded: deque[tuple[Float64s, Float64s]] = deque(maxlen=self.memory.capacity)
        penalty = curvature_of_columns(objective.penalty, d)
        if kind in {"diagonal", "frequent"}:
            apart = frequent_columns(objective) if kind == "frequent" else np.empty(0, np.int64)
            self._diagonal = CentredDiagonal(objective, params, penalty, apart)
            if kind == "frequent":
                diagonal = self._diagonal.apart_curvatures + penalty[apart]
                self._frequent = FrequentGram(objective, params, diagonal, penalty, apart)
            return
        if kind == "levels":
            self._levels = LevelBlocks(objective, params, penalty)
            return
        if kind == "gram":
            matrices = objective.gram(params)[None]  # (1, d, d)
        elif kind == "blocks":
            matrices = objective.blocks(params)  # (k, d, d)
        else:
            # The Hessian is singular along shifts of all classes: without the last class it is definite. The penalty is
            # that of the parameters after such a shift, to a mean of 0 over the classes.
            whole = objective.hessian(params)[:-1, :, :-1]
            np.einsum("kjlj->jkl", whole)[:] += penalty[:, None, None] * (np.eye(k - 1) - 1 / k)
            matrices, penalty = whole.reshape(1, (k - 1) * d, -1), np.zeros(1)
        self._scale = scale_of(np.einsum("bii->bi", matrices) + penalty)
        self._inverses = matrices  # in their place: a new array takes as long as an inverse
        for matrix, scale in zip(matrices, self._scale, strict=True):
            matrix[:] = scaled_inverse(matrix, scale)

    def vectors(self, objective: Curved, point: Point) -> CGVectors:
        """The arrays of conjugate gradients from a point on."""
        if self._in_place is not None:
            parts = self._in_place, self._frequent
            return VectorsInPlace(objective, point.params, point.grad, *parts, damping=self._damping)
        search = self._first_search(centred(point.grad))
        return NewVectors(objective, point.params, point.grad, self, centred, search)

    @property
    def _in_place(self) -> CentredDiagonal | None:
        """The diagonal if conjugate gradients change their arrays in place."""
        return self._diagonal if math.prod(self._shape) >= MANY and not self.memory.capacity else None

    @property
    def _damped(self) -> CentredDiagonal | None:
        """The diagonal if directions can be damped; the Gram matrix of `frequent` would have to be made again."""
        return self._in_place if self.kind == "diagonal" else None

    @property
    def damps(self) -> bool:
        """Whether directions can be damped."""
        return self._damped is not None

    def typical_curvature(self) -> float:
        """The mean curvature of the coefficients, each with itself as its weight; 0 if directions cannot be damped."""
        return 0.0 if self._damped is None else self._damped.typical_curvature()

    def damp(self, delta: float) -> None:
        """Add delta to the curvature of all coefficients in the next directions, in place of an earlier one."""
        if delta != self._damping and self._damped is not None:
            self._damped.damp(delta)
            self._damping = delta

    def record(self, search: Float64s, product: Float64s) -> None:
        """Record a search direction and its product with H, for `update`."""
        self._recorded.append((search, product))  # at most `memory.capacity`

    def update(self) -> None:
        """Correct M^-1 by the recorded products. Conjugate gradients must not be in progress."""
        self.memory.add(self._recorded)
        self._recorded.clear()

    def _first_search(self, residual: Float64s) -> Float64s:
        """M^-1 r; drops corrections that change the square of the residual's norm, r . M^-1 r, implausibly.

        If all probabilities are 0 or 1, the products are rounding errors, and the corrected M^-1 is indefinite.
        """
        plain = centred(self.uncorrected(residual))
        if not len(self.memory):
            return plain
        search, square = self(residual), float(np.vdot(residual, plain))
        if square / MOST_CHANGE <= float(np.vdot(residual, search)) <= square * MOST_CHANGE:
            return search
        self.memory.clear()
        return plain

    def quasi_newton_step(self, grad: Float64s) -> Float64s:
        """-H^-1 grad as L-BFGS approximates it."""
        return centred(self.memory.step(grad, self.uncorrected))

    def record_curvature(self, curvature: float) -> None:
        """Record an eigenvalue of M^-1 H, possibly at other parameters."""
        if not self._damping:
            self.least_curvature = min(self.least_curvature or np.inf, curvature)

    def decrement_bound(self, square: float) -> float:
        """A bound on r . H^-1 r / 2, given r . M^-1 r and the smallest known eigenvalue of M^-1 H."""
        return square / (2 * self.least_curvature) if self.least_curvature > 0 else np.inf

    def __call__(self, residual: Float64s) -> Float64s:
        """M^-1, corrected, times an array of the shape of the parameters, `centred`."""
        return centred(self.memory.inverse_product(residual, self.uncorrected))

    def uncorrected(self, residual: Float64s) -> Float64s:
        """M^-1 times an array of the shape of the parameters, without corrections by pairs."""
        if self._diagonal is not None:
            product = self._diagonal(residual)
            if self._frequent is not None:
                product[:, self._frequent.columns] += self._frequent(residual[:, self._frequent.columns])
            return product
        if self._levels is not None:
            return self._levels(residual)
        if self.kind == "gram":  # shared by all classes
            scale = self._scale[0]
            return np.asarray(times_square(residual * scale, self._inverses[0], self._n_threads) * scale)
        scale = self._scale[:, :, None]
        if self.kind == "blocks":
            return np.asarray((self._inverses @ (residual[:, :, None] * scale) * scale)[:, :, 0])
        right = centred(residual)[:-1].reshape(scale.shape) * scale
        step = np.zeros(self._shape)
        step[:-1] = (self._inverses @ right * scale).reshape(-1, self._shape[1])
        return centred(step)


def centred(v: Float64s) -> Float64s:
    """`v` minus its mean over the classes, to which softmax is invariant."""
    return np.asarray(v - np.add.reduce(v, axis=0) / len(v))  # `v.mean` has the same bits, and takes twice as long


def centred_start(objective: Curved, start: Float64s) -> Float64s:
    """`start`; with a penalty, shifted so that the coefficients sum to 0 over the classes, as they do at the minimum.

    Steps along `centred` directions keep this. (Without it, `blocks` took 6 to 20 times as many products.)
    """
    if objective.penalty.is_zero:
        return start
    return np.column_stack([centred(start[:, :-1]), start[:, -1]])
