"""What conjugate gradients are preconditioned with: matrices M ever closer to the Hessian, and ever dearer to make.

diagonal   the diagonal of the Hessian
gram       X1^T D X1 / S for every class, D = diag(h_i mean_k a_ik (1 - a_ik))
blocks     X1^T D_k X1 / S for class k, D_k = diag(h_i a_ik (1 - a_ik)): the diagonal blocks of the Hessian
hessian    the Hessian, made definite along the shifts that leave softmax as it is: a product or two solve

with X1 = (X, 1), and the penalty added. The inverse of M undoes the scales and correlations of the features, so that no
scaling of the data is needed. Which one pays is a matter of cost: all are given in Hessian-vector products.

What conjugate gradients have shown of H corrects M^-1 for the next ones, by L-BFGS with their search directions s and
products H s as its pairs (J. Morales, J. Nocedal, "Automatic preconditioning by limited memory quasi-Newton updating",
SIAM J. Optim. 10, 2000): a sixth of the products less in the median of 132 fits, up to half.
"""

from __future__ import annotations

from collections import deque
from typing import Protocol

import numpy as np
from scipy.linalg import lapack

from nbsoftmax.kernels.runtime.threads import EXP_WORK
from nbsoftmax.solvers.base import Smooth
from nbsoftmax.solvers.tools.pairs import Pairs
from nbsoftmax.validation import Float64s

KINDS = ("diagonal", "gram", "blocks", "hessian")
# The largest M; making it takes a few times as much.
MOST_BYTES = 2**26
# A Gram matrix of so many products is always made: without one, fits to raw data may take thousands.
AFFORDABLE = 100
# Added to a unit diagonal. Collinear columns leave a pivot of rounding errors, whose inverse would make of the rounding
# errors of a residual steps of any length along a direction on which nothing depends.
LEAST_REPAIR = 1e-10
# Pairs that correct M^-1, what they may take, and how much they may change the norm of a gradient.
MOST_PAIRS, PAIRS_BYTES, MOST_CHANGE = 12, 2**26, 1e10
# Less is none: at points where all probabilities are 0 or 1 it is what the smallest of them leave.
LEAST_CURVATURE = 1e-100
# What a product takes of however few samples, in multiply-adds, and how many times as much each kind does. (Measured:
# with these the costs below are right to a factor of 2 or so for 15 to 200,000 samples of 4 to 784 features.)
CALL_WORK = 2**20
CALLS = {"diagonal": 2, "gram": 4, "blocks": 6, "hessian": 8}


