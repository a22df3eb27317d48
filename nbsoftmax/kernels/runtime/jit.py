"""Decorators that compile kernels, all with the same options of Numba.

Compiled code is cached on disk (`runtime.cache`) if there is a writeable folder, and in memory otherwise.
"""

import numba

from nbsoftmax.kernels.runtime import settings  # noqa: F401  checks Numba's settings before anything is compiled
from nbsoftmax.kernels.runtime.cache import on_disk

# Contraction (fused multiply-add) is the only fast-math flag: data may contain inf and NaN, and sums keep their order.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def jit(function):
    """Compile by `numba.njit` with the project's options, cached on disk if possible."""
    return on_disk(numba.njit(**_OPTIONS)(function))


def inlined(function):
    """Compile a helper that is always inlined into its callers."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)
