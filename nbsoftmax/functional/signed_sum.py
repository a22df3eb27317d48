"""Logarithm of the absolute value of a sum of exponentials with factors of any sign, and the sign of the sum.

    sum_k b_k exp(z_k) = b_t exp(z_t) (1 + r),    r = sum_{k != t} (b_k / b_t) exp(z_k - z_t)

with t the largest term, so that no term of r overflows, however large the logits and however different the factors are.
"""

from __future__ import annotations

import numpy as np

from nbsoftmax.validation import Float64s, Floats

FAR = 2.0**500
BLOCK = 2**15  # logits of a block of rows, which stays in the second-level cache


def log_of_signed_sum(z: Floats, b: Floats) -> tuple[Floats, Floats]:
    """The logarithm and the sign for each row, (n_rows,), from `z` and finite `b`, both (n_rows, n_classes)."""
    lse, sign = np.empty((2, len(z)), z.dtype)
    step = max(1, BLOCK // z.shape[1])
    with np.errstate(all="ignore"):
        for start in range(0, len(z), step):
            block = slice(start, start + step)
            lse[block], sign[block] = _of_rows(z[block].astype(np.float64), b[block].astype(np.float64))
    return lse, sign


def _of_rows(z: Float64s, b: Float64s) -> tuple[Float64s, Float64s]:
    """As `log_of_signed_sum`, in float64."""
    counts, log_b, i = b != 0, np.log(np.abs(b)), np.arange(len(z))
    t = np.where(counts, z + log_b, -np.inf).argmax(axis=1)  # NaN is larger than any number
    c, b_t = z[i, t], b[i, t]  # (n_rows,)
    d, ratio = np.where(z == c[:, None], 0.0, z - c[:, None]), b / b_t[:, None]  # (n_rows, K)
    terms = np.where(counts, ratio * np.exp(d), 0.0)
    far = counts & ~((np.abs(ratio) > 1 / FAR) & (np.abs(ratio) < FAR))
    if far.any():  # then the ratio or the exponential may overflow, but not their product
        logs = d + (log_b - log_b[i, t][:, None])
        terms[far] = (np.copysign(1.0, b) * np.sign(b_t)[:, None] * np.exp(logs))[far]
    terms[i, t] = 0.0
    r = terms.sum(axis=1)
    log_sum = np.where(r > -1, np.log1p(r), np.log(-1 - r))
    lse = c + (np.log(np.abs(b_t)) + log_sum)
    sign = np.sign(b_t) * np.sign(1 + r)
    empty = (b_t == 0) | (c == -np.inf)  # every term is 0
    return np.where(empty, -np.inf, lse), np.where(np.isnan(lse) & ~empty, np.nan, np.where(empty, 0.0, sign))
