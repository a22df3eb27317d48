"""How everything here is compiled: one set of options.

Compiled code is kept on disk where Numba finds a folder that it may write to, and in memory otherwise.
"""

import numba

# No flags beyond the fused multiply-add: kernels meet inf and NaN, and sums must keep their order.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def jit(function):
    """`numba.njit` with this project's options, cached on disk where that is possible."""
    try:
        return numba.njit(cache=True, **_OPTIONS)(function)
    except RuntimeError:  # no folder for the cache is writable: compile in each process
        return numba.njit(**_OPTIONS)(function)


def inlined(function):
    """A helper that disappears into its callers."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)
