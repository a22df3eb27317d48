"""The margins of samples, and what a step does to them, counted: whether it separates classes further.

The margins of sample i of class y are p_ik = z_iy - z_ik. Counts of parts of the rows add up to those of all rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.base import Margins
from nbsoftmax.validation import Float64s, Floats, WeightedTargets

BLOCK_BYTES = 2**22  # of margins
# In logits: the least increase of a diverging margin in a step, also relative to the margin itself (the last step
# towards a minimum adds less); the largest decrease of another margin; the margin above which decreases are ignored.
LEAST_GAIN, LEAST_GROWTH, MOST_LOSS, CLEAR = 0.5, 0.01, 0.05, 10.0
SHRINKS, GROWS, ALL_GROW = 0, 1, 2  # rows of the counts


def margins_of(logits: Floats, offset: Floats, target: WeightedTargets, part: slice) -> tuple[NDArray[Any], Float64s]:
    """Labels (n,), and margins z_y - z_k (n, K), of the samples of `part` that have weight, from its logits."""
    counts = target.labels[part] >= 0
    if target.weight.size:
        counts &= target.weight[part] > 0
    z = logits[counts].astype(np.float64)
    if offset.size:
        z += offset[part][counts]
    labels = target.labels[part][counts]
    return labels, np.take_along_axis(z, labels[:, None], axis=1) - z


def counts_of(rows: Margins, params: Float64s, step: Float64s) -> NDArray[np.int64]:
    """Numbers of samples of each class with a margin that shrinks, one that grows, and all growing, (3, n_classes).

    After a margin that shrinks, no more samples are counted. Margins from a class whose step is NaN do not count.
    """
    n_classes = len(params)
    counts = np.zeros((3, n_classes), np.int64)
    moved = params + step
    size = max(16, BLOCK_BYTES // (8 * n_classes))
    for start in range(0, rows.n_samples, size):
        part = slice(start, start + size)
        labels, before = rows.margins(params, part)
        after = rows.margins(moved, part)[1]
        shrinks = (np.minimum(after, CLEAR) < np.minimum(before, CLEAR) - MOST_LOSS).any(axis=1)
        grown = after - before > np.maximum(LEAST_GAIN, LEAST_GROWTH * before)
        grows = grown.any(axis=1)
        grown[np.arange(labels.size), labels] = True  # z_y - z_y stays 0
        grown[:, np.isnan(step).any(axis=1)] = True
        for row, found in ((SHRINKS, shrinks), (GROWS, grows), (ALL_GROW, grown.all(axis=1) & grows)):
            counts[row] += np.bincount(labels[found], minlength=n_classes)
        if shrinks.any():
            break
    return counts
