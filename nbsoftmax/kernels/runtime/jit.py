"""How everything here is compiled: one set of options.

Compiled code is cached on disk (`runtime.cache`) if a folder for it can be written, and in memory otherwise.
"""

import numba

from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.runtime.cache import on_disk

if numba.config.DISABLE_JIT:
    raise InputValueError("NUMBA_DISABLE_JIT is set, but nbsoftmax runs compiled code only; unset it and start again.")
for _feature in filter(None, (numba.config.CPU_FEATURES or "").split(",")):
    if _feature[0] not in "+-":  # LLVM would end the process
        raise InputValueError(f"NUMBA_CPU_FEATURES has {_feature!r}; write '+name' or '-name', with commas between.")

# No flags beyond the fused multiply-add: kernels meet inf and NaN, and sums must keep their order.
_OPTIONS = {"nogil": True, "error_model": "numpy", "fastmath": {"contract"}}


def jit(function):
    """`numba.njit` with this project's options, cached on disk where that is possible."""
    return on_disk(numba.njit(**_OPTIONS)(function))


def inlined(function):
    """A helper that disappears into its callers."""
    return numba.njit(forceinline=True, **_OPTIONS)(function)
