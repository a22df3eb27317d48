"""The backend of rows in the memory of the host: dense or sparse."""

from __future__ import annotations

from typing import Any

from nbsoftmax.backends.base import Backend
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.validation import Floats, WeightedTargets, is_sparse


def in_memory(
    X: Any, target: WeightedTargets, *, offset: Floats, fit_intercept: bool, n_threads: int | None
) -> Backend:
    """A `SparseBackend` for a sparse X, and a `DenseBackend` for an array; the parameters are theirs."""
    options: dict[str, Any] = {"offset": offset, "fit_intercept": fit_intercept, "n_threads": n_threads}
    if is_sparse(X):
        from nbsoftmax.backends.sparse import SparseBackend  # fits to arrays do not need it

        return SparseBackend(X, target, **options)
    return DenseBackend(X, target, **options)
