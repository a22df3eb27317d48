"""List of all CUDA kernels by name, for the tests and the report. New kernels are added here.

The fused kernels are listed for each possible number of classes, and for rows in one lane, several lanes, a warp and
several warps.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import boolean, float32, float64, int32, int64, void

from nbsoftmax.kernels.cuda import curvature, fused, products, rows, sums

NUMBERS = {np.float32: float32, np.float64: float64}
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 513)


class Variant(NamedTuple):
    """A kernel, its signature, the threads of a block, the dtype of the logits, and the registers it may take.

    wide : whether X is loaded 16 bytes at a time
    sums : whether sums are in float64 for every dtype
    largest : whether no other shape of the same kind needs more registers
    most_stack : bytes of a thread's values that may be kept in memory because registers are left to other threads
    """

    kernel: Any
    signature: Any
    threads: int
    dtype: Any
    most_registers: int
    wide: bool = False
    sums: bool = False
    least_blocks: int = 1
    largest: bool = True
    most_stack: int = 0

    def compiled(self, generation):
        """Arguments of the compiler for a generation of GPUs."""
        return self.kernel, self.signature, generation, self.threads, self.least_blocks


def losses(number):
    """Signature of the kernels of `rows.plan_cross_entropy`."""
    vector = number[::1]
    return void(
        vector, int32[::1], vector, vector, vector, float64[::1], int64, number, float64[::1], boolean, vector, int64,
        int64,
    )  # fmt: skip


def sums_of_rows(number):
    """Signature of the kernels of `fused.fused`."""
    vector = number[::1]
    return void(
        vector, int64, vector, vector, vector, int32[::1], vector, vector, vector, float64[::1], int64, vector,
        float64[::1], boolean, boolean, int64,
    )  # fmt: skip


def _linear():
    """Kernels of linear models: the fused ones for several shapes, the others once for each dtype."""
    found, numbers = {}, float64[::1]
    for dtype, number in NUMBERS.items():
        name, kind, vector = np.dtype(dtype).name, np.dtype(dtype), number[::1]
        for n_features, n_classes in FUSED[dtype]:
            shape = fused.shape_for(dtype, n_features, n_classes)
            for what, word in {fused.LOSS: "loss and gradient", fused.PRODUCT: "Hessian product"}.items():
                kernel = fused.fused(what, kind, shape)
                most = 128 if shape.least_blocks == 2 else 80  # registers of 512 and of 768 threads
                found[f"{word} {n_features} x {n_classes} {name}"] = Variant(
                    kernel, sums_of_rows(number), fused.THREADS, dtype, most, wide=True, sums=True,
                    least_blocks=shape.least_blocks, largest=(n_features, n_classes) in LARGEST_FUSED[dtype],
                    most_stack=160,
                )  # fmt: skip
        found[f"logits in tiles {name}"] = Variant(
            products.logits(kind),
            void(vector, int64, vector, int64, vector, vector, vector, int64, int64, int64),
            products.THREADS, dtype, 128,
        )  # fmt: skip
        found[f"weighted sums in tiles {name}"] = Variant(
            products.weighted_sums(kind),
            void(
                vector, int64, int64, vector, int64, int64, numbers, int64, int64, boolean, numbers, int64, boolean,
                int64,
            ),
            products.THREADS, dtype, 192, sums=True,
        )  # fmt: skip
        words = {curvature.MOVED: "moved", curvature.EACH: "each", curvature.MEAN: "mean", curvature.PAIR: "pair"}
        for what, word in words.items():
            found[f"curvature, {word} {name}"] = Variant(
                curvature.curvature(what, kind),
                void(vector, numbers, vector, numbers, int64, int64, int64, int64),
                rows.THREADS, dtype, 72,
            )  # fmt: skip
    for dtype, number in NUMBERS.items():
        vector = number[::1]
        found[f"biases {np.dtype(dtype).name}"] = Variant(
            products.biases, void(vector, vector, vector, int64, int64), products.THREADS, dtype, 40
        )
        signature = void(vector, numbers, int64, int64, int64, boolean)
        found[f"sum of parts {np.dtype(dtype).name}"] = Variant(
            sums.sum_parts, signature, sums.THREADS, dtype, 48, sums=True
        )
        signature = void(vector, numbers, int64, boolean, int64, int64)
        found[f"column sums {np.dtype(dtype).name}"] = Variant(
            sums.column_sums, signature, sums.THREADS, dtype, 64, sums=True
        )
    found["sum of rows"] = Variant(sums.sum_in_order, void(numbers, numbers, int64), sums.THREADS, np.float64, 40)
    return found


def _all():
    found = {}
    for dtype, number in NUMBERS.items():
        name = np.dtype(dtype).name
        for k in SIZES:
            largest = k >= rows.MOST_IN_REGISTERS
            in_registers = min(32, -(-k // 32)) * np.dtype(dtype).itemsize // 4  # registers for the logits
            chosen = rows.plan_cross_entropy(dtype, 5, k)
            found[f"cross_entropy {k} {name}"] = Variant(
                chosen.kernel, losses(number), chosen.block, dtype, 72 + 2 * in_registers, sums=True, largest=largest
            )
    return found


# Numbers of features and classes; the largest have two vectors in a thread.
FUSED = {
    np.float32: [
        (3, 2),
        (16, 2),
        (54, 7),
        (100, 3),
        (784, 7),
        (784, 10),
        (1000, 12),
        (2000, 3),
        (2000, 6),
        (60, 4),
        (250, 5),
        (100, 6),
        (784, 6),
        (30, 8),
        (784, 8),
        (120, 9),
        (784, 9),
        (500, 11),
    ],
    np.float64: [
        (2, 2),
        (16, 2),
        (54, 7),
        (100, 3),
        (500, 7),
        (500, 12),
        (784, 3),
        (784, 6),
        (30, 4),
        (120, 5),
        (60, 6),
        (500, 6),
        (14, 8),
        (500, 8),
        (30, 9),
        (250, 10),
        (500, 11),
    ],
}
# Rows in one warp and in several, one and two blocks on a multiprocessor, one and two vectors in a thread.
LARGEST_FUSED = {
    np.float32: [(54, 7), (784, 6), (1000, 12), (2000, 6)],
    np.float64: [(54, 7), (500, 6), (500, 12), (784, 6)],
}
VARIANTS = {**_all(), **_linear()}
LARGEST = [
    name for name, variant in VARIANTS.items() if variant.largest
]  # the tests assemble these, the report assembles all
