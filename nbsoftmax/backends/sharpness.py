"""How fast the curvature of a small problem can change: for a bound on the gap that needs no penalty.

Directions sum to 0 over the classes, since the same change of all logits of a sample changes nothing. The Hessian is
therefore that of the first K - 1 classes, as in `kernels.newton`: the last one changes by minus their sum.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.validation import Float64s

LEAST_PIVOT = 1e-11  # of a matrix with unit diagonal; a smaller one may consist of rounding errors


def reduced(hessian: Float64s, l2s: Float64s) -> Float64s:
    """The Hessian for the first K - 1 classes, from that of the loss for all (K, n, K, n) and the penalties (n,)."""
    first, last = hessian[:-1, :, :-1], hessian[-1, :, -1]
    matrix = first - hessian[:-1, :, -1:] - hessian[-1:, :, :-1] + last[None, :, None]
    k, n = len(first), len(l2s)
    penalty = np.kron(np.ones((k, k)) + np.eye(k), np.diag(l2s))
    return np.asarray(matrix.reshape(k * n, k * n) + penalty)


def reduced_from_proba(x: Float64s, h: Float64s, proba: Float64s, l2s: Float64s) -> Float64s:
    """The same from features (n, n_samples), weights of samples that sum to 1, and probabilities (K, n_samples).

    Small fits know the probabilities; to compile the kernel of the Hessian would take longer than the fit.
    """
    n, n_reduced = len(x), len(proba) - 1
    last, others, weighted = proba[-1], proba[:-1].sum(axis=0), x * h
    blocks = np.empty((n_reduced, n, n_reduced, n))
    for k in range(n_reduced):
        for m in range(k, n_reduced):
            if k == m:
                others_k = proba[np.arange(n_reduced + 1) != k].sum(axis=0)
                q = proba[k] * (others_k + 2 * last) + last * others
            else:
                q = last * (proba[k] + proba[m] + others) - proba[k] * proba[m]
            block = (weighted * q) @ x.T + np.diag(l2s * (2 if k == m else 1))
            blocks[k, :, m], blocks[m, :, k] = block, block
    return blocks.reshape(n_reduced * n, n_reduced * n)


def inverse_of(matrix: Float64s, used: NDArray[np.bool_]) -> Float64s | None:
    """The inverse of a reduced Hessian; None if it is not positive definite in float64.

    A feature that is not `used` (n,), since it is always 0, changes no logits. Its part of the inverse is 0.
    """
    diagonal, changes = np.diag(matrix), np.tile(used, len(matrix) // used.size)
    if not (diagonal[changes] >= np.finfo(np.float64).tiny).all():
        return None
    scale = np.zeros(diagonal.size)
    scale[changes] = 1 / np.sqrt(diagonal[changes])
    try:
        root = np.linalg.cholesky(matrix * scale * scale[:, None] + np.diag(~changes))
    except np.linalg.LinAlgError:
        return None
    if not np.square(np.diag(root)).min() > LEAST_PIVOT:
        return None
    root = np.linalg.inv(root) * scale
    return np.asarray(root.T @ root)


def sharpness(blocks: Iterable[Float64s], inverse: Float64s) -> float:
    """A number q with (u_ik - u_il)^2 <= q d^T H d for all directions d, samples i, and classes k and l.

    u_i = d x_i are the changes of the logits of sample i, and H is the Hessian of the objective. With s_ik the largest
    u_ik^2 for d^T H d = 1, (u_ik - u_il)^2 <= 2 (s_ik + s_il), and q = 2 max_i sum_k s_ik. Sums over two classes would
    be smaller, but take a product for each class.

    Parameters
    ----------
    blocks : iterable of ndarray (n_samples of the block, n)
        The features of all samples that have weight; the last one is 1, or 0 without intercepts.
    inverse : ndarray ((n_classes - 1) * n, (n_classes - 1) * n)
        That of the reduced Hessian.
    """
    q = 0.0
    for x in blocks:
        parts = inverse.reshape(-1, x.shape[1], len(inverse) // x.shape[1], x.shape[1])
        of_all = np.einsum("kikj->ij", parts) + parts.sum(axis=(0, 2))  # the first classes, and the last one
        q = max(q, 2 * float(np.einsum("ij,ij->i", x @ of_all, x).max(initial=0.0)))
    return q if np.isfinite(q) else np.inf
