"""The Hessian of the loss over some of the parameters, such as the coefficients that an l1 penalty leaves.

    H = sum_i h_i (a_ik [k = l] - a_ik a_il) x_ij x_ip        over the free (k, j) and (l, p), where x_i ends with a 1

The products of blocks of rows are those of BLAS, or of SciPy where rows have few numbers of free features.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.validation import Float64s, Floats, is_sparse

NUMBERS = 2**21  # of the logits of a block of rows, or of its dense columns
# What a product of two numbers of a row takes, in nanoseconds: by SciPy, which finds its place, and by BLAS; and what
# the copies of a number of a dense row take. (On one thread of an Intel Xeon with AVX-512; by SciPy 2.4 to 10.)
SPARSE_NS, DENSE_NS, COPIES_NS = 5.0, 0.0155, 10.0


def hessian_ns(n_samples: int, n: int, n_numbers: int | None = None) -> float:
    """About how many nanoseconds the Hessian over n parameters takes.

    For sparse rows `n_numbers` is how many numbers of free parameters they have together.
    """
    dense = n_samples * n * (DENSE_NS * n + COPIES_NS)
    return dense if n_numbers is None else min(dense, SPARSE_NS * n_numbers**2 / max(1, n_samples))


def face_hessian(
    X: Any, offset: Floats, weight: Float64s, free: NDArray[np.bool_], logits: Callable[[slice], Floats]
) -> Float64s:
    """H, (n, n), its rows and columns in the order of the n free parameters in `free`, (n_classes, n_features + 1).

    Parameters
    ----------
    X : ndarray or csr_array (n_samples, n_features)
    offset : ndarray (n_samples, n_classes); (0, 0) for none
    weight : ndarray (n_samples,)
        h; (0,) if all are 1.
    free : ndarray of bool
    logits : callable
        The logits of a slice of the samples, without offset.
    """
    n_classes, columns = len(free), [np.flatnonzero(of_class) for of_class in free]
    ends = np.cumsum([0, *(some.size for some in columns)])
    classes = [slice(int(low), int(high)) for low, high in pairwise(ends)]
    n = int(ends[-1])
    by_scipy = is_sparse(X) and SPARSE_NS * _squared_counts(X, free) < hessian_ns(X.shape[0], n)
    cross = np.zeros((n, n))
    own = [np.zeros((some.size,) * 2) for some in columns]
    size = max(64, NUMBERS // max(n_classes, 1 if by_scipy else n))
    for start in range(0, X.shape[0], size):
        part = slice(start, start + size)
        a, rest = probabilities(logits(part).astype(np.float64), offset[part])
        rows = _with_ones(X[part] if by_scipy or not is_sparse(X) else X[part].toarray())
        h = weight[part] if weight.size else np.ones(len(a))
        scaled = []
        for k, some in enumerate(columns):
            mine = rows[:, some]
            own[k] += _gram(_times(mine, np.sqrt(h * a[:, k] * rest[:, k])))
            scaled.append(_times(mine, np.sqrt(h) * a[:, k]))
        cross += _gram(_beside(scaled))
    hessian = -cross
    for of_class, block in zip(classes, own, strict=True):
        hessian[of_class, of_class] = block
    return hessian


def _squared_counts(X: Any, free: NDArray[np.bool_]) -> float:
    """The sum of the squares of how many numbers of free parameters each sample has."""
    pattern = type(X)((np.ones(X.nnz), X.indices, X.indptr), shape=X.shape)
    counts = pattern @ free[:, :-1].sum(axis=0) + np.count_nonzero(free[:, -1])
    return float(np.vdot(counts, counts))


def probabilities(z: Float64s, offset: Floats) -> tuple[Float64s, Float64s]:
    """a, and 1 - a as the sum of the others, which does not cancel; `z` changes."""
    if offset.size:
        z += offset
    z -= z.max(axis=1, keepdims=True)
    a = np.exp(z, out=z)
    a /= a.sum(axis=1, keepdims=True)
    return a, a @ (1.0 - np.eye(a.shape[1]))


def _with_ones(rows: Any) -> Any:
    """The rows with a 1 at their end, dense in Fortran order or sparse by columns."""
    ones = np.ones((rows.shape[0], 1))
    if not is_sparse(rows):
        return np.asfortranarray(np.hstack([rows, ones]))
    from scipy import sparse

    return sparse.hstack([rows, sparse.csc_array(ones)], format="csc")


def _times(columns: Any, factors: Float64s) -> Any:
    """Columns whose rows are multiplied by factors."""
    if not is_sparse(columns):
        return columns * factors[:, None]
    return type(columns)((columns.data * factors[columns.indices], columns.indices, columns.indptr), columns.shape)


def _beside(parts: list[Any]) -> Any:
    if not is_sparse(parts[0]):
        return np.hstack(parts)
    from scipy import sparse

    return sparse.hstack(parts, format="csc")


def _gram(columns: Any) -> Any:
    product = columns.T @ columns
    return product.toarray() if is_sparse(product) else product
