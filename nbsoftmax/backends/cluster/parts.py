"""ClusterParts: backends of consecutive parts of the rows, on the workers of a cluster."""

from __future__ import annotations

import asyncio
import logging
import pickle
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from dask.sizeof import sizeof
from distributed import Future, Worker, get_worker

from nbsoftmax.backends.base import Backend
from nbsoftmax.backends.cluster.client import Cluster, itself
from nbsoftmax.backends.cluster.moves import moves
from nbsoftmax.backends.cluster.tree import added_by_tree, call_size, result_size, writeable
from nbsoftmax.backends.sum import Call
from nbsoftmax.errors import ClusterError
from nbsoftmax.kernels.runtime.blas import one_thread

LARGE = 100_000  # numbers from which on results are added by workers, and parameters passed on between them
GROUP = 8  # results that one task adds: a power of two, so that groups of groups form the binary tree
SPREAD_SECONDS = 2.0  # between two looks at which workers hold the parts
# Between two sums by tasks, at most: a scheduler with an `idle-timeout`, of minutes, ends if it has no task meanwhile.
TASKS_SECONDS = 20.0

Make = Callable[[Any, int], Backend]


class ClusterParts:
    """Backends of consecutive parts of the rows, on the workers of a cluster.

    Parameters
    ----------
    cluster : Cluster
    rows : sequence of Future
        The rows of each part, as `make` takes them: a tuple that begins with X.
    sizes : sequence of int
        The number of rows in each part.
    make : callable (rows, n_threads) -> Backend
        It can be pickled.
    shape : (n_classes, n_features + 1)
    n_threads : int or None
        None is as many as a worker has.
    """

    def __init__(
        self,
        cluster: Cluster,
        rows: Sequence[Future],
        sizes: Sequence[int],
        make: Make,
        *,
        shape: tuple[int, int],
        n_threads: int | None,
    ) -> None:
        self._cluster, self._sizes, self._shape = cluster, sizes, shape
        options = {"make": cluster.sent("weights", make), "n_threads": n_threads}
        self._parts = cluster.map("part", _part, rows, sizes, range(len(sizes)), **options)
        self._running: dict[str, int] = {}  # workers, with their numbers of threads
        self._at: list[str | None] = []  # the worker of each part, at the last look
        self._looked = -np.inf
        self._had_tasks = time.monotonic()

    def total(self, call: Call) -> Any:
        """The results of `call` for all parts, added by a binary tree over the parts."""
        self._spread()
        cluster, is_large = self._cluster, call_size(call) >= LARGE
        sent: Any = cluster.sent("params", call) if is_large else call
        if result_size(call, self._shape) < LARGE:
            return writeable(added_by_tree(self._results(sent, by_tasks=is_large)))
        results = cluster.map("sum", _summed, self._parts, call=sent)
        while len(results) > 1:
            groups = [results[i : i + GROUP] for i in range(0, len(results), GROUP)]
            results = cluster.map("added", added_by_tree, groups)
        return writeable(cluster.gathered(results)[0])

    def _results(self, call: Any, *, by_tasks: bool) -> list[Any]:
        """The results of a call for all parts, in their order.

        The client asks each worker for the results of the parts that the worker holds, which takes 2 ms; a task takes
        10 ms. Tasks compute the results that no worker returned; the scheduler makes lost parts again for them. If
        `by_tasks`, or if the last task is older than `TASKS_SECONDS`, tasks compute all results.
        """
        cluster, now = self._cluster, time.monotonic()
        found: dict[Any, Any] = {}
        if not by_tasks and now - self._had_tasks < TASKS_SECONDS:
            keys = defaultdict(list)
            for part, worker in zip(self._parts, self._at, strict=True):
                if worker in self._running:
                    keys[worker].append(part.key)
            for answer in cluster.answers(_answer, keys, keys=keys, call=call).values():
                found.update(answer)
        missing = [i for i, part in enumerate(self._parts) if part.key not in found]
        if missing:
            self._had_tasks = now
            parts = [self._parts[i] for i in missing]
            results = cluster.gathered(cluster.map("sum", _summed, parts, call=call, numbers=missing))
            found.update(zip([part.key for part in parts], results, strict=True))
        return [found[part.key] for part in self._parts]

    def _spread(self) -> None:
        """Find the workers of the parts. Move parts to those that have few, after a worker was lost or has joined."""
        cluster, now = self._cluster, time.monotonic()
        before, self._running = self._running, cluster.running()
        if self._running == before and now - self._looked < SPREAD_SECONDS:
            return
        self._at = cluster.holders(self._parts, self._running)
        at = [worker for worker in self._at if worker is not None]
        if len(at) < len(self._at):  # some are being made: the next sum looks again
            self._looked = -np.inf
            return
        self._looked = now
        for i, worker in (moves(at, self._sizes, self._running) if len(self._running) > 1 else {}).items():
            # If the worker is lost, another one may run the task.
            options = {"workers": [worker], "allow_other_workers": True}
            self._parts[i] = cluster.map("moved", itself, [self._parts[i]], numbers=[i], **options)[0]
            self._at[i] = None


