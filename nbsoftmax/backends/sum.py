"""A sum of backends: each holds a part of the rows, and their sums are added in the order of the parts.

What differs between such sums is when and where the parts exist:

    HeldParts   all at once, each used in a thread of its own       shards on several GPUs
    MadeParts   one after another, each dropped before the next     converted blocks of rows, batches of a file

Partitions on a cluster are a third kind. The parts are added in a fixed order in all cases, so the bits do not depend
on timing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.base import Backend
from nbsoftmax.backends.moments import Moments
from nbsoftmax.validation import Float64s


@dataclass(frozen=True, eq=False)
class Call:
    """Methods to call, each on the result of the one before, the first on a backend. It can be pickled.

    steps : names of the methods with their positional and keyword arguments
    """

    steps: tuple[tuple[str, tuple[Any, ...], dict[str, Any]], ...] = ()

    def then(self, method: str, *args: Any, **options: Any) -> Call:
        """With one more method."""
        return Call((*self.steps, (method, args, options)))

    def __call__(self, part: Any) -> Any:
        """The result of the last method."""
        for method, args, options in self.steps:
            part = getattr(part, method)(*args, **options)
        return part


def added(results: Iterable[Any]) -> Any:
    """The sum of numbers, arrays, or tuples of these, in their order; the first one is changed."""
    results = iter(results)
    total = next(results)
    for result in results:  # not `sum`, whose last bits depend on the version of Python
        total = plus(total, result)
    return total


def plus(total: Any, result: Any) -> Any:
    """Total + result; an array `total` is changed."""
    if isinstance(total, tuple):
        return tuple(map(plus, total, result))
    total += result
    return total


class Parts(Protocol):
    """Backends of consecutive parts of the rows, at least one."""

    def total(self, call: Call) -> Any:
        """The results of `call` for all parts, added in an order that depends on the number of parts alone."""
        ...


class MadeParts:
    """Parts that are made for each sum, one after another; only one exists at a time.

    Parameters
    ----------
    make : callable
        Returns an iterator over the parts, each time from the first one. It should keep no reference to a part.
    """

    def __init__(self, make: Callable[[], Iterator[Backend]]) -> None:
        self._make = make

    def total(self, call: Call) -> Any:
        """The results of `call` for all parts, added in the order of the parts."""
        return added(map(call, self._make()))  # a loop variable would keep a part alive while the next one is made


class HeldParts:
    """Parts that all exist, and work at the same time.

    Parameters
    ----------
    parts : sequence of Backend
    """

    def __init__(self, parts: Sequence[Backend]) -> None:
        self._parts = parts

    def total(self, call: Call) -> Any:
        """The results of `call` for all parts, added in the order of the parts; the first error is raised."""
        results: dict[int, Any] = {}
        errors: dict[int, BaseException] = {}

        def work(i: int) -> None:
            try:
                results[i] = call(self._parts[i])
            except BaseException as error:  # raised below, in the caller's thread
                errors[i] = error

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(self._parts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[min(errors)]
        return added(results[i] for i in range(len(self._parts)))


class SumBackend:
    """The rows of all parts together.

    Parameters
    ----------
    parts : Parts
    n_samples : int
        Of all parts.
    n_features, n_classes : int
    weight_sum : float
        Of all parts.
    first : Call
        What is called on each part before the method that returns its sums.
    """

    def __init__(
        self, parts: Parts, *, n_samples: int, n_features: int, n_classes: int, weight_sum: float, first: Call = Call()
    ) -> None:
        self._parts, self._first = parts, first
        self.n_samples, self.n_features, self.n_classes = n_samples, n_features, n_classes
        self.weight_sum = weight_sum

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        return float(self._parts.total(self._first.then("loss", params)))

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1)."""
        total: tuple[float, Float64s] = self._parts.total(self._first.then("loss_and_grad", params))
        return total

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        return self._added("hess_vec", params, v)

    def gram(self, params: Float64s | None = None) -> Float64s:
        """The Gram matrix of (X, 1), weighted with the mean curvatures at `params` if they are given."""
        return self._added("gram", params)

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, (K, N + 1)."""
        return self._added("curvatures", params)

    def class_grams(self, params: Float64s) -> Float64s:
        """The diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        return self._added("class_grams", params)

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        return self._added("hessian", params)

    def _added(self, method: str, *args: Any) -> Float64s:
        total: Float64s = self._parts.total(self._first.then(method, *args))
        return total


class SumOfRows(SumBackend):
    """The rows of all parts together, where each part holds rows in the memory of a host.

    Parameters
    ----------
    parts, n_samples, n_features, n_classes, weight_sum, first
        As for `SumBackend`.
    dtype : dtype
        Of X.
    """

    def __init__(self, parts: Parts, *, dtype: np.dtype[Any], **options: Any) -> None:
        super().__init__(parts, **options)
        self._dtype = dtype

    def feature_moments(self, centre: Float64s) -> Moments:
        """Sums of the features and their squares, as differences from `centre`; see `moments`."""
        total: Moments = self._parts.total(self._first.then("feature_moments", centre))
        return total

    def margin_counts(self, params: Float64s, step: Float64s) -> NDArray[np.int64]:
        """Numbers of samples whose margins a step changes, as `separation.counts_of` says."""
        total: NDArray[np.int64] = self._parts.total(self._first.then("margin_counts", params, step))
        return total

    def with_features(self, features: NDArray[np.int64]) -> SumOfRows:
        """The same sums over these features only, computed in float64."""
        first = self._first.then("with_features", features)
        return self._changed(np.dtype(np.float64), features.size, first)

    def in_float64(self, *, hessian: bool = False) -> SumOfRows:
        """The same sums by products in float64: loss and gradient, and if `hessian` the other sums too."""
        if self._dtype == np.float64:
            return self
        return self._changed(np.dtype(np.float64), self.n_features, self._first.then("in_float64", hessian=hessian))

    def _changed(self, dtype: np.dtype[Any], n_features: int, first: Call) -> SumOfRows:
        sizes = {"n_samples": self.n_samples, "n_classes": self.n_classes, "weight_sum": self.weight_sum}
        return SumOfRows(self._parts, dtype=dtype, n_features=n_features, first=first, **sizes)
