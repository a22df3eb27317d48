"""Decorators that compile kernels, all with the same options of Numba.

    jit        called by Python; the compiled code is cached on disk (`runtime.cache`) if there is a writeable folder
    part       called by kernels only: see `runtime.parts`
    inlined    the same, and always inlined into its callers
    by_type    a part that exists in several forms, of which the types of the arguments select one

Python cannot call a part, except by its attribute `py_func`, if that uses nothing that is only for compiled code.
"""

import numba
from numba.extending import overload

from nbsoftmax.kernels.runtime import (
    compiling,
    settings,  # noqa: F401  checks Numba's settings before anything is compiled
)
from nbsoftmax.kernels.runtime.cache import cache_folder, on_disk
from nbsoftmax.kernels.runtime.parts import KERNEL, PART, once_for_all_numbers

# Contraction (fused multiply-add) is the only fast-math flag: data may contain inf and NaN, and sums keep their order.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}

compiling.find_folder = cache_folder


def jit(function):
    """Compile a function that Python calls."""
    return on_disk(numba.njit(**_OPTIONS, **KERNEL)(function))


def part(function):
    """Compile a helper of kernels."""
    return once_for_all_numbers(numba.njit(**_OPTIONS, **PART)(function))


def inlined(function):
    """Compile a helper that is always inlined into its callers."""
    return once_for_all_numbers(numba.njit(forceinline=True, **_OPTIONS, **PART)(function))


def by_type(function):
    """Decorate a function of argument types: it returns the part that kernels call in place of `function`.

    Only this part is compiled, where a branch of the program would compile every form. The part is a plain function.
    """
    return overload(function, jit_options=_OPTIONS | PART)
