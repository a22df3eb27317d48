"""A client of Dask whose tasks either end or raise an error that says what to do."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import contextmanager
from typing import Any, TypeVar
from uuid import uuid4

import dask
from distributed import Client, Future, KilledWorker
from distributed.comm import CommClosedError

from nbsoftmax.errors import ClusterError

T = TypeVar("T")

RETRIES = 2  # of a task that raises an error
NAME = "nbsoftmax"  # with which the names of all tasks begin
SEVERAL = "sums"  # in the names of tasks for several partitions
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

    def compute(self, tasks: Sequence[Any]) -> list[Future]:
        """Start delayed tasks. Their results stay on the workers as long as the futures exist."""
        with self._clear_errors():
            futures: list[Future] = self.client.compute(list(tasks), retries=RETRIES)
        return futures

    def map(self, what: str, function: Callable[..., Any], *arguments: Sequence[Any], **options: Any) -> list[Future]:
        """Start a task for each item of the sequences, which may contain futures; `what` names the tasks."""
        name = f"{NAME}-{what}-{uuid4().hex}"
        keys = [(name, i) for i in range(len(arguments[0]))]
        # Large parameters are sent once, by a task of their own: see `sent`.
        silent = dask.config.set({"distributed.admin.large-graph-warning-threshold": "1 TB"})
        with self._clear_errors(), silent:
            futures: list[Future] = self.client.map(function, *arguments, key=keys, retries=RETRIES, **options)
        return futures

    def sent(self, what: str, value: Any) -> Future:
        """A value that workers get from one another. The scheduler keeps it, in case that they are lost."""
        return self.map(what, itself, [value])[0]

    def held(self, futures: Sequence[Future]) -> tuple[dict[str, int], list[str | None]]:
        """The running workers with their numbers of threads, and a worker that holds the result of each future.

        None stands for a result that is being computed.
        """
        with self._clear_errors():
            threads = dict(self.client.sync(self.client.scheduler.ncores_running, workers=None))
            workers = self.client.who_has(futures)

        def best(holders: Sequence[str]) -> str | None:
            return next((worker for worker in holders if worker in threads), next(iter(holders), None))

        return threads, [best(workers.get(future.key, ())) for future in futures]

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


def itself(value: T) -> T:
    """The task that passes a value on."""
    return value


def described(key: Any) -> str:
    """A task for a message: by its partition, if this package has named it."""
    if isinstance(key, tuple) and len(key) == 2 and str(key[0]).startswith(NAME):
        if str(key[0]).startswith(f"{NAME}-{SEVERAL}-"):
            return "a sum over partitions of one worker"
        return f"partition {key[1]} (counted from 0)"
    return f"the task {key!r}, which a partition needs,"
