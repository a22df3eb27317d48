"""Pictures of fits and models. Needs matplotlib: pip install "nbsoftmax[plot]".

Displays as scikit-learn has them: a classmethod `from_...` computes what is shown, keeps it in attributes, draws it
and returns the display, whose `ax_` (or `axes_`) and `figure_` are matplotlib's; `plot` draws it again, on the given
axes or on a new figure. Nothing is changed in pyplot: a new figure belongs to the display alone, and is saved by
`display.figure_.savefig`; in a notebook, `display.figure_` shows it.

`from_estimator` takes a `SoftmaxModel`, a `FitResult`, or a fitted scikit-learn classifier with probabilities: one of
this package's estimators, a pipeline, a search. `from_model` is the same under its former name.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, InputValueError
from nbsoftmax.files import file_name, whole_file
from nbsoftmax.models import calibration
from nbsoftmax.models.softmax import SoftmaxModel, confusion
from nbsoftmax.selection.cross_validation import CVResult, summary
from nbsoftmax.selection.path import PathResult
from nbsoftmax.training.result import FitResult
from nbsoftmax.validation import Float64s, Floats

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LONGEST_NAME = 18  # characters of a class or feature beside an axis
MOST_COLOURS = 10  # curves of colours of their own; beyond, they go through a colour map
DIVERGING, SEQUENTIAL = "RdBu_r", "cividis"  # readable for the colour-blind
# Those that every supported matplotlib writes.
FORMATS = ("png", "svg", "pdf", "eps", "ps", "jpg", "jpeg", "tif", "tiff", "webp", "svgz")


def _figure(size: tuple[float, float]) -> Figure:
    """A figure that pyplot does not know, and that needs no closing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "matplotlib":
            raise
        message = 'pictures need matplotlib; install it with: pip install "nbsoftmax[plot]"'
        raise ModuleNotFoundError(message, name="matplotlib") from None
    figure = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _axes(ax: Axes | None, size: tuple[float, float]) -> Axes:
    if ax is not None:
        return ax
    axes: Axes = _figure(size).subplots()
    return axes


def _short_names(names: Iterable[Any]) -> list[str]:
    """Names of at most `LONGEST_NAME` characters where that is possible; names that differ stay different.

    Where one is longer, what all begin with is left out, up to its last separator; then the middle of those that are
    still too long, of which more is shown until no two are alike.
    """
    texts = [str(name) for name in names]
    if max(map(len, texts), default=0) <= LONGEST_NAME:
        return texts
    ends = (min(texts), max(texts)) if len(texts) > 1 else ("", "")  # in order, so all share what these two do
    common = takewhile(lambda pair: pair[0] == pair[1], zip(*ends, strict=False))
    begin = max((i for i, (letter, _) in enumerate(common, 1) if not letter.isalnum()), default=0)
    rests = ["…" + text[begin:] for text in texts] if begin > 1 else texts
    for longest in range(LONGEST_NAME, max(map(len, rests)) + 1, 6):
        short = [_without_middle(text, longest) for text in rests]
        if len(set(short)) == len(set(texts)):
            return short
    return rests


def _without_middle(text: str, longest: int) -> str:
    if len(text) <= longest:
        return text
    first = longest // 3
    return text[:first] + "…" + text[first + 1 - longest :]


# --- what displays draw: models, estimators, pipelines -------------------------------------------


def _unwrapped(estimator: Any) -> Any:
    """The model of a fit result, the best estimator of a search; anything else as it is."""
    if isinstance(estimator, FitResult):
        return estimator.model
    return getattr(estimator, "best_estimator_", estimator)


def _classes(estimator: Any) -> NDArray[Any]:
    """Labels (n_classes,) of a model or of a fitted classifier that predicts probabilities."""
    classes = getattr(estimator, "classes" if isinstance(estimator, SoftmaxModel) else "classes_", None)
    if classes is None or not hasattr(estimator, "predict_proba"):
        raise InputTypeError(
            f"estimator is a {type(estimator).__name__}, expected a SoftmaxModel, a FitResult or a fitted classifier "
            "with predict_proba, such as SoftmaxRegression or a pipeline that ends in one; fit it first."
        )
    return validation.class_labels(classes)


