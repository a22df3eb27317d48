"""What may happen to the workers of a cluster while they sum."""

import itertools
import os
import signal
import time
from pathlib import Path

from distributed import Status


def arm(client, folder, what, *, after):
    """Let the worker that is the first to begin a sum after `after` sums do `what`, once."""
    (Path(folder) / "armed").touch()
    client.run(_install, str(folder), what, after)


def _install(folder, what, after):
    """Replace the method of parts in a worker."""
    from nbsoftmax.backends.cluster import parts

    original, counter = parts.Part.result, itertools.count()

    def result(self, call, worker):
        if next(counter) >= after:
            try:
                (Path(folder) / "armed").unlink()
            except FileNotFoundError:
                pass
            else:
                (Path(folder) / "done").touch()
                what()
        return original(self, call, worker)

    parts.Part.result, parts.original = result, original


def _restore():
    from nbsoftmax.backends.cluster import parts

    parts.Part.result = vars(parts).pop("original", parts.Part.result)


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def fail():
    raise OSError("a disk that is sometimes there")


def sleep_while(file):
    """Sleep as long as a file exists."""
    while file.exists():
        time.sleep(0.05)


def set_status(status, dask_worker):
    dask_worker.status = Status[status]


def calm(client, cluster):
    """Two workers that run, without disturbances."""
    cluster.scale(2)
    client.wait_for_workers(2, timeout=60)
    while len(client.nthreads()) > 2:
        time.sleep(0.05)
    client.run(_restore)
