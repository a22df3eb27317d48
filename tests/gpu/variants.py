"""Every CUDA kernel that a plan can choose, by name: what the tests and the report go through. New ones come here."""

from typing import Any, NamedTuple

import numpy as np
from numba import boolean, float32, float64, int32, int64, void

from nbsoftmax.cuda import rows

NUMBERS = {np.float32: float32, np.float64: float64}
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 1025)


class Variant(NamedTuple):
    """A kernel, its signature, the threads of a block, the dtype of the logits, and the registers it may take."""

    kernel: Any
    signature: Any
    threads: int
    dtype: Any
    most_registers: int


def functions_of_logits(number):
    """(z, out, n_rows, n_classes)."""
    return void(number[::1], number[::1], int64, int64)


def losses(number):
    """As `rows.plan_cross_entropy` says."""
    vector = number[::1]
    return void(
        vector, int32[::1], vector, vector, vector, float64[::1], int64, number, float64[::1], boolean, vector, int64,
        int64,
    )  # fmt: skip


def _all():
    found = {}
    words = {rows.SOFTMAX: "softmax", rows.LOG_SOFTMAX: "log_softmax", rows.LOGSUMEXP: "logsumexp"}
    for dtype, number in NUMBERS.items():
        name = np.dtype(dtype).name
        for k in SIZES:
            in_registers = min(32, -(-k // 32)) * np.dtype(dtype).itemsize // 4  # what the logits themselves take
            for what, word in words.items():
                chosen = rows.plan(what, dtype, 5, k)
                signature = functions_of_logits(number)
                found[f"{word} {k} {name}"] = Variant(
                    chosen.kernel, signature, chosen.block, dtype, 48 + 3 * in_registers
                )
            chosen = rows.plan_cross_entropy(dtype, 5, k)
            found[f"cross_entropy {k} {name}"] = Variant(
                chosen.kernel, losses(number), chosen.block, dtype, 72 + 2 * in_registers
            )
    return found


VARIANTS = _all()
