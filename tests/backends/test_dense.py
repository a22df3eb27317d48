"""A dense array in memory."""

import tracemalloc

import numpy as np

from nbsoftmax.backends.dense import CONVERTED_BYTES
from nbsoftmax.penalized_loss import ObjectiveOptions, PenalizedLoss
from nbsoftmax.problem import Problem


def test_rows_of_float32_are_converted_to_float64_without_another_copy_of_all():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((300_000, 40), dtype=np.float32)
    backend = PenalizedLoss(Problem.from_labels(X, rng.integers(0, 3, 300_000)), ObjectiveOptions()).backend
    features = np.arange(0, 40, 2)
    tracemalloc.start()
    part = backend.with_features(features)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < part._source[0].nbytes + CONVERTED_BYTES  # a copy in float32 would take 24 MB more
    np.testing.assert_array_equal(part._source[0], X[:, features].astype(np.float64))
