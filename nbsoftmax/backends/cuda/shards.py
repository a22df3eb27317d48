"""Rows on one GPU, or divided among several, whose sums are added in the order of the devices."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.cuda.backend import CudaBackend
from nbsoftmax.backends.cuda.blas import address_of
from nbsoftmax.backends.cuda.device import Device
from nbsoftmax.backends.cuda.rows import Progress
from nbsoftmax.backends.dense import DenseBackend
from nbsoftmax.backends.moments import Moments
from nbsoftmax.backends.sum import HeldParts, SumBackend
from nbsoftmax.backends.targets import part_of
from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.cuda.loads import BYTES
from nbsoftmax.validation import Float64s, WeightedTargets


class ShardedBackend(SumBackend):
    """A sum of GPUs; what needs single rows is done by the CPU."""

    def __init__(self, shards: list[CudaBackend], host: Callable[[], DenseBackend]) -> None:
        first = shards[0]
        super().__init__(
            HeldParts(shards),
            n_samples=sum(shard.n_samples for shard in shards),
            n_features=first.n_features,
            n_classes=first.n_classes,
            weight_sum=first.weight_sum,  # a part of a target keeps the total of all
        )
        self._host = host

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,) and margins z_y - z_k (n, K) of those samples in `part` whose weight is positive."""
        return self._host().margins(params, part)

    def margin_counts(self, params: Float64s, step: Float64s) -> NDArray[np.int64]:
        """Numbers of samples whose margins a step changes, as `separation.counts_of` says, by the CPU."""
        return self._host().margin_counts(params, step)

    def feature_moments(self, centre: Float64s) -> Moments:
        """As `moments.moments`, by the CPU."""
        return self._host().feature_moments(centre)

    def with_features(self, features: NDArray[np.int64]) -> DenseBackend:
        """The same sums over these features only, by the CPU and in float64."""
        return self._host().with_features(features)


def on_devices(
    devices: list[Device],
    X: Any,
    target: WeightedTargets,
    *,
    offset: NDArray[Any],
    fit_intercept: bool,
    memory: int | None,
    n_threads: int | None,
    progress: Progress | None,
) -> CudaBackend | ShardedBackend:
    """The rows on one GPU, or about as many on each of several."""
    options: dict[str, Any] = {"fit_intercept": fit_intercept, "memory": memory, "n_threads": n_threads}
    if len(devices) == 1:
        given = {} if isinstance(X, np.ndarray) else {"aligned": address_of(X) % BYTES == 0}
        return CudaBackend(devices[0], X, target, offset=offset, progress=progress, **options, **given)
    if not isinstance(X, np.ndarray):
        raise InputValueError("X is on one GPU, but device names several; name that one.")
    bounds = [X.shape[0] * i // len(devices) for i in range(len(devices) + 1)]
    parts = [slice(*pair) for pair in pairwise(bounds) if pair[0] < pair[1]]
    shards = []
    for device, part in zip(devices, parts, strict=False):  # more GPUs than rows: some are idle
        cut, beside = part_of(target, part), offset[part] if offset.size else offset
        counted = None if progress is None else partial(_counted, progress, part.start, X.shape[0])
        shards.append(CudaBackend(device, X[part], cut, offset=beside, progress=counted, **options))
    on_host = partial(DenseBackend, X, target, offset=offset, fit_intercept=fit_intercept, n_threads=n_threads)
    return ShardedBackend(shards, cache(on_host))


def _counted(progress: Progress, before: int, of_all: int, done: int, _: int) -> None:
    progress(before + done, of_all)
