"""Sums over the probabilities that Hessian-vector products have stored, which need no pass over X."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from nbsoftmax.validation import Float64s, Floats


def intercept_curvature(parts: Iterable[tuple[Floats, Float64s]], n_classes: int) -> Float64s:
    """sum_i h_i (a_ik [k = l] - a_ik a_il), (K, K).

    `parts` are probabilities a (n, K) of some rows with their weights h (n,), which are empty if all are 1. For two
    classes, products a (1 - a), (n, 1), may take the place of the probabilities.
    """
    sums = np.zeros((n_classes, n_classes))
    for proba, weight in parts:
        if proba.shape[1] == 1:
            sums += np.sum(proba[:, 0] * weight if weight.size else proba, dtype=np.float64)
            continue
        a = proba.astype(np.float64, copy=False)
        sums += a.T @ (a * weight[:, None] if weight.size else a)
    np.fill_diagonal(sums, 0.0)
    return np.diag(sums.sum(axis=0)) - sums  # a sum of positive terms, where a_k (1 - a_k) would cancel
