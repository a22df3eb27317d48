"""A stand-in for a GPU: arrays are NumPy's, `executor` runs the kernels, memory is limited, transfers are counted."""

import weakref
from contextlib import contextmanager

import numpy as np
from numpy.lib.stride_tricks import as_strided

from nbsoftmax.backends.cuda.device import out_of_memory
from tests.gpu.executor import execute


class StandIn:
    """Implements the interface of `nbsoftmax.backends.cuda.device.Device`."""

    def __init__(self, capacity=2**40, order="forward", *, blas=False):
        self.name, self.capacity, self.order, self.has_blas = "stand-in", capacity, order, blas
        self.held, self.sent, self.fetched, self.launches, self.released = 0, 0, 0, [], 0
        self.largest_put, self.inside, self.freed_outside = 0, 0, 0
        self.recorded = None  # list of the work that is being recorded
        self.recordings = 0

    @contextmanager
    def here(self):
        self.inside += 1
        yield
        self.inside -= 1

    def _check(self):
        assert self.inside > 0, "the device is not the current one of the thread"

    def free_memory(self):
        self._check()
        return self.capacity - self.held

    def _begin(self, work):
        """Do some work, or record it."""
        self._check()
        if self.recorded is None:
            work()
        else:
            self.recorded.append(work)

    def empty(self, n, dtype):
        self._check()
        assert self.recorded is None, "memory is taken while work is recorded"
        array = np.empty(max(1, n), dtype)
        if array.nbytes > self.free_memory():
            raise out_of_memory(self.name, array.nbytes, self.free_memory())
        array.view(np.uint8)[:] = 0xFF  # memory that was not written is NaN
        self.held += array.nbytes
        owner = Owned(array, device=self)
        weakref.finalize(owner, self._forget, array.nbytes)
        return owner

    def _forget(self, n):
        self.held -= n
        self.freed_outside += self.inside == 0

    def adopt(self, X):
        return X

    def fetch(self, a):
        self.fetched += a.array.nbytes
        return a.array.copy()

    def staging(self, n, dtype):
        assert self.recorded is None, "memory is taken while work is recorded"
        return np.empty(max(1, n), dtype)

    def stream(self):
        return object()

    def wait(self, stream):
        assert self.recorded is None, "the host waits while work is recorded"

    def put(self, source, target, stream):
        assert source.dtype == target.dtype and source.size <= target.size
        self._begin(lambda: self._put(source, target))

    def _put(self, source, target):
        self.sent += source.nbytes
        self.largest_put = max(self.largest_put, source.nbytes)
        target.array[: source.size] = source

    def get(self, source, stream):
        self._check()
        self.fetched += source.array.nbytes
        return source.array.copy()

    def take(self, source, target, stream):
        assert source.dtype == target.dtype and source.size == target.size
        self._begin(lambda: self._take(source, target))

    def _take(self, source, target):
        self.fetched += target.nbytes
        target[:] = source.array

    def launch(self, plan, arguments, stream):
        self._begin(lambda: self._launch(plan, [a.array if isinstance(a, Owned) else a for a in arguments]))

    def _launch(self, plan, bare):
        self.launches.append(plan.kernel.__qualname__.split(".")[0])
        execute(plan.kernel, plan.grid, plan.block, *bare, order=self.order)

    def record(self, begin, stream):
        self.recorded = []
        try:
            begin()
            found = self.recorded
        finally:
            self.recorded = None
        self.recordings += 1
        return Recorded(found)

    def blas(self, stream):
        return HostBlas(self) if self.has_blas else None

    def release(self):
        self.released += 1


class Recorded:
    """Work that is done again, in order."""

    def __init__(self, works):
        self.works = works

    def play(self):
        for work in self.works:
            work()


class HostBlas:
    """Matrix products in the order of BLAS, computed by NumPy on arrays of the stand-in."""

    def __init__(self, device):
        self.device = device

    def add_product(  # the arguments of BLAS
        self, transpose_a, transpose_b, m, n, k, a, lda, b, ldb, c, ldc, *, onto, count=1, steps=(0, 0, 0)
    ):
        def multiply():
            self.device.launches.append("blas")
            for at in range(count):
                one, other, sums = (x.array[at * step :] for x, step in zip((a, b, c), steps, strict=True))
                left = columns(one, *((k, m) if transpose_a else (m, k)), lda)
                right = columns(other, *((n, k) if transpose_b else (k, n)), ldb)
                out = columns(sums, m, n, ldc)
                product = (left.T if transpose_a else left) @ (right.T if transpose_b else right)
                out[...] = out + product if onto else product

        self.device._begin(multiply)


def columns(flat, n_rows, n_columns, ld):
    """View a flat array as a matrix with contiguous columns that begin `ld` numbers apart."""
    assert ld >= n_rows and (n_columns - 1) * ld + n_rows <= flat.size
    return as_strided(flat, (n_rows, n_columns), (flat.itemsize, ld * flat.itemsize))


class Owned:
    """An array in the memory of the device, or a part of one."""

    def __init__(self, array, whole=None, device=None):
        self.array, self.whole, self.device = array, whole, device
        self.size, self.dtype, self.shape = array.size, array.dtype, array.shape

    def __getitem__(self, part):
        if self.device is not None:
            self.device._check()
        return Owned(self.array[part], self.whole or self, self.device)

    def reshape(self, *shape):
        return Owned(self.array.reshape(*shape), self.whole or self, self.device)
