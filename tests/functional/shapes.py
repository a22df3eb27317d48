"""Functions of logits against the reference, at every shape around the width of a vector, and at their edges.

Tolerances are multiples of the dtype's eps. A probability exp(z - c) / s is as good as z - c, whose rounding costs
|z - c| eps / 2; exp and the division cost 2 eps; the sum of K terms of one sign costs at most K / 2 eps but adds up
in several lanes, so 8 eps covers it for K = 1000.
"""

import math

import numpy as np

from nbsoftmax.kernels.lang.simd import lanes_of
from tests import reference

DTYPES = [np.float32, np.float64]


EPS = np.finfo(np.float64).eps


CLASSES = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 64, 65, 100, 1000]  # around every vector width and the tile's end


SAMPLES = [0, 1, 2, 7, 8, 9, 63, 64, 65, 300]


def samples(K):
    return SAMPLES if K <= 100 else SAMPLES[:7]


def draw(m, K, dtype, spread=3.0):
    return np.asarray(np.random.default_rng(1000 * K + m).normal(scale=spread, size=(m, K)), dtype)


def surrounded_by_nan(z):
    """The same logits in the middle of NaN: a kernel that reads a neighbour gives itself away."""
    memory = np.full(z.size + 128, np.nan, z.dtype)
    middle = memory[64 : 64 + z.size].reshape(z.shape)
    middle[...] = z
    return middle


class Guarded:
    """An output array in the middle of memory that must stay as it is."""

    def __init__(self, shape, dtype):
        size = math.prod(shape)
        self.memory = np.full(size + 128, 7.5, dtype)
        self.array = self.memory[64 : 64 + size].reshape(shape)

    def kept_its_surroundings(self):
        return (self.memory[:64] == 7.5).all() and (self.memory[64 + self.array.size :] == 7.5).all()


def close(actual, expected, dtype, n_eps, scale=1.0):
    """|actual - expected| <= n_eps eps max(|expected|, scale), entry by entry, with this shape and dtype."""
    expected = np.asarray(expected)
    assert np.shape(actual) == expected.shape
    assert np.asarray(actual).dtype == dtype
    assert (np.abs(actual - expected) <= n_eps * np.finfo(dtype).eps * np.maximum(np.abs(expected), scale)).all()


def chain(n, dtype):
    """Eps that n positive numbers, added up in the lanes of one vector, may cost: half of one for each partial sum.

    These grow evenly, to the whole, so that half of n / lanes partial sums are as large as the whole. The narrower the
    vectors of a CPU, the longer the chains.
    """
    return n / lanes_of(np.dtype(dtype)) / 4


def options(m, K, dtype):
    """Every kind of target with every kind of weight, the plain ones first."""
    rng = np.random.default_rng(m + 31 * K)
    y, q = rng.integers(0, K, m), reference.softmax(rng.normal(size=(m, K)))
    s, w = rng.uniform(0.5, 2, m), rng.uniform(0.5, 2, K)
    q = np.asarray(q, dtype)
    ignored = np.where(rng.random(m) < 0.3, -100, y)
    return [
        (y, {}),
        (q, {}),
        (y, {"sample_weight": s}),
        (y, {"class_weight": w}),
        (y, {"label_smoothing": 0.3}),
        (ignored, {"ignore_index": -100}),
        (ignored, {"ignore_index": -100, "sample_weight": s, "class_weight": w, "label_smoothing": 0.3}),
        (q, {"sample_weight": s, "class_weight": w, "label_smoothing": 0.3}),
    ]


# softmax of these rows is [1, 2, 5] / 8, [3, 1, 4] / 8 and [2, 4, 2] / 8, so that every loss is a logarithm of a ratio
LOGITS = np.log([[1.0, 2.0, 5.0], [3.0, 1.0, 4.0], [2.0, 4.0, 2.0]])


Y = [2, 0, 1]


def eps_of(dtype):
    return float(np.finfo(dtype).eps)


FORMS = [2, 3, 64, 70, 40000]  # tiles, rows one at a time, rows split over threads
