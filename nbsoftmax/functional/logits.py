"""Softmax, log-softmax and log-sum-exp of rows of logits, and the Jacobian of softmax."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.backends import long_rows
from nbsoftmax.functional.chunks import n_chunks
from nbsoftmax.kernels import rows
from nbsoftmax.kernels.runtime.threads import EXP_WORK, launch
from nbsoftmax.validation import Floats


def _rowwise(name: str, z: Floats, out: Floats) -> None:
    """Run the row kernel of this name on the rows of `z`, with results to `out`."""
    n_rows, n_classes = z.shape
    if long_rows.few_and_long(z):
        getattr(long_rows, name)(z.reshape(-1), out.reshape(-1), n_classes)
    elif n_rows:
        kernel, n = getattr(rows, name), n_chunks(z.size)
        launch(kernel, n, z.size * EXP_WORK, None, z.reshape(-1), out.reshape(-1), n_classes, n_rows, n)


def result_array(z: Floats, out: Any, flat: bool) -> Floats:
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
    proba = result_array(z, out, flat)
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
    log_proba = result_array(z, out, flat)
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
