"""Memory and streams of one GPU that one backend uses, by one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.cuda.device import Device
from nbsoftmax.kernels.cuda import fused, products, rows
from nbsoftmax.validation import Float64s


class Chunk(NamedTuple):
    """Some rows on the device: `n` of them from row `begin`, in the work of one of two streams."""

    begin: int
    n: int
    x: Any
    slot: int


class Workspace:
    """All memory of a backend on its device.

    Attributes
    ----------
    device : Device
    dtype : dtype
        Of X.
    streams : tuple
        Two, so that rows are copied in one while kernels work in the other.
    held : dict
        Arrays that live as long as the backend, by name.
    buffers : dict
        Arrays whose contents nobody needs after an evaluation, by name.
    complete : bool
        Set when `held` contains all that the backend needs.
    """

    def __init__(self, device: Device, dtype: Any) -> None:
        self.device, self.dtype = device, np.dtype(dtype)
        self.held: dict[Any, Any] = {}
        self.buffers: dict[Any, Any] = {}
        self.complete = False
        self._lock = threading.Lock()
        with device.here():
            self.streams = device.stream(), device.stream()

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Work on the device, by one thread at a time. If memory runs out, free what can be made again."""
        with self._lock, self.device.here():
            try:
                yield
            except MemoryError:
                self.buffers.clear()
                if not self.complete:
                    self.held.clear()
                self.device.release()
                raise

    def hold_placeholders(self) -> None:
        """Make the arrays that stand for those which are not given: `none` and `ones`.

        Kernels recognise them by their size, 1. With one row that is the right size, and they mean the same.
        """
        self.held["none"], self.held["ones"] = self.sent(np.zeros(1, self.dtype)), self.sent(np.ones(1))

    def bytes_held(self) -> int:
        """What the arrays that live as long as the backend take."""
        return sum(int(a.size) * np.dtype(a.dtype).itemsize for a in self.held.values())

    def sent(self, array: NDArray[Any]) -> Any:
        """A copy on the device, flat."""
        there, source = self.device.empty(array.size, array.dtype), np.ascontiguousarray(array).reshape(-1)
        self.device.put(source, there, self.streams[0])
        self.device.wait(self.streams[0])
        return there

    def sent_to(self, name: Any, array: NDArray[Any]) -> Any:
        """A copy on the device, flat, in the memory of a buffer."""
        there = self.reserve(name, array.size, array.dtype)
        self.device.put(array, there, self.streams[0])
        self.device.wait(self.streams[0])
        return there

    def reserve(self, name: Any, n: int, dtype: Any) -> Any:
        """An array of n elements. Calls with the same name reuse its memory."""
        buffer = self.buffers.get(name)
        if buffer is None or buffer.size < n:
            self.buffers.pop(name, None)
            buffer = self.buffers[name] = self.device.empty(n, dtype)
        return buffer[:n]

    def run(self, chunk: Chunk, plan: rows.Plan, *arguments: Any) -> None:
        """Begin to run a kernel in the stream of a chunk."""
        self.device.launch(plan, arguments, self.streams[chunk.slot])

    def run_elementwise(self, kernel: Any, chunk: Chunk, size: int, *arguments: Any) -> None:
        """Begin to run a kernel with a thread for each of `size` numbers."""
        self.run(chunk, rows.Plan(kernel, -(-size // products.THREADS), products.THREADS), *arguments)

    def total(self, name: str, used: set[int], n_parts: int, size: int) -> Float64s:
        """The sums of the streams in `used`, each in `n_parts` buffers of `size` numbers, added in order."""
        out = self.reserve("total", size, np.float64)
        for stream in self.streams:
            self.device.wait(stream)
        grid = -(-size // fused.THREADS)
        for slot in sorted(used):
            parts = self.buffers[name, slot][: n_parts * size]
            arguments = parts, out, size, n_parts, slot > 0
            self.device.launch(rows.Plan(fused.sum_parts, grid, fused.THREADS), arguments, self.streams[0])
        total: Float64s = self.device.get(out, self.streams[0])
        return total
