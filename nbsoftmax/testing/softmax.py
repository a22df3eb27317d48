"""Properties of softmax, to be checked for any implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from nbsoftmax import validation
from nbsoftmax.testing import definitions
from nbsoftmax.testing.properties import FEW, check, search
from nbsoftmax.testing.strategies import logits
from nbsoftmax.validation import Floats

Softmax = Callable[[Any], Any]


def check_softmax(
    function: Softmax, *, dtype: DTypeLike = np.float64, infinities: bool = False, max_examples: int = 100
) -> None:
    """Check that a function is a numerically stable softmax over the last axis.

    The function is called with arrays (n_samples, n_classes) of `dtype`, both sizes at least 1, and returns an array of
    the same shape. Checked properties: shape and dtype; the input is unchanged; probabilities between 0 and 1 with sum
    1, even for the largest finite logits; equal logits; order; shifts; permutations; independence of the samples; and
    the values themselves.

    Parameters
    ----------
    function : callable
    dtype : float32 or float64
    infinities : bool
        Whether infinite logits must give the limit, and a NaN must affect only its own row.
    max_examples : int
        Number of inputs for each property; the same inputs in every run.

    Raises
    ------
    AssertionError
        With the property that is violated and a small counterexample.
    """
    kind = validation.float_dtype(dtype)
    tested = _Tested(function, kind)
    shape = st.tuples(st.integers(1, 5), st.integers(1, 8))
    any_logits = shape.flatmap(lambda size: logits(size, dtype=kind))
    # Whole numbers: sums of two are exact.
    small = shape.flatmap(lambda size: logits(size, dtype=kind, largest=64.0)).map(
        lambda z: np.asarray(np.rint(z), kind)
    )
    for holds in (
        tested.keeps_shape_and_dtype,
        tested.leaves_input_unchanged,
        tested.gives_probabilities,
        tested.sums_to_1,
        tested.keeps_order,
    ):
        search(holds, any_logits, n=max_examples)
    search(tested.ignores_shifts, small, st.sampled_from([-1000, -100, -1, 1, 100, 1000]), n=max_examples)
    for holds in (tested.follows_permutations, tested.treats_samples_alone, tested.has_the_values):
        search(holds, any_logits, n=max_examples)
    if infinities:
        infinite = shape.flatmap(lambda size: logits(size, dtype=kind, infinities=True))
        search(tested.has_the_limits, infinite, n=max_examples)
        search(tested.keeps_nan_in_its_row, small, n=max_examples)


@dataclass(frozen=True, eq=False)
class _Tested:
    """A softmax under test, and its properties."""

    function: Softmax
    dtype: np.dtype[Any]

    @property
    def eps(self) -> float:
        return float(np.finfo(self.dtype).eps)

    @property
    def tiny(self) -> float:
        return float(np.finfo(self.dtype).tiny)

    def of(self, z: Floats) -> NDArray[Any]:
        try:
            return np.asarray(self.function(z))
        except Exception as error:
            raise AssertionError(f"softmax accepts any logits, but raised {error!r} for\n{z!r}") from error

    def tolerance(self, z: Floats) -> NDArray[Any]:
        """Relative error of careful code, (n_samples, n_classes)."""
        below = z.max(axis=1, keepdims=True).astype(np.longdouble) - z
        return np.asarray((z.shape[1] + FEW + np.minimum(below, 1e4)) * self.eps)

    def close(self, z: Floats, a: NDArray[Any], b: NDArray[Any]) -> bool:
        """Whether two softmaxes of z, in whatever order of summation, are equal to rounding."""
        return bool(np.all(np.abs(a - b) <= 2 * self.tolerance(z) * np.maximum(a, b) + self.tiny))

    def keeps_shape_and_dtype(self, z: Floats) -> None:
        a = self.of(z)
        check(a.shape == z.shape, "softmax keeps the shape of the logits", z, a.shape, z.shape)
        check(a.dtype == z.dtype, "softmax keeps the dtype of the logits", z, a.dtype, z.dtype)

    def leaves_input_unchanged(self, z: Floats) -> None:
        before = z.copy()
        self.of(z)
        check(np.array_equal(before, z), "softmax leaves its input unchanged", before, z, before)

    def gives_probabilities(self, z: Floats) -> None:
        a = self.of(z)
        sentence = "softmax of finite logits is between 0 and 1, however large they are"
        check(np.all((a >= 0) & (a <= 1)), sentence, z, a, definitions.softmax(z))

    def sums_to_1(self, z: Floats) -> None:
        total = self.of(z).sum(axis=1, dtype=np.longdouble)
        near = np.all(np.abs(total - 1) <= (z.shape[1] + FEW) * self.eps)
        check(near, "the probabilities of a sample sum to 1", z, total, 1)

    def keeps_order(self, z: Floats) -> None:
        a, expected = self.of(z), definitions.softmax(z)
        rank = np.argsort(z, axis=1, kind="stable")
        steps = np.diff(np.take_along_axis(a, rank, axis=1), axis=1)
        ties = np.diff(np.take_along_axis(z, rank, axis=1), axis=1) == 0
        check(np.all(steps[ties] == 0), "equal logits have equal probabilities", z, a, expected)
        check(np.all(steps >= 0), "a larger logit has no smaller probability", z, a, expected)

    def ignores_shifts(self, z: Floats, shift: int) -> None:
        a, b = self.of(z), self.of(np.asarray(z + shift, self.dtype))
        check(self.close(z, a, b), f"softmax stays the same when {shift} is added to all logits", z, b, a)

    def follows_permutations(self, z: Floats) -> None:
        a, b = self.of(z), self.of(np.ascontiguousarray(z[::-1, ::-1]))[::-1, ::-1]
        check(self.close(z, a, b), "softmax follows a permutation of samples and classes", z, b, a)

    def treats_samples_alone(self, z: Floats) -> None:
        a = self.of(z)
        b = np.concatenate([self.of(z[i : i + 1]) for i in range(len(z))]) if len(z) else a
        check(self.close(z, a, b), "a sample's probabilities do not depend on the other samples", z, a, b)

    def has_the_values(self, z: Floats) -> None:
        a, exact = self.of(z), definitions.softmax(z)
        near = np.all(np.abs(a - exact) <= self.tolerance(z) * exact + self.tiny)
        check(near, "softmax is exp(z_k) / sum_l exp(z_l)", z, a, exact)

    def has_the_limits(self, z: Floats) -> None:
        a, exact = self.of(z), definitions.softmax(z)
        with np.errstate(invalid="ignore"):
            near = np.all(np.abs(a - exact) <= (z.shape[1] + FEW + 1e4) * self.eps * exact + self.tiny)
        check(near, "softmax of infinite logits is the limit, shared equally by the largest logits", z, a, exact)

    def keeps_nan_in_its_row(self, z: Floats) -> None:
        with_nan = np.vstack([z, np.full((1, z.shape[1]), np.nan, self.dtype)])
        a, b = self.of(z), self.of(with_nan)
        near = np.all(np.isnan(b[-1])) and np.array_equal(np.isnan(b[:-1]), np.isnan(a))
        check(near, "a NaN makes its own row NaN and no other", with_nan, b, np.vstack([a, with_nan[-1:]]))
