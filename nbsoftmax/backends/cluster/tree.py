"""Sums by a binary tree over the parts, and the sizes by which it is decided who adds."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax.backends.sum import Call


def added_by_tree(results: list[Any]) -> Any:
    """The sum of numbers, arrays or tuples of these, which are not changed, by a binary tree over their indices.

    If groups of 2^n results are added by it first, and then their sums, the bits are the same.
    """
    while len(results) > 1:
        pairs = [_plus(a, b) for a, b in zip(results[::2], results[1::2], strict=False)]
        results = pairs + results[2 * len(pairs) :]
    return results[0]


def _plus(a: Any, b: Any) -> Any:
    return tuple(map(_plus, a, b)) if isinstance(a, tuple) else a + b


def writeable(result: Any) -> Any:
    """The same result, in arrays that the caller may change."""
    if isinstance(result, tuple):
        return tuple(map(writeable, result))
    return result.copy() if isinstance(result, np.ndarray) and not result.flags.writeable else result


def call_size(call: Call) -> int:
    """How many numbers the arrays in the arguments of a call have."""
    return sum(a.size for _, args, _ in call.steps for a in args if isinstance(a, np.ndarray))


def result_size(call: Call, shape: tuple[int, int]) -> int:
    """How many numbers the result of a call has, for parameters of this shape."""
    n_classes, n = shape
    for method, args, _ in call.steps:
        n = args[0].size + 1 if method == "with_features" else n
    numbers = {"loss": 1, "gram": n * n, "class_grams": n_classes * n * n, "hessian": (n_classes * n) ** 2}
    return numbers.get(call.steps[-1][0], n_classes * n)
