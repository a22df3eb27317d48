"""Checks of Numba's settings, before LLVM uses them."""

import numba

from nbsoftmax.errors import InputValueError

if numba.config.DISABLE_JIT:
    raise InputValueError("NUMBA_DISABLE_JIT is set, but nbsoftmax needs compiled code; unset it and start again.")
for _feature in filter(None, (numba.config.CPU_FEATURES or "").split(",")):
    if _feature[0] not in "+-":  # LLVM would end the process
        raise InputValueError(
            f"NUMBA_CPU_FEATURES contains {_feature!r}, expected '+name' or '-name'; separate features by commas."
        )
