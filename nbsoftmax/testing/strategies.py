"""Hypothesis strategies for logits, targets, weights and whole problems.

Sizes are small, so that counterexamples are readable. Values are extreme: magnitudes reach the largest finite number,
and ties are frequent. This module only generates inputs; expected results come from elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import DTypeLike, NDArray

from nbsoftmax.validation import Float64s, Floats

# From nearly equal logits, through those whose exp underflows (about -700 in float64), to the largest numbers.
_SCALES = (1e-3, 1.0, 30.0, 1e3, 1e6, 1e30, 3.4e38, 1e150, 1e308)


@st.composite
def logits(
    draw: st.DrawFn,
    shape: tuple[int, int] | None = None,
    *,
    dtype: DTypeLike = np.float64,
    largest: float | None = None,
    infinities: bool = False,
) -> Floats:
    """Draw logits with ties and with magnitudes from 1e-3 to the largest finite number.

    Parameters
    ----------
    shape : (n_samples, n_classes), optional
        By default 0 to 5 rows of 1 to 12 classes.
    dtype : float32 or float64
    largest : float, optional
        Bound on the magnitude of finite logits.
    infinities : bool
        Whether some logits may be -inf or +inf.

    Returns
    -------
    logits : ndarray of `shape` and `dtype`, C-contiguous
    """
    if shape is None:
        shape = draw(st.tuples(st.integers(0, 5), st.integers(1, 12)))
    limit = min(float(np.finfo(dtype).max), np.inf if largest is None else largest)
    scale = draw(st.sampled_from([s for s in _SCALES if s < limit] + [limit]))
    unit = st.floats(-1, 1) | st.integers(-4, 4).map(lambda n: n / 4)  # the second kind makes ties
    if infinities:
        unit |= st.sampled_from([-np.inf, np.inf])
    units: Float64s = draw(hnp.arrays(np.float64, shape, elements=unit))
    return np.asarray(units * scale, dtype)


def class_labels(n_samples: int, n_classes: int) -> st.SearchStrategy[NDArray[np.int64]]:
    """Class indices: int64 (n_samples,) in 0..n_classes-1; classes may be absent."""
    return hnp.arrays(np.int64, (n_samples,), elements=st.integers(0, n_classes - 1))


@st.composite
def target_proba(draw: st.DrawFn, n_samples: int, n_classes: int, *, dtype: DTypeLike = np.float64) -> Floats:
    """Draw rows of probabilities, (n_samples, n_classes), some of them 0; each row sums to 1 up to rounding."""
    parts: NDArray[np.int64] = draw(hnp.arrays(np.int64, (n_samples, n_classes), elements=st.integers(0, 8)))
    parts[parts.sum(axis=1) == 0, 0] = 1
    return np.asarray(parts / parts.sum(axis=1, keepdims=True), dtype)


@st.composite
def weights(draw: st.DrawFn, n: int, *, zeros: bool = True) -> Float64s:
    """Draw weights, float64 (n,), from 2^-10 to 2^10; with `zeros` some, but not all, may be 0."""
    unit = st.floats(-10, 10).map(lambda e: 2.0**e)
    w: Float64s = draw(hnp.arrays(np.float64, (n,), elements=unit | st.just(0.0) if zeros else unit))
    if n and not w.any():
        w[draw(st.integers(0, n - 1))] = 1.0
    return w


@dataclass(frozen=True, eq=False)
class Problem:
    """Data of a softmax regression.

    X : (n_samples, n_features), finite
    y : class indices (n_samples,), or probabilities (n_samples, n_classes)
    n_classes : at least 2; classes may be absent
    sample_weight : float64 (n_samples,), or None
    """

    X: Floats
    y: NDArray[Any]
    n_classes: int
    sample_weight: Float64s | None


@st.composite
def problems(
    draw: st.DrawFn, *, dtype: DTypeLike = np.float64, soft: bool | None = None, weighted: bool | None = None
) -> Problem:
    """Draw whole problems: up to 20 samples of up to 6 features in 2 to 5 classes.

    Parameters
    ----------
    dtype : float32 or float64
        Of X and of target probabilities. Features lie between -8 and 8.
    soft : bool, optional
        Whether targets are probabilities; by default either.
    weighted : bool, optional
        Whether there are sample weights; by default either.

    Returns
    -------
    problem : Problem
    """
    n_samples, n_features, n_classes = draw(st.integers(1, 20)), draw(st.integers(1, 6)), draw(st.integers(2, 5))
    X = draw(logits((n_samples, n_features), dtype=dtype, largest=8.0))
    soft = draw(st.booleans()) if soft is None else soft
    y = draw(target_proba(n_samples, n_classes, dtype=dtype) if soft else class_labels(n_samples, n_classes))
    weighted = draw(st.booleans()) if weighted is None else weighted
    weight = draw(weights(n_samples)) if weighted else None
    return Problem(X, y, n_classes, weight)
