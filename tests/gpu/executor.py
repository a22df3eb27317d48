"""Executes the Python source of CUDA kernels on the CPU, with a greenlet for each thread, and detects errors.

Each of these raises a `Fault`: an index out of bounds; a read of memory that was not written; a race, which means that
two threads access a shared element without a barrier between and one writes it; a barrier or shuffle that not all
threads reach. The executor supports the part of `numba.cuda` that the kernels use: one-dimensional grids and blocks,
shared and local arrays, shuffles, syncthreads. Threads run until they reach a barrier, in the order "forward",
"reverse", or "random" with a seed. Times mean nothing.
"""

import math
import random
import sys
import types

import numpy as np
from greenlet import getcurrent, greenlet
from numba import cuda
from numba.core import types as numba_types
from numba.np.numpy_support import as_dtype

from nbsoftmax.kernels.cuda.loads import BYTES, load_wide

WARP = 32


class Fault(RuntimeError):  # noqa: N818 - "fault" is the usual word
    """The kernel does something whose result is undefined on a GPU."""


class Memory:
    """An array in global memory, whose indices are checked."""

    def __init__(self, array, run, name):
        self.array, self.run, self.name = array, run, name
        self.size, self.shape, self.dtype = array.size, array.shape, array.dtype

    def beyond(self, i):
        return Fault(f"{self.name}[{i}] is out of bounds ({self.size}), in {self.run.where()}")

    def __getitem__(self, i):
        if 0 <= i < self.size:
            return self.array[i]
        raise self.beyond(i)

    def __setitem__(self, i, value):
        if not 0 <= i < self.size:
            raise self.beyond(i)
        self.array[i] = value


class Local:
    """A local array of a thread; reading an element before it is written is a fault.

    The elements are in a list, which is faster than a NumPy array.
    """

    def __init__(self, size, dtype, run, name):
        self.values, self.kind, self.size, self.run, self.name = [None] * size, dtype.type, size, run, name

    beyond = Memory.beyond

    def __getitem__(self, i):
        if not 0 <= i < self.size:
            raise self.beyond(i)
        value = self.values[i]
        if value is None:
            raise Fault(f"{self.name}[{i}] is read before it was written, in {self.run.where()}")
        return value

    def __setitem__(self, i, value):
        if not 0 <= i < self.size:
            raise self.beyond(i)
        self.values[i] = value if type(value) is self.kind else self.kind(value)


class Shared(Local):
    """A shared array of a block; between a write of an element and another thread's access there must be a barrier."""

    def __init__(self, size, dtype, run, name):
        super().__init__(size, dtype, run, name)
        self.writers = [None] * size  # `Thread.stamp` of the last write
        self.readers = [set() for _ in range(size)]  # stamps of the reads since then

    def _race(self, i, doing, other):
        raise Fault(f"race: {self.name}[{i}] is {doing} by {self.run.where()} beside thread {other[0]}")

    def __getitem__(self, i):
        value = self.values[i] if 0 <= i < self.size else None
        if value is None:
            return super().__getitem__(i)  # raises the fault
        me, writer = self.run.thread.stamp, self.writers[i]
        if writer[1] == me[1] and together(me, writer):
            self._race(i, "read", writer)
        self.readers[i].add(me)
        return value

    def __setitem__(self, i, value):
        super().__setitem__(i, value)
        me, readers = self.run.thread.stamp, self.readers[i]
        if self.writers[i] is not None and together(me, self.writers[i]):
            self._race(i, "written", self.writers[i])
        for reader in readers:
            if together(me, reader):
                self._race(i, "written", reader)
        readers.clear()
        self.writers[i] = me


