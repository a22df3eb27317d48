"""Problems for the CUDA backend, and the CPU's backend beside it."""

import numpy as np

from nbsoftmax import validation
from nbsoftmax.backends.cuda.backend import CudaBackend
from nbsoftmax.backends.dense import DenseBackend

FUSED = [(5, 3, 2), (37, 6, 3), (20, 17, 5), (9, 130, 4), (1, 1, 2), (2, 4, 2)]
KINDS = ["index", "weighted", "smoothed", "proba"]
TILED = [(7, 5, 17), (3, 20, 18)]


def problem(m, n, k, dtype=np.float64, kind="index", seed=0):
    """X, target and offset, of every kind that there is."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(m, n)).astype(dtype)
    y = rng.integers(0, k, m)
    given = {"sample_weight": rng.uniform(0, 2, m)} if kind != "index" else {}
    if kind == "smoothed":
        given["label_smoothing"], given["class_weight"] = 0.1, rng.uniform(0.5, 2, k)
    if kind == "proba":
        y = rng.dirichlet(np.ones(k), m)
    target = validation.weighted_targets(
        y, m, k, np.dtype(dtype), **{"sample_weight": None, "class_weight": None, "label_smoothing": 0.0, **given},
        n_of="X",
    )  # fmt: skip
    offset = rng.normal(size=(m, k)).astype(dtype) if kind != "index" else np.empty((0, 0), dtype)
    params = rng.normal(size=(k, n + 1)) / np.sqrt(n)
    return X, target, offset, params, rng.normal(size=params.shape)


def both(X, target, offset, device=None, *, fit_intercept=True, **given):
    cpu = DenseBackend(X, target, offset=offset, fit_intercept=fit_intercept, n_threads=1)
    gpu = CudaBackend(device or _stand_in(), X, target, offset=offset, fit_intercept=fit_intercept, **given)
    return cpu, gpu


def taken_beside_x(backend):
    """Bytes that a backend counts for all but X and probabilities."""
    arrays = {name: a for name, a in backend._work.held.items() if name != "kept" and name[0] != "x"}
    return backend._strategy.workspace() + sum(a.size * a.dtype.itemsize for a in arrays.values())


def same(found, expected, dtype, n_terms):
    """Within the rounding of sums of so many terms."""
    np.testing.assert_allclose(
        found, expected, rtol=0, atol=8 * n_terms * np.finfo(dtype).eps * (1 + abs(expected).max())
    )


def _stand_in():
    from tests.gpu.standin import StandIn  # needs greenlet, which a machine with a GPU may lack

    return StandIn()
