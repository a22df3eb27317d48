"""The decision regions of a model with two features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError
from nbsoftmax.plots.estimator import classes_of, predictor
from nbsoftmax.plots.figure import add_legend, axes_or_new, colours
from nbsoftmax.plots.names import short_names
from nbsoftmax.plots.notebook import NotebookDisplay
from nbsoftmax.validation import Float64s, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MARGIN = 0.08  # of the samples' range, added on each side


class DecisionDisplay(NotebookDisplay):
    """The decision regions of a model with two features, and labelled samples.

    Parameters
    ----------
    predict_proba : callable
        From points (n, 2) to probabilities (n, n_classes).
    X : ndarray (n_samples, 2)
    codes : ndarray (n_samples,)
        Class indices of the samples.
    classes : sequence (n_classes,)
    feature_names : (str, str)

    Attributes
    ----------
    ax_, figure_
    """

    def __init__(
        self,
        predict_proba: Callable[[Float64s], Floats],
        X: Float64s,
        codes: NDArray[np.int64],
        classes: Sequence[Any],
        feature_names: Sequence[str] = ("x0", "x1"),
    ) -> None:
        self.predict_proba, self.X, self.codes = predict_proba, X, codes
        self.classes, self.feature_names = classes, feature_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, resolution: int = 400, ax: Axes | None = None
    ) -> DecisionDisplay:
        """Draw the regions of a model around labelled samples; for a pipeline, in the space of its input X."""
        estimator = predictor(estimator)
        classes = classes_of(estimator)
        n_features = getattr(estimator, "n_features", getattr(estimator, "n_features_in_", 2))
        if n_features != 2:
            raise InputValueError(f"the model has {n_features} features; regions can be drawn for two.")
        array, names = validation.frame(X)
        points = np.asarray(validation.design(array, n_features=2), np.float64)
        if not len(points):
            raise InputValueError("X has no rows; regions are drawn around samples.")
        estimator.predict_proba(X[:1])  # raises an error if the model does not accept these features
        codes = validation.codes_of(y, classes, n_samples=len(points))

        def predict_proba(at: Float64s) -> Floats:
            proba: Floats = estimator.predict_proba(at if names is None else _as_table(at, X))
            return proba

        known = names or getattr(estimator, "feature_names", None) or ("x0", "x1")
        return cls(predict_proba, points, codes, classes.tolist(), known).plot(resolution=resolution, ax=ax)

    from_model = from_estimator

    def plot(self, *, resolution: int = 400, ax: Axes | None = None) -> DecisionDisplay:
        """Draw; the higher the largest probability, the stronger the colour."""
        n = validation.count("resolution", resolution, low=2)
        self.ax_ = axes_or_new(ax, (6.4, 5.2))
        self.figure_ = self.ax_.figure
        self._draw_regions(n)
        for k, label in enumerate(short_names(self.classes)):
            mine = self.X[self.codes == k]
            style = {"color": self._colours()[k], "edgecolor": "black", "linewidth": 0.4, "s": 18, "label": label}
            self.ax_.scatter(mine[:, 0], mine[:, 1], **style)
        self.ax_.set(xlabel=self.feature_names[0], ylabel=self.feature_names[1])
        self.ax_.set_title("Decision regions")
        add_legend(self.ax_, len(self.classes))
        return self

    def _draw_regions(self, n: int) -> None:
        """Draw n x n points around the samples, each in the colour of its most probable class."""
        low, high = self.X.min(axis=0), self.X.max(axis=0)
        margin = MARGIN * np.where(high > low, high - low, 1.0)
        x, y = (np.linspace(low[j] - margin[j], high[j] + margin[j], n) for j in (0, 1))
        proba = self.predict_proba(np.column_stack([np.tile(x, n), np.repeat(y, n)]))  # (n * n, n_classes)
        chance = 1 / len(self.classes)
        share = 0.15 + 0.45 * (proba.max(axis=1, keepdims=True) - chance) / (1 - chance)
        picture = (1 - share) + share * self._colours()[proba.argmax(axis=1)]  # (n * n, 3)
        extent = (x[0], x[-1], y[0], y[-1])
        self.ax_.imshow(picture.reshape(n, n, 3), extent=extent, origin="lower", aspect="auto", interpolation="nearest")

    def _colours(self) -> Float64s:
        """Red, green and blue of each class, (n_classes, 3)."""
        from matplotlib.colors import to_rgb

        return np.array([to_rgb(colour) for colour in colours(len(self.classes))])


def _as_table(array: Float64s, table: Any) -> Any:
    """Return an array as a table of the type of `table`, with its column names."""
    of_arrow = hasattr(table, "from_pydict")  # its `columns` are the data, not the names
    names = table.schema.names if of_arrow else list(table.columns)
    make = type(table).from_pydict if of_arrow else type(table)
    return make({name: array[:, j] for j, name in enumerate(names)})
