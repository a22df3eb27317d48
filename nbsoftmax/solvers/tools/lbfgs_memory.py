"""L-BFGS memory: the inverse Hessian from the last steps s, their gradient changes y, and a preconditioner M^-1.

J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980). The two-loop recursion is
written with matrices: each row of S and Y holds a pair divided by sqrt(s . y), the oldest first, and R is the upper
triangle of S Y^T, whose diagonal is 1.

    a = R^-1 S r,    q = M^-1 (r - Y^T a),    H^-1 r ~ q + S^T R^-T (a - Y q)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable

import numpy as np

from nbsoftmax.kernels.runtime.lapack import lapack
from nbsoftmax.validation import Float64s

SPARE = 4  # pairs for which there is room beyond the capacity


class LBFGSMemory:
    """The last `capacity` pairs of arrays of `size` numbers.

    `pairs`, (2, n_pairs, size), holds S and Y; it is replaced, never changed in place.
    """

    def __init__(self, size: int, capacity: int, pairs: Float64s | None = None) -> None:
        self.capacity = capacity
        self._room, self._end = np.empty((2, 0, size)), 0
        self._store(np.empty((2, 0, size)) if pairs is None else pairs)

    def __len__(self) -> int:
        return self._n

    def add(self, pairs: Iterable[tuple[Float64s, Float64s]]) -> None:
        """Add pairs (s, y), the oldest first; those whose s . y is not positive are skipped."""
        new = [
            np.array(pair).reshape(2, 1, -1) / math.sqrt(curvature)
            for pair in pairs
            if 0 < (curvature := float(np.vdot(*pair))) < np.inf
        ]
        new = [pair for pair in new if np.isfinite(pair).all()]
        if new and self.capacity:
            self._append(new[-self.capacity :])

    def _append(self, new: list[Float64s]) -> None:
        """Add pairs (2, 1, size) after the last one; those of earlier `pairs` stay as they are.

        There is room for some more, because to copy all pairs each time took longer than the products of sparse data.
        """
        start, end = max(0, self._n + len(new) - self.capacity), self._end + len(new)
        if end > self._room.shape[1]:
            kept, end = self.pairs[:, start:], self._n - start + len(new)
            start = 0
            self._room = np.empty((2, self.capacity + SPARE, kept.shape[2]))
            self._room[:, : kept.shape[1]] = kept
        else:
            start += self._end - self._n
        for i, pair in enumerate(new, end - len(new)):
            self._room[:, i : i + 1] = pair
        self._end = end
        self._store(self._room[:, start:end])

    def clear(self) -> None:
        """Remove all pairs."""
        self._end = self._room.shape[1]
        self._store(self.pairs[:, :0])

    def inverse_product(self, residual: Float64s, initial: Callable[[Float64s], Float64s]) -> Float64s:
        """The approximate H^-1 times `residual`; `initial` multiplies by M^-1."""
        if not len(self):
            return initial(residual)
        steps, changes, shape = self.pairs[0], self.pairs[1], residual.shape
        ahead = lapack().dtrtrs(self._root, steps @ residual.reshape(-1), unitdiag=1)[0]
        q = initial(residual - (ahead @ changes).reshape(shape))
        back = lapack().dtrtrs(self._root, ahead - changes @ q.reshape(-1), trans=1, unitdiag=1)[0]
        return np.asarray(q + (back @ steps).reshape(shape))

    def step(self, grad: Float64s, initial: Callable[[Float64s], Float64s]) -> Float64s:
        """-H^-1 grad by `inverse_product`, with M^-1 scaled so that it is exact for the last pair."""
        scale = 1.0
        if len(self):
            change = self.pairs[1, -1].reshape(grad.shape)
            scale = 1 / float(np.vdot(change, initial(change)))
        return -self.inverse_product(grad, lambda residual: scale * initial(residual))

    def _store(self, pairs: Float64s) -> None:
        self.pairs, self._n = pairs, int(pairs.shape[1])
        if not len(self):
            return
        # Only the upper triangle is read. In this order LAPACK needs no copy.
        self._root = np.asfortranarray(pairs[0] @ pairs[1].T)
        if not (np.isfinite(self._root).all() or np.isfinite(np.triu(self._root)).all()):
            self.clear()
