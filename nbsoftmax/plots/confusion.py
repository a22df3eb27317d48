"""The confusion matrix: true and predicted classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.models.scores import confusion
from nbsoftmax.plots.estimator import classes_of, predictor
from nbsoftmax.plots.figure import axes_or_new
from nbsoftmax.plots.names import short_names
from nbsoftmax.plots.notebook import NotebookDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEQUENTIAL = "cividis"  # colour map, readable for the colour-blind


class ConfusionDisplay(NotebookDisplay):
    """The confusion matrix of a model.

    Parameters
    ----------
    confusion : ndarray (n_classes, n_classes)
        Counts; rows are true classes, columns predicted ones.
    classes : sequence (n_classes,)

    Attributes
    ----------
    image_, ax_, figure_
    """

    def __init__(self, confusion: NDArray[np.int64], classes: Sequence[Any]) -> None:
        self.confusion, self.classes = confusion, classes

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, normalize: bool = False, ax: Axes | None = None
    ) -> ConfusionDisplay:
        """Draw the predictions of a model for labelled samples."""
        estimator = predictor(estimator)
        classes = classes_of(estimator)
        labels = estimator.predict(X)
        predicted = validation.codes_of(labels, classes, n_samples=len(labels))
        truth = validation.codes_of(y, classes, n_samples=len(labels))
        counts = confusion(truth, predicted, classes.size)
        return cls(counts, classes.tolist()).plot(normalize=normalize, ax=ax)

    from_model = from_estimator

    def plot(self, *, normalize: bool = False, ax: Axes | None = None) -> ConfusionDisplay:
        """Draw counts, or with `normalize` shares of each true class."""
        n = len(self.classes)
        size = min(12.0, 3.2 + 0.45 * n)
        self.ax_ = axes_or_new(ax, (size + 0.8, size))
        self.figure_ = self.ax_.figure
        total = self.confusion.sum(axis=1, keepdims=True)
        shown = self.confusion / np.maximum(total, 1) if normalize else self.confusion
        self.image_ = self.ax_.imshow(shown, cmap=SEQUENTIAL, vmin=0, vmax=1 if normalize else None)
        self._write_cells(shown, "{:.2f}" if normalize else "{}")
        self._write_names()
        self.ax_.set(xlabel="predicted", ylabel="true")
        self.ax_.set_title("Confusion matrix")
        label = "share of the true class" if normalize else "samples"
        self.figure_.colorbar(self.image_, ax=self.ax_, shrink=0.8, label=label)
        return self

    def _write_cells(self, shown: NDArray[Any], form: str) -> None:
        middle, font = shown.max() / 2, 9 if len(shown) <= 12 else 6
        for i, j in np.argwhere(self.confusion).tolist():
            colour = "black" if shown[i, j] > middle else "white"
            self.ax_.text(j, i, form.format(shown[i, j]), ha="center", va="center", color=colour, fontsize=font)

    def _write_names(self) -> None:
        names = short_names(self.classes)
        self.ax_.set_xticks(range(len(names)), names)
        self.ax_.set_yticks(range(len(names)), names)
        if max(map(len, names)) > 4:
            self.ax_.tick_params("x", rotation=50)
            for name in self.ax_.get_xticklabels():
                name.set(ha="right", rotation_mode="anchor")
