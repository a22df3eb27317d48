"""What a backend is: it holds the rows of X and computes sums over them.

Training a softmax regression needs only sums over the rows of X: the loss, its gradient, products with its
Hessian and parts of that Hessian. A `Backend` computes these sums. Solvers use nothing else, so each of them works
with every backend: rows in memory (`dense`), rows on GPUs (`cuda`), or a sum of other backends (`sum`).

Conventions
-----------
- No sum contains a penalty, and none is divided by anything: `Objective` does both.
- `params` and `v` are float64 arrays on the host, (n_classes, n_features + 1), with the intercept in the last column.
  Without an intercept that column is ignored, and its results are 0.
- Every result is a new float64 array on the host, which the caller may change.
- Results depend on the data and the shape alone, bit for bit: never on the number of threads or on their timing.
- Nothing is validated here. X is finite, and the targets are a `validation.WeightedTargets`.

How to write a backend
----------------------
Write a class with the four attributes and the seven methods of `Backend` in a file of its own; inherit from nothing.
Where X comes in parts that existing backends can hold (chunks of a file, partitions of a cluster), write only what
makes the parts, and give it to `sum.SumBackend`. Then let `Objective` choose the new class. `tests/backends` compares
every sum of a backend with `DenseBackend`.

The other protocols are capabilities: a backend has the method if it can do the work, and lacks it otherwise. Callers
ask with `isinstance(backend, Stochastic)` and decide what to do without it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.kernels.sgd import Rule, State
from nbsoftmax.validation import Float64s


class Backend(Protocol):
    """The sums over the rows of X that training needs; s_i is the weight of sample i, h_i that of its curvature."""

    n_samples: int
    n_features: int
    n_classes: int
    weight_sum: float  # sum_i s_i, which the objective divides by, in the units of `WeightedTargets.total`

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        ...

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1), in one pass over the rows."""
        ...

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v, in one pass over the rows."""
        ...

    def gram(self, params: Float64s | None = None) -> Float64s:
        """X1^T diag(h_i mean_k a_ik (1 - a_ik)) X1 at `params`, or X1^T diag(h) X1; X1 = (X, 1), (N + 1, N + 1)."""
        ...

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, (K, N + 1)."""
        ...

    def class_grams(self, params: Float64s) -> Float64s:
        """The diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        ...

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1); for small K N."""
        ...


@dataclass(frozen=True)
class SampleOrder:
    """The random order of the samples in an epoch of stochastic gradient descent."""

    seed: int
    epoch: int

    def generator(self) -> np.random.Generator:
        """From which the order is drawn."""
        return np.random.default_rng([self.seed, self.epoch])

    def of(self, n_samples: int) -> NDArray[np.int64]:
        """The order of samples that are in memory together."""
        return self.generator().permutation(n_samples)


@runtime_checkable
class Stochastic(Protocol):
    """Can make steps of stochastic gradient descent without leaving the backend."""

    def descend(
        self, state: State, order: NDArray[np.int64], batch_size: int, rates: Float64s, rule: Rule, n_before: int
    ) -> Float64s:
        """Change `state` by one step for each rate, with mini-batches of the samples in `order`.

        Returns the loss of each batch, at the parameters before its step.
        """
        ...


@runtime_checkable
class StochasticInParts(Protocol):
    """Can make such steps through parts of the rows, one part after another."""

    def n_steps(self, batch_size: int) -> int:
        """The number of mini-batches in an epoch; each is within one part."""
        ...

    def descend_parts(
        self, state: State, order: SampleOrder, batch_size: int, rates: Float64s, rule: Rule, n_before: int
    ) -> Float64s:
        """Change `state` by one step for each rate, through all samples; returns the losses as `Stochastic` does."""
        ...


@runtime_checkable
class Margins(Protocol):
    """Can return the margins of single samples."""

    n_samples: int

    def margins(self, params: Float64s, part: slice) -> tuple[NDArray[Any], Float64s]:
        """Labels (n,) and margins z_y - z_k (n, K) of those samples in `part` whose weight is positive."""
        ...


