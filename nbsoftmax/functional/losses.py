"""Cross-entropy of logits, and its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.backends import long_rows
from nbsoftmax.backends.targets import kernel_target
from nbsoftmax.functional.chunks import n_chunks
from nbsoftmax.functional.logits import finish, result_rows
from nbsoftmax.functional.reduction import (
    REDUCTIONS,
    AxisGradOptions,
    AxisOptions,
    LossOptions,
    Reduced,
    Reduction,
    divisor_of,
    loss_options,
    narrowed,
    within_range,
)
from nbsoftmax.kernels import rows
from nbsoftmax.kernels.delayed_stores import past_caches
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Floats


@overload
def cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[AxisOptions]
) -> float: ...
@overload
def cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[AxisOptions]
) -> Floats: ...
@overload
def cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[AxisOptions]
) -> float | Floats: ...
def cross_entropy(
    logits: ArrayLike,
    y: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Any:
    """Cross-entropy of logits against class indices or probabilities of the classes.

        L_i = -s_i sum_k w_k q_ik log softmax(z_i)_k,    q = (1 - e) y + e / n_classes

    with the sample weights s, the class weights w, the label smoothing e, and the target probabilities y (for a class
    index, 1 for this class). These are the definitions of `torch.nn.functional.cross_entropy`.

    It can also be called in functions that Numba compiles: see "Use from Numba code" in the documentation.

    Parameters
    ----------
    logits : array_like, (n_samples, n_classes), (n_classes,), or any shape of at least one dimension
    y : array_like
        Class indices 0..n_classes-1, integers: the shape of the logits without the axis of the classes, (n_samples,)
        or one number. Or probabilities: the shape of the logits.
    axis : int
        Axis of the classes; by default the last one. PyTorch's logits (n_samples, n_classes, d1, ...) have it at 1.
    sample_weight : array_like, the shape of class indices, optional
    class_weight : array_like (n_classes,) or dict of class index to weight, optional
    label_smoothing : float in [0, 1]
    ignore_index : int, optional
        A value of `y` that marks samples without a target; their loss is 0. For class indices only. (The default of
        PyTorch is -100.)
    reduction : {"mean", "sum", "none"}
        "mean" divides the sum of the losses by sum_i s_i w_{y_i} over the samples not ignored, or, for
        probabilities, by sum_i s_i.

    Returns
    -------
    loss : float; for "none" ndarray of the logits' dtype, the shape of class indices

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, labels out of range, weights that are negative or not finite, rows that are not
        probability distributions; and for a mean if there is no sample of positive weight, as in an empty batch (where
        PyTorch gives NaN): "sum" gives 0 then.
    """
    options = loss_options(sample_weight, class_weight, label_smoothing, ignore_index)
    return _cross_entropy(logits, y, axis, options, reduction, want_grad=False, out=None)[0]


@overload
def cross_entropy_and_grad(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[AxisGradOptions]
) -> tuple[float, Floats]: ...
@overload
def cross_entropy_and_grad(
    logits: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[AxisGradOptions]
) -> tuple[Floats, Floats]: ...
@overload
def cross_entropy_and_grad(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[AxisGradOptions]
) -> tuple[float | Floats, Floats]: ...
def cross_entropy_and_grad(
    logits: ArrayLike,
    y: ArrayLike,
    *,
    axis: int = -1,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    out: Floats | None = None,
) -> tuple[Any, Floats]:
    """`cross_entropy` and its gradient with respect to the logits, in one pass.

        dL_i / dz_ik = s_i (a_ik sum_l w_l q_il - w_k q_ik),    a = softmax(z)

    It can also be called in functions that Numba compiles: see "Use from Numba code" in the documentation.

    Parameters
    ----------
    logits, y, axis, sample_weight, class_weight, label_smoothing, ignore_index, reduction
        As in `cross_entropy`.
    out : ndarray, optional
        Array for the gradient: the shape and dtype of the logits, C-contiguous. It may be `logits` itself.

    Returns
    -------
    loss : float; for "none" ndarray, the shape of class indices
    dlogits : ndarray, the shape of `logits`
        Gradient of the reduced loss; for "none" that of the sum. Its sum over the classes is 0.

    Raises
    ------
    InputValueError, InputTypeError
        As `cross_entropy`, and if `out` has another shape, dtype or layout.
    """
    options = loss_options(sample_weight, class_weight, label_smoothing, ignore_index)
    return _cross_entropy(logits, y, axis, options, reduction, want_grad=True, out=out)


def _cross_entropy(
    logits: ArrayLike,
    y: ArrayLike,
    axis: int,
    options: LossOptions,
    reduction: str,
    *,
    want_grad: bool,
    out: Floats | None,
) -> tuple[Any, Floats]:
    along = validation.logits_along(logits, axis)
    validation.choice("reduction", reduction, REDUCTIONS)
    z = along.rows()
    y = validation.target_rows(y, along)
    options["sample_weight"] = validation.weight_rows(options["sample_weight"], along)
    result = own = z[:0]
    if want_grad:
        result, own = result_rows(along, z, out, {"y": y, "sample_weight": options["sample_weight"]})
    loss = _of_rows(z, y, options, reduction, own)
    if want_grad:
        result = finish(along, result, own)
    if reduction == "none":
        loss = loss.reshape(along.rows_shape)[()]
    return loss, result


def _of_rows(z: Floats, y: ArrayLike, options: LossOptions, reduction: str, grad: Floats) -> Any:
    """Loss of rows of logits, (n_rows, n_classes); gradient to `grad`, which may be `z`, unless it is empty."""
    n_samples, n_classes = z.shape
    target = validation.weighted_targets(y, n_samples, n_classes, z.dtype, mean=reduction == "mean", **options)
    divisor = divisor_of(reduction, target.total)
    losses = np.empty(n_samples if reduction == "none" else 0, z.dtype)
    if not within_range(z.dtype, divisor, target.weight, target.gain, target.floor):
        exact = np.empty(grad.shape)
        return narrowed(_of_rows(z.astype(np.float64), y, options, reduction, exact), exact, losses, grad)
    after = kernel_target(target), 1.0 / divisor, losses, grad.size > 0, grad.reshape(-1)
    total = 0.0
    if long_rows.few_and_long(z):
        total = long_rows.cross_entropy(z.reshape(-1), n_classes, *after)
    elif n_samples:
        partial = np.zeros(n_chunks(z.size))
        work = z.size * EXP_WORK
        past = n_classes <= rows.MOST_CLASSES_WITH_GRADIENT and past_caches(z, grad)
        kernel = rows.cross_entropy_past_caches if past else rows.cross_entropy
        launch(kernel, partial.size, work, None, z.reshape(-1), n_classes, n_samples, *after, partial)
        total = float(pairwise_sum(partial))
    return losses if reduction == "none" else total / divisor
