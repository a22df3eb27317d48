"""Checks of sample weights and class weights, and their scaling by powers of two."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax.errors import InputTypeError, InputValueError, plain
from nbsoftmax.validation.arrays import Float64s, Floats, as_float64s, writeable_view
from nbsoftmax.validation.frames import by_label
from nbsoftmax.validation.options import number

LARGE_SUM = 1e300


def sample_weights(weight: ArrayLike | None, n_samples: int, *, all_zero: bool = False) -> Float64s:
    """Check weights of samples: float64 (n_samples,), or (0,) for None. `all_zero` allows all to be zero."""
    if weight is None:
        return np.empty(0)
    return _weights("sample_weight", weight, n_samples, "samples", all_zero=all_zero)


def class_weights(
    weight: Mapping[int, float] | ArrayLike | None, n_classes: int, *, all_zero: bool = False
) -> Float64s:
    """Check weights of classes: float64 (n_classes,) from an array or {class index: weight}; (0,) for None."""
    if weight is None:
        return np.empty(0)
    weight = by_label(weight, n_classes)
    if isinstance(weight, Mapping):
        full = np.ones(n_classes)
        for k, value in weight.items():
            if not isinstance(k, (int, np.integer)) or not 0 <= k < n_classes:
                some = f"class indices 0 to {n_classes - 1}"
                raise InputValueError(f"class_weight has the class {plain(k)}, expected {some}.")
            full[int(k)] = number(f"class_weight[{k}]", value, low=0.0)
        weight = full
    if isinstance(weight, str):
        raise InputTypeError(f"class_weight is {plain(weight)}, expected an array of {n_classes} weights or a dict.")
    return _weights("class_weight", weight, n_classes, "classes", all_zero=all_zero)


def _weights(name: str, weight: ArrayLike, n: int, things: str, *, all_zero: bool) -> Float64s:
    w = as_float64s(name, weight)
    if w.shape != (n,):
        raise InputValueError(f"{name} has shape {w.shape}, expected ({n},): one weight for each of the {n} {things}.")
    bad = ~(np.isfinite(w) & (w >= 0))
    if bad.any():
        i = int(np.argmax(bad))
        raise InputValueError.about_rows(f"{name}[", i, f"] is {w[i]}, expected a finite weight of at least 0.")
    if n and not w.any() and not all_zero:
        raise InputValueError(f"{name} is all zero, expected at least one positive weight.")
    return writeable_view(w)


def cast(weight: Float64s, dtype: Any) -> Floats:
    """Weights in a dtype in which they may be infinite, but not 0 unless they are: callers then compute in float64."""
    with np.errstate(over="ignore", under="ignore"):
        found = np.asarray(weight, dtype)
    lost = (found == 0) & (weight > 0)
    return np.where(lost, np.finfo(dtype).smallest_subnormal, found) if lost.any() else found


def scaled(weight: Float64s) -> tuple[Float64s, int]:
    """Divide weights by the power of two with which the largest is in [1, 2); return them and the exponent."""
    largest = float(weight.max(initial=0.0))
    exponent = int(np.frexp(largest)[1]) - 1 if largest > 0 else 0
    return (np.ldexp(weight, -exponent) if exponent else weight), exponent


def summable(weight: Float64s) -> Float64s:
    """The weights, divided by a power of two if their sum is near the end of the range of float64: no share changes."""
    with np.errstate(over="ignore"):
        total = weight.sum()
    return weight if total < LARGE_SUM else scaled(np.minimum(weight, np.finfo(np.float64).max))[0]


def in_units(x: float, exponent: int) -> float:
    """Return x times 2^exponent; infinite if that overflows."""
    if exponent == 0:
        return x
    with np.errstate(over="ignore", under="ignore"):
        return float(np.ldexp(x, exponent))
