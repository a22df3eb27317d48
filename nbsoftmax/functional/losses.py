"""Cross-entropy of rows of logits, and its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.backends import long_rows
from nbsoftmax.functional.chunks import n_chunks
from nbsoftmax.functional.logits import result_array
from nbsoftmax.functional.reduction import (
    REDUCTIONS,
    GradOptions,
    LossOptions,
    Reduced,
    Reduction,
    divisor_of,
    narrowed,
    within_range,
)
from nbsoftmax.kernels import rows
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Floats


@overload
def cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[LossOptions]
) -> float: ...
@overload
def cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[LossOptions]
) -> Floats: ...
@overload
def cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[LossOptions]
) -> float | Floats: ...
def cross_entropy(
    logits: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Any:
    """Cross-entropy of logits against class indices or rows of probabilities.

        L_i = -s_i sum_k w_k q_ik log softmax(z_i)_k,    q = (1 - e) y + e / n_classes

    with the sample weights s, the class weights w, the label smoothing e, and the target probabilities y (for a class
    index, 1 for this class). These are the definitions of `torch.nn.functional.cross_entropy`.

    Parameters
    ----------
    logits : array_like, (n_samples, n_classes) or (n_classes,)
    y : array_like
        Class indices, integers (n_samples,) in 0..n_classes-1; or probabilities, (n_samples, n_classes).
    sample_weight : array_like (n_samples,), optional
    class_weight : array_like (n_classes,) or dict of class index to weight, optional
    label_smoothing : float in [0, 1]
    ignore_index : int, optional
        A value of `y` that marks samples without a target; their loss is 0. For class indices only.
    reduction : {"mean", "sum", "none"}
        "mean" divides the sum of the losses by sum_i s_i w_{y_i} over the samples not ignored, or, for
        probabilities, by sum_i s_i.

    Returns
    -------
    loss : float; for "none" ndarray (n_samples,) of the logits' dtype

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, labels out of range, weights that are negative or not finite, rows that are not
        probability distributions; and for a mean if there is no sample of positive weight.
    """
    return _cross_entropy(
        logits, y, sample_weight, class_weight, label_smoothing, ignore_index, reduction, want_grad=False, out=None
    )[0]


@overload
def cross_entropy_and_grad(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[GradOptions]
) -> tuple[float, Floats]: ...
@overload
def cross_entropy_and_grad(
    logits: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[GradOptions]
) -> tuple[Floats, Floats]: ...
@overload
def cross_entropy_and_grad(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[GradOptions]
) -> tuple[float | Floats, Floats]: ...
def cross_entropy_and_grad(
    logits: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    out: Floats | None = None,
) -> tuple[Any, Floats]:
    """`cross_entropy` and its gradient with respect to the logits, in one pass.

        dL_i / dz_ik = s_i (a_ik sum_l w_l q_il - w_k q_ik),    a = softmax(z)

    Parameters
    ----------
    logits, y, sample_weight, class_weight, label_smoothing, ignore_index, reduction
        As in `cross_entropy`.
    out : ndarray, optional
        Array for the gradient: the shape and dtype of the logits. It may be `logits` itself.

    Returns
    -------
    loss : float; for "none" ndarray (n_samples,)
    dlogits : ndarray, the shape of `logits`
        Gradient of the reduced loss; for "none" that of the sum. Each row sums to 0.
    """
    return _cross_entropy(
        logits, y, sample_weight, class_weight, label_smoothing, ignore_index, reduction, want_grad=True, out=out
    )


def _cross_entropy(
    logits: ArrayLike,
    y: ArrayLike,
    sample_weight: ArrayLike | None,
    class_weight: Mapping[int, float] | ArrayLike | None,
    label_smoothing: float,
    ignore_index: int | None,
    reduction: str,
    *,
    want_grad: bool,
    out: Floats | None,
) -> tuple[Any, Floats]:
    z, flat = validation.logits(logits)
    n_samples, n_classes = z.shape
    validation.choice("reduction", reduction, REDUCTIONS)
    weights = sample_weight, class_weight, label_smoothing, ignore_index, reduction
    target = validation.weighted_targets(
        y,
        n_samples,
        n_classes,
        z.dtype,
        sample_weight=sample_weight,
        class_weight=class_weight,
        label_smoothing=label_smoothing,
        ignore_index=ignore_index,
        mean=reduction == "mean",
    )
    divisor = divisor_of(reduction, target.total)
    grad = result_array(z, out, flat) if want_grad else np.empty((0, 0), z.dtype)
    losses = np.empty(n_samples if reduction == "none" else 0, z.dtype)
    loss: Any
    if not within_range(z.dtype, divisor, target.weight, target.gain, target.floor):
        loss, exact = _cross_entropy(z.astype(np.float64), y, *weights, want_grad=want_grad, out=None)
        loss = narrowed(loss, exact, losses, grad)
    else:
        targets = rows.Target(
            target.labels, target.proba.reshape(-1), target.gain, target.floor, target.weight, target.kind
        )
        after = targets, 1.0 / divisor, losses, want_grad, grad.reshape(-1)
        total = 0.0
        if long_rows.few_and_long(z):
            total = long_rows.cross_entropy(z.reshape(-1), n_classes, *after)
        elif n_samples:
            partial = np.zeros(n_chunks(z.size))
            work = z.size * EXP_WORK
            launch(rows.cross_entropy, partial.size, work, None, z.reshape(-1), n_classes, n_samples, *after, partial)
            total = float(pairwise_sum(partial))
        loss = losses if reduction == "none" else total / divisor
    if flat:
        return (loss[0] if reduction == "none" else loss), grad[0] if want_grad else grad
    return loss, grad
