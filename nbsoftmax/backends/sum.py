"""A sum of backends: each holds a part of the rows, and their sums are added in the order of the parts.

What differs between such sums is when the parts exist:

    HeldParts   all at once, each used in a thread of its own       shards on several GPUs
    MadeParts   one after another, each dropped before the next     converted blocks of rows, chunks of a file

The parts are added in their order in both cases, so the bits do not depend on timing.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol, TypeVar

from nbsoftmax.backends.base import Backend
from nbsoftmax.validation import Float64s

T = TypeVar("T")


class Parts(Protocol):
    """Backends of consecutive parts of the rows, at least one."""

    def map(self, function: Callable[[Backend], T]) -> Iterable[T]:
        """The result of `function` for each part, in the order of the parts."""
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

    def map(self, function: Callable[[Backend], T]) -> Iterable[T]:
        """The result of `function` for each part, in the order of the parts."""
        return map(function, self._make())  # a loop variable would keep a part alive while the next one is made


class HeldParts:
    """Parts that all exist, and work at the same time.

    Parameters
    ----------
    parts : sequence of Backend
    """

    def __init__(self, parts: Sequence[Backend]) -> None:
        self._parts = parts

    def map(self, function: Callable[[Backend], T]) -> Iterable[T]:
        """The result of `function` for each part, in the order of the parts; the first error is raised."""
        results: dict[int, T] = {}
        errors: dict[int, BaseException] = {}

        def work(i: int) -> None:
            try:
                results[i] = function(self._parts[i])
            except BaseException as error:  # raised below, in the caller's thread
                errors[i] = error

        threads = [threading.Thread(target=work, args=(i,)) for i in range(len(self._parts))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if errors:
            raise errors[min(errors)]
        return [results[i] for i in range(len(self._parts))]


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
    """

    def __init__(self, parts: Parts, *, n_samples: int, n_features: int, n_classes: int, weight_sum: float) -> None:
        self._parts = parts
        self.n_samples, self.n_features, self.n_classes = n_samples, n_features, n_classes
        self.weight_sum = weight_sum

    def loss(self, params: Float64s) -> float:
        """sum_i s_i L_i."""
        total = 0.0
        for loss in self._parts.map(lambda part: part.loss(params)):
            total += loss  # not `sum`, whose last bits depend on the version of Python
        return total

    def loss_and_grad(self, params: Float64s) -> tuple[float, Float64s]:
        """The loss and its gradient (n_classes, n_features + 1)."""
        results = iter(self._parts.map(lambda part: part.loss_and_grad(params)))
        total, gradient = next(results)
        for loss, slope in results:
            total += loss
            gradient += slope
        return total, gradient

    def hess_vec(self, params: Float64s, v: Float64s) -> Float64s:
        """The Hessian of the loss at `params`, times v."""
        return self._added(lambda part: part.hess_vec(params, v))

    def gram(self, params: Float64s | None = None) -> Float64s:
        """The Gram matrix of (X, 1), weighted with the mean curvatures at `params` if they are given."""
        return self._added(lambda part: part.gram(params))

    def curvatures(self, params: Float64s) -> Float64s:
        """The diagonal of the Hessian, (K, N + 1)."""
        return self._added(lambda part: part.curvatures(params))

    def class_grams(self, params: Float64s) -> Float64s:
        """The diagonal blocks of the Hessian, (K, N + 1, N + 1)."""
        return self._added(lambda part: part.class_grams(params))

    def hessian(self, params: Float64s) -> Float64s:
        """The Hessian of the loss, (K, N + 1, K, N + 1)."""
        return self._added(lambda part: part.hessian(params))

    def _added(self, sums_of: Callable[[Backend], Float64s]) -> Float64s:
        """The sums of all parts, added in order."""
        results = iter(self._parts.map(sums_of))
        total = next(results)
        for result in results:
            total += result
        return total
