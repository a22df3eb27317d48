"""Functions of logits inside compiled code, compared with a textbook loop: python -m perf numba"""

from typing import Any

import numpy as np
from numba import njit, prange

import nbsoftmax as nbs
from perf import peers
from perf.peers import OURS, Contestant
from perf.report import Results
from perf.rows import DTYPES, SHAPES, contest


@njit(parallel=True)
def _softmax(z, out):
    return nbs.softmax(z, out=out)


@njit(parallel=True)
def _cross_entropy(z, y, out):
    return nbs.cross_entropy_and_grad(z, y, out=out)


@njit(parallel=True)
def _textbook_softmax(z, out):
    for i in prange(z.shape[0]):
        c = z[i, 0]
        for k in range(1, z.shape[1]):
            c = max(c, z[i, k])
        s = z.dtype.type(0)
        for k in range(z.shape[1]):
            out[i, k] = np.exp(z[i, k] - c)
            s += out[i, k]
        for k in range(z.shape[1]):
            out[i, k] /= s
    return out


@njit(parallel=True)
def _textbook_cross_entropy(z, y, out):
    loss, m = 0.0, z.shape[0]
    for i in prange(m):
        c = z[i, 0]
        for k in range(1, z.shape[1]):
            c = max(c, z[i, k])
        s = z.dtype.type(0)
        for k in range(z.shape[1]):
            out[i, k] = np.exp(z[i, k] - c)
            s += out[i, k]
        loss += np.log(s) + c - z[i, y[i]]
        for k in range(z.shape[1]):
            out[i, k] /= s * m
        out[i, y[i]] -= z.dtype.type(1) / m
    return loss / m, out


def run(results: Results, rounds: int, scale: int) -> None:
    """Measure softmax and cross-entropy with gradient; `scale` divides the rows."""
    rng = np.random.default_rng(0)
    softmax, entropy = [], []
    for m, n_classes in SHAPES:
        for dtype in DTYPES:
            z: Any = 3 * rng.standard_normal((max(m // scale, 5), n_classes), np.dtype(dtype))
            y, out = rng.integers(0, n_classes, max(m // scale, 5)), np.empty_like(z)
            by_softmax = {
                OURS: Contestant(lambda z=z, out=out: _softmax(z, out), lambda p: (p,)),
                f"{OURS}, from Python": peers.softmax(z)[OURS],
                "textbook loop": Contestant(lambda z=z, out=out: _textbook_softmax(z, out), lambda p: (p,)),
            }
            by_entropy = {
                OURS: Contestant(lambda z=z, y=y, out=out: _cross_entropy(z, y, out), tuple),
                f"{OURS}, from Python": peers.cross_entropy(z, y)[OURS],
                "textbook loop": Contestant(lambda z=z, y=y, out=out: _textbook_cross_entropy(z, y, out), tuple),
            }
            softmax.append(contest("softmax in compiled code", by_softmax, z, rounds))
            entropy.append(contest("cross-entropy + gradient in compiled code", by_entropy, z, rounds))
    results.add("Softmax in compiled code", softmax)
    results.add("Cross-entropy and its gradient in compiled code", entropy)
