"""A cluster of two worker processes on this machine, which all tests of a process share."""

import logging
from contextlib import suppress

import distributed
import pytest

from tests.cluster.disturbances import calm


@pytest.fixture(scope="session")
def cluster():
    made = distributed.LocalCluster(
        n_workers=2,
        threads_per_worker=1,
        dashboard_address=":0",
        memory_limit=0,
        silence_logs=logging.CRITICAL,
    )
    yield made
    # Closing reports, at its end, what distributed could not find earlier: the name of a worker that was killed by a
    # test before the cluster had listed it.
    with suppress(KeyError):
        made.close()


@pytest.fixture
def client(cluster):
    """A client of the cluster with its two workers, none of which is disturbed."""
    with distributed.Client(cluster) as made:
        yield made
        calm(made, cluster)
