"""ClusterParts: backends of consecutive parts of the rows, on the workers of a cluster."""

from __future__ import annotations

import pickle
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from dask.sizeof import sizeof
from distributed import Future, get_worker

from nbsoftmax.backends.base import Backend
from nbsoftmax.backends.cluster.client import SEVERAL, Cluster, itself
from nbsoftmax.backends.cluster.moves import moves, together
from nbsoftmax.backends.cluster.tree import added_by_tree, call_size, result_size, writeable
from nbsoftmax.backends.sum import Call
from nbsoftmax.errors import ClusterError
from nbsoftmax.kernels.runtime.blas import one_thread

LARGE = 100_000  # numbers from which on results are added by workers, and parameters passed on between them
GROUP = 8  # results that one task adds: a power of two, so that groups of groups form the binary tree
# Numbers of X in the parts over which one task sums, at most. (Measured with two workers: each task takes about 2 ms
# besides its sums. If a worker is lost, all parts of such a task go to one other worker, which must have the memory.)
TOGETHER = 2**26
SPREAD_SECONDS = 2.0  # between two looks at which workers hold the parts

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
        self._looked, self._groups = -np.inf, [[i] for i in range(len(sizes))]

    def total(self, call: Call) -> Any:
        """The results of `call` for all parts, added by a binary tree over the parts."""
        self._spread()
        cluster = self._cluster
        sent: Any = cluster.sent("params", call) if call_size(call) >= LARGE else call
        if result_size(call, self._shape) < LARGE:
            return writeable(added_by_tree(self._results(sent)))
        results = cluster.map("sum", _summed, self._parts, call=sent)
        while len(results) > 1:
            groups = [results[i : i + GROUP] for i in range(0, len(results), GROUP)]
            results = cluster.map("added", added_by_tree, groups)
        return writeable(cluster.gathered(results)[0])

    def _results(self, call: Any) -> list[Any]:
        """The results of a call for all parts, in their order; one task for each group of parts."""
        groups = [[self._parts[i] for i in group] for group in self._groups]
        found = self._cluster.gathered(self._cluster.map(SEVERAL, _all_summed, groups, call=call))
        results: dict[int, Any] = {}
        for group, of_group in zip(self._groups, found, strict=True):
            results.update(zip(group, of_group, strict=True))
        return [results[i] for i in range(len(self._parts))]

    def _spread(self) -> None:
        """Find the workers of the parts. Move parts to those that have few, after a worker was lost or has joined."""
        now = time.monotonic()
        if now - self._looked < SPREAD_SECONDS:
            return
        threads, held = self._cluster.held(self._parts)
        at = [worker for worker in held if worker is not None]
        if len(at) < len(held):  # some are being made: the next sum looks again
            self._groups = [[i] for i in range(len(held))]
            return
        self._looked = now
        for i, worker in (moves(at, self._sizes, threads) if len(threads) > 1 else {}).items():
            # If the worker is lost, another one may run the task.
            options = {"workers": [worker], "allow_other_workers": True}
            self._parts[i] = self._cluster.map("moved", itself, [self._parts[i]], **options)[0]
            at[i] = worker
        self._groups = together(at, [size * self._shape[1] for size in self._sizes], threads, most=TOGETHER)


class Part:
    """The rows of one part on a worker, and the backends that compute sums over them.

    If it moves to another worker, only its rows do.
    """

    def __init__(self, rows: Any, make: Make, n_threads: int | None) -> None:
        self._given = rows, make, n_threads
        self._backend: Backend | None = None
        self._derived: tuple[bytes, Any] = b"", None  # what the last call has derived from the backend

    def __reduce__(self) -> tuple[Any, ...]:
        return Part, self._given

    def __sizeof__(self) -> int:
        return int(sizeof(self._given[0]))  # by which the scheduler decides whether tasks run on other workers

    def result(self, call: Call) -> Any:
        """The result of a call, by all threads of this worker: calls of other parts wait."""
        worker = get_worker()
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
    return part.result(call)


def _all_summed(parts: list[Part], *, call: Call) -> list[Any]:
    return [part.result(call) for part in parts]
