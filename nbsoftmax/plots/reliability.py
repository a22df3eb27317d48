"""Reliability curves: predicted probabilities and observed frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, counted, listed
from nbsoftmax.models import calibration
from nbsoftmax.plots.estimator import classes_of, predictor, with_offset
from nbsoftmax.plots.figure import add_legend, axes_or_new, foreground, sums_called
from nbsoftmax.plots.names import display_names, literal
from nbsoftmax.plots.notebook import NotebookDisplay
from nbsoftmax.plots.palette import of_style, styles
from nbsoftmax.validation import Float64s

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COUNTS = "counts"  # matplotlib's label of the axes below


class ReliabilityDisplay(NotebookDisplay):
    """Observed frequency of each class over its predicted probability; a calibrated model lies on the diagonal.

    Parameters
    ----------
    reliability : Reliability
    classes : sequence (n_classes,)

    Attributes
    ----------
    lines_ : list of matplotlib lines, one for each class
    ax_, figure_
    counts_ax_ : matplotlib axes below, with the number of samples in each bin; None with `counts=False`

    Raises
    ------
    InputValueError
        For another number of classes than that of the columns of the probabilities.
    """

    def __init__(self, reliability: calibration.Reliability, classes: Sequence[Any]) -> None:
        n_curves = len(reliability.weight)
        if len(classes) != n_curves:
            raise InputValueError(
                f"classes has {counted(len(classes), 'name')}, expected {n_curves}: one for each column of the "
                "probabilities.",
                parameter="classes",
            )
        self.reliability, self.classes = reliability, classes

    @classmethod
    def from_proba(
        cls,
        y: ArrayLike,
        proba: ArrayLike,
        *,
        classes: Sequence[Any] | None = None,
        n_bins: int = 10,
        sample_weight: ArrayLike | None = None,
        **options: Any,
    ) -> ReliabilityDisplay:
        """Draw predicted probabilities (n_samples, n_classes) for class indices `y` (n_samples,).

        `options` are those of `plot`.

        Raises
        ------
        InputValueError, InputTypeError
            If `y` are not class indices, one for each row of `proba`; if these rows are not finite numbers of at least
            0 that sum to 1; for an `n_bins` that is not a whole number of at least 1; for weights that are not one
            number of at least 0 for each sample, or all 0; for another number of `classes`; and as `plot`.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        found = calibration.reliability(y, proba, n_bins=n_bins, sample_weight=sample_weight)
        return cls(found, range(len(found.weight)) if classes is None else classes).plot(**options)

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_prob: ArrayLike,
        *,
        labels: Any = None,
        pos_label: Any = None,
        n_bins: int = 10,
        sample_weight: ArrayLike | None = None,
        **options: Any,
    ) -> ReliabilityDisplay:
        """Draw predicted probabilities for labels.

        Parameters
        ----------
        y_true : array_like (n_samples,)
            Labels.
        y_prob : array_like (n_samples, n_classes), or (n_samples,) for two classes
            Predicted probabilities of the classes, or of `pos_label`.
        labels : array_like (n_classes,), optional
            The classes in the order of the columns. Default: the labels of `y_true`, sorted.
        pos_label : label, optional
            The only class to draw. Default: all of them; with `y_prob` of one dimension, the last.
        n_bins : int
        sample_weight : array_like (n_samples,), optional
            If their sum overflows float64, all are divided by a power of two.
        **options
            Of `plot`.

        Raises
        ------
        InputValueError, InputTypeError
            For labels in `y_true` that are not in `labels`, another number of columns of `y_prob` than of labels, a
            `pos_label` that is none of them, and as `from_proba`.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        classes = (
            validation.labels(y_true, name="y_true")[1] if labels is None else validation.class_labels(labels, "labels")
        )
        proba = validation.as_floats("y_prob", y_prob)
        known = classes.tolist()
        if pos_label is not None and pos_label not in known:
            raise InputValueError(f"pos_label is {pos_label!r}, expected one of the labels: {listed(known)}.")
        if proba.ndim == 1:
            odd = np.flatnonzero(~((proba >= 0) & (proba <= 1)))  # NaN too
            if odd.size:
                raise InputValueError(f"y_prob is {proba[odd[0]]} at row {odd[0]}, expected probabilities from 0 to 1.")
            pos_label = known[-1] if pos_label is None else pos_label
            second = proba if pos_label == known[-1] else 1 - proba
            proba = np.stack([1 - second, second], axis=1)
        if proba.ndim != 2 or proba.shape[1] != len(known):
            raise InputValueError(
                f"y_prob has shape {np.shape(y_prob)}, but there are {len(known)} labels ({listed(known)}); give one "
                "column for each, and with `labels` the label of each column."
            )
        codes = validation.codes_of(y_true, classes, n_samples=len(proba), name="y_true")
        weight = validation.summable(validation.sample_weights(sample_weight, len(proba)))
        found = calibration.reliability(codes, proba, n_bins=n_bins, sample_weight=weight if weight.size else None)
        if pos_label is not None:
            only = [known.index(pos_label)]
            curves = (values[only] for values in (found.confidence, found.frequency, found.weight))
            found, known = calibration.Reliability(found.edges, *curves), [pos_label]
        return cls(found, known).plot(**options)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        pos_label: Any = None,
        n_bins: int = 10,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        **options: Any,
    ) -> ReliabilityDisplay:
        """Draw the predictions of a model for labelled samples.

        Parameters
        ----------
        estimator : SoftmaxModel, FitResult or fitted classifier
        X : array_like, frame or sparse matrix (n_samples, n_features)
        y : array_like (n_samples,)
            Labels.
        pos_label : label, optional
            The only class to draw. Default: all of them.
        n_bins : int
        sample_weight : array_like (n_samples,), optional
        offset : array_like (n_samples, n_classes), or (n_samples,) for the second of two classes, optional
            For `predict_proba` of the estimator, which must take one.
        **options
            Of `plot`.

        Raises
        ------
        InputValueError, InputTypeError
            For an estimator that is not one of these, an X or offset that does not suit it, labels `y` that it was not
            trained on or that are not one for each row, and as `from_predictions`.
        TypeError
            For an offset, if `predict_proba` of the estimator takes none.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        estimator = predictor(estimator)
        classes = classes_of(estimator)
        proba = estimator.predict_proba(X, **with_offset(offset))
        codes = validation.codes_of(y, classes, n_samples=len(proba))
        return cls.from_predictions(
            classes[codes],
            proba,
            labels=classes,
            pos_label=pos_label,
            n_bins=n_bins,
            sample_weight=sample_weight,
            **options,
        )

    from_model = from_estimator

    def plot(
        self,
        *,
        ax: Axes | None = None,
        name: str | None = None,
        ref_line: bool = True,
        counts: bool = True,
        **line_options: Any,
    ) -> ReliabilityDisplay:
        """Draw; the larger a point, the larger the share of the samples in its bin.

        Parameters
        ----------
        ax : matplotlib axes, optional
            With `counts`, its lower part is given to the counts.
        name : str, optional
            Name of the model, for the legend.
        ref_line : bool
            Whether to draw the diagonal.
        counts : bool
            Whether to draw the number of samples in each bin below, or the sum of their weights.
        **line_options
            Further options of matplotlib's `plot` for the curves.

        Raises
        ------
        InputValueError, InputTypeError
            For an `ax` that is not axes of matplotlib.
        AttributeError
            For an option that matplotlib's `plot` does not have.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        found, weights = self.reliability, validation.summable(self.reliability.weight)
        names = display_names(self.classes)
        if name is not None:
            name = literal(name)
            names = [name] if len(names) == 1 else [f"{name}: {one}" for one in names]
        self.ax_ = axes_or_new(ax, (5.6, 6.2 if counts else 5.2), names)
        self.figure_ = self.ax_.figure
        if ref_line and all(line.get_label() != "calibrated" for line in self.ax_.lines):
            self.ax_.plot([0, 1], [0, 1], color=foreground(), linewidth=0.8, linestyle="--", label="calibrated")
        self.lines_, many = [], len(names) > len(of_style())
        for k, style in enumerate(styles(len(names))):
            some, weight = weights[k] > 0, validation.scaled(weights[k])[0]  # a sum of subnormal numbers has few digits
            share = weight[some] / weight.sum()
            x, frequency = found.confidence[k][some], found.frequency[k][some]
            line: dict[str, Any] = {"label": names[k], "linewidth": 1, "markersize": 0, "alpha": 0.5 if many else 1}
            line |= style | line_options
            self.lines_ += self.ax_.plot(x, frequency, **line)
            points = {"color": self.lines_[-1].get_color(), "marker": style["marker"], "zorder": 3}
            points["clip_on"] = False  # the frame would cut points at 0 and 1
            self.ax_.scatter(x, frequency, s=8 + 150 * share, **points)
        self.ax_.set(xlabel="predicted probability", ylabel="observed frequency", xlim=(0, 1), ylim=(0, 1))
        self.ax_.set_title("Reliability")
        self.ax_.grid(alpha=0.3)
        self.counts_ax_ = self._draw_counts(weights) if counts else None
        add_legend(self.ax_, self.lines_, below=self.counts_ax_, markers=True)
        return self

    def _draw_counts(self, weights: Float64s) -> Axes:
        """Draw the number of samples in each bin, on axes below that share the horizontal axis."""
        below = _axes_below(self.ax_)
        for weight, line in zip(weights, self.lines_, strict=True):
            filled = np.where(weight > 0, weight, np.nan)  # an empty bin has no place on a logarithmic axis
            style: dict[str, Any] = {"color": line.get_color(), "linestyle": line.get_linestyle(), "linewidth": 1}
            below.stairs(filled, self.reliability.edges, baseline=None, **style)
        below.set(yscale="log", xlabel=self.ax_.get_xlabel(), ylabel=sums_called(weights))
        exponents = np.log10(weights[weights > 0])
        ends = np.floor(exponents.min() - 0.05), np.ceil(exponents.max() + 0.05)  # whole powers of 10
        below.set_ylim(*np.power(10.0, ends))
        below.yaxis.set_minor_formatter("")
        below.grid(alpha=0.3)
        self.ax_.set_xlabel("")
        self.ax_.tick_params("x", labelbottom=False)
        return below


def _axes_below(ax: Axes) -> Axes:
    """Return axes below that share the horizontal axis: those of an earlier display on `ax`, or new ones in its place.

    Axes that are not in a grid keep their place; the new ones are added below it.
    """
    place = ax.get_subplotspec()
    for other in ax.get_shared_x_axes().get_siblings(ax):
        spec = other.get_subplotspec()
        same_place = spec is not None and place is not None and spec.get_gridspec() is place.get_gridspec()
        if other.get_label() == COUNTS and (same_place or other in ax.child_axes):
            return cast("Axes", other)
    if place is None:
        return ax.inset_axes((0, -0.3, 1, 0.25), sharex=ax, label=COUNTS)
    places = place.subgridspec(2, 1, height_ratios=[4, 1])
    ax.set_subplotspec(places[0])
    return ax.figure.add_subplot(places[1], sharex=ax, label=COUNTS)
