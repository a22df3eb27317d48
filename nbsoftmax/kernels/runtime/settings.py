"""Settings of Numba that cannot work are one clear error, before LLVM sees them."""

import numba

from nbsoftmax.errors import InputValueError

if numba.config.DISABLE_JIT:
    raise InputValueError("NUMBA_DISABLE_JIT is set, but nbsoftmax runs compiled code only; unset it and start again.")
for _feature in filter(None, (numba.config.CPU_FEATURES or "").split(",")):
    if _feature[0] not in "+-":  # LLVM would end the process
        raise InputValueError(f"NUMBA_CPU_FEATURES has {_feature!r}; write '+name' or '-name', with commas between.")
