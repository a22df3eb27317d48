"""Dense rows on a GPU, summed by `nbsoftmax.kernels.cuda`; or sent to it in parts, where they do not fit.

Few classes: one kernel reads X once. Many: chunks of rows go through logits, a row kernel and sums; of the logits no
more than a chunk exists. Both products are cuBLAS's, where it is installed, or tiles of ours. Parameters go there and
sums come back; float64 sums are made in an order that the shape and the memory to use decide.
"""

from __future__ import annotations

import atexit
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cache, partial
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.cuda.blas import address_of
from nbsoftmax.backends.cuda.device import Device
from nbsoftmax.backends.dense import DenseBackend, hessian_of_pairs
from nbsoftmax.backends.targets import curvature_weights, part_of
from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels import sgd
from nbsoftmax.kernels.cuda import curvature, fused, products, rows
from nbsoftmax.kernels.cuda.loads import BYTES
from nbsoftmax.validation import Float64s, WeightedTargets

SHARE = 0.8  # of a device's free memory that is used by default
LOGITS_BYTES = 2**24  # of a chunk of rows: they stay in the second cache between the kernels
PART_BYTES = 2**26  # of a chunk of X that is sent
SUMS_BYTES = 2**28  # of sums in parts, for each of two streams
Progress = Callable[[int, int], None]
_alive: weakref.WeakSet[CudaBackend] = weakref.WeakSet()

weakref.finalize(_alive, int)  # the first of all: Python then runs those of arrays at exit after `_end_all`


@atexit.register
def _end_all() -> None:
    """Give back what objectives that live until the end have, while GPUs can still be made the thread's."""
    for backend in list(_alive):
        with suppress(Exception):
            backend._end()


class Chunk(NamedTuple):
    """Some rows on the device: from row `begin`, `n` of them, in the work of one of two streams."""

    begin: int
    n: int
    x: Any
    slot: int


