"""How everything here is compiled: one set of options.

Compiled code is cached on disk (`runtime.cache`) if a folder for it can be written, and in memory otherwise.
"""

import numba

from nbsoftmax.kernels.runtime import settings  # noqa: F401  checked before anything is compiled
from nbsoftmax.kernels.runtime.cache import on_disk

# No flags beyond the fused multiply-add: kernels meet inf and NaN, and sums must keep their order.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def jit(function):
    """`numba.njit` with this project's options, cached on disk where that is possible."""
    return on_disk(numba.njit(**_OPTIONS)(function))


def inlined(function):
    """A helper that disappears into its callers."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)
