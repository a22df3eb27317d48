"""Properties of softmax and cross-entropy, to be checked of any implementation.

Each property is a sentence. Hypothesis looks for logits that break it and makes them as small as it can; the error is
an `AssertionError` with the sentence, those logits, what came and what was expected. A tolerance is what careful code
in the same dtype reaches: K eps for a sum of K terms, a few eps for exp, log and a division, and |z - max z| eps, since
the rounding of that difference becomes a relative error of its exp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from numpy.typing import DTypeLike, NDArray

from nbsoftmax import validation
from nbsoftmax.testing.strategies import logits
from nbsoftmax.validation import Floats

Softmax = Callable[[Any], Any]
Loss = Callable[[Any, Any], Any]
FEW = 8  # eps that exp, log, a division and a subtraction may cost together
LARGEST = {"float32": 1e37, "float64": 1e307}  # of logits whose differences, and sums of them, are finite


def check_softmax(
    function: Softmax, *, dtype: DTypeLike = np.float64, infinities: bool = False, max_examples: int = 100
) -> None:
    """Check that a function is a softmax over the last axis, in the numerically careful sense.

    It is called with arrays (n_samples, n_classes) of `dtype`, both at least 1, and returns one of that shape. Checked:
    shape and
    dtype, that its input stays as it was, probabilities between 0 and 1 of sum 1 also for logits as large as there are,
    equal logits, order, shifts, permutations, samples alone, and the values themselves.

    Parameters
    ----------
    function : callable
    dtype : float32 or float64
    infinities : bool
        Whether infinite logits must give the limit, and a NaN make its own row NaN and no other.
    max_examples : int
        Inputs that are tried for each property; the same in every run.

    Raises
    ------
    AssertionError
        That names the property which does not hold, with a small counterexample.
    """
    kind = validation.float_dtype(dtype)
    eps, tiny = float(np.finfo(kind).eps), float(np.finfo(kind).tiny)
    shape = st.tuples(st.integers(1, 5), st.integers(1, 8))
    any_logits = shape.flatmap(lambda size: logits(size, dtype=kind))
    # Whole numbers: sums of two are exact.
    small = shape.flatmap(lambda size: logits(size, dtype=kind, largest=64.0)).map(
        lambda z: np.asarray(np.rint(z), kind)
    )

    def tolerance(z: Floats) -> NDArray[Any]:
        below = z.max(axis=1, keepdims=True).astype(np.longdouble) - z
        return np.asarray((z.shape[1] + FEW + np.minimum(below, 1e4)) * eps)

    def of(z: Floats) -> NDArray[Any]:
        return _called(function, z)

    def shape_and_dtype(z: Floats) -> None:
        a = of(z)
        _hold(a.shape == z.shape, "softmax keeps the shape of the logits", z, a.shape, z.shape)
        _hold(a.dtype == z.dtype, "softmax keeps the dtype of the logits", z, a.dtype, z.dtype)

    def input_stays(z: Floats) -> None:
        before = z.copy()
        of(z)
        _hold(np.array_equal(before, z), "softmax leaves its input as it was", before, z, before)

    def probabilities(z: Floats) -> None:
        a = of(z)
        fine = bool(np.all((a >= 0) & (a <= 1)))
        _hold(fine, "softmax of finite logits is between 0 and 1, however large they are", z, a, _softmax(z))

    def sums(z: Floats) -> None:
        total = of(z).sum(axis=1, dtype=np.longdouble)
        near = bool(np.all(np.abs(total - 1) <= (z.shape[1] + FEW) * eps))
        _hold(near, "the probabilities of a sample sum to 1", z, total, 1)

    def order(z: Floats) -> None:
        a = of(z)
        rank = np.argsort(z, axis=1, kind="stable")
        steps = np.diff(np.take_along_axis(a, rank, axis=1), axis=1)
        ties = np.diff(np.take_along_axis(z, rank, axis=1), axis=1) == 0
        _hold(bool(np.all(steps[ties] == 0)), "equal logits have equal probabilities", z, a, _softmax(z))
        _hold(bool(np.all(steps >= 0)), "a larger logit has no smaller probability", z, a, _softmax(z))

    def shifts(z: Floats, shift: int) -> None:
        moved = np.asarray(z + shift, kind)
        a, b = of(z), of(moved)
        near = bool(np.all(np.abs(a - b) <= 2 * tolerance(z) * np.maximum(a, b) + tiny))
        _hold(near, f"softmax stays the same when {shift} is added to all logits", z, b, a)

    def permutations(z: Floats) -> None:
        a, b = of(z), of(np.ascontiguousarray(z[::-1, ::-1]))[::-1, ::-1]
        near = bool(np.all(np.abs(a - b) <= 2 * tolerance(z) * np.maximum(a, b) + tiny))
        _hold(near, "softmax follows a permutation of samples and classes", z, b, a)

    def alone(z: Floats) -> None:
        a = of(z)
        b = np.concatenate([of(z[i : i + 1]) for i in range(len(z))]) if len(z) else a
        near = bool(np.all(np.abs(a - b) <= 2 * tolerance(z) * np.maximum(a, b) + tiny))
        _hold(near, "a sample's probabilities do not depend on the other samples", z, a, b)

    def values(z: Floats) -> None:
        a, exact = of(z), _softmax(z)
        near = bool(np.all(np.abs(a - exact) <= tolerance(z) * exact + tiny))
        _hold(near, "softmax is exp(z_k) / sum_l exp(z_l)", z, a, exact)

    def limits(z: Floats) -> None:
        a, exact = of(z), _softmax(z)
        with np.errstate(invalid="ignore"):
            near = bool(np.all(np.abs(a - exact) <= (z.shape[1] + FEW + 1e4) * eps * exact + tiny))
        _hold(near, "softmax of infinite logits is the limit, shared where the largest are equal", z, a, exact)

    def strangers(z: Floats) -> None:
        odd = np.vstack([z, np.full((1, z.shape[1]), np.nan, kind)])
        a, b = of(z), of(odd)
        near = bool(np.all(np.isnan(b[-1])) and np.array_equal(np.isnan(b[:-1]), np.isnan(a)))
        _hold(near, "a NaN makes its own row NaN and no other", odd, b, np.vstack([a, odd[-1:]]))

    for holds in (shape_and_dtype, input_stays, probabilities, sums, order):
        _search(holds, any_logits, n=max_examples)
    _search(shifts, small, st.sampled_from([-1000, -100, -1, 1, 100, 1000]), n=max_examples)
    for holds in (permutations, alone, values):
        _search(holds, any_logits, n=max_examples)
    if infinities:
        _search(limits, shape.flatmap(lambda size: logits(size, dtype=kind, infinities=True)), n=max_examples)
        _search(strangers, small, n=max_examples)


def check_cross_entropy(
    function: Loss, *, dtype: DTypeLike = np.float64, with_grad: bool = False, max_examples: int = 100
) -> None:
    """Check that a function is the mean cross-entropy of softmax, in the numerically careful sense.

        mean_i log sum_k exp(z_ik - z_iy)

    It is called with logits (n_samples, n_classes) of `dtype`, n_samples at least 1, and class indices (n_samples,),
    int64. Checked: that its input stays as it was, that the loss is finite and not negative, log K where all logits are
    equal, shifts, permutations, and the value; with `with_grad` the gradient as well.

    Parameters
    ----------
    function : callable
        Returns the loss; with `with_grad` the loss and its gradient by the logits, (n_samples, n_classes).
    dtype : float32 or float64
    with_grad : bool
    max_examples : int
        Inputs that are tried for each property; the same in every run.

    Raises
    ------
    AssertionError
        That names the property which does not hold, with a small counterexample.
    """
    kind = validation.float_dtype(dtype)
    eps, tiny = float(np.finfo(kind).eps), float(np.finfo(kind).tiny)

    def of(z: Floats, y: NDArray[np.int64]) -> tuple[float, NDArray[Any]]:
        try:
            found = function(z, y)
        except Exception as error:
            raise AssertionError(f"the loss takes any finite logits, but raised {error!r} for\n{z!r}\n{y!r}") from error
        loss, grad = found if with_grad else (found, np.zeros(z.shape))
        return float(loss), np.asarray(grad)

    def near(z: Floats, loss: float, expected: float) -> bool:
        return bool(abs(loss - expected) <= (z.shape[1] + len(z) + FEW) * eps * (1 + abs(expected)))

    def input_stays(case: Any) -> None:
        z, y = case
        before = z.copy(), y.copy()
        of(z, y)
        same = np.array_equal(before[0], z) and np.array_equal(before[1], y)
        _hold(same, "the loss leaves its input as it was", before, (z, y), before)

    def finite(case: Any) -> None:
        loss, _ = of(*case)
        expected = _cross_entropy(*case)
        _hold(
            bool(np.isfinite(loss)), "the loss of finite logits is finite, however large they are", case, loss, expected
        )
        _hold(loss >= 0, "the loss is not negative", case, loss, expected)

    def uniform(case: Any) -> None:
        z, y = np.zeros_like(case[0]), case[1]
        expected = float(np.log(z.shape[1]))
        loss, _ = of(z, y)
        _hold(near(z, loss, expected), "the mean loss of K equal logits is log K", (z, y), loss, expected)

    def shifts(case: Any) -> None:
        z, y = np.asarray(np.rint(np.clip(case[0], -64, 64)), kind), case[1]
        (a, _), (b, _) = of(z, y), of(np.asarray(z + 1000, kind), y)
        same = abs(a - b) <= 2 * (z.shape[1] + len(z) + FEW) * eps * (1 + abs(a))
        _hold(bool(same), "the loss stays the same when 1000 is added to all logits", (z, y), b, a)

    def permutations(case: Any) -> None:
        z, y = case
        (a, _), (b, _) = of(z, y), of(np.ascontiguousarray(z[::-1, ::-1]), z.shape[1] - 1 - y[::-1])
        same = abs(a - b) <= 2 * (z.shape[1] + len(z) + FEW) * eps * (1 + abs(a))
        _hold(bool(same), "the loss does not depend on the order of samples and classes", case, b, a)

    def value(case: Any) -> None:
        loss, _ = of(*case)
        expected = _cross_entropy(*case)
        _hold(near(case[0], loss, expected), "the loss is the mean of log sum_k exp(z_k - z_y)", case, loss, expected)

    def gradient(case: Any) -> None:
        z, y = case
        _, grad = of(z, y)
        _hold(grad.shape == z.shape, "the gradient has the shape of the logits", case, grad.shape, z.shape)
        total = grad.sum(axis=1, dtype=np.longdouble)
        _hold(bool(np.all(np.abs(total) <= (z.shape[1] + FEW) * eps)), "a sample's gradient sums to 0", case, total, 0)
        exact = (_softmax(z) - (np.arange(z.shape[1]) == y[:, None])) / len(z)
        fine = bool(np.all(np.abs(grad - exact) <= (z.shape[1] + FEW) * eps + tiny))
        _hold(fine, "the gradient is (softmax - one-hot) / n_samples", case, grad, exact)

    cases = _cases(kind)
    for holds in (input_stays, finite, uniform, shifts, permutations, value):
        _search(holds, cases, n=max_examples)
    if with_grad:
        _search(gradient, cases, n=max_examples)


@st.composite
def _cases(draw: st.DrawFn, dtype: Any) -> tuple[Floats, NDArray[np.int64]]:
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 8)))
    z = draw(logits(shape, dtype=dtype, largest=LARGEST[str(dtype)]))
    y = draw(st.lists(st.integers(0, shape[1] - 1), min_size=shape[0], max_size=shape[0]))
    return z, np.array(y, np.int64)


def _search(holds: Callable[..., None], *inputs: st.SearchStrategy[Any], n: int) -> None:
    """Run a property over inputs, the same ones every time, and shrink what breaks it."""
    quiet = settings(
        max_examples=n,
        deadline=None,
        derandomize=True,
        database=None,
        report_multiple_bugs=False,
        suppress_health_check=list(HealthCheck),
        phases=(Phase.generate, Phase.shrink),
    )

    def case(values: Any) -> None:
        holds(*values)

    with np.errstate(all="ignore"):  # what a function under test does on the way is its own affair
        quiet(given(st.tuples(*inputs))(case))()


def _hold(truth: bool, sentence: str, given_: Any, came: Any, expected: Any) -> None:
    if not truth:
        raise AssertionError(
            f"does not hold: {sentence}\nfor      {given_!r}\ncame     {came!r}\nexpected {expected!r}"
        )


def _called(function: Softmax, z: Floats) -> NDArray[Any]:
    try:
        return np.asarray(function(z))
    except Exception as error:
        raise AssertionError(f"softmax takes any logits, but raised {error!r} for\n{z!r}") from error


def _softmax(z: Floats) -> NDArray[Any]:
    """The definition in extended precision, where the platform has it."""
    z = np.asarray(z, np.longdouble)
    c = z.max(axis=1, keepdims=True) if z.size else z
    with np.errstate(all="ignore"):
        e = np.exp(np.where(z == c, np.longdouble(0), z - c))
        return np.asarray(e / e.sum(axis=1, keepdims=True))


def _cross_entropy(z: Floats, y: NDArray[np.int64]) -> float:
    wide = np.asarray(z, np.longdouble)
    c = wide.max(axis=1, keepdims=True)
    own = np.take_along_axis(wide, y[:, None], axis=1)
    return float(np.mean(np.log(np.exp(wide - c).sum(axis=1)) + (c - own)[:, 0]))
