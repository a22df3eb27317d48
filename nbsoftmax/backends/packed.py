"""Rows of a small problem, copied once in the layout of the kernel that makes a whole Newton step.

With few parameters and samples, the time of a fit is that of the calls of Python and NumPy. Here an iteration of
Newton's method is one call, `newton_step`. All other sums are those of another backend.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import accumulate
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.base import Backend
from nbsoftmax.backends.sharpness import inverse_of, reduced_from_proba, sharpness
from nbsoftmax.cached import cached_property
from nbsoftmax.kernels import newton
from nbsoftmax.kernels.kinds import PROBA
from nbsoftmax.kernels.newton import FEATURES, MOVED, NUMBERS, OUTCOME, SAMPLES, SHORTER, TRIAL
from nbsoftmax.kernels.row_tiles import aligned
from nbsoftmax.kernels.runtime.threads import EXP_WORK, THREAD_WORK, launch_tasks
from nbsoftmax.validation import Float64s, Floats, WeightedTargets

# The most multiply-adds of a step, and of its elimination, which one thread does. In the general way, a fit makes about
# PASSES passes over the data in place of a step, each with the calls of Python and NumPy of WORK_OF_CALL.
MOST_WORK, MOST_ELIMINATION, PASSES, WORK_OF_CALL = 17_000_000, 2**22, 4, 3_000_000
# Numbers of X in a block, for a second-level cache, and its fewest and most samples: six features of them fit in a
# first-level cache. The most tasks, and the most numbers of their sums.
BLOCK_SIZE, LEAST_WIDTH, MOST_WIDTH = 2**15, 128, 608
MOST_TASKS, MOST_SUMS = 16, 2**20


class NewtonStep(NamedTuple):
    """A point, and the Newton step that has led there from the last point."""

    params: Float64s
    value: float
    grad: Float64s
    grad_norm: float  # Euclidean
    bound: float  # sum_j ||grad_j||^2 / (2 l2_j) over the features; inf if one of them is not penalised
    direction: Float64s
    decrement: float  # grad . H^-1 grad / 2 at the last point
    outcome: float  # one of `kernels.newton`; unless it is MOVED, the point is not the next one


class _Phases(NamedTuple):
    """The tasks of a call of the kernel, as `runtime.phases` takes them, and its multiply-adds."""

    edges: NDArray[np.int64]
    todo: NDArray[np.int64]
    work: int

    @classmethod
    def of(cls, *tasks: int, work: int) -> _Phases:
        edges = np.array([0, *accumulate(tasks)], np.int64)
        return cls(edges, np.array([0, edges[-1], 0], np.int64), work)


class PackedRows:
    """Rows of a small problem, in float64, whose samples are next to each other in memory.

    Parameters
    ----------
    X : ndarray (n_samples, n_features), float32 or float64
    target : WeightedTargets
    fit_intercept : bool
    n_threads : int or None
    general : callable
        Makes the backend for all sums except `loss`, `loss_and_grad` and `newton_step`, at the first use of one.
    """

    def __init__(
        self,
        X: Floats,
        target: WeightedTargets,
        *,
        fit_intercept: bool,
        n_threads: int | None,
        general: Callable[[], Backend],
    ) -> None:
        self.n_samples, self.n_features = m, n = X.shape
        self.n_classes, self.weight_sum = k, _ = target.gain.size, target.total
        self._make_general, self._n_threads = general, n_threads
        work = work_of_step(m, n, k)
        most_tasks = MOST_TASKS if work > THREAD_WORK else 1
        padded, width = -(-(n + 1) // FEATURES) * FEATURES, _width(m, n, most_tasks)
        n_blocks = max(1, -(-m // width))
        sums = -(-max(1 + (k + 1) * padded, k * (k - 1) // 2 * padded**2) // 8) * 8
        n_tasks = max(1, min(n_blocks, most_tasks, MOST_SUMS // sums))
        sizes = n_blocks * padded * width, n_blocks * k * width, n_blocks * k * width, n_tasks * sums
        x, targets, proba, partial = _aligned(*sizes)
        self._x = x.reshape(n_blocks, padded, width)
        _write_rows(X, self._x)
        if fit_intercept:
            self._x[:, n] = 1.0
            self._x[-1, n, m - (n_blocks - 1) * width :] = 0.0
        self._targets = targets.reshape(n_blocks, k, width)
        _write_rows(_weighted(target, m), self._targets)
        self._proba = proba.reshape(n_blocks, k, width)  # at the point of the last call, `_last`
        self._last, self._last_params = np.empty(0), np.empty(0)
        self._size = k * (n + 1)
        self._no_penalty = np.zeros(n + 1)
        self._partial = partial.reshape(n_tasks, sums)
        self._one_task = n_tasks == 1
        self._step = _Phases.of(n_tasks, 1, n_tasks, 1, work=work)
        self._evaluation = _Phases.of(0, 0, n_tasks, 1, work=_work_of_pass(m, n, k))

    def newton_step(self, params: Float64s, l2s: Float64s, *, step: bool = True) -> NewtonStep:
        """A Newton step from `params` for the mean loss plus the penalty sum_j l2_j / 2 ||W_:j||^2.

        `l2s` has a last entry for the intercept. Without `step`, only evaluate at `params`. The arrays of a point must
        not be changed afterwards: a step from there does not evaluate it again.
        """
        point, size = self._last, self._size
        if params is not self._last_params:
            point = np.empty(NUMBERS + 3 * size)
            point[OUTCOME], point[NUMBERS : NUMBERS + size] = MOVED, params.reshape(-1)
            self._call(self._evaluation, l2s, False, point, point)
            self._last, self._last_params = point, params
        if step:
            out = point.copy()
            self._call(self._step, l2s, True, point, out)
            while out[OUTCOME] == SHORTER:
                self._call(self._evaluation, l2s, True, point, out)
            point = out
        arrays = point[NUMBERS:].reshape(3, self.n_classes, -1)
        if step:
            self._last, self._last_params = point, arrays[0]
        value, norm, bound, decrement, outcome = point[:TRIAL].tolist()
        return NewtonStep(self._last_params, value, arrays[1], norm, bound, arrays[2], decrement, outcome)

    def _call(self, phases: _Phases, l2s: Float64s, is_trial: bool, point: Float64s, out: Float64s) -> None:
        """Call the kernel with `point` and `out`."""
        edges, todo, work = phases
        self._last_params = self._no_penalty  # those of no point, until the call has ended
        todo[0] = todo[2] = 0
        rows = self.n_samples, self._x, self._targets, l2s, self.weight_sum, self._proba, self._partial
        if self._one_task:  # a launch takes 2 microseconds, a third of a small step
            newton.newton_step(todo, edges, *rows, is_trial, point, out)
        else:
            launch_tasks(newton.newton_step, todo, work, self._n_threads, edges, *rows, is_trial, point, out)

    def sharpness(self, params: Float64s, l2s: Float64s) -> float:
        """The number q of `sharpness.sharpness` at `params`; inf if the Hessian is singular in float64."""
        self.newton_step(params, l2s, step=False)
        x, targets, proba = (_in_rows(blocks, self.n_samples) for blocks in (self._x, self._targets, self._proba))
        x, h = x[: self.n_features + 1], targets.sum(axis=0)
        if not (h > 0).all():
            x, h, proba = x[:, h > 0], h[h > 0], proba[:, h > 0]
        inverse = inverse_of(reduced_from_proba(x, h / self.weight_sum, proba, l2s), np.asarray(x.any(axis=1)))
        return np.inf if inverse is None else sharpness([x.T], inverse)

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        return self.loss_and_grad(params)[0]

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1)."""
        found = self.newton_step(params, self._no_penalty, step=False)
        self._last_params = self._no_penalty  # with a penalty the point is another
        return found.value * self.weight_sum, found.grad * self.weight_sum

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        return self._general.hess_vec(params, v)

    def gram(self, params: Float64s | None = None) -> Float64s:
        """X1^T diag(h mean_k a_k (1 - a_k)) X1 at `params`, or X1^T diag(h) X1, with X1 = (X, 1): (N + 1, N + 1)."""
        return self._general.gram(params)

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, (K, N + 1)."""
        return self._general.curvatures(params)

    def class_grams(self, params: Float64s) -> Float64s:
        """The diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        return self._general.class_grams(params)

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        return self._general.hessian(params)

    @cached_property
    def _general(self) -> Backend:
        return self._make_general()


