"""Calibration: whether events with a predicted probability of 70% happen 7 times out of 10. Use held-out samples.

    temperature T   minimises the mean cross-entropy of (logits / T, y); it does not change the predicted labels. An
                    offset is not divided: (logits / T + offset, y)
    Brier score     (1 / S) sum_i s_i sum_k (a_ik - [y_i = k])^2
    ECE             sum_b (S_b / S) |accuracy of bin b - mean confidence of bin b|,    confidence = max_k a_k

Sources: G. Brier, "Verification of forecasts expressed in terms of probability", Mon. Weather Rev. 78 (1950);
M. Naeini, G. Cooper, M. Hauskrecht, "Obtaining well calibrated probabilities using Bayesian binning", AAAI (2015), for
the ECE; C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML (2017), for the
temperature.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, counted
from nbsoftmax.functional import cross_entropy_and_grad, softmax
from nbsoftmax.kernels.kinds import PROBA
from nbsoftmax.models.display import Displayed
from nbsoftmax.models.softmax import SoftmaxModel, checked_model
from nbsoftmax.models.to_frame import data_frame
from nbsoftmax.validation import Float64s, Floats

RELATIVE_PRECISION = 1e-12  # of the temperature
MOST_BINS = 1_000_000


@dataclass(frozen=True, eq=False, repr=False)
class Reliability(Displayed):
    """Predicted probabilities and observed frequencies of each class, in bins of the predicted probability.

    Attributes
    ----------
    edges : ndarray (n_bins + 1,)
        Bin b holds probabilities in (edges[b], edges[b + 1]]; the first bin also includes 0.
    confidence, frequency : ndarray (n_classes, n_bins)
        Mean predicted probability of the class, and the share of the samples that belong to it; NaN for an empty bin.
        For a calibrated model the two are equal up to sampling noise.
    weight : ndarray (n_classes, n_bins)
        Number of samples in the bin, or the sum of their weights.
    """

    edges: Float64s
    confidence: Float64s
    frequency: Float64s
    weight: Float64s

    def to_frame(self) -> Any:
        """A data frame with a row for each class and bin: of pandas, or of polars if pandas is not installed.

        `class` is the index of the class; `low` and `high` are the edges of the bin.
        """
        n_classes, n_bins = self.weight.shape
        return data_frame(
            {
                "class": np.repeat(np.arange(n_classes), n_bins),
                "low": np.tile(self.edges[:-1], n_classes),
                "high": np.tile(self.edges[1:], n_classes),
                "confidence": self.confidence,
                "frequency": self.frequency,
                "weight": self.weight,
            }
        )

    def _title(self) -> str:
        n_classes, n_bins = self.weight.shape
        return f"{counted(n_classes, 'class')}, {counted(n_bins, 'bin')}"

    def _lines(self) -> dict[str, str]:
        filled = self.weight > 0
        difference = np.abs(self.confidence - self.frequency)[filled]
        return {
            "bins": f"{filled.sum()} of {filled.size} hold samples",
            "difference": f"largest |confidence - frequency| {difference.max(initial=0.0):.4g}",
        }


def temperature(
    logits: ArrayLike, y: ArrayLike, *, sample_weight: ArrayLike | None = None, offset: ArrayLike | None = None
) -> float:
    """Find the temperature T > 0 for which softmax(logits / T + offset) fits `y` best.

        minimise over T    sum_i s_i cross_entropy(z_i / T + o_i, y_i) / sum_i s_i

    Parameters
    ----------
    logits : array_like (n_samples, n_classes)
        Finite logits of samples that the model was not trained on.
    y : array_like
        Class indices (n_samples,), or probabilities (n_samples, n_classes).
    sample_weight : array_like (n_samples,), optional
    offset : array_like (n_samples, n_classes), or (n_samples,) for the second of two classes, optional
        Added to logits / T, with fixed coefficient 1; `logits` are without it.

    Returns
    -------
    T : float
        Above 1 for an overconfident model, below 1 for an underconfident one.

    Raises
    ------
    InputValueError
        If no T fits best: the largest logit of every sample is that of its class (T would be 0), or the logits fit no
        better than equal ones, with which the offset alone gives the probabilities (T would be infinite).

    Notes
    -----
    The loss is convex in 1/T. Newton's method finds the zero of its derivative within a bracket; a step that would
    leave the bracket is replaced by bisection.
    """
    z, _ = validation.logits(validation.design(logits, name="logits", dtype=np.float64), min_classes=2)
    n_samples, n_classes = z.shape
    target = validation.weighted_targets(
        y, n_samples, n_classes, z.dtype, sample_weight=sample_weight, class_weight=None, label_smoothing=0.0
    )
    _some_weight(target.total)
    added = validation.offset(offset, (n_samples, n_classes), z.dtype, np.arange(n_classes))
    s = target.weight / target.total if target.weight.size else np.full(n_samples, 1 / target.total)
    scale = float(np.abs(z).max()) or 1.0
    z = z / scale
    z -= z.max(axis=1, keepdims=True)
    of_target = _row_dots(z, target.proba) if target.kind == PROBA else z[np.arange(n_samples), target.labels]
    mean = _row_dots(softmax(added), z) if added.size else z.mean(axis=1)
    if not (s * (of_target - mean)).sum() > 0:  # sums without BLAS, whose last bits depend on its threads
        rival = "the offset alone does" if added.size else "equal probabilities do"
        raise InputValueError(
            f"the logits fit these labels no better than {rival}, so the best temperature is infinite; "
            "check that the columns of logits are in the order of the classes, or train the model again."
        )
    if not (of_target[s > 0] < 0).any():
        raise InputValueError(
            "every sample is predicted correctly, so the best temperature is 0; give more samples, "
            "none of which the model was trained on."
        )

    def at_inverse(b: float) -> Floats:
        """The logits for 1 / T = b / scale."""
        return b * z + added if added.size else b * z

    def slope(b: float) -> float:
        """Derivative of the mean loss with respect to b = 1 / T."""
        gradient = cross_entropy_and_grad(at_inverse(b), y, sample_weight=sample_weight)[1]
        return float((gradient * z).sum())

    def curvature(b: float) -> float:
        """Second derivative: the mean variance of a sample's logits under its probabilities."""
        a = softmax(at_inverse(b))
        return float((s * _row_dots(a, np.square(z - _row_dots(a, z)[:, None]))).sum())

    low, high = 0.0, scale
    while slope(high) < 0:
        low, high = high, 2 * high
    b = (low + high) / 2
    while True:
        at = slope(b)
        low, high = (b, high) if at < 0 else (low, b)
        bend = curvature(b)
        following = b - at / bend if bend > 0 else low
        if not low < following < high:
            following = (low + high) / 2
        # This also ends for NaN, when 1 / T exceeds the range of float64.
        if not abs(following - b) > RELATIVE_PRECISION * b:
            return scale / following
        b = following


