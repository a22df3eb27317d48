"""Marginal effects of the features on the probabilities of the classes, with confidence intervals."""

from __future__ import annotations

from typing import Any

import numpy as np

from nbsoftmax import validation
from nbsoftmax.errors import InputTypeError, a_type
from nbsoftmax.models.effects_result import MarginalEffects
from nbsoftmax.plots.figure import figure_or_new, foreground, panels
from nbsoftmax.plots.names import display_names
from nbsoftmax.plots.notebook import NotebookDisplay

MOST_COLUMNS = 6
LEAST_ROWS = 4  # a panel has room for at least so many features
# What a change of the feature changes, and the factor to the unit of the axis.
AXES = {
    "dydx": ("change of the probability, percentage points", 100),
    "dyex": ("change of the probability by the log of the feature, percentage points", 100),
    "eydx": ("change of the log of the probability", 1),
    "eyex": ("elasticity of the probability", 1),
}


class MarginalEffectsDisplay(NotebookDisplay):
    """Marginal effects: a panel for each class, with the effect of each feature and its confidence interval.

    Parameters
    ----------
    effects : MarginalEffects

    Attributes
    ----------
    axes_ : ndarray of matplotlib axes (n_classes,)
    figure_
    features_ : ndarray of int (n_shown,)
        The features that are drawn, the one with the largest effect first.

    Raises
    ------
    InputTypeError
        For effects of another type.
    """

    def __init__(self, effects: MarginalEffects) -> None:
        if not isinstance(effects, MarginalEffects):
            raise InputTypeError(
                f"effects is {a_type(effects)}, expected the MarginalEffects that result.marginal_effects() returns."
            )
        self.effects = effects

    @classmethod
    def from_effects(
        cls, effects: MarginalEffects, *, level: float = 0.95, n_features: int = 20, figure: Any = None
    ) -> MarginalEffectsDisplay:
        """Draw the result of `marginal_effects`.

        Parameters
        ----------
        effects : MarginalEffects
        level : float in (0, 1)
            Of the confidence intervals.
        n_features : int
            Number of features that are drawn, those with the largest effects.
        figure : matplotlib figure or subfigure, optional

        Raises
        ------
        InputValueError, InputTypeError
            For effects of another type, a `level` that is not a number between 0 and 1, an `n_features` that is not a
            whole number of at least 1, and a `figure` that is not one of matplotlib.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        return cls(effects).plot(level=level, n_features=n_features, figure=figure)

    def plot(self, *, level: float = 0.95, n_features: int = 20, figure: Any = None) -> MarginalEffectsDisplay:
        """Draw; the parameters are those of `from_effects`.

        Raises
        ------
        InputValueError, InputTypeError
            For a level, a number of features or a figure that `from_effects` does not take.
        ModuleNotFoundError
            If matplotlib is not installed.
        """
        effects = self.effects
        shown = validation.count("n_features", n_features)
        intervals = effects.conf_int(level)
        self.features_ = np.argsort(-np.abs(effects.effects).max(axis=1), kind="stable")[:shown]
        n_classes, n_rows_of_panel = len(effects.classes), max(len(self.features_), LEAST_ROWS)
        n_columns = min(n_classes, MOST_COLUMNS)
        n_rows = -(-n_classes // n_columns)
        size = (2.0 + 2.2 * n_columns, 0.8 + n_rows * (0.5 + 0.22 * n_rows_of_panel))
        self.figure_ = figure = figure_or_new(figure, size)
        self.axes_ = panels(figure, display_names(effects.classes.tolist()), n_columns, sharex=True, sharey=True)
        for k, ax in enumerate(self.axes_):
            self._draw_class(ax, k, intervals)
        self.axes_[0].set_yticks(np.arange(len(self.features_)), self._names())
        self.axes_[0].set_ylim(len(self.features_) - 0.5, -0.5)  # shared by all; the largest effect is at the top
        for ax in self.axes_[-n_columns:]:
            ax.tick_params("x", labelbottom=True)  # also above a place of the grid without a class
        figure.supxlabel(AXES[effects.kind][0])
        figure.suptitle(f"Marginal effects with {100 * level:g}% intervals (hollow: includes 0)")
        return self

    def _draw_class(self, ax: Any, k: int, intervals: Any) -> None:
        factor = AXES[self.effects.kind][1]
        low, high = factor * intervals[self.features_, k].T
        points = factor * self.effects.effects[self.features_, k]
        places = np.arange(len(points))
        certain = (low > 0) | (high < 0)  # the interval leaves out 0
        ax.axvline(0, color=foreground(), linewidth=0.8)
        finite = np.isfinite(low) & np.isfinite(high)
        for some, fill in ((certain, "full"), (~certain, "none")):
            style = {"color": "C0", "fillstyle": fill, "marker": "o", "markersize": 4, "linestyle": "none"}
            ax.plot(points[some], places[some], **style)
        ax.hlines(places[finite], low[finite], high[finite], color="C0", linewidth=1.2)
        ax.grid(axis="x", alpha=0.3)

    def _names(self) -> list[str]:
        names = display_names(self.effects.feature_names)
        return [names[j] + (", 0 to 1" if self.effects.binary[j] else "") for j in self.features_]
