"""The confusion matrix: true and predicted classes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, InputValueError, counted, listed, plain
from nbsoftmax.models.scores import confusion
from nbsoftmax.plots.estimator import classes_of, predictor, with_offset
from nbsoftmax.plots.figure import axes_or_new, sums_called
from nbsoftmax.plots.matrix import number_text, share_text, write_names, write_numbers
from nbsoftmax.plots.names import display_names
from nbsoftmax.plots.notebook import NotebookDisplay

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEQUENTIAL = "cividis"  # colour map, readable for the colour-blind
SHARES = {"true": "share of the true class", "pred": "share of the predicted class", "all": "share of the samples"}


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

    def __init__(self, confusion: NDArray[Any], classes: Sequence[Any]) -> None:
        self.confusion, self.classes = confusion, classes

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any,
        y: Any,
        *,
        labels: Any = None,
        sample_weight: ArrayLike | None = None,
        offset: ArrayLike | None = None,
        display_labels: Sequence[Any] | None = None,
        **options: Any,
    ) -> ConfusionDisplay:
        """Draw the predictions of a model for labelled samples.

        Parameters
        ----------
        estimator : SoftmaxModel, FitResult or fitted classifier
        X : array_like, frame or sparse matrix (n_samples, n_features)
        y : array_like (n_samples,)
            Labels.
        labels, sample_weight, display_labels
            As for `from_predictions`. Default of `labels`: the classes of the model.
        offset : array_like (n_samples, n_classes), or (n_samples,) for the second of two classes, optional
            For `predict` of the estimator, which must take one.
        **options
            Of `plot`.

        Raises
        ------
        InputValueError, InputTypeError
            For an estimator that is not one of these, an X or offset that does not suit it, labels `y` that it was not
            trained on or that are not one for each row, and as `from_predictions`.
        TypeError
            For an offset, if `predict` of the estimator takes none.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        estimator = predictor(estimator)
        classes = classes_of(estimator)
        predicted = estimator.predict(X, **with_offset(offset))
        codes = validation.codes_of(y, classes, n_samples=len(predicted))
        labels = classes.tolist() if labels is None else labels
        return cls.from_predictions(
            classes[codes],
            predicted,
            labels=labels,
            sample_weight=sample_weight,
            display_labels=display_labels,
            **options,
        )

    from_model = from_estimator

    @classmethod
    def from_predictions(
        cls,
        y_true: Any,
        y_pred: Any,
        *,
        labels: Any = None,
        sample_weight: ArrayLike | None = None,
        display_labels: Sequence[Any] | None = None,
        **options: Any,
    ) -> ConfusionDisplay:
        """Draw true and predicted labels.

        Parameters
        ----------
        y_true, y_pred : array_like (n_samples,)
            Labels.
        labels : array_like (n_labels,), optional
            The classes to draw, in this order. Default: all labels of `y_true` and `y_pred`, sorted.
        sample_weight : array_like (n_samples,), optional
            The matrix has sums of these instead of counts. If their sum overflows float64, all are divided by a power
            of two.
        display_labels : sequence (n_labels,), optional
            Other names of the classes.
        **options
            Of `plot`.

        Raises
        ------
        InputValueError, InputTypeError
            For no labels, missing ones, or other numbers of `y_true`, `y_pred` or `sample_weight`; for weights that are
            not numbers of at least 0; for `labels` that are empty, repeated, or not in `y_true`; for another number of
            `display_labels`; and as `plot`.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        (true, seen), (predicted, seen_too) = (
            validation.labels(y, name=name) for y, name in ((y_true, "y_true"), (y_pred, "y_pred"))
        )
        if len(true) != len(predicted):
            raise InputValueError(
                f"y_true has {counted(len(true), 'label')}, but y_pred has {len(predicted)}; give one of each for "
                "every sample."
            )
        if not len(true):
            raise InputValueError("y_true and y_pred have no labels; give at least one sample.")
        shown = None if labels is None else _checked_labels(labels, seen)
        wanted = [] if shown is None else shown[1][shown[0]].tolist()
        both = [*seen.tolist(), *seen_too.tolist(), *wanted]
        classes = validation.labels(both, name="y_true, y_pred and labels together")[1]
        weight = validation.summable(validation.sample_weights(sample_weight, len(true)))
        counts = confusion(
            validation.positions(seen, classes)[true],
            validation.positions(seen_too, classes)[predicted],
            classes.size,
            weight if weight.size else None,
        )
        if shown is not None:
            at = validation.positions(shown[1], classes)[shown[0]]
            counts, classes = counts[np.ix_(at, at)], classes[at]
        if isinstance(display_labels, str) or not isinstance(display_labels, Iterable | None):
            raise InputTypeError(f"display_labels is {plain(display_labels)}, expected a sequence of names.")
        names = classes.tolist() if display_labels is None else list(display_labels)
        if len(names) != classes.size:
            raise InputValueError(
                f"display_labels has {counted(len(names), 'name')}, expected {classes.size}: one for each class."
            )
        return cls(counts, names).plot(**options)

    def plot(  # as many parameters as scikit-learn's ConfusionMatrixDisplay.plot
        self,
        *,
        normalize: bool | str | None = False,
        include_values: bool = True,
        cmap: Any = SEQUENTIAL,
        xticks_rotation: str | float | None = None,
        values_format: str | None = None,
        ax: Axes | None = None,
        colorbar: bool = True,
        im_kw: Mapping[str, Any] | None = None,
        text_kw: Mapping[str, Any] | None = None,
    ) -> ConfusionDisplay:
        """Draw. Of many classes, names are small, or only every second, third ... name is written.

        Parameters
        ----------
        normalize : {None, "true", "pred", "all"} or bool
            Draw counts, or shares of each true class ("true" or True), of each predicted class or of all samples.
        include_values : bool
            Whether to write the numbers that are not 0 into the cells. They are left out if they do not fit, unless
            `text_kw` has a "fontsize".
        cmap : str or matplotlib colour map
        xticks_rotation : {"horizontal", "vertical"} or float, optional
            Of the names below. Default: horizontal if they are short and fit.
        values_format : str, optional
            Format specification of the numbers. Default: whole numbers, four digits of sums of weights, two decimals
            of shares ("<0.01" for less).
        ax : matplotlib axes, optional
        colorbar : bool
        im_kw, text_kw : dict, optional
            Further options of matplotlib's `imshow` and `text`.

        Raises
        ------
        InputValueError, InputTypeError
            For another `normalize` or `xticks_rotation`, a `values_format` that cannot format the numbers, and an `ax`
            that is not axes of matplotlib.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        names = display_names(self.classes)
        shown, label = self._normalized(normalize)
        counts = shown is self.confusion
        degrees = _degrees(xticks_rotation)
        texts = self._texts(shown, counts, values_format) if include_values else {}
        size = min(12.0, 3.2 + 0.45 * len(names))
        self.ax_ = axes_or_new(ax, (size + 0.8, size))
        self.figure_ = self.ax_.figure
        bottom_and_top = {"vmin": 0, "vmax": None if counts else 1}
        self.image_ = self.ax_.imshow(shown, **({"cmap": cmap} | bottom_and_top | dict(im_kw or {})))
        self.ax_.set(xlabel="predicted", ylabel="true")
        self.ax_.set_title("Confusion matrix")
        if colorbar:
            self.figure_.colorbar(self.image_, ax=self.ax_, shrink=0.8, label=label)
        write_names(self.ax_, names, degrees)
        write_numbers(self.ax_, self.image_, texts, dict(text_kw or {}))
        return self

    def _normalized(self, normalize: bool | str | None) -> tuple[NDArray[Any], str]:
        """The numbers to draw, and what they are."""
        if normalize is None or normalize is False:
            return self.confusion, sums_called(self.confusion)
        by = validation.choice("normalize", "true" if normalize is True else normalize, tuple(SHARES))
        numbers, _ = validation.scaled(np.asarray(self.confusion, np.float64))  # subnormal numbers have few digits
        total = numbers.sum(axis={"true": 1, "pred": 0, "all": None}[by], keepdims=True)
        return numbers / np.where(total > 0, total, 1), SHARES[by]

    def _texts(self, shown: NDArray[Any], counts: bool, form: str | None) -> dict[tuple[int, int], str]:
        """The numbers that are not 0 as texts, by row and column."""

        def given(value: Any) -> str:
            try:
                return format(value, form or "")
            except (ValueError, TypeError):
                raise InputValueError(
                    f"values_format is {plain(form)}, which cannot format {value}; give a format specification of "
                    "Python, such as '.2f'."
                ) from None

        text = given if form is not None else number_text if counts else share_text
        return {(i, j): text(shown[i, j]) for i, j in np.argwhere(self.confusion).tolist()}


