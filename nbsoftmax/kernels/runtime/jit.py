"""Decorators that compile kernels, all with the same options of Numba.

    jit        called by Python; the compiled code is cached on disk (`runtime.cache`) if there is a writeable folder
    part       called by kernels only: see `runtime.parts`
    inlined    the same, and always inlined into its callers

Python cannot call a part, except by its attribute `py_func`, if that uses nothing that is only for compiled code.
"""

import numba

from nbsoftmax.kernels.runtime import settings  # noqa: F401  checks Numba's settings before anything is compiled
from nbsoftmax.kernels.runtime.cache import on_disk
from nbsoftmax.kernels.runtime.parts import KERNEL, PART

# Contraction (fused multiply-add) is the only fast-math flag: data may contain inf and NaN, and sums keep their order.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def jit(function):
    """Compile a function that Python calls."""
    return on_disk(numba.njit(**_OPTIONS, **KERNEL)(function))


def part(function):
    """Compile a helper of kernels."""
    return numba.njit(**_OPTIONS, **PART)(function)


def inlined(function):
    """Compile a helper that is always inlined into its callers."""
    return numba.njit(forceinline=True, **_OPTIONS, **PART)(function)
