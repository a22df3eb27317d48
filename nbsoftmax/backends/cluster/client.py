"""A client of Dask whose tasks either end or raise an error that says what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from typing import Any, TypeVar
from uuid import uuid4

import dask
from distributed import Client, Future, KilledWorker, secede
from distributed.comm import CommClosedError
from distributed.worker import thread_state

from nbsoftmax.errors import ClusterError

T = TypeVar("T")

RETRIES = 2  # of a task that raises an error
NAME = "nbsoftmax"  # with which the names of all tasks begin
OF_PARTITION = {"survey", "digest", "part", "moved", "sum"}  # tasks that are numbered as the partitions
LOST = "the connection to the scheduler is lost ({}); connect again, and resume from a checkpoint if there is one."


class Cluster:
    """The tasks of a fit.

    Parameters
    ----------
    client : distributed.Client
        Not asynchronous.
    timeout : float
        Seconds without a running worker after which it is an error.
    """

    def __init__(self, client: Client, timeout: float) -> None:
        self.client, self.timeout = client, timeout
        _leave_pool()

    def compute(self, tasks: Sequence[Any]) -> list[Future]:
        """Start delayed tasks. Their results stay on the workers as long as the futures exist."""
        with self._clear_errors():
            futures: list[Future] = self.client.compute(list(tasks), retries=RETRIES)
        return futures

    def map(
        self,
        what: str,
        function: Callable[..., Any],
        *arguments: Sequence[Any],
        numbers: Sequence[int] | None = None,
        **options: Any,
    ) -> list[Future]:
        """Start a task for each item of the sequences, which may contain futures; `what` and `numbers` name the tasks.

        Without `numbers` the tasks are numbered from 0, as the partitions if there is a task for each.
        """
        name = f"{NAME}-{what}-{uuid4().hex}"
        keys = [(name, i) for i in (range(len(arguments[0])) if numbers is None else numbers)]
        # Large parameters are sent once, by a task of their own: see `sent`.
        silent = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"})
        with self._clear_errors(), silent:
            futures: list[Future] = self.client.map(function, *arguments, key=keys, retries=RETRIES, **options)
        return futures

    def sent(self, what: str, value: Any) -> Future:
        """A value that workers get from one another. The scheduler keeps it, in case that they are lost."""
        return self.map(what, itself, [value])[0]

    def running(self) -> dict[str, int]:
        """The running workers with their numbers of threads."""
        with self._clear_errors():
            return dict(self.client.sync(self.client.scheduler.ncores_running, workers=None))

    def holders(self, futures: Sequence[Future], running: Container[str]) -> list[str | None]:
        """A worker that holds the result of each future, one that runs if there is one.

        None stands for a result that is being computed.
        """
        with self._clear_errors():
            workers = self.client.who_has(futures)

        def best(holders: Sequence[str]) -> str | None:
            return next((worker for worker in holders if worker in running), next(iter(holders), None))

        return [best(workers.get(future.key, ())) for future in futures]

    def answers(self, function: Callable[..., Any], workers: Collection[str], **arguments: Any) -> dict[str, Any]:
        """The results of a function by worker. The workers run it at once, without a task of the scheduler.

        A worker that is lost meanwhile, or on which the function raises an error, has no result. On a cluster that is
        scaled automatically, no function runs and the dict is empty: Dask would close workers that have no tasks.
        """
        if not workers or self._is_adaptive():
            return {}
        with self._clear_errors():
            try:
                found = self.client.run(function, workers=list(workers), on_error="ignore", **arguments)
            except (OSError, ValueError):  # no connection, or forbidden by the configuration: tasks say what to do
                return {}
        return dict(found)

    def _is_adaptive(self) -> bool:
        """Whether `cluster.adapt` scales the cluster; False if the client has only the address of the scheduler."""
        adaptive = getattr(self.client.cluster, "_adaptive", None)
        return getattr(adaptive, "periodic_callback", None) is not None

    def gathered(self, futures: Sequence[Future]) -> list[Any]:
        """The results, when all tasks have ended.

        Raises
        ------
        ClusterError
            If no worker has run for `timeout` seconds, if workers die on a task, or if the scheduler is gone.
        Exception
            What a task has raised in each of its trials.
        """
        with self._clear_errors():
            results: list[Any] = self.client.sync(self._gathered, list(futures))
        return results

    async def _gathered(self, futures: list[Future]) -> Any:
        gathering = asyncio.ensure_future(self.client.gather(futures, asynchronous=True))
        last_seen, look = time.monotonic(), min(5.0, max(0.1, self.timeout / 10))
        try:
            while True:
                done, _ = await asyncio.wait([gathering], timeout=look)
                if done:
                    return gathering.result()
                if await self.client.scheduler.ncores_running(workers=None):
                    last_seen = time.monotonic()
                elif time.monotonic() - last_seen > self.timeout:
                    # Dask's coroutines that wait for each task end with this error, not later with a log of theirs.
                    await self.client.cancel(futures, asynchronous=True)
                    await asyncio.wait([asyncio.gather(gathering, return_exceptions=True)], timeout=look)
                    raise self._no_worker(len(await self.client.scheduler.ncores(workers=None)))
        finally:
            gathering.cancel()

    def _no_worker(self, n_paused: int) -> ClusterError:
        waited = f"for {self.timeout:g} seconds (timeout)"
        if n_paused:
            return ClusterError(
                f"all {n_paused} workers of the cluster have been paused {waited}, because their memory is nearly "
                "full; give them more memory, or start more workers."
            )
        return ClusterError(
            f"the cluster has had no worker {waited}; start workers, and fit again, from a checkpoint if there is one."
        )

    @contextmanager
    def _clear_errors(self) -> Iterator[None]:
        """Turn what Dask raises for lost workers and connections into errors that say what to do."""
        try:
            yield
        except KilledWorker as error:
            raise ClusterError(
                f"{described(error.task)} was given up, because {error.allowed_failures + 1} workers died one after "
                "another while they worked on it; most often their memory was full. Divide the rows into smaller "
                "partitions, or give the workers more memory. The log of the worker "
                f"{error.last_worker.address} may say more."
            ) from None
        except (CancelledError, asyncio.CancelledError) as error:
            if self.client.status != "running":
                raise ClusterError(LOST.format("the client has ended")) from None
            raise ClusterError(
                f"the scheduler has cancelled tasks of the fit ({' '.join(str(error).split()) or 'without a reason'}). "
                "Either the connection to it was lost, or data that the client had sent by `scatter` were lost, which "
                "no task can make again: let tasks read the data. Fit again, from a checkpoint if there is one."
            ) from None
        except CommClosedError as error:
            raise ClusterError(LOST.format(error)) from None
        except Exception as error:
            if self.client.status in {"closed", "closing"}:
                raise ClusterError(LOST.format(" ".join(str(error).split()))) from None
            raise


def _leave_pool() -> None:
    """If this code runs in a task of a worker, give its thread to other tasks, because it waits for their results."""
    if hasattr(thread_state, "key"):
        with suppress(KeyError):  # has left already
            secede()


def itself(value: T) -> T:
    """The task that passes a value on."""
    return value


def described(key: Any) -> str:
    """A task for a message: by its partition, if this package has named it."""
    if isinstance(key, tuple) and len(key) == 2:
        first, _, rest = str(key[0]).partition("-")
        if first == NAME and rest.partition("-")[0] in OF_PARTITION:
            return f"partition {key[1]} (counted from 0)"
    return f"the task {key!r}, which a partition needs,"
