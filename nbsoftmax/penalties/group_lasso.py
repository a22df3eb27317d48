"""The group lasso: a penalty on the weights of each feature as one group; the formulas are those of `feature`."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax.penalties.feature import FeaturePenalty
from nbsoftmax.validation import Float64s


class GroupLasso(FeaturePenalty):
    """The weights of each feature as one group: R(C) = sum_j w_j (l1 ||C_:j||_2 + l2/2 ||C_:j||_2^2).

    Parameters
    ----------
    l1 : float
        Strength, at least 0.
    l2 : float
        Strength of the squares, at least 0.
    weights : array_like (n_features,), optional
        As in `Ridge`.

    Raises
    ------
    InputValueError, InputTypeError
        For l1 and l2 that are not finite numbers of at least 0, and for weights that are not one such number for each
        feature.
    """

    by_weight = False

    def __init__(self, l1: float, l2: float = 0.0, weights: ArrayLike | None = None) -> None:
        super().__init__(l1, l2, weights)

    def limits(self, shape: tuple[int, ...]) -> tuple[Float64s, ...]:
        """None: coordinate descent over groups has no bounds."""
        return ()

    def norms(self, coef: Float64s) -> Float64s:
        """||C_:j||_2, (n_features,)."""
        return np.asarray(np.linalg.norm(coef, axis=0))

    def _changes(self, before: Float64s, after: Float64s) -> Float64s:
        """The changes of `norms`, without the cancellation of a difference of rounded norms.

        ||v|| - ||w|| = (v - w) . (v + w) / (||v|| + ||w||)
        """
        products, sizes = ((after - before) * (after + before)).sum(axis=0), self.norms(after) + self.norms(before)
        return np.asarray(np.divide(products, sizes, out=np.zeros_like(sizes), where=sizes > 0))
