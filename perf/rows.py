"""Functions of logits, compared with peers and with a parallel copy of the logits: python -m perf rows"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nbsoftmax.kernels.lang.simd import VECTOR_BYTES
from perf import limits, peers
from perf.report import WIDE, Results, Row
from perf.timing import interleave

SHAPES = ((700_000, 3), (1_000_000, 10), (300_001, 37), (100_000, 100), (10_000, 1000), (100, 100_000))
DTYPES = ("float64", "float32")


def run(results: Results, rounds: int, scale: int) -> None:
    """Measure softmax and cross-entropy with gradient; `scale` divides the rows."""
    rng = np.random.default_rng(0)
    softmax, entropy = [], []
    for m, n_classes in SHAPES:
        for dtype in DTYPES:
            z = 3 * rng.standard_normal((max(m // scale, 5), n_classes), np.dtype(dtype))
            y = rng.integers(0, n_classes, max(m // scale, 5))
            row = contest("softmax", peers.softmax(z), z, rounds)
            hold_softmax(row, n_classes)
            softmax.append(row)
            row = contest("cross-entropy + gradient", peers.cross_entropy(z, y), z, rounds)
            wide = VECTOR_BYTES == WIDE and dtype == "float64"
            row.hold_to(peer={"PyTorch": 6}, limit=1.6 if wide and n_classes >= 100 else 0)
            entropy.append(row)
    results.add("Softmax", softmax)
    results.add("Cross-entropy and its gradient by the logits", entropy)


def hold_softmax(row: Row, n_classes: int) -> None:
    """Set the bars of a softmax: least ratios to the peers, and with wide vectors also the largest to a copy."""
    few, double = n_classes <= 10, row.dtype == "float64"
    if VECTOR_BYTES < WIDE:
        row.hold_to(best=3 if few else 1.5 if double else 1.3)
    elif double:
        row.hold_to(peer={"PyTorch": 5, "JAX": 3} if few else {}, best=0 if few else 1.3, limit=2 if few else 1.4)
    elif n_classes >= 100:
        row.hold_to(best=1.1)


def contest(name: str, contestants: dict[str, peers.Contestant], z: Any, rounds: int) -> Row:
    """Check that the contestants agree; time them, and a copy of the logits."""
    dtype = str(z.dtype)
    peers.agree(contestants, peers.TOLERANCE[dtype])
    out = np.empty_like(z)
    calls: dict[str, Callable[[], Any]] = {n: c.call for n, c in contestants.items()}
    times = interleave(calls | {"copy": lambda: limits.copy(z, out)}, rounds)
    return Row(f"{name} {z.shape[0]} x {z.shape[1]}", dtype, times, "copy", times["copy"].median)
