"""Rows of Dask collections: where they are on a cluster, what one pass finds out, and the backends of their parts."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.backends.base import Backend
from nbsoftmax.data.blocks import Block
from nbsoftmax.encoding import AnyEncoding, Learner, TableOptions, needs_encoding, warn_of_unknown
from nbsoftmax.encoding.reports import Unknown, add_unknown
from nbsoftmax.errors import InputError, InputTypeError, InputValueError, a_type
from nbsoftmax.problem.collections import checked_parts, is_table, learners_of, partitions_of
from nbsoftmax.problem.fingerprint import fingerprint
from nbsoftmax.problem.survey import Survey, Weighting, digest_of

try:
    import dask
    from distributed import Client, Future, get_client

    from nbsoftmax.backends.cluster.client import Cluster
    from nbsoftmax.backends.cluster.parts import ClusterParts
except ImportError as error:
    raise InputTypeError(
        f'Dask collections need the package distributed ({error}); install it with: pip install "nbsoftmax[dask]"'
    ) from None

TIMEOUT = 300.0  # seconds, unless Dask's configuration has nbsoftmax.timeout
CONNECT_SECONDS = 30.0  # for which a client may still be connecting


class RowsOnCluster:
    """The rows of all partitions: as tasks, and on the workers from the first pass until their backends are made.

    Parameters
    ----------
    X : Dask Array or DataFrame (n_samples, n_features)
    y : Dask Array, DataFrame or Series, or array_like
        Labels (n_samples,), or probabilities (n_samples, n_classes).
    sample_weight : Dask Array or Series, or array_like (n_samples,), or None
    offset : Dask Array, DataFrame or Series, or array_like (n_samples, n_classes) or (n_samples,), or None
    dtype : dtype or None
        Of X, as for `Trainer`.
    client : distributed.Client, optional
        Default: the current one.
    timeout : float, optional
        Seconds without a running worker after which it is an error.
    table : TableOptions or AnyEncoding, optional
        How columns of a DataFrame that are not numbers become features; options are learned at once.

    Attributes
    ----------
    encoding : AnyEncoding or None
    feature_names : tuple of str or None
    """

    def __init__(
        self,
        X: Any,
        y: Any,
        sample_weight: Any,
        offset: Any,
        *,
        dtype: np.dtype[Any] | None,
        client: Client | None,
        timeout: float | None,
        table: TableOptions | AnyEncoding | None,
    ) -> None:
        given = dask.config.get("nbsoftmax.timeout", TIMEOUT) if timeout is None else timeout
        seconds = validation.number("timeout", given, low=0.0, low_open=True)
        self._cluster = Cluster(checked_client(client), seconds)
        parts = checked_parts(X, y, sample_weight, offset, any_kind=table is not None)
        self.encoding = self._encoding(X, table)
        self._tasks, self.feature_names = partitions_of(parts, dtype=dtype, encoding=self.encoding)
        self._rows: list[Future] | None = None
        self._sizes: list[int] = []

    def survey(self) -> Survey:
        """What one pass finds out; an error names the first partition that is wrong."""
        self._rows = self._cluster.compute(self._tasks)
        found = self._cluster.map("survey", partial(_survey, names=self.feature_names), self._rows)
        total: Survey | None = None
        unknown: Unknown = {}
        for i, of_part in enumerate(self._cluster.gathered(found)):
            with in_partition(i):
                survey, levels = or_raised(of_part)
                total = survey if total is None else total + survey
            add_unknown(unknown, levels)
            self._sizes.append(survey.n_samples)
        if total is None:
            raise InputValueError("X has no partitions; expected at least one.")
        warn_of_unknown(unknown)
        return total

    def _encoding(self, X: Any, table: TableOptions | AnyEncoding | None) -> AnyEncoding | None:
        """The encoding of X, learned from all partitions if `table` has options; None if X has numbers."""
        if table is None:
            return None
        if not is_table(X):
            if not isinstance(table, TableOptions) or table.always:
                raise InputTypeError(
                    f"table says how the columns of a table become features, but X is {a_type(X)}; give a "
                    "Dask DataFrame, or leave table out."
                )
            return None
        if not isinstance(table, TableOptions):
            return table
        if X.ndim != 2 or not (table.always or needs_encoding(X._meta)):
            return None
        learner = Learner(table)
        for i, part in enumerate(self._cluster.gathered(self._cluster.compute(learners_of(X, table)))):
            with in_partition(i):
                learner.merge(or_raised(part))
        learner.warn_of_dropped()
        return learner.encoding()

    def digest(self) -> str:
        """The digest of all rows, in one pass."""
        rows = self._cluster.compute(self._tasks) if self._rows is None else self._rows
        return fingerprint(*self._cluster.gathered(self._cluster.map("digest", digest_of, rows)))

    def parts(self, problem: Any, fit_intercept: bool, n_threads: int | None) -> ClusterParts:
        """The backends on the workers, for a `ProblemInParts` of these rows."""
        # The problem may outlive the fit: it must not keep the rows on the workers.
        rows, self._rows = self._rows, None
        return ClusterParts(
            self._cluster,
            self._cluster.compute(self._tasks) if rows is None else rows,
            self._sizes,
            partial(_backend, weighting=problem.weighting, fit_intercept=fit_intercept),
            shape=(problem.n_classes, problem.n_features + 1),
            n_threads=n_threads,
        )


def checked_client(client: Any) -> Client:
    """The client, or the current one; it must be connected, and not asynchronous."""
    if client is None:
        try:
            client = get_client()  # in a task, that of its worker
        except ValueError:
            raise InputValueError(
                "there is no Dask client; make one first: dask.distributed.Client() for the cores of this machine, or "
                "dask.distributed.Client(address) for a cluster."
            ) from None
    if not isinstance(client, Client):
        raise InputTypeError(f"client is {a_type(client)}, expected a dask.distributed.Client.")
    if client.asynchronous:
        raise InputTypeError("client is asynchronous, but a fit waits for its results; use an ordinary Client.")
    end = time.monotonic() + CONNECT_SECONDS
    while client.status in {"newly-created", "connecting"} and time.monotonic() < end:  # by another task of a worker
        time.sleep(0.01)
    if client.status != "running":
        raise InputValueError(f"client is {client.status}, expected one that is connected; make a new Client.")
    return client


@contextmanager
def in_partition(i: int) -> Iterator[None]:
    """Errors of the input, with the number of a partition."""
    try:
        yield
    except (InputValueError, InputTypeError) as error:
        raise type(error)(f"in partition {i} (counted from 0): {error}") from None


def or_raised(result: Any) -> Any:
    """The result of a task, which is raised if it is an error of the input."""
    if isinstance(result, InputError):
        raise copy.copy(result)  # itself it would be in a cycle with this frame, and so keep the rows on the workers
    return result


def _survey(block: Any, *, names: tuple[str, ...] | None) -> Any:
    """The survey of a block and its unknown levels, or the error of its validation.

    An error that is raised would be tried again.
    """
    if isinstance(block, InputError):
        return block
    try:
        return Survey.of(block, names), dict(getattr(block, "unknown", {}))
    except (InputValueError, InputTypeError) as error:
        return error


def _backend(block: Block, n_threads: int, *, weighting: Weighting, fit_intercept: bool) -> Backend:
    return weighting.backend(block, fit_intercept=fit_intercept, n_threads=n_threads)