def _row_dots(a: Floats, b: Floats) -> Floats:
    """sum_k a_ik b_ik of each row; `sum` along short rows takes four times as long, and BLAS depends on its threads."""
    dots: Floats = np.einsum("ik,ik->i", a, b)
    return dots


def calibrate(
    model: SoftmaxModel,
    X: Any,
    y: Any,
    *,
    sample_weight: ArrayLike | None = None,
    offset: ArrayLike | None = None,
) -> SoftmaxModel:
    """Divide the logits of a model by the `temperature` that fits held-out samples.

    Parameters
    ----------
    model : SoftmaxModel
    X : array_like, frame or sparse matrix (n_samples, n_features)
        Samples that the model was not trained on.
    y : array_like (n_samples,)
        Labels.
    sample_weight : array_like (n_samples,), optional
    offset : array_like (n_samples, n_classes), or (n_samples,) for classes[1] of two, optional
        Added to the logits, with fixed coefficient 1, before and after calibration: it is not divided by T.

    Returns
    -------
    SoftmaxModel
        A model with coef / T and intercept / T. Without an offset it predicts the same labels with other probabilities.

    Raises
    ------
    InputValueError, InputTypeError
        As for `temperature`, and for labels that the model was not trained on.
    """
    logits = checked_model(model).decision_function(X)
    codes = validation.codes_of(y, model.classes, n_samples=len(logits))
    added = None if offset is None else validation.offset(offset, logits.shape, np.float64, model.classes)
    t = temperature(logits, codes, sample_weight=sample_weight, offset=added)
    return SoftmaxModel(
        model.coef / t, model.intercept / t, model.classes, model.feature_names, encoding=model.encoding
    )


def brier_score(y: ArrayLike, proba: ArrayLike, *, sample_weight: ArrayLike | None = None) -> float:
    """Brier score: mean squared error of the probabilities, summed over the classes; from 0 (best) to 2.

        (1 / S) sum_i s_i sum_k (a_ik - [y_i = k])^2

    For two classes this is twice the mean of (a_1 - y)^2, which some libraries also call the Brier score.

    Parameters
    ----------
    y : array_like (n_samples,)
        Class indices.
    proba : array_like (n_samples, n_classes)
        Predicted probabilities; each row sums to 1.
    sample_weight : array_like (n_samples,), optional

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, labels out of range, rows of `proba` that are not probability distributions, and
        zero samples.
    """
    a, labels, s, _ = _checked_scores(y, proba, sample_weight)
    miss = a.astype(np.float64)
    miss[np.arange(len(a)), labels] -= 1
    return float((s * _row_dots(miss, miss)).sum() / s.sum())


