"""Properties of the cross-entropy of softmax and of its gradient, to be checked for any implementation."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import plain
from nbsoftmax.testing import definitions
from nbsoftmax.testing.properties import FEW, check, search
from nbsoftmax.testing.strategies import logits
from nbsoftmax.validation import Floats

Loss = Callable[[Any, Any], Any]
Case = tuple[Floats, NDArray[np.int64]]  # logits (n_samples, n_classes) and class indices (n_samples,)
LARGEST = {"float32": 1e37, "float64": 1e307}  # logits up to these have finite differences, and finite sums of them


def check_cross_entropy(
    function: Loss, *, dtype: DTypeLike = np.float64, with_grad: bool = False, max_examples: int = 100
) -> None:
    """Check that a function is the mean cross-entropy of softmax, computed in a numerically stable way.

        mean_i log sum_k exp(z_ik - z_iy)

    The function is called with logits (n_samples, n_classes) of `dtype`, n_samples at least 1, and class indices
    (n_samples,), int64. Checked properties: the input is unchanged; the loss is finite and not negative; it is log K if
    all logits are equal; shifts; permutations; the value; and with `with_grad` the gradient.

    Parameters
    ----------
    function : callable
        Returns the loss; with `with_grad` the loss and its gradient with respect to the logits, (n_samples, n_classes).
    dtype : float32 or float64
    with_grad : bool
    max_examples : int
        Number of inputs for each property; the same inputs in every run.

    Raises
    ------
    AssertionError
        With the property that is violated and a small counterexample.
    """
    kind = validation.float_dtype(dtype)
    tested = _Tested(function, kind, with_grad)
    cases = _cases(kind)
    for holds in (
        tested.leaves_input_unchanged,
        tested.is_finite_and_not_negative,
        tested.is_log_k_for_equal_logits,
        tested.ignores_shifts,
        tested.ignores_order,
        tested.has_the_value,
    ):
        search(holds, cases, n=max_examples)
    if with_grad:
        search(tested.has_the_gradient, cases, n=max_examples)


@st.composite
def _cases(draw: st.DrawFn, dtype: Any) -> Case:
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 8)))
    z = draw(logits(shape, dtype=dtype, largest=LARGEST[str(dtype)]))
    y = draw(st.lists(st.integers(0, shape[1] - 1), min_size=shape[0], max_size=shape[0]))
    return z, np.array(y, np.int64)


@dataclass(frozen=True, eq=False)
class _Tested:
    """A loss under test, and its properties."""

    function: Loss
    dtype: np.dtype[Any]
    with_grad: bool

    def of(self, z: Floats, y: NDArray[np.int64]) -> tuple[float, NDArray[Any]]:
        """Return the loss, and its gradient or zeros."""
        try:
            found = self.function(z, y)
        except Exception as error:
            raise AssertionError(
                f"the loss accepts any finite logits, but raised {error!r} for\n{z!r}\n{y!r}"
            ) from error
        try:
            loss, grad = found if self.with_grad else (found, np.zeros(z.shape))
            return float(loss), np.asarray(grad)
        except (TypeError, ValueError):
            expected = "the mean loss and its gradient" if self.with_grad else "the mean loss, a number"
            advice = "" if self.with_grad else "; with_grad=True tests a function that also returns the gradient"
            raise AssertionError(
                f"the loss returns {expected}, but the result is {plain(found)} for\n{z!r}\n{y!r}{advice}"
            ) from None

    def tolerance(self, z: Floats) -> float:
        """Error of careful code, relative to 1 + loss."""
        return float((z.shape[1] + len(z) + FEW) * np.finfo(self.dtype).eps)

    def near(self, z: Floats, loss: float, expected: float) -> bool:
        return bool(abs(loss - expected) <= self.tolerance(z) * (1 + abs(expected)))

    def leaves_input_unchanged(self, case: Case) -> None:
        z, y = case
        before = z.copy(), y.copy()
        self.of(z, y)
        same = np.array_equal(before[0], z) and np.array_equal(before[1], y)
        check(same, "the loss leaves its input unchanged", before, (z, y), before)

    def is_finite_and_not_negative(self, case: Case) -> None:
        loss, _ = self.of(*case)
        expected = definitions.cross_entropy(*case)
        sentence = "the loss of finite logits is finite, however large they are"
        check(np.isfinite(loss), sentence, case, loss, expected)
        check(loss >= 0, "the loss is not negative", case, loss, expected)

    def is_log_k_for_equal_logits(self, case: Case) -> None:
        z, y = np.zeros_like(case[0]), case[1]
        expected = float(np.log(z.shape[1]))
        loss, _ = self.of(z, y)
        check(self.near(z, loss, expected), "the mean loss of K equal logits is log K", (z, y), loss, expected)

    def ignores_shifts(self, case: Case) -> None:
        z, y = np.asarray(np.rint(np.clip(case[0], -64, 64)), self.dtype), case[1]
        (a, _), (b, _) = self.of(z, y), self.of(np.asarray(z + 1000, self.dtype), y)
        same = abs(a - b) <= 2 * self.tolerance(z) * (1 + abs(a))
        check(same, "the loss stays the same when 1000 is added to all logits", (z, y), b, a)

    def ignores_order(self, case: Case) -> None:
        z, y = case
        (a, _), (b, _) = self.of(z, y), self.of(np.ascontiguousarray(z[::-1, ::-1]), z.shape[1] - 1 - y[::-1])
        same = abs(a - b) <= 2 * self.tolerance(z) * (1 + abs(a))
        check(same, "the loss does not depend on the order of samples and classes", case, b, a)

    def has_the_value(self, case: Case) -> None:
        loss, _ = self.of(*case)
        expected = definitions.cross_entropy(*case)
        sentence = "the loss is the mean of log sum_k exp(z_k - z_y)"
        check(self.near(case[0], loss, expected), sentence, case, loss, expected)

    def has_the_gradient(self, case: Case) -> None:
        z, y = case
        _, grad = self.of(z, y)
        check(grad.shape == z.shape, "the gradient has the shape of the logits", case, grad.shape, z.shape)
        tolerance = (z.shape[1] + FEW) * float(np.finfo(self.dtype).eps)
        total = grad.sum(axis=1, dtype=np.longdouble)
        check(np.all(np.abs(total) <= tolerance), "a sample's gradient sums to 0", case, total, 0)
        exact = (definitions.softmax(z) - (np.arange(z.shape[1]) == y[:, None])) / len(z)
        fine = np.all(np.abs(grad - exact) <= tolerance + float(np.finfo(self.dtype).tiny))
        check(fine, "the gradient is (softmax - one-hot) / n_samples", case, grad, exact)