class Part:
    """The rows of one part on a worker, and the backends that compute sums over them.

    If it moves to another worker, only its rows do.
    """

    def __init__(self, rows: Any, make: Make, n_threads: int | None) -> None:
        logging.getLogger("distributed.worker").addFilter(_is_no_answer)  # once, however often it is added
        self._given = rows, make, n_threads
        self._backend: Backend | None = None
        self._derived: tuple[bytes, Any] = b"", None  # what the last call has derived from the backend

    def __reduce__(self) -> tuple[Any, ...]:
        return Part, self._given

    def __sizeof__(self) -> int:
        return int(sizeof(self._given[0]))  # by which the scheduler decides whether tasks run on other workers

    def result(self, call: Call, worker: Worker) -> Any:
        """The result of a call, by all threads of this worker: calls of other parts wait."""
        rows, make, n_threads = self._given
        with _turns[worker.address], one_thread():
            if self._backend is None:
                self._backend = make(rows, worker.state.nthreads if n_threads is None else n_threads)
            return Call(call.steps[-1:])(self._after(Call(call.steps[:-1])))

    def _after(self, first: Call) -> Any:
        """The backend, or what is derived from it by all steps but the last one, which is kept for later calls."""
        if not first.steps:
            return self._backend
        name = pickle.dumps(first.steps)
        if self._derived[0] != name:
            self._derived = name, first(self._backend)
        return self._derived[1]


_turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)  # by worker: one process may have several


def _part(rows: Any, size: int, number: int, *, make: Make, n_threads: int | None) -> Part:
    n = rows[0].shape[0]
    if n != size:
        raise ClusterError(
            f"partition {number} (counted from 0) has {n} rows now, but had {size} in the first pass; the tasks of a "
            "collection must return the same rows every time."
        )
    return Part(rows, make, n_threads)


def _summed(part: Part, *, call: Call) -> Any:
    return part.result(call, get_worker())


async def _answer(keys: Mapping[str, Sequence[Any]], call: Call, dask_worker: Worker) -> dict[Any, Any]:
    """The results for those parts of a worker's list that it still holds, computed by a thread of its tasks."""
    data = dask_worker.data
    parts = {key: data[key] for key in keys[dask_worker.contact_address] if key in data}

    def results() -> dict[Any, Any]:
        return {key: part.result(call, dask_worker) for key, part in parts.items()}

    return await asyncio.get_running_loop().run_in_executor(dask_worker.executors["default"], results)


def _is_no_answer(record: logging.LogRecord) -> bool:
    """Whether to keep a record of a worker's log: not the one that Dask writes each time it calls `_answer`."""
    return record.args != (_answer.__name__,)