def _linear_model(estimator: Any) -> SoftmaxModel:
    """The softmax model of an estimator, or of the last step of a pipeline, with the names of its features."""
    if isinstance(estimator, SoftmaxModel):
        return estimator
    if hasattr(estimator, "steps"):
        last = estimator.steps[-1][1]
        model = _linear_model(last)
        if len(estimator.steps) > 1:
            try:
                names = tuple(map(str, estimator[:-1].get_feature_names_out()))
            except (AttributeError, ValueError):  # a step that does not know them
                return model
            return SoftmaxModel(model.coef, model.intercept, model.classes, names)
        return model
    _classes(estimator)
    return estimator.model_ if hasattr(estimator, "model_") else SoftmaxModel.from_sklearn(estimator)


def _colours(n: int) -> list[Any]:
    from matplotlib import colormaps

    if n <= MOST_COLOURS:
        return [f"C{k}" for k in range(n)]
    return list(colormaps["viridis"](np.linspace(0, 1, n)))


class ConvergenceDisplay:
    """How far above the least objective known each fit was, over its iterations or seconds.

    Parameters
    ----------
    histories : dict of name to history
        Each a mapping with arrays "objective" and "seconds", as `FitResult.history`.
    floor : float, optional
        What is subtracted from the objectives; by default the least of them all, less a margin below what can be seen.

    Attributes
    ----------
    lines_ : list of matplotlib lines
    ax_, figure_
    """

    def __init__(self, histories: Mapping[str, Mapping[str, Float64s]], *, floor: float | None = None) -> None:
        self.histories = dict(histories)
        least = min(float(np.min(h["objective"])) for h in self.histories.values())
        # One ULP keeps the best point itself on the logarithmic axis.
        self.floor = least - np.spacing(abs(least)) if floor is None else floor

    @classmethod
    def from_result(
        cls, result: FitResult | Mapping[str, FitResult], *, over: str = "iterations", ax: Axes | None = None
    ) -> ConvergenceDisplay:
        """Draw one fit, or several by name. The floor is the least objective minus its own gap, where that is known."""
        results = {result.solver: result} if isinstance(result, FitResult) else dict(result)
        for name, one in results.items():
            if one.n_iter == 0:
                raise InputValueError(f"the fit {name!r} made no iteration; there is nothing to draw.")
        best = min(results.values(), key=lambda one: one.objective)
        floor = best.objective - best.gap if np.isfinite(best.gap) and best.gap > 0 else None
        return cls({name: one.history for name, one in results.items()}, floor=floor).plot(over=over, ax=ax)

    @classmethod
    def from_log(
        cls, path: str | os.PathLike[str], *, over: str = "iterations", ax: Axes | None = None
    ) -> ConvergenceDisplay:
        """Draw what `callbacks.JsonLines` has written: every fit in the file."""
        fits: list[dict[str, list[float]]] = []
        with open(file_name(path), encoding="utf-8", errors="replace") as file:
            for number, line in enumerate(file, 1):
                try:
                    entry = json.loads(line)
                    if "iteration" not in entry:  # how a fit ended
                        continue
                    if not fits or entry["iteration"] <= fits[-1]["iteration"][-1]:
                        fits.append({"iteration": [], "objective": [], "seconds": []})
                    for name, values in fits[-1].items():
                        values.append(np.nan if entry[name] is None else float(entry[name]))
                except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
                    raise InputValueError(
                        f"{path} line {number} is no line of a log of iterations; give a file of fit --log."
                    ) from None
        if not fits:
            raise InputValueError(f"{path} has no iterations; give a file that fit --log has written.")
        names = [f"fit {n}" for n in range(1, len(fits) + 1)] if len(fits) > 1 else ["objective"]
        histories = {
            name: {key: np.array(values) for key, values in one.items()} for name, one in zip(names, fits, strict=True)
        }
        return cls(histories).plot(over=over, ax=ax)

    def plot(self, *, over: str = "iterations", ax: Axes | None = None) -> ConvergenceDisplay:
        """Draw over "iterations" or "seconds"."""
        validation.choice("over", over, ("iterations", "seconds"))
        self.ax_ = _axes(ax, (6.4, 4.2))
        self.figure_ = self.ax_.figure
        self.lines_ = []
        names = _short_names(self.histories)
        for name, history, colour in zip(names, self.histories.values(), _colours(len(names)), strict=True):
            values = np.asarray(history["objective"])
            x = np.arange(1, len(values) + 1) if over == "iterations" else history["seconds"]
            self.lines_ += self.ax_.semilogy(x, values - self.floor, color=colour, label=name, marker=".")
        self.ax_.set(xlabel="iteration" if over == "iterations" else "seconds", ylabel="objective above the minimum")
        self.ax_.set_title("Convergence")
        self.ax_.grid(alpha=0.3)
        if len(self.lines_) > 1:
            self.ax_.legend()
        return self


