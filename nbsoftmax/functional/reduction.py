"""Reduction of the losses of samples to one number: options, divisor, and float32 results beyond its range."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax.errors import InputValueError
from nbsoftmax.validation import Floats

Reduction = Literal["mean", "sum", "none"]
Reduced = Literal["mean", "sum"]  # reductions to one number
REDUCTIONS = ("mean", "sum", "none")


class LossOptions(TypedDict, total=False):
    """The keywords that all loss functions share."""

    sample_weight: ArrayLike | None
    class_weight: Mapping[int, float] | ArrayLike | None
    label_smoothing: float
    ignore_index: int | None


class AxisOptions(LossOptions, total=False):
    """The keywords of the overloads of `cross_entropy`."""

    axis: int


class AxisGradOptions(AxisOptions, total=False):
    """The keywords of the overloads of `cross_entropy_and_grad`."""

    out: Floats | None


class BinaryOptions(LossOptions, total=False):
    """The keywords of the overloads of `binary_cross_entropy`."""

    pos_weight: ArrayLike | None


class BinaryGradOptions(BinaryOptions, total=False):
    """The keywords of the overloads of `binary_cross_entropy_and_grad`."""

    out: Floats | None


def loss_options(
    sample_weight: ArrayLike | None,
    class_weight: Mapping[int, float] | ArrayLike | None,
    label_smoothing: float,
    ignore_index: int | None,
) -> LossOptions:
    """The options that `validation.weighted_targets` checks."""
    return {
        "sample_weight": sample_weight,
        "class_weight": class_weight,
        "label_smoothing": label_smoothing,
        "ignore_index": ignore_index,
    }


def divisor_of(reduction: str, total: float) -> float:
    """The divisor of a reduction: for a mean the total weight `total`, else 1."""
    if reduction != "mean":
        return 1.0
    if total == 0:
        raise InputValueError(
            "the mean is undefined: there are no samples, or all are ignored or have weight 0; "
            'use reduction="sum", which returns 0, or skip such batches.'
        )
    return total


def within_range(dtype: np.dtype[Any], divisor: float, weight: Floats, *by_class: Floats) -> bool:
    """Whether products with the weights can neither overflow nor underflow in the dtype; always true for float64."""
    if dtype == np.float64:
        return True
    factors = [w / divisor for w in (weight if weight.size else np.ones(1),)] + list(by_class)
    return all(bool(((w == 0) | ((w > 2.0**-100) & (w < 2.0**100))).all()) for w in factors)


def narrowed(loss: Any, exact: Floats, losses: Floats, grad: Floats) -> Any:
    """Convert float64 results to the float32 arrays `losses` and `grad`, where they may overflow; return the loss."""
    with np.errstate(over="ignore", under="ignore"):
        if grad.size:
            grad[...] = exact.reshape(grad.shape)
        if losses.size:
            losses[...] = np.ravel(loss)
    return losses if losses.size else loss