def together(one, other):
    """Whether no barrier is between two stamps: (thread, barriers of the block, barriers of the warp since then)."""
    return one[1] == other[1] and one[0] != other[0] and (one[2] == other[2] or one[0] // WARP != other[0] // WARP)


class Thread:
    """A thread: its number in the block, what it waits for, and its barriers so far in `stamp`, as in `together`."""

    def __init__(self, number, block):
        self.number, self.block, self.stamp = number, block, (number, 0, 0)
        self.waits, self.value, self.done, self.green = None, None, False, None


class _Index:
    def __init__(self, get):
        self._get = get

    x = property(lambda self: self._get())


class _Arrays:
    """Stand-in for `cuda.shared` or `cuda.local`: an array for each place in the source that creates one."""

    def __init__(self, run, *, shared):
        self._run, self._shared = run, shared

    def array(self, size, dtype):
        frame = sys._getframe(1)
        kind = _dtype(dtype)
        if not self._shared:
            return Local(size, kind, self._run, f"local array of line {frame.f_lineno}")
        place = frame.f_code, frame.f_lineno, frame.f_lasti
        known = self._run.shared
        if place not in known:
            known[place] = Shared(size, kind, self._run, f"shared array of line {frame.f_lineno}")
        return known[place]


class Cuda:
    """Stand-in for `numba.cuda` inside a kernel."""

    def __init__(self, run, grid, block):
        self._run = run
        self.threadIdx = _Index(lambda: run.thread.number)
        self.blockIdx = _Index(lambda: run.thread.block)
        self.gridDim, self.blockDim = _Index(lambda: grid), _Index(lambda: block)
        self.shared, self.local = _Arrays(run, shared=True), _Arrays(run, shared=False)

    def syncthreads(self):
        self._run.wait("block", None)

    def shfl_xor_sync(self, mask, value, lane):
        return self._from((self._run.thread.number % WARP) ^ int(lane), mask, value, sys._getframe(1).f_lineno)

    def shfl_sync(self, mask, value, lane):
        return self._from(int(lane), mask, value, sys._getframe(1).f_lineno)

    def _from(self, source, mask, value, line):
        values = self._run.wait(("warp", mask, line), value)
        if source not in values:
            raise Fault(f"a shuffle reads from lane {source}, which does not take part, in {self._run.where()}")
        return values[source]


class _Math:
    """Stand-in for `math` whose results have the dtype of the argument, as on a GPU."""

    inf = math.inf
    exp, log1p = staticmethod(np.exp), staticmethod(np.log1p)


def loaded(memory, i):
    """Stand-in for `load_wide`."""
    n = BYTES // memory.dtype.itemsize
    if i % n:
        raise Fault(f"{memory.name}[{i}] is not aligned to {BYTES} bytes, in {memory.run.where()}")
    return tuple(memory[i + e] for e in range(n))


class _Number:
    """Stand-in for a Numba type, as a function and as a dtype."""

    def __init__(self, dtype):
        self.dtype = dtype

    def __call__(self, value):
        return self.dtype.type(value)


def _dtype(given):
    return given.dtype if isinstance(given, _Number) else as_dtype(given)


class Run:
    """One launch of a kernel."""

    def __init__(self, grid, block, order, seed):
        self.grid, self.block, self.order, self.random = grid, block, order, random.Random(seed)
        self.cuda, self.thread, self.shared, self.known = Cuda(self, grid, block), None, {}, {}

    def where(self):
        return f"thread {self.thread.number} of block {self.thread.block}"

    def wait(self, kind, value):
        thread = self.thread
        thread.waits, thread.value = kind, value
        self.main.switch()
        return thread.value

    def translated(self, value):
        """Copy a function, with stand-ins for `cuda`, `math` and the like; other values are returned unchanged."""
        if value is cuda:
            return self.cuda
        if value is math:
            return _Math
        if value is load_wide:
            return loaded
        if isinstance(value, numba_types.Number):
            return _Number(as_dtype(value))
        function = getattr(value, "py_func", value)
        if not isinstance(function, types.FunctionType) or not function.__module__.startswith("nbsoftmax.kernels.cuda"):
            return value
        if function not in self.known:
            cells = tuple(types.CellType() for _ in function.__closure__) if function.__closure__ else None
            copy = types.FunctionType(function.__code__, {}, function.__name__, function.__defaults__, cells)
            self.known[function] = copy
            for name in (*function.__code__.co_names, "__builtins__"):
                if name in function.__globals__:
                    copy.__globals__[name] = self.translated(function.__globals__[name])
            for cell, real in zip(copy.__closure__ or (), function.__closure__ or (), strict=True):
                cell.cell_contents = self.translated(real.cell_contents)
        return self.known[function]

    def execute(self, kernel, arguments):
        function = self.translated(kernel)
        memory = [Memory(a, self, f"argument {n}") if isinstance(a, np.ndarray) else a for n, a in enumerate(arguments)]
        self.main = getcurrent()

        def quiet(*given):  # each greenlet has its own error state of NumPy
            with np.errstate(all="ignore"):
                function(*given)

        for block in range(self.grid):
            self.shared = {}
            self._block(quiet, memory, [Thread(number, block) for number in range(self.block)])

    def _block(self, function, memory, threads):
        for thread in threads:
            thread.green = greenlet(function)
        live, begun = threads, False
        while live:
            ready = [t for t in live if t.waits is None]
            if not ready:
                raise Fault(f"threads wait for each other: {sorted({str(t.waits) for t in live})}")
            if self.order == "reverse":
                ready.reverse()
            elif self.order == "random":
                self.random.shuffle(ready)
            for thread in ready:
                self.thread = thread
                thread.green.switch(*([] if begun else memory))
                thread.done = thread.green.dead
            begun = True
            live = [t for t in live if not t.done]
            self._release(threads, live)

    def _release(self, threads, live):
        if live and all(t.waits == "block" for t in live):
            if len(live) < len(threads):
                raise Fault("a barrier of the block is not reached by all threads: some have ended")
            for t in live:
                t.waits, t.stamp = None, (t.number, t.stamp[1] + 1, 0)
            return
        groups = {}
        for t in live:
            if isinstance(t.waits, tuple):
                groups.setdefault((t.number // WARP, t.waits), []).append(t)
        for (warp, (_, mask, _)), waiting in groups.items():
            named = [t for t in threads if t.number // WARP == warp and mask >> (t.number % WARP) & 1]
            if any(t.done for t in named):
                raise Fault(f"a shuffle names lanes of warp {warp} that have ended")
            if len(waiting) == len(named):
                values = {t.number % WARP: t.value for t in waiting}
                for t in waiting:
                    t.waits, t.value, t.stamp = None, values, (t.number, t.stamp[1], t.stamp[2] + 1)


def execute(kernel, grid, block, *arguments, order="forward", seed=0):
    """Execute a kernel, which is a plain function, on NumPy arrays and numbers."""
    Run(grid, block, order, seed).execute(kernel, arguments)
