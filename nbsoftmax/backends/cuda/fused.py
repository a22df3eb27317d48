"""Few classes on a GPU: one kernel reads X once, and makes logits, losses and gradient in registers.

The probabilities at the last parameters stay on the device where they fit, so that a Hessian-vector product reads X
once as well.
"""

from __future__ import annotations

from functools import partial
from math import isqrt

import numpy as np

from nbsoftmax.backends.cuda.rows import DeviceRows
from nbsoftmax.backends.cuda.tiled import Tiled
from nbsoftmax.kernels.cuda import fused, rows
from nbsoftmax.validation import Float64s


class Fused:
    """Loss, gradient and Hessian-vector products, for shapes that registers hold.

    Parameters
    ----------
    rows : DeviceRows
    shape : Shape
        What `kernels.cuda.fused.shape_for` gives.
    fit_intercept : bool
    tiled : Tiled
        Makes Hessian-vector products where the probabilities do not fit.
    """

    def __init__(self, rows: DeviceRows, shape: fused.Shape, *, fit_intercept: bool, tiled: Tiled) -> None:
        self._rows, self._work, self._shape, self._tiled = rows, rows.work, shape, tiled
        self._fit_intercept = fit_intercept
        self._keeps = False
        self._kept_at: Float64s | None = None

    def workspace(self) -> int:
        """Bytes for what is neither X nor the target, at most about."""
        n_parts = fused.blocks_for(self._shape, self._rows.n_samples) * self._shape.groups
        of_each = 2 * n_parts + isqrt(n_parts) + 1  # of two streams, of ranges of parts, of all
        most: int = self._tiled.workspace() + 8 * of_each * self._shape.size(self._work.dtype)
        return most

    def keep_proba(self, left: int) -> None:
        """Keep probabilities from now on if `left` bytes hold them."""
        n = self._rows.n_samples * self._rows.n_classes
        self._keeps = n * self._work.dtype.itemsize <= left
        held = self._work.held
        held["kept"] = self._work.device.empty(n, self._work.dtype) if self._keeps else held["none"]

    def evaluate(self, params: Float64s, *, want_grad: bool) -> tuple[float, Float64s]:
        """The loss, and if `want_grad` its gradient."""
        self._kept_at = None  # until all of them are those of these parameters
        answer = self._run(fused.LOSS, params, want_grad=want_grad)
        if self._keeps:
            self._kept_at = params.copy()
        return answer

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        if not self._keeps:
            return self._tiled.hess_vec(params, v)
        if self._kept_at is None or not np.array_equal(self._kept_at, params):
            self.evaluate(params, want_grad=False)
        return self._run(fused.PRODUCT, v, want_grad=True)[1]

    def _run(self, what: int, params: Float64s, *, want_grad: bool) -> tuple[float, Float64s]:
        """(loss, gradient) at params, or (-, the product with them)."""
        work, n_classes, n_features = self._work, self._rows.n_classes, self._rows.n_features
        size, reach = self._shape.size(work.dtype), self._shape.reach(work.dtype)
        self._fill(what, params)
        begin = partial(self._begin, what, want_grad=want_grad)
        work.finish(begin, key=(what, want_grad), fixed=self._rows.resident)
        total = work.brought("parts", size)
        gradient = np.empty((n_classes, n_features + 1))
        weights = n_classes * reach
        gradient[:, :-1] = total[:weights].reshape(n_classes, reach)[:, :n_features]
        gradient[:, -1] = total[weights : weights + n_classes] if self._fit_intercept else 0.0
        return float(total[-1]), gradient

    def _begin(self, what: int, *, want_grad: bool) -> None:
        """Begin the work of `_run` on the device."""
        work, shape, n_classes, used = self._work, self._shape, self._rows.n_classes, set[int]()
        size, weights = shape.size(work.dtype), n_classes * shape.reach(work.dtype)
        point = work.send(("weights", what), weights + n_classes)
        kernel = fused.fused(what, work.dtype, shape)
        grid = fused.blocks_for(shape, self._rows.n_samples if self._rows.resident else self._rows.rows_sent)
        n_parts = grid * shape.groups
        plan = rows.Plan(kernel, grid, fused.THREADS, shape.least_blocks)
        for chunk in self._rows.chunks(self._rows.n_samples):
            parts = work.reserve(("parts", chunk.slot), n_parts * size, np.float64)
            weight = self._rows.of("curvature" if what == fused.PRODUCT else "weight", chunk)
            kept, offset = (self._rows.of(name, chunk, n_classes) for name in ("kept", "offset"))
            target = offset, *self._rows.target_of(chunk), weight, self._rows.kind
            done = parts, chunk.slot in used, want_grad, chunk.n
            work.run(chunk, plan, chunk.x, self._rows.ld, point[:weights], point[weights:], *target, kept, *done)
            used.add(chunk.slot)
        work.bring_total("parts", used, n_parts, size)

    def _fill(self, what: int, params: Float64s) -> None:
        """Prepare W, padded to what the threads of a row reach, and b for the device."""
        reach, n_classes = self._shape.reach(self._work.dtype), self._rows.n_classes
        weights = n_classes * reach
        staged = self._work.staged(("weights", what), weights + n_classes, self._work.dtype)
        staged[:] = 0
        staged[:weights].reshape(n_classes, reach)[:, : self._rows.n_features] = params[:, :-1]
        if self._fit_intercept:
            staged[weights:] = params[:, -1]
