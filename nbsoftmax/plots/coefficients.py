"""The weights of each class, as bars or as images."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.backends.moments import mean_and_variance, moments
from nbsoftmax.errors import InputValueError, plain
from nbsoftmax.models.complete_rows import complete_rows
from nbsoftmax.models.softmax import SoftmaxModel, feature_names
from nbsoftmax.plots.estimator import linear_model, predictor
from nbsoftmax.plots.figure import figure_or_new, foreground, panels
from nbsoftmax.plots.names import display_names, literal
from nbsoftmax.plots.notebook import NotebookDisplay
from nbsoftmax.validation import Float64s

DIVERGING = "RdBu_r"  # colour map, readable for the colour-blind
POSITIVE, NEGATIVE = "#d6604d", "#4393c3"  # red and blue of that colour map, visible on light and dark backgrounds
MOST_COLUMNS_OF_IMAGES, MOST_COLUMNS_OF_BARS = 5, 3
LEAST_BARS = 5  # a figure has room for at least so many in each row


class CoefficientDisplay(NotebookDisplay):
    """The weights of each class: as images if the features are pixels, otherwise as bars of the largest weights.

    Parameters
    ----------
    coef : ndarray (n_classes, n_features)
    classes : sequence (n_classes,)
    feature_names : sequence of str (n_features,)
    image_shape : (height, width), optional
    label : str
        What the numbers of `coef` are.

    Attributes
    ----------
    axes_ : ndarray of matplotlib axes (n_classes,)
    figure_

    Raises
    ------
    InputValueError
        For an `image_shape` that is not two whole numbers of at least 1 whose product is n_features.
    """

    def __init__(
        self,
        coef: Float64s,
        classes: Sequence[Any],
        feature_names: Sequence[str],
        *,
        image_shape: tuple[int, int] | None = None,
        label: str = "weight",
    ) -> None:
        if image_shape is not None:
            _check_image_shape(image_shape, coef.shape[1])
        self.coef, self.classes, self.feature_names, self.image_shape = coef, classes, feature_names, image_shape
        self.label = label

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        *,
        image_shape: tuple[int, int] | None = None,
        n_features: int = 10,
        figure: Any = None,
    ) -> CoefficientDisplay:
        """Draw the weights of a model; as bars, the `n_features` largest of each class.

        For a pipeline, the weights are those of its last step, and so are the features: the output of the steps before
        it.

        Parameters
        ----------
        estimator : SoftmaxModel, FitResult or fitted classifier
        X : array-like or table (n_samples, n_features), optional
            Input of the estimator, such as the data of the fit. With it, each weight is multiplied by the standard
            deviation of its feature, so that weights of features in different units can be compared.
        image_shape : (height, width), optional
            If the features are pixels.
        n_features : int
        figure : matplotlib figure or subfigure, optional

        Raises
        ------
        InputValueError, InputTypeError
            For an estimator that is not one of these, an X without rows or that does not suit it, another `image_shape`
            than that of its features, an `n_features` that is not a whole number of at least 1, and a `figure` that is
            not one of matplotlib.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        estimator = predictor(estimator)
        model = linear_model(estimator)
        coef, label = model.coef, "weight"
        if X is not None:
            coef, label = _scaled(coef, _standard_deviations(estimator, model, X)), "weight x standard deviation"
        display = cls(coef, model.classes.tolist(), feature_names(model), image_shape=image_shape, label=label)
        return display.plot(n_features=n_features, figure=figure)

    from_model = from_estimator

    def plot(self, *, n_features: int = 10, figure: Any = None) -> CoefficientDisplay:
        """Draw on a figure or subfigure.

        Raises
        ------
        InputValueError, InputTypeError
            For an `n_features` that is not a whole number of at least 1, and a `figure` that is not one of matplotlib.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        shown = min(validation.count("n_features", n_features), self.coef.shape[1])
        n_classes, images = len(self.classes), self.image_shape is not None
        n_columns = min(n_classes, MOST_COLUMNS_OF_IMAGES if images else MOST_COLUMNS_OF_BARS)
        n_rows = -(-n_classes // n_columns)
        bars = (4.2 * n_columns, n_rows * (0.8 + 0.22 * max(shown, LEAST_BARS)))
        self.figure_ = figure = figure_or_new(figure, (2.1 * n_columns + 1, 2.3 * n_rows) if images else bars)
        self.axes_ = panels(figure, display_names(self.classes), n_columns)
        limit = float(np.abs(self.coef).max()) or 1.0
        if self.image_shape is not None:
            self._draw_images(self.image_shape, limit)
        else:
            self._draw_bars(shown, limit)
        figure.suptitle("Weights (red: positive, blue: negative)")
        return self

    def _draw_images(self, shape: tuple[int, int], limit: float) -> None:
        for ax, row in zip(self.axes_, self.coef, strict=True):
            image = ax.imshow(row.reshape(shape), cmap=DIVERGING, vmin=-limit, vmax=limit)
            ax.set_axis_off()
        self.figure_.colorbar(image, ax=list(self.axes_), shrink=0.8, label=literal(self.label))

    def _draw_bars(self, shown: int, limit: float) -> None:
        features = display_names(self.feature_names)
        for ax, row in zip(self.axes_, self.coef, strict=True):
            largest = np.argsort(-np.abs(row), kind="stable")[:shown]
            places = np.arange(shown)
            ax.barh(places, row[largest], color=np.where(row[largest] > 0, POSITIVE, NEGATIVE))
            ax.set_yticks(places, [features[j] for j in largest])
            ax.invert_yaxis()
            ax.set_xlim(-1.08 * limit, 1.08 * limit)
            ax.axvline(0, color=foreground(), linewidth=0.8)
            ax.set_xlabel(literal(self.label))


def _check_image_shape(shape: Any, n_features: int) -> None:
    numbers = list(shape) if isinstance(shape, (tuple, list, np.ndarray)) else []
    whole = all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) and n > 0 for n in numbers)
    if len(numbers) != 2 or not whole:
        raise InputValueError(
            f"image_shape is {plain(shape)}, expected (height, width), two whole numbers of at least 1.",
            parameter="image_shape",
        )
    if numbers[0] * numbers[1] != n_features:
        raise InputValueError(
            f"image_shape is {tuple(shape)}, but there are {n_features} features; height times width must equal the "
            "number of features.",
            parameter="image_shape",
        )


def _standard_deviations(estimator: Any, model: SoftmaxModel, X: Any) -> Float64s:
    """Those of the features of a model, which for a pipeline are the output of the steps before the last."""
    while hasattr(estimator, "steps"):
        if len(estimator.steps) > 1:
            X = estimator[:-1].transform(X)
        estimator = estimator.steps[-1][1]
    fitted = getattr(estimator, "model_", model)  # with the encoding and the names of the last step
    X, *_ = complete_rows(fitted, X)
    array = validation.some_samples(fitted._features(X))
    return np.sqrt(mean_and_variance(partial(moments, array, np.empty(0)), model.n_features)[1])


def _scaled(coef: Float64s, deviations: Float64s) -> Float64s:
    """The weights times the standard deviations of their features; 0 remains 0."""
    with np.errstate(over="ignore", invalid="ignore"):
        scaled = np.where(coef == 0, 0.0, coef * deviations)
    if not np.isfinite(scaled).all():
        j = int(np.argmin(np.isfinite(scaled).all(axis=0)))
        raise InputValueError(
            f"the weight of feature {j} (counted from 0) times its standard deviation exceeds the range of float64; "
            "give the features in another unit."
        )
    return scaled