def _degrees(rotation: Any) -> float | None:
    """Check the rotation of the names below the matrix; None for the default."""
    named = {"horizontal": 0.0, "vertical": 90.0}
    if rotation is None or (isinstance(rotation, str) and rotation in named):
        return None if rotation is None else named[rotation]
    if isinstance(rotation, str):
        raise InputValueError(
            f"xticks_rotation is {plain(rotation)}, expected 'horizontal', 'vertical' or an angle in degrees."
        )
    return validation.number("xticks_rotation", rotation, low=-360.0, high=360.0)


def _checked_labels(labels: Any, seen: NDArray[Any]) -> tuple[NDArray[np.int32], NDArray[Any]]:
    """Encode the labels to draw, as `validation.labels` does; `seen` are those of y_true."""
    codes, found = validation.labels(labels, name="labels")
    if not codes.size:
        raise InputValueError("labels is empty; give at least one label, or leave it out for all.")
    twice = validation.first_repeated(found[codes].tolist())
    if twice is not None:
        raise InputValueError(f"labels contains {plain(twice)} twice; give each label once.")
    if not set(found.tolist()) & set(seen.tolist()):
        raise InputValueError(
            f"labels is {listed(found[codes].tolist())}, but y_true has none of them (its labels: "
            f"{listed(seen.tolist())}); give at least one of these."
        )
    return codes, found
