"""Softmax, log-softmax and log-sum-exp of logits along some axes, and the Jacobian of softmax."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.backends import long_rows
from nbsoftmax.errors import InputValueError
from nbsoftmax.functional.chunks import n_chunks
from nbsoftmax.functional.signed_sum import log_of_signed_sum
from nbsoftmax.kernels import columns, rows
from nbsoftmax.kernels.delayed_stores import past_caches
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.validation import Along, Floats
from nbsoftmax.validation.arrays import NOTHING

NEAR_1 = 0.9  # a probability whose difference from 1 is computed as the sum of the others

Axes = int | tuple[int, ...] | None


def _by_rows(name: str, z: Floats, out: Floats) -> None:
    """Run the row kernel of this name on the rows of `z`, (n_rows, n_classes), with results to `out`."""
    n_rows, n_classes = z.shape
    if long_rows.few_and_long(z):
        getattr(long_rows, name)(z.reshape(-1), out.reshape(-1), n_classes)
    elif n_rows:
        kernel, n = getattr(rows, name), n_chunks(z.size)
        how = () if kernel is rows.logsumexp else (past_caches(z, out),)
        launch(kernel, n, z.size * EXP_WORK, None, z.reshape(-1), out.reshape(-1), n_classes, n_rows, n, *how)


def _by_columns(name: str, z: Floats, along: Along, out: Floats) -> None:
    """Run the column kernel of this name on `z`, the logits in C order, with results to `out`."""
    kernel, n = getattr(columns, name), n_chunks(z.size)
    launch(kernel, n, z.size * EXP_WORK, None, z.reshape(-1), out.reshape(-1), along.n_classes, along.n_inner, n)


def _columns(along: Along) -> Floats | None:
    """The logits in C order if the column kernels are to read them, for an axis that is not the last; else None.

    They do if the logits of one class have at least a cache line side by side.
    """
    if along.last or along.n_inner * along.array.itemsize < columns.LEAST_BYTES or not along.n_rows:
        return None
    if along.to_end(along.array).flags.c_contiguous:  # then their rows are contiguous
        return None
    return validation.writeable_view(np.ascontiguousarray(along.array))


def result_array(along: Along, z: Floats, out: Any, apart: Mapping[str, Any] = NOTHING) -> Floats:
    """The array for a result of the shape of the logits: `out`, which is checked, or a new array.

    `z` is the array that the kernel reads, and so are those in `apart`, by name, which the result must not overlap.
    """
    shape, dtype = along.array.shape, along.array.dtype
    return np.empty(shape, dtype) if out is None else validation.out(out, shape, dtype, source=z, apart=apart)


def result_rows(along: Along, z: Floats, out: Any, apart: Mapping[str, Any] = NOTHING) -> tuple[Floats, Floats]:
    """The array for a result of the shape of the logits, and the contiguous rows into which the kernel writes it.

    `z` is `along.rows()`. The rows are those of the array, if these are contiguous; otherwise `finish` copies them.
    """
    if along.last:
        result = result_array(along, z, out, apart)
        return result, result if result.shape == z.shape else result.reshape(z.shape)
    if np.may_share_memory(z, along.array):  # the rows of the logits are contiguous, so are those of a new result
        own = np.empty_like(z)
        return (along.from_end(own) if out is None else result_array(along, z, out, apart)), own
    return result_array(along, z, out, apart), z  # `z` is a copy, which may be overwritten


def finish(along: Along, result: Floats, own: Floats) -> Floats:
    """Copy the rows from the kernel to the result, if they have memory of their own; return the result."""
    if not along.last and not np.may_share_memory(result, own):
        result[...] = along.from_end(own)
    return result


def _transformed(name: str, logits: ArrayLike, axis: Axes, out: Floats | None) -> Floats:
    """The result of the kernel of this name, which has the shape of the logits."""
    along = validation.logits_along(logits, axis, several=True)
    z = _columns(along)
    if z is not None:
        result = result_array(along, z, out)
        _by_columns(name, z, along, result)
        return result
    z = along.rows()
    result, own = result_rows(along, z, out)
    _by_rows(name, z, own)
    return finish(along, result, own)


def softmax(logits: ArrayLike, axis: Axes = -1, *, out: Floats | None = None) -> Floats:
    """Probabilities of the classes from logits.

        softmax(z)_k = exp(z_k - c) / sum_l exp(z_l - c),    c = max_l z_l

    It can also be called in functions that Numba compiles: see "Use from Numba code" in the documentation.

    Parameters
    ----------
    logits : array_like, (n_samples, n_classes), (n_classes,), or any shape of at least one dimension
    axis : int, tuple of ints or None
        Axis of the classes; by default the last one. The sum over l is over all axes of a tuple, and for None over all
        logits.
    out : ndarray, optional
        Array for the result: the shape and dtype of the logits, C-contiguous. It may be `logits` itself.

    Returns
    -------
    proba : ndarray, the shape of `logits`, float32 or float64

    Raises
    ------
    InputValueError, InputTypeError
        If `logits` are not an array of real numbers with at least one dimension and one class, `axis` is not one of its
        axes, or `out` has another shape or dtype.

    Notes
    -----
    The shift by c keeps exp in range: J. Blanchard, D. Higham, N. Higham, "Accurately computing the log-sum-exp and
    softmax functions", IMA J. Numer. Anal. 41 (2021).

    Examples
    --------
    >>> softmax([[0.0, 0.0], [0.0, 0.0], [0.0, np.log(2.0)]], axis=0).round(2).tolist()
    [[0.33, 0.25], [0.33, 0.25], [0.33, 0.5]]
    """
    return _transformed("softmax", logits, axis, out)


def log_softmax(logits: ArrayLike, axis: Axes = -1, *, out: Floats | None = None) -> Floats:
    """Logarithms of the probabilities of the classes.

        log_softmax(z)_k = (z_k - c) - log sum_l exp(z_l - c),    c = max_l z_l

    It can also be called in functions that Numba compiles: see "Use from Numba code" in the documentation.

    Parameters
    ----------
    logits, axis, out
        As in `softmax`.

    Returns
    -------
    log_proba : ndarray, the shape of `logits`, float32 or float64

    Raises
    ------
    InputValueError, InputTypeError
        As `softmax`.
    """
    return _transformed("log_softmax", logits, axis, out)


def logsumexp(
    logits: ArrayLike,
    axis: Axes = -1,
    *,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any:
    """Logarithm of the sum of exponentials along an axis.

        logsumexp(z) = c + log sum_k exp(z_k - c),    c = max_k z_k

    It can also be called in functions that Numba compiles: see "Use from Numba code" in the documentation.

    Parameters
    ----------
    logits : array_like, (n_samples, n_classes), (n_classes,), or any shape of at least one dimension
    axis : int, tuple of ints or None
        Axes of the sum; by default the last one (the default of `scipy.special.logsumexp` is None, all axes).
    b : array_like, optional
        Factors of the exponentials, of any sign: log |sum_k b_k exp(z_k)|. Finite; `b` and the logits are broadcast
        against each other. A factor of 0 excludes its logit, also if that is infinite or NaN.
    keepdims : bool
        Whether the axes of the sum stay, with size 1, as in `numpy.sum`.
    return_sign : bool
        Whether to return the sign of the sum too.

    Returns
    -------
    lse : ndarray of the logits' dtype, the shape of `logits` without the axes of the sum; a scalar if none is left
        Without `return_sign`, NaN where the sum is negative.
    sign : the same shape and dtype, only with `return_sign`
        1, -1, or 0 for a sum of 0, where `lse` is -inf; NaN where the sum is NaN.

    Raises
    ------
    InputValueError, InputTypeError
        If `logits` or `b` are not arrays of real numbers (complex numbers are refused), their shapes do not match, `b`
        is not finite, or `axis` is not one of the axes.

    Examples
    --------
    >>> lse, sign = logsumexp([0.0, np.log(3.0)], b=[1, -1], return_sign=True)  # exp(0) - exp(log 3) = -2
    >>> print(round(float(np.exp(lse)), 12), sign)
    2.0 -1.0
    """
    validation.flag("keepdims", keepdims)
    validation.flag("return_sign", return_sign)
    if b is not None:
        logits, b = _with_factors(logits, b)
    along = validation.logits_along(logits, axis, several=True)
    shape = along.rows_shape
    if keepdims:
        shape = tuple(1 if i in along.axes else n for i, n in enumerate(along.array.shape))
    if b is None:
        lse = _logsumexp(along)
        lse = lse if lse.shape == shape else lse.reshape(shape)[()]
        if not return_sign:
            return lse
        return lse, np.where(np.isnan(lse), lse, lse > -np.inf).astype(lse.dtype)[()]
    lse, sign = log_of_signed_sum(along.rows(), along.to_end(np.asarray(b)).reshape(along.n_rows, along.n_classes))
    if return_sign:
        return lse.reshape(shape)[()], sign.reshape(shape)[()]
    return np.where(sign < 0, np.nan, lse).astype(lse.dtype).reshape(shape)[()]


def _logsumexp(along: Along) -> Floats:
    """Log-sum-exp of every row, (n_rows,)."""
    lse = np.empty(along.n_rows, along.array.dtype)
    z = _columns(along)
    if z is not None:
        _by_columns("logsumexp", z, along, lse)
    else:
        _by_rows("logsumexp", along.rows(), lse)
    return lse


def _with_factors(logits: ArrayLike, b: ArrayLike) -> tuple[Floats, Floats]:
    """Check the factors of `logsumexp`, and broadcast them and the logits against each other."""
    z, factors = validation.as_floats("logits", logits), validation.as_floats("b", b, dtype=np.float64)
    if not np.isfinite(factors).all():
        raise InputValueError("b contains NaN or inf, expected finite numbers.")
    try:
        shape = np.broadcast_shapes(z.shape, factors.shape)
        return np.broadcast_to(z, shape), np.broadcast_to(factors, shape)
    except ValueError:
        raise InputValueError(
            f"b has shape {factors.shape}, which cannot be broadcast with logits of shape {z.shape}; expected the same "
            "shape, or sizes of 1."
        ) from None


def softmax_jacobian(proba: ArrayLike, axis: int = -1) -> Floats:
    """Jacobian of softmax with respect to the logits, from the probabilities.

        da_k / dz_l = a_k (1[k = l] - a_l)

    Parameters
    ----------
    proba : array_like, (n_samples, n_classes), (n_classes,), or any shape of at least one dimension
        Probabilities, as returned by `softmax`.
    axis : int
        Axis of the classes; by default the last one.

    Returns
    -------
    jacobian : ndarray, (n_samples, n_classes, n_classes), (n_classes, n_classes), or (..., n_classes, n_classes)
        The shape of `proba` without the axis of the classes, which are the last two axes instead. Symmetric; each row
        sums to 0.

    Raises
    ------
    InputValueError, InputTypeError
        If `proba` is not an array of real numbers with at least one dimension and one class, or `axis` is not one of
        its axes.
    """
    along = validation.logits_along(proba, axis, name="proba")
    a = along.rows()
    jacobian = -a[:, :, None] * a[:, None, :]  # (n_rows, K, K)
    k = np.arange(along.n_classes)
    rest = 1 - a
    row, largest = np.nonzero(a > NEAR_1)  # at most one class of a row, whose 1 - a_k may have lost all digits
    others = a[row]
    others[np.arange(row.size), largest] = 0
    rest[row, largest] = others.sum(axis=1)
    jacobian[:, k, k] = a * rest
    return jacobian.reshape(*along.rows_shape, along.n_classes, along.n_classes)
