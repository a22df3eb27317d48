"""Rows of X and their targets on one GPU: all of them, or as many as fit, sent again at each evaluation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.cuda.workspace import Chunk, Workspace
from nbsoftmax.backends.targets import curvature_weights
from nbsoftmax.kernels.cuda.loads import BYTES
from nbsoftmax.validation import WeightedTargets

PART_BYTES, LEAST_PART_BYTES = 2**26, 2**20  # of a chunk of X that is sent, at most and at least
Progress = Callable[[int, int], None]


class DeviceRows:
    """The rows of one array, and in which chunks a device works on them.

    Parameters
    ----------
    work : Workspace
    X : ndarray (n_samples, n_features), or an array on the device, C-contiguous, which is not copied
    n_classes : int
    aligned : bool
        Whether the address of an X on the device is a multiple of 16 bytes.

    Attributes
    ----------
    ld : int
        Elements from one row to the next on the device; copies are padded to a multiple of 16 bytes.
    wide : bool
        Whether 16 bytes of a row can be loaded at a time.
    resident : bool
        Whether all rows are on the device.
    rows_sent : int
        Most rows that are copied at a time.
    """

    def __init__(self, work: Workspace, X: Any, n_classes: int, *, aligned: bool) -> None:
        self.work, self.n_classes = work, n_classes
        self.n_samples, self.n_features = X.shape
        self._X, self._on_device = X, not isinstance(X, np.ndarray)
        per_vector = BYTES // work.dtype.itemsize
        self.ld = self.n_features if self._on_device else -(-self.n_features // per_vector) * per_vector
        self.wide = aligned and self.ld % per_vector == 0
        self.kind, self.resident, self.rows_sent = 0, False, 1
        self._staging: list[NDArray[Any]] = []

    # --- what is put on the device ------------------------------------------------------------------------

    def put_target(self, target: WeightedTargets, offset: NDArray[Any]) -> None:
        """Targets, weights and offset, flat; placeholders for those that are not given."""
        self.kind = target.kind
        held, none, ones = self.work.held, self.work.held["none"], self.work.held["ones"]
        no_labels = np.zeros(1, np.int32)
        held["labels"] = self.work.sent(target.labels if target.labels.size else no_labels)
        held["proba"] = self.work.sent(target.proba) if target.proba.size else none
        held["gain"], held["floor"] = self.work.sent(target.gain), self.work.sent(target.floor)
        held["weight"] = self.work.sent(target.weight) if target.weight.size else ones
        curvature = curvature_weights(target)
        held["curvature"] = self.work.sent(curvature) if curvature.size else ones
        held["offset"] = self.work.sent(offset) if offset.size else none

    def place(self, budget: int) -> int:
        """Decide whether `budget` bytes hold all rows, or else how many are sent at a time; the bytes that are left.

        The budget is exceeded by a part of `LEAST_PART_BYTES` if it does not even hold that.
        """
        row = self.ld * self.work.dtype.itemsize
        self.resident = self._on_device or self.n_samples * row <= budget
        # Smaller parts would take thousands of launches. If even this part does not fit, its allocation is an error.
        most = PART_BYTES if self.resident else min(PART_BYTES, max(LEAST_PART_BYTES, budget // 2))
        self.rows_sent = max(1, min(self.n_samples, most // row))
        if self._on_device:
            return budget
        taken: int = row * (self.n_samples if self.resident else 2 * self.rows_sent)
        return budget - taken

    def load(self, progress: Progress | None) -> None:
        """Copy the rows to the device, or make room for the parts that will be sent."""
        device, dtype, held = self.work.device, self.work.dtype, self.work.held
        if self._on_device:
            held["x", 0] = self._X.reshape(-1)
            return
        size = self.rows_sent * self.ld
        self._staging = [device.staging(size, dtype) for _ in range(2)]
        if self.resident:
            held["x", 0] = device.empty(self.n_samples * self.ld, dtype)
            self._copy(progress)
        else:
            held["x", 0], held["x", 1] = device.empty(size, dtype), device.empty(size, dtype)

    def on_host(self) -> NDArray[Any]:
        """X itself, or a copy of one that is on the device."""
        if not self._on_device:
            X: NDArray[Any] = self._X
            return X
        flat = self.work.device.get(self._X.reshape(-1), self.work.streams[0])
        return flat.reshape(self.n_samples, self.n_features)

    def _copy(self, progress: Progress | None) -> None:
        whole = self.work.held["x", 0]
        for number, begin in enumerate(range(0, self.n_samples, self.rows_sent)):
            n = min(self.rows_sent, self.n_samples - begin)
            self._stage(begin, n, whole[begin * self.ld : (begin + n) * self.ld], number % 2)
            if progress is not None:
                progress(begin + n, self.n_samples)
        for stream in self.work.streams:
            self.work.device.wait(stream)
        self._staging = []

    def _stage(self, begin: int, n: int, target: Any, slot: int) -> None:
        """Begin to copy rows to the device; ends with the stream."""
        stream = self.work.streams[slot]
        self.work.device.wait(stream)  # until what was copied from here before is there
        staging = self._staging[slot][: n * self.ld].reshape(n, self.ld)
        staging[:, : self.n_features] = self._X[begin : begin + n]
        staging[:, self.n_features :] = 0
        self.work.device.put(staging.reshape(-1), target, stream)

    # --- what evaluations go through ----------------------------------------------------------------------

    def chunks(self, size: int) -> Iterator[Chunk]:
        """The rows, at most `size` at a time; while kernels work on some, the next are sent."""
        if self.resident:
            whole = self.work.held["x", 0]
            for begin in range(0, self.n_samples, size):
                n = min(size, self.n_samples - begin)
                yield Chunk(begin, n, whole[begin * self.ld : (begin + n) * self.ld], 0)
            return
        size = min(size, self.rows_sent)
        for number, begin in enumerate(range(0, self.n_samples, size)):
            n, slot = min(size, self.n_samples - begin), number % 2
            x = self.work.held["x", slot][: n * self.ld]
            self._stage(begin, n, x, slot)
            yield Chunk(begin, n, x, slot)

    def of(self, name: str, chunk: Chunk, width: int = 1) -> Any:
        """The part of an array by rows that belongs to a chunk; a placeholder as it is."""
        array = self.work.held[name]
        if array.size != self.n_samples * width:
            return array
        return array[chunk.begin * width : (chunk.begin + chunk.n) * width]

    def target_of(self, chunk: Chunk) -> tuple[Any, ...]:
        """Labels and proba of a chunk's rows, gain and floor of the classes."""
        held = self.work.held
        return self.of("labels", chunk), self.of("proba", chunk, self.n_classes), held["gain"], held["floor"]
