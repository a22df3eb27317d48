"""Decorators that compile kernels, all with the same options of Numba.

Compiled code is cached on disk (`runtime.cache`) if there is a writeable folder, and in memory otherwise.
"""

import numba

from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.runtime.cache import on_disk

if numba.config.DISABLE_JIT:
    raise InputValueError("NUMBA_DISABLE_JIT is set, but nbsoftmax needs compiled code; unset it and start again.")
for _feature in filter(None, (numba.config.CPU_FEATURES or "").split(",")):
    if _feature[0] not in "+-":  # LLVM would end the process
        raise InputValueError(
            f"NUMBA_CPU_FEATURES contains {_feature!r}, expected '+name' or '-name'; separate features by commas."
        )

# Contraction (fused multiply-add) is the only fast-math flag: data may contain inf and NaN, and sums keep their order.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def jit(function):
    """Compile by `numba.njit` with the project's options, cached on disk if possible."""
    return on_disk(numba.njit(**_OPTIONS)(function))


def inlined(function):
    """Compile a helper that is always inlined into its callers."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)
