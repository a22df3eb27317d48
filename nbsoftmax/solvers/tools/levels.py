"""A preconditioner for sparse data with a category of thousands of levels beside some other features.

levels     for class k, the block of the Hessian, as the kind `blocks`

               [ F   B^T ]        F of the frequent features and of the intercept,
               [ B   D   ]        D of the levels: diagonal, since no sample has two of them

           by D^-1 and S^-1, where S = F - B^T D^-1 B (the Schur complement of D)

with the penalty added to F and D. Levels whose groups are features too, such as districts and their towns, are nearly
collinear with them. 200,000 x 5081 with 4 classes and a weak penalty took 1004 products with the kind `frequent`, and
11 with this one.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.solvers.base import Curved
from nbsoftmax.solvers.tools.scaled_inverse import scale_of, scaled_inverse
from nbsoftmax.validation import Float64s

# Multiply-adds of each number of X, for each class: products of sparse matrices.
NUMBER_WORK = 450
LEVELS = 2**12  # whose couplings are dense at a time
LEAST_LEFT = 1e-12  # the least share of the curvature of a feature that the levels leave


def work_of(objective: Curved, counts: NDArray[np.int64], n_frequent: int) -> float:
    """Multiply-adds of the preconditioner."""
    k, order = objective.shape[0], n_frequent + 1
    return float(k * (NUMBER_WORK * counts.sum() + counts.size * order**2 / 2 + order**3))


def most_bytes(objective: Curved, counts: NDArray[np.int64], n_frequent: int) -> float:
    """The most bytes that it takes, for F as float64 and B as sparse arrays of all classes."""
    order = n_frequent + 1
    return float(objective.shape[0] * (8 * order**2 + 12 * min(counts.sum(), (counts.size - n_frequent) * order)))


class LevelBlocks:
    """M^-1 at some parameters.

    Parameters
    ----------
    objective : Curved
        Whose `sparse_rows` have `frequent_beside_levels`.
    params : ndarray (n_classes, n_features + 1)
    penalty : ndarray (n_features + 1,)
        Its curvature.
    """

    def __init__(self, objective: Curved, params: Float64s, penalty: Float64s) -> None:
        rows = objective.sparse_rows
        assert rows is not None
        features = rows.frequent_beside_levels()
        assert features is not None
        self._features = np.append(features, penalty.size - 1)
        self._levels = np.setdiff1d(np.arange(penalty.size), self._features)
        blocks, self._couplings = rows.blocks_beside_levels(params)
        blocks /= rows.weight_sum
        curvatures = objective.curvatures(params)[:, self._levels] + penalty[self._levels]
        self._inverse_levels: Float64s = scale_of(curvatures) ** 2
        self._inverses = []
        for block, coupling, inverse in zip(blocks, self._couplings, self._inverse_levels, strict=True):
            coupling.data /= rows.weight_sum
            block[np.diag_indices_from(block)] += penalty[self._features]
            self._inverses.append(_inverse(block, coupling, inverse))

    def __call__(self, residual: Float64s) -> Float64s:
        """M^-1 times an array of the shape of the parameters."""
        step = np.empty_like(residual)
        for k, (inverse, scale) in enumerate(self._inverses):
            coupling, of_levels = self._couplings[k], self._inverse_levels[k]
            right = residual[k, self._levels] * of_levels
            some = inverse @ ((residual[k, self._features] - coupling.T @ right) * scale) * scale
            step[k, self._features] = some
            step[k, self._levels] = right - of_levels * (coupling @ some)
        return step


def _inverse(block: Float64s, coupling: Any, of_levels: Float64s) -> tuple[Float64s, Float64s]:
    """The inverse of the Schur complement, scaled, and its scale."""
    diagonal = block.diagonal().copy()
    for start in range(0, of_levels.size, LEVELS):
        part = slice(start, start + LEVELS)
        scaled = coupling[part].toarray() * np.sqrt(of_levels[part])[:, None]
        block -= scaled.T @ scaled
    np.fill_diagonal(block, np.maximum(block.diagonal(), LEAST_LEFT * diagonal))
    scale = scale_of(block.diagonal())
    return scaled_inverse(block, scale), scale
