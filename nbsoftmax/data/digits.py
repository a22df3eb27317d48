"""The UCI hand-written digits, included for the demo (source and licence: DIGITS.md beside this file)."""

from __future__ import annotations

from importlib.resources import files

import numpy as np
from numpy.typing import NDArray


def load() -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Load the images as float64 (1797, 64), with pixels from 0 to 16 row by row, and their digits (1797,)."""
    with (files("nbsoftmax.data") / "digits.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        return arrays["X"].astype(np.float64), arrays["y"].astype(np.int64)
