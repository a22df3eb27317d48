"""What all tests share: Numba's settings, Hypothesis' profile, the real data sets.

Numba reads its environment once, when it is imported, so this file sets it before any import of ours.
"""

import os
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parent.parent

# Four threads on any machine: the claims about thread counts 1, 2 and 3 need more than two.
os.environ.setdefault("NUMBA_NUM_THREADS", "4")

import numpy as np  # noqa: E402
import pytest  # noqa: E402
from hypothesis import HealthCheck, settings  # noqa: E402

# The first example of a test may compile a kernel, so no deadline and no opinion on slow data.
settings.register_profile(
    "nbsoftmax",
    deadline=None,
    max_examples=40,
    derandomize="CI" in os.environ,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("nbsoftmax")


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