@runtime_checkable
class CountsMargins(Protocol):
    """Can say how a step changes the margins of the samples, in numbers that add up over the rows."""

    def margin_counts(self, params: Float64s, step: Float64s) -> NDArray[np.int64]:
        """The counts of `separation.counts_of`, (3, n_classes)."""
        ...


@runtime_checkable
class KeepsProbabilities(Protocol):
    """Can keep the probabilities at one point, from one Hessian-vector product to the next."""

    def intercept_curvature(self, params: Float64s) -> Float64s | None:
        """sum_i h_i (a_ik [k = l] - a_ik a_il), (K, K); None if those at `params` were not kept for all samples."""
        ...


@runtime_checkable
class HasMoments(Protocol):
    """Can compute means and variances of the features."""

    def feature_moments(self, centre: Float64s) -> tuple[float, Float64s, Float64s]:
        """sum_i h_i, and for each feature sum_i h_i (x_ij - c_j) and sum_i h_i (x_ij - c_j)^2, (n_features,)."""
        ...


@runtime_checkable
class HasFaces(Protocol):
    """Can compute the Hessian over some of the parameters, which prox-Newton uses when most coefficients are 0."""

    def face_hessian(self, params: Float64s, free: NDArray[np.bool_]) -> Float64s:
        """The Hessian of the loss over the n parameters in `free`, (n_classes, n_features + 1): (n, n)."""
        ...


@runtime_checkable
class FixesPoint(Protocol):
    """Can multiply by the Hessian at one point several times without comparing the parameters each time."""

    def hessian_at(self, params: Float64s) -> Callable[[Float64s], Float64s]:
        """`hess_vec` at `params`, which must not change while the function is in use."""
        ...


def hessian_at(backend: Backend, params: Float64s) -> Callable[[Float64s], Float64s]:
    """The function of v that returns `backend.hess_vec(params, v)`."""
    return backend.hessian_at(params) if isinstance(backend, FixesPoint) else partial(backend.hess_vec, params)


@runtime_checkable
class SelectsFeatures(Protocol):
    """Can make a backend for some of the features, which prox-Newton uses when most coefficients are 0."""

    def with_features(self, features: NDArray[np.int64]) -> Backend:
        """The same sums over these features only, computed in float64."""
        ...


@runtime_checkable
class Refinable(Protocol):
    """Can compute the sums of float32 rows in float64."""

    def in_float64(self, *, hessian: bool = False) -> Backend:
        """The same sums by products in float64: loss and gradient, and if `hessian` the other sums too."""
        ...


@runtime_checkable
class SparseRows(Backend, Protocol):
    """Holds sparse rows, and can compute what stands in for Gram matrices where that of all features is too large."""

    def counts(self) -> NDArray[np.int64]:
        """How many numbers of each feature are stored, (n_features,)."""
        ...

    def frequent_gram(self, params: Float64s | None, features: NDArray[np.int64]) -> Float64s:
        """The part of `gram` of some features, which are sorted, and of the intercept."""
        ...

    def frequent_beside_levels(self) -> NDArray[np.int64] | None:
        """The frequent features, if no sample has two of the others; None if that is so for no small number of them."""
        ...

    def blocks_beside_levels(self, params: Float64s) -> tuple[Float64s, list[Any]]:
        """Parts of `class_grams`: of these features and the intercept, and between the others and them (csr_array)."""
        ...

    def moments(self, params: Float64s) -> tuple[Float64s, Float64s]:
        """`curvatures`, and the same sums without squares, sum_i h_i a_ik (1 - a_ik) (x_i, 1), (K, N + 1)."""
        ...

    def columns(self) -> Any:
        """X as a scipy.sparse.csc_array."""
        ...

    def sample_curvatures(self, params: Float64s) -> Float64s:
        """h_i mean_k a_ik (1 - a_ik), the weights of the samples in `gram`, (n_samples,)."""
        ...