def fits(n_samples: int, n_features: int, n_classes: int) -> bool:
    """Whether a problem is so small that a Newton step of all its parameters takes little work."""
    of_rows, of_elimination = _work(n_samples, n_features, n_classes)
    general = PASSES * (WORK_OF_CALL + _work_of_pass(n_samples, n_features, n_classes))
    return of_elimination <= MOST_ELIMINATION and of_rows + of_elimination <= min(MOST_WORK, general)


def work_of_step(n_samples: int, n_features: int, n_classes: int) -> int:
    """Multiply-adds of a Newton step."""
    return sum(_work(n_samples, n_features, n_classes))


def _work(n_samples: int, n_features: int, n_classes: int) -> tuple[int, int]:
    """Multiply-adds of a Newton step: those for the samples, and what takes as long as the elimination."""
    d, order = n_features + 1, (n_classes - 1) * (n_features + 1)
    matrix = n_samples * n_classes * (n_classes - 1) // 2 * (d * (d // 2 + 3) + 8)
    return matrix + _work_of_pass(n_samples, n_features, n_classes), order**3 // 4


def _work_of_pass(n_samples: int, n_features: int, n_classes: int) -> int:
    """Multiply-adds of an evaluation."""
    return int(n_samples * n_classes * (2 * (n_features + 1) + EXP_WORK))


