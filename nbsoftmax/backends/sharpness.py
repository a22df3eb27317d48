"""How fast the curvature of a small problem can change: for a bound on the gap that needs no penalty."""

from __future__ import annotations

import numpy as np

from nbsoftmax.validation import Float64s


def sharpness(x: Float64s, h: Float64s, proba: Float64s, l2s: Float64s) -> float:
    """The least q found with (u_ik - u_il)^2 <= q d^T H d for all directions d, samples i, and classes k and l.

    u_i = d x_i are the changes of the logits of sample i, and H is the Hessian of the objective. With s_ik the largest
    u_ik^2 for d^T H d = 1, q = max_i max_kl (sqrt(s_ik) + sqrt(s_il))^2. Directions sum to 0 over the classes, since
    the same change of all logits of a sample is none. inf if H is not positive definite in float64.

    Parameters
    ----------
    x : ndarray (n_features + 1, n_samples)
        The features in rows; the last one is 1, or 0 without intercepts.
    h : ndarray (n_samples,)
        The weights of the samples, divided by their sum.
    proba : ndarray (n_classes, n_samples)
    l2s : ndarray (n_features + 1,)
        Penalties of the features, l2_j / 2 ||W_:j||^2.
    """
    if not (h > 0).all():
        x, proba, h = x[:, h > 0], proba[:, h > 0], h[h > 0]
    n, n_reduced = len(x), len(proba) - 1
    matrix = _reduced_hessian(x, h, proba, l2s)
    # A feature that is always 0, as that of no intercepts, changes no logits.
    diagonal, changes = np.diag(matrix), np.tile(x.any(axis=1), n_reduced)
    if not (diagonal[changes] >= np.finfo(np.float64).tiny).all():
        return np.inf
    scale = np.zeros(diagonal.size)
    scale[changes] = 1 / np.sqrt(diagonal[changes])
    matrix = matrix * scale * scale[:, None] + np.diag(~changes)
    try:
        root = np.linalg.inv(np.linalg.cholesky(matrix)) * scale
    except np.linalg.LinAlgError:
        return np.inf
    inverse = (root.T @ root).reshape(n_reduced, n, n_reduced, n)
    first, second = np.zeros(x.shape[1]), np.zeros(x.shape[1])  # the two largest s of each sample
    for k in range(n_reduced + 1):
        of_class = inverse[k, :, k] if k < n_reduced else inverse.sum(axis=(0, 2))
        s = np.einsum("ji,ji->i", of_class @ x, x)
        second = np.maximum(second, np.minimum(first, s))
        first = np.maximum(first, s)
    q = float(np.square(np.sqrt(first) + np.sqrt(second)).max(initial=0.0))
    return q if np.isfinite(q) else np.inf


def _reduced_hessian(x: Float64s, h: Float64s, proba: Float64s, l2s: Float64s) -> Float64s:
    """H for directions of the first K - 1 classes, of which the last one is minus the sum, as in `kernels.newton`."""
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