class Curved(Smooth, Protocol):
    """What preconditioners ask for beyond `Smooth`: parts of the Hessian at `params`, without its penalty."""

    n_samples: int
    shape: tuple[int, int]

    def value(self, params: Float64s) -> float:
        """The objective."""
        ...

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal, (n_classes, n_features + 1)."""
        ...

    def gram(self, params: Float64s) -> Float64s:
        """The mean of the diagonal blocks, (n_features + 1, n_features + 1)."""
        ...

    def blocks(self, params: Float64s) -> Float64s:
        """The diagonal blocks, (n_classes, n_features + 1, n_features + 1)."""
        ...

    def hessian(self, params: Float64s) -> Float64s:
        """The whole, (n_classes, n_features + 1, n_classes, n_features + 1)."""
        ...


def costs(objective: Curved) -> dict[str, float]:
    """What making each kind takes, in Hessian-vector products; infinite where it would not fit in memory."""
    m, (k, d) = objective.n_samples, objective.shape
    product = CALL_WORK + m * k * (2 * d + EXP_WORK)
    proba = m * k * (d + EXP_WORK)
    work = {
        "diagonal": proba + m * k * d,
        "gram": proba + m * d**2 / 2 + d**3 / 3,
        "blocks": proba + m * k * d**2 / 2 + k * d**3 / 3,
        "hessian": proba + m * k * (k - 1) / 2 * d**2 / 2 + (k * d) ** 3 / 3,
    }
    size = {"diagonal": k * d, "gram": d**2, "blocks": k * d**2, "hessian": (k * d) ** 2}
    fits = {kind: kind == "diagonal" or 8 * size[kind] <= MOST_BYTES for kind in KINDS}
    return {kind: (CALLS[kind] * CALL_WORK + work[kind]) / product if fits[kind] else np.inf for kind in KINDS}


class Preconditioner:
    """M^-1 made at some parameters; `products` counts the uses since then."""

    def __init__(self, objective: Curved, params: Float64s, kind: str, pairs: Pairs | None = None) -> None:
        self.kind, self.made_at, self.products = kind, params, 0
        self.least_curvature = 0.0  # the smallest eigenvalue of M^-1 H that products have shown; 0: not known
        self._shape = k, d = objective.shape
        self.pairs = Pairs(k * d, min(MOST_PAIRS, PAIRS_BYTES // (16 * k * d))) if pairs is None else pairs
        self._noted: deque[tuple[Float64s, Float64s]] = deque(maxlen=self.pairs.most)
        penalty = np.full(d, objective.l2)
        penalty[-1] = 0.0
        if kind == "diagonal":
            self._scale, self._inverses = _scale_of(objective.curvatures(params) + penalty), None
            return
        if kind == "gram":
            matrices = objective.gram(params)[None]  # (1, d, d)
        elif kind == "blocks":
            matrices = objective.blocks(params)  # (k, d, d)
        else:
            whole = objective.hessian(params)
            # A shift of all classes is not seen by the Hessian; this makes it definite there and changes nothing else.
            whole += np.einsum("kikj->ij", whole)[:, None, :] / k
            matrices, penalty = whole.reshape(1, k * d, k * d), np.tile(penalty, k)
        self._scale = _scale_of(np.einsum("bii->bi", matrices) + penalty)
        self._inverses = np.stack([_inverse(*pair) for pair in zip(matrices, self._scale, strict=True)])

    def note(self, search: Float64s, product: Float64s) -> None:
        """Keep a direction and its product with H, for `learn`."""
        self._noted.append((search, product))

    def learn(self) -> None:
        """Correct M^-1 by what has been noted since; not while conjugate gradients use it."""
        self.pairs.add(self._noted)
        self._noted.clear()

    def square(self, residual: Float64s) -> float:
        """The square of a residual's norm, r . M^-1 r; corrections that change it beyond belief are dropped.

        Where all probabilities are 0 or 1 the products are rounding errors, and M^-1 made of them is not even definite.
        """
        plain = float(np.vdot(residual, centred(self._plain(residual))))
        if not len(self.pairs):
            return plain
        corrected = float(np.vdot(residual, self(residual)))
        if plain / MOST_CHANGE <= corrected <= plain * MOST_CHANGE:
            return corrected
        self.pairs.clear()
        return plain

    def saw(self, curvature: float) -> None:
        """Note an eigenvalue of M^-1 H at some parameters."""
        self.least_curvature = min(self.least_curvature or np.inf, curvature)

    def bound(self, square: float) -> float:
        """Of half of r . H^-1 r, given r . M^-1 r: as good as what is known of the least eigenvalue of M^-1 H."""
        return square / (2 * self.least_curvature) if self.least_curvature > 0 else np.inf

    def __call__(self, residual: Float64s) -> Float64s:
        """M^-1, corrected, times an array of the shape of the parameters, `centred`."""
        return centred(self.pairs.correct(residual, self._plain))

    def _plain(self, residual: Float64s) -> Float64s:
        """M^-1 times an array of the shape of the parameters."""
        if self._inverses is None:
            return np.asarray(residual * self._scale**2)
        if self.kind == "gram":  # shared by all classes
            scale = self._scale[0]
            return np.asarray(residual * scale @ self._inverses[0] * scale)
        scale = self._scale[:, :, None]
        right = residual.reshape(scale.shape) * scale
        return np.asarray((self._inverses @ right * scale).reshape(self._shape))


def centred(v: Float64s) -> Float64s:
    """What is left without the mean over the classes, by which softmax does not change."""
    return np.asarray(v - v.mean(axis=0))


def _scale_of(diagonal: Float64s) -> Float64s:
    """1 / sqrt(diagonal). Columns without curvature (constant 0, no intercept), or whose squares overflow, are left."""
    return np.asarray(1 / np.sqrt(np.where((diagonal > LEAST_CURVATURE) & (diagonal < np.inf), diagonal, 1.0)))


def _inverse(matrix: Float64s, scale: Float64s) -> Float64s:
    """The inverse of the matrix scaled to a unit diagonal: a third of the time of two triangular factors.

    Its eigenvalues lie between 1 / (the order of the matrix) and 1 / LEAST_REPAIR, so that the rounding errors of the
    largest, 2e-6, leave the smallest positive.
    """
    scaled = matrix * scale * scale[:, None]
    if not np.isfinite(scaled).all():
        scaled = np.eye(len(matrix))
    repair = LEAST_REPAIR
    while True:  # rounding errors may have made it indefinite: more and more of the diagonal repairs it
        np.fill_diagonal(scaled, 1.0 + repair)
        root, failed = lapack.dpotrf(scaled, lower=1, clean=1)
        if not failed:
            lower = np.tril(lapack.dpotri(root, lower=1)[0])
            return np.asarray(lower + np.tril(lower, -1).T)
        repair *= 100
