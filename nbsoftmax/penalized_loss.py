"""What solvers minimise: the sums of a backend, divided by the weights, plus a penalty."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends import base
from nbsoftmax.backends.base import Backend, SampleOrder, SparseRows
from nbsoftmax.backends.cuda.device import devices
from nbsoftmax.backends.moments import mean_and_variance
from nbsoftmax.backends.packed import NewtonStep, PackedRows, fits
from nbsoftmax.backends.row_blocks import blocks
from nbsoftmax.backends.sharpness import inverse_of, reduced, sharpness
from nbsoftmax.cached import cached_property
from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.kernels.sgd import Rule, State
from nbsoftmax.penalties import AnyPenalty, Ridge, curvature_of_columns
from nbsoftmax.problem import AnyProblem, Problem, device_for
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Float64s

# The most parameters of a Hessian that is inverted for a bound at the end of a fit: it takes about as long as so many
# eighths of an evaluation.
MOST_CONCORDANT = 64


@dataclass(frozen=True)
class ObjectiveOptions:
    """Validated options of an objective, as those of `Objective`."""

    penalty: AnyPenalty = field(default_factory=lambda: Ridge(0.0))
    fit_intercept: bool = True
    n_threads: int | None = None
    device: str = "cpu"
    device_memory: int | None = None


class PenalizedLoss:
    """J, as `Objective` defines it, of a validated problem: what solvers minimise. It validates nothing.

    Parameters
    ----------
    problem : Problem or ProblemInParts
    options : ObjectiveOptions
    progress : callable, optional
        As for `Objective`.

    Attributes
    ----------
    n_samples, n_features, n_classes : int
    shape : tuple
        Of `params`: (n_classes, n_features + 1), the intercept in the last column.
    weight_sum : float
        S.
    separable_below : float
        If J is below this, the classes are separated without error, and no minimum exists: it would be 0 at infinity.
        0 if J cannot show that: with a penalty, an offset, label smoothing or probabilities as targets, and where one
        class suits all samples.
    no_errors_below : float
        If J is below this, the most probable class of each sample is its own; 0 with label smoothing or probabilities.
    can_separate : bool
        Whether the loss alone has no minimum for separable classes: not with label smoothing or probabilities.
        (Of partial labels only `separable_below` can tell.)
    convex : bool
        Not for partial labels. Then `hvp` and all other parts of the Hessian are those of an upper bound, with the
        covariance of the probabilities, without that of the probabilities of the possible classes.
    class_mass : ndarray (n_classes,)
        The share of each class in the weights of all targets: sum_i t_ik / S.
    """

    def __init__(
        self, problem: AnyProblem, options: ObjectiveOptions, *, progress: Callable[[int, int], None] | None = None
    ) -> None:
        self.penalty = options.penalty
        self.penalty.check_shape(problem.n_classes, problem.n_features)
        self.fit_intercept, self.n_threads = options.fit_intercept, options.n_threads
        self._problem, self._options = problem, options
        self._packed: tuple[PackedRows, Float64s] | None = None  # rows, and the ridge penalty of each column of params
        self.n_samples, self.n_features, self.n_classes = problem.n_samples, problem.n_features, problem.n_classes
        self.dtype = problem.dtype
        self.shape = (self.n_classes, self.n_features + 1)
        self.weight_sum, self.class_mass = problem.weight_sum, problem.class_mass()
        several = np.count_nonzero(self.class_mass) > 1  # one class is not separable from classes without samples
        below = problem.separable_below() if several else 0.0
        self.convex = not (isinstance(problem, Problem) and problem.has_partial_labels)
        self.no_errors_below = below
        self.separable_below = below if self.penalty.is_conic and not problem.has_offset else 0.0
        self.can_separate = below > 0 and self.convex
        # "auto" takes the CPU for what only the CPU supports.
        device = "cpu" if options.device == "auto" and not self.convex else options.device
        if isinstance(problem, Problem) and (gpus := devices(device_for(problem.X, device))):
            from nbsoftmax.backends.cuda.shards import on_devices

            if not self.convex:
                raise InputValueError(
                    f"y holds partial labels, and device is {options.device!r}; only the CPU supports them.",
                    parameter="device",
                )
            self.backend = on_devices(
                gpus,
                problem.X,
                problem.target,
                offset=problem.offset,
                fit_intercept=self.fit_intercept,
                memory=options.device_memory,
                n_threads=options.n_threads,
                progress=progress,
            )
            if problem.on_device and not self._finite():
                raise InputValueError("X contains NaN or inf; remove or impute such values first.")

    @cached_property
    def backend(self) -> Backend:
        """The sums over rows, unpenalised. On a CPU it is made at its first use: small fits do not need it."""
        return self._problem.backend(fit_intercept=self.fit_intercept, n_threads=self._options.n_threads)

    @cached_property
    def sparse_rows(self) -> SparseRows | None:
        """The backend if X is sparse, for what only sparse rows have. Its sums are not divided by anything."""
        return self.backend if isinstance(self.backend, SparseRows) else None

    def _finite(self) -> bool:
        """Whether X is finite, judged by its sums; the gradient includes samples of weight 0."""
        loss, gradient = self.backend.loss_and_grad(np.zeros(self.shape))
        return bool(np.isfinite(loss) and np.isfinite(gradient).all())

    def check_start(self, start: Float64s) -> None:
        """Raise an InputValueError if no solver can start there; this objective is finite everywhere."""

    def value(self, params: Float64s) -> float:
        """J at `params`, float64 (n_classes, n_features + 1)."""
        if self._packed is not None:
            return self.value_and_grad(params)[0]
        return self.backend.loss(params) / self.backend.weight_sum + self.penalty.value(params[:, :-1])

    def value_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """J and its gradient, float64 of the shape of `params`, in one pass over X."""
        if self._packed is not None:  # the same bits as those of a step that ends there
            found = self.newton_step(params, step=False)
            return found.value, found.grad
        loss, grad = self.backend.loss_and_grad(params)
        grad = self._mean(grad)
        self.penalty.add_gradient(params[:, :-1], grad[:, :-1])
        return loss / self.backend.weight_sum + self.penalty.value(params[:, :-1]), grad

    def value_and_subgrad(self, params: Float64s) -> tuple[float, Float64s]:
        """J and its subgradient of least norm, which is 0 at the minimum alone; without l1 it is the gradient."""
        value, grad = self.smooth_part().value_and_grad(params)
        grad[:, :-1] = self.penalty.least_subgradient(params[:, :-1], grad[:, :-1])
        return value + self.penalty.nonsmooth_value(params[:, :-1]), grad

    def smooth_part(self, features: NDArray[np.int64] | None = None) -> Self:
        """J with only the smooth part of its penalty: without the l1 term, for example.

        Over all features, or only over these, which are copied as float64.
        """
        part = copy.copy(self)
        part._packed, part.penalty, part.backend = None, self.penalty.smooth_part(), self.backend
        if features is not None:
            if not isinstance(self.backend, base.SelectsFeatures):
                raise InputValueError("sums over some of the features need X in memory.")
            part.penalty = part.penalty.restricted(features)
            part.backend = self.backend.with_features(features)
            part.sparse_rows = part.backend if isinstance(part.backend, SparseRows) else None
            n, part.dtype = features.size, np.dtype(np.float64)
            part.n_features, part.shape = n, (self.n_classes, n + 1)
        return part

    def in_float64(self, *, hessian: bool = False) -> Self:
        """The same J, but for float32 data its values and gradients are computed by products in float64.

        With `hessian`, the Hessian too. X is not copied: blocks of its rows are converted one after another, and an
        evaluation takes about three times as long. For float64 data, and for data on GPUs, it is this objective itself.
        """
        if self.dtype == np.float64 or not isinstance(self.backend, base.Refinable):
            return self
        refined = copy.copy(self)
        refined.backend, refined.dtype = self.backend.in_float64(hessian=hessian), np.dtype(np.float64)
        refined.sparse_rows = self.sparse_rows
        return refined

    def packed(self) -> Self | None:
        """The same J in float64, with `newton_step`; None unless the problem is small and in memory."""
        problem, on_gpu = self._problem, devices(self._options.device)
        small = fits(self.n_samples, self.n_features, self.n_classes)
        if not small or on_gpu or not (isinstance(problem, Problem) and isinstance(problem.X, np.ndarray)):
            return None
        if problem.offset.size or not self.convex:
            return None
        packed, l2s = copy.copy(self), curvature_of_columns(self.penalty, self.n_features + 1)
        options: dict[str, Any] = {"fit_intercept": self.fit_intercept, "n_threads": self.n_threads}
        rows = PackedRows(problem.X, problem.target, general=self._in_float64, **options)
        packed.backend, packed.dtype, packed._packed = rows, l2s.dtype, (rows, l2s)
        return packed

    def _in_float64(self) -> Backend:
        return self.in_float64(hessian=True).backend

    def newton_step(self, params: Float64s, *, step: bool = True) -> NewtonStep:
        """A Newton step from `params`, or only J and its gradient there; for a `packed` objective."""
        assert self._packed is not None
        rows, l2s = self._packed
        return rows.newton_step(params, l2s, step=step)

    def sharpness(self, params: Float64s) -> float:
        """The number q of `certificates.self_concordance_bound` at `params`; for a `packed` objective."""
        assert self._packed is not None
        rows, l2s = self._packed
        return rows.sharpness(params, l2s)

    def concordance(self, point: Float64s, grad: Float64s) -> tuple[float, float]:
        """The Newton decrement and q of `certificates.self_concordance_bound`, with the gradient of J at a point.

        inf unless X is in the memory of the host, the Hessian small, and J convex and smooth.
        """
        problem, on_gpu = self._problem, devices(self._options.device)
        n = self.n_features + 1
        small = (self.n_classes - 1) * n <= MOST_CONCORDANT
        if not (small and self.convex and isinstance(problem, Problem)) or on_gpu or problem.on_device:
            return np.inf, np.inf
        l2s = curvature_of_columns(self.penalty, n)
        X, weight = problem.X, problem.target.weight
        rows = np.flatnonzero(weight > 0) if weight.size else None
        with one_thread():
            hessian = self.in_float64(hessian=True).hessian(point)
            used = np.einsum("kiki->i", hessian) > 0
            hidden = np.flatnonzero(~used[:-1])  # features that are always 0, or curvatures that are 0 in float64
            if hidden.size and abs(X[:, hidden]).max() > 0:
                return np.inf, np.inf
            inverse = inverse_of(reduced(hessian, l2s), used)
            if inverse is None:
                return np.inf, np.inf
            found = (x for _, x in blocks(X, True, n, rows))
            change = (grad[:-1] - grad[-1]).reshape(-1)
            return float(change @ inverse @ change) / 2, sharpness(found, inverse)

    def hvp(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of J at `params` times `v`, float64 of the shape of `params`, in one pass over X."""
        product = self._mean(self.backend.hess_vec(params, v))
        self.penalty.add_gradient(v[:, :-1], product[:, :-1])  # of a quadratic, it is the Hessian times v
        return product

    def hvp_sums(self, params: Float64s) -> tuple[Callable[[Float64s], Float64s], float]:
        """For many products at `params`: a function of v that sums over rows, and what divides it; without penalty."""
        return base.hessian_at(self.backend, params), self.backend.weight_sum

    def gram(self, params: Float64s) -> Float64s:
        """The mean over the classes of the diagonal blocks of the Hessian of J, without its penalty.

            (1 / S) sum_i h_i mean_k a_ik (1 - a_ik) (x_i, 1) (x_i, 1)^T        (n_features + 1, n_features + 1)

        with h_i the weight of sample i. Together with the penalty it preconditions the Hessian.
        """
        return self._mean(self.backend.gram(params))

    def _mean(self, sums: Float64s) -> Float64s:
        """Sums over the rows, divided by their weights in place: new arrays take long, compared with small data."""
        sums /= self.backend.weight_sum
        return sums

    def feature_counts(self) -> NDArray[np.int64] | None:
        """How many numbers of each feature are stored, (n_features,); None for dense data."""
        return None if self.sparse_rows is None else self.sparse_rows.counts()

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian of J, without its penalty, of the shape of `params`."""
        return self._mean(self.backend.curvatures(params))

    def moments(self) -> tuple[Float64s, Float64s]:
        """The weighted means and variances of the features, (n_features,); 0 for the variance of a constant one.

        A feature that varies only by rounding errors is constant. Sums that overflow are inf or NaN.
        """
        assert isinstance(self.backend, base.HasMoments)
        return mean_and_variance(self.backend.feature_moments, self.n_features)

    def blocks(self, params: Float64s) -> Float64s:
        """The diagonal blocks of the Hessian of J, without its penalty: (n_classes, n_features + 1, n_features + 1)."""
        return self._mean(self.backend.class_grams(params))

    def intercept_curvature(self, params: Float64s) -> Float64s | None:
        """The Hessian of J over the intercepts, (n_classes, n_classes); None unless a product was at `params` last."""
        sums = self.backend  # which may have kept the probabilities there
        curvature = sums.intercept_curvature(params) if isinstance(sums, base.KeepsProbabilities) else None
        return None if curvature is None else curvature / sums.weight_sum

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of J, without its penalty: (n_classes, n_features + 1, n_classes, n_features + 1)."""
        return self._mean(self.backend.hessian(params))

    def face_hessian(self, params: Float64s, free: NDArray[np.bool_]) -> Float64s | None:
        """The Hessian over the parameters in `free`, without the penalty; None if the backend does not compute it."""
        if not isinstance(self.backend, base.HasFaces):
            return None
        return self._mean(self.backend.face_hessian(params, free))

    def descend(
        self,
        state: State,
        order: NDArray[np.int64] | SampleOrder,
        batch_size: int,
        rates: Float64s,
        *,
        kind: int,
        momentum: float,
        n_before: int,
        emphasis: float = 1.0,
    ) -> float:
        """Change `state` by stochastic steps, one for each of `rates`, through mini-batches of the samples in `order`.

        (m / S) / batch_size sum_{i in batch} s_i grad L_i + l2 W is an unbiased estimate of the gradient of J. `kind`
        and `momentum` are those of `kernels.sgd`, and `n_before` is the number of steps before these. `emphasis`
        multiplies the gradients of the loss. Returns the mean loss of these samples without penalty, each at the
        parameters before the step of its batch.
        """
        if not self.convex:
            raise InputValueError(
                "y holds partial labels, which the solver 'sgd', and so partial_fit, does not support; use Trainer.fit "
                "with another solver."
            )
        sums, l2s = self.backend, np.array(np.broadcast_to(self.penalty.curvature, self.n_features), np.float64)
        rule = Rule(kind, momentum, l2s, emphasis * self.n_samples / sums.weight_sum)
        if isinstance(sums, base.Stochastic):
            order = order.of(self.n_samples) if isinstance(order, SampleOrder) else order
            losses = sums.descend(state, order, batch_size, rates, rule, n_before)
        elif isinstance(sums, base.StochasticInParts) and isinstance(order, SampleOrder):
            losses = sums.descend_parts(state, order, batch_size, rates, rule, n_before)
        else:
            raise InputValueError(
                "solver 'sgd' runs on the CPU, on rows in memory or in blocks, not on those of a GPU nor of a Dask "
                "cluster; use solver 'newton-cg'."
            )
        return float(pairwise_sum(losses)) / sums.weight_sum

    def n_steps(self, batch_size: int) -> int:
        """The number of mini-batches in an epoch of `descend`."""
        sums, n = self.backend, -(-self.n_samples // batch_size)
        return sums.n_steps(batch_size) if isinstance(sums, base.StochasticInParts) else n

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Margins of some rows of X: the logit of the true class minus the logit of each class, z_y - z_k.

        Only for class indices as targets. Samples without weight are left out. Returns the labels (n,) and the margins
        (n, n_classes).
        """
        if isinstance(self.backend, base.Margins):
            return self.backend.margins(params, part)
        raise InputValueError("the margins of single samples need X in memory.")
