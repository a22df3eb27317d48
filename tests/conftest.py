"""Settings of Numba and Hypothesis for all tests, and fixtures with real data sets and the usual Ctrl-C.

Numba reads its environment variables when it is imported, so this file sets them before it imports the package.
"""

import os
import signal
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

# Four threads on any machine, because some tests compare 1, 2 and 3 threads.
os.environ.setdefault("NUMBA_NUM_THREADS", "4")
# The workers of pytest-xdist share the cores; tests of BLAS threads set the number themselves.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# No message while kernels compile, because tests compare what is printed.
os.environ.setdefault("NBSOFTMAX_QUIET", "1")
# Every process of the tests would start others that compile; tests of these processes set it themselves.
os.environ.setdefault("NBSOFTMAX_HELPERS", "0")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

from tests import compiled  # noqa: E402

# The first example of a test may compile a kernel: no deadline, and no health check for slow data generation.
settings.register_profile(
    "nbsoftmax",
    deadline=None,
    max_examples=40,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("nbsoftmax")

WHOLE_SUITE = 1000  # number of tests from which on kernels are compiled in advance


def pytest_configure(config):
    """Make the workers of pytest-xdist share compiled kernels."""
    if hasattr(config, "workerinput"):
        compiled.share()


def pytest_collection_finish(session):
    """Compile most kernels before the first test of the whole suite: the workers do so in parallel."""
    worker = getattr(session.config, "workerinput", None)
    if worker is not None and len(session.items) >= WHOLE_SUITE:
        compiled.compile_most(int(worker["workerid"].removeprefix("gw")), worker["workercount"])


@pytest.fixture(scope="session")
def shared_data():
    """Load a real data set, shared_data("satellite") -> (X, y), from beside the repository; skip without it."""

    def load(name):
        path = REPOSITORY.parent / "shared" / "data" / f"{name}.npz"
        if not path.exists():
            pytest.skip(f"the data set does not exist: {path.relative_to(REPOSITORY.parent)}")
        with np.load(path) as file:
            return file["X"], file["y"]

    return load


@pytest.fixture
def several_threads(monkeypatch):
    """Run every kernel on all threads: small ones would stay in the calling thread."""
    monkeypatch.setattr("nbsoftmax.kernels.runtime.threads.THREAD_WORK", 1)


@pytest.fixture
def usual_handler():
    """Ctrl-C raises KeyboardInterrupt; a process that a shell starts in the background would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert signal.signal(signal.SIGINT, before) is signal.default_int_handler
