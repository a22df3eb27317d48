"""Confidence intervals of probabilities, by the delta method on the scale of log-odds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax.backends.row_blocks import blocks
from nbsoftmax.errors import counted
from nbsoftmax.functional import logsumexp, sigmoid, softmax
from nbsoftmax.kernels.runtime.blas import one_thread
from nbsoftmax.models.display import Displayed
from nbsoftmax.models.estimates import quantile
from nbsoftmax.models.to_frame import data_frame
from nbsoftmax.validation import Float64s, Floats

LARGE = 1e100  # rows with larger values are scaled
MOST = 1000  # the exponent of a logit


@dataclass(frozen=True, eq=False, repr=False)
class ProbaInterval(Displayed):
    """Probabilities and the ends of their confidence intervals.

    Attributes
    ----------
    proba : ndarray (n_samples, n_classes)
    low, high : ndarray (n_samples, n_classes)
        Lower and upper ends of the intervals.
    classes : ndarray (n_classes,)
        Labels.
    """

    proba: Float64s
    low: Float64s
    high: Float64s
    classes: NDArray[Any]

    def to_frame(self) -> Any:
        """A data frame with a row for each sample, by index, and class: of pandas, or of polars without pandas."""
        sample, code = np.indices(self.proba.shape)
        label = self.classes[code.ravel()]
        return data_frame({"sample": sample, "class": label, "proba": self.proba, "low": self.low, "high": self.high})

    def _title(self) -> str:
        n_samples, n_classes = self.proba.shape
        return f"{counted(n_samples, 'sample')}, {counted(n_classes, 'class')}"

    def _lines(self) -> dict[str, str]:
        width = self.high - self.low
        if width.size == 0:
            return {}
        return {"width": f"mean {width.mean():.4g}, largest {width.max():.4g}"}


def proba_interval(
    X: Any,
    offset: Floats,
    params: Float64s,
    free: NDArray[np.bool_],
    covariance: Float64s,
    level: float,
    classes: NDArray[Any],
) -> ProbaInterval:
    """Intervals of the probabilities at the rows of X, with the rows of `params` (K, n_names) as classes.

    `offset` (n_samples, K) is added to the logits; it is (0, 0) for none. `covariance` is that of the parameters of the
    n `free` classes, relative to the other, whose own are 0.
    """
    reach = quantile(level)
    n, n_names = int(free.sum()), params.shape[1]
    by_class = covariance.reshape(n, n_names, n * n_names)
    log_odds, errors = np.empty((2, X.shape[0], n + 1))
    for rows, columns in blocks(X, n_names > X.shape[1], n * max(n_names, n + 1)):
        exponents = _exponents(np.abs(columns).max(axis=1, initial=0.0))
        x = np.ldexp(columns, -exponents[:, None])  # whose squares do not overflow
        logits = np.zeros((len(x), n + 1))
        variance = np.empty((len(x), n, n))  # of the free logits
        with one_thread():
            logits[:, free] = x @ params[free].T
            for k in range(n):
                variance[:, k] = np.einsum("ilp,ip->il", (x @ by_class[k]).reshape(len(x), n, n_names), x)
        # Smaller where the logits would overflow: at 2^MOST, probabilities and ends are 0 or 1.
        size = np.frexp(np.abs(logits).max(axis=1))[1]
        exponents = np.minimum(exponents, np.maximum(MOST - size, 0))
        logits = np.ldexp(logits, exponents[:, None])
        if offset.size:
            logits += offset[rows]
        # Row k of each sample: the other logits.
        others = logits[:, None, :] + np.where(np.eye(n + 1, dtype=bool), -np.inf, 0.0)
        others = others.reshape(-1, n + 1)
        slope = np.eye(n + 1) - softmax(others).reshape(len(x), n + 1, n + 1)
        slope = slope[:, :, free]  # (rows, K, K - 1)
        log_odds[rows] = logits - logsumexp(others).reshape(logits.shape)
        with one_thread():
            squares = np.einsum("ikl,ilm,ikm->ik", slope, variance, slope, optimize=True)
        with np.errstate(over="ignore"):
            errors[rows] = np.ldexp(np.sqrt(np.maximum(squares, 0.0)), exponents[:, None]) * reach
    proba, low, high = (np.asarray(sigmoid(q), np.float64) for q in (log_odds, log_odds - errors, log_odds + errors))
    return ProbaInterval(proba, low, high, classes)


def _exponents(sizes: Float64s) -> NDArray[np.intc]:
    """Exponents of the powers of 2 by which sizes above LARGE are divided; 0 for others."""
    return np.where(sizes > LARGE, np.frexp(sizes)[1], 0)
