"""Reliability curves: predicted probabilities and observed frequencies."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from numpy.typing import ArrayLike

from nbsoftmax import validation
from nbsoftmax.models import calibration
from nbsoftmax.plots.estimator import classes_of, predictor
from nbsoftmax.plots.figure import add_legend, axes_or_new, colours
from nbsoftmax.plots.names import short_names
from nbsoftmax.plots.notebook import NotebookDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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
    """

    def __init__(self, reliability: calibration.Reliability, classes: Sequence[Any]) -> None:
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
        ax: Axes | None = None,
    ) -> ReliabilityDisplay:
        """Draw predicted probabilities (n_samples, n_classes) for class indices `y` (n_samples,)."""
        found = calibration.reliability(y, proba, n_bins=n_bins, sample_weight=sample_weight)
        return cls(found, range(len(found.weight)) if classes is None else classes).plot(ax=ax)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        n_bins: int = 10,
        sample_weight: ArrayLike | None = None,
        ax: Axes | None = None,
    ) -> ReliabilityDisplay:
        """Draw the predictions of a model for labelled samples."""
        estimator = predictor(estimator)
        classes = classes_of(estimator)
        proba = estimator.predict_proba(X)
        codes = validation.codes_of(y, classes, n_samples=len(proba))
        return cls.from_proba(codes, proba, classes=classes.tolist(), n_bins=n_bins, sample_weight=sample_weight, ax=ax)

    from_model = from_estimator

    def plot(self, *, ax: Axes | None = None) -> ReliabilityDisplay:
        """Draw; the area of a point is the share of its class's samples in that bin."""
        found = self.reliability
        self.ax_ = axes_or_new(ax, (5.6, 5.2))
        self.figure_ = self.ax_.figure
        self.ax_.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--", label="calibrated")
        self.lines_ = []
        names = short_names(self.classes)
        for k, colour in enumerate(colours(len(names))):
            some = found.weight[k] > 0
            share = found.weight[k][some] / found.weight[k].sum()
            x, frequency = found.confidence[k][some], found.frequency[k][some]
            self.lines_ += self.ax_.plot(x, frequency, color=colour, label=names[k], linewidth=1)
            self.ax_.scatter(x, frequency, s=10 + 150 * share, color=colour, zorder=3)
        self.ax_.set(xlabel="predicted probability", ylabel="observed frequency", xlim=(0, 1), ylim=(0, 1))
        self.ax_.set_title("Reliability")
        self.ax_.grid(alpha=0.3)
        add_legend(self.ax_, len(self.classes) + 1)
        return self
