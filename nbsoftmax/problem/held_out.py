"""Which samples a fit holds out as validation data: a share of each class, drawn at random."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.errors import InputValueError


def shuffled_by_class(codes: NDArray[Any], seed: int) -> NDArray[np.int64]:
    """Row numbers, class by class, in random order within each class: (n_samples,)."""
    order = np.random.default_rng(seed).permutation(len(codes))
    return order[np.argsort(codes[order], kind="stable")]


def rows_to_hold_out(y: NDArray[Any], fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which samples to hold out, (n_samples,): the share of each class, drawn at random, but never a whole class."""
    codes = y if y.ndim == 1 else y.argmax(axis=1)
    order = shuffled_by_class(codes, seed)
    counted = np.floor(fraction * np.arange(len(y) + 1))
    chosen = counted[1:] > counted[:-1]
    chosen[np.flatnonzero(np.diff(codes[order], append=-1))] = False
    if not chosen.any():
        raise InputValueError(
            f"validation_fraction {fraction:g} of {len(y)} samples holds out none; raise it, or give validation_data.",
            parameter="validation_fraction",
        )
    held_out = np.zeros(len(y), bool)
    held_out[order[chosen]] = True
    return held_out
