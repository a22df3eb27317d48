"""The same shift of all classes with the least penalty: it changes no logit relative to another, and so no probability.

lasso, elastic net    argmin_m  l1_j sum_k |C_kj - m| + l2_j/2 sum_k (C_kj - m)^2
group lasso           argmin_m  l1_j ||C_:j - m|| + l2_j/2 ||C_:j - m||^2  =  the mean of C_:j
"""

from __future__ import annotations

import numpy as np

from nbsoftmax.penalties.bounded import BoundedPenalty
from nbsoftmax.penalties.feature import FeaturePenalty
from nbsoftmax.validation import Float64s

SORTED = 2**20  # numbers at a time


def least_at(penalty: FeaturePenalty, coef: Float64s) -> Float64s:
    """The m of each feature of coef (n_classes, n_features): the nearest to 0 where several are least."""
    if not penalty.by_weight:
        return np.asarray(coef.mean(axis=0))
    l1, l2 = penalty.strengths(coef.shape[1])
    signs = np.sign(coef)
    slope = np.abs(l1 * signs.sum(axis=0) + l2 * coef.sum(axis=0))  # at m = 0, without the classes of 0
    moving = np.flatnonzero(slope > l1 * (signs == 0).sum(axis=0))
    least = np.zeros(coef.shape[1])
    size = max(1, SORTED // (2 * len(coef) + 1))
    for some in np.split(moving, range(size, moving.size, size)):
        least[some] = _roots(coef[:, some], l1[some], l2[some])
    if isinstance(penalty, BoundedPenalty):  # the nearest that keeps all classes within their bounds
        np.clip(least, (coef - penalty.high).max(axis=0), (coef - penalty.low).min(axis=0), out=least)
    return least


def _roots(coef: Float64s, l1: Float64s, l2: Float64s) -> Float64s:
    """The roots of K l2 (m - mean) + l1 (2 i - K), with i of the K classes below m.

    Each is the median of the classes and of the roots for i = 0 to K, which decrease with i.
    """
    n_classes = len(coef)
    pull = l1 * (n_classes - 2 * np.arange(n_classes + 1))[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        roots = coef.mean(axis=0) + pull / (n_classes * l2)  # infinite without l2
    roots = np.where(np.isnan(roots), 0.0, roots)  # without l2, for half of the classes: any m between the middle two
    found: Float64s = np.sort(np.concatenate([coef, roots]), axis=0)[n_classes]
    return found
