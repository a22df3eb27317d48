"""Steps of stochastic gradient descent through rows in parts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.base import SampleOrder, Stochastic
from nbsoftmax.backends.sum import Parts, SumOfRows
from nbsoftmax.kernels.sgd import Rule, State
from nbsoftmax.validation import Float64s

ShuffledParts = Callable[[SampleOrder], Iterator[tuple[Stochastic, NDArray[np.int64]]]]


class DescendingRows(SumOfRows):
    """The rows of all parts together, which can be gone through in random order.

    Parameters
    ----------
    parts : Parts
    shuffled : callable
        Returns all parts in the order of an epoch, each with the order of its samples.
    lengths : sequence of int
        The numbers of samples of the parts.
    **options
        As for `SumOfRows`.
    """

    def __init__(self, parts: Parts, shuffled: ShuffledParts, lengths: Sequence[int], **options: Any) -> None:
        super().__init__(parts, **options)
        self._shuffled, self._lengths = shuffled, lengths

    def n_steps(self, batch_size: int) -> int:
        """The number of mini-batches in an epoch; each is within one part."""
        return sum(-(-n // batch_size) for n in self._lengths)

    def descend_parts(
        self, state: State, order: SampleOrder, batch_size: int, rates: Float64s, rule: Rule, n_before: int
    ) -> Float64s:
        """Change `state` by one step for each rate, through all samples; returns the loss of each mini-batch."""
        losses = np.empty(rates.size)
        start = 0
        for part, samples in self._shuffled(order):
            steps = slice(start, start + -(-samples.size // batch_size))
            losses[steps] = part.descend(state, samples, batch_size, rates[steps], rule, n_before + start)
            start = steps.stop
            del part, samples
        return losses
