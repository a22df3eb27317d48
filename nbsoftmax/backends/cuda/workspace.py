"""Memory and streams of one GPU that one backend uses, by one thread at a time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.cuda.device import Device, Recording
from nbsoftmax.errors import warn
from nbsoftmax.kernels.cuda import products, rows, sums


class Chunk(NamedTuple):
    """Some rows on the device: `n` of them from row `begin`, in the work of one of two streams."""

    begin: int
    n: int
    x: Any
    slot: int


class Unrecorded(NamedTuple):
    """Work that is begun by its function each time."""

    play: Callable[[], None]


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
    on_host : dict
        Arrays in page-locked memory, by name: parameters on their way to the device, and results that came back.
    """

    def __init__(self, device: Device, dtype: Any) -> None:
        self.device, self.dtype = device, np.dtype(dtype)
        self.held: dict[Any, Any] = {}
        self.buffers: dict[Any, Any] = {}
        self.complete = False
        self.on_host: dict[Any, NDArray[Any]] = {}
        self._recorded: dict[Hashable, Recording | None] = {}
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
                self._recorded.clear()
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

    def send(self, name: Any, n: int) -> Any:
        """Begin to copy n numbers, of the dtype of X, from `staged` to a buffer on the device."""
        there = self.reserve(name, n, self.dtype)
        self.device.put(self.staged(name, n, self.dtype), there, self.streams[0])
        return there

    def bring(self, name: Any, source: Any) -> None:
        """Begin to copy float64 numbers from the device, to be read by `brought` when the work is done."""
        self.device.take(source, self.staged(name, source.size, np.float64), self.streams[0])

    def brought(self, name: Any, n: int) -> NDArray[np.float64]:
        """The n numbers of `bring`; the next ones overwrite them."""
        return self.on_host[name][:n]

    def staged(self, name: Any, n: int, dtype: Any) -> NDArray[Any]:
        """An array of n numbers on the host, for copies to and from the device. Calls with the same name share it."""
        staged: NDArray[Any] = self._first(self.on_host, name, n, dtype, self.device.staging)
        return staged

    def finish(self, begin: Callable[[], None], *, key: Hashable = None, fixed: bool = False) -> None:
        """Call `begin`, which begins work on the device, and wait until the work in the first stream is done.

        A call of many kernels takes longer to begin than to run. If `fixed`, calls with the same key begin the same
        work on the same memory, in the first stream alone: the second one is recorded and the others are replayed.
        """
        first = self.streams[0]
        if not fixed or key not in self._recorded:
            begin()
            if fixed:
                self._recorded[key] = None
        else:
            recording = self._recorded[key] = self._recorded[key] or self._record(begin)
            recording.play()
        self.device.wait(first)

    def reserve(self, name: Any, n: int, dtype: Any) -> Any:
        """An array of n elements. Calls with the same name reuse its memory."""
        return self._first(self.buffers, name, n, dtype, self.device.empty)

    def _first(self, arrays: dict[Any, Any], name: Any, n: int, dtype: Any, make: Callable[[int, Any], Any]) -> Any:
        """The first n elements of one of `arrays`. If it is smaller, it is made again, which ends all recordings."""
        if name not in arrays or arrays[name].size < n:
            self._recorded.clear()
            arrays.pop(name, None)  # its memory is free before the larger array is made
            arrays[name] = make(n, dtype)
        return arrays[name][:n]

    def run(self, chunk: Chunk, plan: rows.Plan, *arguments: Any) -> None:
        """Begin to run a kernel in the stream of a chunk."""
        self.device.launch(plan, arguments, self.streams[chunk.slot])

    def run_elementwise(self, kernel: Any, chunk: Chunk, size: int, *arguments: Any) -> None:
        """Begin to run a kernel with a thread for each of `size` numbers."""
        self.run(chunk, rows.Plan(kernel, -(-size // products.THREADS), products.THREADS), *arguments)

    def _record(self, begin: Callable[[], None]) -> Recording:
        try:
            return self.device.record(begin, self.streams[0])
        except Exception as error:  # of the driver or of several libraries; each call then begins the work itself
            warn(
                f"{self.device.name} cannot record work ({error}); each kernel is begun by itself, which is slower.",
                RuntimeWarning,
            )
            return Unrecorded(begin)

    def bring_total(self, name: str, used: set[int], n_parts: int, size: int) -> None:
        """Begin to add the `size` sums of the streams in `used`, each in `n_parts` parts, and to `bring` them."""
        if 1 in used:
            self.device.wait(self.streams[1])
        if used == {0} and n_parts == 1:
            self.bring(name, self.buffers[name, 0][:size])
            return
        out, groups = self.reserve((name, "total"), size, np.float64), sums.groups_for(n_parts)
        for slot in sorted(used):
            parts, n = self.buffers[name, slot][: n_parts * size], n_parts
            if groups > 1:
                ranges = self.reserve((name, "ranges"), groups * size, np.float64)
                self.sum_parts(parts, ranges, size, n, groups, more=False)
                parts, n = ranges, groups
            self.sum_parts(parts, out, size, n, 1, more=slot > min(used))
        self.bring(name, out)

    def sum_parts(
        self, parts: Any, out: Any, size: int, n_parts: int, groups: int = 1, *, more: bool, slot: int = 0
    ) -> None:
        """Begin to add parts of `size` numbers, in so many groups, in the stream of a slot."""
        plan = rows.Plan(sums.sum_parts, -(-size * groups // sums.THREADS), sums.THREADS)
        self.device.launch(plan, (parts, out, size, n_parts, groups, more), self.streams[slot])
