"""The weights along a path of penalties, or the cross-validated log-loss along it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, InputValueError, a_type
from nbsoftmax.models.softmax import feature_names
from nbsoftmax.plots.figure import add_legend, axes_or_new, foreground
from nbsoftmax.plots.line_ends import label_ends
from nbsoftmax.plots.names import display_names
from nbsoftmax.plots.notebook import NotebookDisplay
from nbsoftmax.plots.palette import LINE_STYLES, colours
from nbsoftmax.selection.cross_validation import CVResult, summary
from nbsoftmax.selection.path import PathResult
from nbsoftmax.validation import Float64s

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MOST_CLASSES = len(LINE_STYLES)  # whose weights are drawn; of more classes, the norm of the weights of each feature
UNNAMED = "0.5"  # grey, visible on light and dark backgrounds


class PathDisplay(NotebookDisplay):
    """The weights along a path of penalties, or the held-out log-loss of a cross-validation.

    Attributes
    ----------
    lines_ : list of matplotlib lines
        Of a path, one for each class and feature in this order, or one for each feature.
    ax_, figure_

    Raises
    ------
    InputTypeError
        If it is given neither the result of `fit_path` nor that of `cross_validate`.
    """

    def __init__(self, found: PathResult | CVResult) -> None:
        _check_type("found", found, PathResult, CVResult)
        self.found = found

    @classmethod
    def from_path(
        cls, path: PathResult, *, n_features: int = 8, classes: Sequence[Any] | None = None, ax: Axes | None = None
    ) -> PathDisplay:
        """Draw the weights of a `fit_path` result over the strength of the penalty.

        The features with the largest weights have colours, and their names at the ends of their lines; the others are
        grey. Line styles are classes.

        Parameters
        ----------
        path : PathResult
        n_features : int
            Number of features with colours and names. Of many, only the names of the largest weights are written, as
            many as fit.
        classes : sequence of labels, optional
            The classes whose weights are drawn, at most 6. Default: all, or, if there are more than 6, the Euclidean
            norm of each feature's weights of all classes.
        ax : matplotlib axes, optional

        Raises
        ------
        InputValueError, InputTypeError
            For a path of another type, and as `plot`.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        _check_type("path", path, PathResult)
        return cls(path).plot(n_features=n_features, classes=classes, ax=ax)

    @classmethod
    def from_cv(cls, found: CVResult, *, ax: Axes | None = None) -> PathDisplay:
        """Draw the mean log-loss of a `cross_validate` result over C, with standard errors and the chosen values.

        Raises
        ------
        InputValueError, InputTypeError
            For a result of another type, and an `ax` that is not axes of matplotlib.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        _check_type("found", found, CVResult)
        return cls(found).plot(ax=ax)

    def plot(self, *, n_features: int = 8, classes: Sequence[Any] | None = None, ax: Axes | None = None) -> PathDisplay:
        """Draw; `n_features` and `classes` are those of `from_path`.

        Raises
        ------
        InputValueError, InputTypeError
            For an `ax` that is not axes of matplotlib. Of a path, for an `n_features` that is not a whole number of at
            least 1, for `classes` that are not 1 to 6 labels of the model, and for a penalty of 0.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        if isinstance(self.found, CVResult):
            self._prepare(ax)
            self._draw_losses(self.found)
        else:
            shown = validation.count("n_features", n_features)
            curves, names = self._curves(self.found, classes)
            strength = self.found.l1s + self.found.l2s
            if not (strength > 0).all():
                raise InputValueError("a penalty of the path is 0, which a logarithmic axis cannot show; leave it out.")
            self._prepare(ax)
            order = np.argsort(strength)
            features = display_names(feature_names(self.found.results[0].model))
            self._draw_weights(strength[order], curves[order], names, features, shown)
        return self

    def _prepare(self, ax: Axes | None) -> None:
        self.ax_ = axes_or_new(ax, (6.4, 4.4))
        self.figure_ = self.ax_.figure
        self.ax_.set_xscale("log")
        self.ax_.grid(alpha=0.3)

    def _draw_weights(
        self, strength: Float64s, curves: Float64s, names: list[Any], features: list[str], n_features: int
    ) -> None:
        """Draw curves (n_penalties, n_curves, n_features) over increasing penalties; `names` are classes."""
        self.ax_.set(xlabel="strength of the penalty, l1 + l2")
        self.ax_.set_ylabel("weight" if names else "norm of the weights of all classes")
        self.ax_.set_title("Regularisation path")
        largest = np.argsort(-np.abs(curves).max(axis=(0, 1)), kind="stable")[:n_features]
        colour = {int(j): c for j, c in zip(largest, colours(len(largest)), strict=True)}
        self.lines_ = []
        for k in range(curves.shape[1]):
            for j in range(curves.shape[2]):
                known = j in colour
                width, alpha, zorder = (1.3, 1.0, 2.5) if known else (0.7, 0.5, 2.0)
                style: dict[str, Any] = {"color": colour.get(j, UNNAMED), "linestyle": LINE_STYLES[k]}
                style["marker"] = "o" if len(strength) == 1 else None  # one penalty makes no line
                style |= {"linewidth": width, "alpha": alpha, "zorder": zorder}
                self.lines_ += self.ax_.plot(strength, curves[:, k, j], **style)
        self.ax_.xaxis.set_inverted(True)  # the strongest penalty, and the smallest weights, at the left
        if names:
            entries = []
            for k, name in enumerate(display_names(names)):
                entries += self.ax_.plot([], [], color=foreground(), linestyle=LINE_STYLES[k], label=name)
            add_legend(self.ax_, entries, loc="upper left")  # beside the smallest weights
        at_end = np.abs(curves[0]).argmax(axis=0)  # of each feature, the class with the largest weight there
        labels = [(features[j], strength[0], curves[0, at_end[j], j], c) for j, c in colour.items()]
        label_ends(self.ax_, labels)

    def _curves(self, path: PathResult, classes: Sequence[Any] | None) -> tuple[Float64s, list[Any]]:
        """Curves (n_penalties, n_curves, n_features), and the classes of which they are the weights; none for norms."""
        known = path.results[0].model.classes
        if classes is None:
            if known.size > MOST_CLASSES:
                return np.linalg.norm(path.coefs, axis=1, keepdims=True), []
            return path.coefs, known.tolist()
        codes, wanted = validation.labels(classes, name="classes")
        if not 0 < codes.size <= MOST_CLASSES:
            raise InputValueError(
                f"classes has {codes.size} labels, expected 1 to {MOST_CLASSES}.", parameter="classes"
            )
        at = validation.positions(wanted, known, name="classes", advice="leave it out")[codes]
        return path.coefs[:, at], known[at].tolist()

    def _draw_losses(self, found: CVResult) -> None:
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


def _check_type(name: str, given: Any, *expected: type) -> None:
    if not isinstance(given, expected):
        of_type = {"PathResult": "the result of fit_path", "CVResult": "the result of cross_validate"}
        wanted = " or ".join(of_type[kind.__name__] for kind in expected)
        raise InputTypeError(f"{name} is {a_type(given)}, expected {wanted}.")