def _width(n_samples: int, n_features: int, most_tasks: int) -> int:
    """Number of samples of a block: an odd number of groups, so that rows are not a multiple of 4096 bytes apart."""
    width = max(LEAST_WIDTH, min(BLOCK_SIZE // (n_features + 1), MOST_WIDTH, -(-n_samples // most_tasks)))
    return int(SAMPLES * (-(-width // SAMPLES) | 1))


def _aligned(*sizes: int) -> list[Float64s]:
    """Arrays of zeros that begin with a cache line, if the sizes are whole ones: no vector is in two of them."""
    flat = aligned.py_func(sum(sizes), np.empty(0))
    flat[:] = 0.0
    return [flat[end - size : end] for size, end in zip(sizes, accumulate(sizes), strict=True)]


def _write_rows(rows: NDArray[Any], blocks: Float64s) -> None:
    """Write rows (n_samples, n) to the first n rows of the blocks."""
    n, width = rows.shape[1], blocks.shape[2]
    whole = len(rows) // width
    blocks[:whole, :n] = rows[: whole * width].reshape(whole, width, n).transpose(0, 2, 1)
    if whole < len(blocks):
        blocks[whole, :n, : len(rows) - whole * width] = rows[whole * width :].T


def _in_rows(blocks: Float64s, n_samples: int) -> Float64s:
    """Row j of all blocks, one after another: (n, n_samples)."""
    return blocks.transpose(1, 0, 2).reshape(blocks.shape[1], -1)[:, :n_samples]


def _weighted(target: WeightedTargets, n_samples: int) -> Float64s:
    """t_ik = s_i (gain_k q_ik + floor_k), (n_samples, K)."""
    gain = target.gain.astype(np.float64)
    if target.kind == PROBA:
        out: Float64s = target.proba * gain
    else:
        out = np.zeros((n_samples, gain.size))
        out[np.arange(n_samples), target.labels] = gain[target.labels]
    if target.floor.any():
        out += target.floor.astype(np.float64)
    if target.weight.size:
        out *= target.weight[:, None]
    return out
