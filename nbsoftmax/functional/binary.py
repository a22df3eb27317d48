"""Sigmoid, and the binary cross-entropy with its gradient."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.functional.chunks import n_chunks
from nbsoftmax.functional.reduction import (
    REDUCTIONS,
    BinaryGradOptions,
    BinaryOptions,
    LossOptions,
    Reduced,
    Reduction,
    divisor_of,
    loss_options,
    narrowed,
    within_range,
)
from nbsoftmax.kernels import binary
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.sums import pairwise_sum
from nbsoftmax.validation import Floats


def sigmoid(z: ArrayLike) -> Floats:
    """Logistic function, element by element.

        sigmoid(z) = 1 / (1 + exp(-z))

    It can also be called in functions that Numba compiles: see "Use from Numba code" in the documentation.

    Parameters
    ----------
    z : array_like of any shape

    Returns
    -------
    proba : ndarray, the shape of `z`, float32 or float64

    Raises
    ------
    InputValueError, InputTypeError
        If `z` is not an array of real numbers.
    """
    return _sigmoid(z, binary.SIGMOID)


def log_sigmoid(z: ArrayLike) -> Floats:
    """Logarithm of the logistic function, element by element.

        log sigmoid(z) = min(z, 0) - log(1 + exp(-|z|))

    It can also be called in functions that Numba compiles: see "Use from Numba code" in the documentation.

    Parameters
    ----------
    z : array_like of any shape

    Returns
    -------
    log_proba : ndarray, the shape of `z`, float32 or float64

    Raises
    ------
    InputValueError, InputTypeError
        If `z` is not an array of real numbers.
    """
    return _sigmoid(z, binary.LOG_SIGMOID)


def _sigmoid(z: ArrayLike, kind: int) -> Floats:
    x = validation.writeable_view(np.asarray(validation.as_floats("z", z), order="C"))
    out = np.empty_like(x)
    if x.size:
        n = n_chunks(x.size)
        launch(binary.sigmoid, n, x.size * EXP_WORK, None, x.reshape(-1), out.reshape(-1), n, kind)
    return out


@overload
def binary_cross_entropy(
    z: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[BinaryOptions]
) -> float: ...
@overload
def binary_cross_entropy(
    z: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[BinaryOptions]
) -> Floats: ...
@overload
def binary_cross_entropy(
    z: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[BinaryOptions]
) -> float | Floats: ...
def binary_cross_entropy(
    z: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Any:
    """Cross-entropy with one logit for each sample: equals `cross_entropy` of the two logits (0, z).

        L_i = -s_i (w_1 p_i q_i log sigmoid(z_i) + w_0 (1 - q_i) log sigmoid(-z_i)),    q = (1 - e) y + e / 2

    with the sample weights s, the class weights w, the weights p of the positive class, and the label smoothing e.
    Each element of `z` is a sample; with several labels for each row, `z` is (n_rows, n_labels).

    Parameters
    ----------
    z : array_like of any shape
        Logits of class 1.
    y : array_like, the shape of `z`
        Classes 0 and 1 (integers or booleans), or probabilities of class 1 (floats).
    sample_weight : array_like, the shape of `z`, optional
    class_weight : array_like (2,) or dict, optional
    pos_weight : array_like, optional
        Finite, at least 0, of a shape that is broadcast to that of `z`; for example (n_labels,), one weight for each
        column. As in `torch.nn.functional.binary_cross_entropy_with_logits`, the divisor of a mean does not contain it.
    label_smoothing : float in [0, 1]
    ignore_index : int, optional
        A value of integer `y` that marks samples without a target.
    reduction : {"mean", "sum", "none"}
        The divisor of the mean is that of `cross_entropy`: the sum of the sample weights, each times the weight of its
        class for integer `y`. (PyTorch divides by the number of elements, also if these have weights.)

    Returns
    -------
    loss : float; for "none" ndarray of the shape of `z`

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, targets outside 0 to 1, weights that are negative or not finite; and for a mean if
        there is no sample of positive weight.
    """
    options = loss_options(sample_weight, class_weight, label_smoothing, ignore_index)
    return _binary_cross_entropy(z, y, options, pos_weight, reduction, want_grad=False, out=None)[0]


@overload
def binary_cross_entropy_and_grad(
    z: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[BinaryGradOptions]
) -> tuple[float, Floats]: ...
@overload
def binary_cross_entropy_and_grad(
    z: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[BinaryGradOptions]
) -> tuple[Floats, Floats]: ...
@overload
def binary_cross_entropy_and_grad(
    z: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[BinaryGradOptions]
) -> tuple[float | Floats, Floats]: ...
def binary_cross_entropy_and_grad(
    z: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    pos_weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    out: Floats | None = None,
) -> tuple[Any, Floats]:
    """`binary_cross_entropy` and its gradient with respect to the logits, in one pass.

        dL_i / dz_i = s_i (w_0 (1 - q_i) sigmoid(z_i) - w_1 p_i q_i sigmoid(-z_i))

    Parameters
    ----------
    z, y, sample_weight, class_weight, pos_weight, label_smoothing, ignore_index, reduction
        As in `binary_cross_entropy`.
    out : ndarray, optional
        Array for the gradient: the shape and dtype of `z`. It may be `z` itself.

    Returns
    -------
    loss : float; for "none" ndarray of the shape of `z`
    dz : ndarray, the shape of `z`
        Gradient of the reduced loss; for "none" that of the sum.

    Raises
    ------
    InputValueError, InputTypeError
        As `binary_cross_entropy`, and if `out` has another shape or dtype.
    """
    options = loss_options(sample_weight, class_weight, label_smoothing, ignore_index)
    return _binary_cross_entropy(z, y, options, pos_weight, reduction, want_grad=True, out=out)


def _binary_cross_entropy(
    z: ArrayLike,
    y: ArrayLike,
    options: LossOptions,
    pos_weight: ArrayLike | None,
    reduction: str,
    *,
    want_grad: bool,
    out: Floats | None,
) -> tuple[Any, Floats]:
    x = validation.writeable_view(np.asarray(validation.as_floats("z", z), order="C"))
    validation.choice("reduction", reduction, REDUCTIONS)
    smoothing = validation.number("label_smoothing", options["label_smoothing"], low=0.0, high=1.0)
    target = validation.binary_targets(
        y,
        x,
        sample_weight=options["sample_weight"],
        class_weight=options["class_weight"],
        smoothed=smoothing > 0,
        ignore_index=options["ignore_index"],
        mean=reduction == "mean",
    )
    positive = validation.positive_weights(pos_weight, x.shape)
    divisor = divisor_of(reduction, target.total)
    grad = np.empty(0, x.dtype)
    if want_grad:
        grad = np.empty_like(x) if out is None else validation.out(out, x.shape, x.dtype, source=x)
    losses = np.empty(x.size if reduction == "none" else 0, x.dtype)
    if not within_range(x.dtype, divisor, target.weight, target.class_weight, positive):
        total, exact = _binary_cross_entropy(
            x.astype(np.float64), y, options, pos_weight, reduction, want_grad=want_grad, out=None
        )
        total = narrowed(total, exact, losses, grad)
        return (losses.reshape(x.shape) if reduction == "none" else total), grad
    if positive.size:
        positive = np.resize(positive, positive.size + binary.AHEAD // x.itemsize)
    positive = positive.astype(x.dtype)
    partial = np.zeros(n_chunks(x.size))
    if x.size:
        launch(
            binary.binary_cross_entropy,
            partial.size,
            x.size * EXP_WORK * 3,
            None,
            x.reshape(-1),
            target.y,
            target.weight,
            target.class_weight,
            positive,
            smoothing,
            1.0 / divisor,
            losses,
            want_grad,
            grad.reshape(-1),
            partial,
        )
    loss: Any = losses.reshape(x.shape) if reduction == "none" else float(pairwise_sum(partial) / divisor)
    return loss, grad
