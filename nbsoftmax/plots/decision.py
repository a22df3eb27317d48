"""The decision regions of a model with two features."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputValueError, counted
from nbsoftmax.plots.estimator import classes_of, predictor
from nbsoftmax.plots.figure import add_legend, apply_layout, axes_or_new, foreground
from nbsoftmax.plots.names import display_names, literal
from nbsoftmax.plots.notebook import NotebookDisplay
from nbsoftmax.plots.palette import colours, of_style, styles
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
    predict : callable, optional
        From points (n, 2) to indices (n,) of predicted classes. Default: the most probable classes.

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
        *,
        predict: Callable[[Float64s], NDArray[np.int64]] | None = None,
    ) -> None:
        self.predict_proba, self.predict, self.X, self.codes = predict_proba, predict, X, codes
        self.classes, self.feature_names = classes, feature_names

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any, y: Any, *, resolution: int = 400, ax: Axes | None = None
    ) -> DecisionDisplay:
        """Draw the regions of a model around labelled samples; for a pipeline, in the space of its input X.

        The regions are those of `predict`, with the decision thresholds of the estimator.

        Raises
        ------
        InputValueError, InputTypeError
            For an estimator that is not a SoftmaxModel, a FitResult or a fitted classifier, or that has not two
            features; for an X without rows or that does not suit it; for labels `y` that it was not trained on or that
            are not one for each row; and as `plot`.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        estimator = predictor(estimator)
        classes = classes_of(estimator)
        n_features = getattr(estimator, "n_features", getattr(estimator, "n_features_in_", 2))
        if n_features != 2:
            raise InputValueError(f"the model has {counted(n_features, 'feature')}; regions can be drawn for two.")
        array, names = validation.frame(X)
        points = np.asarray(validation.design(array, n_features=2), np.float64)
        if not len(points):
            raise InputValueError("X has no rows; regions are drawn around samples.")
        estimator.predict_proba(X[:1])  # raises an error if the model does not accept these features
        codes = validation.codes_of(y, classes, n_samples=len(points))

        def given(at: Float64s) -> Any:
            return at if names is None else _as_table(at, X)

        def predict_proba(at: Float64s) -> Floats:
            proba: Floats = estimator.predict_proba(given(at))
            return proba

        def predict(at: Float64s) -> NDArray[np.int64]:
            return validation.codes_of(estimator.predict(given(at)), classes, n_samples=len(at))

        known = names or getattr(estimator, "feature_names", None) or ("x0", "x1")
        display = cls(predict_proba, points, codes, classes.tolist(), known, predict=predict)
        return display.plot(resolution=resolution, ax=ax)

    from_model = from_estimator

    def plot(self, *, resolution: int = 400, ax: Axes | None = None) -> DecisionDisplay:
        """Draw; the higher the probability of the predicted class, the stronger the colour.

        Raises
        ------
        InputValueError, InputTypeError
            For a `resolution` that is not a whole number of at least 2, and an `ax` that is not axes of matplotlib.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        n = validation.count("resolution", resolution, low=2)
        names = display_names(self.classes)
        self.ax_ = axes_or_new(ax, (6.4, 5.2), names)
        self.figure_ = self.ax_.figure
        places = self._draw_regions(n)
        samples = []
        for k, of_class in enumerate(styles(len(names))):
            mine = self.X[self.codes == k]
            style = {"color": of_class["color"], "marker": of_class["marker"], "edgecolor": foreground(), "s": 18}
            samples.append(self.ax_.scatter(mine[:, 0], mine[:, 1], linewidth=0.4, label=names[k], **style))
        self.ax_.set(xlabel=literal(self.feature_names[0]), ylabel=literal(self.feature_names[1]))
        self.ax_.set_title("Decision regions")
        add_legend(self.ax_, samples)
        if len(names) > len(of_style()):
            self._write_names(names, places)
        return self

    def _draw_regions(self, n: int) -> dict[int, tuple[float, float]]:
        """Draw n x n points around the samples, each in the colour of its predicted class.

        Returns the centre of each class's region, the largest region first. For a linear model, regions are convex,
        and their centres lie within them.
        """
        from matplotlib.colors import to_rgb

        low, high = self.X.min(axis=0), self.X.max(axis=0)
        margin = MARGIN * np.where(high > low, high - low, 1.0)
        x, y = (np.linspace(low[j] - margin[j], high[j] + margin[j], n) for j in (0, 1))
        points = np.column_stack([np.tile(x, n), np.repeat(y, n)])
        proba = self.predict_proba(points)  # (n * n, n_classes)
        best = proba.argmax(axis=1) if self.predict is None else self.predict(points)
        of_best = np.take_along_axis(proba, best[:, None], axis=1)
        chance = 1 / len(self.classes)
        share = 0.15 + 0.45 * np.maximum(of_best - chance, 0) / (1 - chance)
        background = np.array(to_rgb(self.ax_.get_facecolor()))
        of_class = np.array(colours(len(self.classes)))  # (n_classes, 3)
        picture = (1 - share) * background + share * of_class[best]  # (n * n, 3)
        extent = (x[0], x[-1], y[0], y[-1])
        self.ax_.imshow(picture.reshape(n, n, 3), extent=extent, origin="lower", aspect="auto", interpolation="nearest")
        area = np.bincount(best, minlength=len(self.classes))
        with np.errstate(invalid="ignore"):  # classes without a region
            centre_x, centre_y = (np.bincount(best, points[:, j], area.size) / area for j in (0, 1))
        order = np.argsort(-area, kind="stable")[: np.count_nonzero(area)]
        return {int(k): (centre_x[k], centre_y[k]) for k in order}

    def _write_names(self, names: list[str], places: dict[int, tuple[float, float]]) -> None:
        """Write names into the regions, because many colours are hard to tell apart.

        A name that would overlap that of a larger region is left out; it is in the legend.
        """
        from matplotlib.patheffects import withStroke

        halo = [withStroke(linewidth=2.5, foreground=self.ax_.get_facecolor())]
        apply_layout(self.ax_)
        boxes: list[Any] = []
        for k, (x, y) in places.items():
            text = self.ax_.text(x, y, names[k], ha="center", va="center", weight="bold", path_effects=halo, zorder=4)
            box = text.get_window_extent()
            if any(box.overlaps(other) for other in boxes):
                text.remove()
            else:
                boxes.append(box)


def _as_table(array: Float64s, table: Any) -> Any:
    """Return an array as a table of the type of `table`, with its column names."""
    of_arrow = hasattr(table, "from_pydict")  # its `columns` are the data, not the names
    names = table.schema.names if of_arrow else list(table.columns)
    make = type(table).from_pydict if of_arrow else type(table)
    return make({name: array[:, j] for j, name in enumerate(names)})
