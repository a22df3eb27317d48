"""Searching for inputs that violate a property, and reporting them.

A property is a function that calls `check` with a sentence. Hypothesis searches for an input that violates it, and
makes that input as small as it can. A tolerance is what careful code in the same dtype reaches: K eps for a sum of K
terms, a few eps for exp, log and a division, and |z - max z| eps, since the rounding error of that difference becomes a
relative error of its exp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

FEW = 8  # eps: the rounding errors of exp, log, a division and a subtraction together


def search(holds: Callable[..., None], *inputs: st.SearchStrategy[Any], n: int) -> None:
    """Run a property on n inputs, the same ones in every run, and shrink an input that violates it."""
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

    with np.errstate(all="ignore"):  # the function under test may overflow in between
        quiet(given(st.tuples(*inputs))(case))()


def check(truth: Any, sentence: str, tested: Any, result: Any, expected: Any) -> None:
    """Raise an AssertionError with the sentence, the input, its result and what was expected, if `truth` is false."""
    if not truth:
        raise AssertionError(
            f"property violated: {sentence}\ninput    {tested!r}\nresult   {result!r}\nexpected {expected!r}"
        )
