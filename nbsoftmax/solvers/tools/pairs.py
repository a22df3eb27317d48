"""What steps s and the changes y of the gradient along them tell of H^-1, beginning with some M^-1: L-BFGS.

J. Nocedal, "Updating quasi-Newton matrices with limited storage", Math. Comp. 35 (1980). Its two loops over the pairs,
written with matrices: S and Y have a pair in each row, the oldest first, divided by sqrt(s . y), and R is the upper
triangle of S Y^T, whose diagonal is 1.

    a = R^-1 S r,    q = M^-1 (r - Y^T a),    H^-1 r ~ q + S^T R^-T (a - Y q)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
from scipy.linalg import lapack

from nbsoftmax.validation import Float64s


class Pairs:
    """The last `most` pairs of arrays of `size` numbers; `kept`, (2, n, size): S and Y, replaced, never changed."""

    def __init__(self, size: int, most: int, kept: Float64s | None = None) -> None:
        self.most = most
        self._keep(np.empty((2, 0, size)) if kept is None else kept)

    def __len__(self) -> int:
        return int(self.kept.shape[1])

    def add(self, pairs: Iterable[tuple[Float64s, Float64s]]) -> None:
        """Add pairs (s, y), the oldest first; of no use are those of which s . y is not positive."""
        new = [
            np.stack(pair).reshape(2, 1, -1) / np.sqrt(curvature)
            for pair in pairs
            if 0 < (curvature := float(np.vdot(*pair))) < np.inf
        ]
        new = [pair for pair in new if np.isfinite(pair).all()]
        if new and self.most:
            self._keep(np.concatenate([self.kept, *new], axis=1)[:, -self.most :])

    def clear(self) -> None:
        """Forget all."""
        self._keep(self.kept[:, :0])

    def correct(self, residual: Float64s, begin: Callable[[Float64s], Float64s]) -> Float64s:
        """H^-1 times `residual`, as far as the pairs tell and `begin`, which multiplies by M^-1."""
        if not len(self):
            return begin(residual)
        steps, changes = self.kept
        ahead = lapack.dtrtrs(self._root, steps @ residual.ravel(), unitdiag=1)[0]
        q = begin(residual - (ahead @ changes).reshape(residual.shape))
        back = lapack.dtrtrs(self._root, ahead - changes @ q.ravel(), trans=1, unitdiag=1)[0]
        return np.asarray(q + (back @ steps).reshape(residual.shape))

    def _keep(self, kept: Float64s) -> None:
        self.kept = kept
        if not len(self):
            return
        self._root = np.triu(kept[0] @ kept[1].T)
        if not np.isfinite(self._root).all():
            self.clear()