class CoefficientDisplay:
    """The weights of each class: as images where features are pixels, else as bars of the biggest ones.

    Parameters
    ----------
    coef : ndarray (n_classes, n_features)
    classes : sequence (n_classes,)
    feature_names : sequence of str (n_features,)
    image_shape : (height, width), optional

    Attributes
    ----------
    axes_ : ndarray of matplotlib axes (n_classes,)
    figure_
    """

    def __init__(
        self,
        coef: Float64s,
        classes: Sequence[Any],
        feature_names: Sequence[str],
        *,
        image_shape: tuple[int, int] | None = None,
    ) -> None:
        if image_shape is not None and image_shape[0] * image_shape[1] != coef.shape[1]:
            raise InputValueError(
                f"image_shape is {tuple(image_shape)}, but there are {coef.shape[1]} features; height times width must "
                "be as many."
            )
        self.coef, self.classes, self.feature_names, self.image_shape = coef, classes, feature_names, image_shape

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        image_shape: tuple[int, int] | None = None,
        n_features: int = 10,
        figure: Any = None,
    ) -> CoefficientDisplay:
        """Draw the weights of a model; as bars, those of the `n_features` biggest of each class.

        Those of a pipeline are of its last step, and so are the features: what the steps before make of X.
        """
        model = _linear_model(_unwrapped(estimator))
        names = model.feature_names or tuple(f"x{j}" for j in range(model.n_features))
        display = cls(model.coef, model.classes.tolist(), names, image_shape=image_shape)
        return display.plot(n_features=n_features, figure=figure)

    from_model = from_estimator

    def plot(self, *, n_features: int = 10, figure: Any = None) -> CoefficientDisplay:
        """Draw on a figure or subfigure."""
        n_classes = len(self.classes)
        n_columns = min(n_classes, 5 if self.image_shape is not None else 3)
        n_rows = -(-n_classes // n_columns)
        shown = min(validation.count("n_features", n_features), self.coef.shape[1])
        if figure is None:
            bars = (4.2 * n_columns, n_rows * (0.8 + 0.22 * shown))
            figure = _figure((2.1 * n_columns + 1, 2.3 * n_rows) if self.image_shape is not None else bars)
        self.figure_ = figure
        grid = np.array(figure.subplots(n_rows, n_columns, squeeze=False)).ravel()
        self.axes_ = grid[:n_classes]
        for ax in grid[n_classes:]:
            ax.set_axis_off()
        limit = float(np.abs(self.coef).max()) or 1.0
        features = _short_names(self.feature_names)
        for ax, label, row in zip(self.axes_, _short_names(self.classes), self.coef, strict=True):
            ax.set_title(label)
            if self.image_shape is not None:
                image = ax.imshow(row.reshape(self.image_shape), cmap=DIVERGING, vmin=-limit, vmax=limit)
                ax.set_axis_off()
                continue
            biggest = np.argsort(-np.abs(row), kind="stable")[:shown]
            places = np.arange(shown)
            ax.barh(places, row[biggest], color=np.where(row[biggest] > 0, "#b2182b", "#2166ac"))
            ax.set_yticks(places, [features[j] for j in biggest])
            ax.invert_yaxis()
            ax.set_xlim(-1.08 * limit, 1.08 * limit)
            ax.axvline(0, color="black", linewidth=0.8)
            ax.set_xlabel("weight")
        if self.image_shape is not None:
            figure.colorbar(image, ax=list(self.axes_), shrink=0.8, label="weight")
        figure.suptitle("Weights (red: positive, blue: negative)")
        return self


class ReliabilityDisplay:
    """What was predicted and what happened, class by class; on the diagonal, a model says what it knows.

    Parameters
    ----------
    reliability : Reliability
    classes : sequence (n_classes,)

    Attributes
    ----------
    lines_ : list of matplotlib lines, one a class
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
        """Draw predictions (n_samples, n_classes) and class indices `y` (n_samples,)."""
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
        """Draw the predictions of a model for samples with known labels."""
        estimator = _unwrapped(estimator)
        classes = _classes(estimator)
        proba = estimator.predict_proba(X)
        codes = validation.codes_of(y, classes, n_samples=len(proba))
        return cls.from_proba(codes, proba, classes=classes.tolist(), n_bins=n_bins, sample_weight=sample_weight, ax=ax)

    from_model = from_estimator

    def plot(self, *, ax: Axes | None = None) -> ReliabilityDisplay:
        """Draw; the area of a point is its share of the samples of its class."""
        found = self.reliability
        self.ax_ = _axes(ax, (5.6, 5.2))
        self.figure_ = self.ax_.figure
        self.ax_.plot([0, 1], [0, 1], color="black", linewidth=0.8, linestyle="--", label="calibrated")
        self.lines_ = []
        names = _short_names(self.classes)
        for k, colour in enumerate(_colours(len(names))):
            some = found.weight[k] > 0
            share = found.weight[k][some] / found.weight[k].sum()
            x, happened = found.confidence[k][some], found.frequency[k][some]
            self.lines_ += self.ax_.plot(x, happened, color=colour, label=names[k], linewidth=1)
            self.ax_.scatter(x, happened, s=10 + 150 * share, color=colour, zorder=3)
        self.ax_.set(xlabel="predicted probability", ylabel="share of samples of the class", xlim=(0, 1), ylim=(0, 1))
        self.ax_.set_title("Reliability")
        self.ax_.grid(alpha=0.3)
        _legend(self.ax_, len(self.classes) + 1)
        return self


class ConfusionDisplay:
    """Which classes are taken for which.

    Parameters
    ----------
    confusion : ndarray (n_classes, n_classes)
        Counts, rows true and columns predicted.
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
        """Draw the predictions of a model for samples with known labels."""
        estimator = _unwrapped(estimator)
        classes = _classes(estimator)
        labels = estimator.predict(X)
        predicted = validation.codes_of(labels, classes, n_samples=len(labels))
        truth = validation.codes_of(y, classes, n_samples=len(labels))
        return cls(confusion(truth, predicted, classes.size), classes.tolist()).plot(normalize=normalize, ax=ax)

    from_model = from_estimator

    def plot(self, *, normalize: bool = False, ax: Axes | None = None) -> ConfusionDisplay:
        """Draw counts, or with `normalize` the shares of each true class."""
        n = len(self.classes)
        size = min(12.0, 3.2 + 0.45 * n)
        self.ax_ = _axes(ax, (size + 0.8, size))
        self.figure_ = self.ax_.figure
        total = self.confusion.sum(axis=1, keepdims=True)
        shown = self.confusion / np.maximum(total, 1) if normalize else self.confusion
        self.image_ = self.ax_.imshow(shown, cmap=SEQUENTIAL, vmin=0, vmax=1 if normalize else None)
        middle = shown.max() / 2
        for i in range(n):
            for j in range(n):
                if self.confusion[i, j]:
                    text = f"{shown[i, j]:.2f}" if normalize else str(shown[i, j])
                    colour = "black" if shown[i, j] > middle else "white"
                    font = 9 if n <= 12 else 6
                    self.ax_.text(j, i, text, ha="center", va="center", color=colour, fontsize=font)
        names = _short_names(self.classes)
        self.ax_.set_xticks(range(n), names)
        if max(map(len, names)) > 4:
            self.ax_.tick_params("x", rotation=50)
            for name in self.ax_.get_xticklabels():
                name.set(ha="right", rotation_mode="anchor")
        self.ax_.set_yticks(range(n), names)
        self.ax_.set(xlabel="predicted", ylabel="true")
        self.ax_.set_title("Confusion")
        self.figure_.colorbar(
            self.image_, ax=self.ax_, shrink=0.8, label="share of the class" if normalize else "samples"
        )
        return self


class PathDisplay:
    """The weights along a path of penalties; or, of a cross-validation, the held-out log-loss.

    Attributes
    ----------
    lines_ : list of matplotlib lines
    ax_, figure_
    """

    def __init__(self, found: PathResult | CVResult) -> None:
        self.found = found

    @classmethod
    def from_path(cls, path: PathResult, *, ax: Axes | None = None) -> PathDisplay:
        """Draw all weights of `fit_path` over the strength of the penalty."""
        return cls(path).plot(ax=ax)

    @classmethod
    def from_cv(cls, found: CVResult, *, ax: Axes | None = None) -> PathDisplay:
        """Draw the mean log-loss of `cross_validate`, with its standard error, and what was chosen, over C."""
        return cls(found).plot(ax=ax)

    def plot(self, *, ax: Axes | None = None) -> PathDisplay:
        """Draw."""
        self.ax_ = _axes(ax, (6.4, 4.4))
        self.figure_ = self.ax_.figure
        if isinstance(self.found, PathResult):
            self._weights(self.found)
        else:
            self._losses(self.found)
        self.ax_.set_xscale("log")
        self.ax_.grid(alpha=0.3)
        return self

    def _weights(self, path: PathResult) -> None:
        strength = path.l1s + path.l2s
        if not (strength > 0).all():
            raise InputValueError("a penalty of the path is 0, which a logarithmic axis cannot show; leave it out.")
        order = np.argsort(strength)
        coefs = path.coefs[order]  # (n_penalties, n_classes, n_features)
        self.lines_ = []
        names = _short_names(path.results[0].model.classes.tolist())
        for k, colour in enumerate(_colours(coefs.shape[1])):
            lines = self.ax_.plot(strength[order], coefs[:, k], color=colour, linewidth=0.9, alpha=0.8)
            lines[0].set_label(names[k])
            self.lines_ += lines
        self.ax_.set(xlabel="strength of the penalty, l1 + l2", ylabel="weight")
        self.ax_.set_title("Regularisation path")
        self.ax_.invert_xaxis()  # models grow from left to right
        _legend(self.ax_, coefs.shape[1])

    def _losses(self, found: CVResult) -> None:
        mean, error = summary(found.log_loss)
        fitted = np.flatnonzero(~np.isnan(mean))
        order = fitted[np.argsort(found.Cs[fitted])]
        container = self.ax_.errorbar(
            found.Cs[order], mean[order], error[order], marker="o", markersize=4, capsize=3, label="± standard error"
        )
        self.lines_ = [container.lines[0]]
        self.ax_.axvline(found.Cs[found.best], color="C1", label="best")
        self.ax_.axvline(found.Cs[found.one_standard_error], color="C2", linestyle="--", label="one standard error")
        self.ax_.set(xlabel="C", ylabel="held-out log-loss")
        self.ax_.set_title("Cross-validation")
        self.ax_.legend()


class DecisionDisplay:
    """Which class a model of two features sees where, and samples of known labels.

    Parameters
    ----------
    predict_proba : callable
        From points (n, 2) to probabilities (n, n_classes).
    X : ndarray (n_samples, 2)
    codes : ndarray (n_samples,)
        Positions of the samples' labels in `classes`.
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
        """Draw the regions of a model around samples with known labels; those of a pipeline, in the space of its X."""
        estimator = _unwrapped(estimator)
        classes = _classes(estimator)
        n_features = getattr(estimator, "n_features", getattr(estimator, "n_features_in_", 2))
        if n_features != 2:
            raise InputValueError(f"the model has {n_features} features; regions can be drawn for two.")
        array, names = validation.frame(X)
        points = np.asarray(validation.design(array, n_features=2), np.float64)
        if not len(points):
            raise InputValueError("X has no rows; regions are drawn around samples.")
        estimator.predict_proba(X[:1])  # says what is wrong with the features, if anything
        codes = validation.codes_of(y, classes, n_samples=len(points))

        def predict_proba(at: Float64s) -> Floats:
            proba: Floats = estimator.predict_proba(at if names is None else _like(X, at))
            return proba

        known = names or getattr(estimator, "feature_names", None) or ("x0", "x1")
        return cls(predict_proba, points, codes, classes.tolist(), known).plot(resolution=resolution, ax=ax)

    from_model = from_estimator

    def plot(self, *, resolution: int = 400, ax: Axes | None = None) -> DecisionDisplay:
        """Draw; regions are the paler, the less sure the model is."""
        from matplotlib.colors import to_rgb

        n = validation.count("resolution", resolution, low=2)
        self.ax_ = _axes(ax, (6.4, 5.2))
        self.figure_ = self.ax_.figure
        low, high = self.X.min(axis=0), self.X.max(axis=0)
        margin = 0.08 * np.where(high > low, high - low, 1.0)
        x, y = (np.linspace(low[j] - margin[j], high[j] + margin[j], n) for j in (0, 1))
        proba = self.predict_proba(np.column_stack([np.tile(x, n), np.repeat(y, n)]))
        n_classes = len(self.classes)
        colours = np.array([to_rgb(c) for c in _colours(n_classes)])
        best = proba.argmax(axis=1)
        sure = proba.max(axis=1, keepdims=True) - 1 / n_classes
        share = 0.15 + 0.45 * sure / (1 - 1 / n_classes)
        picture = (1 - share) + share * colours[best]
        extent = (x[0], x[-1], y[0], y[-1])
        self.ax_.imshow(picture.reshape(n, n, 3), extent=extent, origin="lower", aspect="auto", interpolation="nearest")
        for k, label in enumerate(_short_names(self.classes)):
            mine = self.X[self.codes == k]
            style = {"color": colours[k], "edgecolor": "black", "linewidth": 0.4, "s": 18, "label": label}
            self.ax_.scatter(mine[:, 0], mine[:, 1], **style)
        self.ax_.set(xlabel=self.feature_names[0], ylabel=self.feature_names[1])
        self.ax_.set_title("Decision regions")
        _legend(self.ax_, n_classes)
        return self


def _like(table: Any, array: Float64s) -> Any:
    """An array as a table of the type and with the column names of `table`."""
    of_arrow = hasattr(table, "from_pydict")  # whose `columns` are not their names
    names = table.schema.names if of_arrow else list(table.columns)
    make = type(table).from_pydict if of_arrow else type(table)
    return make({name: array[:, j] for j, name in enumerate(names)})


def save_digits_picture(result: FitResult, path: str | os.PathLike[str]) -> None:
    """Write a PNG: the convergence of a fit, and the weights of each digit as an 8 x 8 image."""
    figure = _figure((11, 4.2))
    left, right = np.array(figure.subfigures(1, 2, width_ratios=[1, 1.6])).ravel()
    ConvergenceDisplay.from_result(result, ax=left.subplots())
    CoefficientDisplay.from_estimator(result.model, image_shape=(8, 8), figure=right)
    save_picture(figure, path, dpi=120)


def picture_format(path: str | os.PathLike[str]) -> str:
    """The format that the ending of a picture's name asks for, one of `FORMATS`."""
    ending = os.path.splitext(file_name(path))[1].removeprefix(".").lower()
    if ending not in FORMATS:
        given = f"ends in .{ending}" if ending else "has no ending"
        raise InputValueError(f"{os.fspath(path)} {given}, expected one of .{', .'.join(FORMATS)}.")
    return ending


def save_picture(figure: Any, path: str | os.PathLike[str], *, dpi: int) -> None:
    """Write a figure atomically, in the format of the name's ending."""
    ending = picture_format(path)
    with whole_file(path) as file:
        figure.savefig(file, dpi=dpi, format=ending)


def _legend(ax: Axes, n: int) -> None:
    """Beside the axes where there are many entries, inside where there are few."""
    if n <= 6:
        ax.legend()
    else:
        ax.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), ncols=1 + n // 20, fontsize="small")
