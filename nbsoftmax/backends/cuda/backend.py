"""Dense rows on one GPU, summed by `nbsoftmax.kernels.cuda`; sent to it in parts at each evaluation if they do not fit.

For few classes one kernel reads X once (`fused`); for many, chunks of rows go through several kernels (`tiled`).
Parameters are sent to the device and sums come back. The order of float64 sums depends on the shape and on the memory
to use, and on nothing else.
"""

from __future__ import annotations

import atexit
import sys
import weakref
from contextlib import suppress
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.cuda.blas import Blas
from nbsoftmax.backends.cuda.device import Device
from nbsoftmax.backends.cuda.fused import Fused
from nbsoftmax.backends.cuda.rows import DeviceRows, Progress
from nbsoftmax.backends.cuda.tiled import Tiled
from nbsoftmax.backends.cuda.workspace import Workspace
from nbsoftmax.backends.dense import DenseBackend, hessian_of_pairs
from nbsoftmax.backends.moments import Moments
from nbsoftmax.kernels.cuda import curvature, fused
from nbsoftmax.validation import Float64s, WeightedTargets

SHARE = 0.8  # of a device's free memory that is used by default
_alive: weakref.WeakSet[CudaBackend] = weakref.WeakSet()

weakref.finalize(_alive, int)  # created first, so that at exit Python runs the finalizers of arrays after `_end_all`


@atexit.register
def _end_all() -> None:
    """Free the memory of backends that live until the end, while a GPU can still be made current."""
    for backend in list(_alive):
        with suppress(Exception):
            backend._end()


class Strategy(Protocol):
    """How loss, gradient and Hessian-vector products are made."""

    def workspace(self) -> int:
        """Bytes for what is neither X nor the target, at most about."""
        ...

    def evaluate(self, params: Float64s, *, want_grad: bool) -> tuple[float, Float64s]:
        """The loss, and if `want_grad` its gradient."""
        ...

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        ...


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
    n_threads : int or None
        Of the sums that the CPU computes.
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
        n_threads: int | None = None,
        progress: Progress | None = None,
        aligned: bool = True,
    ) -> None:
        self.n_samples, self.n_features = X.shape
        self.n_classes, self.weight_sum = target.gain.size, target.total
        self._fit_intercept, self._target, self._offset = fit_intercept, target, offset
        self._host: DenseBackend | None = None
        self._n_threads = n_threads
        self._work = work = Workspace(device, X.dtype)
        self._rows = rows = DeviceRows(work, X, self.n_classes, aligned=aligned)
        shape = fused.shape_for(work.dtype, self.n_features, self.n_classes) if rows.wide else None
        with work.turn():
            budget = int(SHARE * device.free_memory()) if memory is None else memory
            blas = [device.blas(stream) for stream in work.streams] if shape is None else []
            multiply: list[Blas] = [one for one in blas if one is not None]
            self._tiled = Tiled(rows, fit_intercept=fit_intercept, blas=multiply if len(multiply) == 2 else ())
            self._strategy: Strategy = self._tiled
            work.hold_placeholders()
            rows.put_target(target, offset)
            if shape is None:
                left = rows.place(budget - self._tiled.workspace() - work.bytes_held())
            else:
                self._strategy = few = Fused(rows, shape, fit_intercept=fit_intercept, tiled=self._tiled)
                left = rows.place(budget - few.workspace() - work.bytes_held())
                few.keep_proba(left)
            rows.load(progress)
            work.complete = True
        _alive.add(self)

    def __del__(self) -> None:
        """Free everything: memory that is freed while the GPU is not current is lost."""
        if not sys.is_finalizing():
            with suppress(Exception):
                self._end()

    def _end(self) -> None:
        device = self._work.device
        with device.here():
            self.__dict__.clear()
            device.release()

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        with self._work.turn():
            return self._strategy.evaluate(params, want_grad=False)[0]

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1), in one pass over the rows."""
        with self._work.turn():
            return self._strategy.evaluate(params, want_grad=True)

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        with self._work.turn():
            return self._strategy.hess_vec(params, v)

    def gram(self, params: Float64s | None = None) -> Float64s:
        """X1^T diag(h mean_k a_k (1 - a_k)) X1 at `params`, or X1^T diag(h) X1, with X1 = (X, 1): (N + 1, N + 1)."""
        with self._work.turn():
            return self._tiled.gram(params, curvature.MEAN)

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, sum_i h_i a_ik (1 - a_ik) (x_i, 1)^2, (K, N + 1)."""
        with self._work.turn():
            return self._tiled.curvatures(params)

    def class_grams(self, params: Float64s) -> Float64s:
        """X1^T diag(h a_k (1 - a_k)) X1 for each class k: the diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        with self._work.turn():
            return np.stack([self._tiled.gram(params, curvature.PAIR, k, k) for k in range(self.n_classes)])

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        with self._work.turn():
            pairs = zip(*np.triu_indices(self.n_classes, 1), strict=True)
            blocks = [self._tiled.gram(params, curvature.PAIR, int(k), int(other)) for k, other in pairs]
        return hessian_of_pairs(np.stack(blocks), self.n_classes)

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,) and margins z_y - z_k (n, K) of those samples in `part` whose weight is positive, by the CPU."""
        return self._on_host().margins(params, part)

    def margin_counts(self, params: Float64s, step: Float64s) -> NDArray[np.int64]:
        """Numbers of samples whose margins a step changes, as `separation.counts_of` says, by the CPU."""
        return self._on_host().margin_counts(params, step)

    def feature_moments(self, centre: Float64s) -> Moments:
        """As `moments.moments`, by the CPU."""
        return self._on_host().feature_moments(centre)

    def with_features(self, features: NDArray[np.int64]) -> DenseBackend:
        """The same sums over these features only, few as a rule, by the CPU and in float64."""
        return self._on_host().with_features(features)

    def _on_host(self) -> DenseBackend:
        """The same rows on the CPU, made when they are first asked for."""
        with self._work.turn():
            if self._host is None:
                self._host = DenseBackend(
                    self._rows.on_host(),
                    self._target,
                    offset=self._offset,
                    fit_intercept=self._fit_intercept,
                    n_threads=self._n_threads,
                )
            return self._host