class CudaBackend:
    """Rows of one float32 or float64 array on one GPU.

    Parameters
    ----------
    device : Device
    X : ndarray (n_samples, n_features), or an array on the device, C-contiguous, which is not copied
    target : WeightedTargets
    offset : ndarray (n_samples, n_classes) of the dtype of X, added to the logits; (0, 0) for none
    fit_intercept : bool
    memory : int or None
        Bytes to use; None: most of what is free.
    progress : callable or None
        Called with the rows that are on the device and those that will be, while X is copied.
    aligned : bool
        Whether the address of an X on the device is a multiple of 16 bytes.
    """

    def __init__(
        self,
        device: Device,
        X: Any,
        target: WeightedTargets,
        *,
        offset: NDArray[Any],
        fit_intercept: bool,
        memory: int | None = None,
        progress: Progress | None = None,
        aligned: bool = True,
    ) -> None:
        self.n_samples, self.n_features = X.shape
        self.n_classes = target.gain.size
        self.weight_sum, self.dtype, self.fit_intercept = target.total, np.dtype(X.dtype), fit_intercept
        self._device, self._source = device, (X, target, offset)
        self._lock = threading.Lock()
        self._host: DenseBackend | None = None
        self._per_vector = BYTES // self.dtype.itemsize
        there = not isinstance(X, np.ndarray)
        self._ld = self.n_features if there else -(-self.n_features // self._per_vector) * self._per_vector
        shape = fused.shape_for(self.dtype, self.n_features, self.n_classes)
        # 16 bytes at once need rows of that.
        self._shape = shape if aligned and self._ld % self._per_vector == 0 else None
        self._buffers: dict[tuple[Any, ...], Any] = {}
        self._kept_at: Float64s | None = None
        self._complete = False
        with self._turn():
            budget = int(SHARE * device.free_memory()) if memory is None else memory
            self._streams = device.stream(), device.stream()
            self._blas = [device.blas(stream) if self._shape is None else None for stream in self._streams]
            if None in self._blas:
                self._blas = [None, None]
            # Stand for arrays that are not given. Where one row makes their size the right one, they say the same.
            self._none, self._ones = self._sent(np.zeros(1, self.dtype)), self._sent(np.ones(1))
            self._target = self._put_target(target, offset)
            budget -= self._workspace() + sum(a.size * a.dtype.itemsize for a in self._target)
            row = self._ld * self.dtype.itemsize  # bytes
            self._resident = there or self.n_samples * row <= budget
            most = PART_BYTES if self._resident else min(PART_BYTES, max(0, budget) // 2)
            self._rows_sent = max(1, min(self.n_samples, most // row))
            kept = self.n_samples * self.n_classes
            left = budget - (0 if there else self.n_samples * row if self._resident else 2 * self._rows_sent * row)
            self._kept = self._none
            if self._shape is not None and kept * self.dtype.itemsize <= left:
                self._kept = device.empty(kept, self.dtype)
            if not there:
                self._staging = [device.staging(self._rows_sent * self._ld, self.dtype) for _ in range(2)]
            if there:
                self._x = [X.reshape(-1)]
            elif self._resident:
                self._x = [device.empty(self.n_samples * self._ld, self.dtype)]
                self._copy(progress)
            else:
                self._x = [device.empty(self._rows_sent * self._ld, self.dtype) for _ in range(2)]
        self._complete = True
        _alive.add(self)

    def __del__(self) -> None:
        """Give everything back: memory that is freed where the GPU is not the thread's is lost."""
        if not sys.is_finalizing():
            with suppress(Exception):
                self._end()

    def _end(self) -> None:
        device = self._device
        with device.here():
            self.__dict__.clear()
            device.release()

    @contextmanager
    def _turn(self) -> Iterator[None]:
        """Work on the device, by one thread at a time. Where memory runs out, what can be made again is given back."""
        with self._lock, self._device.here():
            try:
                yield
            except MemoryError:
                self._buffers.clear()
                if not self._complete:
                    self._x, self._target, self._kept = [], (), None
                self._device.release()
                raise

    # --- what solvers ask for ---------------------------------------------------------------------------

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        with self._turn():
            return self._evaluate(params, want_grad=False)[0]

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1), in one pass over the rows."""
        with self._turn():
            return self._evaluate(params, want_grad=True)

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v, in one pass over the rows."""
        with self._turn():
            if self._shape is None or self._kept is self._none:
                return self._moved(params, v)
            if self._kept_at is None or not np.array_equal(self._kept_at, params):
                self._fused(fused.LOSS, params, want_grad=False)
            return self._fused(fused.PRODUCT, v, want_grad=True)[1]

    def gram(self, params: Float64s | None = None) -> Float64s:
        """X1^T diag(h mean_k a_k (1 - a_k)) X1 at `params`, or X1^T diag(h) X1, with X1 = (X, 1): (N + 1, N + 1)."""
        with self._turn():
            return self._weighted_gram(params, curvature.MEAN, 0, 0)

    def class_grams(self, params: Float64s) -> Float64s:
        """X1^T diag(h a_k (1 - a_k)) X1 for each class k: the diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        with self._turn():
            each = range(self.n_classes)
            return np.stack([self._weighted_gram(params, curvature.PAIR, k, k) for k in each])

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        with self._turn():
            pairs = zip(*np.triu_indices(self.n_classes, 1), strict=True)
            blocks = [self._weighted_gram(params, curvature.PAIR, int(k), int(other)) for k, other in pairs]
        return hessian_of_pairs(np.stack(blocks), self.n_classes)

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, sum_i h_i a_ik (1 - a_ik) (x_i, 1)^2, (K, N + 1)."""
        with self._turn():
            point, sums = self._layout(params), _Sums(self, self.n_classes, self.n_features)
            for chunk in self._chunks(self._rows_at_once()):
                z, u = self._buffer("z", chunk), self._buffer("u", chunk)
                self._logits(chunk, point, z, offset=True)
                self._curve(curvature.EACH, chunk, z, u, self._ones, 0, 0)
                sums.add(chunk, u, squared=True)
            return self._without_intercept(sums.total())

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,), and margins z_y - z_k (n, K), of the samples of some rows that have weight."""
        return self._on_host().margins(params, part)

    def descend(
        self,
        state: sgd.State,
        order: NDArray[np.int64],
        batch_size: int,
        rates: Float64s,
        rule: sgd.Rule,
        n_before: int,
    ) -> Float64s:
        """Refused: a GPU would wait for the host after every mini-batch."""
        raise InputValueError(
            "solver 'sgd' runs on the CPU: use device='cpu', or on a GPU solver 'newton-cg', which needs few passes."
        )

    def with_features(self, features: NDArray[np.int64]) -> DenseBackend:
        """The same sums over only these features, few as a rule, by the CPU and in float64 throughout."""
        return self._on_host().with_features(features)

    def _on_host(self) -> DenseBackend:
        """The same rows on the CPU, made when they are first asked for."""
        with self._turn():
            if self._host is None:
                X, target, offset = self._source
                if not isinstance(X, np.ndarray):
                    X = self._device.get(X.reshape(-1), self._streams[0]).reshape(self.n_samples, self.n_features)
                self._host = DenseBackend(X, target, offset=offset, fit_intercept=self.fit_intercept, n_threads=None)
            return self._host

    # --- the rows -----------------------------------------------------------------------------------------

    def _put_target(self, target: WeightedTargets, offset: NDArray[Any]) -> tuple[Any, ...]:
        """labels, proba, gain, floor, weight, h and offset on the device, flat."""
        curve = curvature_weights(target)
        self._kind = target.kind
        by_class = target.gain, target.floor
        given: tuple[NDArray[Any], ...] = target.labels, target.proba, *by_class, target.weight, curve, offset
        missing = np.zeros(1, np.int32), self._none, None, None, self._ones, self._ones, self._none
        there = []
        for array, instead in zip(given, missing, strict=True):
            wanted = array if array.size else instead
            there.append(self._sent(wanted) if isinstance(wanted, np.ndarray) else wanted)
        return tuple(there)

    def _sent(self, array: NDArray[Any]) -> Any:
        there, source = self._device.empty(array.size, array.dtype), np.ascontiguousarray(array).reshape(-1)
        self._device.put(source, there, self._streams[0])
        self._device.wait(self._streams[0])
        return there

    def _stage(self, begin: int, n: int, target: Any, slot: int) -> None:
        """Begin to copy rows to the device; ends with the stream."""
        self._device.wait(self._streams[slot])  # until what was copied from here before is there
        staging = self._staging[slot][: n * self._ld].reshape(n, self._ld)
        staging[:, : self.n_features] = self._source[0][begin : begin + n]
        staging[:, self.n_features :] = 0
        self._device.put(staging.reshape(-1), target, self._streams[slot])

    def _copy(self, progress: Progress | None) -> None:
        for number, begin in enumerate(range(0, self.n_samples, self._rows_sent)):
            n = min(self._rows_sent, self.n_samples - begin)
            self._stage(begin, n, self._x[0][begin * self._ld : (begin + n) * self._ld], number % 2)
            if progress is not None:
                progress(begin + n, self.n_samples)
        for stream in self._streams:
            self._device.wait(stream)
        self._staging = []

    def _chunks(self, size: int) -> Iterator[Chunk]:
        """The rows, at most so many at a time; while some are worked on, the next are sent."""
        if self._resident:
            for begin in range(0, self.n_samples, size):
                n = min(size, self.n_samples - begin)
                yield Chunk(begin, n, self._x[0][begin * self._ld : (begin + n) * self._ld], 0)
            return
        size = min(size, self._rows_sent)
        for number, begin in enumerate(range(0, self.n_samples, size)):
            n, slot = min(size, self.n_samples - begin), number % 2
            self._stage(begin, n, self._x[slot][: n * self._ld], slot)
            yield Chunk(begin, n, self._x[slot][: n * self._ld], slot)

    def _of(self, which: int, chunk: Chunk, width: int = 1) -> Any:
        """The part of an array of the target that belongs to a chunk's rows; whole where it has no rows."""
        array = self._target[which]
        if array.size != self.n_samples * width:
            return array
        return array[chunk.begin * width : (chunk.begin + chunk.n) * width]

    def _target_of(self, chunk: Chunk) -> tuple[Any, ...]:
        """Labels and proba of a chunk's rows, gain and floor of the classes."""
        return self._of(0, chunk), self._of(1, chunk, self.n_classes), *self._target[2:4]

    # --- few classes: one kernel --------------------------------------------------------------------------

    def _evaluate(self, params: Float64s, *, want_grad: bool) -> tuple[float, Float64s]:
        if self._shape is not None:
            return self._fused(fused.LOSS, params, want_grad=want_grad)
        size = self._rows_at_once()
        point, losses = self._layout(params), self._reserve("losses", -(-self.n_samples // size), np.float64)
        sums = self._gradients()
        for number, chunk in enumerate(self._chunks(size)):
            z, by_row = self._buffer("z", chunk), self._reserve(("by_row", chunk.slot), chunk.n, np.float64)
            self._logits(chunk, point, z, offset=True)
            plan = rows.plan_cross_entropy(self.dtype, chunk.n, self.n_classes)
            target = *self._target_of(chunk), self._of(4, chunk), self._kind, self.dtype.type(1)
            self._run(chunk, plan, z, *target, by_row, want_grad, z, chunk.n, self.n_classes)
            plan = rows.Plan(rows.sum_in_order, 1, rows.BLOCK_THREADS)
            self._run(chunk, plan, by_row, losses[number : number + 1], chunk.n)
            if want_grad:
                sums.add(chunk, z)
        gradient = self._without_intercept(sums.total()) if want_grad else np.empty(0)
        self._device.wait(self._streams[1])
        return float(self._device.get(losses, self._streams[0]).sum()), gradient

    def _fused(self, what: int, params: Float64s, *, want_grad: bool) -> tuple[float, Float64s]:
        """(loss, gradient) at params, or (-, the product with them)."""
        shape = self._shape
        assert shape is not None
        reach, size = shape.reach(self.dtype), shape.size(self.dtype)
        w = np.zeros((self.n_classes, reach), self.dtype)
        w[:, : self.n_features] = params[:, :-1]
        bias = params[:, -1] if self.fit_intercept else np.zeros(self.n_classes)
        flat = np.concatenate([w.reshape(-1), bias.astype(self.dtype)])
        there = self._reserve(("weights", what), flat.size, self.dtype)
        self._device.put(flat, there, self._streams[0])
        self._device.wait(self._streams[0])
        weights, biases = there[: w.size], there[w.size :]
        kernel, used = fused.fused(what, self.dtype, shape), set[int]()
        grid = fused.blocks_for(shape, self.n_samples if self._resident else self._rows_sent)
        if what == fused.LOSS:
            self._kept_at = None  # until all of them are those of these parameters
        n_parts = grid * shape.groups
        for chunk in self._chunks(self.n_samples):
            parts = self._reserve(("parts", chunk.slot), n_parts * size, np.float64)
            weight = self._of(5 if what == fused.PRODUCT else 4, chunk)
            kept = self._kept
            if kept.size == self.n_samples * self.n_classes:
                kept = kept[chunk.begin * self.n_classes : (chunk.begin + chunk.n) * self.n_classes]
            offset = self._of(6, chunk, self.n_classes)
            target = offset, *self._target_of(chunk), weight, self._kind
            done = parts, chunk.slot in used, want_grad, chunk.n
            plan = rows.Plan(kernel, grid, fused.THREADS, shape.least_blocks)
            self._run(chunk, plan, chunk.x, self._ld, weights, biases, *target, kept, *done)
            used.add(chunk.slot)
        total = self._total("parts", used, n_parts, size)
        if what == fused.LOSS and self._kept is not self._none:
            self._kept_at = params.copy()
        gradient = np.empty((self.n_classes, self.n_features + 1))
        gradient[:, :-1] = total[: w.size].reshape(w.shape)[:, : self.n_features]
        gradient[:, -1] = total[w.size : w.size + self.n_classes]
        return float(total[-1]), self._without_intercept(gradient)

    # --- many classes: chunks of rows -----------------------------------------------------------------------

    def _moved(self, params: Float64s, v: Float64s) -> Float64s:
        point, direction = self._layout(params), self._layout(v, "direction")
        sums = self._gradients()
        for chunk in self._chunks(self._rows_at_once()):
            z, u = self._buffer("z", chunk), self._buffer("u", chunk)
            self._logits(chunk, point, z, offset=True)
            self._logits(chunk, direction, u, offset=False)
            self._curve(curvature.MOVED, chunk, z, u, self._ones, 0, 0)
            sums.add(chunk, u)
        return self._without_intercept(sums.total())

    def _weighted_gram(self, params: Float64s | None, what: int, k: int, other: int) -> Float64s:
        point, sums = None if params is None else self._layout(params), _Sums(self, self.n_features, self.n_features, 1)
        for chunk in self._chunks(self._rows_at_once()):
            weight = self._of(5, chunk)
            if point is not None:
                z, weight = self._buffer("z", chunk), self._reserve(("w", chunk.slot), chunk.n, np.float64)
                self._logits(chunk, point, z, offset=True)
                self._curve(what, chunk, z, self._none, weight, k, other)
            sums.add(chunk, chunk.x, weight=weight)
        matrix = sums.total()
        upper = np.triu(matrix)  # both halves are made; one decides, so that the matrix is symmetric
        matrix = upper + np.triu(upper, 1).T
        if not self.fit_intercept:
            matrix[-1], matrix[:, -1] = 0, 0
        return matrix

    def _rows_at_once(self) -> int:
        most = self.n_samples if self._resident else self._rows_sent
        rows_of_chunk: int = max(1, min(most, LOGITS_BYTES // (self.n_classes * self.dtype.itemsize)))
        return rows_of_chunk

    def _workspace(self) -> int:
        """Bytes for what is neither X nor the target, at most about."""
        matrix = 8 * max(self.n_classes, self.n_features + 1) * (self.n_features + 1)
        sums = 2 * (matrix + 8 * products.BLOCKS * products.SIDE**2)  # of two streams
        logits = min(LOGITS_BYTES, self.n_samples * self.n_classes * self.dtype.itemsize)
        most: int = 4 * logits + sums + (2 * matrix if self._blas[0] else 0)
        if self._shape is not None:
            n_parts = fused.blocks_for(self._shape, self.n_samples) * self._shape.groups
            most += 16 * n_parts * self._shape.size(self.dtype)
        return most

    def _layout(self, params: Float64s, name: str = "point") -> tuple[Any, Any]:
        """W (n_classes, n_features) and b on the device."""
        flat = np.concatenate([params[:, :-1].reshape(-1), params[:, -1] * self.fit_intercept]).astype(self.dtype)
        there = self._reserve(name, flat.size, self.dtype)
        self._device.put(flat, there, self._streams[0])
        self._device.wait(self._streams[0])
        n = self.n_classes * self.n_features
        return there[:n], there[n:]

    def _logits(self, chunk: Chunk, point: tuple[Any, Any], z: Any, *, offset: bool) -> None:
        grid = products.tiles(chunk.n) * products.tiles(self.n_classes)
        added = self._of(6, chunk, self.n_classes) if offset else self._none
        blas = self._blas[chunk.slot]
        if blas is not None:  # columns of BLAS are our rows: Z^T = W X^T
            n, n_features, n_classes = chunk.n, self.n_features, self.n_classes
            self._elementwise(products.biases, chunk, z.size, point[1], added, z, n, n_classes)
            sizes = n_classes, n, n_features
            blas.add_product(True, False, *sizes, point[0], n_features, chunk.x, self._ld, z, n_classes, onto=True)
            return
        sizes = chunk.n, self.n_features, self.n_classes
        plan = rows.Plan(products.logits(self.dtype), grid, products.THREADS)
        self._run(chunk, plan, chunk.x, self._ld, point[0], self.n_features, point[1], added, z, *sizes)

    def _curve(self, what: int, chunk: Chunk, z: Any, u: Any, w: Any, k: int, other: int) -> None:
        plan = rows.Plan(curvature.curvature(what, self.dtype), rows.blocks_for(chunk.n, rows.WARP), rows.THREADS)
        self._run(chunk, plan, z, self._of(5, chunk), u, w, k, other, chunk.n, self.n_classes)

    def _gradients(self) -> _Sums | _BlasSums:
        """Of d, sums of (d, 1) with (x, 1)."""
        if self._blas[0] is not None:
            return _BlasSums(self)
        return _Sums(self, self.n_classes, self.n_features)

    # --- memory of the device ---------------------------------------------------------------------------------

    def _run(self, chunk: Chunk, plan: rows.Plan, *arguments: Any) -> None:
        self._device.launch(plan, arguments, self._streams[chunk.slot])

    def _elementwise(self, kernel: Any, chunk: Chunk, size: int, *arguments: Any) -> None:
        """A kernel with a thread for each of `size` numbers."""
        self._run(chunk, rows.Plan(kernel, -(-size // products.THREADS), products.THREADS), *arguments)

    def _buffer(self, name: str, chunk: Chunk) -> Any:
        n = chunk.n * self.n_classes
        return self._reserve((name, chunk.slot), n, self.dtype)

    def _reserve(self, name: Any, n: int, dtype: Any) -> Any:
        """An array of n elements, whose memory is used again when it is asked for by the same name."""
        held = self._buffers.get(name)
        if held is None or held.size < n:
            self._buffers.pop(name, None)
            held = self._buffers[name] = self._device.empty(n, dtype)
        return held[:n]

    def _total(self, name: str, used: set[int], n_parts: int, size: int) -> Float64s:
        """The parts of the sums of both streams, added in order."""
        out = self._reserve("total", size, np.float64)
        for stream in self._streams:
            self._device.wait(stream)
        grid = -(-size // fused.THREADS)
        for slot in sorted(used):
            parts = self._buffers[name, slot][: n_parts * size]
            arguments = parts, out, size, n_parts, slot > 0
            self._device.launch(rows.Plan(fused.sum_parts, grid, fused.THREADS), arguments, self._streams[0])
        total: Float64s = self._device.get(out, self._streams[0])
        return total

    def _without_intercept(self, gradient: Float64s) -> Float64s:
        if not self.fit_intercept:
            gradient[:, -1] = 0
        return gradient


class _Sums:
    """Sums over all rows of a product of a, with 1 behind if `ones`, and (x, 1), by `products.weighted_sums`.

    Of x the first `n_b` features take part.
    """

    def __init__(self, backend: CudaBackend, n_a: int, n_b: int, ones: int = 0) -> None:
        self._backend, self._n_a, self._n_b, self._ones, self._used = backend, n_a, n_b, ones, set[int]()
        self._shape = n_a + ones, n_b + 1
        self._n_parts = products.parts_for(backend._rows_at_once(), *self._shape, SUMS_BYTES)

    def add(self, chunk: Chunk, a: Any, *, squared: bool = False, weight: Any = None) -> None:
        """Those of a chunk; with the squares of x if `squared`."""
        backend, (high, wide) = self._backend, self._shape
        parts = backend._reserve(("sums", chunk.slot), self._n_parts * high * wide, np.float64)
        grid = self._n_parts * products.tiles(high) * products.tiles(wide)
        left = a, backend._ld if self._ones else self._n_a, self._n_a
        right = chunk.x, backend._ld, self._n_b
        weight = backend._ones if weight is None else weight
        rest = weight, self._ones, 1, squared, parts, self._n_parts, chunk.slot in self._used, chunk.n
        plan = rows.Plan(products.weighted_sums(backend.dtype), grid, products.THREADS)
        backend._run(chunk, plan, *left, *right, *rest)
        self._used.add(chunk.slot)

    def total(self) -> Float64s:
        """The matrix."""
        high, wide = self._shape
        total = self._backend._total("sums", self._used, self._n_parts, high * wide)
        return total.reshape(high, wide)


class _BlasSums:
    """Sums over all rows of a product of d with (x, 1), by cuBLAS; those with 1 by `products.weighted_sums`."""

    def __init__(self, backend: CudaBackend) -> None:
        self._backend, self._used = backend, set[int]()
        self._intercepts = _Sums(backend, backend.n_classes, 0)

    def add(self, chunk: Chunk, d: Any) -> None:
        """Those of a chunk."""
        backend = self._backend
        n_features, n_classes, ld = backend.n_features, backend.n_classes, backend._ld
        size = n_classes * n_features
        sums = backend._reserve(("products", chunk.slot), size, np.float64)
        wide = backend.dtype == np.float64
        step = chunk.n if wide else products.BLAS_ROWS
        into = sums if wide else backend._reserve(("narrow", chunk.slot), size, np.float32)
        blas = backend._blas[chunk.slot]
        assert blas is not None
        for begin in range(0, chunk.n, step):  # columns of BLAS are our rows: S^T = X^T D
            n, used = min(step, chunk.n - begin), chunk.slot in self._used
            x, part = chunk.x[begin * ld : (begin + n) * ld], d[begin * n_classes : (begin + n) * n_classes]
            sizes, onto = (n_features, n_classes, n), wide and used
            blas.add_product(False, True, *sizes, x, ld, part, n_classes, into, n_features, onto=onto)
            if not wide:
                backend._elementwise(products.widened, chunk, size, into, sums, size, used)
            self._used.add(chunk.slot)
        self._intercepts.add(chunk, d)

    def total(self) -> Float64s:
        """The matrix."""
        backend = self._backend
        size = backend.n_classes * backend.n_features
        weights = backend._total("products", self._used, 1, size).reshape(backend.n_classes, backend.n_features)
        return np.hstack([weights, self._intercepts.total()])


class ShardedBackend:
    """Rows over several GPUs: each has some, and their sums are added in the order of the devices."""

    def __init__(self, shards: list[CudaBackend], host: Callable[[], DenseBackend]) -> None:
        self._shards, self._host = shards, host
        first = shards[0]
        self.n_features, self.n_classes = first.n_features, first.n_classes
        self.n_samples = sum(shard.n_samples for shard in shards)
        self.weight_sum = first.weight_sum  # a part of a target keeps the total of all

    def _all(self, call: Callable[[CudaBackend], Any]) -> list[Any]:
        """What each shard answers, all at once."""
        found: list[Any] = [None] * len(self._shards)

        def ask(i: int) -> None:
            try:
                found[i] = call(self._shards[i])
            except BaseException as error:
                found[i] = error

        threads = [threading.Thread(target=ask, args=(i,)) for i in range(len(self._shards))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for answer in found:
            if isinstance(answer, BaseException):
                raise answer
        return found

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        return float(sum(self._all(lambda shard: shard.loss(params))))

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient."""
        found = self._all(lambda shard: shard.loss_and_grad(params))
        return float(sum(loss for loss, _ in found)), _added([gradient for _, gradient in found])

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss, times v."""
        return _added(self._all(lambda shard: shard.hess_vec(params, v)))

    def gram(self, params: Float64s | None = None) -> Float64s:
        """The Gram matrix of (X, 1), weighted."""
        return _added(self._all(lambda shard: shard.gram(params)))

    def class_grams(self, params: Float64s) -> Float64s:
        """The diagonal blocks of the Hessian."""
        return _added(self._all(lambda shard: shard.class_grams(params)))

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss."""
        return _added(self._all(lambda shard: shard.hessian(params)))

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian."""
        return _added(self._all(lambda shard: shard.curvatures(params)))

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels and margins of some rows, by the CPU."""
        return self._host().margins(params, part)

    def descend(self, *arguments: Any) -> Float64s:
        """Refused, as by one GPU."""
        return self._shards[0].descend(*arguments)

    def with_features(self, features: NDArray[np.int64]) -> DenseBackend:
        """The same sums over only these features, by the CPU."""
        return self._host().with_features(features)


def on_devices(
    devices: list[Device],
    X: Any,
    target: WeightedTargets,
    *,
    offset: NDArray[Any],
    fit_intercept: bool,
    memory: int | None,
    progress: Progress | None,
) -> CudaBackend | ShardedBackend:
    """The rows on one GPU, or about as many on each of several."""
    if len(devices) == 1:
        given = {} if isinstance(X, np.ndarray) else {"aligned": address_of(X) % BYTES == 0}
        options = {"fit_intercept": fit_intercept, "memory": memory, "progress": progress, **given}
        return CudaBackend(devices[0], X, target, offset=offset, **options)
    if not isinstance(X, np.ndarray):
        raise InputValueError("X is on one GPU, but device names several; name that one.")
    bounds = [X.shape[0] * i // len(devices) for i in range(len(devices) + 1)]
    parts = [slice(*pair) for pair in pairwise(bounds) if pair[0] < pair[1]]
    shards = []
    for device, part in zip(devices, parts, strict=False):  # more GPUs than rows: some are idle
        cut, beside = part_of(target, part), offset[part] if offset.size else offset
        begun = None if progress is None else partial(_counted, progress, part.start, X.shape[0])
        options = {"fit_intercept": fit_intercept, "memory": memory, "progress": begun}
        shards.append(CudaBackend(device, X[part], cut, offset=beside, **options))
    on_host = partial(DenseBackend, X, target, offset=offset, fit_intercept=fit_intercept, n_threads=None)
    return ShardedBackend(shards, cache(on_host))


def _counted(progress: Progress, before: int, of_all: int, done: int, _: int) -> None:
    progress(before + done, of_all)


def _added(matrices: list[Float64s]) -> Float64s:
    total = matrices[0].copy()
    for matrix in matrices[1:]:
        total += matrix
    return total
