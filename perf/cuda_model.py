"""A model of the time of loss and gradient on a large GPU: python -m perf.cuda_model (make cuda-report)

Nothing is measured. The model uses the published rates of one H100 SXM, and counts from the source of the kernels: the
bytes read and written, and the instructions of warps, of which each of the 132 multiprocessors starts 4 in a clock
cycle (2 for float64 arithmetic). The longer of the two times is a lower bound. For comparison, the page has the bytes
that an eager framework moves: it reads X twice, and writes or reads m x K numbers 8 times.
"""

import sys
from pathlib import Path

import numpy as np

MEMORY, PROCESSORS, CLOCK = 3.35e12, 132, 1.755e9  # bytes/s; multiprocessors; Hz under load
FMA = {"float32": PROCESSORS * 128 * CLOCK, "float64": PROCESSORS * 64 * CLOCK}  # per second
SHAPES = ((581_000, 54, 7), (60_000, 784, 10), (100_000, 512, 100), (20_000, 1000, 1000))
PAGE = Path(__file__).resolve().parent / "CUDA_MODEL.md"
ROW = 60  # instructions of a warp for exp, log, addresses and branches


def fused_instructions(shape, dtype: str) -> float:
    """Issue slots for one row in `nbsoftmax.kernels.cuda.fused`."""
    double = 2 if dtype == "float64" else 1  # a float64 shuffle takes two, and arithmetic has half the rate
    k, rows = shape.n_classes, shape.rows
    mine = shape.reach(dtype) // shape.width
    span, warps = min(32, shape.width), max(1, shape.width // 32)
    arithmetic = 2 * k * rows * mine * double
    gathering = 4 * (span - 1) * double + (2 * warps + 4 if warps > 1 else 0)
    softmax = 6 * k * double + ROW * double
    spreading = rows * k * double
    loads = rows * shape.vectors + 4 * k * shape.vectors  # the cache needs 4 clock cycles to load W for 32 lanes
    per_step = arithmetic + gathering + softmax + spreading + loads
    rows_of_warp = rows * max(1, 32 // shape.width) / warps
    return per_step / rows_of_warp


def tiled_instructions(m: int, n: int, k: int, dtype: str) -> float:
    """Issue slots of `products.logits` and `products.weighted_sums`: 8 loads for 16 multiply-adds."""
    double = 2 if dtype == "float64" else 1
    side = 64
    padded = -(-k // side) * side
    results = m * padded * n + m * padded * (-(-(n + 1) // side) * side)
    return results / 32 * (double + 0.5) + 40 * m * (-(-k // 32))


def main() -> None:
    """Print the page, and write it."""
    sys.path.insert(0, str(PAGE.parent.parent))
    from nbsoftmax.kernels.cuda import fused

    lines = [
        "# Estimated times of loss and gradient on an H100",
        "",
        "A model, made by `make cuda-report` from published rates (3.35 TB/s, 132 multiprocessors at 1.755 GHz) and "
        "counts of bytes and instructions. **Nothing here was measured.**",
        "",
        "| m x N x K | dtype | kernel | GB moved | GFLOP | ms by bytes | ms by instructions | expected ms | "
        "with cuBLAS | eager: GB moved | eager: ms |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for m, n, k in SHAPES:
        for dtype in ("float32", "float64"):
            size = np.dtype(dtype).itemsize
            shape = fused.shape_for(dtype, n, k)
            padded = -(-n * size // 16) * 16
            if shape is None:  # X is read twice, the logits stay in the second-level cache
                moved, slots = 2 * m * padded + 4 * m, tiled_instructions(m, n, k, dtype)
            else:
                parts = fused.blocks_for(shape, m) * shape.groups * shape.size(dtype) * 8
                moved = m * padded + m * k * size + 4 * m + 2 * parts
                slots = m * fused_instructions(shape, dtype)
            flops = 4 * m * n * k
            by_bytes, by_slots = moved / MEMORY, slots / (4 * PROCESSORS * CLOCK)
            by_blas = f"{max(by_bytes, flops / 2 / FMA[dtype]) * 1e3:.3f}" if shape is None else "-"
            eager = 2 * m * n * size + 8 * m * k * size
            lines.append(
                f"| {m} x {n} x {k} | {dtype} | {'tiled' if shape is None else 'fused'} | {moved / 1e9:.3f} | "
                f"{flops / 1e9:.1f} | {by_bytes * 1e3:.3f} | {by_slots * 1e3:.3f} | "
                f"{max(by_bytes, by_slots) * 1e3:.3f} | {by_blas} | "
                f"{eager / 1e9:.3f} | {max(eager / MEMORY, flops / 2 / FMA[dtype]) * 1e3:.3f} |"
            )
    lines += [
        "",
        "Products by cuBLAS, ours and those of the eager framework, are the longer of their bytes and their "
        "multiply-adds at full rate, without tensor cores; launches are not counted. Occupancy and latency are not in "
        "the model; they can only make both slower.",
    ]
    page = "\n".join(lines) + "\n"
    print(page)
    PAGE.write_text(page, encoding="utf-8")


if __name__ == "__main__":
    main()