def expected_calibration_error(
    y: ArrayLike, proba: ArrayLike, *, n_bins: int = 15, sample_weight: ArrayLike | None = None
) -> float:
    """Expected calibration error (ECE): mean difference of accuracy and confidence over bins of equal width.

        sum_b (S_b / S) |accuracy_b - confidence_b|,    bin b: max_k a_ik in (b / n_bins, (b + 1) / n_bins]

    Sampling noise alone makes it larger than 0, more so with more bins.

    Parameters
    ----------
    y : array_like (n_samples,)
        Class indices.
    proba : array_like (n_samples, n_classes)
        Predicted probabilities; each row sums to 1.
    n_bins : int
    sample_weight : array_like (n_samples,), optional

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, labels out of range, rows of `proba` that are not probability distributions, and
        zero samples.
    """
    a, labels, s, _ = _checked_scores(y, proba, sample_weight)
    n_bins = _checked_bins(n_bins)
    best = a.argmax(axis=1)
    confidence = a[np.arange(len(a)), best].astype(np.float64)
    bins = _bins(confidence, n_bins)
    surplus = np.bincount(bins, s * ((best == labels) - confidence), n_bins)
    return float(np.abs(surplus).sum() / s.sum())


def reliability(
    y: ArrayLike, proba: ArrayLike, *, n_bins: int = 10, sample_weight: ArrayLike | None = None
) -> Reliability:
    """Compute the numbers of a reliability diagram for each class.

    Parameters
    ----------
    y : array_like (n_samples,)
        Class indices.
    proba : array_like (n_samples, n_classes)
        Predicted probabilities; each row sums to 1.
    n_bins : int
    sample_weight : array_like (n_samples,), optional

    Returns
    -------
    Reliability

    Raises
    ------
    InputValueError, InputTypeError
        For shapes that do not match, labels out of range, rows of `proba` that are not probability distributions, and
        zero samples.
    """
    a, labels, s, exponent = _checked_scores(y, proba, sample_weight)
    n_bins = _checked_bins(n_bins)
    weight, predicted, happened = np.zeros((3, a.shape[1], n_bins))
    for k in range(a.shape[1]):
        p = a[:, k].astype(np.float64)
        bins = _bins(p, n_bins)
        for total, of_sample in ((weight, s), (predicted, s * p), (happened, s * (labels == k))):
            total[k] = np.bincount(bins, of_sample, n_bins)
    with np.errstate(invalid="ignore", over="ignore"):  # 0 / 0 in empty bins, and sums of weights that overflow
        edges, of_bins = np.arange(n_bins + 1) / n_bins, np.ldexp(weight, exponent)
        return Reliability(edges, predicted / weight, happened / weight, of_bins)


def _checked_scores(
    y: ArrayLike, proba: ArrayLike, sample_weight: ArrayLike | None
) -> tuple[Floats, NDArray[np.int32], Float64s, int]:
    """Probabilities, class indices and weights in units of 2^exponent, validated."""
    if validation.as_array("y", y).ndim == 2 and validation.as_array("proba", proba).ndim == 1:
        raise InputValueError(
            f"y has shape {np.shape(y)} and proba has shape {np.shape(proba)}: the arguments are swapped; "
            "give the class indices first and the probabilities second."
        )
    a = validation.distributions("proba", validation.design(proba, name="proba"))
    n_samples, n_classes = a.shape
    target = validation.targets(y, n_samples, n_classes, a.dtype, n_of="proba")
    if target.soft:
        raise InputValueError("y has 2 dimensions, expected class indices (n_samples,); use y.argmax(axis=1).")
    weight, exponent = validation.scaled(validation.sample_weights(sample_weight, n_samples))
    _some_weight(n_samples)
    return a, target.labels, weight if weight.size else np.ones(n_samples), exponent


def _some_weight(total: float) -> None:
    if total == 0:
        raise InputValueError("there are no samples, so the mean is not defined; give at least one sample.")


def _checked_bins(n_bins: int) -> int:
    if validation.count("n_bins", n_bins) > MOST_BINS:
        raise InputValueError(f"n_bins is {n_bins}, expected at most {MOST_BINS}; give fewer bins than samples.")
    return n_bins


def _bins(p: Float64s, n_bins: int) -> NDArray[np.intp]:
    """The bin of each probability; values slightly above 1 go to the last bin."""
    edges = np.arange(n_bins + 1) / n_bins  # by comparison, since p * n_bins may be rounded beyond an edge
    return np.clip(np.searchsorted(edges, p, side="left") - 1, 0, n_bins - 1)
