"""What all tests share: Numba's settings, Hypothesis' profile, the real data sets.

Numba reads its environment once, when it is imported, so this file sets it before any import of ours.
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

# Four threads on any machine: the claims about thread counts 1, 2 and 3 need more than two.
os.environ.setdefault("NUMBA_NUM_THREADS", "4")
# The workers of pytest-xdist share the cores; tests about the threads of BLAS set their number themselves.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests import compiled  # noqa: E402

# The first example of a test may compile a kernel, so no deadline and no opinion on slow data.
settings.register_profile(
    "nbsoftmax",
    deadline=None,
    max_examples=40,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("nbsoftmax")

WHOLE_SUITE = 1000  # tests; of fewer, each compiles what it needs


def pytest_configure(config):
    """Have the workers of pytest-xdist share what they compile."""
    if hasattr(config, "workerinput"):
        compiled.share()


def pytest_collection_finish(session):
    """Before a worker's first test of the whole suite: they compile in parallel, instead of waiting for one another."""
    worker = getattr(session.config, "workerinput", None)
    if worker is not None and len(session.items) >= WHOLE_SUITE:
        compiled.compile_most(int(worker["workerid"].removeprefix("gw")), worker["workercount"])


@pytest.fixture(scope="session")
def shared_data():
    """Load one of the real data sets beside the repository: shared_data("satellite") -> (X, y); skip without it."""

    def load(name):
        path = REPOSITORY.parent / "shared" / "data" / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"real data are not here: {path.relative_to(REPOSITORY.parent)}")
        with np.load(path) as file:
            return file["X"], file["y"]

    return load
