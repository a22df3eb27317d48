"""Functions of logits: softmax, log-softmax, log-sum-exp, cross-entropy, sigmoid and binary cross-entropy.

Logits have shape (n_samples, n_classes), or (n_classes,) for one row. C-contiguous float32 and float64 arrays are
not copied, and results have their dtype; anything else is converted once. Each function checks its input, allocates
the results, and calls one kernel of `nbsoftmax.kernels`.

For infinite logits the result is the limit: classes that share an infinite maximum get equal probabilities (so a row
of -inf is uniform). A NaN makes its own row NaN, and no other.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.backends import long_rows
from nbsoftmax.errors import InputValueError
from nbsoftmax.kernels import binary, rows
from nbsoftmax.kernels.chunks import chunks_of_logits
from nbsoftmax.kernels.overloads import callable_from_numba
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.validation import Floats

Reduction = Literal["mean", "sum", "none"]
Reduced = Literal["mean", "sum"]  # reductions to one number
REDUCTIONS = ("mean", "sum", "none")


class _LossOptions(TypedDict, total=False):
    """The keywords that the overloads of the loss functions share."""

    sample_weight: ArrayLike | None
    class_weight: Mapping[int, float] | ArrayLike | None
    label_smoothing: float
    ignore_index: int | None


class _GradOptions(_LossOptions, total=False):
    out: Floats | None


_n_chunks = chunks_of_logits.py_func


def _rowwise(name: str, z: Floats, out: Floats) -> None:
    """Run the row kernel of this name on the rows of `z`, with results to `out`."""
    n_rows, n_classes = z.shape
    if long_rows.few_and_long(z):
        getattr(long_rows, name)(z.reshape(-1), out.reshape(-1), n_classes)
    elif n_rows:
        kernel, n = getattr(rows, name), _n_chunks(z.size)
        launch(kernel, n, z.size * EXP_WORK, None, z.reshape(-1), out.reshape(-1), n_classes, n_rows, n)


def _result(z: Floats, out: Any, flat: bool) -> Floats:
    """The array for the result, (n_samples, n_classes): `out`, which is checked, or a new array."""
    if out is None:
        return np.empty_like(z)
    return validation.out(out, z.shape[1:] if flat else z.shape, z.dtype, source=z).reshape(z.shape)


def softmax(logits: ArrayLike, *, out: Floats | None = None) -> Floats:
    """Probabilities of the classes from logits, row by row.

        softmax(z)_k = exp(z_k - c) / sum_l exp(z_l - c),    c = max_l z_l

    Parameters
    ----------
    logits : array_like, (n_samples, n_classes) or (n_classes,)
    out : ndarray, optional
        Array for the result: the shape and dtype of the logits, C-contiguous. It may be `logits` itself.

    Returns
    -------
    proba : ndarray, the shape of `logits`, float32 or float64

    Raises
    ------
    InputValueError, InputTypeError
        If `logits` is not a 1-D or 2-D array of numbers, or `out` has another shape or dtype.

    Notes
    -----
    The shift by c keeps exp in range: J. Blanchard, D. Higham, N. Higham, "Accurately computing the log-sum-exp and
    softmax functions", IMA J. Numer. Anal. 41 (2021).
    """
    z, flat = validation.logits(logits)
    proba = _result(z, out, flat)
    _rowwise("softmax", z, proba)
    return proba[0] if flat else proba


def log_softmax(logits: ArrayLike, *, out: Floats | None = None) -> Floats:
    """Logarithms of the probabilities of the classes, row by row.

        log_softmax(z)_k = (z_k - c) - log sum_l exp(z_l - c),    c = max_l z_l

    Parameters
    ----------
    logits : array_like, (n_samples, n_classes) or (n_classes,)
    out : ndarray, optional
        As in `softmax`.

    Returns
    -------
    log_proba : ndarray, the shape of `logits`, float32 or float64
    """
    z, flat = validation.logits(logits)
    log_proba = _result(z, out, flat)
    _rowwise("log_softmax", z, log_proba)
    return log_proba[0] if flat else log_proba


def logsumexp(logits: ArrayLike) -> Any:
    """Logarithm of the sum of exponentials of each row.

        logsumexp(z) = c + log sum_k exp(z_k - c),    c = max_k z_k

    Parameters
    ----------
    logits : array_like, (n_samples, n_classes) or (n_classes,)

    Returns
    -------
    lse : ndarray (n_samples,) of the logits' dtype; for one row a scalar
    """
    z, flat = validation.logits(logits)
    lse = np.empty(z.shape[0], z.dtype)
    _rowwise("logsumexp", z, lse)
    return lse[0] if flat else lse


def softmax_jacobian(proba: ArrayLike) -> Floats:
    """Jacobian of softmax with respect to the logits, from the probabilities.

        da_k / dz_l = a_k (1[k = l] - a_l)

    Parameters
    ----------
    proba : array_like, (n_samples, n_classes) or (n_classes,)
        Probabilities, as returned by `softmax`.

    Returns
    -------
    jacobian : ndarray, (n_samples, n_classes, n_classes) or (n_classes, n_classes)
        Symmetric; each row sums to 0.
    """
    a, flat = validation.logits(proba, name="proba")
    jacobian = -a[:, :, None] * a[:, None, :]  # (n_samples, K, K)
    k = np.arange(a.shape[1])
    jacobian[:, k, k] = a * (1 - a)
    return jacobian[0] if flat else jacobian


@overload
def cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[_LossOptions]
) -> float: ...
@overload
def cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[_LossOptions]
) -> Floats: ...
@overload
def cross_entropy(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[_LossOptions]
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
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[_GradOptions]
) -> tuple[float, Floats]: ...
@overload
def cross_entropy_and_grad(
    logits: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[_GradOptions]
) -> tuple[Floats, Floats]: ...
@overload
def cross_entropy_and_grad(
    logits: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[_GradOptions]
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
    divisor = _divisor(reduction, target.total)
    grad = _result(z, out, flat) if want_grad else np.empty((0, 0), z.dtype)
    losses = np.empty(n_samples if reduction == "none" else 0, z.dtype)
    loss: Any
    if not _within_range(z.dtype, divisor, target.weight, target.gain, target.floor):
        loss, exact = _cross_entropy(z.astype(np.float64), y, *weights, want_grad=want_grad, out=None)
        loss = _narrowed(loss, exact, losses, grad)
    else:
        targets = rows.Target(
            target.labels, target.proba.reshape(-1), target.gain, target.floor, target.weight, target.kind
        )
        after = targets, 1.0 / divisor, losses, want_grad, grad.reshape(-1)
        total = 0.0
        if long_rows.few_and_long(z):
            total = long_rows.cross_entropy(z.reshape(-1), n_classes, *after)
        elif n_samples:
            partial = np.zeros(_n_chunks(z.size))
            work = z.size * EXP_WORK
            launch(rows.cross_entropy, partial.size, work, None, z.reshape(-1), n_classes, n_samples, *after, partial)
            total = float(partial.sum())
        loss = losses if reduction == "none" else total / divisor
    if flat:
        return (loss[0] if reduction == "none" else loss), grad[0] if want_grad else grad
    return loss, grad


def _divisor(reduction: str, total: float) -> float:
    if reduction != "mean":
        return 1.0
    if total == 0:
        raise InputValueError(
            "the mean is undefined: there are no samples, or all are ignored or have weight 0; "
            'use reduction="sum", which returns 0, or skip such batches.'
        )
    return total


def _within_range(dtype: np.dtype[Any], divisor: float, weight: Floats, *by_class: Floats) -> bool:
    """Whether products with the weights can neither overflow nor underflow in the dtype; always true for float64."""
    if dtype == np.float64:
        return True
    factors = [w / divisor for w in (weight if weight.size else np.ones(1),)] + list(by_class)
    return all(bool(((w == 0) | ((w > 2.0**-100) & (w < 2.0**100))).all()) for w in factors)


def _narrowed(loss: Any, exact: Floats, losses: Floats, grad: Floats) -> Any:
    """Convert float64 results to the float32 arrays `losses` and `grad`, where they may overflow; return the loss."""
    with np.errstate(over="ignore", under="ignore"):
        if grad.size:
            grad[...] = exact.reshape(grad.shape)
        if losses.size:
            losses[...] = np.ravel(loss)
    return losses if losses.size else loss


def sigmoid(z: ArrayLike) -> Floats:
    """Logistic function, element by element.

        sigmoid(z) = 1 / (1 + exp(-z))

    Parameters
    ----------
    z : array_like of any shape

    Returns
    -------
    proba : ndarray, the shape of `z`, float32 or float64
    """
    return _sigmoid(z, binary.SIGMOID)


def log_sigmoid(z: ArrayLike) -> Floats:
    """Logarithm of the logistic function, element by element.

        log sigmoid(z) = min(z, 0) - log(1 + exp(-|z|))

    Parameters
    ----------
    z : array_like of any shape

    Returns
    -------
    log_proba : ndarray, the shape of `z`, float32 or float64
    """
    return _sigmoid(z, binary.LOG_SIGMOID)


def _sigmoid(z: ArrayLike, kind: int) -> Floats:
    x = validation.writeable_view(np.asarray(validation.as_floats("z", z), order="C"))
    out = np.empty_like(x)
    if x.size:
        launch(
            binary.sigmoid,
            _n_chunks(x.size),
            x.size * EXP_WORK,
            None,
            x.reshape(-1),
            out.reshape(-1),
            _n_chunks(x.size),
            kind,
        )
    return out


@overload
def binary_cross_entropy(
    z: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[_LossOptions]
) -> float: ...
@overload
def binary_cross_entropy(
    z: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[_LossOptions]
) -> Floats: ...
@overload
def binary_cross_entropy(
    z: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[_LossOptions]
) -> float | Floats: ...
def binary_cross_entropy(
    z: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
) -> Any:
    """Cross-entropy with one logit for each sample: equals `cross_entropy` of the two logits (0, z).

        L_i = -s_i (w_1 q_i log sigmoid(z_i) + w_0 (1 - q_i) log sigmoid(-z_i)),    q = (1 - e) y + e / 2

    Parameters
    ----------
    z : array_like of any shape
        Logits of class 1.
    y : array_like, the shape of `z`
        Classes 0 and 1 (integers or booleans), or probabilities of class 1 (floats).
    sample_weight : array_like, the shape of `z`, optional
    class_weight : array_like (2,) or dict, optional
    label_smoothing : float in [0, 1]
    ignore_index : int, optional
        A value of integer `y` that marks samples without a target.
    reduction : {"mean", "sum", "none"}
        The divisor of the mean is that of `cross_entropy`.

    Returns
    -------
    loss : float; for "none" ndarray of the shape of `z`
    """
    return _binary_cross_entropy(
        z, y, sample_weight, class_weight, label_smoothing, ignore_index, reduction, want_grad=False, out=None
    )[0]


@overload
def binary_cross_entropy_and_grad(
    z: ArrayLike, y: ArrayLike, *, reduction: Reduced = "mean", **options: Unpack[_GradOptions]
) -> tuple[float, Floats]: ...
@overload
def binary_cross_entropy_and_grad(
    z: ArrayLike, y: ArrayLike, *, reduction: Literal["none"], **options: Unpack[_GradOptions]
) -> tuple[Floats, Floats]: ...
@overload
def binary_cross_entropy_and_grad(
    z: ArrayLike, y: ArrayLike, *, reduction: Reduction, **options: Unpack[_GradOptions]
) -> tuple[float | Floats, Floats]: ...
def binary_cross_entropy_and_grad(
    z: ArrayLike,
    y: ArrayLike,
    *,
    sample_weight: ArrayLike | None = None,
    class_weight: Mapping[int, float] | ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int | None = None,
    reduction: Reduction = "mean",
    out: Floats | None = None,
) -> tuple[Any, Floats]:
    """`binary_cross_entropy` and its gradient with respect to the logits, in one pass.

        dL_i / dz_i = s_i (w_0 (1 - q_i) sigmoid(z_i) - w_1 q_i sigmoid(-z_i))

    Parameters
    ----------
    z, y, sample_weight, class_weight, label_smoothing, ignore_index, reduction
        As in `binary_cross_entropy`.
    out : ndarray, optional
        Array for the gradient: the shape and dtype of `z`. It may be `z` itself.

    Returns
    -------
    loss : float; for "none" ndarray of the shape of `z`
    dz : ndarray, the shape of `z`
        Gradient of the reduced loss; for "none" that of the sum.
    """
    return _binary_cross_entropy(
        z, y, sample_weight, class_weight, label_smoothing, ignore_index, reduction, want_grad=True, out=out
    )


def _binary_cross_entropy(
    z: ArrayLike,
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
    x = validation.writeable_view(np.asarray(validation.as_floats("z", z), order="C"))
    validation.choice("reduction", reduction, REDUCTIONS)
    smoothing = validation.number("label_smoothing", label_smoothing, low=0.0, high=1.0)
    weights = sample_weight, class_weight, label_smoothing, ignore_index, reduction
    target = validation.binary_targets(
        y,
        x,
        sample_weight=sample_weight,
        class_weight=class_weight,
        smoothed=smoothing > 0,
        ignore_index=ignore_index,
        mean=reduction == "mean",
    )
    divisor = _divisor(reduction, target.total)
    grad = np.empty(0, x.dtype)
    if want_grad:
        grad = np.empty_like(x) if out is None else validation.out(out, x.shape, x.dtype, source=x)
    losses = np.empty(x.size if reduction == "none" else 0, x.dtype)
    if not _within_range(x.dtype, divisor, target.weight, target.class_weight):
        total, exact = _binary_cross_entropy(x.astype(np.float64), y, *weights, want_grad=want_grad, out=None)
        total = _narrowed(total, exact, losses, grad)
        return (losses.reshape(x.shape) if reduction == "none" else total), grad
    partial = np.zeros(_n_chunks(x.size))
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
            smoothing,
            1.0 / divisor,
            losses,
            want_grad,
            grad.reshape(-1),
            partial,
        )
    loss: Any = losses.reshape(x.shape) if reduction == "none" else float(partial.sum() / divisor)
    return loss, grad


callable_from_numba("logits", softmax, log_softmax, logsumexp, cross_entropy, cross_entropy_and_grad)
callable_from_numba("sigmoids", sigmoid, log_sigmoid)
