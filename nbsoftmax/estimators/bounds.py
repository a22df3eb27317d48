"""Bounds on `coef_` as bounds on the coefficients of all classes.

For two classes `coef_` has one row, c = w_1 - w_0. Bounds l <= c <= h are those of the pair w_1 in [l/2, h/2] and
w_0 in [-h/2, -l/2]: all differences of such pairs are in [l, h], and each c in [l, h] is that of the pair c/2 and -c/2,
which has the smallest penalty of all pairs with this difference (`selection.path`).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.errors import InputValueError
from nbsoftmax.penalties import limits_of


def bounds_of_classes(bounds: Any, n_classes: int, n_features: int) -> Any:
    """The `bounds` of `Trainer` for bounds on `coef_`."""
    if bounds is None or n_classes > 2:
        return bounds
    rows = []
    for end in limits_of(bounds):
        if end.shape not in ((), (n_features,), (1, n_features)):
            raise InputValueError(
                f"bounds have shape {end.shape}, expected a number, ({n_features},) or (1, {n_features}): for two "
                "classes coef_ has one row.",
                parameter="bounds",
            )
        rows.append(np.broadcast_to(end, (1, n_features)) / 2)
    low, high = rows
    return np.vstack([-high, low]), np.vstack([-low, high])
